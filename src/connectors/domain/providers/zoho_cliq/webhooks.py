"""Webhooks from Cliq's bots. There is no subscription: a bot's handlers call us, only for chats that the bot is in.

Cliq posts the answer to a webhook in the chat as the bot's reply, so the answer is always `{}`. Cliq repeats nothing,
so reading finds what was lost; edits and deletions, which reading cannot see, come only by webhook.

If Cliq does not send a message's id, the message is read through the API, if the connection reads that chat; otherwise
the signal gets a key of its own.
Source: zoho.com/cliq/help/platform/bot-participation-handler, platform/bothandlers.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import SignalDraft, SignalKind
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookEvent, WebhookReply
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.contract import Family, ReadContext, SubscriptionScope, Webhooks
from connectors.domain.providers.toolbox.foreign import read_each, read_object
from connectors.domain.providers.toolbox.rules import derive_families_by_kind
from connectors.domain.providers.zoho_cliq.oauth import MESSAGES_SCOPE
from connectors.domain.providers.zoho_cliq.payloads import MESSAGE_HANDLERS, Push, read_push, read_time
from connectors.domain.providers.zoho_cliq.signals import (
    FAMILY_OF,
    ORGANIZATION,
    is_own_bot,
    pushed_message,
    pushed_thread,
    stream_key,
)
from connectors.domain.providers.zoho_cliq.verification import (
    AUTHORIZATION_HEADER,
    SIGNATURE_HEADER,
    TOKEN_HEADER,
    verify,
)

REPLY = WebhookReply(body=b"{}")
"""Any other answer might be posted to the chat."""

CHATS = "chats"
"""Key in the connection's metadata for the chats that reading covers, with their names."""
BOT_CHATS = "bot_chats"
"""Key in the connection's metadata for the chats that the bot was added to."""
BOT_CHATS_KEPT = 1000

OPERATIONS: Mapping[str, SignalKind] = {
    "message_sent": SignalKind.MESSAGE_POSTED,
    "message_edited": SignalKind.MESSAGE_EDITED,
    "message_deleted": SignalKind.MESSAGE_DELETED,
    "thread_closed": SignalKind.THREAD_CLOSED,
    "thread_reopened": SignalKind.THREAD_REOPENED,
}
THREADS = frozenset({SignalKind.THREAD_CLOSED, SignalKind.THREAD_REOPENED})
MEMBERSHIP = frozenset({"added", "removed"})
"""Operations about the bot's membership in chats."""
IGNORED_OPERATIONS = frozenset({"auto_followed_thread", "added_in_thread", "removed_from_thread"})
IGNORED_HANDLERS = frozenset(
    {
        *("welcome_handler", "context_handler", "incomingwebhook_handler", "action_handler", "alert_handler"),
        *("menu_handler", "call_handler", "voice_alert_handler"),
    }
)
MENTION = "mention_handler"

PARTICIPATION = "participation_handler"


def events_of(*operations: str) -> frozenset[str]:
    """These operations as in `Push.event`: with their handler, or alone in the legacy form."""
    return frozenset(operations) | {f"{PARTICIPATION}.{operation}" for operation in operations}


EVENTS: Mapping[str, SignalKind] = {
    **{event: kind for operation, kind in OPERATIONS.items() for event in events_of(operation)},
    **dict.fromkeys(MESSAGE_HANDLERS, SignalKind.MESSAGE_POSTED),
}
"""`Push.event` → its kind, for all that become signals."""

FAMILIES = derive_families_by_kind(
    FAMILY_OF,
    # A bot gets events only of chats that it is in, and Cliq repeats nothing: push proves nothing complete.
    Family(name="messages", events=events_of(*MEMBERSHIP)),
    Family(name="edits and deletions", is_read=False, is_backfilled=False),
    Family(name="threads", is_read=False, is_backfilled=False),
    events=EVENTS,
)

_SETUP = """\
Cliq has no subscriptions: a bot forwards the events of its chats. Do A or B for each connection. Its URL is printed by
`connectors webhooks url --tenant <tenant> <connection>` (POST /connections/<connection>/webhook-url): {webhook_url} and
a key, without which a secret or a public key that is set for all connections is not enough.
A. A script of your own. Make a secret with `connectors webhooks secret --tenant <tenant> <connection>`, or set one for
   all connections, POBLYSH_ZOHO_CLIQ_WEBHOOK_SECRET. In Cliq create a bot, and put this into its participation handler:
     payload = {"handler":"participation_handler","operation":operation,"data":data,"chat":chat,"user":user,
       "access":access,"time":zoho.currenttime.toLong()};
   and this into each of its other handlers of messages (<handlers>), with that handler's name:
     payload = {"handler":"<handler>","message":message,"chat":chat,"user":user,
       "access":access,"time":zoho.currenttime.toLong()};
   and after it, in each of them:
     response = invokeurl [ url: "<the URL>" type: POST body: payload.toString()
       headers: {"Content-Type":"application/json","X-Webhook-Token":"<the secret>"} ];
B. A webhook bot. Create a bot with the execution type Webhook and that URL as its execution URL, with its
   handlers participation_handler, <handlers>; copy the public key that Cliq shows into POBLYSH_ZOHO_CLIQ_PUBLIC_KEY;
   restart.
Then add the bot to the channels that it should watch, with the permission to listen to messages. Direct messages
between people are never pushed.
Set POBLYSH_ZOHO_CLIQ_BOT_ID to the bot's id to leave its own messages out."""
MANUAL_SETUP = _SETUP.replace("<handlers>", ", ".join(sorted(MESSAGE_HANDLERS)))


