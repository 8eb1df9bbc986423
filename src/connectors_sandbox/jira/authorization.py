"""The authorization server's state: apps, codes, and families of rotating tokens."""

from datetime import datetime, timedelta
from typing import Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.families import Ending, Family, RefreshRefusedError, Rules, TokenFamilies

CODE_LIFETIME: Final = timedelta(minutes=5)
ACCESS_LIFETIME: Final = timedelta(hours=1)
IDLE_LIFETIME: Final = timedelta(days=90)
RULES: Final = Rules(window=timedelta(minutes=10))
"""Atlassian names no limit of consents."""
OFFLINE_ACCESS: Final = "offline_access"


class TokenCallError(Exception):
    """An error of the token endpoint, with its HTTP status and `error`."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error


@attrs.define(eq=False)
class OAuthApp:
    """A registered 3LO app."""

    client_id: str
    client_secret: str = attrs.field(repr=False)
    name: str
    callback_url: str
    owner: str | None = None
    """The account id of its owner."""
    is_shared: bool = True
    """A private app may register webhooks, but only its owner's are delivered."""


@attrs.frozen
class Code:
    """An authorization code."""

    client_id: str
    account_id: str
    scopes: tuple[str, ...]
    redirect_uri: str
    expires_at: datetime


@attrs.frozen
class Access:
    """An access token."""

    family: Family
    expires_at: datetime


@attrs.frozen
class Pair:
    """The result of a token call."""

    access: str = attrs.field(repr=False)
    refresh: str | None = attrs.field(repr=False)
    scopes: tuple[str, ...]


class Authorization:
    """Codes and tokens; the world's lock guards them."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.apps: dict[str, OAuthApp] = {}
        self.codes: dict[str, Code] = {}
        self.families = TokenFamilies(core.clock, RULES, self._forget)
        self.accesses: dict[str, Access] = {}

    def grant_code(self, app: OAuthApp, account_id: str, scopes: tuple[str, ...], redirect_uri: str) -> str:
        """A new code for what the user allowed."""
        code = self._core.random_string(32)
        expires_at = self._core.clock.now() + CODE_LIFETIME
        self.codes[code] = Code(app.client_id, account_id, scopes, redirect_uri, expires_at)
        return code

    def authenticate(self, client_id: object, client_secret: object) -> OAuthApp:
        """The app with this id and secret.

        Raises:
            TokenCallError: unknown or wrong.
        """
        app = self.apps.get(client_id) if isinstance(client_id, str) else None
        if app is None or app.client_secret != client_secret:
            raise TokenCallError(401, "access_denied", "Unauthorized")
        return app

    def exchange(self, app: OAuthApp, code: object, redirect_uri: object) -> Pair:
        """The pair for a code, which works once: a second use ends what it gave.

        Raises:
            TokenCallError: wrong, used, expired, or of another app or redirect.
        """
        text = code if isinstance(code, str) else ""
        found = self.codes.get(text)
        if found is None or found.client_id != app.client_id:
            raise TokenCallError(403, "invalid_grant", "Invalid authorization code")
        if self.families.is_spent(text) or found.expires_at <= self._core.clock.now():
            raise TokenCallError(403, "invalid_grant", "Invalid authorization code")
        self.families.spend(text)
        if redirect_uri != found.redirect_uri:
            raise TokenCallError(403, "invalid_grant", "Invalid redirect_uri")
        family = self.families.begin(app.client_id, found.account_id, found.scopes)
        self.families.spend(text, family)
        return self._issue(family)

    def refresh(self, app: OAuthApp, token: object) -> Pair:
        """A new pair; the old refresh token works for ten more minutes, and its later reuse revokes the family.

        Raises:
            TokenCallError: revoked, unknown or another app's.
        """
        try:
            return self._issue(self.families.renewable(app.client_id, token if isinstance(token, str) else None))
        except RefreshRefusedError as refusal:
            if refusal.is_known:
                raise TokenCallError(403, "unauthorized_client", "refresh_token is invalid") from refusal
            raise TokenCallError(403, "invalid_grant", "Unknown or invalid refresh token.") from refusal

    def find_access(self, token: str) -> Access | None:
        """The live access token with this value."""
        found = self.accesses.get(token)
        return found if found is not None and found.expires_at > self._core.clock.now() else None

    def revoke_all(self, account_id: str) -> None:
        """Revoke every consent of an account, as its owner does under Connected apps."""
        self.families.end_all(account_id, Ending.WITHDRAWN)

    def end_refresh_tokens(self, account_id: str) -> None:
        """Let no refresh token of an account work any more."""
        for family in self.families.live():
            if family.user == account_id:
                ends = [one.expires_at for one in self.accesses.values() if one.family is family]
                self.families.end_refresh(family, max(ends, default=None))

    def end_accesses(self, account_id: str) -> None:
        """Let no access token of an account work any more; refresh tokens do."""
        self.accesses = {text: one for text, one in self.accesses.items() if one.family.user != account_id}
        for family in self.families.live():
            if family.user == account_id:
                self.families.end_access(family)

    def _issue(self, family: Family) -> Pair:
        access, now = "eyJ" + self._core.random_string(900), self._core.clock.now()
        self.accesses[access] = Access(family, now + ACCESS_LIFETIME)
        refresh = "eyJ" + self._core.random_string(500) if OFFLINE_ACCESS in family.scopes else None
        lifetime = ACCESS_LIFETIME if refresh is None else IDLE_LIFETIME
        self.families.give(family, access, refresh, now + lifetime)
        return Pair(access, refresh, family.scopes)

    def _forget(self, family: Family) -> None:
        self.accesses = {text: one for text, one in self.accesses.items() if one.family is not family}
