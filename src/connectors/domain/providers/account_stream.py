"""The simple form of reading, for packages that need no streams: the whole account is one."""

from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import DiscoveryPage, ParkedItem, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPlan
from connectors.domain.providers.contract import Streams, Sync, SyncContext

ACCOUNT = "account"
"""The key of the one stream."""


def account_streams(sync: Sync, families: frozenset[str]) -> Streams:
    """The streams of a package that reads its account as a whole.

    Args:
        sync: how.
        families: the names of all families that it reads.
    """
    stream = Stream(key=ACCOUNT, name="the account", families=families)

    def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:  # noqa: ARG001 - the contract's
        yield from ()
        return DiscoveryPage(streams=(stream,))

    def read_page(
        context: SyncContext,
        stream: Stream,  # noqa: ARG001 - the contract's
        window: Window,
        cursor: Cursor | None,
    ) -> Conversation[StreamPage]:
        plan = _plan(window)
        start = (yield from sync.start(context, plan)) if cursor is None else cursor
        page = yield from sync.read_page(context, plan, start)
        return StreamPage(
            cursor=None if page.done else page.cursor,
            bookmark=page.cursor if page.done else None,
            signals=page.signals,
            observations=page.observations,
            items=page.items,
            parked=tuple(map(_parked, page.skipped)),
            lost=page.gap,
            connection_metadata=page.connection_metadata,
        )

    interpret = sync.interpret
    return Streams(
        discover=discover,
        read_page=read_page,
        interpret=None
        if interpret is None
        else lambda context, window, observation, known: interpret(context, _plan(window), observation, known),
        poll_interval=sync.poll_interval,
        split_cursor=lambda cursor: {ACCOUNT: cursor},
    )


def _parked(item: SkippedItem) -> ParkedItem:
    between = None if item.at is None else (item.at, item.at)
    return ParkedItem(reference=item.reference, reason=item.reason, between=between)


def _plan(window: Window) -> SyncPlan:
    is_backfill = window.mode is SyncMode.BACKFILL
    return SyncPlan(
        mode=window.mode,
        started_at=window.high,
        since=window.low if is_backfill else None,
        until=window.until,
        last_cursor=window.bookmark,
    )
