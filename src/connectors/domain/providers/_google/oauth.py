"""Google's OAuth 2.0 for web servers: consent, tokens, identity, revocation.

Source: developers.google.com/identity/protocols/oauth2/web-server and …/identity/openid-connect.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, NoReturn

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import (
    Authorization,
    Conversation,
    HttpRequest,
    HttpResponse,
    form_request,
    with_query,
)
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.oauth import ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import one_line
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers._google.limits import RATE_PAUSE, Refusal, read_retry_at
from connectors.domain.providers.contract import AuthorizationParams, OAuth, RevocationScope, Scope
from connectors.domain.providers.toolbox.foreign import read_expiry, read_object, read_text

IDENTITY_SCOPES = (
    Scope("openid", "to learn the account's stable id"),
    Scope("email", "to show which account is connected, and to route mail notifications"),
)
"""Always requested: without them we cannot tell who consented."""

ALIASES = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}
"""Scopes that are requested by the short name and granted by the long one."""

UNTICKABLE = frozenset({"openid", ALIASES["profile"]})
"""Scopes that we can do without."""

IDLE_LIFETIME = timedelta(days=180)
"""A refresh token that was not used for six months expires."""


DEAD_GRANT = frozenset({"invalid_grant", "invalid_token", "admin_policy_enforced", "access_denied"})
OUR_FAULT = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "redirect_uri_mismatch",
        "deleted_client",
        "disabled_client",
        "invalid_scope",
        "org_internal",
    }
)
TRANSIENT = frozenset({"server_error", "temporarily_unavailable", "internal_failure"})

Identify = Callable[[ProviderApp, TokenSet], Conversation[tuple[ExternalAccount, ...]]]


def canonical_scope(scope: str) -> str:
    """The scope under the name that Google grants it by."""
    return ALIASES.get(scope, scope)


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """Where the user's browser goes to consent.

    `access_type=offline` with `prompt=consent` gives returning users a refresh token too. Earlier grants of the project
    are not merged in (`include_granted_scopes`): a connection has the scopes of its own product only.
    """
    identity = tuple(scope.name for scope in IDENTITY_SCOPES)
    asked = dict.fromkeys([*(scope for scope in params.scopes if scope not in identity), *identity])
    return with_query(
        url_of(app, Endpoint.AUTHORIZE),
        {
            "client_id": app.client_id,
            "redirect_uri": params.redirect_uri,
            "response_type": "code",
            "scope": " ".join(asked),
            "access_type": "offline",
            "prompt": "consent",
            "state": params.state,
            "code_challenge": params.code_challenge,
            # Without a method Google would assume `plain`.
            "code_challenge_method": None if params.code_challenge is None else "S256",
        },
    )


def token_endpoint(app: ProviderApp, known: Mapping[str, str]) -> TokenEndpointCall:  # noqa: ARG001 - one host for all
    """Where codes are exchanged and tokens refreshed; client id and secret travel in the body."""
    return TokenEndpointCall(url=url_of(app, Endpoint.TOKEN), headers={"accept": "application/json"})


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The tokens in the token endpoint's answer. After a refresh the refresh token stays: Google sends none."""
    if response.status >= HTTPStatus.BAD_REQUEST:
        _raise_refusal(response, now)
    answer = response.json_object()
    access_token = read_token(answer.get("access_token"))
    if access_token is None:
        raise UnexpectedResponseError("Google's token endpoint answered without an access token.")
    fresh = read_token(answer.get("refresh_token"))
    refresh_token = previous.refresh_token if fresh is None and previous else fresh
    refresh_expires_at = read_expiry(answer.get("refresh_token_expires_in"), now)
    if refresh_expires_at is None and fresh is None and previous:
        refresh_expires_at = previous.refresh_expires_at
    granted = read_text(answer.get("scope"))
    scopes = previous.scopes if granted is None and previous else tuple(map(canonical_scope, (granted or "").split()))
    return TokenSet(
        access_token=access_token,
        refresh_token=refresh_token,
        scopes=tuple(dict.fromkeys(scopes)),
        expires_at=read_expiry(answer.get("expires_in"), now),
        refresh_expires_at=refresh_expires_at,
        extra=previous.extra if previous else {},
    )


