"""The integration guide, steps 1 to 5, and its six error codes."""

from datetime import datetime
from uuid import uuid4

import pytest

from tests.support.api import ONLY_TENANT, READER_TOKEN, GitHubStub, issue_opened, make_api, problem


@pytest.fixture(scope="module")
def api():
    return make_api()


def test_a_tenant_connects_receives_and_reads(api):
    """Providers are listed, an account connected, its webhooks received, and its signals read."""
    catalog = api.get("/providers", token=None).get_json()["providers"]
    assert "github" in {provider["slug"] for provider in catalog}

    tenant = str(uuid4())
    connection = api.connect(tenant)
    assert (connection["status"], connection["account"]["name"]) == ("active", "ada")
    listed = api.get("/connections", tenant=tenant).get_json()
    assert [one["id"] for one in listed["connections"]] == [connection["id"]]
    assert (listed["next_cursor"], listed["has_more"]) == (None, False)

    for number in range(1, 8):
        answer = api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened(number))
        assert (answer.status_code, answer.get_json()) == (202, {"status": "accepted"})

    query = {"provider": "github", "limit": "3", "include_payload": "true"}
    seen = []
    while True:
        page = api.get("/signals", tenant=tenant, query_string=query).get_json()
        seen += page["signals"]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(signal["subject"]["name"] for signal in seen) == [f"Issue {number}" for number in range(1, 8)]
    assert {signal["kind"] for signal in seen} == {"issue_created"}
    assert all(signal["payload"] for signal in seen)
    one = api.get(f"/signals/{seen[0]['id']}", tenant=tenant).get_json()
    assert one == seen[0]


def test_payloads_are_listed_only_when_requested(api):
    """Without include_payload a listed signal has no payload member."""
    tenant = str(uuid4())
    api.connect(tenant)
    api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened())
    for query in ({}, {"include_payload": "false"}):
        (signal,) = api.get("/signals", tenant=tenant, query_string=query).get_json()["signals"]
        assert "payload" not in signal


def test_every_filter_narrows(api):
    """The filters provider, connection, kind and both times select signals; the times are exclusive."""
    tenant = str(uuid4())
    connection = api.connect(tenant)
    for hour in (8, 9, 10):
        api.deliver(
            f"/webhooks/github/{tenant}", "issues", issue_opened(hour, created_at=f"2026-03-01T{hour:02}:00:00Z")
        )

    def titles(**query):
        answer = api.get("/signals", tenant=tenant, query_string=query)
        return [signal["subject"]["name"] for signal in answer.get_json()["signals"]]

    assert titles() == ["Issue 10", "Issue 9", "Issue 8"]
    assert titles(connection_id=connection["id"], kind="issue_created") == titles()
    assert titles(kind="issue_closed") == []
    assert titles(occurred_after="2026-03-01T08:00:00Z") == ["Issue 10", "Issue 9"]
    assert titles(occurred_before="2026-03-01T11:00:00+01:00") == ["Issue 9", "Issue 8"]
    assert titles(occurred_after="2026-03-01T08:00:00Z", occurred_before="2026-03-01T10:00:00Z") == ["Issue 9"]


def test_a_space_before_the_offset_is_a_plus(api):
    """A timestamp whose `+` was not escaped in the URL is understood."""
    tenant = api.new_tenant()
    answer = api.get("/signals?occurred_after=2026-03-01T11:00:00+01:00", tenant=tenant)
    assert answer.status_code == 200


def test_the_guides_six_error_codes(api):
    """Each code of the guide is provoked, with its status."""
    tenant = api.new_tenant()
    assert problem(api.get("/connections", token=None, tenant=tenant)) == (401, "UNAUTHORIZED")
    assert problem(api.post("/connect/github", token=READER_TOKEN, tenant=tenant)) == (403, "FORBIDDEN")
    assert problem(api.get("/connections")) == (400, "TENANT_HEADER_REQUIRED")
    assert problem(api.get("/connections", tenant=uuid4())) == (404, "TENANT_NOT_FOUND")
    unknown = {"connection_id": str(uuid4())}
    assert problem(api.get("/signals", tenant=tenant, query_string=unknown)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.post("/connect/nowhere", tenant=tenant)) == (404, "PROVIDER_NOT_SUPPORTED")


def test_a_connection_is_refreshed_shown_and_deleted(api):
    """Refreshing moves the expiry, deleting revokes, and the signals stay."""
    tenant = str(uuid4())
    connection = api.connect(tenant)
    api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened())
    path = f"/connections/{connection['id']}"
    refreshed = api.post(f"{path}/refresh", tenant=tenant).get_json()
    assert datetime.fromisoformat(refreshed["expires_at"]) >= datetime.fromisoformat(connection["expires_at"])
    assert api.call("DELETE", path, tenant=tenant).status_code == 204
    assert api.call("DELETE", path, tenant=tenant).status_code == 204
    shown = api.get(path, tenant=tenant).get_json()
    assert (shown["status"], shown["expires_at"], shown["subscriptions"]) == ("revoked", None, [])
    assert problem(api.post(f"{path}/refresh", tenant=tenant)) == (409, "REAUTHORIZATION_REQUIRED")
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 1
    assert api.get("/connections", tenant=tenant, query_string={"status": "active"}).get_json()["connections"] == []


