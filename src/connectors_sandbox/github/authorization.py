"""OAuth apps, codes and tokens."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.families import Family, RefreshRefusedError, Rules, TokenFamilies
from connectors_sandbox.github.scopes import OFFLINE_ACCESS, normalize

CODE_LIFETIME: Final = timedelta(minutes=10)
ACCESS_LIFETIME: Final = timedelta(hours=8)
REFRESH_LIFETIME: Final = timedelta(seconds=15_897_600)
"""About six months; GitHub's pages disagree on the exact number."""
RULES: Final = Rules(window=timedelta(), most=10, is_counted_by_scopes=True)
"""A used refresh token stops working at once. Ten tokens per user, app and set of scopes; the eleventh revokes the
oldest."""
CHALLENGE_LENGTH: Final = 43
"""base64url of a SHA-256, unpadded."""
LOOPBACK_LITERALS: Final = frozenset({"127.0.0.1", "::1"})


class TokenCallError(Exception):
    """An error of the token endpoint, sent with HTTP 200; `code` is GitHub's."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


@attrs.define(eq=False)
class OAuthApp:
    """A registered OAuth app."""

    client_id: str
    client_secret: str = attrs.field(repr=False)
    name: str
    callback_url: str
    is_expiring: bool = False
    """Whether its tokens always expire; otherwise only if `offline_access` was requested."""
    is_suspended: bool = False
    omits_refresh_tokens: bool = False
    """Whether answers come without refresh token and expiry although both were requested: an Enterprise Server may
    ignore the request. Source: docs.github.com, "Refreshing user access tokens"."""


@attrs.frozen
class Code:
    """An authorization code, not yet exchanged."""

    client_id: str
    user_id: int
    scopes: tuple[str, ...]
    redirect_uri: str
    was_redirect_sent: bool
    challenge: str | None
    is_expiring: bool
    expires_at: datetime


@attrs.define(eq=False)
class Token:
    """A live pair of tokens."""

    access: str = attrs.field(repr=False)
    refresh: str | None = attrs.field(repr=False)
    client_id: str
    user_id: int
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    refresh_expires_at: datetime | None
    family: Family = attrs.field(repr=False)


class Authorization:
    """The authorization server's state; the world's lock guards it."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.apps: dict[str, OAuthApp] = {}
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        """The newest pair of each family, by its access token."""
        self.families = TokenFamilies(core.clock, RULES, self._forget)

    def grant_code(
        self,
        app: OAuthApp,
        user_id: int,
        scopes: Iterable[str],
        redirect_uri: str | None,
        challenge: str | None,
    ) -> str:
        """A new code for what the user allowed."""
        granted = tuple(scopes)
        code = self._core.random_string(20, "0123456789abcdef")
        self.codes[code] = Code(
            client_id=app.client_id,
            user_id=user_id,
            scopes=normalize(granted),
            redirect_uri=redirect_uri or app.callback_url,
            was_redirect_sent=redirect_uri is not None,
            challenge=challenge,
            is_expiring=app.is_expiring or OFFLINE_ACCESS in granted,
            expires_at=self._core.clock.now() + CODE_LIFETIME,
        )
        return code

    def exchange(self, app: OAuthApp, code: str | None, redirect_uri: str | None, verifier: str | None) -> Token:
        """The token for a code. Any attempt by the code's own app uses the code up; a second one ends what it gave.

        Raises:
            TokenCallError: the code is unknown, used, expired, another app's, or fails a check.
        """
        found = self.codes.get(code or "")
        if found is None or found.client_id != app.client_id:
            raise _bad_code()
        if self.families.is_spent(code or "") or found.expires_at <= self._core.clock.now():
            raise _bad_code()
        self.families.spend(code or "")
        if redirect_uri is not None and redirect_uri != found.redirect_uri:
            raise TokenCallError("redirect_uri_mismatch", "The redirect_uri is not the one the code was issued for.")
        if found.challenge is not None and not is_verifier_of(verifier, found.challenge):
            raise _bad_code()
        family = self.families.begin(app.client_id, str(found.user_id), found.scopes)
        self.families.spend(code or "", family)
        return self._issue(app, family, is_expiring=found.is_expiring)

    def _issue(self, app: OAuthApp, family: Family, *, is_expiring: bool) -> Token:
        """The family's next token."""
        now = self._core.clock.now()
        is_expiring = is_expiring and not app.omits_refresh_tokens
        token = Token(
            access="gho_" + self._core.random_string(36),
            refresh="ghr_" + self._core.random_string(76) if is_expiring else None,
            client_id=family.client_id,
            user_id=int(family.user),
            scopes=family.scopes,
            created_at=now,
            expires_at=now + ACCESS_LIFETIME if is_expiring else None,
            refresh_expires_at=now + REFRESH_LIFETIME if is_expiring else None,
            family=family,
        )
        self._forget(family)
        self.tokens[token.access] = token
        self.families.give(family, token.access, token.refresh, token.refresh_expires_at)
        return token

    def refresh(self, app: OAuthApp, refresh_token: str | None) -> Token:
        """The next pair; the old access and refresh tokens stop working immediately.

        Raises:
            TokenCallError: the refresh token is unknown, used, expired or another app's.
        """
        try:
            family = self.families.renewable(app.client_id, refresh_token)
        except RefreshRefusedError as refusal:
            description = "The refresh token passed is incorrect or expired."
            raise TokenCallError("bad_refresh_token", description) from refusal
        return self._issue(app, family, is_expiring=True)

    def find_live(self, access: str) -> Token | None:
        """The token of an API call, or None if it is unknown, revoked or expired."""
        token = self.tokens.get(access)
        if token is None or (token.expires_at is not None and token.expires_at <= self._core.clock.now()):
            return None
        return token

    def find_granted_scopes(self, client_id: str, user_id: int) -> tuple[str, ...] | None:
        """The scopes that the user granted this app before and still grants, or None."""
        found = [
            token.scopes for token in self.tokens.values() if (token.client_id, token.user_id) == (client_id, user_id)
        ]
        return normalize(scope for scopes in found for scope in scopes) if found else None

    def end_early(self, user_id: int) -> None:
        """The user's access tokens stop working before they expire; refresh tokens still work."""
        now = self._core.clock.now()
        for token in self.tokens.values():
            if token.user_id == user_id and token.refresh is not None:
                token.expires_at = now

    def _forget(self, family: Family) -> None:
        """Both halves of the family's newest pair stop working."""
        self.tokens = {access: token for access, token in self.tokens.items() if token.family is not family}


def _bad_code() -> TokenCallError:
    return TokenCallError("bad_verification_code", "The code passed is incorrect or expired.")


def is_verifier_of(verifier: str | None, challenge: str) -> bool:
    """Whether this verifier matches the S256 challenge (RFC 7636 §4.6)."""
    digest = hashlib.sha256((verifier or "").encode()).digest()
    computed = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return verifier is not None and hmac.compare_digest(computed, challenge.encode())


def is_allowed_redirect(redirect_uri: str, callback_url: str) -> bool:
    """Whether a redirect URI is the registered callback or below it.

    The host may be a subdomain; a loopback address may use any port.
    """
    try:
        asked, registered = urlsplit(redirect_uri), urlsplit(callback_url)
        ports = (asked.port, registered.port)
    except ValueError:
        return False
    host, home = asked.hostname or "", registered.hostname or ""
    is_same_host = host == home or (bool(home) and host.endswith(f".{home}"))
    is_same_port = ports[0] == ports[1] or host in LOOPBACK_LITERALS
    folder = registered.path.rstrip("/")
    is_below = asked.path.rstrip("/") == folder or asked.path.startswith(f"{folder}/")
    return asked.scheme == registered.scheme and is_same_host and is_same_port and is_below
