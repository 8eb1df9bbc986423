"""What Slack's refusals mean."""

from datetime import timedelta

import pytest
from tests.unit.providers.slack.builders import NOW, answer

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.limits import StaleCursorError, read_answer

REQUEST = HttpRequest(method="GET", url="https://slack.com/api/conversations.history?channel=C1")
LIMITS = SLACK.limits


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("invalid_auth", ReauthorizationRequiredError),
        ("not_authed", ReauthorizationRequiredError),
        ("token_revoked", ReauthorizationRequiredError),
        ("account_inactive", ReauthorizationRequiredError),
        ("org_login_required", ReauthorizationRequiredError),
        ("token_expired", ReauthorizationRequiredError),
        ("missing_scope", InsufficientScopeError),
        ("not_in_channel", AccessLostError),
        ("channel_not_found", AccessLostError),
        ("is_archived", AccessLostError),
        ("team_access_not_granted", AccessLostError),
        ("no_permission", AccessLostError),
        ("access_denied", AccessLostError),
        ("invalid_cursor", StaleCursorError),
        ("invalid_client_id", ClientRejectedError),
        ("internal_error", ProviderUnavailableError),
        ("fatal_error", ProviderUnavailableError),
        ("request_timeout", ProviderUnavailableError),
        ("service_unavailable", ProviderUnavailableError),
        ("invalid_ts_oldest", UnexpectedResponseError),
        ("unknown_method", UnexpectedResponseError),
        (None, UnexpectedResponseError),
        (7, UnexpectedResponseError),
        ("x" * 100_000, UnexpectedResponseError),
        ("line\nbreak", UnexpectedResponseError),
    ],
)
def test_each_error_of_a_200_says_who_must_act(code, error):
    """`ok: false` is Slack's only way to refuse."""
    with pytest.raises(error) as caught:
        read_answer(answer({"ok": False, "error": code}))
    assert type(caught.value) is error
    assert len(caught.value.message) < 200


def test_warnings_beside_ok_are_no_failure():
    """`already_in_channel` and its like."""
    assert read_answer(answer({"ok": True, "warning": "already_in_channel"}))["ok"] is True


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"null", b'{"ok":1}', b'{"ok":"true"}', b"[" * 100_000])
def test_an_answer_that_is_not_slacks_is_unexpected(body):
    """HTML, cut JSON, deep JSON, another type."""
    with pytest.raises(UnexpectedResponseError):
        read_answer(HttpResponse(status=200, body=body))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("30", 30), (" 7 ", 7), ("0", 1), (None, 60), ("soon", 60), ("-5", 60), ("9" * 5000, 86_400), ("²", 60),
     ("Mon, 04 May 2026 12:01:30 GMT", 90), ("Mon, 04 May 2026 11:00:00 GMT", 1)],
)  # fmt: skip
def test_429_waits_as_long_as_slack_says(header, seconds):
    """Delay-seconds or a date; a minute where it says nothing that can be read."""
    headers = {} if header is None else {"Retry-After": header}
    error = LIMITS.read_failure(REQUEST, answer({"ok": False, "error": "ratelimited"}, 429, headers), NOW)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == NOW + timedelta(seconds=seconds)
    assert (error.scope, error.limit_scope) == ("conversations.history", LimitScope.ACCOUNT)


@pytest.mark.parametrize(
    ("method", "a_minute"),
    [("conversations.list", 20), ("users.list", 20), ("conversations.history", 50), ("conversations.replies", 50),
     ("conversations.join", 50), ("auth.test", None)],
)  # fmt: skip
def test_each_method_of_a_workspace_has_a_budget_of_its_own(method, a_minute):
    """No minute has more calls than Slack's tier allows; a limit names a budget that its request counts against."""
    (budget,) = LIMITS.budgets(HttpRequest(method="GET", url=f"https://slack.com/api/{method}?channel=C1"))
    assert (budget.name, budget.limit_scope) == (method, LimitScope.ACCOUNT)
    assert (budget.requests and budget.requests + budget.burst) == a_minute


def test_what_is_no_method_has_no_budget():
    """The consent page, for one."""
    assert LIMITS.budgets(HttpRequest(method="GET", url="https://slack.com/oauth/v2/authorize")) == ()


def test_a_limit_that_hides_in_a_200_is_seen():
    """A limit under status 200 uses the header if there is one."""
    error = LIMITS.read_throttle(answer({"ok": False, "error": "ratelimited"}, 200, {"Retry-After": "9"}), NOW)
    assert error.retry_at == NOW + timedelta(seconds=9)
    assert LIMITS.read_throttle(answer({"ok": True, "messages": [{"text": '"error" ratelimited'}]}), NOW) is None
    assert LIMITS.read_throttle(HttpResponse(status=200, body=b'{"error"'), NOW) is None


@pytest.mark.parametrize("code", ["token_expired", "token_revoked", "invalid_auth", "account_inactive", "not_authed"])
def test_a_refresh_is_worth_a_try_for_a_dead_token(code):
    """Another consent may have revoked the access token alone; these errors come with 200."""
    assert LIMITS.is_unauthorized(answer({"ok": False, "error": code}))
    assert LIMITS.is_unauthorized(HttpResponse(status=401))
    assert not LIMITS.is_unauthorized(answer({"ok": False, "error": "missing_scope"}))
    assert not LIMITS.is_unauthorized(answer({"ok": True, "error": code}))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"<html>", ProviderUnavailableError),
        (503, b"", ProviderUnavailableError),
        (408, b"", ProviderUnavailableError),
        (401, b"", ReauthorizationRequiredError),
        (403, b'{"ok":false,"error":"missing_scope"}', InsufficientScopeError),
        (404, b"<html>", UnexpectedResponseError),
    ],
)
def test_other_statuses_mean_what_they_say(status, body, error):
    """Methods use none of them but 5xx; gateways do."""
    assert type(LIMITS.read_failure(REQUEST, HttpResponse(status=status, body=body), NOW)) is error
