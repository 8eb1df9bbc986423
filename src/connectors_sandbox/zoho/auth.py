"""Clients, users, codes and tokens, and Zoho's caps on all of them."""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.families import Ending, Family, RefreshRefusedError, Rules, TokenFamilies

DATA_CENTRES: Final = ("us", "eu")
CODE_LIFETIME: Final = timedelta(seconds=60)
ACCESS_LIFETIME: Final = timedelta(hours=1)
MAX_REFRESH_TOKENS: Final = 20
RULES: Final = Rules(most=MAX_REFRESH_TOKENS)
"""Twenty refresh tokens per user and client; one more silently revokes the oldest. They are never replaced."""
MAX_ACCESS_TOKENS: Final = 10
"""Live access tokens per refresh token; one more expires the oldest early."""
TOKEN_CALLS: Final = 10
"""Access tokens issued per refresh token in a window."""
TOKEN_WINDOW: Final = timedelta(minutes=10)
HEX: Final = "0123456789abcdef"


class TokenRefusedError(Exception):
    """An error of the token endpoint, sent with status 200."""

    def __init__(self, error: str, **more: str) -> None:
        super().__init__(error)
        self.document = {**more, "error": error}


@attrs.frozen
class Client:
    """A registered client, known in the data centres for which Multi DC is on."""

    id: str
    secret: str = attrs.field(repr=False)
    redirect_uris: tuple[str, ...] = ()
    """Empty: any."""
    data_centres: tuple[str, ...] = DATA_CENTRES


@attrs.frozen
class User:
    """A Zoho user, who belongs to one data centre."""

    zuid: int
    email: str
    name: str
    location: str

    def to_info(self) -> dict[str, Any]:
        """The response of `/oauth/user/info`."""
        first, _, last = self.name.partition(" ")
        return {
            "First_Name": first,
            "Last_Name": last,
            "Email": self.email,
            "Display_Name": self.name,
            "ZUID": self.zuid,
        }


@attrs.frozen
class Code:
    """An authorization code, valid for one exchange in one data centre."""

    client_id: str
    user: User
    scopes: tuple[str, ...]
    redirect_uri: str
    gives_refresh: bool
    expires_at: datetime


@attrs.define(eq=False)
class Grant:
    """One consent with its tokens."""

    client_id: str
    user: User
    scopes: tuple[str, ...]
    refresh: str | None = attrs.field(repr=False)
    family: Family = attrs.field(repr=False)
    access: dict[str, datetime] = attrs.field(factory=dict, repr=False)
    """Live access tokens and their expiries, oldest first."""
    calls: deque[datetime] = attrs.field(factory=deque, repr=False)


