"""Consent, tokens and identity: OAuth 2.0 "three-legged" (3LO) of Atlassian's developer platform.

One consent gives one token pair of (user, our app), whatever the number of sites: connections share it by `grant_key`.
Every refresh rotates the pair. There is no revocation endpoint; a user ends the app's access at id.atlassian.com.

Source: OAuth 2.0 (3LO) apps; Making calls to the API; Implementing OAuth 2.0 (3LO): rotating refresh tokens.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ConnectorsError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Conversation, HttpRequest, HttpResponse, with_query
from connectors.domain.model.oauth import BodyFormat, ClientAuthentication, ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, OAuth, Scope
from connectors.domain.providers.jira.endpoints import (
    CLOUD_ID,
    authorize_endpoint,
    host_of,
    site_api,
    sites_endpoint,
    token_endpoint,
)
from connectors.domain.providers.jira.limits import read_failure
from connectors.domain.providers.jira.payloads import read_id
from connectors.domain.providers.toolbox.foreign import read_expiry, read_line, read_list, read_object

AUDIENCE = "api.atlassian.com"
"""What the token is for: Atlassian's own parameter, always with this value."""

REUSE_WINDOW = timedelta(minutes=10)
"""Atlassian accepts a rotated refresh token for this long; later reuse counts as theft and ends the token family."""
IDLE_LIFETIME = timedelta(days=90)
"""A refresh token that is not used for this long expires."""

READ_WORK = "read:jira-work"
READ_USER = "read:jira-user"
SCOPES = (
    Scope(READ_WORK, "Read projects, issues, their history and comments; also needed to register webhooks."),
    Scope(READ_USER, "Learn which Atlassian account gave consent, and the names of the people in events."),
    Scope("manage:jira-webhook", "Register, renew and remove the webhook that sends us events."),
    Scope("offline_access", "Get a refresh token: without it the connection ends after an hour."),
)

DEAD_GRANT = frozenset({"invalid_grant", "unauthorized_client"})
"""Errors for a refresh token that was rotated, revoked or idle for too long, with 403 and sometimes 400."""
OUR_FAULT = frozenset({"access_denied", "invalid_client"})
"""Errors for a wrong client id or secret."""
TRY_LATER = frozenset({"server_error", "temporarily_unavailable"})

ACCOUNT_ID = "account_id"
"""Key in an account's metadata: the Atlassian account that consented."""


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """The consent page's URL. No PKCE: it is not documented for 3LO."""
    return with_query(
        authorize_endpoint(app),
        {
            "audience": AUDIENCE,
            "client_id": app.client_id,
            "scope": " ".join(params.scopes),
            "redirect_uri": params.redirect_uri,
            "state": params.state,
            "response_type": "code",
            "prompt": "consent",
        },
    )


