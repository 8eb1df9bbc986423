"""GitHub's consent, tokens, identity and revocation, as an OAuth app.

Three quirks shape this file. The token endpoint answers 200 when it fails. Scopes are requested with spaces and granted
with commas, normalized (`repo` replaces what it implies). A refresh ends both old tokens at once, so an answer with a
new pair is never discarded because of an optional field.

Source: docs.github.com, "Authorizing OAuth apps", "Scopes for OAuth apps", "Refreshing user access tokens",
"Troubleshooting OAuth app access token request errors", REST "OAuth applications" and "Users".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    ClientRejectedError,
    ProviderFailedError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, Conversation, HttpResponse, with_query
from connectors.domain.model.oauth import ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, OAuth, RevocationScope, Scope
from connectors.domain.providers.github import limits
from connectors.domain.providers.github.endpoints import USER_AGENT, endpoints_of, get, send
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.foreign import read_expiry

SCOPES = (
    Scope("repo", "Read issues, pull requests and code of private repositories, and manage webhooks on them."),
    Scope("read:org", "List the organizations and teams whose repositories the user can access."),
    Scope("admin:org_hook", "Manage webhooks on whole organizations (their owners only).", default=False),
    Scope("admin:repo_hook", "Manage webhooks on repositories when `repo` is not asked.", default=False),
    Scope("public_repo", "Public repositories only, instead of `repo`.", default=False),
    Scope("offline_access", "Tokens that expire after hours and can be refreshed.", default=False),
)
"""The possible scopes. `repo` is broad, but GitHub has no read-only scope for private repositories."""

GITHUB_APP_TOKEN = "ghu_"  # noqa: S105 - how the tokens of a GitHub App's users begin

_SAFE_CODE = re.compile(r"[a-z_]{1,64}")

_USER_MUST_ACT = frozenset({"bad_verification_code", "bad_refresh_token", "unverified_user_email"})
_OPERATOR_MUST_ACT = frozenset({"incorrect_client_credentials", "redirect_uri_mismatch", "application_suspended"})

_ALREADY_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


@attrs.frozen(kw_only=True)
class User:
    """`GET /user`."""

    id: int
    login: str
    html_url: str | None = None
    name: str | None = None
    node_id: str | None = None
    avatar_url: str | None = None
    type: str | None = None


def authorize_url(app: ProviderApp, params: AuthorizationParams) -> str:
    """The consent page's URL. It contains only the S256 challenge, no secret."""
    return with_query(
        endpoints_of(app).authorize,
        {
            "client_id": app.client_id,
            "redirect_uri": params.redirect_uri,
            # Always sent: without it GitHub silently repeats the user's earlier grant.
            "scope": " ".join(params.scopes),
            "state": params.state,
            "code_challenge": params.code_challenge,
            "code_challenge_method": None if params.code_challenge is None else "S256",
        },
    )


def token_endpoint(app: ProviderApp, _: Mapping[str, str]) -> TokenEndpointCall:
    """Where codes and refresh tokens are exchanged, with client id and secret in the form body."""
    # Without `accept` the answer is form-encoded.
    headers = {"accept": "application/json", "user-agent": USER_AGENT}
    return TokenEndpointCall(url=endpoints_of(app).token, headers=headers)


def read_tokens(response: HttpResponse, now: datetime, previous: TokenSet | None) -> TokenSet:
    """The tokens in the token endpoint's answer. See `OAuth.read_tokens`."""
    limited = limits.read_limit(response, now)
    if limited is not None:
        raise limited
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ProviderUnavailableError(f"GitHub's token endpoint answered {response.status}.")
    if response.status == HTTPStatus.NOT_FOUND:
        raise ClientRejectedError("GitHub's token endpoint answered 404: no such client, or a wrong base URL.")
    answer = response.json_object()
    if "error" in answer:
        raise _token_error(answer["error"])
    access_token = _read_text(answer, "access_token")
    if response.status != HTTPStatus.OK or access_token is None:
        raise UnexpectedResponseError(f"GitHub's token endpoint answered {response.status} without an access token.")
    refresh_token = _read_text(answer, "refresh_token")
    return TokenSet(
        access_token=Secret(access_token),
        # None after a refresh, too: the one that was sent is used up, and the app's tokens do not expire any more.
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        token_type=(_read_text(answer, "token_type") or "bearer").lower(),
        scopes=_read_scopes(answer, previous),
        expires_at=read_expiry(answer.get("expires_in"), now),
        refresh_expires_at=read_expiry(answer.get("refresh_token_expires_in"), now),
    )


