"""How GitHub refuses requests: limits, missing permissions and faults.

The order of checks is GitHub's advice: `retry-after` first, then `x-ratelimit-reset` when nothing remains,
then a minute. A 403 is a limit only if it says so; otherwise it is a missing permission and waiting will not help.

Source: docs.github.com, "Rate limits for the REST API" and "Troubleshooting the REST API".
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus

from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    RefusedForGoodError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest, HttpResponse
from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers.contract import Limits
from connectors.domain.providers.github import sso
from connectors.domain.providers.toolbox.foreign import read_count, read_objects, read_text
from connectors.domain.providers.toolbox.retry_after import bounded, read_retry_after

SECONDARY_PAUSE = timedelta(seconds=60)
"""The pause for a limit that names no instant: the least that GitHub asks for."""

ROUNDING = timedelta(seconds=1)
"""Added to `x-ratelimit-reset`, which is rounded down; our clock may also be a little ahead."""

RESERVE_SHARE = 0.10
"""The share of a user's hourly quota that background reading leaves: all apps of that user share the quota."""

RESERVE = "reserve"
"""`RateLimitedError.scope` when only the reserve is left: interactive calls go on."""

CORE = "core"
"""GitHub's name for the quota of all our calls (`x-ratelimit-resource`). Not counted here: the user's other apps use it
too, and every answer says what is left."""

WRITES = Budget(name="writes", requests=59, per=timedelta(minutes=1), burst=1)
"""Making, changing and removing hooks, requesting deliveries: one a second, as GitHub asks, which is below the 80 a
minute that it allows."""

WRITES_AN_HOUR = Budget(name="writes_an_hour", requests=250, per=timedelta(hours=1), burst=250)
"""GitHub allows 500 an hour. Half of it may be used at once: a new connection makes all its hooks together."""

ARCHIVED = re.compile(r"\barchived\b", re.IGNORECASE)
"""In the message of a 403 that refuses to change an archived repository. GitHub does not document the wording."""

_TOO_MANY_HOOKS = re.compile(r"cannot have more than \d+ hooks", re.IGNORECASE | re.ASCII)
"""Its code is `custom`, as for every other reason. GitHub does not document the wording."""

_LIMIT_FRAGMENTS = ("secondary-rate-limits", "abuse-rate-limits")
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS})
_VALIDATION_CODES = frozenset({"missing", "missing_field", "invalid", "already_exists", "unprocessable", "custom"})


def read_failure(request: HttpRequest, response: HttpResponse, now: datetime) -> ConnectorsError:
    """The error for an answer of 400 or above. See `Limits.read_failure`."""
    limited = read_limit(response, now, budgets(request))
    if limited is not None:
        return limited
    match response.status:
        case HTTPStatus.UNAUTHORIZED:
            return ReauthorizationRequiredError("GitHub does not accept the access token any more.")
        case HTTPStatus.FORBIDDEN:
            return _forbidden(response)
        case status if status in _GONE:
            return AccessLostError(f"GitHub answered {status}: it is not there, or not visible to this user.")
        case HTTPStatus.REQUEST_TIMEOUT:
            return ProviderUnavailableError("GitHub gave up waiting for the request.")
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return UnexpectedResponseError(f"GitHub refused a {request.method}: {validation_codes(response)}.")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProviderUnavailableError(f"GitHub answered {status}.")
        case status:
            return UnexpectedResponseError(f"GitHub answered a {request.method} with {status}.")


def budgets(request: HttpRequest) -> tuple[Budget, ...]:
    """What a request counts against. See `Limits.budgets`."""
    if request.authorization is not Authorization.ACCESS_TOKEN:
        return (Budget(name=CORE, limit_scope=LimitScope.APP),)
    if request.method == "GET":
        return (Budget(name=CORE), Budget(name=RESERVE))
    return (Budget(name=CORE), WRITES, WRITES_AN_HOUR)


