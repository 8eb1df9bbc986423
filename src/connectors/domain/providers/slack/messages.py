"""The signals of messages: posted, replied, edited, deleted. Used for events and for items of the history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.signal import Actor, SignalDraft, SignalKind, Subject
from connectors.domain.providers.slack.payloads import Message, MessageChange, ts_instant
from connectors.domain.providers.slack.workspace import Outcome, Source, Workspace, needed, plain_text

OUR_BOTS = "our own bot's"


def posted(message: Message, source: Source) -> Outcome:
    """A message that somebody wrote, in a channel or in a thread."""
    if source.workspace.is_own(message):
        return OUR_BOTS
    ts, channel = needed("ts", message.ts), needed("channel", message.channel)
    return message_draft(
        SignalKind.MESSAGE_REPLIED if message.is_reply else SignalKind.MESSAGE_POSTED,
        message,
        source,
        occurred_at=ts_instant(ts),
        key=source.workspace.key(channel, ts, "posted"),
        actor=author(message, source.workspace),
    )


def edited(message: Message, source: Source) -> Outcome:
    """An edit, if a user changed the text. From `message_changed`, or from an item of the history."""
    if source.workspace.is_own(message):
        return OUR_BOTS
    ts, channel = needed("ts", message.ts), needed("channel", message.channel)
    edited_ts = needed("edited.ts", message.edited_ts)
    return message_draft(
        SignalKind.MESSAGE_EDITED,
        message,
        source,
        occurred_at=ts_instant(edited_ts),
        key=source.workspace.key(channel, ts, "edited", edited_ts),
        actor=source.workspace.actor(message.edited_by) or author(message, source.workspace),
    )


def changed(change: MessageChange, source: Source) -> Outcome:
    """An edit, or a deletion that left a tombstone.

    Slack also sends `message_changed` when no user did anything: unfurled links, thread counters, detected languages.
    """
    message, previous = change.message, change.previous
    if message.is_tombstone:
        return deleted(attrs.evolve(change, deleted_ts=message.ts), source)
    if not message.is_posted:
        # Notices are no signals; reading skips them in the history too.
        return "a notice, not a message"
    if message.edited_ts is None or message.edited_ts == previous.edited_ts:
        return "no user edited the message"
    return edited(message, source)


def deleted(change: MessageChange, source: Source) -> Outcome:
    """A deletion. Slack does not say who did it."""
    previous, workspace = change.previous, source.workspace
    if workspace.is_own(previous):
        return OUR_BOTS
    channel = needed("channel", previous.channel)
    ts = needed("deleted_ts", change.deleted_ts or previous.ts)
    text = plain_text(previous.text, workspace)
    url = workspace.message_url(channel, ts, previous.thread_ts)
    return SignalDraft(
        kind=SignalKind.MESSAGE_DELETED,
        occurred_at=ts_instant(source.at),
        title=f"Deleted: {text}" if text else "Message deleted",
        url=url,
        subject=Subject("message", ts, text or "Message", url),
        container=workspace.container(channel),
        dedupe_key=workspace.key(channel, ts, "deleted"),
        payload=source.payload,
    )


def signals_of_item(item: Mapping[str, Any], workspace: Workspace) -> tuple[SignalDraft, ...]:
    """The signals of one item of the history: that it was posted, and its last edit if there was one.

    Raises:
        ValueError: a field that a signal needs is missing.
    """
    message, source = Message.read(item), Source(payload=item, workspace=workspace)
    if not message.is_posted:
        return ()
    outcomes = [posted(message, source)]
    if message.edited_ts is not None:
        outcomes.append(edited(message, source))
    return tuple(outcome for outcome in outcomes if isinstance(outcome, SignalDraft))


def message_draft(
    kind: SignalKind, message: Message, source: Source, *, occurred_at: datetime, key: str, actor: Actor | None
) -> SignalDraft:
    """The common parts of posted, replied and edited messages."""
    ts, channel, workspace = needed("ts", message.ts), needed("channel", message.channel), source.workspace
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
        payload=source.payload,
    )


def author(message: Message, workspace: Workspace) -> Actor | None:
    """Who wrote it: a user, else the bot; None if Slack names neither."""
    return workspace.actor(message.user) or workspace.actor(message.bot_id, message.bot_name)
