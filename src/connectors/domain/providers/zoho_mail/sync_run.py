"""The position of a sync run through a mailbox: a value that survives JSON."""

from collections.abc import Mapping
from typing import Any

import attrs

from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.toolbox.foreign import (
    read_count,
    read_each,
    read_list,
    read_millis,
    read_name,
    read_object,
)
from connectors.domain.providers.zoho_mail.payloads import Folder, FolderKind


@attrs.frozen(kw_only=True)
class SyncRun:
    """A sync run: the folders to read, the position in the first one, and how far each was read before."""

    floor: int
    """Milliseconds. Nothing older is reported, in folders that were never read."""
    ceiling: int
    """Milliseconds. What is newer is read again by the next sync run."""
    marks: Mapping[str, int] = attrs.field(factory=dict)
    """The latest `receivedTime` that was read, by folder, of folders that were read to their end."""
    starts: Mapping[str, int] = attrs.field(factory=dict)
    """Where this sync run begins, by folder: earlier marks. Folders without one begin at the floor."""
    next_starts: Mapping[str, int] = attrs.field(factory=dict)
    """Where the next sync run will begin: the marks before this one, so that it reads all of this again."""
    passes_left: int = 0
    """How often all folders are read once more after this."""
    phase: str = "folders"
    """`folders`, `messages` or `rest`."""
    queue: tuple[Folder, ...] = ()
    start: int = 1
    """Sequence number in the list of the first folder, as Zoho counts: from 1."""
    tail: tuple[str, ...] = ()
    """Ids of the last rows of the page before: if the next page has none of them, rows were missed."""
    retreats: int = 0
    """How often the sync run stepped back in the first folder."""
    newest: int | None = None
    """The latest `receivedTime` seen in the first folder so far."""

    def to_cursor(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "floor": self.floor,
            "ceiling": self.ceiling,
            "marks": dict(self.marks),
            "starts": dict(self.starts),
            "next_starts": dict(self.next_starts),
            "passes_left": self.passes_left,
            "phase": self.phase,
            "queue": [[folder.id, folder.name, folder.kind.value] for folder in self.queue],
            "start": self.start,
            "tail": list(self.tail),
            "retreats": self.retreats,
            "newest": self.newest,
        }


def read_sync_run(cursor: Any) -> SyncRun | None:
    """The sync run in a cursor; None if it is unknown."""
    data = read_object(cursor)
    floor, ceiling = read_millis(data.get("floor")), read_millis(data.get("ceiling"))
    if floor is None or ceiling is None:
        return None
    phase = data.get("phase")
    return SyncRun(
        floor=floor,
        ceiling=ceiling,
        marks=_read_marks(data.get("marks")),
        starts=_read_marks(data.get("starts")),
        next_starts=_read_marks(data.get("next_starts")),
        passes_left=min(read_count(data.get("passes_left")) or 0, 1),
        phase=phase if phase in {"folders", "messages", "rest"} else "rest",
        queue=tuple(folder for folder in map(_read_stop, read_list(data.get("queue"))) if folder is not None),
        start=max(read_count(data.get("start")) or 1, 1),
        tail=tuple(read_each(data.get("tail"), read_id)),
        retreats=read_count(data.get("retreats")) or 0,
        newest=read_millis(data.get("newest")),
    )


def _read_marks(value: Any) -> dict[str, int]:
    marks = {key: read_millis(at) for key, at in read_object(value).items()}
    return {key: at for key, at in marks.items() if at is not None}


def _read_stop(value: Any) -> Folder | None:
    if not isinstance(value, list | tuple) or len(value) != 3 or value[2] not in set(FolderKind):  # noqa: PLR2004
        return None
    identifier = read_id(value[0])
    if identifier is None:
        return None
    return Folder(id=identifier, name=read_name(value[1]) or identifier, kind=FolderKind(value[2]))
