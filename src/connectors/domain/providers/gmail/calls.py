"""Single calls to Gmail that both the listing and the history make."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail.oauth import mailbox_url
from connectors.domain.providers.gmail.payloads import HEADERS
from connectors.domain.providers.toolbox.foreign import read_count


def with_pairs(url: str, pairs: Sequence[tuple[str, str | None]]) -> str:
    """The URL with a query in which names may repeat."""
    return f"{url}?{urlencode([(name, value) for name, value in pairs if value is not None])}"


def get_history_id(ctx: SyncContext) -> Conversation[int]:
    """The mailbox's current history id."""
    response = yield HttpRequest(method="GET", url=mailbox_url(ctx.app) + "/profile")
    history_id = read_count(response.json_object().get("historyId"))
    if history_id is None:
        raise UnexpectedResponseError("Gmail's profile has no history id.")
    return history_id


def get_message(ctx: SyncContext, message_id: str) -> Conversation[Mapping[str, Any] | None]:
    """The message's envelope, None if it is gone."""
    url = with_pairs(
        f"{mailbox_url(ctx.app)}/messages/{quote(message_id, safe='')}",
        [("format", "metadata"), *(("metadataHeaders", name) for name in HEADERS)],
    )
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    return None if response.status == HTTPStatus.NOT_FOUND else response.json_object()


def later(cursor: Cursor, seen_at: datetime | None) -> str | None:
    """When the newest message seen so far was received."""
    known = read_instant(cursor.get("seen_at"))
    newest = max((at for at in (known, seen_at) if at is not None), default=None)
    return None if newest is None else rfc3339(newest)
