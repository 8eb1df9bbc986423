"""Gmail's state: mailboxes with messages and a sparse, growing history."""

from datetime import datetime
from typing import Any, Final, Literal

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.google.errors import not_found
from connectors_sandbox.google.pubsub import PubSub

RecordKind = Literal["messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved"]

TYPES: Final = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}
"""The names of a record's arrays in `historyTypes`."""


@attrs.define(eq=False)
class Message:
    """A message."""

    id: str
    thread_id: str
    received_at: datetime
    headers: list[tuple[str, str]]
    labels: set[str]
    history_id: int = 0


@attrs.frozen
class Record:
    """One line of a mailbox's history."""

    id: int
    kind: RecordKind
    message_id: str
    thread_id: str
    message_labels: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """The labels that were added or removed."""


@attrs.frozen
class Watch:
    """The topic to which a mailbox's changes are published."""

    topic: str
    labels: frozenset[str]
    expires_at: datetime

    def covers(self, labels: set[str]) -> bool:
        """Whether a change to a message with these labels is published."""
        return not self.labels or bool(self.labels & labels)


@attrs.define(eq=False)
class Mailbox:
    """One account's mail."""

    email: str
    messages: dict[str, Message] = attrs.field(factory=dict)
    history: list[Record] = attrs.field(factory=list)
    history_id: int = 100_000
    oldest_history_id: int = 0
    """Starting before this is a 404."""
    watch: Watch | None = None


class Mail:
    """Everybody's mailboxes."""

    def __init__(self, core: SandboxCore, pubsub: PubSub) -> None:
        self._core = core
        self._pubsub = pubsub
        self.mailboxes: dict[str, Mailbox] = {}

    def get(self, email: str) -> Mailbox:
        """The account's mailbox."""
        mailbox = self.mailboxes.get(email)
        if mailbox is None:
            raise not_found()
        return mailbox

    def add(
        self,
        mailbox: Mailbox,
        headers: list[tuple[str, str]],
        labels: set[str],
        at: datetime | None = None,
        *,
        is_imported: bool = False,
    ) -> Message:
        """A message arrives; with an instant of its own it is an old one, without history, unless it is imported now.

        Source: Gmail v1 `messages.import`, `internalDateSource=dateHeader`: `internalDate` is then the Date header's.
        """
        identifier = f"18c{self._core.random.randrange(16**13):013x}"
        message = Message(identifier, identifier, at or self._core.clock.now(), headers, set(labels))
        mailbox.messages[identifier] = message
        if at is None or is_imported:
            self._record(mailbox, message, "messagesAdded")
        return message

    def relabel(self, mailbox: Mailbox, message: Message, add: set[str], remove: set[str]) -> None:
        """Add and remove labels."""
        added, removed = add - message.labels, remove & message.labels
        message.labels = (message.labels | add) - remove
        if added:
            self._record(mailbox, message, "labelsAdded", tuple(sorted(added)))
        if removed:
            self._record(mailbox, message, "labelsRemoved", tuple(sorted(removed)))

    def delete(self, mailbox: Mailbox, message: Message) -> None:
        """Delete for good."""
        del mailbox.messages[message.id]
        self._record(mailbox, message, "messagesDeleted")

    def publish(self, mailbox: Mailbox) -> None:
        """Publish the mailbox's current history id to the topic."""
        if mailbox.watch is not None and mailbox.watch.expires_at > self._core.clock.now():
            self._pubsub.publish(mailbox.watch.topic, mailbox.email, mailbox.history_id)

    def _record(self, mailbox: Mailbox, message: Message, kind: RecordKind, labels: tuple[str, ...] = ()) -> None:
        mailbox.history_id += self._core.random.randint(1, 7)
        message.history_id = mailbox.history_id
        record = Record(mailbox.history_id, kind, message.id, message.thread_id, tuple(sorted(message.labels)), labels)
        mailbox.history.append(record)
        if mailbox.watch is not None and mailbox.watch.covers(message.labels | set(labels)):
            self.publish(mailbox)


def record_json(record: Record) -> dict[str, Any]:
    """A `History` record; a deleted message is shown without labels."""
    reference: dict[str, Any] = {"id": record.message_id, "threadId": record.thread_id}
    shown = reference if record.kind == "messagesDeleted" else {**reference, "labelIds": list(record.message_labels)}
    change: dict[str, Any] = {"message": shown}
    if record.labels:
        change["labelIds"] = list(record.labels)
    return {"id": str(record.id), "messages": [reference], record.kind: [change]}
