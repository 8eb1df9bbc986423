"""Reading: it goes forward only, says what it cannot read, and comes back by itself. The rows of the engine are looked at,
never its code."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from connectors.domain.flows.reading.schedule import INTERVAL_SETTING
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.spans import Spans, without
from connectors.domain.model.stream_state import Reading, StreamState, StreamStatus
from tests.simulation.oracle.looks import Shown, working
from tests.simulation.people import CHANGES
from tests.simulation.system import registry

if TYPE_CHECKING:
    from tests.simulation.run import Run

OVERDUE = timedelta(minutes=20)
"""How long a try that is due may wait: for a worker, for other streams, for a process that starts again."""

LONGEST_PAUSE = timedelta(minutes=15)
"""The longest pause after an outage."""

EACH_STREAM = timedelta(minutes=1)
"""How long reading one stream may take: a vendor may allow us one request in a minute."""

FAR_AWAY = 3000
"""A year that stands for never."""

UNHINDERED = frozenset({"calm", "vendors"})
"""Profiles in which neither the database nor a machine is slow, and no process dies."""

LISTS: Mapping[str, tuple[str, ...]] = {
    "activity": ("/activity",),
    "comments": ("/issues/comments",),
    "issues": ("/issues",),
    "pulls": ("/pulls", "/pulls/1/reviews"),
    "releases": ("/releases",),
    "review_comments": ("/pulls/comments",),
}
"""GitHub's streams, by how their keys begin, and the paths that they read: elsewhere the path does not tell the stream."""

OF_ONE_LIST = frozenset({400, 403, 404, 410, 422, 500, 502, 503})
"""Statuses by which a vendor refuses one list and not the account."""

Row = tuple[TenantId, ConnectionId, str, datetime]
"""A stream's row, and when it was made: one that is erased and found again is another one."""


@attrs.frozen
class Extent:
    """How far a stream has been read."""

    read_until: datetime | None
    proven: Spans


def extents(run: "Run") -> Mapping[Row, Extent]:
    """How far each stream has been read by now."""
    return {
        (one.tenant_id, one.connection_id, one.key, one.found_at): Extent(one.read_until, one.proven_by(*CoveragePath))
        for one in run.database.memory.streams.values()
    }


def goes_only_forward(run: "Run", before: Mapping[Row, Extent]) -> Mapping[Row, Extent]:
    """What has been read of a stream stays read: neither its end nor what is proven of it shrinks."""
    now = extents(run)
    for row, former in before.items():
        present = now.get(row)
        if present is None:
            continue
        slug = _slug(run, row[0], row[1])
        if former.read_until is not None and (present.read_until is None or present.read_until < former.read_until):
            run.schedule.report("read-back", "a stream that was read up to an instant is now read less far", slug)
        if without(former.proven, present.proven):
            run.schedule.report("read-back", "what was proven of a stream is not proven any more", slug)
    return now


def _slug(run: "Run", tenant_id: TenantId, connection_id: ConnectionId) -> str:
    connection = run.database.memory.connections.get((tenant_id, connection_id))
    return "" if connection is None else connection.provider


def says_what_it_cannot_read(run: "Run") -> None:
    """A stream that fails says why and when it is tried again, that is not long past, and no family of it is complete."""
    now = run.schedule.instant()
    for name in run.accounts:
        for connection in run.connections(name):
            if connection.status is not ConnectionStatus.ACTIVE:
                continue
            shown = Shown(run, connection)
            unsaid = {family for family, spans in shown.pending.items() if not spans}
            unsaid -= {gap.family for gap in shown.open_gaps}
            for state in _rows(run, connection):
                if state.status is not StreamStatus.BLOCKED or state.is_dismissed:
                    continue
                if not state.reason:
                    run.schedule.report("failure-hidden", "a stream fails, and nobody is told why", connection.provider)
                if any(_has_no_next_try(one) for one in (state.incremental, state.backfill)):
                    text = "a stream fails, and is not tried again"
                    run.schedule.report("failure-hidden", text, connection.provider)
                if unsaid & state.stream.families:
                    text = "a stream fails, and its family is complete"
                    run.schedule.report("failure-hidden", text, connection.provider)
            for item in run.database.memory.parked.find("connection", (connection.tenant_id, connection.id)):
                state = run.database.memory.streams.get((item.tenant_id, item.connection_id, item.stream_key))
                if item.closed_at is None and state is not None and unsaid & state.stream.families:
                    text = "a thing cannot be read, and its family is complete"
                    run.schedule.report("failure-hidden", text, connection.provider)
            if run.plan.profile in UNHINDERED and not _is_paused(run, connection, now):
                for due_at in _tries(run, connection):
                    if due_at < now - OVERDUE:
                        text = "what could not be read should have been tried again long ago"
                        run.schedule.report("failure-hidden", text, connection.provider)
                        break


