"""From the one cursor of an account, which reading left before there were streams, to a bookmark for each stream."""

from collections.abc import Mapping

from connectors.domain.model.instant import read_instant
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.github.discovery import FAMILIES_OF
from connectors.domain.providers.github.pages import SETTLE, instant_text


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """The bookmarks by stream key; empty if the cursor says nothing that can be used.

    Args:
        cursor: `mark` (a run began then), `known` (the repositories' ids) and `behind`: what could not be read, as
            `id:list` or `id:*`, with the instant up to which it was.
    """
    mark = read_instant(cursor.get("mark"))
    if cursor.get("version") != 1 or mark is None or "repositories" in cursor:
        return {}
    since = {f"{name}:{id_}": mark - SETTLE for id_ in cursor.get("known", ()) for name in FAMILIES_OF}
    for part, at in cursor.get("behind", {}).items():
        id_, _, behind = part.partition(":")
        for key in [f"{name}:{id_}" for name in FAMILIES_OF if behind in {name, "*"}]:
            read_until = read_instant(at)
            if read_until is None:
                since.pop(key, None)  # never read: its stream takes a baseline, and its past is history
            else:
                since[key] = min(read_until, since.get(key, read_until))
    return {key: {"since": instant_text(at)} for key, at in since.items()}