def read_event(delivery: VerifiedDelivery, context: ReadContext) -> WebhookEvent | Ignored:
    """The event; `to_signals` adds the signals for each connection.

    Raises:
        UnexpectedResponseError: not JSON, no handler and no operation, or a message without chat or time.
    """
    document = delivery.document
    push = read_push(document)
    if push.handler in IGNORED_HANDLERS:
        return Ignored(push.event, "not tracked", reply=REPLY)
    if push.operation is None and push.handler not in MESSAGE_HANDLERS:
        raise UnexpectedResponseError("Cliq's payload is not as documented: it names no operation.")
    found = WebhookEvent(event=push.event, reply=REPLY)
    if push.operation in MEMBERSHIP:
        return found
    if push.operation in IGNORED_OPERATIONS:
        return Ignored(push.event, "not tracked", reply=REPLY)
    kind = kind_of(push)
    if kind is None:
        return Ignored(push.event, "unknown", reply=REPLY)
    if is_own_bot(context.app, push.user):
        return Ignored(push.event, "our own bot's", reply=REPLY)
    if kind not in THREADS and not push.content.is_message:
        return Ignored(push.event, "a service message", reply=REPLY)
    if push.chat_id is None and (kind not in THREADS or push.thread_id is None):
        raise UnexpectedResponseError("Cliq's payload is not as documented: it names no chat.")
    if timed(push).time is None:
        raise UnexpectedResponseError("Cliq's payload is not as documented: it says no time.")
    return found


def kind_of(push: Push) -> SignalKind | None:
    """The kind of an operation, or of a handler without one."""
    if push.operation is not None:
        return OPERATIONS.get(push.operation)
    return SignalKind.MESSAGE_POSTED if push.handler in MESSAGE_HANDLERS else None


def timed(push: Push) -> Push:
    """The push with a time, taken from the message's id if necessary."""
    if push.time is not None or push.message_id is None:
        return push
    return attrs.evolve(push, time=read_time(push.message_id.partition("_")[0]))


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event completed for one connection."""
    document = delivery.document
    push = timed(read_push(document))
    if push.operation in MEMBERSHIP:
        return attrs.evolve(event, connection_metadata=membership(push, connection))
    if push.organization is not None and connection.metadata.get(ORGANIZATION) != push.organization:
        event = attrs.evolve(event, connection_metadata={ORGANIZATION: push.organization})
    kind = kind_of(push)
    if kind is None:
        return event
    if kind in THREADS:
        return with_signal(event, pushed_thread(connection, kind, push, document))
    is_mention = push.handler == MENTION
    if kind is SignalKind.MESSAGE_POSTED and push.message_id is None:
        if push.chat_id is not None and is_read_anyway(connection, push.chat_id):
            return attrs.evolve(event, needs_sync=True, sync_target=stream_key(push.chat_id))
        if is_mention and push.chat_id in read_bot_chats(connection):
            return event  # the participation handler reports the same message
    derived = {"mentioned": True} if is_mention else {}
    return with_signal(event, pushed_message(connection, kind, push, document, derived))


def with_signal(event: WebhookEvent, draft: SignalDraft | None) -> WebhookEvent:
    """The event with its signal, if it has one."""
    return event if draft is None else attrs.evolve(event, signals=(draft,))


def is_read_anyway(connection: Connection, chat_id: str) -> bool:
    """Whether this chat is read, so that the next read finds the message."""
    may_read = not connection.scopes or MESSAGES_SCOPE in connection.scopes
    return may_read and chat_id in read_object(connection.metadata.get(CHATS))


def read_bot_chats(connection: Connection) -> list[str]:
    """The chats that the bot was added to."""
    return read_each(connection.metadata.get(BOT_CHATS), read_id)


def membership(push: Push, connection: Connection) -> dict[str, Any]:
    """The bot's chats after it was added to one or removed."""
    if push.chat_id is None:
        return {}
    others = [chat_id for chat_id in read_bot_chats(connection) if chat_id != push.chat_id]
    return {BOT_CHATS: ([*others, push.chat_id] if push.operation == "added" else others)[-BOT_CHATS_KEPT:]}


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.CONNECTION,
    manual_secret_scope=SubscriptionScope.CONNECTION,
    verify=verify,
    read_event=read_event,
    to_signals=to_signals,
    manual_setup=MANUAL_SETUP,
    success_status=200,
    secret_headers=frozenset({SIGNATURE_HEADER, TOKEN_HEADER, AUTHORIZATION_HEADER}),
)
