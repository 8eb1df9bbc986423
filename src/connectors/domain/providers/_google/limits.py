"""How Google refuses requests: one error envelope for all APIs, in which the reason counts, not only the status.

How much Google allows, and for whom, is in `quotas.py`.

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
"""The pause when Google names none: its quotas count per minute, and it advises at most 64 s."""
QUOTA_PAUSE = timedelta(hours=2)
"""The pause when a daily quota is used up: a few tries until it resets."""

RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})
QUOTA_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
USER_REASONS = frozenset({"userRateLimitExceeded"})
DAY_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})
SCOPE_REASONS = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
OPERATOR_REASONS = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})

REASON = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
"""The form of a reason; any other text is not repeated in our messages."""
USER_TEXT = re.compile(r"\b(?:per|for) user\b|PerUser", re.IGNORECASE)
"""Matches names and messages of limits on one user. Wording unconfirmed: see `read_limit`."""
RETRY_TEXT = re.compile(r"[Rr]etry after ([0-9T:.+Z-]{20,40})")
"""Gmail puts the instant into the message. Wording unconfirmed: without a match only the instant is lost."""


@attrs.frozen(kw_only=True)
class Refusal:
    """What an error answer says."""

    status: int
    reason: str
    """Google's word for it; empty if there is none."""
    location: str = ""
    """The parameter that is meant, if named."""
    limit: str = ""
    """The limit that was hit, if named (`…PerMinutePerUser`)."""
    message: str = attrs.field(default="", repr=False)
    """Google's free text: searched for a time and for the limit's owner, never shown."""

    @property
    def details(self) -> list[dict[str, Any]]:
        """The details of our error, for provider packages and operators to branch on."""
        return [{"reason": self.reason, "status": self.status, "location": self.location}]


def read_refusal(response: HttpResponse) -> Refusal:
    """The error envelope, or only the status if the body is something else (a gateway's HTML)."""
    try:
        error = read_object(read_object(response.json()).get("error"))
    except UnexpectedResponseError:
        error = {}
    first = next(iter(read_objects(error.get("errors"))), {})
    detail = next((each for each in read_objects(error.get("details")) if "reason" in each), {})
    candidates = [first.get("reason"), detail.get("reason"), error.get("status")]
    # Newer APIs report a missing scope only in the detail, which therefore outranks a general `forbidden`.
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
    """When Google accepts another request: from its header, else from its text, else `otherwise` from now."""
    named = read_retry_after(response.headers.get("retry-after"), now)
    if named is None and (found := RETRY_TEXT.search(refusal.message)):
        named = read_instant(found.group(1))
    return now + otherwise if named is None else bounded(named, now)


def read_limit(refusal: Refusal, quota: Quota) -> tuple[str, LimitScope]:
    """Which budget a refusal is about, and who has to wait.

    A user's limit belongs to the Google account, whichever tenants connected it: hence ACCOUNT and not GRANT. If Google
    does not say whose limit it was, it counts as the user's. If that is wrong, other accounts get a refusal themselves;
    the opposite mistake would let one busy account stop every tenant.
    """
    # The wording of the answer outranks the usual meaning of its reason.
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
    """The error for an answer of 400 or above. Its `details` contain Google's reason."""
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
            # 412 has been reported for plain reads of calendars, without a cause; repeating helps.
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
    # The identity endpoints count against none of the API's budgets, so only this grant waits.
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
    """Google's reason in an error from this module; empty if there is none."""
    return next((str(detail["reason"]) for detail in error.details if "reason" in detail), "")


def google_limits(quota: Quota) -> Limits:
    """The limits of one of Google's APIs."""
    return Limits(
        read_failure=partial(read_failure, quota),
        budgets=quota.budgets,
    )
