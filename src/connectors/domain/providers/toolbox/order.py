"""How far a page of a list can be trusted, where rows move, or show odd dates, while the list is read.

docs/engine.md says why. `times` are the instants that the page's rows show, in the order of the page.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

DOUBT = 2
"""How many rows at the end of a page may show a later instant than the one that they are sorted by."""

TAIL = 3
"""How many rows at the end of a page must all be old before a list counts as read down to there."""


def supported_position(
    times: Sequence[datetime], since: datetime | None, asked_at: datetime, settle: timedelta, doubt: int = DOUBT
) -> datetime | None:
    """The position to ask for next in a list of the oldest first, or None: go on by the vendor's own next link.

    A row that is edited while the page is made stands at its old place and shows a new instant. Every row is sorted
    by no more than what those after it show, so the least instant of the page's last rows is as far as its order
    bears out.

    Args:
        times: by which the list is sorted.
        since: the present position; None at the list's beginning.
        asked_at: when the page was asked for.
        settle: how long a change may take to reach the list; nothing later than that before `asked_at` is trusted.
        doubt: how many of the last rows may show a later instant than the one that they are sorted by.
    """
    if len(times) <= doubt:
        return None
    position = min(times[-1 - doubt :])
    is_progress = since is None or position > since
    return position if is_progress and position <= asked_at - settle else None


def has_passed(times: Sequence[datetime], low: datetime, tail: int = TAIL) -> bool:
    """Whether a list of the newest first has been read down to `low`: the page's last rows are all older.

    A single old row proves nothing; shorter pages prove nothing either, and the vendor says where the list ends.
    """
    return len(times) >= tail and max(times[-tail:]) < low
