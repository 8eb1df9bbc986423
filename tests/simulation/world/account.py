"""What every vendor's module offers: one account, and what can happen to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar

import attrs

from connectors_sandbox import Sandbox

Deed = Callable[[Any, Random], None]
"""A method of an account: the account and the dice of this deed."""


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened at the vendor and that an undisturbed whole read of the account shows."""

    kind: str
    """Its `SignalKind`."""
    title: str
    """A text that the signal's title contains, and no other signal's of this kind."""
    at: datetime
    """When it happened, as the vendor dates it."""
    external_id: str | None = None
    """The vendor's id of the account that shows it, where one consent gives several connections (a Jira site)."""
    is_traceless: bool = False
    """Whether it appeared without a mark in any order by which the vendor lists changes, as an import that keeps its
    dates does: only a whole read finds it."""
    note: str = ""
    """What is unusual about it. A finding says so, and each such note has a finding of its own."""


class Account(ABC):
    """One account at one vendor. What happened is kept by the sandbox, and here as far as the oracle needs it.

    Deeds are chosen by name, so that a script can be read: `usual` ones make, change and remove things; `odd` ones are
    levers for what is rare (dates, containers, invitations, tokens, hooks, indexes, pages).
    """

    slug: ClassVar[str]
    mount: ClassVar[str]
    """Under which the sandbox serves the vendor."""
    lists: ClassVar[tuple[str, ...]]
    """Parts of the paths of its lists and details: each may be refused by itself."""
    is_set_up_by_hand: ClassVar[bool] = False
    """Whether a person has to do something at the vendor (`finish`) after the consent, so that events arrive."""
    has_own_tokens: ClassVar[bool] = True
    """Whether the vendor can tell how many token sets live (`tokens`), one for each connection."""
    refreshes_once: ClassVar[bool] = False
    """Whether a used refresh token is worthless at once: where nobody knows the answer, the consent is lost."""
    is_read_by_date: ClassVar[bool] = False
    """Whether only its date tells that something is new: what is dated before all that was asked for is then old."""
    signals_are_shared: ClassVar[bool] = True
    """Whether what two connections of a tenant see is one signal, of the one that saw it first. Else each has its own."""
    shows_tokens: ClassVar[bool] = True
    """Whether the vendor can tell whether any token lives."""
    page_items: ClassVar[int] = 20
    """How many items fill a page of the main list."""
    lists_hooks: ClassVar[bool] = True
    """Whether the vendor tells which hooks it has. Else nobody can see that it has dropped one (`hooks_vanish`)."""
    requests_a_minute: ClassVar[int] = 60
    """Requests of one kind that are no flood: what reading a burst takes, within what the vendor allows."""
    limited_an_hour: int = 6
    """Requests within an hour that the vendor may answer with 429: whoever knows its limits rarely meets them."""
    lag: ClassVar[timedelta | None] = None
    """How late a change may reach a list; None where the order of lists is not looked at."""
    deadly: ClassVar[frozenset[str]] = frozenset()
    """Those of the odd deeds after which the consent does not work any more."""
    withholding: ClassVar[frozenset[str]] = frozenset()
    """Those of the odd deeds after which the user's next consent is answered without a refresh token."""
    aimed: ClassVar[Mapping[str, str]] = {}
    """Those of the odd deeds that change how one request is answered: a part of its path. They come just before it."""
    scopes: ClassVar[tuple[str, ...]] = ()
    """The scopes of `start_authorization`; empty for the app's own."""
    usual: ClassVar[Mapping[str, tuple[int, Deed]]]
    """Deeds of everyday life, by name: their weight, and the method."""
    odd: ClassVar[Mapping[str, Deed]]
    """Levers, by name."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self.sandbox = sandbox
        self.name = name
        self._texts = 0
        self.changed: Callable[[], object] = lambda: None
        """To be called after a change that comes later than the deed that asked for it."""

    # --- before ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, items: int, dice: Random) -> None:
        """The user, one container, and that many old items in its main list, spread over the days before now."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of `start_authorization`."""
        return {}

    @property
    @abstractmethod
    def user(self) -> str:
        """Who consents, as the sandbox's authorize page calls them (`sandbox_user`)."""

    @property
    @abstractmethod
    def other_user(self) -> str:
        """Another user who may consent: of the same site, workspace or repository where that exists."""

    # --- meanwhile ---------------------------------------------------------------------------------------------------

    def do(self, what: str, dice: Random) -> None:
        """One deed by its name."""
        deed = self.odd.get(what) or self.usual[what][1]
        deed(self, dice)

    def finish(self, url: str | None) -> None:  # noqa: B027 - most vendors need nothing
        """What a person sets up by hand once connected; the URL is the connection's webhook URL."""

    @abstractmethod
    def withdraw(self) -> None:
        """The user takes the consent back at the vendor."""

    # --- for the oracle ----------------------------------------------------------------------------------------------

    @abstractmethod
    def hooks(self) -> int:
        """How many standing arrangements that send to us the vendor has for this account; 0 where only people make
        them."""

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the vendor refuses everybody's calls for it, so that nobody can see, make or remove a hook."""
        return False

    @abstractmethod
    def tokens(self) -> int:
        """How many living token sets the vendor has of this account's users."""

    @abstractmethod
    def events(self) -> list[Event]:
        """What an undisturbed whole read of the account has to show by now: the truth, counted from the sandbox's
        tables or kept by the deeds, never from the product's code."""

    # --- lists that move while they are read, where `lag` is given ----------------------------------------------------

    def rows_of_answer(self, url: str, document: Any) -> tuple[str, Mapping[str, datetime]] | None:
        """Which list an answer is a page of, and its rows with the instants that they show."""
        del url, document
        return None

    def rows_sorted(self, external_id: str, key: str) -> tuple[str, Mapping[str, datetime]] | None:
        """The list of a stream, and its rows with the instants by which the vendor sorts them now.

        Without those that were once hidden, or appeared with a date that was past by then: no order shows them.
        """
        del external_id, key
        return None

    def position(self, cursor: Any) -> datetime | None:
        """Up to when a cursor or bookmark of an oldest-first list says that the list has been read."""
        del cursor

    # --- for deeds ---------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """A title that nothing else has."""
        self._texts += 1
        return f"{self.name}-{self._texts:04d}."

    @property
    def now(self) -> datetime:
        """The vendor's time."""
        return self.sandbox.clock.now()

    def days_ago(self, days: float) -> datetime:
        """An instant that many days before now."""
        return self.now - timedelta(days=days)