class Authorizations:
    """Clients, users, codes and tokens of all data centres; the world's lock guards it."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.clients: dict[str, Client] = {}
        self.users: dict[str, User] = {}
        self.codes: dict[str, Code] = {}
        self.grants: list[Grant] = []
        self.families = TokenFamilies(core.clock, RULES, self._forget)
        self.consented: set[tuple[str, str]] = set()

    def find_client(self, client_id: str, secret: str | None, location: str) -> Client:
        """The client, if it is known in this data centre and the secret is right; a secret of None skips that check."""
        client = self.clients.get(client_id)
        if client is None or location not in client.data_centres:
            raise TokenRefusedError("invalid_client")
        if secret is not None and client.secret != secret:
            raise TokenRefusedError("invalid_client_secret")
        return client

    def issue_code(
        self, client_id: str, user: User, scopes: tuple[str, ...], redirect_uri: str, *, gives_refresh: bool
    ) -> str:
        """A new code."""
        text = f"1000.{self._core.random_string(32, HEX)}.{self._core.random_string(32, HEX)}"
        expires_at = self._core.clock.now() + CODE_LIFETIME
        self.codes[text] = Code(client_id, user, scopes, redirect_uri, gives_refresh, expires_at)
        self.consented.add((client_id, user.email))
        return text

    def exchange(self, client: Client, text: str, redirect_uri: str, location: str) -> tuple[Grant, str]:
        """Tokens for a code. A second use ends what the first gave."""
        code = self.codes.get(text)
        if code is not None and code.user.location != location:
            raise TokenRefusedError("invalid_client")  # a data centre that is not the user's
        if code is None or code.client_id != client.id:
            raise TokenRefusedError("invalid_code")
        if self.families.is_spent(text) or code.expires_at <= self._core.clock.now():
            raise TokenRefusedError("invalid_code")
        self.families.spend(text)
        if code.redirect_uri != redirect_uri:
            raise TokenRefusedError("invalid_redirect_uri")
        grant = self.add_grant(client.id, code.user, code.scopes, gives_refresh=code.gives_refresh)
        self.families.spend(text, grant.family)
        return grant, self._issue_access(grant)

    def add_grant(self, client_id: str, user: User, scopes: tuple[str, ...], *, gives_refresh: bool) -> Grant:
        """A new grant without an access token yet; the oldest ends if the user and client have too many now."""
        family = self.families.begin(client_id, user.email, scopes, counts=gives_refresh)
        family.can_refresh = gives_refresh
        grant = Grant(client_id, user, scopes, self._token() if gives_refresh else None, family)
        self.grants.append(grant)
        return grant

    def refresh(self, client: Client, token: str, location: str) -> tuple[Grant, str]:
        """A new access token; the refresh token stays the same."""
        try:
            family = self.families.renewable(client.id, token)
        except RefreshRefusedError as refusal:
            raise TokenRefusedError("invalid_code") from refusal
        grant = next(one for one in self.grants if one.family is family)
        if grant.user.location != location:
            raise TokenRefusedError("invalid_code")
        return grant, self._issue_access(grant)

    def find_access(self, token: str, location: str) -> Grant | None:
        """The grant of a live access token of this data centre."""
        now = self._core.clock.now()
        for grant in self.grants:
            if grant.user.location == location and grant.access.get(token, now) > now:
                return grant
        return None

    def revoke(self, token: str, location: str) -> bool:
        """Revoke a refresh token with all its access tokens, or one access token; False for an unknown token."""
        for grant in [one for one in self.grants if one.user.location == location]:
            if token and token == grant.refresh:
                self.families.end(grant.family, Ending.REVOKED)
                return True
        found = self.find_access(token, location)
        if found is None:
            return False
        del found.access[token]
        return True

    def end_access_tokens(self, email: str) -> int:
        """End a user's access tokens before they expire, and return how many there were; refresh tokens stay."""
        grants = [grant for grant in self.grants if grant.user.email == email]
        ended = sum(len(grant.access) for grant in grants)
        for grant in grants:
            grant.access.clear()
            self.families.end_access(grant.family)
        return ended

    def throttle(self, email: str) -> None:
        """Refuse to issue access tokens to a user until the window ends, as if too many had been asked for."""
        for grant in self.grants:
            if grant.user.email == email:
                grant.calls.extend([self._core.clock.now()] * (TOKEN_CALLS - len(grant.calls)))

    def _issue_access(self, grant: Grant) -> str:
        now = self._core.clock.now()
        while grant.calls and grant.calls[0] <= now - TOKEN_WINDOW:
            grant.calls.popleft()
        if len(grant.calls) >= TOKEN_CALLS:
            raise TokenRefusedError(
                "Access Denied",
                error_description="You have made too many requests continuously. Please try again after some time.",
                status="failure",
            )
        grant.calls.append(now)
        token = self._token()
        grant.access[token] = now + ACCESS_LIFETIME
        for oldest in list(grant.access)[:-MAX_ACCESS_TOKENS]:
            del grant.access[oldest]
        self.families.give(grant.family, token, grant.refresh, None if grant.refresh else now + ACCESS_LIFETIME)
        return token

    def _forget(self, family: Family) -> None:
        self.grants = [one for one in self.grants if one.family is not family]

    def _token(self) -> str:
        return f"1000.{self._core.random_string(32, HEX)}.{self._core.random_string(32, HEX)}"


@attrs.define(eq=False)
class Limiter:
    """A maximum of calls per minute and user, then a lock during which everything is refused."""

    now: Callable[[], datetime]
    calls: int
    lock: timedelta
    _taken: dict[str, deque[datetime]] = attrs.field(factory=dict, init=False)
    _locked_until: dict[str, datetime] = attrs.field(factory=dict, init=False)

    def admits(self, who: str) -> bool:
        """Count a call; False if it is refused."""
        now = self.now()
        if self._locked_until.get(who, now) > now:
            return False
        taken = self._taken.setdefault(who, deque())
        while taken and taken[0] <= now - timedelta(minutes=1):
            taken.popleft()
        if len(taken) >= self.calls:
            self.lock_out(who)
            return False
        taken.append(now)
        return True

    def lock_out(self, who: str) -> None:
        """Begin the lock, as if the user had made too many calls."""
        self._locked_until[who] = self.now() + self.lock
        self._taken.pop(who, None)
