"""The cursor that was kept before each chat was read by itself."""

from collections.abc import Mapping

from connectors.domain.model.sync import Cursor
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.toolbox.foreign import read_each, read_millis, read_object
from connectors.domain.providers.zoho_cliq.signals import stream_key


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmarks of the chats that have been read or refused, by the keys of their streams.

    Each is read again from where the cursor had come in it, so that one that was refused loses nothing. A chat that
    was never read had not changed: it has no bookmark.
    """
    if cursor.get("phase") != "rest":
        return {}
    refused = dict.fromkeys(read_each(cursor.get("behind"), read_id), cursor.get("floor"))
    marks = {**refused, **read_object(cursor.get("marks"))}
    lows = {chat_id: read_millis(mark) for chat_id, mark in marks.items()}
    return {stream_key(chat_id): {"low": low} for chat_id, low in lows.items() if low is not None}
