"""What happened to a message.

    in Sent                                           email_sent
    in Spam, Trash, Drafts, Templates, Outbox         none
    in any other folder, or sent by the webhook       email_received
    only with the option `track_changes`, of recent mail:
    read / unread since it was last seen              email_read / email_unread
    now in Trash / Spam, and known from elsewhere     email_trashed / email_marked_spam

There is one arrival per message id and mailbox, whatever its folder, so webhook, polling and backfill agree.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Interpretation, Observation
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.contract import Family, SyncContext
from connectors.domain.providers.toolbox.foreign import read_name, read_object
from connectors.domain.providers.toolbox.rules import derive_families_by_kind
from connectors.domain.providers.zoho_mail.payloads import Folder, FolderKind, Message, read_row

MAIL = "mail.received"
"""Our name for the webhook's event: Zoho has none."""
FAMILY_OF: Mapping[SignalKind, str] = {
    SignalKind.EMAIL_RECEIVED: "received mail",
    SignalKind.EMAIL_SENT: "sent mail",
    SignalKind.EMAIL_READ: "changes of mail",
    SignalKind.EMAIL_UNREAD: "changes of mail",
    SignalKind.EMAIL_TRASHED: "changes of mail",
    SignalKind.EMAIL_MARKED_SPAM: "changes of mail",
}
KINDS = frozenset(FAMILY_OF)
FAMILIES = derive_families_by_kind(
    FAMILY_OF,
    Family(name="received mail"),
    Family(name="sent mail", is_pushed=False),
    # Changes are found by comparing recent mail between two reads, and only with the option.
    Family(name="changes of mail", is_pushed=False, is_read=False, is_backfilled=False),
    events={MAIL: SignalKind.EMAIL_RECEIVED},
)
ARRIVALS = {FolderKind.RECEIVED: SignalKind.EMAIL_RECEIVED, FolderKind.SENT: SignalKind.EMAIL_SENT}
REMOVALS = {
    FolderKind.TRASH: (SignalKind.EMAIL_TRASHED, "trashed"),
    FolderKind.SPAM: (SignalKind.EMAIL_MARKED_SPAM, "spam"),
}
NO_SUBJECT = "(no subject)"
CHANGES_OPTION = "track_changes"


def tracks_changes(app: ProviderApp) -> bool:
    """Whether the operator enabled the optional kinds."""
    return bool(app.options[CHANGES_OPTION])


def mailbox_of(connection: Connection) -> str:
    """The mailbox's address, or its id if no address is known."""
    return read_name(connection.account.metadata.get("email")) or connection.account.id


def known_folder(connection: Connection, folder_id: str | None) -> Folder | None:
    """The folder as it was last listed."""
    entry = read_object(connection.metadata.get("folders")).get(folder_id or "")
    data = read_object(entry)
    if folder_id is None or data.get("kind") not in set(FolderKind):
        return None
    return Folder(id=folder_id, name=read_name(data.get("name")) or folder_id, kind=FolderKind(data["kind"]))


def message_key(connection: Connection, message_id: str) -> str:
    """`zmail:{accountId}:{messageId}`. Without the folder, because mail moves, and without a time."""
    return f"zmail:{connection.account.id}:{message_id}"


def arrival(
    connection: Connection, message: Message, folder: Folder | None, document: Mapping[str, Any]
) -> SignalDraft | None:
    """The signal of a message in a folder; None if mail in that folder is not reported.

    Args:
        connection: whose mailbox.
        message: what was read.
        folder: None if only a webhook reported it; webhooks are sent only for incoming mail.
        document: Zoho's object, which becomes the payload.
    """
    kind = SignalKind.EMAIL_RECEIVED if folder is None else ARRIVALS.get(folder.kind)
    if kind is None:
        return None
    return _draft(connection, message, folder, kind, message_key(connection, message.id), document)


def _draft(
    connection: Connection,
    message: Message,
    folder: Folder | None,
    kind: SignalKind,
    key: str,
    document: Mapping[str, Any],
) -> SignalDraft:
    title = one_line(message.subject or NO_SUBJECT) or NO_SUBJECT
    mailbox = mailbox_of(connection)
    if kind is SignalKind.EMAIL_RECEIVED:
        sender = message.sender_address or one_line(message.sender_name)
        actor = Actor(sender, one_line(message.sender_name) or sender) if sender else None
    else:
        actor = Actor(mailbox, mailbox)
    if folder is not None:
        container = Container("folder", folder.id, folder.name)
    elif message.folder_id is not None:
        container = Container("folder", message.folder_id, message.folder_id)
    else:
        container = Container("mailbox", connection.account.id, mailbox)
    return SignalDraft(
        kind=kind,
        occurred_at=message.received_at,
        title=title,
        # Zoho documents no link to a message.
        url=None,
        actor=actor,
        subject=Subject("email", message.id, title),
        container=container,
        dedupe_key=key,
        payload=document,
    )


# --- changes, with the option ----------------------------------------------------------------------------------------


def observe(message: Message, folder: Folder, document: Mapping[str, Any]) -> Observation:
    """The observation of a message on a page."""
    state = {"document": dict(document), "folder": {"id": folder.id, "name": folder.name, "kind": folder.kind.value}}
    return Observation(key=f"message:{message.id}", state=state)


def interpret(
    ctx: SyncContext, window: Window, observation: Observation, previous: Mapping[str, Any] | None
) -> Interpretation:
    """What changed since the message was last seen. Rows have no times of changes, so they are dated by our read."""
    document = read_object(observation.state.get("document"))
    message = read_row(document)
    where = read_object(observation.state.get("folder"))
    folder_id, name = read_id(where.get("id")), read_name(where.get("name"))
    if isinstance(message, str) or folder_id is None or where.get("kind") not in set(FolderKind):
        return Interpretation(snapshot=previous)
    folder = Folder(id=folder_id, name=name or folder_id, kind=FolderKind(where["kind"]))
    snapshot = {"is_read": message.is_read, "folder_kind": folder.kind.value}
    if previous is None:
        return Interpretation(snapshot=snapshot)
    key = message_key(ctx.connection, message.id)
    changes: list[tuple[SignalKind, str]] = []
    if message.is_read is not None and previous.get("is_read") == (not message.is_read):
        kind = SignalKind.EMAIL_READ if message.is_read else SignalKind.EMAIL_UNREAD
        changes.append((kind, f"{key}:read:{int(message.is_read)}"))
    if folder.kind in REMOVALS and previous.get("folder_kind") != folder.kind.value:
        kind, suffix = REMOVALS[folder.kind]
        changes.append((kind, f"{key}:{suffix}"))
    drafts = [_draft(ctx.connection, message, folder, kind, identity, document) for kind, identity in changes]
    return Interpretation(
        signals=tuple(attrs.evolve(draft, occurred_at=window.high) for draft in drafts), snapshot=snapshot
    )
