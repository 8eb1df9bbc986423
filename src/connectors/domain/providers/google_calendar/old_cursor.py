"""What the one cursor of all calendars, as stored before each calendar was a stream, says of each."""

from collections.abc import Mapping

from connectors.domain.model.sync import Cursor
from connectors.domain.providers.google_calendar.calendars import stream_key
from connectors.domain.providers.toolbox.foreign import read_object, read_text


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmarks by stream. A calendar without a token has none: it gets a new baseline."""
    calendars = {identifier: read_object(state) for identifier, state in read_object(cursor.get("calendars")).items()}
    return {
        stream_key(identifier): {"token": token, "parameters": state.get("parameters")}
        for identifier, state in calendars.items()
        if (token := read_text(state.get("token"))) is not None
    }
