"""Read the fake by its streams."""

from datetime import datetime, timedelta
from typing import Any

from tests.support.stream_reader import StreamReader
from tests.unit.providers.slack.builders import TEAM, converse, make_app, make_connection
from tests.unit.providers.slack.fake_slack import FakeSlack

from connectors.domain.model.streams import StreamPage
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.payloads import EPOCH

TWO_DAYS = timedelta(days=2)


def key(*parts: str) -> str:
    return ":".join(("slack", TEAM, *parts))


def context_of(**changes: Any) -> SyncContext:
    options = changes.pop("options", {})
    return SyncContext(app=make_app(options=options), connection=make_connection(**changes))


def now_of(slack: FakeSlack) -> datetime:
    return EPOCH + timedelta(seconds=slack.second + 1)


def connect(slack: FakeSlack, **changes: Any) -> StreamReader:
    """The reader of a connection that is made now."""
    return StreamReader(
        streams=SLACK.streams,
        context=context_of(**changes),
        converse=lambda conversation: converse(conversation, slack.reply),
        floor=now_of(slack),
    )


def read_all(slack: FakeSlack, since: timedelta = TWO_DAYS, **changes: Any) -> StreamReader:
    """The reader of a connection whose history has been read, and that is up to date."""
    reader = connect(slack, **changes)
    reader.backfill(now_of(slack) - since, now_of(slack))
    reader.read(now_of(slack))
    return reader


def read_new(reader: StreamReader, slack: FakeSlack) -> set[str]:
    """The keys that an incremental read shows for the first time, with the history of channels that it finds."""
    keys, streams = reader.keys, set(reader.known)
    reader.read(now_of(slack))
    for stream in set(reader.known) - streams:
        reader.backfill_stream(stream, reader.floor, now_of(slack))
    return reader.keys - keys


def keys_of(page: StreamPage) -> set[str]:
    return {draft.dedupe_key for draft in page.signals}
