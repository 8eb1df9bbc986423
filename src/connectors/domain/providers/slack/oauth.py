"""OAuth v2 at Slack: bot tokens at the top level, user tokens next to them, `ok: false` under status 200.

In our list of scopes a *user* scope is written `user:channels:history`; all others are the bot's. Slack expects the two
lists in two parameters, separated by commas. PKCE is off on purpose: using it makes the app a public client,
and only Slack's support can undo that.
Source: docs.slack.dev, "Installing with OAuth", "Using token rotation", `oauth.v2.access`, `auth.test`, `auth.revoke`,
`apps.uninstall`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    ProviderUnavailableError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Conversation, HttpResponse, form_request, with_query
from connectors.domain.model.oauth import ClientAuthentication, ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, OAuth, RevocationScope, Scope
from connectors.domain.providers.slack.endpoints import authorize_endpoint, method_url
from connectors.domain.providers.slack.events import EVENT_SCOPES
from connectors.domain.providers.slack.limits import (
    GRANT_IS_DEAD,
    TOKEN_EXPIRED,
    error_code,
    rate_limited,
    read_answer,
    read_refusal,
    token_failure,
)
from connectors.domain.providers.slack.payloads import NAME_LIMIT, read_id, read_workspace_url
from connectors.domain.providers.toolbox.foreign import read_expiry, read_object, read_text

USER = "user"
"""The name of the companion with the user's token, and Slack's `token_type` for it."""
USER_PREFIX = "user:"
"""The prefix of user scopes in our lists."""
TOKEN_METHOD = "oauth.v2.access"  # noqa: S105 - a method's name
TOKEN_LIMIT = 8192
"""Characters. Slack promises up to 255 for tokens; longer ones have been announced as possible."""
REUSE_WINDOW = timedelta(minutes=5)
"""Slack accepts a used refresh token for an unpublished time. A wrong guess costs nothing: without another try the
connection would need reauthorization too. Longer than a refresh lease, so that another try is possible."""


def _scope(name: str, reason: str) -> Scope:
    """A scope that is requested by default; its reason ends with the bot events that need it."""
    events = [f"`{event}`" for event, scopes in EVENT_SCOPES.items() if name in scopes]
    return Scope(name, f"{reason} Events: {', '.join(events)}." if events else reason)


SCOPES = (
    _scope("channels:history", "Read messages of public channels that the bot is in."),
    _scope("channels:read", "List public channels."),
    _scope("groups:history", "Read messages of private channels that the bot was invited to."),
    _scope("groups:read", "List the private channels that the bot was invited to."),
    _scope("reactions:read", "Learn of reactions to messages."),
    _scope("users:read", "Names of people."),
    _scope("team:read", "The workspace's name and address."),
    Scope("channels:join", "Let the bot join public channels by itself (setting JOIN_PUBLIC_CHANNELS).", default=False),
    Scope("im:history", "Direct messages with the bot. Private talk: only if you need it.", default=False),
    Scope("mpim:history", "Group direct messages with the bot in. Only if you need them.", default=False),
    Scope("users:read.email", "E-mail addresses of people.", default=False),
    Scope("user:channels:history", "A user token instead of, or beside, the bot's: public channels.", default=False),
    Scope("user:channels:read", "The same: list public channels.", default=False),
    Scope("user:groups:history", "The same: the user's private channels.", default=False),
    Scope("user:groups:read", "The same: list the user's private channels.", default=False),
    Scope("user:users:read", "The same: names of people.", default=False),
)
NEEDED = ("channels:history", "channels:read")
"""Without these we get no message of any channel."""


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """The consent page's URL. `scope` and `user_scope` are only present if not empty."""
    bot, user = split_scopes(params.scopes)
    query = {
        "client_id": app.client_id,
        "scope": ",".join(bot) or None,
        "user_scope": ",".join(user) or None,
        "redirect_uri": params.redirect_uri,
        "state": params.state,
    }
    return with_query(authorize_endpoint(app), query)


