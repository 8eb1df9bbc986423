"""What GitHub's refusals mean, as one table."""

import json
from datetime import timedelta

import pytest
from tests.unit.providers.github.support import NOW, http_date, respond

from connectors.domain.model.errors import (
    AccessLostError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    RefusedForGoodError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers.github import limits
from connectors.domain.providers.github.sso import SingleSignOnError

REQUEST = HttpRequest(method="GET", url="https://api.github.com/repos/o/r/issues")
EPOCH = int(NOW.timestamp())
SECONDARY = json.dumps(
    {"message": "Slow down.", "documentation_url": "https://docs.github.com/x#secondary-rate-limits"}
).encode()


def failure(status, body=b"{}", **headers):
    return limits.read_failure(REQUEST, respond(body, status, **headers), NOW)


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry_after": "30"}, b"{}", 30),
        ({"retry_after": "30", "x_ratelimit_remaining": "0", "x_ratelimit_reset": str(EPOCH + 900)}, b"{}", 30),
        ({"retry_after": http_date(NOW + timedelta(seconds=45))}, b"{}", 45),
        ({"retry_after": "gibberish"}, b"{}", 60),
        ({"retry_after": "9" * 14}, b"{}", 86_400),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(EPOCH + 900)}, b"{}", 901),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": str(EPOCH - 900)}, b"{}", 1),
        ({"x_ratelimit_remaining": "0", "x_ratelimit_reset": "9" * 15}, b"{}", 60),
        ({"x_ratelimit_remaining": "0"}, b"<html>", 60),
        ({"x_ratelimit_remaining": "4000"}, SECONDARY, 60),
        ({}, SECONDARY, 60),
    ],
)
def test_limits(status, headers, body, seconds):
    """`retry-after` decides, then the reset of an empty quota, then a minute."""
    error = failure(status, body, **headers)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (401, {}, b'{"message": "Bad credentials"}', ReauthorizationRequiredError),
        (403, {}, b'{"message": "Resource not accessible by integration"}', AccessLostError),
        (403, {}, b'{"message": "Repository was archived so is read-only."}', RefusedForGoodError),
        (403, {"retry_after": "60"}, b'{"message": "Repository was archived so is read-only."}', RateLimitedError),
        (403, {"x_github_sso": "required; url=https://github.com/orgs/x/sso?a=1"}, b"{}", SingleSignOnError),
        (403, {"x_ratelimit_remaining": "4999"}, b"<html>", AccessLostError),
        (404, {}, b"{}", AccessLostError),
        (410, {}, b"{}", AccessLostError),
        (451, {}, b"{}", AccessLostError),
        (422, {}, b'{"errors": [{"code": "missing_field"}, {"code": "made up gho_1"}, 7]}', UnexpectedResponseError),
        (422, {}, b"<html>", UnexpectedResponseError),
        (418, {}, b"", UnexpectedResponseError),
        (408, {}, b"", ProviderUnavailableError),
        (500, {}, b"", ProviderUnavailableError),
        (502, {}, b"<html>Unicorn</html>", ProviderUnavailableError),
        (503, {}, b"\xff\xfe", ProviderUnavailableError),
    ],
)
def test_other_failures(status, headers, body, expected):
    """A permission is not a limit, a dead token is not a permission, and HTML is only its status."""
    error = failure(status, body, **headers)
    assert type(error) is expected
    assert "gho_1" not in error.message
    assert "token" not in (error.next_step or "")


def test_a_429_without_any_header():
    """It is a limit by its status alone."""
    assert failure(429).retry_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("remaining", "limit", "is_throttled"),
    [("500", "5000", True), ("501", "5000", False), ("0", "5000", True), ("x", "5000", False), ("1", "", False)],
)
def test_reserve(remaining, limit, is_throttled):
    """Background reading stops when a tenth of the user's quota is left."""
    response = respond(x_ratelimit_remaining=remaining, x_ratelimit_limit=limit, x_ratelimit_reset=str(EPOCH + 600))
    error = limits.read_throttle(response, NOW)
    assert (error is not None) == is_throttled
    if error is not None:
        assert error.scope == "reserve"
        assert error.retry_at == NOW + timedelta(seconds=601)


HOOK = HttpRequest(method="POST", url="https://api.github.com/repos/o/r/hooks")
OWN = HttpRequest(
    method="DELETE", url="https://api.github.com/applications/c/token", authorization=Authorization.CLIENT_BASIC
)
USED_UP = {"x_ratelimit_remaining": "0", "x_ratelimit_resource": "core", "x_ratelimit_reset": str(EPOCH + 900)}


@pytest.mark.parametrize(
    ("request_", "headers", "scope", "limit_scope"),
    [
        (REQUEST, USED_UP, "core", LimitScope.GRANT),
        (HOOK, USED_UP, "core", LimitScope.GRANT),
        (REQUEST, {**USED_UP, "x_ratelimit_resource": "code_scanning_upload"}, None, LimitScope.GRANT),
        (REQUEST, {"retry_after": "5", "x_ratelimit_resource": "core"}, None, LimitScope.GRANT),
        (HOOK, {"retry_after": "5"}, None, LimitScope.GRANT),
        (OWN, {"retry_after": "5"}, "core", LimitScope.APP),
    ],
)
def test_who_has_to_wait(request_, headers, scope, limit_scope):
    """A used up quota stops what counts against it, a secondary limit all of that user; our own calls are the app's."""
    error = limits.read_failure(request_, respond(b"{}", 429, **headers), NOW)
    assert (error.scope, error.limit_scope) == (scope, limit_scope)
    assert scope is None or (scope, limit_scope) in {(one.name, one.limit_scope) for one in limits.budgets(request_)}


def test_budgets():
    """Reading keeps the reserve, writing a pace that GitHub's 80 a minute and 500 an hour admit; our own calls neither."""
    assert {one.name for one in limits.budgets(REQUEST)} == {"core", "reserve"}
    assert {one.name for one in limits.budgets(OWN)} == {"core"}
    counted = {one.per: one for one in limits.budgets(HOOK) if one.requests is not None}
    assert counted[timedelta(minutes=1)].requests + counted[timedelta(minutes=1)].burst <= 60
    assert counted[timedelta(minutes=1)].burst == 1
    assert counted[timedelta(hours=1)].requests + counted[timedelta(hours=1)].burst <= 500