def read_limit(response: HttpResponse, now: datetime, counted: Sequence[Budget] = ()) -> RateLimitedError | None:
    """The limit in an answer of 400 or above; None if it is about something else.

    Args:
        response: the answer.
        now: when it came.
        counted: the budgets that its request counted against.
    """
    if response.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}:
        return None
    is_used_up = _read_count(response, "x-ratelimit-remaining") == 0
    retry_after = response.headers.get("retry-after")
    retry_at = read_retry_after(retry_after, now)
    reason = "GitHub wants a pause."
    if retry_at is None and is_used_up:
        retry_at = _read_reset(response, now) or now + SECONDARY_PAUSE
        reason = "The hourly quota of this GitHub user is used up."
    elif retry_at is None:
        is_named = retry_after is not None or _names_a_limit(response)
        if response.status != HTTPStatus.TOO_MANY_REQUESTS and not is_named:
            return None
        retry_at = now + SECONDARY_PAUSE
    quota = next(iter(counted), Budget(name=CORE))
    # A used up quota has a name. A secondary limit has none, and any further request risks a ban.
    is_named = quota.limit_scope is LimitScope.APP or (
        is_used_up and response.headers.get("x-ratelimit-resource") == quota.name
    )
    return RateLimitedError(
        reason, retry_at=retry_at, scope=quota.name if is_named else None, limit_scope=quota.limit_scope
    )


def read_throttle(response: HttpResponse, now: datetime) -> RateLimitedError | None:
    """The error when only the reserve of the user's quota is left, else None."""
    remaining = _read_count(response, "x-ratelimit-remaining")
    limit = _read_count(response, "x-ratelimit-limit")
    if remaining is None or limit is None or remaining > limit * RESERVE_SHARE:
        return None
    retry_at = _read_reset(response, now) or now + SECONDARY_PAUSE
    return RateLimitedError("Only the reserve of this GitHub user's quota is left.", retry_at=retry_at, scope=RESERVE)


def validation_codes(response: HttpResponse) -> str:
    """The codes of a 422, joined by commas; `no reason given` if there are none. Never GitHub's free text."""
    try:
        errors = response.json_object().get("errors")
    except UnexpectedResponseError:
        errors = None
    listed = errors if isinstance(errors, list) else []
    codes = {str(error.get("code")) for error in listed if isinstance(error, dict)} & _VALIDATION_CODES
    return ", ".join(sorted(codes)) or "no reason given"


def has_too_many_hooks(response: HttpResponse) -> bool:
    """Whether a 422 says that the repository or organization has as many hooks as GitHub allows for one event."""
    try:
        errors = read_objects(response.json_object().get("errors"))
    except UnexpectedResponseError:
        return False
    return any(_TOO_MANY_HOOKS.search(read_text(error.get("message")) or "") for error in errors)


def _forbidden(response: HttpResponse) -> AccessLostError | RefusedForGoodError:
    # Not InsufficientScopeError: one organization's rule must not disable a connection that works elsewhere.
    if sso.HEADER in response.headers:
        return sso.sign_on_required(response)
    if ARCHIVED.search(_message_of(response)):
        return RefusedForGoodError("The repository is archived: it takes no webhook, and is polled.")
    return AccessLostError(
        "GitHub does not permit this user or app to do that.",
        next_step="Check the user's role, and whether the organization restricts third-party apps.",
    )


def _names_a_limit(response: HttpResponse) -> bool:
    try:
        document = response.json_object()
    except UnexpectedResponseError:
        return False
    link = document.get("documentation_url")
    by_link = isinstance(link, str) and link.rpartition("#")[2] in _LIMIT_FRAGMENTS
    # The wording is not documented, so it only counts after the headers.
    return by_link or "rate limit" in _message_of(response).lower()


def _message_of(response: HttpResponse) -> str:
    """GitHub's free text, to search and never to show; empty if there is none."""
    try:
        return read_text(response.json_object().get("message")) or ""
    except UnexpectedResponseError:
        return ""


def _read_reset(response: HttpResponse, now: datetime) -> datetime | None:
    epoch = _read_count(response, "x-ratelimit-reset")
    if epoch is None:
        return None
    try:
        reset = from_epoch_seconds(epoch)
    except ValueError:
        return None
    return bounded(reset, now - ROUNDING) + ROUNDING


def _read_count(response: HttpResponse, header: str) -> int | None:
    return read_count(response.headers.get(header, "").strip())


LIMITS = Limits(read_failure=read_failure, read_throttle=read_throttle, budgets=budgets)