def identify(app: ProviderApp, _: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """The user who consented. Asked after every exchange, because people can switch accounts on the consent page."""
    response = yield get(endpoints_of(app).api_url("user"))
    user = structure.read(response.json(), User, "GitHub's user")
    details = {"node_id": user.node_id, "full_name": user.name, "avatar_url": user.avatar_url, "type": user.type}
    account = ExternalAccount(
        id=str(user.id),
        name=user.login,
        url=user.html_url,
        metadata={name: value for name, value in details.items() if value is not None},
    )
    return (account,)


def grant_key(accounts: Sequence[ExternalAccount]) -> str:
    """One key per user, by id: a login can change hands."""
    return f"github:{accounts[0].id}"


def required_scopes(_: ProviderApp, asked: tuple[str, ...]) -> frozenset[str]:
    """`repo`, if requested: all reading needs it, and no other scope implies it, so it is never normalized away."""
    return frozenset({"repo"} & set(asked))


def explain_missing_scopes(tokens: TokenSet) -> str | None:
    """A GitHub App's tokens have no scopes, whatever the user grants: the operator has registered the wrong app."""
    if not tokens.access_token.reveal().startswith(GITHUB_APP_TOKEN):
        return None
    return "Set the client id and secret of an OAuth app; those of a GitHub App are set, whose tokens have no scopes."


def revoke(app: ProviderApp, tokens: TokenSet) -> Conversation[None]:
    """Revoke this token pair only. `…/grant` would end every token of this user for this app, in all tenants."""
    url = endpoints_of(app).api_url("applications", app.client_id, "token")
    body = {"access_token": tokens.access_token.reveal()}
    yield send("DELETE", url, body, authorization=Authorization.CLIENT_BASIC, expects=_ALREADY_GONE)


def _token_error(code: Any) -> ProviderFailedError:
    if not isinstance(code, str) or not _SAFE_CODE.fullmatch(code):
        return UnexpectedResponseError("GitHub's token endpoint answered an error that is not documented.")
    if code in _USER_MUST_ACT:
        return ReauthorizationRequiredError(
            f"GitHub refused the code or refresh token ({code}).", next_step="Connect GitHub again."
        )
    if code in _OPERATOR_MUST_ACT:
        return ClientRejectedError(
            f"GitHub refused this app ({code}).",
            next_step="Check the client id, client secret and callback URL of the OAuth app in GitHub's settings.",
        )
    return UnexpectedResponseError(f"GitHub's token endpoint answered {code}.")


def _read_text(answer: Mapping[str, Any], name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) and value else None


def _read_scopes(answer: Mapping[str, Any], previous: TokenSet | None) -> tuple[str, ...]:
    scope = answer.get("scope")
    if not isinstance(scope, str):
        return () if previous is None else previous.scopes
    return tuple(dict.fromkeys(scope.replace(",", " ").split()))


OAUTH = OAuth(
    scopes=SCOPES,
    pkce=True,
    authorize_url=authorize_url,
    token_endpoint=token_endpoint,
    read_tokens=read_tokens,
    identify=identify,
    grant_key=grant_key,
    required_scopes=required_scopes,
    explain_missing_scopes=explain_missing_scopes,
    revoke=revoke,
    revocation_scope=RevocationScope.GRANT,
    remove_at="https://github.com/settings/applications",
)
"""No `reuse_window`: a used refresh token is invalid at once. No `idle_lifetime`: the answer has the expiry."""
