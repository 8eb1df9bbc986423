"""How Jira refuses requests."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.jira import CLOUD, NOW, reply

from connectors.domain.model.errors import (
    AccessLostError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers.jira.limits import budgets, is_unauthorized, read_failure, read_throttle

REQUEST = HttpRequest(method="POST", url=f"https://api.atlassian.com/ex/jira/{CLOUD}/rest/api/3/search/jql?x=secret")
SCOPE = {"code": 401, "message": "Unauthorized; scope does not match"}


@pytest.mark.parametrize(
    ("status", "document", "headers", "error"),
    [
        (400, {"errorMessages": ["bad JQL"], "errors": {}}, {}, UnexpectedResponseError),
        (400, {"errorMessages": [], "errors": {"jql": "bad"}}, {}, UnexpectedResponseError),
        (401, {"code": 401, "message": "Unauthorized"}, {}, ReauthorizationRequiredError),
        (401, SCOPE, {}, InsufficientScopeError),
        (403, b"<html>", {}, AccessLostError),
        (404, {}, {}, AccessLostError),
        (410, {"errorMessages": ["removed"]}, {}, UnexpectedResponseError),
        (500, b"<html>", {}, ProviderUnavailableError),
        (503, b"", {}, ProviderUnavailableError),
        (503, b"", {"Retry-After": "9"}, RateLimitedError),
        (429, b"anything", {}, RateLimitedError),
    ],
)
def test_each_refusal_has_its_error(status, document, headers, error):
    """Each refusal becomes the error of its row."""
    response = reply(document, status, **{name.replace("-", "_"): value for name, value in headers.items()})
    found = read_failure(REQUEST, response, NOW)
    assert type(found) is error
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("headers", "retry_at"),
    [
        ({"retry-after": "30"}, NOW + timedelta(seconds=30)),
        ({"retry-after": "30", "x-ratelimit-reset": "2026-03-02T13:00Z"}, NOW + timedelta(seconds=30)),
        ({"retry-after": "Mon, 02 Mar 2026 12:05:00 GMT"}, NOW + timedelta(minutes=5)),
        ({"x-ratelimit-reset": "2026-03-02T13:00Z"}, datetime(2026, 3, 2, 13, tzinfo=UTC)),
        ({"x-ratelimit-reset": "2026-03-02T14:00+0100"}, datetime(2026, 3, 2, 13, tzinfo=UTC)),
        ({"x-ratelimit-reset": "2026-03-02T13:00:30.5Z"}, datetime(2026, 3, 2, 13, 0, 30, 500000, tzinfo=UTC)),
        ({"ratelimit": '"global-app-quota";r=0;t=120'}, NOW + timedelta(seconds=120)),
        ({"beta-ratelimit": '"global-app-quota";r=0;t=120'}, NOW + timedelta(seconds=60)),
        ({}, NOW + timedelta(seconds=60)),
        ({"retry-after": "soon", "x-ratelimit-reset": "later"}, NOW + timedelta(seconds=60)),
        ({"retry-after": "-5"}, NOW + timedelta(seconds=60)),
        ({"retry-after": "9" * 5000}, NOW + timedelta(hours=24)),
        ({"x-ratelimit-reset": "2020-01-01T00:00Z"}, NOW + timedelta(seconds=1)),
        ({"ratelimit-reason": "jira-quota-global-based"}, datetime(2026, 3, 2, 13, tzinfo=UTC)),
        ({"ratelimit-reason": "jira-quota-tenant-based"}, datetime(2026, 3, 2, 13, tzinfo=UTC)),
        ({"ratelimit-reason": "jira-burst-based"}, NOW + timedelta(seconds=2)),
    ],
)
def test_retry_at(headers, retry_at):
    """The instant comes from the first readable header, else from the reason."""
    error = read_failure(REQUEST, reply(b"", 429, **{k.replace("-", "_"): v for k, v in headers.items()}), NOW)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == retry_at


SEARCH = "POST rest/api/3/search/jql"


@pytest.mark.parametrize(
    ("reason", "scope", "limit_scope"),
    [
        ("jira-quota-global-based", "app", LimitScope.APP),
        ("jira-quota-tenant-based", "site", LimitScope.ACCOUNT),
        ("jira-burst-based", SEARCH, LimitScope.ACCOUNT),
        ("", None, LimitScope.ACCOUNT),
    ],
)
def test_what_is_limited(reason, scope, limit_scope):
    """Each reason names a budget that the request counts against, or all requests to the site."""
    error = read_failure(REQUEST, reply(b"", 429, RateLimit_Reason=reason), NOW)
    assert isinstance(error, RateLimitedError)
    assert (error.scope, error.limit_scope) == (scope, limit_scope)
    assert scope is None or (scope, limit_scope) in {(one.name, one.limit_scope) for one in budgets(REQUEST)}


def test_budgets_of_requests():
    """Reading counts against both reserves and a paced endpoint of any issue; consent counts against nothing."""
    comments = [
        HttpRequest(
            method="GET", url=f"https://api.atlassian.com/ex/jira/{CLOUD}/rest/api/3/issue/{number}/comment?a=1"
        )
        for number in (7, 99)
    ]
    assert budgets(comments[0]) == budgets(comments[1])
    paced = [one for one in budgets(comments[0]) if one.requests]
    assert [one.name for one in paced] == ["GET rest/api/3/issue/*/comment"]
    assert {one.limit_scope for one in budgets(REQUEST) if one.name == "reserve"} == {
        LimitScope.APP,
        LimitScope.ACCOUNT,
    }
    hook = HttpRequest(method="PUT", url=f"https://api.atlassian.com/ex/jira/{CLOUD}/rest/api/3/webhook/refresh")
    assert "reserve" not in {one.name for one in budgets(hook)}
    assert budgets(HttpRequest(method="POST", url="https://auth.atlassian.com/oauth/token")) == ()


HOUR = datetime(2026, 3, 2, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "retry_at", "limit_scope"),
    [
        ({"x-ratelimit-nearlimit": "true", "x-ratelimit-reset": "2026-03-02T13:00Z"}, HOUR, LimitScope.ACCOUNT),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-03-09T13:00Z"}, HOUR, LimitScope.ACCOUNT),
        ({"x-ratelimit-nearlimit": "true", "ratelimit": '"global-app-quota";r=9;t=60'}, NOW + timedelta(60 / 86400),
         LimitScope.APP),
        ({"x-ratelimit-nearlimit": "true"}, NOW + timedelta(minutes=1), LimitScope.ACCOUNT),
        ({"x-ratelimit-nearlimit": "true", "x-ratelimit-reset": "2026-03-02T12:00:01Z"}, None, None),
        ({"beta-x-ratelimit-nearlimit": "true"}, None, None),
        ({"x-ratelimit-nearlimit": "false", "x-ratelimit-remaining": "5"}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_warnings_keep_a_reserve(headers, retry_at, limit_scope):
    """When little is left, background reading pauses until the quota resets; a warning of seconds is ignored."""
    found = read_throttle(reply({}, **{k.replace("-", "_"): v for k, v in headers.items()}), NOW)
    if retry_at is None:
        assert found is None
    else:
        assert (found.scope, found.retry_at, found.limit_scope) == ("reserve", retry_at, limit_scope)


def test_refresh_is_tried_only_where_it_may_help():
    """A 401 about scopes is no reason to refresh."""
    assert is_unauthorized(reply({"code": 401, "message": "Unauthorized"}, 401))
    assert not is_unauthorized(reply(SCOPE, 401))
    assert not is_unauthorized(reply({}, 403))
