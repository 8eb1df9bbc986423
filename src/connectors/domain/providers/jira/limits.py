"""How Jira refuses requests: rate limits with reasons, and errors of two services (the site and its gateway).

Three limits apply at once: points per hour for the app over all sites, points per hour for a site, and requests per
second for each endpoint of a site. Atlassian's pages disagree on what a request costs in points, so points are not
counted here: a refusal, or the warning that little is left, pauses what it names for all workers.

Source: Rate limiting; OAuth 2.0 (3LO) apps; REST v3 status codes.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus

from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.instant import read_instant
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers.toolbox.foreign import read_line, read_list, read_object
from connectors.domain.providers.toolbox.retry_after import bounded, read_retry_after

BACKOFF_BASE = timedelta(seconds=2)
"""The first pause after a refusal that names no time (Atlassian's advice)."""
BACKOFF_CAP = timedelta(seconds=60)
"""The longest pause between tries if Jira names no time."""

GLOBAL_QUOTA = "jira-quota-global-based"
TENANT_QUOTA = "jira-quota-tenant-based"
BURST = "jira-burst-based"

APP_POINTS = Budget(name="app", limit_scope=LimitScope.APP)
SITE_POINTS = Budget(name="site", limit_scope=LimitScope.ACCOUNT)
RESERVE = "reserve"
"""The scope of the warning that little of a quota is left: background reading leaves the rest to other calls."""
RESERVES = (Budget(name=RESERVE, limit_scope=LimitScope.APP), Budget(name=RESERVE, limit_scope=LimitScope.ACCOUNT))
PACE = 10
"""Requests per second to one endpoint of a site: the lowest published burst limit (other pages say 50 and 100)."""
AT_ONCE = 60
"""Requests to one endpoint that may be sent at once after a pause: the most that a page of issues needs (`details.py`).
They are sent one after the other, and so hardly exceed the rate."""
READING = re.compile(r"rest/api/3/(?:search|changelog|issue|status)\b")
"""Paths of background reading; subscriptions and identity may use the reserve."""
NUMBER = re.compile(r"(?<!/api)/[0-9]+(?=/|$)")

CLOUD_PATH = re.compile(r"/ex/jira/([A-Za-z0-9-]{1,64})/(.*)")
SHORT_ISO = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(Z|[+-]\d{2}:?\d{2})")
RESET_AFTER = re.compile(r"(?:^|;)\s*t=(\d{1,6})\b")


def read_failure(request: HttpRequest, response: HttpResponse, now: datetime) -> ConnectorsError:
    """The error for an answer of 400 or above.

    Args:
        request: what was asked; names the site and endpoint in the error.
        response: the answer.
        now: aware UTC instant of arrival.
    """
    status = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in response.headers
    ):
        return read_rate_limit(request, response, now)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ProviderUnavailableError(f"Jira answered {status}.")
    match status:
        case HTTPStatus.UNAUTHORIZED if is_scope_mismatch(response):
            return InsufficientScopeError(
                "Jira refused the call: the connection was not granted the scope for it.",
                next_step="Connect the account again and allow every scope that is asked for.",
            )
        case HTTPStatus.UNAUTHORIZED:
            return ReauthorizationRequiredError(
                "Jira no longer accepts the connection's tokens.", next_step="Connect the account again."
            )
        case HTTPStatus.FORBIDDEN:
            return AccessLostError(
                "Jira forbids this to the connected user.",
                next_step="Ask the site's administrator for the permission, and whether the app or our addresses "
                "are blocked.",
            )
        case HTTPStatus.NOT_FOUND:
            return AccessLostError("Jira does not have it, or does not show it to the connected user.")
        case HTTPStatus.GONE:
            return UnexpectedResponseError("Jira has removed the API that was called.")
    return UnexpectedResponseError(f"Jira answered {status}{_reason(response)}.")


def budgets(request: HttpRequest) -> tuple[Budget, ...]:
    """What a request to a site counts against; nothing for consent, tokens and the list of sites."""
    endpoint = _endpoint(request.method, request.url)
    if endpoint is None:
        return ()
    burst = Budget(
        name=endpoint, limit_scope=LimitScope.ACCOUNT, requests=PACE, per=timedelta(seconds=1), burst=AT_ONCE
    )
    reserves = RESERVES if READING.search(endpoint) else ()
    return (APP_POINTS, SITE_POINTS, burst, *reserves)


