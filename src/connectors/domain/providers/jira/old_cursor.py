"""What reading left behind before it went by streams."""

from collections.abc import Mapping

from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.jira.position import SITE, bookmark_at


def split_cursor(cursor: Cursor) -> Mapping[str, Cursor]:
    """Stream key → bookmark, from `{"updated": the greatest epoch milliseconds seen}`; empty if it is not that."""
    updated = cursor.get("updated")
    return {SITE: bookmark_at(from_epoch_seconds(updated / 1000))} if isinstance(updated, int) else {}
