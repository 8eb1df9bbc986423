"""Single calls to Gmail that both the listing and the history make."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail.oauth import mailbox_url
from connectors.domain.providers.gmail.payloads import HEADERS, Message, read_message
from connectors.domain.providers.toolbox.foreign import read_count
from connectors.domain.providers.toolbox.parking import ItemGuard


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


def get_envelope(
    ctx: SyncContext, guard: ItemGuard, message_id: str, reference: str
) -> Conversation[tuple[Message, Mapping[str, Any]] | None]:
    """The message and its document; None if it is gone, or cannot be read and so is parked."""
    document = yield from guard.read(reference, get_message(ctx, message_id))
    if document is None:
        return None
    message = read_message(document)
    if isinstance(message, Message) and message.id == message_id:
        return message, document
    guard.park(reference, f"The message {message}." if isinstance(message, str) else "It is another message.")
    return None
