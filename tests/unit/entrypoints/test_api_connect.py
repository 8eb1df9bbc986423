"""The callback, repeated and in wrong hands, and consents for one certain connection."""

from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.http import HttpResponse
from tests.support.api import ONLY_TENANT, TENANT_TOKEN, GitHubStub, make_api, problem

CALLBACK = "/connect/github/callback"


@pytest.fixture
def github():
    return GitHubStub()


@pytest.fixture
def api(github):
    return make_api(github)


def consented(api, tenant, body=None):
    """The redirect's query after a consent."""
    url = api.post("/connect/github", tenant=tenant, json=body).get_json()["authorize_url"]
    return {"code": "c0de", "state": parse_qs(urlsplit(url).query)["state"][0]}


def test_a_repeat_gets_the_same_answer(api, github):
    """Status and body of the second answer are those of the first, and the code is exchanged once."""
    query = consented(api, uuid4())
    first, second = (api.get(CALLBACK, query_string=query) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.get_json() == first.get_json()
    assert github.tokens == 1


def test_a_denied_consent_says_so_again(api):
    """An error in the redirect is OAUTH_DENIED, also when it is repeated; an empty one is none."""
    query = consented(api, uuid4())
    assert api.get(CALLBACK, query_string={**consented(api, uuid4()), "error": ""}).status_code == 200
    denied = {"error": "access_denied", "error_description": "No.", "state": query["state"]}
    first, second = (api.get(CALLBACK, query_string=denied) for _ in range(2))
    assert problem(first) == problem(second) == (400, "OAUTH_DENIED")
    assert [one.get_json()["details"] for one in (first, second)] == [
        [{"field": "error", "message": "access_denied"}]
    ] * 2


def test_a_failure_is_told_again(github):
    """A problem's second answer differs from its first one in its trace id only."""
    api = make_api(github)
    github.scope = "gist"
    query = consented(api, uuid4())
    first, second = (api.get(CALLBACK, query_string=query).get_json() for _ in range(2))
    assert {**first, "trace_id": None} == {**second, "trace_id": None}
    assert (first["code"], github.tokens) == ("REAUTHORIZATION_REQUIRED", 1)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_only_get_finishes_a_consent(api, github, method):
    """HEAD and other methods are not allowed, OPTIONS says so, and none of them touches the state."""
    query = consented(api, uuid4())
    answer = api.call(method, CALLBACK, query_string=query, check=False)
    assert answer.status_code == (200 if method == "OPTIONS" else 405)
    assert {one.strip() for one in answer.headers["Allow"].split(",")} == {"GET", "OPTIONS"}
    assert github.requests == []
    assert api.get(CALLBACK, query_string=query).status_code == 200


def test_head_is_answered_elsewhere(api):
    """Where GET changes nothing, HEAD is answered as usual, without a body."""
    answer = api.call("HEAD", "/providers", check=False)
    assert (answer.status_code, answer.get_data()) == (200, b"")


def test_wrong_callbacks_do_not_use_the_state_up(api, github):
    """Another tenant's header, token, provider or code is refused as an unknown state, and the right one still works."""
    tenant = str(uuid4())
    query = consented(api, tenant)
    for wrong in (
        {"tenant": uuid4()},
        {"token": TENANT_TOKEN},
        {"token": TENANT_TOKEN, "tenant": ONLY_TENANT},
    ):
        assert problem(api.get(CALLBACK, query_string=query, **wrong)) == (400, "OAUTH_STATE_INVALID")
    assert problem(api.get(CALLBACK, query_string=query, tenant="nobody")) == (400, "VALIDATION_ERROR")
    assert problem(api.get("/connect/slack/callback", query_string=query)) == (400, "OAUTH_STATE_INVALID")
    assert github.requests == []
    first = api.get(CALLBACK, query_string=query, tenant=tenant)
    assert first.status_code == 200
    assert problem(api.get(CALLBACK, query_string={**query, "code": "other"})) == (400, "OAUTH_STATE_INVALID")
    assert api.get(CALLBACK, query_string=query).get_json() == first.get_json()


def test_a_callback_that_takes_too_long_is_retried_later(github):
    """While another one is at work, the callback is a 503 with `Retry-After: 5`."""
    api = make_api(github, clock=ManualClock())
    query = consented(api, uuid4())
    busy = []

    def ask_again(request):
        github.failure = None
        busy.append(api.get(CALLBACK, query_string=query))
        return github(request)

    github.failure = ask_again
    first = api.get(CALLBACK, query_string=query)
    assert problem(busy[0]) == (503, "SERVICE_UNAVAILABLE")
    assert busy[0].headers["Retry-After"] == "5"
    assert busy[0].get_json()["retry_after"] == 5
    assert (first.status_code, github.tokens) == (200, 1)


def test_a_temporary_failure_can_be_repeated(api, github):
    """A token endpoint that is down is a 502, and the same callback connects when it is up again."""
    query = consented(api, uuid4())
    github.failure = lambda request: HttpResponse(status=503)
    assert problem(api.get(CALLBACK, query_string=query)) == (502, "PROVIDER_ERROR")
    github.failure = None
    assert api.get(CALLBACK, query_string=query).status_code == 200


# --- one certain connection ----------------------------------------------------------------------------------------


def test_another_account_than_asked_is_a_conflict(api, github):
    """The problem names both accounts, its repeat too, and the connection stays as it was."""
    tenant = api.new_tenant()
    connection = api.connect(tenant)
    github.user = {"id": 202, "login": "bob", "html_url": "https://github.com/bob"}
    query = consented(api, tenant, {"connection_id": connection["id"]})
    for _ in range(2):
        answer = api.get(CALLBACK, query_string=query)
        assert problem(answer) == (409, "CONFLICT")
        (detail,) = answer.get_json()["details"]
        assert (detail["connection_account"], detail["consent_accounts"]) == ("ada", ["bob"])
    (listed,) = api.get("/connections", tenant=tenant).get_json()["connections"]
    assert (listed["id"], listed["updated_at"]) == (connection["id"], connection["updated_at"])


def test_the_asked_account_is_connected_again(api, github):
    """A consent of the connection's account answers with that connection."""
    tenant = api.new_tenant()
    connection = api.connect(tenant)
    assert api.connect(tenant, {"connection_id": connection["id"]})["id"] == connection["id"]


def test_only_own_connections_can_be_asked_for(api):
    """Another tenant's connection is 404, a malformed id 400, another provider's connection 409."""
    tenant = api.new_tenant()
    connection = api.connect(tenant)
    body = {"connection_id": connection["id"]}
    assert problem(api.post("/connect/github", tenant=api.new_tenant(), json=body)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.post("/connect/github", tenant=tenant, json={"connection_id": "x"})) == (
        400,
        "VALIDATION_ERROR",
    )
    assert problem(api.post("/connect/slack", tenant=tenant, json=body)) == (409, "CONFLICT")
