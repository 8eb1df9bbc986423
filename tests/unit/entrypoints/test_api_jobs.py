"""Requesting, listing and cancelling reads over the API."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.api import READER_TOKEN, GitHubStub, make_api, problem


@pytest.fixture(scope="module")
def api():
    return make_api()


@pytest.fixture(scope="module")
def tenant(api):
    return api.new_tenant()


@pytest.fixture(scope="module")
def sync_path(api, tenant):
    """The path for reads of a connection that is up to date."""
    path = f"/connections/{api.connect(tenant)['id']}/sync"
    api.connectors.run_pending()
    return path


def faults(answer):
    assert problem(answer) == (400, "VALIDATION_ERROR")
    return {detail["field"] for detail in answer.get_json().get("details", ())}


def ask(api, path, tenant, body=None, *, key=None):
    """The first job that a request starts or finds."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = api.post(path, tenant=tenant, json=body, headers=headers)
    assert answer.status_code == 202, answer.get_json()
    return answer.get_json()["job"]


def test_a_new_connection_is_read_and_shows_it():
    """Connecting queues a baseline and a backfill; once they are done the connection says when it was read."""
    api = make_api()
    tenant = str(uuid4())
    connection = api.connect(tenant)
    path = f"/connections/{connection['id']}"
    waiting = api.get("/jobs", tenant=tenant).get_json()["jobs"]
    assert {(job["type"], job["status"]) for job in waiting} == {("incremental", "queued"), ("backfill", "queued")}
    assert ask(api, f"{path}/sync", tenant) == next(job for job in waiting if job["type"] == "incremental")

    api.connectors.run_pending()
    done = api.get("/jobs", tenant=tenant, query_string={"status": "succeeded"}).get_json()["jobs"]
    assert {job["id"] for job in done} == {job["id"] for job in waiting}
    one = api.get(f"/jobs/{done[0]['id']}", tenant=tenant).get_json()
    assert one == done[0]
    assert one["progress"]["pages"] > 0
    assert one["started_at"] <= one["finished_at"]
    shown = api.get(path, tenant=tenant).get_json()
    assert (shown["health"], shown["last_error"]) == ("healthy", None)
    assert shown["last_synced_at"] is not None


def test_a_backfill_has_the_requested_range(api, tenant, sync_path):
    """Without `since` a backfill goes as far back as a connection's first one."""
    since, until = "2026-01-02T03:04:05Z", "2026-02-01T00:00:00Z"
    job = ask(api, sync_path, tenant, {"type": "backfill", "since": since, "until": until, "target": "ada/lamp"})
    assert (job["type"], job["since"], job["until"], job["target"]) == ("backfill", since, until, "ada/lamp")
    job = ask(api, sync_path, tenant, {"type": "backfill", "target": "ada/kite"})
    limit_scope = datetime.fromisoformat(job["scheduled_at"]) - datetime.fromisoformat(job["since"])
    assert abs(limit_scope - timedelta(days=30)) < timedelta(minutes=1)
    assert job["until"] is None


def test_a_repeated_request_gets_the_same_job(api, tenant, sync_path):
    """The same request under one Idempotency-Key gets the same job, even after it has ended."""
    body = {"type": "backfill", "since": "2025-12-01T00:00:00Z"}
    first = ask(api, sync_path, tenant, body, key="key 1")
    api.connectors.run_pending()
    again = ask(api, sync_path, tenant, body, key="key 1")
    assert (again["id"], again["status"]) == (first["id"], "succeeded")
    assert ask(api, sync_path, tenant, body, key="key 2")["id"] != first["id"]
    other = api.post(sync_path, tenant=tenant, json={"type": "incremental"}, headers={"Idempotency-Key": "key 1"})
    assert problem(other) == (409, "CONFLICT")


def test_keys_of_tenants_are_separate(api, tenant, sync_path):
    """Two tenants may use the same key."""
    stranger = str(uuid4())
    path = f"/connections/{api.connect(stranger)['id']}/sync"
    assert ask(api, path, stranger, key="shared")["id"] != ask(api, sync_path, tenant, key="shared")["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\xe9y", "k\x7fy", "k\ty"])