def token_call(app: ProviderApp, extra: Mapping[str, str]) -> TokenEndpointCall:
    """The token endpoint, which takes JSON with our id and secret. Nothing in the redirect can change its URL."""
    del extra
    return TokenEndpointCall(
        url=token_endpoint(app), client_authentication=ClientAuthentication.BODY, body_format=BodyFormat.JSON
    )


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The token pair in the token endpoint's answer.

    Args:
        response: of any status. The `error` member decides, not the status: a dead refresh token is a 403 here.
        now: aware UTC instant of arrival; `expires_in` counts from it.
        previous: the set that was refreshed; what the answer omits is kept.

    Raises:
        ReauthorizationRequiredError: the code or refresh token is dead.
        ClientRejectedError: our client id or secret is wrong; asking the user again would not help.
        RateLimitedError: too many calls.
        ProviderUnavailableError: 5xx.
        UnexpectedResponseError: any other answer without a token pair.
    """
    document = _document(response)
    error = document.get("error")
    if error is not None or response.status >= HTTPStatus.BAD_REQUEST:
        raise _token_failure(error, response, now)
    access_token = _secret(document.get("access_token"))
    if access_token is None or str(document.get("token_type", "bearer")).lower() != "bearer":
        raise UnexpectedResponseError("Atlassian's token endpoint answered without a bearer token.")
    refresh_token = _secret(document.get("refresh_token"))
    scope = document.get("scope")
    return TokenSet(
        access_token=access_token,
        refresh_token=refresh_token or (previous.refresh_token if previous else None),
        scopes=tuple(scope.split()) if isinstance(scope, str) else (previous.scopes if previous else ()),
        expires_at=read_expiry(document.get("expires_in"), now),
        extra=previous.extra if previous else {},
    )


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """Every Jira site that the consent covers, each with the Atlassian account that consented.

    Raises:
        AccessLostError: the user has no Jira site, or an administrator blocked the app.
        UnexpectedResponseError: the answer is not a list of sites, or no site names the user.
    """
    del tokens
    response = yield HttpRequest(method="GET", url=sites_endpoint(app), headers={"accept": "application/json"})
    sites = read_sites(response.json_list())
    if not sites:
        raise AccessLostError(
            "The consent covers no Jira site.",
            next_step="Check that the account can open a Jira site and that its administrator has not blocked the app.",
        )
    account_id = yield from _find_account_id(app, sites)
    return tuple(
        ExternalAccount(id=site_id, name=name, url=url, metadata={ACCOUNT_ID: account_id})
        for site_id, name, url in sites
    )


def read_sites(items: Sequence[Any]) -> tuple[tuple[str, str, str | None], ...]:
    """(cloud id, name, URL) of every Jira site listed, each once; Confluence-only entries are left out."""
    sites: dict[str, tuple[str, str, str | None]] = {}
    for item in map(read_object, items):
        site_id, url = item.get("id"), item.get("url")
        if not isinstance(site_id, str) or CLOUD_ID.fullmatch(site_id) is None or not _is_jira(item.get("scopes")):
            continue
        site_url = url if isinstance(url, str) and host_of(url) is not None else None
        sites.setdefault(site_id, (site_id, read_line(item.get("name")) or site_id, site_url))
    return tuple(sites.values())


def grant_key(accounts: Sequence[ExternalAccount]) -> str:
    """One key per Atlassian account: its sites share one token pair, which a second consent replaces."""
    return f"jira:{accounts[0].metadata[ACCOUNT_ID]}"


def required_scopes(app: ProviderApp, asked: tuple[str, ...]) -> frozenset[str]:
    """Without reading issues there are no signals; without the user we cannot distinguish grants."""
    del app
    return frozenset(asked) & {READ_WORK, READ_USER}


def _find_account_id(app: ProviderApp, sites: Sequence[tuple[str, str, str | None]]) -> Conversation[str]:
    """The user's account id. It is the same on every site; if one site refuses, the next is asked."""
    for cloud_id, _, _ in sites:
        response = yield HttpRequest(
            method="GET",
            url=site_api(app, cloud_id, "myself"),
            headers={"accept": "application/json"},
            expects=frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}),
        )
        if response.status >= HTTPStatus.BAD_REQUEST:
            continue
        account_id = read_id(response.json_object().get("accountId"))
        if account_id is not None:
            return account_id
    raise AccessLostError(
        "No site of this consent names the user.",
        next_step="Ask the site's administrator whether the app or our addresses are blocked.",
    )


def _is_jira(scopes: Any) -> bool:
    return any(isinstance(scope, str) and "jira" in scope for scope in read_list(scopes))


def _document(response: HttpResponse) -> Mapping[str, Any]:
    try:
        return read_object(response.json())
    except UnexpectedResponseError:
        return {}  # a gateway's page: only the status is usable


def _secret(value: Any) -> Secret | None:
    """The token if it can go into a header. Atlassian's are opaque and kilobytes long."""
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        return None
    return Secret(value)


def _token_failure(error: Any, response: HttpResponse, now: datetime) -> ConnectorsError:
    name = error if isinstance(error, str) else ""
    if name in DEAD_GRANT:
        return ReauthorizationRequiredError(
            "Atlassian no longer accepts this grant.", next_step="Connect the account again."
        )
    if name in OUR_FAULT:
        return ClientRejectedError(
            "Atlassian refused our client id or secret.",
            next_step="Check POBLYSH_JIRA_CLIENT_ID and POBLYSH_JIRA_CLIENT_SECRET against the developer console.",
        )
    if name in TRY_LATER:
        return ProviderUnavailableError("Atlassian's token endpoint is not available.")
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return read_failure(HttpRequest(method="POST", url="/oauth/token"), response, now)
    known = read_id(name)
    return UnexpectedResponseError(
        f"Atlassian's token endpoint answered {response.status}{'' if known is None else f' ({known})'}."
    )


OAUTH = OAuth(
    scopes=SCOPES,
    pkce=False,
    authorize_url=authorize_url,
    token_endpoint=token_call,
    read_tokens=read_tokens,
    identify=identify,
    grant_key=grant_key,
    required_scopes=required_scopes,
    revoke=None,
    reuse_window=REUSE_WINDOW,
    idle_lifetime=IDLE_LIFETIME,
    remove_at="https://id.atlassian.com/manage-profile/apps",
)
