"""What happened in a chat.

    message_sent, message_handler, a row of the REST API    message_posted
    mention_handler                                         message_posted, marked `mentioned`; see `webhooks`
    message_edited                                          message_edited
    message_deleted                                         message_deleted
    thread_closed, thread_reopened                          the same

    cliq:{data centre}:{chat}:{message}                     posted, by webhook and by reading alike
    …:edited:{time}                                         one per edit
    …:deleted
    cliq:{data centre}:{chat}:{user}:{time}                 if Cliq did not send a message id

The key has the data centre and not the organization: only webhooks name the organization, the REST API never does.
Chat ids are unique in a data centre.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from connectors.domain.model.connection import Connection
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.providers._zoho.data_centres import DATA_CENTRES, location_of
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.toolbox.foreign import millis_instant
from connectors.domain.providers.zoho_cliq.payloads import Person, Push, Row

FAMILY_OF: Mapping[SignalKind, str] = {
    SignalKind.MESSAGE_POSTED: "messages",
    SignalKind.MESSAGE_EDITED: "edits and deletions",
    SignalKind.MESSAGE_DELETED: "edits and deletions",
    SignalKind.THREAD_CLOSED: "threads",
    SignalKind.THREAD_REOPENED: "threads",
}
KINDS = frozenset(FAMILY_OF)
NO_TEXT = "(no text)"
ORGANIZATION = "organization_id"
"""Key in the connection's metadata for the organization, once a webhook has named it."""
BOT_OPTION = "bot_id"


def is_own_bot(app: ProviderApp | None, person: Person | None) -> bool:
    """Whether our own bot posted it. A message does not say that a bot posted it, so the operator sets the bot's id."""
    return app is not None and person is not None and not person.ids.isdisjoint(app.options[BOT_OPTION])


def chat_url(location: str, organization: str | None, chat_id: str) -> str | None:
    """A link to the chat. Cliq does not document its form, so it is made only here."""
    host = DATA_CENTRES[location].cliq
    if host is None or organization is None:
        return None
    return f"{host}/company/{quote(organization, safe='')}/chats/{quote(chat_id, safe='')}"


def stream_key(chat_id: str) -> str:
    """The key of the stream of a chat."""
    return f"chat:{chat_id}"


def message_key(connection: Connection, chat_id: str, message_id: str) -> str:
    """The dedupe key of a message, which is also the prefix of keys of its changes."""
    return f"cliq:{location_of(connection)}:{chat_id}:{message_id}"


def posted_row(
    connection: Connection, chat_id: str, chat_name: str | None, row: Row, document: Mapping[str, Any]
) -> SignalDraft:
    """The signal of a message that was read."""
    return _draft(
        connection,
        SignalKind.MESSAGE_POSTED,
        key=message_key(connection, chat_id, row.id),
        time=row.time,
        message_id=row.id,
        text=row.content.text,
        actor=row.sender,
        chat_id=chat_id,
        chat_name=chat_name,
        payload=document,
    )


SUFFIXED = {
    SignalKind.MESSAGE_EDITED: "edited:{time}",
    SignalKind.MESSAGE_DELETED: "deleted",
}


def pushed_message(
    connection: Connection,
    kind: SignalKind,
    push: Push,
    document: Mapping[str, Any],
    derived: Mapping[str, Any],
) -> SignalDraft | None:
    """The signal of a message from a webhook; None if chat or time is missing.

    Without a message id the key is made of chat, sender and time. The signal is then marked, because reading finds the
    same message under another key.
    """
    if push.chat_id is None or push.time is None:
        return None
    notes = dict(derived)
    if push.message_id is not None:
        key = message_key(connection, push.chat_id, push.message_id)
    else:
        sender = "unknown" if push.user is None else push.user.id
        key = f"cliq:{location_of(connection)}:{push.chat_id}:{sender}:{push.time}"
        notes["low_confidence"] = True
    if kind in SUFFIXED:
        key += ":" + SUFFIXED[kind].format(time=push.time)
    return _draft(
        connection,
        kind,
        key=key,
        time=push.time,
        message_id=push.message_id or str(push.time),
        text=push.content.text,
        actor=push.user,
        chat_id=push.chat_id,
        chat_name=push.chat_name,
        payload={**document, "derived": notes} if notes else document,
        organization=push.organization,
    )


def pushed_thread(
    connection: Connection, kind: SignalKind, push: Push, document: Mapping[str, Any]
) -> SignalDraft | None:
    """The signal of a thread that was closed or reopened; None if chat or time is missing."""
    thread = push.thread_id or push.chat_id
    if thread is None or push.time is None:
        return None
    chat = push.chat_id or thread
    location = location_of(connection)
    organization = push.organization or read_id(connection.metadata.get(ORGANIZATION))
    name = push.chat_name or chat
    url = chat_url(location, organization, chat)
    return SignalDraft(
        kind=kind,
        occurred_at=millis_instant(push.time),
        title=f"Thread {'closed' if kind is SignalKind.THREAD_CLOSED else 'reopened'} in {name}",
        url=url,
        actor=None if push.user is None else Actor(push.user.id, push.user.name),
        subject=Subject("thread", thread, name, url),
        container=Container("chat", chat, name, url),
        dedupe_key=f"cliq:{location}:{thread}:{kind.value}:{push.time}",
        payload=document,
    )


def _draft(
    connection: Connection,
    kind: SignalKind,
    *,
    key: str,
    time: int,
    message_id: str,
    text: str | None,
    actor: Person | None,
    chat_id: str,
    chat_name: str | None,
    payload: Mapping[str, Any],
    organization: str | None = None,
) -> SignalDraft:
    title = one_line(text or NO_TEXT) or NO_TEXT
    organization = organization or read_id(connection.metadata.get(ORGANIZATION))
    url = chat_url(location_of(connection), organization, chat_id)
    return SignalDraft(
        kind=kind,
        occurred_at=millis_instant(time),
        title=title,
        url=url,
        actor=None if actor is None else Actor(actor.id, actor.name),
        subject=Subject("message", message_id, title, url),
        container=Container("chat", chat_id, chat_name or chat_id, url),
        dedupe_key=key,
        payload=payload,
    )
