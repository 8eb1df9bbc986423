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
"""Always asked: without them a consent does not say whose it is."""

ALIASES = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}
"""What is asked by the short name is granted back by the long one."""

UNTICKABLE = frozenset({"openid", ALIASES["profile"]})
"""Scopes whose absence from the granted ones costs us nothing."""

IDLE_LIFETIME = timedelta(days=180)
"""Google lets a refresh token die that was not used for six months."""


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
    """The scope by the name that Google grants it under."""
    return ALIASES.get(scope, scope)


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """Where the user's browser goes to consent.

    `access_type=offline` with `prompt=consent` is what gives a refresh token to a returning user too. Earlier grants of
    the project are deliberately not merged in (`include_granted_scopes`): a connection holds its own product's scopes.
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
            # Google takes a challenge without a method for `plain`.
            "code_challenge_method": None if params.code_challenge is None else "S256",
        },
    )


def token_endpoint(app: ProviderApp, known: Mapping[str, str]) -> TokenEndpointCall:  # noqa: ARG001 - one host for all
    """Where codes are exchanged and tokens refreshed; client id and secret travel in the body."""
    return TokenEndpointCall(url=url_of(app, Endpoint.TOKEN), headers={"accept": "application/json"})


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The token endpoint's answer. A refresh brings no refresh token: the one that we have stays."""
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
    """The token if it is one that can go into a header: printable ASCII without spaces."""
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        return None
    return Secret(value)


def _raise_refusal(response: HttpResponse, now: datetime) -> NoReturn:
    """Raise what a refusal of the token endpoint means (RFC 6749 §5.2). Only `error` counts; texts change."""
    try:
        error = read_object(response.json()).get("error")
    except UnexpectedResponseError:
        error = None
    word = error if isinstance(error, str) and error.isidentifier() and len(error) <= 64 else ""  # noqa: PLR2004
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_at = read_retry_at(response, Refusal(status=429, reason=word), now, RATE_PAUSE)
        # Only this grant waits: whoever has a fresh token needs nothing of the token endpoint.
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
    """The Google account behind the consent, by its `sub`; an e-mail address may change hands, a `sub` never does."""
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
    """Whose consent it is: the user's."""
    return f"google:{accounts[0].id}"


def required_scopes(app: ProviderApp, asked: tuple[str, ...]) -> frozenset[str]:  # noqa: ARG001 - the same for all apps
    """All that was asked: on Google's page a user can untick each, and the flow still "succeeds"."""
    return frozenset(map(canonical_scope, asked)) - UNTICKABLE


def revoke(app: ProviderApp, tokens: TokenSet) -> Conversation[None]:
    """Withdraw the user's consent, for the whole Cloud project. A token that is already dead counts as success."""
    token = tokens.refresh_token or tokens.access_token
    yield form_request(
        "POST",
        url_of(app, Endpoint.REVOKE),
        {"token": token.reveal()},
        authorization=Authorization.NONE,
        expects=frozenset({HTTPStatus.BAD_REQUEST}),
    )


def google_oauth(scopes: tuple[Scope, ...], identify: Identify = identify) -> OAuth:
    """The OAuth part of a Google package.

    Args:
        scopes: the product's own; the identity scopes are added.
        identify: where the product wants to know more of the account than `identify` says.
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
        # Google withdraws every scope that the user gave to any client of the project.
        revocation_scope=RevocationScope.ACCOUNT,
        # Refreshing does not rotate: a lost answer costs nothing, the same refresh token goes out again.
        reuse_window=IDLE_LIFETIME,
        idle_lifetime=IDLE_LIFETIME,
    )
