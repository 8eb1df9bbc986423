"""Rules of consents and their end, and of what Core reads."""

from itertools import islice
from typing import Any

import attrs

from connectors.adapters.memory import grants
from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.memory.grants import _LIVING, MemoryGrantStore
from connectors.adapters.memory.signals import MemorySignalStore
from connectors.adapters.memory.subscriptions import MemorySubscriptionStore
from connectors.adapters.memory.table import Table
from connectors.domain.flows.connections import consents, disconnect
from connectors.domain.flows.connections.authorization import Authorizations
from connectors.domain.flows.connections.consents import Consents
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from connectors.domain.flows.endings import endings, records
from connectors.domain.flows.endings.endings import Endings
from connectors.domain.flows.provider_access.session import ProviderAccess
from connectors.domain.flows.signals.feed import SignalFeed, first_id_at
from connectors.domain.flows.webhooks import subscriptions
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import SubscriptionStatus
from tests.simulation.mutants.mutant import Change, Mutant, always, deed, fault, nothing
from tests.simulation.plan import MOST_CONSENTS

_erase_data = MemoryDatabase.erase_data


def _erase_but_signals(self: Any, tenant_id: Any) -> None:
    kept = [(key, row) for key, row in self.signals.items() if key[0] == tenant_id]
    _erase_data(self, tenant_id)
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


def _save_with_tokens(self: Any, grant: Any) -> None:
    there = self.get(grant.tenant_id, grant.id)
    if there is not None and grant.token_set is None:
        grant = attrs.evolve(grant, token_set=there.token_set)
    _save_grant(self, grant)


def _needed_by_connections(self: Any, grant: Any) -> bool:
    users = self._database.connections.find("grant", (grant.tenant_id, grant.id))
    return grant.state is GrantState.LIVE and any(one.status in _LIVING for one in users)


def _still_active(_uow: Any, subscription: Any, _now: Any) -> Any:
    return subscription


def _as_it_is(_uow: Any, grant: Any, _now: Any) -> Any:
    return grant


def _ended_here_only(uow: Any, grant: Any, now: Any) -> Any:
    ended = attrs.evolve(grant, state=GrantState.ENDED, token_set=None, updated_at=now)
    uow.grants.save(ended)
    return ended


def _overwrite(self: Any, uow: Any, provider: Any, grant: Any, live: Any, key: Any, token_set: Any, now: Any) -> Any:
    if live is None:
        return _make_live(self, uow, provider, grant, live, key, token_set, now)
    sealed = self.keeper.seal(live.tenant_id, live.id, token_set)
    holder = attrs.evolve(live, token_set=sealed, version=live.version + 1, updated_at=now)
    uow.grants.save(holder)
    _ended_here_only(uow, grant, now)
    return holder, token_set


def _ended_anyway(self: Any, grant: Any, _error: Any) -> None:
    self._settle_grant(grant, GrantState.ENDED)


def _removed_anyway(self: Any, subscription: Any, _error: Any) -> None:
    self._settle_subscription(subscription, SubscriptionStatus.ENDED)


def _open_with_own_tokens(self: Any, connection: Any, **options: Any) -> Any:
    return _open(self, connection, **{**options, "grant_id": None})


def _vendor_first(self: Any, tenant_id: Any, connection_id: Any, **options: Any) -> Any:
    with self.unit_of_work() as uow:
        connection = uow.connections.get(tenant_id, connection_id)
        rows = uow.subscriptions.list_of_connection(tenant_id, connection_id)
    for one in rows:
        if one.status is SubscriptionStatus.ACTIVE and one.grant_id is not None:
            self.endings.remover.remove(self.endings.access.open(connection), one)
    return _end_connection(self, tenant_id, connection_id, **options)


def _active_anyway(uow: Any, subscription: Any, _now: Any) -> Any:
    active = attrs.evolve(subscription, status=SubscriptionStatus.ACTIVE, ending=None)
    uow.subscriptions.save(active)
    return active


