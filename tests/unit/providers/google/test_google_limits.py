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
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers._google.limits import QUOTA_PAUSE, RATE_PAUSE
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.gmail.limits import PAGE_COST
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

PROVIDERS = {"drive": GOOGLE_DRIVE, "calendar": GOOGLE_CALENDAR, "gmail": GMAIL}
REQUEST = HttpRequest(method="GET", url="https://www.googleapis.com/drive/v3/changes")
SCOPE_DETAIL = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]


def read(response):
    return GOOGLE_DRIVE.limits.read_failure(REQUEST, response, NOW)


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
        ({"Retry-After": "Fri, 20 Nov 2020 10:02:00 GMT"}, "", 1),
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


PATHS = {
    "drive": ("https://www.googleapis.com/drive/v3/files?q=x", 100),
    "calendar": ("https://www.googleapis.com/calendar/v3/calendars/dana%40x.com/events", 1),
    "gmail": ("https://gmail.googleapis.com/gmail/v1/users/me/messages/18c1?format=metadata", 20),
}
OF_USER = ("user", LimitScope.ACCOUNT)
OF_PROJECT = ("project", LimitScope.APP)
OF_DAY = ("project_day", LimitScope.APP)
PER_USER = [{"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "QueriesPerMinutePerUser"}}]
PER_PROJECT = [{"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "QueriesPerMinutePerProject"}}]


@pytest.mark.parametrize(
    ("provider", "response", "expected"),
    [
        ("drive", error_reply(403, "userRateLimitExceeded"), OF_USER),
        ("drive", error_reply(403, "rateLimitExceeded"), OF_PROJECT),
        ("drive", error_reply(403, "quotaExceeded"), OF_DAY),
        ("drive", error_reply(403, "dailyLimitExceeded"), OF_DAY),
        ("calendar", error_reply(403, "quotaExceeded"), OF_USER),
        ("calendar", error_reply(403, "dailyLimitExceeded"), OF_DAY),
        ("gmail", error_reply(403, "rateLimitExceeded"), OF_PROJECT),
        ("gmail", error_reply(429, "rateLimitExceeded"), OF_USER),
        ("gmail", error_reply(403, "rateLimitExceeded", details=PER_USER), OF_USER),
        ("gmail", error_reply(429, "rateLimitExceeded", details=PER_PROJECT), OF_PROJECT),
        ("gmail", reply(body=b"<html>429", status=429), OF_USER),
    ],
)
def test_a_refusal_names_the_budget_that_is_used_up(provider, response, expected):
    """Google distinguishes its project's limits from a user's; an unclear limit only stops that user."""
    request = HttpRequest(method="GET", url=PATHS[provider][0])
    error = PROVIDERS[provider].limits.read_failure(request, response, NOW)
    assert (error.scope, error.limit_scope) == expected
    assert expected in {(budget.name, budget.limit_scope) for budget in PROVIDERS[provider].limits.budgets(request)}


def test_a_refusal_of_an_identity_endpoint_holds_up_one_grant():
    """It counts against no quota of the API, and stops no other user."""
    request = HttpRequest(method="GET", url="https://openidconnect.googleapis.com/v1/userinfo")
    error = GMAIL.limits.read_failure(request, error_reply(429, "rateLimitExceeded"), NOW)
    assert (error.scope, error.limit_scope, GMAIL.limits.budgets(request)) == (None, LimitScope.GRANT, ())


@pytest.mark.parametrize(
    ("provider", "allowed"),
    [
        ("drive", {"user": 325_000, "project": 1_000_000, "project_day": 400_000_000}),
        ("calendar", {"user": 600, "project": 10_000, "project_day": 1_000_000}),
        ("gmail", {"user": 6_000, "project": 1_200_000, "project_day": 80_000_000}),
    ],
)
@pytest.mark.parametrize("base", ["https://host.example", "http://127.0.0.1:9000/google"])
def test_budgets_add_up_to_what_google_allows(provider, allowed, base):
    """Wherever the API is, steady flow and burst together are the quota, and no request costs more than the burst."""
    url, cost = PATHS[provider]
    budgets = PROVIDERS[provider].limits.budgets(HttpRequest(method="GET", url=base + url[url.index(".com/") + 4 :]))
    assert {budget.name: budget.requests + budget.burst for budget in budgets} == allowed
    assert {budget.cost for budget in budgets} == {cost}
    assert all(budget.burst >= cost for budget in budgets)


def test_a_page_of_mail_goes_out_at_once():
    """The most expensive page fits into the burst, so no page has to wait halfway and start over."""
    (user, *_) = GMAIL.limits.budgets(HttpRequest(method="GET", url=PATHS["gmail"][0]))
    assert user.burst >= PAGE_COST


@pytest.mark.parametrize(
    ("path", "cost"),
    [("/profile", 1), ("/history", 2), ("/messages", 5), ("/stop", 50), ("/watch", 100), ("/drafts", 100)],
)
def test_gmail_weighs_its_methods(path, cost):
    """Costs are those of the API's table; a method that is not in ours counts as the most expensive."""
    url = f"https://gmail.googleapis.com/gmail/v1/users/me{path}?pageToken=x"
    assert GMAIL.limits.budgets(HttpRequest(method="GET", url=url))[0].cost == cost


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_notification_has_no_family(provider):
    """A notification only says that something changed, so it concerns all families."""
    events = ("change", "exists", "mailbox.changed")
    assert [PROVIDERS[provider].family_of(event) for event in events] == [None] * 3
