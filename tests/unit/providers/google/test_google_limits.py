"""How Google's refusals are told apart."""

from datetime import timedelta

import pytest
from tests.support.google import NOW, error_reply, reply

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest
from connectors.domain.providers._google.limits import LIMITS, QUOTA_PAUSE, RATE_PAUSE

REQUEST = HttpRequest(method="GET", url="https://www.googleapis.com/drive/v3/changes")
SCOPE_DETAIL = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]


def read(response):
    return LIMITS.read_failure(REQUEST, response, NOW)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error_reply(400, "invalid"), UnexpectedResponseError),
        (error_reply(401, "authError"), ReauthorizationRequiredError),
        (error_reply(403, "rateLimitExceeded"), RateLimitedError),
        (error_reply(403, "userRateLimitExceeded"), RateLimitedError),
        (error_reply(403, "quotaExceeded"), RateLimitedError),
        (error_reply(403, "dailyLimitExceeded"), RateLimitedError),
        (error_reply(403, "insufficientPermissions"), InsufficientScopeError),
        (error_reply(403, "forbidden", details=SCOPE_DETAIL), InsufficientScopeError),
        (error_reply(403, "accessNotConfigured"), ClientRejectedError),
        (error_reply(403, "domainPolicy"), AccessLostError),
        (error_reply(403, "forbidden"), AccessLostError),
        (error_reply(403, "appNotAuthorizedToFile"), AccessLostError),
        (error_reply(404, "notFound"), AccessLostError),
        (error_reply(410, "deleted"), AccessLostError),
        (error_reply(412, "conditionNotMet"), ProviderUnavailableError),
        (error_reply(429, "rateLimitExceeded"), RateLimitedError),
        (error_reply(500, "backendError"), ProviderUnavailableError),
        (error_reply(503, "backendError"), ProviderUnavailableError),
        (reply(body=b"<html>502", status=502), ProviderUnavailableError),
        (reply(body=b"<html>403", status=403), AccessLostError),
        (reply({"error": "text"}, status=403), AccessLostError),
        (reply({"error": {"errors": [7, None], "details": {}}}, status=404), AccessLostError),
        (reply([], status=400), UnexpectedResponseError),
    ],
)
def test_each_refusal_is_the_right_error(response, expected):
    """Reason first, status second; a body that is no envelope leaves the status."""
    assert type(read(response)) is expected


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"Retry-After": "30"}, "", 30),
        ({"Retry-After": "Fri, 20 Nov 2026 10:02:00 GMT"}, "", 120),
        ({}, "Retry after 2026-11-20T10:00:05.000Z", 5),
        ({}, "Retry after soon", RATE_PAUSE.total_seconds()),
        ({"Retry-After": "soon"}, "", RATE_PAUSE.total_seconds()),
        ({"Retry-After": "999999"}, "", 86_400),
        ({"Retry-After": "Fri, 20 Nov 2020 10:02:00 GMT"}, "", 0),
    ],
)
def test_the_pause_is_googles_where_it_says_one(headers, message, seconds):
    """Header, else text, else a minute; never more than a day and never in the past."""
    error = read(error_reply(429, "rateLimitExceeded", message=message, headers=headers))
    assert error.retry_at == NOW + timedelta(seconds=seconds)


def test_a_used_up_day_waits_for_hours():
    """A daily quota is not tried again every minute."""
    assert read(error_reply(403, "dailyLimitExceeded")).retry_at == NOW + QUOTA_PAUSE


def test_no_text_of_theirs_is_repeated():
    """Messages and odd reasons of an answer stay out of our error."""
    error = read(error_reply(403, "<script>secret", message="token ya29.secret"))
    assert "secret" not in str(error) + repr(error.details)
