"""How Google says no: one error envelope for its APIs, told apart by reason and not by status alone.

How much it allows, and whose use it counts together, is in `quotas.py`.

Source: developers.google.com/workspace/drive/api/guides/handle-errors, …/calendar/api/guides/errors,
…/gmail/api/guides/handle-errors.
"""

import re
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import attrs

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
from connectors.domain.model.instant import read_instant
from connectors.domain.model.limits import LimitScope
from connectors.domain.providers._google.quotas import DAY, PROJECT, USER, Quota
from connectors.domain.providers.contract import Limits
from connectors.domain.providers.toolbox.foreign import read_object, read_objects, read_text
from connectors.domain.providers.toolbox.retry_after import bounded, read_retry_after

RATE_PAUSE = timedelta(seconds=64)
"""When Google does not say: its quotas count per minute, and its advice caps a pause at 64 s."""
QUOTA_PAUSE = timedelta(hours=2)
"""A day's quota is used up: hours, and a few tries until it is filled again."""

RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})
QUOTA_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
USER_REASONS = frozenset({"userRateLimitExceeded"})
DAY_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
SCOPE_REASONS = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
OPERATOR_REASONS = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})

REASON = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
"""What a reason looks like; anything else in its place is not repeated in our messages."""
USER_TEXT = re.compile(r"\b(?:per|for) user\b|PerUser", re.IGNORECASE)
"""How a limit's name or a message says that it is one user's. Wording unconfirmed: see `read_limit`."""
RETRY_TEXT = re.compile(r"[Rr]etry after ([0-9T:.+Z-]{20,40})")
"""Gmail puts the instant into the message. Wording unconfirmed: a text that does not match only costs the hint."""


@attrs.frozen(kw_only=True)
class Refusal:
    """What an error answer says."""

    status: int
    reason: str
    """Google's word for it, empty where it gave none."""
    location: str = ""
    """Which parameter is meant, where it says."""
    limit: str = ""
    """Which of its limits, where it names it (`…PerMinutePerUser`)."""
    message: str = attrs.field(default="", repr=False)
    """Free text of theirs: searched for a time and for whose limit it was, never shown."""

    @property
    def details(self) -> list[dict[str, Any]]:
        """What goes with our error, for packages and operators to branch on."""
        return [{"reason": self.reason, "status": self.status, "location": self.location}]


def read_refusal(response: HttpResponse) -> Refusal:
    """The error envelope, or just the status where the body is something else (a gateway's HTML)."""
    try:
        error = read_object(read_object(response.json()).get("error"))
    except UnexpectedResponseError:
        error = {}
    first = next(iter(read_objects(error.get("errors"))), {})
    detail = next((each for each in read_objects(error.get("details")) if "reason" in each), {})
    candidates = [first.get("reason"), detail.get("reason"), error.get("status")]
    # A scope's absence is only told by the detail on newer surfaces: it outranks a general `forbidden`.
    if _reason(detail.get("reason")) in SCOPE_REASONS | OPERATOR_REASONS:
        candidates.insert(0, detail.get("reason"))
    return Refusal(
        status=response.status,
        reason=next((reason for value in candidates if (reason := _reason(value))), ""),
        location=_reason(first.get("location")),
        limit=_reason(read_object(detail.get("metadata")).get("quota_limit")),
        message=read_text(error.get("message")) or "",
    )


def _reason(value: Any) -> str:
    return value if isinstance(value, str) and REASON.fullmatch(value) else ""


def read_retry_at(response: HttpResponse, refusal: Refusal, now: datetime, otherwise: timedelta) -> datetime:
    """When Google will take another request: its header, else its text, else `otherwise` from now."""
    told = read_retry_after(response.headers.get("retry-after"), now)
    if told is None and (found := RETRY_TEXT.search(refusal.message)):
        told = read_instant(found.group(1))
    return now + otherwise if told is None else bounded(told, now)


