"""Errors that a person can do something about say what, where people look: on the connection, or in the problem."""

import json
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from connectors.domain.model.http import HttpResponse
from tests.support.api import GitHubStub, make_api, problem


def answer(document, status=200):
    return HttpResponse(status=status, headers={"content-type": "application/json"}, body=json.dumps(document).encode())


def callback(api, provider):
    """The answer to a consent's redirect."""
    started = api.post(f"/connect/{provider}", tenant=uuid4()).get_json()
    state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
    return api.get(f"/connect/{provider}/callback", query_string={"code": "c0de", "state": state})


@pytest.mark.parametrize(
    ("message", "expected"),
    [('The "push" event cannot have more than 20 hooks', "under Webhooks"), ("url is not supported", "custom")],
)
def test_too_many_webhooks(message, expected):
    """GitHub's limit of 20 hooks is named on the connection, with where to remove one; it is tried again soon."""

    class Full(GitHubStub):
        def __call__(self, request):
            if request.method == "POST" and urlsplit(request.url).path.endswith("/hooks"):
                return answer({"errors": [{"resource": "Hook", "code": "custom", "message": message}]}, 422)
            return super().__call__(request)

    api = make_api(Full())
    tenant = str(uuid4())
    connection = api.connect(tenant, {"options": {"repositories": ["ada/lamp"]}})
    shown = api.get(f"/connections/{connection['id']}", tenant=tenant).get_json()
    assert expected in shown["last_error"]
    (hook,) = shown["subscriptions"]
    assert (hook["status"], f"Webhooks: {hook['error']}") == ("failed", shown["last_error"])
    assert shown["health"] == "degraded"
    assert message not in shown["last_error"]


def test_a_github_apps_token():
    """A token without scopes, of a GitHub App, is not the user's fault: the operator registers an OAuth app."""

    class App(GitHubStub):
        def __call__(self, request):
            if urlsplit(request.url).path == "/login/oauth/access_token":
                return answer({"access_token": "ghu_1", "token_type": "bearer", "scope": ""})
            return super().__call__(request)

    refused = callback(make_api(App()), "github")
    assert problem(refused) == (502, "PROVIDER_ERROR")
    assert "client id and secret of an OAuth app" in refused.get_json()["detail"]


def test_a_user_who_grants_too_little_is_asked_again():
    """An OAuth app's token without the scope is the user's matter."""
    github = GitHubStub()
    github.scope = "read:org"
    refused = callback(make_api(github), "github")
    assert problem(refused) == (409, "REAUTHORIZATION_REQUIRED")


def test_no_jira_site():
    """An account without a site is the user's matter, and the problem says whom to ask."""

    def atlassian(request):
        if request.url.endswith("/oauth/token"):
            tokens = {"access_token": "a", "refresh_token": "r", "expires_in": 3600, "token_type": "Bearer"}
            return answer({**tokens, "scope": "read:jira-work read:jira-user manage:jira-webhook offline_access"})
        return answer([])

    refused = callback(make_api(atlassian), "jira")
    assert problem(refused) == (409, "CONFLICT")
    assert "its administrator has not blocked the app" in refused.get_json()["detail"]
