"""How Slack refuses requests: `ok: false` under status 200, and 429 with `Retry-After` for rate limits.

Every answer to a Web API method goes through `read_answer`; nothing else in this package reads `ok`.
Source: docs.slack.dev, "Web API", "Rate limits" and the methods' own error tables.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ConnectorsError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers.contract import Limits
from connectors.domain.providers.slack.endpoints import method_of
from connectors.domain.providers.toolbox.foreign import read_text
from connectors.domain.providers.toolbox.retry_after import read_retry_after

DEFAULT_WAIT = timedelta(seconds=60)
"""The pause for a limit without `Retry-After`: Slack counts in windows of one minute."""
MINUTE = timedelta(minutes=1)
"""Slack's window for every method."""
TIER_2, TIER_3 = (15, 5), (40, 10)
"""The rate per minute, and the burst: together the 20 and 50 that Slack's tiers allow in any minute."""
TIERS: Mapping[str, tuple[int, int]] = {
    "conversations.list": TIER_2,
    "users.list": TIER_2,
    "conversations.history": TIER_3,
    "conversations.replies": TIER_3,
    "conversations.join": TIER_3,
}
"""The budgets of the methods that a sync run calls. Others are called once per connection and not counted."""
ERROR_LIMIT = 80
"""Characters of a foreign error code that we repeat."""

