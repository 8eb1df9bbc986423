"""How Zoho refuses requests: two forms of JSON, a blank 401, and throttling under several statuses.

Zoho counts the calls of a user, with any of the user's tokens, for each family of endpoints. A throttle starts a lock
during which every call to the family is refused, and calls may prolong it: all workers wait until it ends. The account
of a Zoho connection is the user, so the budgets' limit scope is the account.
Zoho promises no `Retry-After`. The wording of throttles is not documented; only `is_throttle` knows it.

Source: zoho.com/mail/help/api/response-codes, zoho.com/cliq/help/restapi/v2/errors.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import attrs

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
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers.contract import Limits
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.foreign import read_count, read_object, read_text
from connectors.domain.providers.toolbox.retry_after import read_retry_after

TOKEN_WINDOW = timedelta(minutes=10)
"""Zoho counts access tokens per refresh token in windows of this length, and refuses until the window ends."""
SCANNED = 500
"""Characters of a refusal's text that are searched."""

SCOPE_CODES = frozenset({"INVALID_OAUTHSCOPE", "OAUTHTOKEN_SCOPE_INVALID", "OAUTH_SCOPE_MISMATCH"})
TOKEN_CODES = frozenset({"INVALID_OAUTHTOKEN", "OAUTHTOKEN_EXPIRED", "OAUTHTOKEN_INVALID", "INVALID_TOKEN"})
RULE_CODE = "URL_RULE_NOT_CONFIGURED"
"""Documented for a wrong path, but also seen if a scope is missing. Our paths are tested, so it means the scope."""
CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""The form of a code; any other text is not repeated in our messages."""
THROTTLE = re.compile(
    r"throttl|too many|rate[ _-]?limit|limits? (?:is |was )?(?:exceeded|reached)|exceeded the", re.IGNORECASE
)


@attrs.frozen(kw_only=True)
class Refusal:
    """The contents of an unsuccessful answer."""

    status: int
    code: str = ""
    text: str = attrs.field(default="", repr=False)
    """Zoho's own words: searched, never shown."""
    is_json: bool = True


def is_throttle(text: str) -> bool:
    """Whether these words of Zoho mean "too fast"."""
    return THROTTLE.search(text) is not None


def read_refusal(response: HttpResponse) -> Refusal | None:
    """The refusal in an answer; None if it is a success. Mail may report a failing status only in the body."""
    try:
        document: Any = response.json() if response.body.strip() else {}
    except UnexpectedResponseError:
        return None if response.status < HTTPStatus.BAD_REQUEST else Refusal(status=response.status, is_json=False)
    body = read_object(document)
    mirrored, data = read_object(body.get("status")), read_object(body.get("data"))
    status = response.status
    if status < HTTPStatus.BAD_REQUEST:
        status = read_count(mirrored.get("code")) or 0
        if not HTTPStatus.BAD_REQUEST <= status <= 599:  # noqa: PLR2004 - the last status of HTTP
            return None
    inner = read_object(body.get("error"))
    codes = (data.get("errorCode"), body.get("code"), inner.get("code"), body.get("errorCode"), body.get("error"))
    words = (mirrored.get("description"), data.get("moreInfo"), body.get("message"), inner.get("message"), *codes)
    return Refusal(
        status=status,
        code=next((code for code in codes if isinstance(code, str) and CODE.fullmatch(code)), ""),
        text=" ".join(word for word in map(read_text, words) if word)[:SCANNED],
    )


FindBudget = Callable[[str], Budget | None]
"""The budget of a path's family; None for paths without a known budget."""


def limited(name: str, response: HttpResponse, now: datetime, lock: timedelta) -> RateLimitedError:
    """The throttle and its end: from `Retry-After` if sent, else after the whole lock."""
    retry_at = read_retry_after(response.headers.get("retry-after"), now) or now + lock
    return RateLimitedError(f"{name} limits this user for now.", retry_at=retry_at)


