"""The fields of Zoho Mail's objects that we read, and no others: one message in three forms.

| | list | search | webhook |
|---|---|---|---|
| ids | texts | numbers | numbers, and the safe text `messageIdString` |
| received | `receivedTime`, text | `receivedtime`, number | `receivedTime`, number |
| read | `status` "0"/"1" | `status` "unread"/"read" | - |
| subject, addresses | HTML-escaped | HTML-escaped | plain |

`sentDateInGMT` is read nowhere: it is off by a time zone's offset in Zoho's own samples.

Source: zoho.com/mail/help/api (get-emails-list, get-search-emails, get-all-folder-details), dev-platform/webhook.
"""

import html
from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.toolbox.foreign import (
    millis_instant,
    read_count,
    read_millis,
    read_name,
    read_object,
    read_text,
)

NOTHING = "Not Provided"
"""Zoho's text for a missing address."""
ADDRESS_LIMIT = 2000
"""Characters of an address field that are parsed: the first address is within them."""


class FolderKind(StrEnum):
    """What kind of mail a folder has."""

    RECEIVED = "received"
    SENT = "sent"
    SPAM = "spam"
    TRASH = "trash"
    UNSENT = "unsent"
    """Drafts, templates, the outbox: mail that nobody has received yet."""


SYSTEM_FOLDERS: Mapping[str, FolderKind] = {
    "sent": FolderKind.SENT,
    "spam": FolderKind.SPAM,
    "trash": FolderKind.TRASH,
    "drafts": FolderKind.UNSENT,
    "templates": FolderKind.UNSENT,
    "outbox": FolderKind.UNSENT,
}
"""By `folderType`; all others have received mail."""


@attrs.frozen(kw_only=True)
class Folder:
    """One folder of the mailbox."""

    id: str
    name: str
    kind: FolderKind


def read_folder(document: Any) -> Folder | None:
    """The folder, None without an id."""
    data = read_object(document)
    identifier = read_id(data.get("folderId"))
    if identifier is None:
        return None
    path = read_name(data.get("path"))
    name = read_name(data.get("folderName")) or path or identifier
    return Folder(id=identifier, name=name, kind=read_folder_kind(data.get("folderType"), path))


def read_folder_kind(folder_type: Any, path: str | None) -> FolderKind:
    """The kind of a folder, by its type, or by the root of its path if the type does not say."""
    if isinstance(folder_type, str) and folder_type.lower() in SYSTEM_FOLDERS:
        return SYSTEM_FOLDERS[folder_type.lower()]
    # Folders that the user made below Trash or Spam have no type, or "Inbox".
    root = (path or "").strip("/").partition("/")[0].lower()
    return SYSTEM_FOLDERS.get(root, FolderKind.RECEIVED)


@attrs.frozen(kw_only=True)
class Message:
    """A message's envelope."""

    id: str
    received_ms: int
    folder_id: str | None
    thread_id: str | None
    subject: str | None
    sender_name: str
    sender_address: str
    is_read: bool | None
    """None if the row does not say."""

    @property
    def received_at(self) -> datetime:
        """When the mailbox received it."""
        return millis_instant(self.received_ms)


def read_row(document: Any) -> Message | str:
    """The message in a row of the list or of a search, or a text saying why it cannot be read."""
    return _read_message(read_object(document), is_escaped=True)


def read_delivery(document: Any) -> Message | str:
    """The message in a webhook's body, or a text saying why it cannot be read."""
    return _read_message(read_object(document), is_escaped=False)


def _read_message(data: Mapping[str, Any], *, is_escaped: bool) -> Message | str:
    identifier = read_message_id(data)
    if identifier is None:
        return "has no exact id"
    received_ms = read_received(data)
    if received_ms is None:
        return "does not say when it was received"
    name, address = read_sender(data, is_escaped=is_escaped)
    thread_id = read_id(data.get("threadId"))
    return Message(
        id=identifier,
        received_ms=received_ms,
        folder_id=read_id(data.get("folderId")),
        thread_id=None if thread_id in (None, "0") else thread_id,
        subject=_read_plain(data.get("subject"), is_escaped=is_escaped),
        sender_name=name,
        sender_address=address,
        is_read=read_status(data.get("status")),
    )


def read_received(data: Mapping[str, Any]) -> int | None:
    """Milliseconds at which the message was received; None if the row does not say."""
    return read_millis(data.get("receivedTime", data.get("receivedtime")))


def read_message_id(data: Mapping[str, Any]) -> str | None:
    """The message's id in decimal; None if there is no exact one.

    A float has already lost digits. An integer is exact here, but the text, if present, takes precedence.
    """
    for name in ("messageIdString", "messageId"):
        # The same id as a number and as a text, with or without leading zeros, gives one key.
        if (count := read_count(data.get(name))) is not None:
            return str(count)
    return None


def read_status(value: Any) -> bool | None:
    """Whether the message was read: `"1"` or `read`, `"0"` or `unread`."""
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return {"1": True, "read": True, "0": False, "unread": False}.get(text)


def read_sender(data: Mapping[str, Any], *, is_escaped: bool) -> tuple[str, str]:
    """The sender's name and lower-case address; either may be empty."""
    raw = _read_plain(data.get("fromAddress"), is_escaped=is_escaped) or ""
    name, address = parseaddr(raw[:ADDRESS_LIMIT])
    shown = _read_plain(data.get("sender"), is_escaped=is_escaped)
    # `sender` is mostly the name, sometimes only the address.
    return read_name(shown) or read_name(name) or "", (read_name(address) or "").lower()


def _read_plain(value: Any, *, is_escaped: bool) -> str | None:
    text = read_text(value)
    if text is None or text.strip() == NOTHING:
        return None
    return read_text(html.unescape(text)) if is_escaped else text


def is_task(data: Mapping[str, Any]) -> bool:
    """Whether a webhook's body is about a task: webhooks for both are made on the same settings page."""
    return "entityType" in data and "receivedTime" not in data


def stream_key(folder_id: str) -> str:
    """The key of the stream of a folder."""
    return f"folder:{folder_id}"
