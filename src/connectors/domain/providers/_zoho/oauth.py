"""Zoho's OAuth 2.0 for server-based clients: consent at home, tokens in the user's data centre, errors under 200.

1. The code goes to the accounts server of the user's data centre: `data_centres` says which ones are accepted.
2. An answer with an `access_token` is a success, whatever the status: errors come with 200.
3. The answer to a refresh has no refresh token and no data centre: they are kept from the previous set.
4. Refresh tokens never rotate. The 21st of a user and client silently ends the first.
5. "Access Denied" at the token endpoint is a throttle of ten minutes and says nothing about the grant.

Source: zoho.com/accounts/protocol/oauth (web-apps/authorization, access-token, access-token-expiry, token-limits,
revoke-refresh-token, multi-dc).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ConnectorsError,
    ProviderUnavailableError,
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
from connectors.domain.model.oauth import ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers._zoho.data_centres import (
    DATA_CENTRES,
    TOKEN_PATH,
    centre_of_params,
    find_centre,
    home_centre,
    location_of_answer,
)
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import (
    CODE,
    SCANNED,
    TOKEN_WINDOW,
    is_throttle,
    limited,
    read_answer,
)
from connectors.domain.providers.contract import AuthorizationParams, OAuth, RevocationScope, Scope
from connectors.domain.providers.toolbox.foreign import read_lifetime, read_name, read_object, read_text

IDENTITY_SCOPE = Scope("AaaServer.profile.READ", "To learn the user's stable id (ZUID), name and e-mail address.")
"""Always requested: without it we cannot tell who consented."""

TOKEN_LIMIT = 2048
"""Characters; Zoho's tokens have 70."""
LONGEST_LIFETIME = timedelta(days=1)
"""`expires_in` is 3600; very old answers had milliseconds. No access token of Zoho lives longer than a day."""

DEAD_GRANT = frozenset({"invalid_code", "invalid_grant", "invalid_token"})
OUR_FAULT = frozenset({"invalid_client", "invalid_client_secret", "invalid_redirect_uri", "invalid_redirect_url"})
TRANSIENT = frozenset({"general_error", "server_error"})
THROTTLED = frozenset({"access_denied"})
"""Errors of the token endpoint, in lower case and with `_` for blanks."""


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """The consent page's URL at the client's home data centre.

    Scopes are joined by commas. `prompt=consent` gives returning users a refresh token too.
    """
    asked = dict.fromkeys([*params.scopes, IDENTITY_SCOPE.name])
    return with_query(
        home_centre(app).accounts + "/oauth/v2/auth",
        {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": params.redirect_uri,
            "scope": ",".join(asked),
            "access_type": "offline",
            "prompt": "consent",
            "state": params.state,
            "code_challenge": params.code_challenge,
            # Without a method Zoho would assume `plain`.
            "code_challenge_method": None if params.code_challenge is None else "S256",
        },
    )


def token_endpoint(app: ProviderApp, params: Mapping[str, Any]) -> TokenEndpointCall:
    """The token endpoint for the code or refresh token: in the user's data centre, if it is one of Zoho's.

    Raises:
        ForbiddenHostError: it is not. Nothing was sent.
    """
    url = centre_of_params(app, params).accounts + TOKEN_PATH
    return TokenEndpointCall(url=url, headers={"accept": "application/json"})


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The tokens in the token endpoint's answer. See `OAuth.read_tokens`."""
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise limited("Zoho's token endpoint", response, now, TOKEN_WINDOW)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnavailableError(f"Zoho's token endpoint answered {response.status}.")
    answer = response.json_object()
    access_token = read_token(answer.get("access_token"))
    if "error" in answer or access_token is None or response.status >= HTTPStatus.BAD_REQUEST:
        raise token_failure(answer, response, now)
    kept = previous.refresh_token if previous else None
    granted = read_text(answer.get("scope"))
    return TokenSet(
        access_token=access_token,
        refresh_token=read_token(answer.get("refresh_token")) or kept,
        scopes=(previous.scopes if previous else ()) if granted is None else read_scopes(granted),
        expires_at=read_expiry(answer, now),
        extra=read_extra(answer, response.url, previous),
    )


def token_failure(answer: Mapping[str, Any], response: HttpResponse, now: datetime) -> ConnectorsError:
    """The error for an answer without tokens."""
    said = read_text(answer.get("error")) or ""
    code = said.strip().lower().replace(" ", "_")
    if code in THROTTLED or is_throttle((read_text(answer.get("error_description")) or "")[:SCANNED]):
        return limited("Zoho's token endpoint", response, now, TOKEN_WINDOW)
    shown = f" ({code})" if CODE.fullmatch(code) else ""
    if code in DEAD_GRANT:
        return ReauthorizationRequiredError(
            f"Zoho refused the code or refresh token{shown}.", next_step="Connect the account again."
        )
    if code in OUR_FAULT:
        return ClientRejectedError(
            f"Zoho refused this client{shown}.",
            next_step="Check client id, secret, redirect URI and Multi DC of the client in Zoho's API console.",
        )
    if code in TRANSIENT:
        return ProviderUnavailableError(f"Zoho's token endpoint could not answer now{shown}.")
    return UnexpectedResponseError(f"Zoho's token endpoint answered {response.status} without a token{shown}.")


def read_token(value: Any) -> Secret | None:
    """The token if it can go into a header: printable ASCII without spaces."""
    usable = isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= TOKEN_LIMIT
    return Secret(value) if usable and " " not in value else None