def _connection_first(uow: Any, tenant_id: Any, connection: Any) -> Any:
    return uow.connections.get(tenant_id, connection.id, lock=True)


_newest_first = Table.newest_first
_save_grant = MemoryGrantStore.save
_make_live = Consents._make_live
_open = ProviderAccess.open
_end_connection = DisconnectFlow.end_connection

_DISCONNECT = (deed(4000, "disconnect"),)
_TWO_TENANTS = (deed(2000, "connect", tenant=1), deed(4000, "disconnect", tenant=1))

MUTANTS = (
    Mutant(
        name="revoked-for-everybody",
        rule="Where a revocation ends all that an account gave, it waits for the last connection of that account.",
        changes=(Change(MemoryGrantStore, "is_lived_on", always(value=False)),),
        breaks={"killed-by-us"},
        profile="calm",
        slugs=("google-drive",),
        aimed=_TWO_TENANTS,
        why="two tenants with one account, one of which disconnects",
    ),
    Mutant(
        name="unsubscribed-for-everybody",
        rule="A hook that several connections share is removed with the last of them.",
        changes=(
            Change(Subscriber, "_is_shared", always(value=False)),
            Change(Subscriber, "_has_twin", always(value=False)),
        ),
        breaks={"hook-killed"},
        profile="calm",
        slugs=("gmail",),
        aimed=_TWO_TENANTS,
        why="two tenants with one mailbox, one of which disconnects",
    ),
    Mutant(
        name="subscriptions-outlive",
        rule="A connection that ends takes its subscriptions along.",
        changes=(Change(records, "begin_ending_subscription", _still_active),),
        breaks={"hook-of-ended"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(deed(4000, "disconnect"),),
        why="a disconnect",
    ),
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
        name="secrets-kept",
        rule="What has ended keeps no secret.",
        changes=(Change(MemoryGrantStore, "save", _save_with_tokens),),
        breaks={"secret-kept"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(4000, "disconnect"),),
        why="a disconnect",
    ),
    Mutant(
        name="unneeded-kept",
        rule="A grant that no connection needs any more has to go.",
        changes=(Change(records, "is_lived_on", always(value=True)),),
        breaks={"left-over"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(deed(4000, "disconnect"),),
        why="a disconnect",
    ),
    Mutant(
        name="dead-counted",
        rule="A connection whose user has to connect again needs no grant.",
        changes=(Change(grants, "_LIVING", (*_LIVING, ConnectionStatus.REAUTHORIZATION_REQUIRED)),),
        breaks={"token-left"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            deed(2000, "connect", tenant=1),
            fault(2990, "failing_write", write="grants.record_refreshed", seconds=2000),
            deed(3000, "refresh", tenant=1),
            deed(6200, "disconnect"),
        ),
        why="two tenants with one workspace, of which one disconnects, and the other's refreshed tokens were lost",
    ),
    Mutant(
        name="not-revoked",
        rule="A disconnect revokes the tokens at the vendor.",
        changes=(Change(Endings, "_revoke", nothing),),
        breaks={"token-left"},
        profile="people",
        slugs=("google-drive",),
    ),
    Mutant(
        name="revoked-once",
        rule="Tokens that could not be revoked are tried again.",
        changes=(Change(Endings, "_retry_grant", _ended_anyway),),
        breaks={"token-left"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(fault(3990, "refuse", mount="zoho", part="token/revoke", status=503, seconds=120), *_DISCONNECT),
        why="a disconnect whose revocation is refused",
    ),
    Mutant(
        name="removed-once",
        rule="A hook that could not be removed is tried again.",
        changes=(Change(Endings, "_retry_subscription", _removed_anyway),),
        breaks={"hook-left"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(3990, "refuse", mount="github", part="/hooks", status=503, seconds=120), *_DISCONNECT),
        why="a disconnect whose removals are refused",
    ),
    Mutant(
        name="tokens-before-hooks",
        rule="Tokens are revoked when all hooks are removed that they have made.",
        changes=(Change(MemorySubscriptionStore, "list_of_grant", always(())),),
        breaks={"hook-stranded"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(3990, "refuse", mount="github", part="/hooks", status=503, seconds=120), *_DISCONNECT),
        why="a disconnect whose removals are refused",
    ),
    Mutant(
        name="account-before-hooks",
        rule="A whole account is revoked when no hook has to go that another of its grants has made.",
        changes=(Change(MemoryGrantStore, "_is_needed", _needed_by_connections),),
        breaks={"hook-stranded"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(
            deed(2000, "connect", tenant=1),
            fault(3990, "refuse", mount="google", part="/stop", status=503, seconds=300, tenant=1),
            deed(4000, "disconnect", tenant=1),
            deed(4010, "disconnect"),
        ),
        why="two tenants with one account that disconnect, and a refused removal of the first one's channel",
    ),
    Mutant(
        name="removed-by-another",
        rule="A hook is removed with the tokens that made it.",
        changes=(Change(ProviderAccess, "open", _open_with_own_tokens),),
        breaks={"hook-extra", "hook-left"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "connect", user="other"),),
        why="another user of the tenant who connects the same site",
    ),
    Mutant(
        name="vendor-first",
        rule="That a connection ends is on record before the vendor is asked for anything.",
        changes=(Change(DisconnectFlow, "end_connection", _vendor_first),),
        breaks={"half-ended"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(3990, "kill", label="done:DELETE", part="/hooks", n=1), *_DISCONNECT),
        why="a disconnect whose process dies after the first removal",
    ),
    Mutant(
        name="confirmed-anyway",
        rule="A hook whose connection ended while it was being made has to go.",
        changes=(Change(subscriptions, "_end_what_came_late", _active_anyway),),
        breaks={"hook-of-ended"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(
            deed(4000, "disconnect", tenant=1, when={"label": "done:POST", "part": "/watch", "n": 1}),
            deed(4000, "connect", tenant=1),
        ),
        why="a disconnect while a hook is being made",
    ),
    Mutant(
        name="unclaimed-kept",
        rule="Tokens of a consent that nobody has claimed have to go.",
        changes=(Change(endings, "begin_ending_grant", _as_it_is),),
        breaks={"unended"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(
            fault(3990, "kill", label="committed:", part="authorization_requests.note_grant", n=1),
            deed(4000, "connect"),
        ),
        why="a callback that dies after it has stored what a consent gave",
    ),
    Mutant(
        name="replaced-kept",
        rule="Tokens that another consent replaces have to go.",
        changes=(Change(consents, "begin_ending_grant", _ended_here_only),),
        breaks={"token-extra", "token-left"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(deed(4000, "connect"),),
        why="a second consent",
    ),
    Mutant(
        name="crowded",
        rule="Consents of one connection leave room for those of another one.",
        changes=(Change(consents, "begin_ending_grant", _ended_here_only),),
        breaks={"crowded-out"},
        profile="calm",
        slugs=("github",),
        aimed=(
            deed(1500, "connect", tenant=1),
            *(deed(2000 + 100 * number, "connect") for number in range(MOST_CONSENTS["github"])),
        ),
        why="ten consents beside the one of another tenant",
    ),
    Mutant(
        name="overwritten",
        rule="A consent overwrites no other one's tokens.",
        changes=(Change(Consents, "_make_live", _overwrite),),
        breaks={"token-extra", "token-left"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(deed(4000, "connect"),),
        why="a second consent",
    ),
    Mutant(
        name="connection-before-grant",
        rule="A disconnect locks the grant before its connection, as a consent does.",
        changes=(Change(disconnect, "lock_with_grant", _connection_first),),
        breaks={"lock-order"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "connect"), deed(5000, "disconnect")),
        why="a second consent and a disconnect",
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
        changes=(Change(MemoryDatabase, "erase_data", _erase_but_signals),),
        breaks={"not-erased"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(6000, "erase"),),
        why="a tenant that is erased",
    ),
)
