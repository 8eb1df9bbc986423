"""Token families: the tokens of one consent and their successors, which live and end together. Every vendor's token
endpoint keeps its families here.

Where a vendor does not say what happens, the stricter assumption is made: what we rely on then holds at the real
vendor, too. Two of them matter to everybody:

- A code that is used a second time ends what it gave. RFC 6749 (4.1.2) says that the server SHOULD do so, and no vendor
  says that it does not.
- A rotated refresh token that is sent again after the vendor's window ends its family, as RFC 9700 (4.14.2) describes.
  Atlassian says so; GitHub and Slack only say that the token stops working.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import attrs

from connectors_sandbox.clock import SandboxClock


class Ending(StrEnum):
    """Why a family ended."""

    REVOKED = "revoked by a call of the app"
    WITHDRAWN = "withdrawn by its user"
    CODE_REUSED = "its code was used twice"
    TOKEN_REUSED = "a replaced refresh token was sent again"  # noqa: S105  a sentence
    CROWDED_OUT = "too many of one user and app"


class RefreshRefusedError(Exception):
    """The refresh token does not work: it is unknown, was replaced too long ago, or its family has ended."""

    def __init__(self, *, is_known: bool) -> None:
        super().__init__("The refresh token does not work.")
        self.is_known = is_known
        """Whether the vendor once gave it to this app."""


@attrs.frozen(kw_only=True)
class Rules:
    """A vendor's rules for families."""

    window: timedelta | None = None
    """How long a refresh token works after it was replaced; None: refresh tokens are never replaced."""
    most: int | None = None
    """How many families of one user and app live at a time: one more ends the oldest."""
    is_counted_by_scopes: bool = False
    """Whether `most` holds for each set of scopes by itself."""


@attrs.define(eq=False, kw_only=True)
class Family:
    """The tokens of one consent, and their successors."""

    number: int
    """Counts the vendor's families from 1, in the order in which they began."""
    client_id: str
    user: str
    """The user who consented, as the vendor's own module names them."""
    scopes: tuple[str, ...]
    began_at: datetime
    about: Any = attrs.field(default=None, repr=False)
    """What the vendor's own module wants to know about it."""
    access: str | None = attrs.field(default=None, repr=False)
    """The newest access token; None: the sandbox's own lever made the family, and nobody was given a token."""
    refresh: str | None = attrs.field(default=None, repr=False)
    """The newest refresh token."""
    replaced: dict[str, datetime] = attrs.field(factory=dict, repr=False)
    """Refresh tokens that were replaced, and when."""
    expires_at: datetime | None = None
    """When it ends by itself unless it is refreshed."""
    can_refresh: bool = True
    """False: its access tokens are the last ones."""
    ended_at: datetime | None = None
    """When it was ended before it expired."""
    ending: Ending | None = None
    """Why."""


