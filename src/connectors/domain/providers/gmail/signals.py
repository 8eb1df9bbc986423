"""What happened to a message.

    it arrived with DRAFT                    none: every autosave deletes a draft and adds one with a new id
    it arrived with SENT                     email_sent; with INBOX too, `also_received`
    it arrived with SPAM or TRASH            none
    it arrived otherwise                     email_received
    it came out of the spam or the trash     as if it had arrived so
    TRASH added                              email_trashed
    SPAM added                               email_marked_spam
    deleted for good, and known here         email_deleted
    only with the option `label_events`:
    a user label, STARRED, IMPORTANT on/off  email_labeled / email_unlabeled
    UNREAD off/on                            email_read / email_unread
    INBOX off                                email_archived

There is one arrival per message id, so history, repeated reads and a backfill agree. The key of a label change contains
its history record.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Interpretation, Observation
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.contract import Family, SyncContext
from connectors.domain.providers.gmail.oauth import mailbox_of
from connectors.domain.providers.gmail.payloads import HIDDEN_LABELS, Message, read_message
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_objects, read_text
from connectors.domain.providers.toolbox.rules import derive_families_by_kind

FAMILY_OF: Mapping[SignalKind, str] = {
    SignalKind.EMAIL_RECEIVED: "messages",
    SignalKind.EMAIL_SENT: "messages",
    SignalKind.EMAIL_READ: "message_changes",
    SignalKind.EMAIL_UNREAD: "message_changes",
    SignalKind.EMAIL_LABELED: "message_changes",
    SignalKind.EMAIL_UNLABELED: "message_changes",
    SignalKind.EMAIL_ARCHIVED: "message_changes",
    SignalKind.EMAIL_MARKED_SPAM: "message_changes",
    SignalKind.EMAIL_TRASHED: "message_changes",
    SignalKind.EMAIL_DELETED: "message_changes",
}

KINDS = frozenset(FAMILY_OF)

FAMILIES = derive_families_by_kind(
    FAMILY_OF,
    Family(name="messages"),
    # The message list shows a message's present labels, not when they changed, and no deleted messages.
    Family(name="message_changes", is_backfilled=False),
)
"""A notification only says "something changed" and names no family, so it concerns both."""

NO_SUBJECT = "(no subject)"
LABEL_OPTION = "label_events"

TRACKED_LABELS = frozenset({"STARRED", "IMPORTANT"})
USER_LABEL_PREFIX = "Label_"

OWN_KINDS: Mapping[tuple[str, bool], SignalKind] = {
    ("TRASH", True): SignalKind.EMAIL_TRASHED,
    ("SPAM", True): SignalKind.EMAIL_MARKED_SPAM,
}
"""By label and whether it was added: always reported."""

OPTIONAL_KINDS: Mapping[tuple[str, bool], SignalKind] = {
    ("UNREAD", False): SignalKind.EMAIL_READ,
    ("UNREAD", True): SignalKind.EMAIL_UNREAD,
    ("INBOX", False): SignalKind.EMAIL_ARCHIVED,
}
"""Reported only with the option `label_events`: most users do not need a signal for each mail that they read."""


def wants_label_events(app: ProviderApp) -> bool:
    """Whether the operator enabled the optional kinds."""
    return bool(app.options[LABEL_OPTION])


def arrival_kind(labels: frozenset[str]) -> SignalKind | None:
    """The kind for the arrival of a message with these labels."""
    if "DRAFT" in labels:
        return None
    if "SENT" in labels:
        return SignalKind.EMAIL_SENT
    if labels & HIDDEN_LABELS:
        return None
    return SignalKind.EMAIL_RECEIVED


def label_kind(label: str, *, was_added: bool, wants_all: bool) -> SignalKind | None:
    """The kind for adding a label, or removing it."""
    kind = OWN_KINDS.get((label, was_added))
    if kind is not None or not wants_all:
        return kind
    if label in TRACKED_LABELS or label.startswith(USER_LABEL_PREFIX):
        return SignalKind.EMAIL_LABELED if was_added else SignalKind.EMAIL_UNLABELED
    return OPTIONAL_KINDS.get((label, was_added))


def thread_url(mailbox: str, thread_id: str) -> str:
    """A link to the conversation. Gmail does not document its form, so it is made only here."""
    return f"https://mail.google.com/mail/u/{mailbox}/#all/{thread_id}"


def observe_message(
    message_id: str,
    *,
    document: Mapping[str, Any] | None,
    arrival_labels: frozenset[str] | None = None,
    label_events: tuple[Mapping[str, Any], ...] = (),
    deletion: Mapping[str, Any] | None = None,
) -> Observation:
    """What a page shows of one message.

    Args:
        message_id: which.
        document: as `messages.get` sent it; None if it is gone already.
        arrival_labels: what it arrived with; None if this page does not show its arrival.
        label_events: changes of labels, oldest first.
        deletion: the record of its permanent deletion.
    """
    return Observation(
        key=f"message:{message_id}",
        state={
            "id": message_id,
            "document": None if document is None else dict(document),
            "arrival_labels": None if arrival_labels is None else sorted(arrival_labels),
            "label_events": [dict(event) for event in label_events],
            "deletion": None if deletion is None else dict(deletion),
        },
    )


def interpret(
    ctx: SyncContext, window: Window, observation: Observation, previous: Mapping[str, Any] | None
) -> Interpretation:
    """The signals of an observation, and what to remember of the message."""
    state = observation.state
    message_id = read_id(state.get("id"))
    if message_id is None:
        return Interpretation(snapshot=previous)
    mailbox = mailbox_of(ctx.connection)
    message = read_message(state.get("document"))
    snapshot = previous
    drafts: list[SignalDraft] = []
    if isinstance(message, Message):
        labels = state.get("arrival_labels")
        arrival = None if labels is None else frozenset(read_each(labels, read_id))
        kind = None if arrival is None else arrival_kind(arrival)
        if kind is not None and arrival is not None:
            drafts.append(_arrival(mailbox, message, kind, arrival, read_object(state.get("document"))))
        # Spam is not remembered: its purge a month later would be reported as a deletion.
        if "DRAFT" not in message.labels and (arrival is None or kind is not None):
            snapshot = {"subject": message.subject, "thread_id": message.thread_id}
    if not _is_draft(state):
        drafts += _label_drafts(ctx.app, mailbox, message_id, state, snapshot, window.high)
    deletion = state.get("deletion")
    if isinstance(deletion, dict):
        if snapshot is not None:
            identity = f"gmail:{mailbox}:{message_id}:deleted"
            at = window.high
            drafts.append(_change(mailbox, message_id, snapshot, SignalKind.EMAIL_DELETED, at, identity, deletion))
        snapshot = None
    return Interpretation(signals=tuple(drafts), snapshot=snapshot)


def _is_draft(state: Mapping[str, Any]) -> bool:
    """Whether the message is still being written; its label changes are not reported."""
    seen = [state.get("document")]
    seen += [read_object(event.get("document")).get("message") for event in read_objects(state.get("label_events"))]
    return any("DRAFT" in read_each(read_object(message).get("labelIds"), read_id) for message in seen)


def _arrival(
    mailbox: str, message: Message, kind: SignalKind, labels: frozenset[str], document: Mapping[str, Any]
) -> SignalDraft:
    title = one_line(message.subject or NO_SUBJECT) or NO_SUBJECT
    is_sent = kind is SignalKind.EMAIL_SENT
    derived = {"also_received": True} if is_sent and "INBOX" in labels else {}
    url = thread_url(mailbox, message.thread_id or message.id)
    sender = message.sender_address or one_line(message.sender_name)
    if is_sent:
        actor: Actor | None = Actor(id=mailbox, name=mailbox)
    else:
        actor = Actor(id=sender, name=one_line(message.sender_name) or sender) if sender else None
    return SignalDraft(
        kind=kind,
        occurred_at=message.received_at,
        title=title,
        url=url,
        actor=actor,
        subject=Subject("email", message.id, title, url),
        container=Container("mailbox", mailbox, mailbox),
        dedupe_key=f"gmail:{mailbox}:{message.id}",
        payload={**document, **({"derived": derived} if derived else {})},
    )


def _label_drafts(
    app: ProviderApp,
    mailbox: str,
    message_id: str,
    state: Mapping[str, Any],
    known: Mapping[str, Any] | None,
    at: datetime,
) -> Iterator[SignalDraft]:
    wants_all = wants_label_events(app)
    for event in read_objects(state.get("label_events")):
        was_added = event.get("was_added") is True
        for label in read_each(event.get("labels"), read_id):
            kind = label_kind(label, was_added=was_added, wants_all=wants_all)
            if kind is None:
                continue
            verb = "added" if was_added else "removed"
            identity = f"gmail:{mailbox}:{message_id}:{verb}:{label}:{read_id(event.get('history_id')) or '0'}"
            document = {**read_object(event.get("document")), "derived": {"label": label}}
            yield _change(mailbox, message_id, known, kind, at, identity, document)


def _change(
    mailbox: str,
    message_id: str,
    known: Mapping[str, Any] | None,
    kind: SignalKind,
    at: datetime,
    identity: str,
    document: Mapping[str, Any],
) -> SignalDraft:
    """A change to an existing message. History has no times, so it is dated by our read."""
    remembered = known or {}
    title = one_line(read_text(remembered.get("subject")) or NO_SUBJECT) or NO_SUBJECT
    thread = read_id(remembered.get("thread_id")) or read_id(read_object(document.get("message")).get("threadId"))
    url = thread_url(mailbox, thread or message_id)
    return SignalDraft(
        kind=kind,
        occurred_at=at,
        title=title,
        url=url,
        actor=Actor(id=mailbox, name=mailbox),
        subject=Subject("email", message_id, title, url),
        container=Container("mailbox", mailbox, mailbox),
        dedupe_key=identity,
        payload=document,
    )