def _has_no_next_try(reading: Reading) -> bool:
    # A failing stream that was asked for, or listed with a change, is due at once: then it has no instant.
    return reading.failures > 0 and reading.next_at is not None and reading.next_at.year >= FAR_AWAY


def _tries(run: "Run", connection: Connection) -> Iterator[datetime]:
    for state in _rows(run, connection):
        if state.status is StreamStatus.BLOCKED:
            yield from (
                one.next_at
                for one in (state.incremental, state.backfill)
                if one.failures > 0 and one.next_at is not None
            )
    for item in run.database.memory.parked.find("connection", (connection.tenant_id, connection.id)):
        state = run.database.memory.streams.get((item.tenant_id, item.connection_id, item.stream_key))
        if item.closed_at is None and state is not None and state.is_readable:
            yield item.next_at


def reads_the_others(run: "Run") -> None:
    """While some of GitHub's lists are refused, all others are read as if nothing were wrong."""
    if run.plan.profile not in UNHINDERED:
        return
    refused = [one for one in run.plan.items if one["do"] == "refuse"]
    parts = {one["part"] for one in refused}
    is_of_lists = all(
        one["status"] in OF_ONE_LIST
        and "retry_after" not in one
        and any(one["part"] in path for paths in LISTS.values() for path in paths)
        for one in refused
    )
    if not refused or "" in parts or not is_of_lists or any(one["do"] == "lose" for one in run.plan.items):
        return
    now = run.schedule.instant()
    for name, account in run.accounts.items():
        has_odd = any(item.get("account") == name and item.get("what") in account.odd for item in run.plan.items)
        if account.slug != "github" or has_odd:
            continue
        for connection in working(run, name):
            rows = _rows(run, connection)
            limit = _interval(run, connection) * 1.2 + OVERDUE + EACH_STREAM
            for state in rows:
                paths = LISTS.get(state.key.partition(":")[0], ("",))
                read_at = max(state.read_until or state.found_at, _changed_at(run, name))
                if not any(part in path for part in parts for path in paths) and now - read_at > limit:
                    text = "a list waits although only others are refused"
                    run.schedule.report("neighbour-harmed", text, connection.provider)
                    return


def recovers(run: "Run") -> None:
    """When everything works again, each stream is read within the interval, the longest pause, and its share of the work."""
    now = run.schedule.instant()
    for name, account in run.accounts.items():
        if run.wire.is_told_to_wait(account.mount):
            continue
        for connection in working(run, name):
            rows = _rows(run, connection)
            limit = _interval(run, connection) * 1.2 + LONGEST_PAUSE + EACH_STREAM * len(rows)
            for state in rows:
                if state.status is not StreamStatus.READY or state.stream.changes_in is not None:
                    continue
                own = _own_interval(connection, state)
                read_at = max(state.read_until or state.found_at, _changed_at(run, name))
                if own is not None and now - read_at > limit + own:
                    text = "a stream that can be read was not read since everything works"
                    run.schedule.report("not-recovered", text, connection.provider)


def _interval(run: "Run", connection: Connection) -> timedelta:
    own = connection.metadata.get(INTERVAL_SETTING)
    if own is not None:
        return timedelta(seconds=own)
    changes = [CHANGES[one["change"]] for one in run.plan.items if one["do"] == "restart"]
    chosen = [one.sync_interval for one in changes if one.sync_interval is not None]
    streams = registry().get(connection.provider).streams
    assert streams is not None
    return max([streams.poll_interval, *chosen])


def _own_interval(connection: Connection, state: StreamState) -> timedelta | None:
    """How much longer than the others it may be left alone; None: for ever."""
    streams = registry().get(connection.provider).streams
    assert streams is not None
    if state.is_discovery:
        return streams.discovery_interval or timedelta()
    return state.stream.interval or timedelta()


def _changed_at(run: "Run", name: str) -> datetime:
    """When people last did what plans the next read again."""
    deeds = run.people.deeds(name, "connect", "interval")
    return run.schedule.instant_of(max((one.ended for one in deeds), default=0.0))


def _is_paused(run: "Run", connection: Connection, now: datetime) -> bool:
    account = run.database.memory.accounts.get((connection.tenant_id, connection.id))
    return account is None or (account.paused_until is not None and account.paused_until > now - OVERDUE)


def _rows(run: "Run", connection: Connection) -> list[StreamState]:
    return run.database.memory.streams.find("connection", (connection.tenant_id, connection.id))
