"""How a connection's streams are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import attrs
from msgspec import Meta

from connectors.domain.flows.reading.stream_requests import StreamDetails, StreamListing
from connectors.domain.model.stream_state import ParkedState, StreamStatus
from connectors.entrypoints.representation.common import HasMore, NextCursor
from connectors.entrypoints.representation.coverage import PeriodView, show_period

MOST_ITEMS = 20
"""Parked items that are shown of one stream, so that a page of streams stays small."""


@attrs.frozen(kw_only=True, slots=False)
class ParkedItemView:
    """One thing of a stream that could not be read."""

    reference: Annotated[str, Meta(description="The provider's id of it.")]
    reason: str
    next_try: Annotated[datetime, Meta(tz=True, description="It is asked for again then, at the earliest.")]


@attrs.frozen(kw_only=True, slots=False)
class StreamView:
    """One part of the account that is read, and can be refused, by itself."""

    key: Annotated[str, Meta(examples=["issues:1296269"])]
    name: Annotated[str, Meta(examples=["issues of octocat/hello"])]
    families: Annotated[Sequence[str], Meta(description="Whose completeness needs it.")]
    status: Annotated[
        StreamStatus,
        Meta(
            description="`blocked`: the last try failed, and it is tried again. `unreadable`: the provider would "
            "refuse it, so it is not asked until that changes. `gone`: the provider neither lists nor shows it."
        ),
    ]
    is_dismissed: Annotated[bool, Meta(description="A person gave it up: while it cannot be read, it is no gap.")]
    reason: Annotated[str | None, Meta(description="Why it is not ready.")]
    since: Annotated[datetime, Meta(tz=True, description="When its status began.")]
    failures: Annotated[int, Meta(ge=0, description="Tries in a row that failed.")]
    next_try: Annotated[datetime, Meta(tz=True, description="Set while it waits after a failure.")] | None
    read_until: Annotated[datetime, Meta(tz=True, description="Up to when it has been read; null before that.")] | None
    wanted: Annotated[Sequence[PeriodView], Meta(description="What is to be read yet, the earliest first.")]
    proven: Annotated[Sequence[PeriodView], Meta(description="What has been read whole, the earliest first.")]
    parked: Annotated[
        Sequence[ParkedItemView], Meta(description=f"Single things that cannot be read: the first {MOST_ITEMS}.")
    ]
    parked_count: Annotated[int, Meta(ge=0, description="How many of them there are.")]


@attrs.frozen(kw_only=True, slots=False)
class StreamList:
    """A page of a connection's streams, by key."""

    discovery: Annotated[StreamView | None, Meta(description="How finding the streams stands; null before the first.")]
    unreadable: Annotated[
        int, Meta(ge=0, description="How many more there are that cannot be read and never could: they have no row.")
    ]
    paused_until: (
        Annotated[datetime, Meta(tz=True, description="Nothing is read before then: the provider limits, or is down.")]
        | None
    )
    pause_reason: str | None
    streams: Sequence[StreamView]
    next_cursor: NextCursor
    has_more: HasMore


def show_streams(listing: StreamListing) -> StreamList:
    """The page."""
    return StreamList(
        discovery=None if listing.discovery is None else show_stream(listing.discovery),
        unreadable=listing.uncounted,
        paused_until=listing.paused_until,
        pause_reason=listing.pause_reason,
        streams=[show_stream(one) for one in listing.items],
        next_cursor=listing.next_cursor,
        has_more=listing.has_more,
    )


def show_stream(details: StreamDetails) -> StreamView:
    """The stream, or discovery."""
    state = details.state
    return StreamView(
        key=details.key,
        name=state.stream.name,
        families=sorted(state.stream.families),
        status=state.status,
        is_dismissed=state.is_dismissed,
        reason=state.reason,
        since=state.status_since,
        failures=details.failures,
        next_try=details.next_try,
        read_until=state.read_until,
        wanted=[show_period(one) for one in details.wanted],
        proven=[show_period(one) for one in details.proven],
        parked=[_item(one) for one in details.parked[:MOST_ITEMS]],
        parked_count=len(details.parked),
    )


def _item(item: ParkedState) -> ParkedItemView:
    return ParkedItemView(reference=item.reference, reason=item.reason, next_try=item.next_at)
