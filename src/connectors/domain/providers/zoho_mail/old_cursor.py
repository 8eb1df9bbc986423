"""The cursor that was kept before each folder was read by itself."""

from collections.abc import Mapping

from connectors.domain.model.sync import Cursor
from connectors.domain.providers.toolbox.foreign import read_millis, read_object
from connectors.domain.providers.zoho_mail.payloads import stream_key


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmarks of the folders that have been read, by the keys of their streams.

    Each is read again from where the cursor would have begun in it, so that one that was refused loses nothing. A
    folder that was never read is left out: what is wanted of it is read as history.
    """
    if cursor.get("phase") != "rest":
        return {}
    starts, floor = read_object(cursor.get("next_starts")), cursor.get("floor")
    lows = {folder: read_millis(starts.get(folder, floor)) for folder in read_object(cursor.get("marks"))}
    return {stream_key(folder): {"low": low} for folder, low in lows.items() if low is not None}
