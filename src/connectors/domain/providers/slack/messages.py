"""Messages: posted, replied, edited, deleted. The rules for both paths: events, and items of the history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.domain.model.signal import Actor, SignalDraft, SignalKind, Subject
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.slack.payloads import (
    TOMBSTONE,
    Message,
    read_message,
    read_object,
    read_ts,
    ts_instant,
)
from connectors.domain.providers.slack.workspace import Workspace, event_ts, needed, plain_text

POSTED_SUBTYPES = frozenset({None, "file_share", "me_message", "thread_broadcast", "bot_message"})
"""Messages that somebody wrote. Other subtypes are notices that repeat an event of their own, or are not known."""
REPEATS_ANOTHER_EVENT = frozenset(
    {
        "channel_join",
        "channel_leave",
        "channel_topic",
        "channel_purpose",
        "channel_name",
        "channel_archive",
        "channel_unarchive",
        "pinned_item",
        "unpinned_item",
        "bot_add",
        "bot_remove",
        "reminder_add",
        "message_replied",
        "ekm_access_denied",
        TOMBSTONE,
    }
)
"""On purpose; `group_*` as well."""


def read_message_event(
    event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None
) -> SignalDraft | Ignored:
    """`message` of any subtype, and `app_mention`, which repeats one."""
    message = read_message(event)
    if message.subtype in POSTED_SUBTYPES:
        return posted(event, message, workspace)
    if message.subtype == "message_changed":
        return changed(event, workspace, fallback_ts)
    if message.subtype == "message_deleted":
        return deleted(event, workspace, fallback_ts)
    subtype = str(message.subtype)
    repeats = subtype in REPEATS_ANOTHER_EVENT or subtype.startswith("group_")
    return Ignored(f"message.{subtype}", "repeats another event" if repeats else "not tracked")


def posted(event: Mapping[str, Any], message: Message, workspace: Workspace) -> SignalDraft | Ignored:
    """A message that somebody wrote, in a channel or in a thread of it."""
    if workspace.is_own(message):
        return Ignored("message", "our own bot's")
    ts, channel = needed("ts", message.ts), needed("channel", message.channel)
    kind = SignalKind.MESSAGE_REPLIED if message.is_reply else SignalKind.MESSAGE_POSTED
    return message_draft(
        kind,
        message,
        workspace,
        occurred_at=ts_instant(ts),
        key=workspace.key(channel, ts, "posted"),
        payload=event,
        actor=author(message, workspace),
    )


def read_item(item: Mapping[str, Any], workspace: Workspace) -> tuple[SignalDraft, ...]:
    """What one item of the history says: that it was posted, and its last edit if there was one.

    Raises:
        ValueError: it lacks what its row needs.
    """
    message = read_message(item)
    if message.subtype not in POSTED_SUBTYPES:
        return ()
    readings = [posted(item, message, workspace)]
    if message.edited_ts is not None:
        readings.append(edited(item, message, workspace))
    return tuple(reading for reading in readings if isinstance(reading, SignalDraft))


def edited(payload: Mapping[str, Any], message: Message, workspace: Workspace) -> SignalDraft | Ignored:
    """A message's present text, when a user changed it. Both paths: `message_changed` and an item of the history."""
    if workspace.is_own(message):
        return Ignored("message.message_changed", "our own bot's")
    ts, channel = needed("ts", message.ts), needed("channel", message.channel)
    edited_ts = needed("edited.ts", message.edited_ts)
    return message_draft(
        SignalKind.MESSAGE_EDITED,
        message,
        workspace,
        occurred_at=ts_instant(edited_ts),
        key=workspace.key(channel, ts, "edited", edited_ts),
        payload=payload,
        actor=workspace.actor(message.edited_by) or author(message, workspace),
    )


def changed(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft | Ignored:
    """`message_changed` also fires without any user's doing: unfurled links, thread counters, detected languages."""
    message = read_message(read_object(event.get("message")), event.get("channel"))
    if message.is_tombstone:
        gone = {**event, "deleted_ts": message.ts, "previous_message": event.get("previous_message")}
        return deleted(gone, workspace, fallback_ts)
    if message.subtype not in POSTED_SUBTYPES:
        # A notice that was never a signal; the history's items of its kind are passed over too.
        return Ignored("message.message_changed", "a notice, not a message")
    previous = read_message(read_object(event.get("previous_message")))
    if message.edited_ts is None or message.edited_ts == previous.edited_ts:
        return Ignored("message.message_changed", "no user edited the message")
    return edited(event, message, workspace)


def deleted(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft | Ignored:
    """`message_deleted` does not say who did it."""
    previous = read_message(read_object(event.get("previous_message")), event.get("channel"))
    if workspace.is_own(previous):
        return Ignored("message.message_deleted", "our own bot's")
    channel = needed("channel", previous.channel)
    ts = needed("deleted_ts", read_ts(event.get("deleted_ts")) or previous.ts)
    text = plain_text(previous.text, workspace)
    return SignalDraft(
        kind=SignalKind.MESSAGE_DELETED,
        occurred_at=ts_instant(event_ts(event, fallback_ts)),
        title=f"Deleted: {text}" if text else "Message deleted",
        url=workspace.message_url(channel, ts, previous.thread_ts),
        subject=Subject("message", ts, text or "Message", workspace.message_url(channel, ts, previous.thread_ts)),
        container=workspace.container(channel),
        dedupe_key=workspace.key(channel, ts, "deleted"),
        payload=event,
    )


def message_draft(
    kind: SignalKind,
    message: Message,
    workspace: Workspace,
    *,
    occurred_at: datetime,
    key: str,
    payload: Mapping[str, Any],
    actor: Actor | None,
) -> SignalDraft:
    """What posted, replied and edited messages have in common."""
    ts, channel = needed("ts", message.ts), needed("channel", message.channel)
    url = workspace.message_url(channel, ts, message.thread_ts)
    title = plain_text(message.text, workspace) or "Message"
    return SignalDraft(
        kind=kind,
        occurred_at=occurred_at,
        title=title,
        url=url,
        actor=actor,
        subject=Subject("message", ts, title, url),
        container=workspace.container(channel),
        dedupe_key=key,
        payload=payload,
    )


def author(message: Message, workspace: Workspace) -> Actor | None:
    """Who wrote it: a user, else the bot, else nobody that Slack names."""
    return workspace.actor(message.user) or workspace.actor(message.bot_id, message.bot_name)
