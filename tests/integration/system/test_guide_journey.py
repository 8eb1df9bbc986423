"""The integration guide, step by step, over HTTP, as Core would call it."""

from uuid import uuid4

import pytest
import requests

from tests.support.service import READER_TOKEN, TOKEN, Core

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def github(sandbox_server):
    """The sandbox's GitHub."""
    return sandbox_server.sandbox.github


@pytest.fixture
def happen(sandbox_server, github):
    """Lets things happen at GitHub and delivers what comes of it; the outcomes."""

    def act(*doings):
        for doing in doings:
            doing(github)
        return [outgoing.last_attempt.status for outgoing in sandbox_server.sandbox.deliver_pending()]

    return act


def code_of(answer):
    """The status and code of a problem document, which must be whole."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert {"type", "title", "detail", "message", "trace_id"} <= set(problem)
    return answer.status_code, problem["code"]


def test_the_five_steps(core, github, happen):
    """The journey works as written: catalog, consent, callback, connections, signals with every filter."""
    # Step 1: public.
    catalog = core.get("/providers", headers={})["providers"]
    entry = next(one for one in catalog if one["slug"] == "github")
    assert entry["configured"]
    assert entry["scopes"]
    assert "issue_created" in entry["signal_kinds"]

    # Step 2: both headers, the body optional.
    started = core.call("POST", "/connect/github", json={"options": {"repositories": ["ada/lamp"]}})
    assert started.status_code == 200
    assert set(started.json()) == {"authorize_url", "state_expires_at"}

    # Step 3: the browser comes back to Core, which passes on what it was given; no tenant header.
    query = core.consent(started.json()["authorize_url"])
    assert {"code", "state"} <= set(query)
    connection = core.get("/connect/github/callback", headers=BEARER, params=query)["connection"]
    assert (connection["tenant_id"], connection["provider"]) == (core.tenant_id, "github")
    assert (connection["account"]["name"], connection["status"]) == ("ada", "active")
    again = core.get("/connect/github/callback", headers=BEARER, params=query)["connection"]
    assert again["id"] == connection["id"]
    forged = core.call("GET", "/connect/github/callback", headers=BEARER, params={**query, "code": "another"})
    assert code_of(forged) == (400, "OAUTH_STATE_INVALID")

    # Step 4.
    assert [one["id"] for one in core.get("/connections")["connections"]] == [connection["id"]]
    assert core.get(f"/connections/{connection['id']}")["account"] == connection["account"]

    # Step 5.
    statuses = happen(
        lambda github: github.open_issue("ada/lamp", "Flickers", by="ada"),
        lambda github: github.push("ada/lamp", by="ada", messages=["Solder the joint"]),
    )
    assert statuses
    assert set(statuses) == {202}
    page = core.get("/signals", params={"provider": "github", "limit": 25, "include_payload": "true"})
    assert {one["kind"] for one in page["signals"]} == {"issue_created", "code_pushed"}
    assert all(one["payload"]["repository"]["full_name"] == "ada/lamp" for one in page["signals"])
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    filters = {"connection_id": connection["id"], "kind": "issue_created"}
    (issue,) = core.get("/signals", params=filters)["signals"]
    assert issue["title"].endswith(" opened: Flickers")
    assert "payload" not in issue
    first = core.get("/signals", params={"limit": 1})
    assert first["has_more"]
    second = core.get("/signals", params={"limit": 1, "cursor": first["next_cursor"]})
    assert [one["id"] for one in first["signals"] + second["signals"]] == [one["id"] for one in page["signals"]]
    after = {"occurred_after": "2999-01-01T00:00:00Z"}
    assert core.get("/signals", params=after)["signals"] == []
    before = {"occurred_before": "2999-01-01T00:00:00Z", "occurred_after": "2000-01-01T00:00:00Z"}
    assert len(core.get("/signals", params=before)["signals"]) == 2
    assert core.get(f"/signals/{issue['id']}")["title"] == issue["title"]


def test_each_of_the_six_codes(core, service):
    """Every error of the guide comes with its code, in a problem document."""
    core.connect()
    reader = Core(service.url, core.tenant_id, READER_TOKEN)
    with reader.session:
        assert code_of(reader.call("POST", "/connect/github")) == (403, "FORBIDDEN")
    without_token = core.call("GET", "/connections", headers={"X-Tenant-Id": core.tenant_id})
    assert code_of(without_token) == (401, "UNAUTHORIZED")
    assert without_token.headers["WWW-Authenticate"].startswith("Bearer")
    wrong = {"Authorization": "Bearer wrong", "X-Tenant-Id": core.tenant_id}
    assert code_of(core.call("GET", "/connections", headers=wrong)) == (401, "UNAUTHORIZED")
    assert code_of(core.call("GET", "/signals", headers=BEARER)) == (400, "TENANT_HEADER_REQUIRED")
    for stranger in (str(uuid4()), "not-a-tenant"):
        headers = BEARER | {"X-Tenant-Id": stranger}
        assert code_of(core.call("GET", "/signals", headers=headers)) == (404, "TENANT_NOT_FOUND")
    assert code_of(core.call("GET", f"/connections/{uuid4()}")) == (404, "CONNECTION_NOT_FOUND")
    assert code_of(core.call("POST", "/connect/fax")) == (404, "PROVIDER_NOT_SUPPORTED")


def test_tenants_do_not_see_each_other(core, service, happen):
    """What one tenant has, another that is known here does not find, by list or by id."""
    connection = core.connect()
    happen(lambda github: github.open_issue("ada/lamp", "Hums", by="ada"))
    signal = core.get("/signals", params={"limit": 1})["signals"][0]
    other = Core(service.url)
    with other.session:
        assert other.call("PUT", f"/tenants/{other.tenant_id}").status_code == 201
        assert other.get("/connections")["connections"] == []
        assert other.get("/signals")["signals"] == []
        assert code_of(other.call("GET", f"/connections/{connection['id']}")) == (404, "CONNECTION_NOT_FOUND")
        assert code_of(other.call("DELETE", f"/connections/{connection['id']}")) == (404, "CONNECTION_NOT_FOUND")
        assert other.call("GET", f"/signals/{signal['id']}").status_code == 404


def test_a_reconnected_account_is_updated(core):
    """Consenting again with the same account gives the same connection."""
    first, second = core.connect(), core.connect()
    assert first["id"] == second["id"]
    assert len(core.get("/connections")["connections"]) == 1


def test_refresh_rotates_the_tokens(core, github):
    """Refreshing gives new tokens, spends the refresh token once, and the connection stays active."""
    connection = core.connect()
    before = set(github.auth.tokens)
    answer = core.call("POST", f"/connections/{connection['id']}/refresh")
    assert answer.status_code == 200
    assert answer.json()["status"] == "active"
    assert answer.json()["expires_at"] >= connection["expires_at"]
    assert len(set(github.auth.tokens) - before) == len(before - set(github.auth.tokens)) == 1
    assert github.families.reused == []


def test_deleting_cleans_up_at_the_provider(core, github, service):
    """Ending a connection removes its hooks and its tokens there, keeps the signals, and cannot be delivered to."""
    hooks, tokens = set(github.hooks.hooks), set(github.auth.tokens)
    connection = core.connect(["ada/lamp", "ada/kite"])
    mine = set(github.hooks.hooks) - hooks
    assert len(mine) == 2
    assert set(github.auth.tokens) - tokens
    assert core.call("DELETE", f"/connections/{connection['id']}").status_code == 204
    assert not mine & set(github.hooks.hooks)
    assert set(github.auth.tokens) <= tokens
    assert core.get(f"/connections/{connection['id']}")["status"] == "revoked"
    assert core.call("DELETE", f"/connections/{connection['id']}").status_code in {204, 409}


def test_no_secret_is_logged(core, github, service):
    """Neither operator tokens, client secrets, codes, states nor access tokens appear in the service's log."""
    started = core.call("POST", "/connect/github").json()
    query = core.consent(started["authorize_url"])
    core.get("/connect/github/callback", headers=BEARER, params=query)
    log = service.log
    secrets = {TOKEN, READER_TOKEN, "github-app-secret", query["code"], query["state"], *github.auth.tokens}
    assert "/connect/<provider>/callback" in log or "/connect/{provider}/callback" in log
    assert not [one for one in secrets if one in log]


def test_the_browser_sees_a_consent_page(core, sandbox_server):
    """Without automatic consent the authorize URL opens a page that names the app, and denying ends in OAUTH_DENIED."""
    started = core.call("POST", "/connect/github").json()
    sandbox_server.sandbox.core.auto_consent = False
    try:
        page = requests.get(started["authorize_url"], timeout=30, proxies={"http": ""})
    finally:
        sandbox_server.sandbox.core.auto_consent = True
    assert page.status_code == 200
    assert "Poblysh" in page.text
    state = core.consent(started["authorize_url"])["state"]
    denied = {"error": "access_denied", "state": state}
    answer = core.call("GET", "/connect/github/callback", headers=BEARER, params=denied)
    assert code_of(answer) == (400, "OAUTH_DENIED")
