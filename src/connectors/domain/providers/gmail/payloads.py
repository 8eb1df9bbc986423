"""The fields of Gmail's objects that we read, and no others.

Source: Gmail v1 reference, resources `users.messages` and `users.history`.
"""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Any

import attrs

from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.toolbox.foreign import (
    read_each,
    read_millis_instant,
    read_object,
    read_objects,
    read_text,
)

HEADERS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To")
"""The headers to request with `format=metadata`. Contents are never fetched."""

HIDDEN_LABELS = frozenset({"SPAM", "TRASH"})
"""The message list leaves these out."""

ADDRESS_LIMIT = 2000
"""Characters of a From header that are parsed: the first address is within them."""


@attrs.frozen(kw_only=True)
class Message:
    """A message's envelope."""

    id: str
    thread_id: str | None
    labels: frozenset[str]
    received_at: datetime
    """When Gmail received it. The Date header is not used: the sender chooses it."""
    subject: str | None
    sender_name: str
    sender_address: str


def read_message(document: Any) -> Message | str:
    """The message, or a text saying why it cannot be read."""
    data = read_object(document)
    identifier = read_id(data.get("id"))
    if identifier is None:
        return "has no id"
    received_at = read_millis_instant(data.get("internalDate"))
    if received_at is None:
        return "does not say when it was received"
    headers = read_headers(data.get("payload"))
    name, address = parseaddr(headers.get("from", "")[:ADDRESS_LIMIT])
    return Message(
        id=identifier,
        thread_id=read_id(data.get("threadId")),
        labels=read_labels(data),
        received_at=received_at,
        subject=headers.get("subject"),
        sender_name=name or address,
        sender_address=address.lower(),
    )


def read_labels(message: Any) -> frozenset[str]:
    """The ids of a message's labels."""
    return frozenset(read_each(read_object(message).get("labelIds"), read_id))


def read_headers(payload: Any) -> dict[str, str]:
    """The headers by lower-case name; the first of repeated ones, as mail readers show it."""
    found: dict[str, str] = {}
    for header in read_objects(read_object(payload).get("headers")):
        name, value = read_id(header.get("name")), read_text(header.get("value"))
        if name is not None and value is not None:
            found.setdefault(name.lower(), value)
    return found


@attrs.frozen(kw_only=True)
class LabelEvent:
    """Labels added to a message, or removed, in one history record."""

    history_id: str
    was_added: bool
    labels: tuple[str, ...]
    document: Mapping[str, Any] = attrs.field(repr=False)

    def to_state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "history_id": self.history_id,
            "was_added": self.was_added,
            "labels": list(self.labels),
            "document": dict(self.document),
        }


@attrs.define(kw_only=True)
class MessageHistory:
    """What a page of history says of one message."""

    id: str
    was_added: bool = False
    added_labels: frozenset[str] = frozenset()
    """Its labels as the record of its arrival shows them. Those of `messages.get` are more reliable."""
    deletion: Mapping[str, Any] | None = None
    label_events: list[LabelEvent] = attrs.field(factory=list)

    @property
    def was_uncovered(self) -> bool:
        """Whether it came out of the spam or the trash."""
        return any(not one.was_added and not HIDDEN_LABELS.isdisjoint(one.labels) for one in self.label_events)


def read_history(records: list[Mapping[str, Any]]) -> dict[str, MessageHistory]:
    """The records by message, in order of first mention. `messages` only repeats the others, so it is not read."""
    found: dict[str, MessageHistory] = {}
    for record in records:
        history_id = read_id(record.get("id")) or "0"
        for entry in read_objects(record.get("messagesAdded")):
            if (message := _history_of(entry, found)) is not None:
                message.was_added = True
                message.added_labels = read_labels(entry.get("message"))
        for key, was_added in (("labelsAdded", True), ("labelsRemoved", False)):
            for entry in read_objects(record.get(key)):
                if (message := _history_of(entry, found)) is not None:
                    event = LabelEvent(
                        history_id=history_id,
                        was_added=was_added,
                        labels=tuple(read_each(entry.get("labelIds"), read_id)),
                        document=entry,
                    )
                    message.label_events.append(event)
        for entry in read_objects(record.get("messagesDeleted")):
            if (message := _history_of(entry, found)) is not None:
                message.deletion = entry
    return found


def _history_of(entry: Mapping[str, Any], found: dict[str, MessageHistory]) -> MessageHistory | None:
    identifier = read_id(read_object(entry.get("message")).get("id"))
    return None if identifier is None else found.setdefault(identifier, MessageHistory(id=identifier))


def labels_at_arrival(present: frozenset[str], history: MessageHistory) -> frozenset[str]:
    """The labels that the message arrived with: the present ones, without the changes that the page shows.

    A message that was trashed before we read it was still received.
    """
    labels = set(present)
    for event in reversed(history.label_events):
        if event.was_added:
            labels.difference_update(event.labels)
        else:
            labels.update(event.labels)
    return frozenset(labels)