def split_scopes(scopes: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bot's scopes, and the user's without our prefix."""
    bot = tuple(scope for scope in scopes if not scope.startswith(USER_PREFIX))
    user = tuple(scope.removeprefix(USER_PREFIX) for scope in scopes if scope.startswith(USER_PREFIX))
    return bot, user


def required_scopes(app: ProviderApp, asked: tuple[str, ...]) -> frozenset[str]:
    """The scopes that messages need: the bot's, or the user's if no bot scope was requested."""
    del app
    bot, user = split_scopes(asked)
    if bot:
        return frozenset(scope for scope in bot if scope in NEEDED)
    return frozenset(USER_PREFIX + scope for scope in user if scope in NEEDED)


def token_endpoint(app: ProviderApp, context: Mapping[str, str]) -> TokenEndpointCall:
    """The token endpoint for codes and refresh tokens. Slack's documentation prefers HTTP Basic."""
    del context
    return TokenEndpointCall(url=method_url(app, TOKEN_METHOD), client_authentication=ClientAuthentication.BASIC)


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The tokens in an answer of `oauth.v2.access`.

    At the exchange the bot's pair is at the top level. The user's, if requested, is in `authed_user` with its own
    expiry and refresh token, and becomes the companion `user`; if only user scopes were requested, it is the set
    itself. At a refresh either pair is at the top level, and the other one is kept from `previous`.
    """
    document = read_token_answer(response, now)
    top = read_pair(document, now)
    authed_user = read_object(document.get("authed_user"))
    user = read_pair({"token_type": USER, **authed_user}, now)
    extra = read_extra(document)
    if previous is not None:
        return refreshed(previous, top, user, extra)
    only = top or user
    if only is None:
        raise UnexpectedResponseError("Slack's token answer holds no token.")
    if top is None or user is None:
        return attrs.evolve(only, extra=extra)
    return attrs.evolve(top, extra=extra, scopes=(*top.scopes, *user.scopes), companions={USER: user})


def refreshed(previous: TokenSet, top: TokenSet | None, user: TokenSet | None, extra: Mapping[str, Any]) -> TokenSet:
    """The set after a refresh. A user's answer is never taken for a bot's, nor the other way round.

    Raises:
        UnexpectedResponseError: the answer's pair is of another kind than the refreshed one.
    """
    is_user = previous.token_type == USER
    pair = next((found for found in (top, user) if found and (found.token_type == USER) == is_user), None)
    if pair is None:
        raise UnexpectedResponseError("Slack refreshed another kind of token than was sent.")
    others = () if is_user else tuple(scope for scope in previous.scopes if scope.startswith(USER_PREFIX))
    return attrs.evolve(
        pair,
        refresh_token=pair.refresh_token or previous.refresh_token,
        scopes=(*pair.scopes, *others) if pair.scopes else previous.scopes,
        extra={**previous.extra, **extra},
        companions=previous.companions,
    )


def read_token_answer(response: HttpResponse, now: datetime) -> dict[str, Any]:
    """The answer's object if it is `ok`; 400 with `invalid_grant` has been seen beside 200 with an error."""
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise rate_limited(response, now, TOKEN_METHOD)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnavailableError(f"Slack's token endpoint answered {response.status}.")
    document = response.json_object()
    if document.get("ok") is True and response.status < HTTPStatus.BAD_REQUEST:
        return document
    if error_code(document) in {"ratelimited", "rate_limited"}:
        raise rate_limited(response, now, TOKEN_METHOD)
    raise token_failure(document)


def read_pair(document: Mapping[str, Any], now: datetime) -> TokenSet | None:
    """The access token with its refresh token, scopes and expiry; None if there is none."""
    access = read_secret(document.get("access_token"))
    if access is None:
        return None
    token_type = USER if document.get("token_type") == USER else "bot"
    scopes = read_scopes(document.get("scope"))
    return TokenSet(
        access_token=access,
        refresh_token=read_secret(document.get("refresh_token")),
        token_type=token_type,
        scopes=tuple(USER_PREFIX + scope for scope in scopes) if token_type == USER else scopes,
        expires_at=read_expiry(document.get("expires_in"), now),
    )


def read_secret(value: Any) -> Secret | None:
    """A token; None if the value cannot be one."""
    usable = isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= TOKEN_LIMIT
    return Secret(value) if usable and " " not in value else None


def read_scopes(value: Any) -> tuple[str, ...]:
    """The scopes of a comma-separated list."""
    text = read_text(value) or ""
    return tuple(scope for scope in (part.strip() for part in text.replace(" ", ",").split(",")) if scope)


def read_extra(document: Mapping[str, Any]) -> dict[str, Any]:
    """Workspace, app, bot and user in the token answer; missing ones are left out."""
    team = read_object(document.get("team"))
    enterprise = read_object(document.get("enterprise"))
    found = {
        "app_id": read_id(document.get("app_id")),
        "team_id": read_id(team.get("id")),
        "team_name": read_text(team.get("name"), NAME_LIMIT),
        "enterprise_id": read_id(enterprise.get("id")),
        "enterprise_name": read_text(enterprise.get("name"), NAME_LIMIT),
        "is_enterprise_install": True if document.get("is_enterprise_install") is True else None,
        "bot_user_id": read_id(document.get("bot_user_id")),
        "user_id": read_id(read_object(document.get("authed_user")).get("id")),
    }
    return {name: value for name, value in found.items() if value is not None}


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """The workspace, or the organization if installed organization-wide. One call, for the workspace's address.

    Raises:
        AccessLostError: neither answer names a workspace.
    """
    response = yield form_request("POST", method_url(app, "auth.test"), {})
    whoami = read_answer(response)
    known = tokens.extra
    enterprise_wide = known.get("is_enterprise_install") is True or whoami.get("is_enterprise_install") is True
    team_id = read_id(known.get("team_id")) or read_id(whoami.get("team_id"))
    enterprise_id = read_id(known.get("enterprise_id")) or read_id(whoami.get("enterprise_id"))
    account_id = enterprise_id if enterprise_wide else team_id
    if account_id is None:
        raise AccessLostError("Slack named no workspace for this consent.")
    own_name = known.get("enterprise_name") if enterprise_wide else known.get("team_name")
    name = read_text(own_name, NAME_LIMIT) or read_text(whoami.get("team"), NAME_LIMIT) or account_id
    is_bot = tokens.token_type != USER
    metadata = {
        "app_id": known.get("app_id"),
        "team_id": None if enterprise_wide else team_id,
        "enterprise_id": enterprise_id,
        "is_enterprise_install": enterprise_wide or None,
        "bot_user_id": (known.get("bot_user_id") or read_id(whoami.get("user_id"))) if is_bot else None,
        "bot_id": read_id(whoami.get("bot_id")) if is_bot else None,
        "user_id": known.get("user_id") or (None if is_bot else read_id(whoami.get("user_id"))),
    }
    account = ExternalAccount(
        id=account_id,
        name=name,
        url=read_workspace_url(whoami.get("url")),
        metadata={key: value for key, value in metadata.items() if value is not None},
    )
    return (account,)


def grant_key(accounts: Sequence[ExternalAccount]) -> str:
    """`slack:T123`: one installation per workspace, whichever of its users consented."""
    return f"slack:{accounts[0].id}"


def revoke(app: ProviderApp, tokens: TokenSet) -> Conversation[None]:
    """Uninstall the app: `apps.uninstall` ends its events and all its tokens in the workspace.

    `auth.revoke` alone would not end events where tokens rotate; it is used only if Slack refuses to uninstall. The
    caller revokes only with the last connection of the workspace (`RevocationScope.ACCOUNT`).
    """
    fields = {"client_id": app.client_id, "client_secret": app.client_secret.reveal()}
    answers = frozenset({HTTPStatus.OK})  # also one that refuses the token: it is then revoked, and not refreshed
    response = yield form_request("POST", method_url(app, "apps.uninstall"), fields, expects=answers)
    refusal = revocation_refusal(response)
    if refusal is None:
        return
    for name in (None, *tokens.companions):
        response = yield form_request("POST", method_url(app, "auth.revoke"), {}, token_name=name, expects=answers)
        refusal = revocation_refusal(response)
        if refusal is not None:
            raise refusal


def revocation_refusal(response: HttpResponse) -> ConnectorsError | None:
    """Why a token was not revoked; None if it was. A token that Slack no longer knows counts as revoked."""
    refused = read_refusal(response)
    if refused is None:
        read_answer(response)
        return None
    code = error_code(refused)
    if code in GRANT_IS_DEAD or code == TOKEN_EXPIRED:
        return None
    return token_failure(refused)


OAUTH = OAuth(
    scopes=SCOPES,
    pkce=False,
    authorize_url=authorize_url,
    token_endpoint=token_endpoint,
    read_tokens=read_tokens,
    identify=identify,
    grant_key=grant_key,
    required_scopes=required_scopes,
    revoke=revoke,
    revocation_scope=RevocationScope.ACCOUNT,
    reuse_window=REUSE_WINDOW,
    token_names=(USER,),
    remove_at="The workspace's installed apps (https://slack.com/apps/manage)",
)
