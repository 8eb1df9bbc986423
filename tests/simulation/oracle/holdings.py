"""What we hold at the vendors, token family by token family and hook by hook: nothing that works is ended by a call of ours."""

from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from connectors.domain.model import ending as endings
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.oauth import Grant, GrantState
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from connectors_sandbox.core import StandingHook
from connectors_sandbox.families import Ending, Family
from tests.simulation.oracle.looks import erasures, forgotten_tokens, is_told
from tests.simulation.people import Entry

if TYPE_CHECKING:
    from tests.simulation.run import Run

BY_CALLS = frozenset({Ending.REVOKED, Ending.CODE_REUSED, Ending.TOKEN_REUSED})
"""Endings that a call causes, and nobody else."""

LONGEST_ENDING = timedelta(minutes=75)
"""Within so long after the last fault everything that has to go is tried again: the longest pause is an hour."""

UNDER_WAY = 60.0
"""Seconds within which what a vendor gave is stored."""


@attrs.define(eq=False)
class Holdings:
    """Sees families and hooks end at the vendors while a run goes on."""

    run: "Run"
    ended: list[Family] = attrs.field(factory=list)
    """The families that calls of the service have ended."""
    crowded: list[Family] = attrs.field(factory=list)
    """The families that had to make room for others of their user."""
    removed: list[tuple[str, StandingHook]] = attrs.field(factory=list)
    """The hooks that calls of the service have removed, by mount."""

    def made_room(self, connection: Connection) -> bool:
        """Whether what the connection has stored had to make room."""
        return any(_holds(self.run, connection, one) for one in self.crowded)

    def watch(self) -> None:
        """Begin to look."""
        for mount, world in self.run.sandbox.worlds.items():
            world.families.on_end = lambda family, mount=mount: self._see_end(mount, family)
        self.run.wire.hooks_removed = self._see_removal

    def _see_end(self, mount: str, family: Family) -> None:
        actor = self.run.schedule.current
        if family.ending in BY_CALLS and actor is not None and actor.process:
            self.ended.append(family)
            self._see_stranded(mount, family)
        if family.ending is Ending.CROWDED_OUT:
            self.crowded.append(family)
            self._see_crowding(mount, family)

    def _see_stranded(self, mount: str, family: Family) -> None:
        """A call of ours has ended tokens: could only these remove a hook that has to go and stands?"""
        memory = self.run.database.memory
        standing = {one.id.rpartition(":")[2] for one in self.run.sandbox.live_hooks(mount)}
        for grant in (row.grant for row in memory.grants.values() if _is_in(family, row.grant)):
            for one in memory.subscriptions.find("grant", (grant.tenant_id, grant.id)):
                if one.is_ending and not standing.isdisjoint({one.external_id, str(one.id)}):
                    text = "a call of ours has ended the only tokens that could remove a hook of ours"
                    self.run.schedule.report("hook-stranded", text, one.provider)

    def _see_removal(self, mount: str, hooks: list[StandingHook]) -> None:
        actor = self.run.schedule.current
        if actor is not None and actor.process:
            self.removed += [(mount, hook) for hook in hooks]

    def _see_crowding(self, mount: str, family: Family) -> None:
        """A working connection's tokens were one too many: was one of the others of no use to anybody?"""
        run = self.run
        if not any(one.status is ConnectionStatus.ACTIVE and _holds(run, one, family) for one in _all(run)):
            return
        rivals = [
            one
            for one in run.sandbox.live_tokens(mount)
            if (one.user, one.client_id) == (family.user, family.client_id)
        ]
        wasted = [
            one for one in rivals if one.access is not None and not _is_stored(run, one) and not self._is_new(one)
        ]
        if len(wasted) > len(forgotten_tokens(run, mount)):
            slug = next(one.slug for one in run.accounts.values() if one.mount == mount)
            run.schedule.report("crowded-out", "a working grant made room while tokens lived that nobody uses", slug)

    def _is_new(self, family: Family) -> bool:
        return self.run.schedule.second_of(family.began_at) > self.run.schedule.now - UNDER_WAY


def kill_no_working_grant(run: "Run") -> None:
    """No call of ours has ended the tokens that a connection has stored, unless it was asked to end that connection."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is ConnectionStatus.REVOKED or _was_to_end(run, name, connection):
                continue
            dead = [one for one in run.holdings.ended if _holds(run, connection, one)]
            if dead and not has_living(run, account.mount, connection):
                text = f"a call of ours has ended what a connection lives on: {dead[0].ending}"
                run.schedule.report("killed-by-us", text, account.slug)


def kill_no_hook_in_use(run: "Run") -> None:
    """No active subscription of an active connection names a hook that a call of ours has removed."""
    for name, account in run.accounts.items():
        live = {one.id for one in run.sandbox.live_hooks(account.mount)}
        gone = [hook for mount, hook in run.holdings.removed if mount == account.mount and hook.id not in live]
        for connection in run.connections(name):
            if connection.status is not ConnectionStatus.ACTIVE or _was_to_end(run, name, connection):
                continue
            rows = _active_rows(run, connection)
            if any(_names(one, connection, hook) for one in rows for hook in gone):
                run.schedule.report("hook-killed", "a call of ours has removed a hook that is in use", account.slug)


def end_hooks_with_connections(run: "Run") -> None:
    """No subscription of a connection that has ended is active."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            if connection.status is ConnectionStatus.REVOKED and _active_rows(run, connection):
                text = "a connection has ended, and a subscription of it is active"
                run.schedule.report("hook-of-ended", text, account.slug)


