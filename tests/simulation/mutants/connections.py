"""Rules of consents and their end, and of what Core reads."""

from itertools import islice
from typing import Any

from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.memory.grants import MemoryGrantStore
from connectors.adapters.memory.signals import MemorySignalStore
from connectors.adapters.memory.table import Table
from connectors.domain.flows.connections.authorization import Authorizations
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.signals.feed import SignalFeed, first_id_at
from tests.simulation.mutants.mutant import Change, Mutant, always, deed, fault, nothing

_erase_tenant = MemoryDatabase.erase_tenant


def _erase_but_signals(self: Any, tenant_id: Any) -> None:
    kept = [(key, row) for key, row in self.signals.items() if key[0] == tenant_id]
    _erase_tenant(self, tenant_id)
    for key, row in kept:
        self.signals.put(key, row)


def _begin_with_the_last(self: Any, tenant_id: Any, after: Any = None) -> Any:
    """The rows of a page, with the row after which it begins."""
    if after is not None:
        yield next(row for row in self.values() if row.id == after.id)
    yield from _newest_first(self, tenant_id, after)


def _begin_later(self: Any, tenant_id: Any, after: Any = None) -> Any:
    """The rows of a page without its first, unless it is the first page."""
    yield from islice(_newest_first(self, tenant_id, after), after is not None, None)


def _newest_arrivals(self: Any, tenant_id: Any, *, after: Any, limit: int) -> Any:
    rows = sorted((row for row in self._rows.newest_first(tenant_id) if row.id > after), key=lambda row: row.id)
    return rows[-1:]


def _all_again(self: Any, floor: Any, _now: Any) -> Any:
    with self.unit_of_work() as uow:
        page = uow.signals.list_arrived(self.tenant_id, after=first_id_at(floor), limit=500)
    yield from page


_newest_first = Table.newest_first

MUTANTS = (
    Mutant(
        name="page-begins-early",
        rule="A page of a list begins after the last row of the page before it.",
        changes=(Change(Table, "newest_first", _begin_with_the_last),),
        breaks={"list-twice"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="page-begins-late",
        rule="A page of a list begins with the first row after the page before it.",
        changes=(Change(Table, "newest_first", _begin_later),),
        breaks={"list-misses"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="feed-of-the-newest",
        rule="The feed gives the oldest of what has arrived first.",
        changes=(Change(MemorySignalStore, "list_arrived", _newest_arrivals),),
        breaks={"feed-missed"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="feed-repeats",
        rule="The feed gives each signal once, although it looks back.",
        changes=(Change(SignalFeed, "_unseen", _all_again),),
        breaks={"feed-twice"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="grants-kept",
        rule="A grant that no connection has any more is deleted.",
        changes=(Change(MemoryGrantStore, "delete", always(False)),),
        breaks={"left-over"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(4000, "disconnect"),),
        why="a disconnect",
    ),
    Mutant(
        name="not-revoked",
        rule="A disconnect revokes the tokens at the vendor.",
        changes=(Change(DisconnectFlow, "_revoke_grant", always(())),),
        breaks={"token-left"},
        profile="people",
        slugs=("google-drive",),
    ),
    Mutant(
        name="connection-before-grant",
        rule="A disconnect locks the grant before its connection, as a consent does.",
        changes=(Change(DisconnectFlow, "_lock_grant", nothing),),
        breaks={"lock-order"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "connect"), deed(5000, "disconnect")),
        why="a second consent and a disconnect",
    ),
    Mutant(
        name="unused-tokens-kept",
        rule="Tokens of a consent that gives no connection are revoked.",
        changes=(Change(DisconnectFlow, "revoke", nothing),),
        breaks={"token-left"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(fault(0, "refuse", mount="zoho", part="oauth/user/info", status=403, seconds=9000),),
        why="a vendor that does not say whose consent it was",
    ),
    Mutant(
        name="repeat-answers-nothing",
        rule="A repeated callback gives the connections of the first one.",
        changes=(Change(Authorizations, "repeat", always(())),),
        breaks={"another-answer"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "connect", reloads=True),),
        why="a callback that comes twice",
    ),
    Mutant(
        name="erased-in-part",
        rule="Erasing a tenant deletes all of its rows.",
        changes=(Change(MemoryDatabase, "erase_tenant", _erase_but_signals),),
        breaks={"not-erased"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(6000, "erase"),),
        why="a tenant that is erased",
    ),
)
