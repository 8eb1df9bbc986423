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
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest
from connectors.domain.providers.github import limits

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
        (403, {"x_github_sso": "required; url=https://github.com/orgs/x/sso?token=1"}, b"{}", AccessLostError),
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