def read_limit(refusal: Refusal, quota: Quota) -> tuple[str, LimitScope]:
    """Which budget a limit's refusal is about, and who has to wait.

    A user's limit is the Google account's, whichever of our tenants asks in its name: hence ACCOUNT and not GRANT.
    Where Google leaves open whose limit it was, it is taken for the user's. Mistaken, that costs other accounts a
    refusal of their own; the opposite mistake would let one busy account hold up every tenant.
    """
    # What the answer says of itself outranks what its reason usually means.
    if USER_TEXT.search(refusal.limit or refusal.message):
        return USER, LimitScope.ACCOUNT
    if refusal.reason in USER_REASONS | quota.user_reasons:
        return USER, LimitScope.ACCOUNT
    if refusal.reason in DAY_REASONS:
        return DAY, LimitScope.APP
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS and not refusal.limit:
        return USER, LimitScope.ACCOUNT
    return PROJECT, LimitScope.APP


def read_failure(quota: Quota, request: HttpRequest, response: HttpResponse, now: datetime) -> ConnectorsError:
    """The error that an answer of 400 or above means. Its `details` carry Google's reason."""
    refusal = read_refusal(response)
    said = f"Google answered {refusal.status}" + (f" ({refusal.reason})" if refusal.reason else "")
    match refusal.status:
        case HTTPStatus.UNAUTHORIZED:
            return ReauthorizationRequiredError(f"{said}: the access token is not accepted.", details=refusal.details)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _read_limited(quota, request, response, refusal, now)
        case HTTPStatus.FORBIDDEN if refusal.reason in RATE_REASONS | QUOTA_REASONS:
            return _read_limited(quota, request, response, refusal, now)
        case HTTPStatus.FORBIDDEN:
            return _read_forbidden(refusal, said)
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            return AccessLostError(f"{said}: gone, or not visible to this account.", details=refusal.details)
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.PRECONDITION_FAILED:
            # 412 has been reported for plain reads of calendars, without a cause; a repetition helps.
            return ProviderUnavailableError(said)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProviderUnavailableError(said)
        case _:
            return UnexpectedResponseError(f"{said}.", details=refusal.details)


def _read_limited(
    quota: Quota, request: HttpRequest, response: HttpResponse, refusal: Refusal, now: datetime
) -> RateLimitedError:
    pause = QUOTA_PAUSE if refusal.reason in QUOTA_REASONS else RATE_PAUSE
    said = f"Google answered {refusal.status}" + (f" ({refusal.reason})" if refusal.reason else "")
    # The identity endpoints count against none of the API's budgets: there only this grant waits.
    scope, limit_scope = read_limit(refusal, quota) if quota.counts(request) else (None, LimitScope.GRANT)
    retry_at = read_retry_at(response, refusal, now, pause)
    return RateLimitedError(said, retry_at=retry_at, scope=scope, limit_scope=limit_scope)


def _read_forbidden(refusal: Refusal, said: str) -> ConnectorsError:
    if refusal.reason in SCOPE_REASONS:
        return InsufficientScopeError(
            f"{said}: the user granted fewer permissions than this needs.",
            details=refusal.details,
            next_step="Connect the account again and leave every permission ticked.",
        )
    if refusal.reason in OPERATOR_REASONS:
        return ClientRejectedError(
            f"{said}: the API is not enabled in our Google Cloud project.",
            details=refusal.details,
            next_step="Enable the API in the Google Cloud console, in the project of the OAuth client.",
        )
    return AccessLostError(f"{said}: not permitted for this resource.", details=refusal.details)


def reason_of(error: ConnectorsError) -> str:
    """Google's reason in an error made here, or an empty text."""
    return next((str(detail["reason"]) for detail in error.details if "reason" in detail), "")


def google_limits(quota: Quota) -> Limits:
    """The limits of one of Google's APIs.

    The pauses are Google's advice for all of them: exponential from one second, none above 64 s.
    """
    return Limits(
        read_failure=partial(read_failure, quota),
        budgets=quota.budgets,
        backoff_base=timedelta(seconds=1),
        backoff_cap=timedelta(seconds=64),
    )