RATE_LIMITED = frozenset({"ratelimited", "rate_limited"})
TOKEN_EXPIRED = "token_expired"  # noqa: S105 - an error's name
GRANT_IS_DEAD = frozenset(
    {"invalid_auth", "not_authed", "token_revoked", "account_inactive", "org_login_required", "user_removed_from_team"}
)
"""Errors of a method for an access token that is dead. Its refresh token may still work: Slack keeps two access tokens
of an installation alive, and a third one, of another tenant's consent, revokes the oldest and leaves its refresh token
alone."""
GRANT_IS_SPENT = frozenset(
    {"invalid_code", "code_already_used", "invalid_refresh_token", "invalid_grant", "code_expired", "access_denied"}
)
"""Errors of the token endpoint for a code or refresh token that will never work again."""
CLIENT_IS_WRONG = frozenset(
    {
        "invalid_client_id",
        "invalid_client",
        "bad_client_secret",
        "bad_redirect_uri",
        "invalid_grant_type",
        "invalid_scope",
        "invalid_team_for_non_distributed_app",
        "scope_not_allowed_on_enterprise",
    }
)
THREAD_IS_GONE = "thread_not_found"
RESOURCE_IS_LOST = frozenset(
    {
        THREAD_IS_GONE,
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "ekm_access_denied",
        "team_access_not_granted",
        "no_permission",
        "access_denied",
        "method_not_supported_for_channel_type",
    }
)
TRANSIENT = frozenset(
    {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org", "accesslimited"}
)
STALE_CURSOR = frozenset({"invalid_cursor"})


class ThreadGoneError(AccessLostError):
    """A thread was deleted."""


class StaleCursorError(UnexpectedResponseError):
    """Slack's paging cursor is no longer valid; `oldest` and `latest` still work."""


def read_answer(response: HttpResponse) -> dict[str, Any]:
    """The answer of a method with `ok: true`. Warnings are ignored.

    Raises:
        ReauthorizationRequiredError: the token is revoked, its user or workspace gone, or expired beyond refresh.
        InsufficientScopeError: `missing_scope`.
        AccessLostError: this channel (or other thing) cannot be read with this token.
        ThreadGoneError: a thread was deleted.
        StaleCursorError: `invalid_cursor`.
        ProviderUnavailableError: an error on Slack's side.
        UnexpectedResponseError: not JSON, no `ok`, or an error that no table here has.
    """
    document = response.json_object()
    if document.get("ok") is True:
        return document
    raise failure(document)


def failure(document: Mapping[str, Any]) -> ConnectorsError:
    """The error for an `ok: false`."""
    code = error_code(document)
    if code is None:
        return UnexpectedResponseError("Slack answered without `ok` and without an error.")
    if code == "missing_scope":
        return missing_scope(document)
    if code == TOKEN_EXPIRED or code in GRANT_IS_DEAD:
        return ReauthorizationRequiredError(
            f"Slack does not take the token any more ({code}).", next_step="Connect the workspace again."
        )
    if code in RESOURCE_IS_LOST:
        lost = ThreadGoneError if code == THREAD_IS_GONE else AccessLostError
        return lost(f"Slack refused this resource ({code}).")
    if code in STALE_CURSOR:
        return StaleCursorError("Slack's paging cursor is not valid any more.")
    if code in CLIENT_IS_WRONG:
        return ClientRejectedError(f"Slack refused the app's registration ({code}).")
    if code in TRANSIENT or code in RATE_LIMITED:
        return ProviderUnavailableError(f"Slack could not answer now ({code}).")
    return UnexpectedResponseError(f"Slack answered with an error that is not explained here ({code}).")


def token_failure(document: Mapping[str, Any]) -> ConnectorsError:
    """The error for an `ok: false` of the token endpoint: a used code or refresh token means a dead grant."""
    code = error_code(document)
    if code in GRANT_IS_SPENT:
        return ReauthorizationRequiredError(
            f"Slack refused the authorization ({code}).", next_step="Connect the workspace again."
        )
    return failure(document)


def missing_scope(document: Mapping[str, Any]) -> InsufficientScopeError:
    """The error for a missing scope, with Slack's words in the details."""
    needed = read_text(document.get("needed"), ERROR_LIMIT)
    provided = read_text(document.get("provided"), 1000)
    return InsufficientScopeError(
        f"The Slack token lacks a scope{f' ({needed})' if needed else ''}.",
        details=[{"needed": needed, "provided": provided}],
        next_step="Connect the workspace again and grant all scopes.",
    )


def error_code(document: Mapping[str, Any]) -> str | None:
    """Slack's error code, cut; None if there is none."""
    code = read_text(document.get("error"), ERROR_LIMIT)
    return code if code and code.isprintable() else None


def read_failure(request: HttpRequest, response: HttpResponse, now: datetime) -> ConnectorsError:
    """The error for a status of 400 or above. Methods use 429 and 5xx; others are read as well as possible."""
    method = method_of(request.url)
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return rate_limited(response, now, method)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.REQUEST_TIMEOUT:
        return ProviderUnavailableError(f"Slack answered {response.status} to {method}.")
    refused = read_refusal(response)
    if refused is not None:
        return failure(refused)
    if response.status == HTTPStatus.UNAUTHORIZED:
        return ReauthorizationRequiredError("Slack does not take the token any more.")
    return UnexpectedResponseError(f"Slack answered {response.status} to {method}.")


def read_throttle(response: HttpResponse, now: datetime) -> RateLimitedError | None:
    """A rate limit with status 200."""
    refused = read_refusal(response)
    if refused is None or error_code(refused) not in RATE_LIMITED:
        return None
    return rate_limited(response, now, method_of(response.url))


def is_unauthorized(response: HttpResponse) -> bool:
    """Whether the access token is dead: Slack says so with status 200, too."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        return True
    refused = read_refusal(response)
    code = None if refused is None else error_code(refused)
    return code == TOKEN_EXPIRED or code in GRANT_IS_DEAD


def read_refusal(response: HttpResponse) -> dict[str, Any] | None:
    """The body of an `ok: false`, None for every other answer."""
    # A page of messages can be a megabyte and is parsed later anyway: check cheaply whether it can be a refusal.
    if b'"error"' not in response.body:
        return None
    try:
        document = response.json_object()
    except UnexpectedResponseError:
        return None
    return None if document.get("ok") is True else document


def rate_limited(response: HttpResponse, now: datetime, method: str | None) -> RateLimitedError:
    """The limit and its end. Slack counts per method, workspace and app: other methods and workspaces may go on."""
    retry_at = read_retry_after(response.headers.get("retry-after"), now) or now + DEFAULT_WAIT
    message = f"Slack limits {method or 'this method'} for now."
    return RateLimitedError(message, retry_at=retry_at, scope=method, limit_scope=LimitScope.ACCOUNT)


def budgets(request: HttpRequest) -> tuple[Budget, ...]:
    """What a request counts against: its method's limit in its workspace. See `Limits.budgets`.

    Apps outside Slack's Marketplace have lower limits. A request does not show which kind of app it is for, so those
    limits are only known from `Retry-After`.
    """
    method = method_of(request.url)
    if method is None:
        return ()
    if method not in TIERS:
        return (Budget(name=method, limit_scope=LimitScope.ACCOUNT),)
    steadily, at_once = TIERS[method]
    return (Budget(name=method, limit_scope=LimitScope.ACCOUNT, requests=steadily, per=MINUTE, burst=at_once),)


LIMITS = Limits(
    read_failure=read_failure, read_throttle=read_throttle, is_unauthorized=is_unauthorized, budgets=budgets
)
