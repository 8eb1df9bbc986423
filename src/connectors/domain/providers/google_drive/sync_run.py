"""What all passes of a Drive sync run share."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import Cursor, SyncPage, SyncPlan

Work = Mapping[str, Any]
"""One pass over one log, and its position."""


def at_rest(cursor: Cursor, plan: SyncPlan) -> Cursor:
    """What the next sync run starts from."""
    return {
        "tokens": cursor.get("tokens"),
        "baseline": cursor.get("baseline"),
        "read_at": rfc3339(plan.started_at),
    }


def page_of(plan: SyncPlan, cursor: Cursor, work: Sequence[Work], **found: Any) -> SyncPage:
    """The page, done when no work is left."""
    moved = {**cursor, "work": list(work)}
    return SyncPage(cursor=moved if work else at_rest(moved, plan), done=not work, **found)


def is_bad_token(error: UnexpectedResponseError) -> bool:
    """Whether Drive refused the page token. `invalidParameter` is a mistake of ours, and stays an error."""
    detail: Mapping[str, Any] = error.details[0] if error.details else {}
    if detail.get("status") != HTTPStatus.BAD_REQUEST:
        return False
    return detail.get("location") == "pageToken" or detail.get("reason") in {"invalid", "badRequest", ""}