def read_rate_limit(request: HttpRequest, response: HttpResponse, now: datetime) -> RateLimitedError:
    """When Jira accepts another request, and what is limited.

    `scope` is the name of a budget: `app` (all sites wait), `site`, or `<method> <path>` of one endpoint of the site.
    Without a reason all requests to the site wait, or all of the grant if the request was not to a site. The body is
    not read: Atlassian says that it may change.
    """
    reason = response.headers.get("ratelimit-reason", "")
    retry_at = bounded(read_retry_at(response.headers, now) or _guess(reason, now), now)
    scope, limit_scope = _limited(request, reason)
    return RateLimitedError("Jira asks us to wait.", retry_at=retry_at, scope=scope, limit_scope=limit_scope)


def read_throttle(response: HttpResponse, now: datetime) -> RateLimitedError | None:
    """The warning that less than a fifth of a quota is left, until that quota is full again.

    At most the policy's name says which quota it is. Otherwise the site is paused, which is the smaller mistake. A
    warning that ends within seconds is about bursts, which the pacing prevents.
    """
    headers = response.headers
    is_near = headers.get("x-ratelimit-nearlimit", "").strip().lower() == "true"
    if not is_near and headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    reset = read_retry_at({name: value for name, value in headers.items() if name != "retry-after"}, now)
    retry_at = now + BACKOFF_CAP if reset is None else min(reset, _next_hour(now))
    if retry_at - now <= BACKOFF_BASE:
        return None
    named = headers.get("ratelimit", "") + headers.get("ratelimit-policy", "") + headers.get("ratelimit-reason", "")
    limit_scope = LimitScope.APP if "global" in named.lower() else LimitScope.ACCOUNT
    return RateLimitedError(
        "Little is left of Jira's quota.", retry_at=retry_at, scope=RESERVE, limit_scope=limit_scope
    )


def read_retry_at(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """The instant in the headers; None if there is no readable one.

    In this order: `Retry-After` (seconds or an HTTP-date), `X-RateLimit-Reset` (ISO 8601, seconds optional), `t=` of
    `RateLimit`. Headers that begin with `Beta-` are announcements, not limits.
    """
    after = read_retry_after(headers.get("retry-after"), now)
    if after is not None:
        return after
    reset = headers.get("x-ratelimit-reset", "").strip()
    found = read_instant(_with_seconds(reset))
    if found is not None:
        return found
    rest = RESET_AFTER.search(headers.get("ratelimit", ""))
    return None if rest is None else now + timedelta(seconds=int(rest.group(1)))


def is_unauthorized(response: HttpResponse) -> bool:
    """Whether a refresh may help: a 401, except the gateway's refusal of a scope."""
    return response.status == HTTPStatus.UNAUTHORIZED and not is_scope_mismatch(response)


def is_scope_mismatch(response: HttpResponse) -> bool:
    """Whether a 401 is about scopes. Only the wording says so, and only this function reads it."""
    return b"scope does not match" in response.body[:2000].lower()


def _with_seconds(value: str) -> str:
    """`2026-10-04T22:00Z` in the form that every ISO reader accepts."""
    found = SHORT_ISO.fullmatch(value)
    return value if found is None else f"{value[:16]}:00{found.group(1)}"


def _limited(request: HttpRequest, reason: str) -> tuple[str | None, LimitScope]:
    endpoint = _endpoint(request.method, request.url)
    if reason == GLOBAL_QUOTA:
        return APP_POINTS.name, LimitScope.APP
    if endpoint is None:
        return None, LimitScope.GRANT
    if reason == TENANT_QUOTA:
        return SITE_POINTS.name, LimitScope.ACCOUNT
    return (endpoint if reason else None), LimitScope.ACCOUNT


def _endpoint(method: str, url: str) -> str | None:
    """`GET rest/api/3/issue/*/comment`: the endpoint, as the burst limit counts it on a site."""
    found = CLOUD_PATH.search(url.partition("?")[0])
    return None if found is None else f"{method} {NUMBER.sub('/*', found.group(2))}"


def _guess(reason: str, now: datetime) -> datetime:
    """When to try again if Jira names no time. Nobody counts such refusals, so the pause cannot grow: it is a long one
    unless Jira says that only a burst was too fast."""
    if reason in {GLOBAL_QUOTA, TENANT_QUOTA}:
        return _next_hour(now)
    return now + (BACKOFF_BASE if reason == BURST else BACKOFF_CAP)


def _next_hour(now: datetime) -> datetime:
    """When quotas reset."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _reason(response: HttpResponse) -> str:
    """The site's own first sentence, for the operator; empty where the body has none (HTML, the gateway)."""
    try:
        document = read_object(response.json())
    except UnexpectedResponseError:
        return ""
    texts = [*read_list(document.get("errorMessages")), *read_object(document.get("errors")).values()]
    first = next((text for text in map(read_line, texts) if text), None)
    return "" if first is None else f": {first}"
