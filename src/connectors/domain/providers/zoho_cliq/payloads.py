"""The fields of Cliq's objects that we read, and no others.

Webhooks have three forms: Zoho's own envelope (`handler`, `params`), that of our Deluge script (the contents of
`params`, flat, with the handler's name), and a legacy flat form (`event_type`, `message`, `time_stamp`). `read_push`
reads them all into one class. Handlers write `message` as a text or an object, ids as numbers or texts, times in
milliseconds as numbers or texts; the legacy form also in seconds or as ISO 8601.

Source: zoho.com/cliq/help: platform/bot-participation-handler, platform/bothandlers, restapi/v2/messages.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import attrs

from connectors.domain.model.instant import read_instant
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.toolbox.foreign import instant_millis, read_millis, read_name, read_object, read_text

MESSAGE_TYPES = frozenset(
    {
        *("text", "file", "attachment", "link", "links", "image", "images", "video", "audio", "voice", "gif"),
        *("sticker", "contact", "event", "location", "card", "formatted", "poll", "code"),
    }
)
"""Types that people (and bots) post. Rows of other types are about joins, calls and settings."""
SECONDS_BELOW = 100_000_000_000
"""Times below this are in seconds: as milliseconds they would be before March 1973."""
MESSAGE_ID_LIMIT = 256


def read_message_id(value: Any) -> str | None:
    """A message's id, `<epoch ms>_<number>`. It may be URL-escaped, or have a blank for the underscore."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or len(text) > MESSAGE_ID_LIMIT:
        return None
    return read_id(unquote(text).strip().replace(" ", "_"))


def read_time(value: Any) -> int | None:
    """Milliseconds after the epoch, of milliseconds, seconds or ISO 8601."""
    count = read_millis(value)
    if count is not None:
        return count * 1000 if count < SECONDS_BELOW else count
    instant = read_instant(value)
    if instant is None:
        return None
    millis = instant_millis(instant)
    return millis if millis >= 0 else None


@attrs.frozen(kw_only=True)
class Content:
    """The contents of a message."""

    text: str | None
    type: str | None

    @property
    def is_message(self) -> bool:
        """Whether somebody posted it, judging by its type."""
        return self.type is None or self.type.lower() in MESSAGE_TYPES


@attrs.frozen(kw_only=True)
class Person:
    """Who did it. Cliq has its own ids and the ZUID; the REST API shows one of them."""

    id: str
    name: str
    ids: frozenset[str]


def read_person(value: Any) -> Person | None:
    """The person, None without an id."""
    data = read_object(value)
    ids = [found for key in ("id", "zoho_user_id", "user_id") if (found := read_id(data.get(key))) is not None]
    if not ids:
        return None
    parts = (read_name(data.get("first_name")), read_name(data.get("last_name")))
    full = " ".join(part for part in parts if part)
    name = read_name(data.get("name")) or full or read_name(data.get("email")) or ids[0]
    return Person(id=ids[0], name=name, ids=frozenset(ids))


# --- REST ------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Row:
    """A message as the REST API lists it."""

    id: str
    time: int
    content: Content
    sender: Person | None


def read_row(document: Any) -> Row | str:
    """The message, or a text saying why it cannot be read."""
    data = read_object(document)
    identifier, time = read_message_id(data.get("id")), read_millis(data.get("time"))
    if identifier is None:
        return "has no id"
    if time is None:
        return "does not say when it was posted"
    content = data.get("content")
    kind = read_name(data.get("type"))
    return Row(
        id=identifier,
        time=time,
        content=Content(text=read_content(content), type=kind),
        sender=read_person(data.get("sender")),
    )


def read_content(value: Any) -> str | None:
    """The text of a message's content: the content, its `text`, a file's caption, or the file's name."""
    if isinstance(value, str):
        return read_text(value)
    data = read_object(value)
    return (
        read_text(data.get("text"))
        or read_text(data.get("comment"))
        or read_text(read_object(data.get("file")).get("name"))
    )