def end_what_has_to_go(run: "Run") -> None:
    """Tokens that no connection needs end, and so do hooks; of what has ended, no secret is kept."""
    memory = run.database.memory
    needed = {one.grant_id for one in memory.connections.values() if one.status is not ConnectionStatus.REVOKED}
    waiting = {one.slug for one in run.accounts.values() if run.wire.is_told_to_wait(one.mount)}
    last = run.schedule.instant() - LONGEST_ENDING
    is_late = run.schedule.instant_of(run.plan.ends_at) < last
    for grant in (row.grant for row in memory.grants.values()):
        if grant.state is GrantState.LIVE and grant.id not in needed:
            run.schedule.report("left-over", "a live grant that no connection needs", grant.provider)
        if grant.state in {GrantState.ENDED, GrantState.LEFT} and grant.token_set is not None:
            run.schedule.report("secret-kept", f"a grant is {grant.state} and has its tokens", grant.provider)
        since = grant.created_at if grant.ending is None else grant.ending.since
        if grant.state in {GrantState.NEW, GrantState.ENDING} and since < last and is_late:
            _report_unended(run, "a grant", grant.provider, grant.ending, waiting)
    for one in memory.subscriptions.values():
        if one.status in {SubscriptionStatus.ENDED, SubscriptionStatus.LEFT} and one.secret is not None:
            run.schedule.report("secret-kept", f"a subscription is {one.status} and has its secret", one.provider)
        if one.ending is not None and one.is_ending and one.ending.since < last and is_late:
            _report_unended(run, "a subscription", one.provider, one.ending, waiting)


def _report_unended(run: "Run", what: str, provider: str, ending: endings.Ending | None, waiting: set[str]) -> None:
    if provider not in waiting:
        reason = "it was never tried" if ending is None else f"{ending.failures} failures, the last: {ending.error}"
        run.schedule.report("unended", f"{what} has to go, and does not: {reason}", provider)


def give_up_nothing_alive(run: "Run") -> None:
    """A connection needs its user only if what it has stored does not work any more."""
    for name, account in run.accounts.items():
        for connection in run.connections(name):
            is_given_up = connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
            if is_given_up and has_living(run, account.mount, connection):
                text = f"the stored tokens work, and the connection needs its user: {connection.status_reason}"
                run.schedule.report("given-up-alive", text, account.slug)


def _all(run: "Run") -> list[Connection]:
    return list(run.database.memory.connections.values())


def _active_rows(run: "Run", connection: Connection) -> list[Subscription]:
    rows = run.database.memory.subscriptions.values()
    return [one for one in rows if one.connection_id == connection.id and one.status is SubscriptionStatus.ACTIVE]


def _names(row: Subscription, connection: Connection, hook: StandingHook) -> bool:
    """Whether that is the subscription's hook. Jira's ids are unique within a site only."""
    place, _, number = hook.id.rpartition(":")
    return number in {row.external_id, str(row.id)} and place in {"", "watch", connection.account.id}


def _holds(run: "Run", connection: Connection, family: Family) -> bool:
    """Whether the connection's grant has the family's newest tokens. The simulation's vault hides nothing."""
    row = run.database.memory.grants.get((connection.tenant_id, connection.grant_id)) if connection.grant_id else None
    return row is not None and _is_in(family, row.grant)


def _is_stored(run: "Run", family: Family) -> bool:
    return any(_is_in(family, row.grant) for row in run.database.memory.grants.values())


def _is_in(family: Family, grant: Grant) -> bool:
    newest = family.refresh or family.access
    return newest is not None and grant.token_set is not None and newest.encode() in grant.token_set.ciphertext


def has_living(run: "Run", mount: str, connection: Connection) -> bool:
    """Whether the tokens that the connection has stored live at the vendor."""
    return any(_holds(run, connection, one) for one in run.sandbox.live_tokens(mount))


def _was_to_end(run: "Run", name: str, connection: Connection) -> bool:
    """Whether somebody wanted its end since its last consent, or at the same time."""
    tenant = run.tenants.index(connection.tenant_id)

    def of(what: str) -> list[Entry]:
        return [one for one in run.people.deeds(name, what) if one.item["tenant"] == tenant]

    consents = [one.began for one in of("connect") if is_told(one, connection)]
    ends = [*of("disconnect"), *erasures(run, tenant)]
    return any(one.ended >= max(consents, default=0.0) for one in ends)
