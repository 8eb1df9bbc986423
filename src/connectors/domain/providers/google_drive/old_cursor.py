"""The cursor of the time when one run read all logs, as far as it is still of use."""

from collections.abc import Mapping

from connectors.domain.model.sync import Cursor
from connectors.domain.providers.google_drive.logs import key_of
from connectors.domain.providers.toolbox.foreign import read_object, read_text


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmark of each stream; none of a run that had not ended: its files may not all be remembered."""
    if cursor.get("work"):
        return {}
    tokens = {log: read_text(token) for log, token in read_object(cursor.get("tokens")).items()}
    return {key_of(log): {"token": token} for log, token in tokens.items() if token is not None}