# --- webhooks --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Push:
    """The contents of a webhook, whatever its form."""

    handler: str | None
    operation: str | None
    """`message_sent` and so on; legacy names are translated."""
    message_id: str | None
    content: Content
    time: int | None
    user: Person | None
    chat_id: str | None
    thread_id: str | None
    """The thread's chat, for thread operations."""
    chat_name: str | None
    organization: str | None
    sent_at: int | None
    """The envelope's own `timestamp`, which replays cannot change."""

    @property
    def event(self) -> str:
        """The event's name: handler and operation."""
        return ".".join(part[:64] for part in (self.handler, self.operation) if part) or "unknown"


LEGACY_OPERATIONS = {
    "message_posted": "message_sent",
    "message_updated": "message_edited",
    "message_deleted": "message_deleted",
}
MESSAGE_HANDLERS = frozenset({"message_handler", "mention_handler"})
"""Handlers without an operation: they run when a message was sent."""


def read_push(document: Mapping[str, Any]) -> Push:
    """The contents of the webhook. Everything may be missing."""
    wrapped = document.get("params")
    params = wrapped if isinstance(wrapped, dict) else document
    data, access = read_object(params.get("data")), read_object(params.get("access"))
    handler = _read_handler(document.get("handler"), params.get("handler"))
    legacy = read_name(params.get("event_type"))
    message = _read_message(params, data)
    chat = _first_object(params.get("chat"), params.get("channel"), data.get("chat"))
    thread = read_object(data.get("thread"))
    times = (
        data.get("time"),
        read_object(params.get("message_details")).get("time"),
        message.get("time"),
        message.get("posted_time"),
        params.get("time"),
        params.get("time_stamp"),
        document.get("timestamp"),
    )
    organization = read_object(access.get("organization")).get("id")
    return Push(
        handler=handler,
        operation=read_name(params.get("operation")) or LEGACY_OPERATIONS.get(legacy or "", legacy),
        message_id=_first_message_id(access.get("message_id"), message.get("id"), params.get("message_id")),
        content=Content(
            text=read_text(message.get("text")) or read_text(message.get("comment")) or read_content(message),
            type=read_name(message.get("type")),
        ),
        time=next((found for found in map(read_time, times) if found is not None), None),
        user=read_person(_first_object(params.get("user"), message.get("sender"), _user_of(access))),
        chat_id=_first_id(chat.get("id"), chat.get("chat_id"), access.get("chat_id"), params.get("chat_id")),
        thread_id=_first_id(data.get("thread_chat_id"), data.get("thread_id"), thread.get("chat_id"), thread.get("id")),
        chat_name=_read_chat_name(chat, params),
        organization=_first_id(organization, read_object(params.get("user")).get("organization_id")),
        sent_at=read_time(document.get("timestamp")),
    )


def _read_message(params: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message as an object, from any of its three positions and two types."""
    details = read_object(read_object(params.get("message_details")).get("message"))
    found = _first_object(data.get("message"), details, params.get("message"))
    if found:
        return found
    texts = (data.get("message"), params.get("message"), params.get("raw_message"))
    return {"text": next((text for text in texts if isinstance(text, str)), None)}


def _read_handler(*values: Any) -> str | None:
    for value in values:
        name = read_name(read_object(value).get("type")) or read_name(value)
        if name is not None:
            return name
    return None


def _read_chat_name(chat: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    channel = params.get("channel")
    return (
        read_name(chat.get("title"))
        or read_name(chat.get("name"))
        or read_name(chat.get("channel_unique_name"))
        or read_name(channel)
    )


def _user_of(access: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"id": access.get("user_id"), "zoho_user_id": access.get("zoho_user_id")}


def _first_object(*values: Any) -> Mapping[str, Any]:
    return next((value for value in values if isinstance(value, dict) and value), {})


def _first_id(*values: Any) -> str | None:
    return next((found for found in map(read_id, values) if found is not None), None)


def _first_message_id(*values: Any) -> str | None:
    return next((found for found in map(read_message_id, values) if found is not None), None)