def test_a_key_has_1_to_255_printable_characters(api, tenant, sync_path, key):
    """A malformed key is refused, naming the header."""
    answer = api.post(sync_path, tenant=tenant, headers={"Idempotency-Key": key})
    assert faults(answer) == {"Idempotency-Key"}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"type": "webhook"}, {"type"}),
        ({"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}, {"since", "until"}),
        ({"type": "backfill", "since": "2026-01-01"}, {"since"}),
        ({"type": "backfill", "since": "9000-01-01T00:00:00Z"}, {"since"}),
        ({"type": "backfill", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, {"until"}),
        ({"type": "backfill", "until": "2001-01-01T00:00:00Z"}, {"until"}),
        ({"target": ""}, {"target"}),
        ({"target": "x" * 401}, {"target"}),
        ({"kind": "backfill"}, {"kind"}),
    ],
)
def test_every_fault_of_a_request_is_named(api, tenant, sync_path, body, named):
    """An invalid request is refused, naming each fault."""
    assert faults(api.post(sync_path, tenant=tenant, json=body)) == named


def test_all_connections_of_a_provider_are_read():
    """`/sync/{provider}` queues a job for each active connection, once for each key."""
    github = GitHubStub()
    api = make_api(github)
    tenant = str(uuid4())
    assert problem(api.post("/sync/github", tenant=api.new_tenant())) == (409, "CONFLICT")
    connections = {api.connect(tenant)["id"]}
    github.user = {**github.user, "id": 102, "login": "grace"}
    connections.add(api.connect(tenant)["id"])
    headers = {"Idempotency-Key": "all"}
    answer = api.post("/sync/github", tenant=tenant, headers=headers).get_json()
    assert {job["connection_id"] for job in answer["jobs"]} == connections
    assert answer["job"] == answer["jobs"][0]
    assert api.post("/sync/github", tenant=tenant, headers=headers).get_json() == answer
    assert faults(api.post("/sync/github", tenant=tenant, json={"target": "x"})) == {"target"}
    assert problem(api.post("/sync/nowhere", tenant=tenant)) == (404, "PROVIDER_NOT_SUPPORTED")


def test_a_job_can_be_cancelled(api, tenant, sync_path):
    """A cancelled job never starts; cancelling a finished one changes nothing."""
    job = ask(api, sync_path, tenant, {"target": "ada/cancelled"})
    cancelled = api.post(f"/jobs/{job['id']}/cancel", tenant=tenant).get_json()
    assert (cancelled["id"], cancelled["status"]) == (job["id"], "cancelled")
    assert cancelled["finished_at"] is not None
    assert api.post(f"/jobs/{job['id']}/cancel", tenant=tenant).get_json() == cancelled
    api.connectors.run_pending()
    assert api.get(f"/jobs/{job['id']}", tenant=tenant).get_json() == cancelled


def test_jobs_are_filtered_and_paged():
    """Filters narrow the list, and its pages give each job once, newest first."""
    api = make_api()
    tenant = str(uuid4())
    connection = api.connect(tenant)
    for number in range(3):
        ask(api, f"/connections/{connection['id']}/sync", tenant, {"target": f"part {number}"})

    def listed(**query):
        return api.get("/jobs", tenant=tenant, query_string=query).get_json()

    everything = listed()["jobs"]
    assert [job["target"] for job in everything[:3]] == ["part 2", "part 1", "part 0"]
    assert listed(provider="github", connection_id=connection["id"], status="queued")["jobs"] == everything
    assert [job["type"] for job in listed(type="backfill")["jobs"]] == ["backfill"]
    assert listed(provider="slack")["jobs"] == []
    seen, query = [], {"limit": 2}
    while True:
        page = listed(**query)
        seen += page["jobs"]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == everything
    unknown = api.get("/jobs", tenant=tenant, query_string={"connection_id": str(uuid4())})
    assert problem(unknown) == (404, "CONNECTION_NOT_FOUND")
    assert faults(api.get("/jobs", tenant=tenant, query_string={"type": "odd", "status": "lost"})) == {"type", "status"}


def test_jobs_are_of_one_tenant(api, tenant, sync_path):
    """Another tenant's job and an unknown one are not found."""
    job, stranger = ask(api, sync_path, tenant), api.new_tenant()
    for path in (f"/jobs/{job['id']}", f"/jobs/{uuid4()}", "/jobs/nonsense"):
        assert problem(api.get(path, tenant=stranger)) == (404, "NOT_FOUND")
        assert problem(api.post(f"{path}/cancel", tenant=stranger)) == (404, "NOT_FOUND")
    assert problem(api.post(sync_path, tenant=stranger)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.post("/sync/github", tenant=uuid4())) == (404, "TENANT_NOT_FOUND")


def test_readers_cannot_request_reads(api, tenant, sync_path):
    """Requesting and cancelling reads needs the permission to write."""
    for path in (sync_path, "/sync/github", f"/jobs/{uuid4()}/cancel"):
        assert problem(api.post(path, tenant=tenant, token=READER_TOKEN)) == (403, "FORBIDDEN")
    assert api.get("/jobs", tenant=tenant, token=READER_TOKEN).status_code == 200


def test_a_disconnected_account_is_not_read(api):
    """A connection that is not active is a conflict, and its jobs are cancelled."""
    tenant = str(uuid4())
    path = f"/connections/{api.connect(tenant)['id']}"
    api.call("DELETE", path, tenant=tenant)
    assert problem(api.post(f"{path}/sync", tenant=tenant)) == (409, "CONFLICT")
    assert {job["status"] for job in api.get("/jobs", tenant=tenant).get_json()["jobs"]} == {"cancelled"}
    shown = api.get(path, tenant=tenant).get_json()
    assert (shown["health"], shown["next_sync_at"]) == ("off", None)


def test_the_document_has_the_header(api):
    """Operations that honour Idempotency-Key have it as an optional parameter with its limits."""
    for path in ("/connections/{connection_id}/sync", "/sync/{provider}"):
        parameters = api.document["paths"][path]["post"]["parameters"]
        (header,) = [one for one in parameters if one.get("in") == "header"]
        assert (header["name"], header["required"]) == ("Idempotency-Key", False)
        assert header["schema"] == {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"}
    assert api.document["paths"]["/connections/{connection_id}"]["patch"]["requestBody"]["required"] is True
