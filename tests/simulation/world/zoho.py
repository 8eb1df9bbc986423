"""What both accounts at Zoho share: a user in one data centre, their tokens, and how Zoho refuses calls."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import ClassVar

from connectors_sandbox import Sandbox
from connectors_sandbox.zoho import ZohoWorld
from connectors_sandbox.zoho.auth import DATA_CENTRES, MAX_REFRESH_TOKENS, Grant
from tests.simulation.world.account import Account, Deed
from tests.support.acts import zoho_address
from tests.support.stage import ZOHO_APP

MOST_LAG = timedelta(minutes=4)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ZohoAccount(Account):
    """One user of Zoho."""

    mount = "zoho"
    is_set_up_by_hand = True
    deadly = frozenset({"consent_elsewhere"})
    """Grants that are older than such a deed may end by any later consent; younger ones stay."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.url: str | None = None
        """The latest webhook URL that a person was given."""
        self._elsewhere: list[Grant] = []
        """Grants of another environment with our client."""
        self._lag_began_at: datetime | None = None
        self._lag_ended_at: datetime | None = None

    @property
    def zoho(self) -> ZohoWorld:
        """The sandbox's Zoho."""
        return self.sandbox.zoho

    @property
    def user(self) -> str:
        """The user's address."""
        return zoho_address(self.name)

    @property
    def other_user(self) -> str:
        """The address of a colleague."""
        return zoho_address(f"{self.name}-other")

    @property
    @abstractmethod
    def colleagues_location(self) -> str | None:
        """The colleague's data centre; None for any."""

    def add_users(self, dice: Random) -> None:
        """The user and the colleague."""
        self.location = dice.choice(DATA_CENTRES)
        self.zoho.add_user(self.user, location=self.location)
        self.zoho.add_user(self.other_user, location=self.colleagues_location or dice.choice(DATA_CENTRES))

    def withdraw(self) -> None:
        """The user removes our app from the page of connected apps."""
        self.zoho.revoke_user(self.user)

    def hooks(self) -> int:
        """None: only people make and remove webhooks and bots."""
        return 0

    def tokens(self) -> int:
        """The living grants of both users, without those of another environment."""
        foreign = {id(grant) for grant in self._elsewhere}
        mine = (self.user, self.other_user)
        return sum(one.user.email in mine and id(one) not in foreign for one in self.zoho.auth.grants)

    def is_shown(self, added_at: datetime) -> bool:
        """Whether lists show by now what was added then."""
        return self.sandbox.core.is_indexed(self.mount, added_at)

    def was_shown_late(self, added_at: datetime) -> bool:
        """Whether lists lagged when they should have shown for the first time what was added then."""
        if self._lag_began_at is None:
            return False
        return self._lag_began_at - MOST_LAG <= added_at and (
            self._lag_ended_at is None or added_at < self._lag_ended_at
        )

    # --- levers ------------------------------------------------------------------------------------------------------

    def end_tokens_early(self, dice: Random) -> None:
        """All access tokens of the user die before they expire."""
        self.zoho.end_access_tokens(self.user)

    def consent_elsewhere(self, dice: Random) -> None:
        """Another environment with our client uses all the grants that a user may have: the next consent ends the
        oldest."""
        for _ in range(MAX_REFRESH_TOKENS - sum(one.user.email == self.user for one in self.zoho.auth.grants)):
            self._elsewhere.append(self.zoho.consent_elsewhere(ZOHO_APP[0], self.user))

    def refuse_refreshes(self, dice: Random) -> None:
        """The token endpoint says "Access Denied" for ten minutes, which is a throttle."""
        self.zoho.throttle_tokens(self.user)

    def lock_out(self, dice: Random) -> None:
        """The user has made too many calls elsewhere: ten minutes without messages, fifteen without mail."""
        self.zoho.lock_out(self.user)

    def refuse_as_bad_request(self, dice: Random) -> None:
        """Throttled calls are answered with 400."""
        self.zoho.throttle_status = 400

    def refuse_as_throttled(self, dice: Random) -> None:
        """Throttled calls are answered with 429."""
        self.zoho.throttle_status = 429

    def lag_index(self, dice: Random) -> None:
        """Lists show messages and mail some minutes late: less than the five that Cliq's reader reads again."""
        self.sandbox.core.index_lags[self.mount] = timedelta(seconds=dice.randrange(30, MOST_LAG.seconds))
        self._lag_began_at, self._lag_ended_at = self._lag_began_at or self.now, None

    def index_catches_up(self, dice: Random) -> None:
        """Lists show everything at once."""
        self.sandbox.core.index_lags.pop(self.mount, None)
        self._lag_ended_at = self.now

    odd: ClassVar[Mapping[str, Deed]] = {
        "end_tokens_early": end_tokens_early,
        "consent_elsewhere": consent_elsewhere,
        "refuse_refreshes": refuse_refreshes,
        "lock_out": lock_out,
        "lag_index": lag_index,
        "index_catches_up": index_catches_up,
        "refuse_as_bad_request": refuse_as_bad_request,
        "refuse_as_throttled": refuse_as_throttled,
    }


def millis(at: datetime) -> int:
    """Zoho's form of an instant."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def instant(count: int) -> datetime:
    """The instant of Zoho's form."""
    return EPOCH + timedelta(milliseconds=count)


def instants(items: int, days: float, now: datetime, dice: Random) -> list[datetime]:
    """That many instants of the days before now, oldest first, of whole milliseconds."""
    span = int(days * 86_400_000)
    ages = sorted((dice.randrange(60_000, span) for _ in range(items)), reverse=True)
    return [now - timedelta(milliseconds=age) for age in ages]
