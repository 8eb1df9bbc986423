"""What the three worlds of Google share: people, tokens, subscriptions, pages."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import ClassVar, TypeVar

from connectors_sandbox.google.world import GoogleWorld
from tests.simulation.world.account import Account, Deed

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2099, 6, 1, 12, 0, tzinfo=UTC)


def choose(dice: Random, things: Sequence[T]) -> T | None:
    """One of them, None if there is none."""
    return dice.choice(things) if things else None


def to_millis(at: datetime) -> datetime:
    """The instant as Google writes it, without what is less than a millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


class GoogleAccount(Account):
    """One Google account, and a colleague who shares things with it."""

    mount = "google"
    resource: ClassVar[str] = ""
    """What its push channels are about, as the sandbox names it; empty if it has none."""
    has_own_tokens = False
    """Each consent adds a refresh token, and revoking any one of them ends all of the user's in the whole project: one that
    was replaced can only end with the last. The vendor ends the oldest of more than a hundred."""
    lists_hooks = False
    deadly = frozenset({"end_refresh_tokens"})
    withholding = frozenset({"answer_without_refresh_token"})
    page_items: ClassVar[int]
    """What the reader asks for, or the cap that `prepare` sets."""
    is_capped: ClassVar[bool] = True
    """Whether the reader asks for more than `page_items`, so that full pages need a cap."""

    @property
    def google(self) -> GoogleWorld:
        """The sandbox's Google."""
        return self.sandbox.google

    @property
    def user(self) -> str:
        return f"{self.name}@acme.example"

    @property
    def other_user(self) -> str:
        return f"{self.name}-lee@acme.example"

    def prepare(self, items: int, dice: Random) -> None:
        for email in (self.user, self.other_user):
            self.google.add_user(email)
        if self.is_capped and items >= self.page_items:
            self.sandbox.core.page_caps[self.mount] = self.page_items
        for _ in range(items):
            self.add_old(dice.uniform(0.01, 30), dice)

    @abstractmethod
    def add_old(self, age_days: float, dice: Random) -> None:
        """One item of that age in the main list."""

    def withdraw(self) -> None:
        self.google.revoke_tokens(self.user)

    def hooks(self) -> int:
        people = (self.user, self.other_user)
        return sum(
            one.email in people and one.resource.startswith(self.resource) for one in self.google.channels.live()
        )

    def tokens(self) -> int:
        return sum(len(self.google.auth.live(email)) for email in (self.user, self.other_user))

    # --- levers ------------------------------------------------------------------------------------------------------

    def end_tokens_early(self, dice: Random) -> None:
        """Access tokens die before they expire; a refresh gives new ones."""
        self.google.end_access_tokens(self.user)

    def end_refresh_tokens(self, dice: Random) -> None:
        """Refresh tokens die, as at a change of the password: only another consent helps."""
        self.google.end_refresh_tokens(self.user)

    def answer_without_refresh_token(self, dice: Random) -> None:
        """The next consent is answered without a refresh token."""
        self.google.withhold_refresh_token(self.user)

    def hooks_vanish(self, dice: Random) -> None:
        """Channels and watches vanish without a word."""
        self.google.drop_subscriptions(self.user)

    def notify_often(self, dice: Random) -> None:
        """Each change is told once to four times, as edits are."""
        self.google.channels.burst = dice.randint(1, 4)

    def short_pages(self, dice: Random) -> None:
        """Lists hold less than was asked for."""
        self.sandbox.core.page_caps[self.mount] = dice.randint(2, 7)

    def full_pages(self, dice: Random) -> None:
        """Lists hold what was asked for."""
        self.sandbox.core.page_caps.pop(self.mount, None)

    shared_levers: ClassVar[Mapping[str, Deed]] = {
        "end_tokens_early": end_tokens_early,
        "end_refresh_tokens": end_refresh_tokens,
        "answer_without_refresh_token": answer_without_refresh_token,
        "hooks_vanish": hooks_vanish,
        "notify_often": notify_often,
        "short_pages": short_pages,
        "full_pages": full_pages,
    }


def some_years_ago(now: datetime, dice: Random) -> datetime:
    """An instant between one month and ten years before now."""
    return now - timedelta(days=dice.uniform(30, 3650))
