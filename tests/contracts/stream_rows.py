"""Builders of the rows of streams: a test names only what matters to it."""

from datetime import timedelta

from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.ids import ConnectionId, JobId
from connectors.domain.model.spans import EPOCH, FAR, Span
from connectors.domain.model.stream_state import (
    AccountState,
    CircleGuard,
    ClosedBy,
    HistoryRequest,
    ParkedState,
    ProvenSpan,
    Reading,
    StreamRun,
    StreamState,
    StreamStatus,
)
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from tests.support.builders import GITHUB, NOW, TENANT, make_id

CONNECTION = ConnectionId(make_id())
MOMENT = timedelta(microseconds=1)


def at(number):
    """An instant of its own for each number."""
    return NOW + number * MOMENT


def make_stream_state(key="issues:1", **changes):
    return StreamState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "stream": changes.get("stream") or Stream(key=key, name=f"the stream {key}"),
            "status_since": NOW,
            "found_at": NOW,
            "listed_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_parked_state(reference="42", **changes):
    return ParkedState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "stream_key": "issues:1",
            "reference": reference,
            "reason": "It answers 502.",
            "span": Span(NOW, at(1)),
            "next_at": at(2),
            "opened_at": NOW,
            **changes,
        }
    )


def make_account_state(**changes):
    return AccountState(
        **{
            "tenant_id": TENANT,
            "connection_id": CONNECTION,
            "provider": GITHUB,
            "requests": (HistoryRequest(since=NOW),),
            "updated_at": NOW,
            **changes,
        }
    )


def full_stream_state(key="issues:1", text="text"):
    """A stream whose every field says something."""
    document = {"position": [1, {text: text}], "none": None, "number": 1.5}
    window = {"low": EPOCH, "high": FAR, "floor": EPOCH, "until": at(3), "bookmark": document}
    return make_stream_state(
        stream=Stream(
            key=key,
            name=text,
            families=frozenset({"issues", "comments"}),
            data=document,
            unreadable=text,
            is_chosen=True,
            quiet_since=at(1),
            changes_in=text,
            interval=timedelta(days=1, microseconds=1),
        ),
        status=StreamStatus.BLOCKED,
        reason=text,
        status_since=at(4),
        incremental=Reading(
            run=StreamRun(
                window=Window(mode=SyncMode.INCREMENTAL, **window), cursor=document, guard=CircleGuard("ab", 3, 8)
            ),
            failures=2,
            refusals=3,
            next_at=at(5),
            reason=text,
            failed_since=at(6),
        ),
        backfill=Reading(
            run=StreamRun(window=Window(mode=SyncMode.BACKFILL, low=NOW, high=at(9), floor=NOW)), next_at=at(7)
        ),
        requested_at=at(8),
        served_at=at(9),
        bookmark=document,
        read_until=at(10),
        proven=(
            ProvenSpan(Span(EPOCH, NOW), CoveragePath.BACKFILL),
            ProvenSpan(Span(at(1)), CoveragePath.SYNC),
        ),
        read_once=(Span(NOW, at(1)), Span(at(2))),
        is_dismissed=True,
        given_up=(Span(EPOCH, FAR),),
        found_at=at(11),
        listed_at=at(12),
        updated_at=at(13),
    )


def full_parked_state(reference="42", text="text"):
    """A parked item whose every field says something."""
    return make_parked_state(
        reference,
        reason=text,
        span=Span(EPOCH, FAR),
        failures=7,
        closed_at=at(3),
        closed_by=ClosedBy.PERSON,
    )


def full_account_state(text="text"):
    """An account whose every field says something."""
    return make_account_state(
        requests=(
            HistoryRequest(since=EPOCH),
            HistoryRequest(since=NOW, until=at(1), job_id=JobId(make_id())),
        ),
        paused_until=at(2),
        pause_reason=text,
        limits=3,
        outages=4,
        suspects=("issues:1", text),
        last_turn="backfill",
        run=2**40,
        running_since=at(5),
        heartbeat_at=at(6),
        is_history_only=True,
        legacy={"cursor": {text: [1, None, {"deep": text}]}, "proven": {}},
        updated_at=at(7),
    )
