"""The position of a sync run through the chats: a value that survives JSON."""

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
    read_text,
)


@attrs.frozen
class Stop:
    """One chat to read."""

    id: str
    name: str


@attrs.frozen
class Window:
    """A span of time, both ends included, in milliseconds."""

    low: int
    high: int


@attrs.frozen(kw_only=True)
class SyncRun:
    """A sync run: the chats to read, the windows left of the first of them, and how far each chat was read before."""

    floor: int
    """Milliseconds. Nothing older is reported, in chats that were never read."""
    listed_from: int
    """Milliseconds. Chats without changes since then are not read."""
    ceiling: int
    """Milliseconds. The sync run's upper bound."""
    marks: Mapping[str, int] = attrs.field(factory=dict)
    """Milliseconds up to which each chat has been read, by chat."""
    phase: str = "channels"
    """`channels`, `chats`, `messages` or `rest`."""
    page: str | None = None
    """Cliq's token of the next page of channels."""
    passes: int = 0
    """How often the list of channels was read to its end."""
    has_grown: bool = False
    """Whether this pass over the list has shown a channel that the passes before had not."""
    queue: tuple[Stop, ...] = ()
    windows: tuple[Window, ...] = ()
    """What is left of the list of chats, or of the first chat."""
    behind: tuple[str, ...] = ()
    """Chats that were refused: the next sync run reads them even if they have not changed."""

    def to_cursor(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "floor": self.floor,
            "listed_from": self.listed_from,
            "ceiling": self.ceiling,
            "marks": dict(self.marks),
            "phase": self.phase,
            "page": self.page,
            "passes": self.passes,
            "has_grown": self.has_grown,
            "queue": [[stop.id, stop.name] for stop in self.queue],
            "windows": [[window.low, window.high] for window in self.windows],
            "behind": list(self.behind),
        }


def read_sync_run(cursor: Any) -> SyncRun | None:
    """The sync run in a cursor; None if it is unknown."""
    data = read_object(cursor)
    floor, listed_from = read_millis(data.get("floor")), read_millis(data.get("listed_from"))
    ceiling = read_millis(data.get("ceiling"))
    if floor is None or listed_from is None or ceiling is None:
        return None
    marks = {key: read_millis(value) for key, value in read_object(data.get("marks")).items()}
    phase = data.get("phase")
    return SyncRun(
        floor=floor,
        listed_from=listed_from,
        ceiling=ceiling,
        marks={key: value for key, value in marks.items() if value is not None},
        phase=phase if phase in {"channels", "chats", "messages", "rest"} else "rest",
        page=read_text(data.get("page")),
        passes=read_count(data.get("passes")) or 0,
        has_grown=data.get("has_grown") is True,
        queue=tuple(stop for stop in map(_read_stop, read_list(data.get("queue"))) if stop is not None),
        windows=tuple(one for one in map(_read_window, read_list(data.get("windows"))) if one is not None),
        behind=tuple(read_each(data.get("behind"), read_id)),
    )


def _read_stop(value: Any) -> Stop | None:
    entry = value if isinstance(value, list | tuple) else ()
    identifier = read_id(entry[0]) if len(entry) == 2 else None  # noqa: PLR2004 - id and name
    return None if identifier is None else Stop(identifier, read_name(entry[1]) or identifier)


def _read_window(value: Any) -> Window | None:
    entry = value if isinstance(value, list | tuple) else ()
    if len(entry) != 2:  # noqa: PLR2004 - low and high
        return None
    low, high = read_count(entry[0]), read_count(entry[1])
    return None if low is None or high is None or low > high else Window(low, high)
