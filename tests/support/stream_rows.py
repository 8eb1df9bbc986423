"""Rows of a connection's reading, for tests of pure functions: a test names only what matters to it."""

from datetime import timedelta

from connectors.domain.flows.reading.agenda import Agenda, Kind, Work
from connectors.domain.flows.reading.claims import Claims
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.spans import Span
from connectors.domain.model.stream_state import (
    AccountState,
    HistoryRequest,
    ParkedState,
    ProvenSpan,
    Reading,
    StreamState,
    StreamStatus,
)
from connectors.domain.model.streams import DISCOVERY, Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import Family, Streams
from tests.support.builders import GITHUB, NOW, TENANT, make_id

MINUTE = timedelta(minutes=1)
CONNECTION = ConnectionId(make_id())
ITEMS = Family(name="items")


def at(minute):
    return None if minute is None else NOW + minute * MINUTE


def span(from_minute, to_minute):
    return Span(at(from_minute), at(to_minute))


def never(*_):
    """No package: nothing is asked for."""
    raise AssertionError


def proof(path, *spans):
    return tuple(ProvenSpan(span(*one), path) for one in spans)


def by_sync(*spans):
    return proof(CoveragePath.SYNC, *spans)


def by_history(*spans):
    return proof(CoveragePath.BACKFILL, *spans)


def make_stream(key="a", **changes):
    return Stream(**{"key": key, "name": f"box {key}", "families": frozenset({"items"}), **changes})


def make_state(key="a", *, stream=(), **changes):
    """A stream that was read up to now, the minute 0."""
    return StreamState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "stream": make_stream(key, **dict(stream)),
            "read_until": NOW,
            "bookmark": {},
            "status_since": NOW,
            "found_at": NOW,
            "listed_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_discovery(**changes):
    return make_state(DISCOVERY, stream={"families": frozenset()}, **changes)


def failing(failures=1, next_at=10, **changes):
    """A reading that has failed."""
    return Reading(failures=failures, next_at=at(next_at), reason="It is refused.", failed_since=NOW, **changes)


def blocked(key="a", *, incremental=None, backfill=None, **changes):
    return make_state(
        key,
        status=StreamStatus.BLOCKED,
        reason="It is refused.",
        incremental=incremental or Reading(),
        backfill=backfill or Reading(),
        **changes,
    )


def make_account(*requests, **changes):
    """An account that wants everything since minute -60, or these requests besides."""
    since = [HistoryRequest(since=at(-60))]
    for start, end in requests:
        request = {"since": at(start)} if end is None else {"since": at(start), "until": at(end)}
        since.append(HistoryRequest(**request))
    return AccountState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "provider": GITHUB,
            "requests": tuple(since),
            "updated_at": NOW,
            **changes,
        }
    )


def make_parked(stream_key="a", reference="1", *, between=(-30, -29), next_at=5, **changes):
    return ParkedState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "stream_key": stream_key,
            "reference": reference,
            "reason": "It is broken.",
            "span": span(*between),
            "next_at": at(next_at),
            "opened_at": NOW,
            **changes,
        }
    )


def make_agenda(*states, account=None, parked=(), streams=(), discovery=None, **changes):
    """An agenda of these rows; the streams were listed at the minute 0."""
    rows = [discovery or make_discovery(), *states]
    return Agenda(
        streams=Streams(**{"discover": never, "read_page": never, "read_item": never, **dict(streams)}),
        account=account or make_account(),
        states={one.key: one for one in rows},
        parked={(one.stream_key, one.reference): one for one in parked},
        **changes,
    )


def make_claims(*states, **changes):
    return Claims(agenda=make_agenda(*states, **changes))


def make_work(key="a", *, mode=SyncMode.INCREMENTAL, low=0, high=15, **changes):
    window = {name: changes.pop(name) for name in ("bookmark", "until") if name in changes}
    kind = Kind.BACKFILL if mode is SyncMode.BACKFILL else Kind.INCREMENTAL
    made = Window(mode=mode, low=at(low), high=at(high), floor=at(-60), **window)
    return Work(**{"kind": kind, "key": key, "window": made, **changes})
