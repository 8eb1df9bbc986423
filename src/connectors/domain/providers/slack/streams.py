"""How Slack is read: a stream for each channel, and one for the names of people. README.md says in which order."""

from datetime import timedelta

import attrs

from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.domain.providers.slack.channels import ChannelReader
from connectors.domain.providers.slack.directory import PEOPLE, discover, read_people
from connectors.domain.providers.slack.position import Position

POLL_INTERVAL = timedelta(hours=1)
"""Webhooks report new events at once. Reads catch what was missed, and each reads every look-back again."""
DISCOVERY_INTERVAL = timedelta(minutes=45)
"""Webhooks also say when there is a channel more to read."""
BOOKMARK: Cursor = {"since": "read_until"}
"""What a run leaves: the next one reads by the window's times, and needs nothing else."""


def read_page(context: SyncContext, stream: Stream, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of people, or of a channel. A channel's first run needs no request: Slack shows all of its past."""
    if stream.key == PEOPLE:
        return (yield from read_people(context, window, cursor))
    if window.low > window.high and window.mode is SyncMode.BACKFILL:
        return StreamPage(cursor=None)
    if window.mode is SyncMode.INCREMENTAL and window.bookmark is None:
        return StreamPage(cursor=None, bookmark=BOOKMARK)
    page = yield from ChannelReader(context, stream, window).read_page(Position.read(cursor))
    is_read = page.cursor is None and window.mode is SyncMode.INCREMENTAL
    return attrs.evolve(page, bookmark=BOOKMARK) if is_read else page


def read_item(context: SyncContext, stream: Stream, window: Window, reference: str) -> Conversation[StreamPage | None]:
    """A parked thread or message of a channel; None if it is gone."""
    return (yield from ChannelReader(context, stream, window).read_item(reference))


STREAMS = Streams(
    discover=discover,
    read_page=read_page,
    read_item=read_item,
    poll_interval=POLL_INTERVAL,
    discovery_interval=DISCOVERY_INTERVAL,
)