def read_token(value: Any) -> Secret | None:
    """The token if it can go into a header: printable ASCII without spaces."""
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        return None
    return Secret(value)


def _raise_refusal(response: HttpResponse, now: datetime) -> NoReturn:
    """Raise the error for a refusal of the token endpoint (RFC 6749 §5.2). Only `error` counts; texts change."""
    try:
        error = read_object(response.json()).get("error")
    except UnexpectedResponseError:
        error = None
    word = error if isinstance(error, str) and error.isidentifier() and len(error) <= 64 else ""  # noqa: PLR2004
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_at = read_retry_at(response, Refusal(status=429, reason=word), now, RATE_PAUSE)
        # Only this grant waits: the others may not need the token endpoint now.
        raise RateLimitedError(
            "Google's token endpoint is limiting us.", retry_at=retry_at, limit_scope=LimitScope.GRANT
        )
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or word in TRANSIENT:
        raise ProviderUnavailableError(f"Google's token endpoint answered {response.status} {word}".rstrip() + ".")
    if word in DEAD_GRANT:
        raise ReauthorizationRequiredError(
            f"Google no longer accepts this grant ({word}).",
            next_step="Connect the account again. If an administrator blocks the app, they have to allow it first.",
        )
    if word in OUR_FAULT or response.status == HTTPStatus.UNAUTHORIZED:
        raise ClientRejectedError(
            f"Google does not accept our OAuth client ({word or response.status}).",
            next_step="Compare client id, client secret and redirect URIs with the Google Cloud console.",
        )
    raise UnexpectedResponseError(f"Google's token endpoint answered {response.status} {word}".rstrip() + ".")


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:  # noqa: ARG001
    """The Google account that consented, by its `sub`, which never changes hands; an e-mail address may."""
    response = yield HttpRequest(method="GET", url=url_of(app, Endpoint.USERINFO))
    user = response.json_object()
    subject = read_id(user.get("sub"))
    if subject is None:
        raise AccessLostError("Google did not say whose account this is.")
    email = read_id(user.get("email"))
    metadata: dict[str, Any] = {}
    if email is not None:
        metadata["email"] = email.lower()
        metadata["email_verified"] = user.get("email_verified") is True
    if (domain := read_id(user.get("hd"))) is not None:
        metadata["hosted_domain"] = domain
    name = email or read_text(user.get("name")) or subject
    return (ExternalAccount(id=subject, name=one_line(name) or subject, metadata=metadata),)


def grant_key(accounts: Sequence[ExternalAccount]) -> str:
    """One key per Google user."""
    return f"google:{accounts[0].id}"


def required_scopes(app: ProviderApp, asked: tuple[str, ...]) -> frozenset[str]:  # noqa: ARG001 - the same for all apps
    """All requested scopes: users can untick each on Google's page, and the flow still "succeeds"."""
    return frozenset(map(canonical_scope, asked)) - UNTICKABLE


def revoke(app: ProviderApp, tokens: TokenSet) -> Conversation[None]:
    """Revoke the user's consent, for the whole Cloud project. A token that is already invalid counts as success."""
    token = tokens.refresh_token or tokens.access_token
    yield form_request(
        "POST",
        url_of(app, Endpoint.REVOKE),
        {"token": token.reveal()},
        authorization=Authorization.NONE,
        expects=frozenset({HTTPStatus.BAD_REQUEST}),
    )


def google_oauth(scopes: tuple[Scope, ...], identify: Identify = identify) -> OAuth:
    """The OAuth part of a Google provider.

    Args:
        scopes: the product's own; the identity scopes are added.
        identify: another one, if the product needs to know more about the account.
    """
    return OAuth(
        scopes=(*scopes, *IDENTITY_SCOPES),
        pkce=True,
        authorize_url=authorize_url,
        token_endpoint=token_endpoint,
        read_tokens=read_tokens,
        identify=identify,
        grant_key=grant_key,
        required_scopes=required_scopes,
        revoke=revoke,
        # Google revokes every scope that the user gave to any client of the project.
        revocation_scope=RevocationScope.ACCOUNT,
        # Refreshing does not rotate: after a lost answer the same refresh token is sent again.
        reuse_window=None,
        idle_lifetime=IDLE_LIFETIME,
        remove_at="https://myaccount.google.com/permissions",
    )