class TokenFamilies:
    """All families of one vendor, ended ones too; the world's lock guards them."""

    def __init__(self, clock: SandboxClock, rules: Rules, forget: Callable[[Family], None]) -> None:
        """`forget` drops the tokens of a family that has just ended."""
        self._clock = clock
        self._forget = forget
        self._owners: dict[str, Family] = {}
        self._spent: dict[str, tuple[Family, ...]] = {}
        self.rules = rules
        self.all: list[Family] = []
        """In the order in which they began."""
        self.reused: list[str] = []
        """Replaced refresh tokens that were sent again, in order: a client that does not refresh single-flight."""
        self.on_end: Callable[[Family], None] = lambda _family: None
        """Told of each family that ends before it expires, when it has just ended."""

    def begin(
        self, client_id: str, user: str, scopes: tuple[str, ...], *, about: Any = None, counts: bool = True
    ) -> Family:
        """A new family without tokens yet; the oldest one ends if there are too many then.

        Args:
            client_id: of the app.
            user: who consents.
            scopes: what was granted.
            about: kept as it is.
            counts: whether it is one of those that are limited.
        """
        family = Family(
            number=len(self.all) + 1,
            client_id=client_id,
            user=user,
            scopes=scopes,
            began_at=self._clock.now(),
            about=about,
        )
        if counts and self.rules.most is not None:
            rivals = [one for one in self.live() if one.can_refresh and self._are_counted_together(one, family)]
            for oldest in rivals[: max(0, len(rivals) + 1 - self.rules.most)]:
                self.end(oldest, Ending.CROWDED_OUT)
        self.all.append(family)
        return family

    def give(self, family: Family, access: str, refresh: str | None, expires_at: datetime | None) -> None:
        """Note the family's newest tokens. Another refresh token than before replaces that one.

        Args:
            family: whose they are.
            access: the access token.
            refresh: the refresh token, perhaps the one of before.
            expires_at: when the family ends by itself.
        """
        if refresh is not None and refresh != family.refresh:
            if family.refresh is not None:
                family.replaced.setdefault(family.refresh, self._clock.now())
            family.refresh = refresh
            self._owners[refresh] = family
        self._owners[access] = family
        family.access = access
        family.expires_at = expires_at

    def renewable(self, client_id: str, refresh: str | None) -> Family:
        """The family of a refresh token that may be used now. A replaced one that comes too late ends the family.

        Raises:
            RefreshRefusedError: it may not.
        """
        family = self.find(refresh)
        if refresh is None or family is None or family.client_id != client_id:
            raise RefreshRefusedError(is_known=False)
        replaced_at = family.replaced.get(refresh)
        if replaced_at is not None:
            self.reused.append(refresh)
            if self._clock.now() >= replaced_at + (self.rules.window or timedelta()):
                self.end(family, Ending.TOKEN_REUSED)
        if not self.is_live(family) or not family.can_refresh:
            raise RefreshRefusedError(is_known=True)
        return family

    def find(self, token: str | None) -> Family | None:
        """The family to which a token belongs or belonged, whether it still works or not."""
        return self._owners.get(token or "")

    def spend(self, code: str, *families: Family) -> None:
        """Note that a code was used, and what it gave."""
        self._spent[code] = families

    def is_spent(self, code: str) -> bool:
        """Whether a code was used before. If so, what it gave ends now."""
        for family in self._spent.get(code, ()):
            self.end(family, Ending.CODE_REUSED)
        return code in self._spent

    def end(self, family: Family, ending: Ending) -> None:
        """Let nothing of a family work any more."""
        if family.ended_at is None:
            family.ended_at, family.ending = self._clock.now(), ending
            self._forget(family)
            self.on_end(family)

    def end_refresh(self, family: Family, expires_at: datetime | None) -> None:
        """Let a family have no more successors: it ends with its access tokens, at `expires_at` (None: now)."""
        family.can_refresh, family.expires_at = False, expires_at or self._clock.now()

    def end_access(self, family: Family) -> None:
        """Note that its access tokens have ended: it is over if it cannot be refreshed."""
        if not family.can_refresh:
            family.expires_at = self._clock.now()

    def end_all(self, user: str, ending: Ending, client_id: str | None = None) -> int:
        """End what a user gave one app, or all; returns how many families that were."""
        doomed = [one for one in self.live() if one.user == user and client_id in (None, one.client_id)]
        for family in doomed:
            self.end(family, ending)
        return len(doomed)

    def is_live(self, family: Family) -> bool:
        """Whether it has not ended."""
        is_over = family.expires_at is not None and family.expires_at <= self._clock.now()
        return family.ended_at is None and not is_over

    def live(self) -> list[Family]:
        """Those that have not ended, oldest first."""
        return [one for one in self.all if self.is_live(one)]

    def _are_counted_together(self, one: Family, other: Family) -> bool:
        is_same = (one.client_id, one.user) == (other.client_id, other.user)
        return is_same and (one.scopes == other.scopes or not self.rules.is_counted_by_scopes)