def test_chosen_repositories_are_subscribed(api):
    """Options of the connect body reach the connection, and one connection shows its subscriptions."""
    tenant = str(uuid4())
    connection = api.connect(tenant, {"options": {"repositories": ["ada/lamp"]}})
    shown = api.get(f"/connections/{connection['id']}", tenant=tenant).get_json()
    assert shown["metadata"]["repositories"] == ["ada/lamp"]
    assert [(one["target"], one["status"]) for one in shown["subscriptions"]] == [("repo:ada/lamp", "active")]


def test_deliveries_are_listed_shown_and_replayed(api):
    """Each delivery is stored with its body and without its signature; one that had no connection can be replayed."""
    tenant = api.new_tenant()
    api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened())
    (listed,) = api.get("/deliveries", tenant=tenant, query_string={"status": "failed"}).get_json()["deliveries"]
    assert (listed["error"], "body" in listed) == ("no connection", False)
    shown = api.get(f"/deliveries/{listed['id']}", tenant=tenant).get_json()
    assert shown["encoding"] == "utf-8"
    assert '"Issue 42"' in shown["body"]
    assert "x-hub-signature-256" not in shown["headers"]
    connection = api.connect(tenant)
    replayed = api.post(f"/deliveries/{listed['id']}/replay", tenant=tenant).get_json()
    assert (replayed["status"], replayed["signal_count"]) == ("processed", 1)
    assert replayed["connection_id"] == connection["id"]
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 1


def test_bytes_that_are_no_text_are_shown_as_base64(api):
    """A delivery whose body is not UTF-8 is stored and shown in base64."""
    tenant = api.new_tenant()
    assert api.deliver(f"/webhooks/github/{tenant}", "issues", b"\xff\xfe").status_code == 202
    (listed,) = api.get("/deliveries", tenant=tenant).get_json()["deliveries"]
    shown = api.get(f"/deliveries/{listed['id']}", tenant=tenant).get_json()
    assert (shown["body"], shown["encoding"]) == ("//4=", "base64")


def test_tenants_are_created_and_erased(api):
    """PUT creates a tenant once; DELETE erases it with all its data."""
    tenant = str(uuid4())
    assert problem(api.get(f"/tenants/{tenant}")) == (404, "TENANT_NOT_FOUND")
    assert api.call("PUT", f"/tenants/{tenant}").status_code == 201
    assert api.call("PUT", f"/tenants/{tenant}").status_code == 200
    assert api.get(f"/tenants/{tenant}").get_json()["id"] == tenant
    api.connect(tenant)
    assert api.call("DELETE", f"/tenants/{tenant}").status_code == 204
    assert problem(api.get("/connections", tenant=tenant)) == (404, "TENANT_NOT_FOUND")


@pytest.mark.parametrize("wrong", ["nonsense", "00000000-0000-0000-0000-000000000000", f"{{{ONLY_TENANT}}}"])
def test_a_malformed_tenant_is_an_unknown_one(api, wrong):
    """A tenant id that is not a canonical UUID, or the nil UUID, is not found, in the header or in the path."""
    assert problem(api.call("PUT", f"/tenants/{wrong}")) == (404, "TENANT_NOT_FOUND")
    assert problem(api.get("/signals", tenant=wrong)) == (404, "TENANT_NOT_FOUND")
    assert problem(api.post("/connect/github", tenant=wrong)) == (404, "TENANT_NOT_FOUND")


# --- the redirect back ---------------------------------------------------------------------------------------------


def test_parameters_that_vendors_add_are_let_through(api):
    """The callback accepts unknown parameters, but no parameter twice."""
    query = {"code": "c", "state": "s", "scope": "x", "iss": "https://accounts.example"}
    assert problem(api.get("/connect/github/callback", query_string=query)) == (400, "OAUTH_STATE_INVALID")
    assert problem(api.get("/connect/github/callback?code=a&code=b&state=s")) == (400, "VALIDATION_ERROR")


def test_too_few_scopes_need_another_consent():
    """A user who grants less than is needed gives a 409 that says so."""
    github = GitHubStub()
    github.scope = "gist"
    api = make_api(github)
    tenant = api.new_tenant()
    url = api.post("/connect/github", tenant=tenant).get_json()["authorize_url"]
    query = {"code": "c", "state": url.partition("state=")[2].partition("&")[0]}
    answer = api.get("/connect/github/callback", query_string=query)
    assert problem(answer) == (409, "REAUTHORIZATION_REQUIRED")
    assert "POST /connect" in answer.get_json()["detail"]