def is_unauthorized(response: HttpResponse) -> bool:
    """Whether to try one refresh: the token is refused, and not for a missing scope."""
    refusal = read_refusal(response)
    if refusal is None or refusal.code.upper() in SCOPE_CODES or is_throttle(refusal.text):
        return False
    return refusal.status == HTTPStatus.UNAUTHORIZED or refusal.code.upper() in TOKEN_CODES


def zoho_limits(name: str, lock: timedelta, find_budget: FindBudget) -> Limits:
    """The limits of one product.

    Args:
        name: of the product, for messages.
        lock: how long it refuses a family of endpoints after a throttle.
        find_budget: the budget of a URL's path.
    """

    def budget_of(url: str) -> Budget | None:
        return find_budget(urlsplit(url).path)

    def budgets(request: HttpRequest) -> tuple[Budget, ...]:
        budget = budget_of(request.url)
        return () if budget is None else (budget,)

    def throttled(url: str, response: HttpResponse, now: datetime) -> RateLimitedError:
        error = limited(name, response, now, lock)
        budget = budget_of(url)
        # If the family is unknown, all of the user's calls wait.
        error.scope, error.limit_scope = None if budget is None else budget.name, LimitScope.ACCOUNT
        return error

    def read_failure(request: HttpRequest, response: HttpResponse, now: datetime) -> ConnectorsError:
        refusal = read_refusal(response) or Refusal(status=response.status)
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS or is_throttle(refusal.text):
            return throttled(request.url, response, now)
        return _failure(name, refusal)

    def read_throttle(response: HttpResponse, now: datetime) -> RateLimitedError | None:
        # A page of mail is large and is parsed later anyway: check cheaply whether it can be a refusal.
        if b'"errorCode"' not in response.body and b'"code"' not in response.body:
            return None
        refusal = read_refusal(response)
        if refusal is None or not (refusal.status == HTTPStatus.TOO_MANY_REQUESTS or is_throttle(refusal.text)):
            return None
        return throttled(response.url, response, now)

    return Limits(
        read_failure=read_failure,
        read_throttle=read_throttle,
        is_unauthorized=is_unauthorized,
        budgets=budgets,
    )


def read_answer(name: str, response: HttpResponse) -> Any:
    """The JSON of a success; None for an answer without content.

    Raises:
        ConnectorsError: the body says that it is no success, whatever the status.
    """
    refusal = read_refusal(response)
    if refusal is not None:
        raise _failure(name, refusal)
    if response.status == HTTPStatus.NO_CONTENT or not response.body.strip():
        return None
    return response.json()


def read_rows(name: str, response: HttpResponse, member: str) -> list[Any]:
    """The rows of a list in a success; none for an answer without content.

    Raises:
        ConnectorsError: as from `read_answer`, or there is no list.
    """
    answer = read_answer(name, response)
    return [] if response.status == HTTPStatus.NO_CONTENT else structure.read_rows(read_object(answer), member, name)


def _failure(name: str, refusal: Refusal) -> ConnectorsError:
    code, said = refusal.code.upper(), f"{name} answered {refusal.status}" + (f" ({refusal.code})" * bool(refusal.code))
    details = [{"status": refusal.status, "reason": refusal.code}]
    if code in SCOPE_CODES or code == RULE_CODE:
        return InsufficientScopeError(
            f"{said}: a permission is missing.", details=details, next_step="Connect the account again."
        )
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR or refusal.status == HTTPStatus.REQUEST_TIMEOUT:
        return ProviderUnavailableError(said)
    if refusal.status == HTTPStatus.UNAUTHORIZED or code in TOKEN_CODES:
        return ReauthorizationRequiredError(f"{said}: the access token is not accepted.", details=details)
    if not refusal.is_json:
        # Zoho's API answers with JSON; an HTML page comes from a host of another data centre.
        return UnexpectedResponseError(f"{said} with a page instead of JSON.", details=details)
    if refusal.status in {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }:
        return AccessLostError(f"{said}: not there, or not visible to this user.", details=details)
    return UnexpectedResponseError(f"{said}.", details=details)
