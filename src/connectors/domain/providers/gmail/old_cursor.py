"""The bookmark of the mailbox's stream, also from a cursor that a version without streams left."""

from collections.abc import Mapping

from connectors.domain.model.sync import Cursor
from connectors.domain.providers.toolbox.foreign import read_count

MAILBOX = "mailbox"
"""The key of the only stream."""


def bookmark_at(history_id: int) -> Cursor:
    """The bookmark of everything up to that history id."""
    return {"history_id": str(history_id)}


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmark by stream; none without a history id."""
    history_id = read_count(cursor.get("history_id"))
    return {} if history_id is None else {MAILBOX: bookmark_at(history_id)}
