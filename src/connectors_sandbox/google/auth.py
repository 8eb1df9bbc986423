"""Accounts, OAuth clients, codes and tokens."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.families import Ending, Family, RefreshRefusedError, Rules, TokenFamilies

DEFAULT_CLIENT_ID: Final = "sandbox-google.apps.googleusercontent.com"
DEFAULT_CLIENT_SECRET: Final = "GOCSPX-sandbox-google"  # noqa: S105  guards nothing real
CODE_LIFETIME: Final = timedelta(minutes=10)
ACCESS_LIFETIME: Final = timedelta(seconds=3599)
RULES: Final = Rules(most=100)
"""A hundred refresh tokens per account and client; one more silently revokes the oldest. They are never replaced."""

ALIASES: Final = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}
IDENTITY: Final = frozenset({"openid", *ALIASES.values()})


class TokenRefusedError(Exception):
    """An error of the token endpoint (RFC 6749 §5.2)."""

    def __init__(self, error: str, description: str, status: int = 400, **more: str) -> None:
        super().__init__(description)
        self.status = status
        self.document = {"error": error, "error_description": description, **more}


@attrs.define(eq=False)
class User:
    """A Google account."""

    sub: str
    email: str
    name: str
    hosted_domain: str | None = None
    has_mailbox: bool = True

    def to_userinfo(self) -> dict[str, Any]:
        """The OpenID claims about the account."""
        claims = {"sub": self.sub, "email": self.email, "email_verified": True, "name": self.name}
        return claims if self.hosted_domain is None else {**claims, "hd": self.hosted_domain}


@attrs.frozen
class Client:
    """An OAuth client of the project."""

    id: str
    secret: str = attrs.field(repr=False)
    name: str
    redirect_uris: tuple[str, ...] = ()
    """Empty: any."""


@attrs.frozen
class Code:
    """An authorization code, valid for one exchange."""

    client_id: str
    email: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    method: str
    gives_refresh: bool
    expires_at: datetime


@attrs.define(eq=False)
class Grant:
    """One consent with its tokens."""

    client_id: str
    email: str
    scopes: tuple[str, ...]
    refresh: str | None
    refresh_expires_at: datetime | None
    family: Family
    access: dict[str, datetime] = attrs.field(factory=dict)
    """Access tokens and their expiries."""


class Authorizations:
    """Clients, codes and tokens of the one Cloud project that the sandbox simulates."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, Code] = {}
        self.grants: list[Grant] = []
        self.families = TokenFamilies(core.clock, RULES, self._forget)
        self.consented: set[tuple[str, str]] = set()
        self.refresh_lifetime: timedelta | None = None
        """Set it to seven days to simulate an app in testing."""
        self.withheld: set[str] = set()
        """Accounts whose next code gives no refresh token."""

    def issue_code(self, code: Code) -> str:
        """A new code."""
        text = "4/0A" + self._core.random_string(60)
        self.codes[text] = code
        self.consented.add((code.client_id, code.email))
        return text

    def exchange(self, client: Client, text: str, redirect_uri: str, verifier: str | None) -> tuple[Grant, str]:
        """Tokens for a code: the grant and its first access token. A second use ends what the first gave."""
        code = self.codes.get(text)
        now = self._core.clock.now()
        if code is None or code.client_id != client.id or self.families.is_spent(text) or code.expires_at <= now:
            raise TokenRefusedError("invalid_grant", "Malformed auth code.")
        self.families.spend(text)
        if code.redirect_uri != redirect_uri:
            raise TokenRefusedError("redirect_uri_mismatch", "Bad Request")
        if code.challenge is not None and not _is_answer(code.challenge, code.method, verifier):
            raise TokenRefusedError("invalid_grant", "Invalid code verifier.")
        gives_refresh = code.gives_refresh and code.email not in self.withheld
        self.withheld.discard(code.email)
        refresh = "1//0g" + self._core.random_string(80) if gives_refresh else None
        ends_at = now + self.refresh_lifetime if refresh and self.refresh_lifetime else None
        family = self.families.begin(client.id, code.email, code.scopes, counts=gives_refresh)
        family.can_refresh = gives_refresh
        self.families.spend(text, family)
        grant = Grant(client.id, code.email, code.scopes, refresh, ends_at, family)
        self.grants.append(grant)
        return grant, self._issue_access(grant)

    def refresh(self, client: Client, token: str) -> tuple[Grant, str]:
        """A new access token; the refresh token stays the same."""
        try:
            family = self.families.renewable(client.id, token)
        except RefreshRefusedError as refusal:
            raise TokenRefusedError("invalid_grant", "Token has been expired or revoked.") from refusal
        grant = next(one for one in self.grants if one.family is family)
        return grant, self._issue_access(grant)

    def find_access(self, token: str) -> Grant | None:
        """The grant of a live access token."""
        now = self._core.clock.now()
        return next((one for one in self.grants if one.access.get(token, now) > now), None)

    def revoke(self, token: str) -> bool:
        """Revoke everything that the token's user granted to the project; False for an unknown token."""
        grant = next((one for one in self.grants if token == one.refresh), None) or self.find_access(token)
        if not token or grant is None:
            return False
        self.revoke_user(grant.email, Ending.REVOKED)
        return True

    def revoke_user(self, email: str, ending: Ending = Ending.WITHDRAWN) -> int:
        """Revoke everything that the user granted; returns how many grants were revoked."""
        self.consented = {pair for pair in self.consented if pair[1] != email}
        return self.families.end_all(email, ending)

    def end_access(self, email: str) -> None:
        """End the user's access tokens before they expire; refresh tokens stay.

        Source: developers.google.com/identity/protocols/oauth2, "Refresh token expiration": code must anticipate that a
        granted token no longer works.
        """
        for grant in self.grants:
            if grant.email == email:
                grant.access.clear()
                self.families.end_access(grant.family)

    def end_refresh(self, email: str) -> None:
        """End the user's refresh tokens; access tokens live until they expire.

        Google does so after six months without use, beyond 100 tokens per account and client, at the end of a
        time-limited grant, and (with Gmail scopes) when the password changes.

        Source: developers.google.com/identity/protocols/oauth2, "Refresh token expiration".
        """
        for grant in self.grants:
            if grant.email == email and grant.refresh is not None:
                grant.refresh = None
                self.families.end_refresh(grant.family, max(grant.access.values(), default=None))

    def live(self, email: str) -> list[Grant]:
        """The user's grants that have a token that works."""
        return [one for one in self.grants if one.email == email and self.families.is_live(one.family)]

    def _issue_access(self, grant: Grant) -> str:
        token = "ya29.A0" + self._core.random_string(120)
        grant.access[token] = expires_at = self._core.clock.now() + ACCESS_LIFETIME
        ends_at = grant.refresh_expires_at if grant.refresh else expires_at
        self.families.give(grant.family, token, grant.refresh, ends_at)
        return token

    def _forget(self, family: Family) -> None:
        self.grants = [one for one in self.grants if one.family is not family]


def _is_answer(challenge: str, method: str, verifier: str | None) -> bool:
    """Whether the verifier matches the challenge (RFC 7636 §4.6)."""
    if verifier is None:
        return False
    if method == "plain":
        return verifier == challenge
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
