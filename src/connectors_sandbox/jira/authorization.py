"""The authorization server's state: apps, codes, and families of rotating tokens."""

from datetime import datetime, timedelta
from typing import Final

import attrs

from connectors_sandbox.core import SandboxCore

CODE_LIFETIME: Final = timedelta(minutes=5)
ACCESS_LIFETIME: Final = timedelta(hours=1)
IDLE_LIFETIME: Final = timedelta(days=90)
REUSE_LEEWAY: Final = timedelta(minutes=10)
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


@attrs.define(eq=False)
class Family:
    """All tokens that descend from one consent."""

    client_id: str
    account_id: str
    scopes: tuple[str, ...]
    last_used_at: datetime
    current: str | None = attrs.field(default=None, repr=False)
    used: dict[str, datetime] = attrs.field(factory=dict, repr=False)
    """Rotated refresh tokens, and when each was first used."""
    is_dead: bool = False


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
        self.families: dict[str, Family] = {}
        """Token families, by every refresh token that they ever had."""
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
        """The pair for a code, which works once.

        Raises:
            TokenCallError: wrong, used, expired, or of another app or redirect.
        """
        found = self.codes.pop(code, None) if isinstance(code, str) else None
        now = self._core.clock.now()
        if found is None or found.client_id != app.client_id or found.expires_at <= now:
            raise TokenCallError(403, "invalid_grant", "Invalid authorization code")
        if redirect_uri != found.redirect_uri:
            raise TokenCallError(403, "invalid_grant", "Invalid redirect_uri")
        return self._issue(Family(app.client_id, found.account_id, found.scopes, now))

    def refresh(self, app: OAuthApp, token: object) -> Pair:
        """A new pair; the old refresh token works for ten more minutes, and its later reuse revokes the family.

        Raises:
            TokenCallError: revoked, unknown or another app's.
        """
        family = self.families.get(token) if isinstance(token, str) else None
        now = self._core.clock.now()
        if family is None or family.client_id != app.client_id:
            raise TokenCallError(403, "invalid_grant", "Unknown or invalid refresh token.")
        used_at = family.used.get(str(token))
        if used_at is not None and now - used_at > REUSE_LEEWAY:
            family.is_dead = True
        if now - family.last_used_at > IDLE_LIFETIME:
            family.is_dead = True
        if family.is_dead:
            raise TokenCallError(403, "unauthorized_client", "refresh_token is invalid")
        if family.current is not None:
            family.used.setdefault(family.current, now)
        family.last_used_at = now
        return self._issue(family)

    def find_access(self, token: str) -> Access | None:
        """The live access token with this value."""
        found = self.accesses.get(token)
        return found if found is not None and found.expires_at > self._core.clock.now() else None

    def revoke_all(self, account_id: str) -> None:
        """Revoke every consent of an account, as its owner does under Connected apps."""
        self.end_families(account_id)
        self.end_accesses(account_id)

    def end_families(self, account_id: str) -> None:
        """Let no refresh token of an account work any more."""
        for family in self.families.values():
            if family.account_id == account_id:
                family.is_dead = True

    def end_accesses(self, account_id: str) -> None:
        """Let no access token of an account work any more."""
        self.accesses = {text: one for text, one in self.accesses.items() if one.family.account_id != account_id}

    def _issue(self, family: Family) -> Pair:
        access = "eyJ" + self._core.random_string(900)
        self.accesses[access] = Access(family, self._core.clock.now() + ACCESS_LIFETIME)
        refresh = None
        if OFFLINE_ACCESS in family.scopes:
            refresh = "eyJ" + self._core.random_string(500)
            family.current = refresh
            self.families[refresh] = family
        return Pair(access, refresh, family.scopes)