def read_scopes(text: str) -> tuple[str, ...]:
    """The granted scopes, which are separated by spaces or commas."""
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def read_expiry(answer: Mapping[str, Any], now: datetime) -> datetime | None:
    """When the access token expires. Invalid values count as unknown: an expired token is refreshed at its first
    401."""
    for name in ("expires_in_sec", "expires_in"):
        lifetime = read_lifetime(answer.get(name), 1000 * LONGEST_LIFETIME)
        if lifetime is not None:
            return now + (lifetime if lifetime <= LONGEST_LIFETIME else lifetime / 1000)
    return None


def read_extra(answer: Mapping[str, Any], url: str, previous: TokenSet | None) -> dict[str, Any]:
    """The data centre, for the next refresh and for the API. It never changes for a token set.

    Raises:
        UnexpectedResponseError: it is unknown.
    """
    known = dict(previous.extra) if previous else {}
    api_domain = answer.get("api_domain")
    location = known.get("location") or location_of_answer(url, api_domain)
    if not isinstance(location, str) or location not in DATA_CENTRES:
        raise UnexpectedResponseError("Zoho's token endpoint does not say which data centre it is in.")
    # From the table, not from the answer: a later refresh token is sent to what is stored here.
    found = {"location": location, "api_domain": DATA_CENTRES[location].api_domain}
    return {**known, **found}


# --- identity ------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class User:
    """Who consented."""

    zuid: str
    location: str
    name: str
    email: str | None

    def to_metadata(self) -> dict[str, Any]:
        """What every Zoho connection stores about its user."""
        found = {"location": self.location, "zuid": self.zuid, "email": self.email}
        return {name: value for name, value in found.items() if value is not None}


def identify_user(app: ProviderApp, tokens: TokenSet) -> Conversation[User]:
    """The user of a token.

    Raises:
        AccessLostError: Zoho names no user.
    """
    centre = find_centre(app, tokens.extra.get("location"))
    response = yield HttpRequest(method="GET", url=centre.accounts + "/oauth/user/info")
    document = read_object(read_answer("Zoho", response))
    zuid = read_id(document.get("ZUID"))
    if zuid is None:
        raise AccessLostError("Zoho did not say whose account this is.")
    email = read_name(document.get("Email"))
    full_name = " ".join(filter(None, (read_name(document.get("First_Name")), read_name(document.get("Last_Name")))))
    name = read_name(document.get("Display_Name")) or full_name or email or zuid
    return User(zuid=zuid, location=centre.location, name=name, email=None if email is None else email.lower())


def grant_key(accounts: Sequence[ExternalAccount]) -> str:
    """One key per user. ZUIDs are unique within a data centre."""
    metadata = accounts[0].metadata
    return f"zoho:{metadata['location']}:{metadata['zuid']}"


def revoke(app: ProviderApp, tokens: TokenSet) -> Conversation[None]:
    """Revoke this refresh token, and with it its access tokens. One that is already invalid counts as success.

    Zoho's pages show two endpoints: the older needs only the token, the newer the client too. The token is sent in the
    body, so that it is in no log. Both answer 400 for an unknown token.
    """
    centre = find_centre(app, tokens.extra.get("location"))
    token = (tokens.refresh_token or tokens.access_token).reveal()
    refusals = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
    response = yield form_request(
        "POST",
        f"{centre.accounts}{TOKEN_PATH}/revoke",
        {"token": token},
        authorization=Authorization.NONE,
        expects=refusals,
    )
    if is_revoked(response):
        return
    is_unknown = response.status == HTTPStatus.BAD_REQUEST
    hint = "refresh_token" if tokens.refresh_token is not None else "access_token"
    yield form_request(
        "POST",
        f"{centre.accounts}/oauth/v2/revoke/token",
        {"token": token, "token_type": hint},
        authorization=Authorization.CLIENT_BASIC,
        # One of the two has to know the token, or to say that it does not.
        expects=refusals if is_unknown else frozenset({HTTPStatus.BAD_REQUEST}),
    )


def is_revoked(response: HttpResponse) -> bool:
    """Whether the older endpoint revoked it."""
    if response.status >= HTTPStatus.BAD_REQUEST:
        return False
    try:
        return response.json_object().get("status") == "success"
    except UnexpectedResponseError:
        return False


def authorization_header(token: Secret) -> str:
    """The header in Zoho's own scheme."""
    return f"Zoho-oauthtoken {token.reveal()}"


Identify = Callable[[ProviderApp, TokenSet], Conversation[tuple[ExternalAccount, ...]]]


def zoho_oauth(scopes: tuple[Scope, ...], identify: Identify) -> OAuth:
    """The OAuth part of a Zoho provider.

    No granted scope is required: on the consent page it is all or nothing, and the answer may omit the scopes.

    Args:
        scopes: the product's own; the identity scope is added.
        identify: the product's account of the user.
    """
    return OAuth(
        scopes=(*scopes, IDENTITY_SCOPE),
        # Documented for public clients; with a secret it does no harm, and nothing depends on it.
        pkce=True,
        authorize_url=authorize_url,
        token_endpoint=token_endpoint,
        read_tokens=read_tokens,
        identify=identify,
        grant_key=grant_key,
        revoke=revoke,
        revocation_scope=RevocationScope.GRANT,
        reuse_window=None,
        remove_at="Connected Apps at https://accounts.zoho.com, or at the account's own data centre",
    )
