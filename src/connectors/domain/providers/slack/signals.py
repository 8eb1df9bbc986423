"""What a Slack event means: the table event → kind, what is ignored on purpose, and the dedupe keys.

A message of `conversations.history` becomes an event by adding its channel, and then goes through the same rules: push
and sync cannot disagree. Every key starts with `slack:` and the *connection's* workspace, also in channels shared with
a partner: a channel can become shared later, and its keys must not change then. (A tenant that has connected both
sides of a shared channel gets one signal from each.)
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.slack.messages import read_message_event
from connectors.domain.providers.slack.payloads import (
    NAME_LIMIT,
    read_channel,
    read_id,
    read_object,
    read_person,
    read_text,
    read_ts,
    ts_instant,
)
from connectors.domain.providers.slack.workspace import Workspace, event_ts, needed

Rule = Callable[[Mapping[str, Any], Workspace, str | None], SignalDraft | Ignored]


def read_signal(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft | Ignored:
    """The signal in an inner event, or why there is none.

    Args:
        event: the `event` of an envelope, or a message of the history with its channel.
        workspace: the connection's.
        fallback_ts: stands in where the event carries no `event_ts` (the envelope's `event_time`).

    Raises:
        UnexpectedResponseError: a row of the table without what it needs.
    """
    kind = read_text(event.get("type"), 80) or "unknown"
    rule = RULES.get(kind)
    if rule is None:
        return Ignored(kind)
    try:
        return rule(event, workspace, fallback_ts)
    except ValueError as error:
        raise UnexpectedResponseError(f"Slack's {kind} event: {error}") from error


def read_reaction(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft | Ignored:
    """`reaction_added` and `reaction_removed`, on messages only."""
    added = event.get("type") == "reaction_added"
    item = read_object(event.get("item"))
    if item.get("type") != "message":
        return Ignored(str(event["type"]), "not on a message")
    channel, ts = needed("item.channel", read_id(item.get("channel"))), needed("item.ts", read_ts(item.get("ts")))
    user = needed("user", read_id(event.get("user")))
    reaction = needed("reaction", read_text(event.get("reaction"), NAME_LIMIT))
    at = event_ts(event, fallback_ts)
    url = workspace.message_url(channel, ts)
    return SignalDraft(
        kind=SignalKind.REACTION_ADDED if added else SignalKind.REACTION_REMOVED,
        occurred_at=ts_instant(at),
        title=f":{reaction}: {'added to' if added else 'removed from'} a message",
        url=url,
        actor=workspace.actor(user),
        subject=Subject("message", ts, f":{reaction}:", url),
        container=workspace.container(channel),
        dedupe_key=workspace.key(channel, ts, "reaction" if added else "unreaction", reaction, user, at),
        payload=event,
    )


def read_membership(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft:
    """`member_joined_channel` and `member_left_channel`."""
    joined = event.get("type") == "member_joined_channel"
    channel, user = needed("channel", read_id(event.get("channel"))), needed("user", read_id(event.get("user")))
    at = event_ts(event, fallback_ts)
    container = workspace.container(channel)
    name = workspace.people.get(user, user)
    return SignalDraft(
        kind=SignalKind.MEMBER_JOINED if joined else SignalKind.MEMBER_LEFT,
        occurred_at=ts_instant(at),
        title=f"{name} {'joined' if joined else 'left'} #{container.name}",
        url=container.url,
        actor=workspace.actor(user),
        subject=Subject("user", user, name),
        container=container,
        dedupe_key=workspace.key(channel, "member" if joined else "left", user, at),
        payload=event,
    )


def read_channel_created(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft:
    """`channel_created`; the listing of channels shows the same object and gives the same signal."""
    del fallback_ts
    return channel_created(event, read_object(event.get("channel")), workspace)


def channel_created(payload: Mapping[str, Any], document: Mapping[str, Any], workspace: Workspace) -> SignalDraft:
    """The signal of a channel's making.

    Raises:
        ValueError: the object has no id or no time.
    """
    channel = read_channel(document)
    identifier = needed("channel.id", channel.id)
    if channel.created is None:
        raise ValueError("no channel.created")
    return channel_draft(
        SignalKind.CHANNEL_CREATED,
        workspace,
        identifier,
        channel.name,
        occurred_at=channel.created,
        verb="created",
        actor=workspace.actor(channel.creator),
        key=workspace.key("channel", identifier, "created"),
        payload=payload,
    )


def read_channel_archive(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft:
    """`channel_archive`, where the channel is only an id."""
    channel, at = needed("channel", read_id(event.get("channel"))), event_ts(event, fallback_ts)
    return channel_draft(
        SignalKind.CHANNEL_ARCHIVED,
        workspace,
        channel,
        workspace.channels.get(channel),
        occurred_at=ts_instant(at),
        verb="archived",
        actor=workspace.actor(read_id(event.get("user"))),
        key=workspace.key("channel", channel, "archived", at),
        payload=event,
    )


def read_channel_rename(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft:
    """`channel_rename`, which names nobody as its doer."""
    channel, at = read_channel(read_object(event.get("channel"))), event_ts(event, fallback_ts)
    identifier = needed("channel.id", channel.id)
    return channel_draft(
        SignalKind.CHANNEL_RENAMED,
        workspace,
        identifier,
        channel.name,
        occurred_at=ts_instant(at),
        verb="renamed",
        actor=None,
        key=workspace.key("channel", identifier, "renamed", at),
        payload=event,
    )


def channel_draft(
    kind: SignalKind,
    workspace: Workspace,
    channel: str,
    name: str | None,
    *,
    occurred_at: datetime,
    verb: str,
    actor: Actor | None,
    key: str,
    payload: Mapping[str, Any],
) -> SignalDraft:
    """What happens to a channel has the channel as its subject, and happens in it."""
    shown, url = name or channel, workspace.channel_url(channel)
    return SignalDraft(
        kind=kind,
        occurred_at=occurred_at,
        title=f"#{shown} {verb}",
        url=url,
        actor=actor,
        subject=Subject("channel", channel, shown, url),
        container=Container("channel", channel, shown, url),
        dedupe_key=key,
        payload=payload,
    )


def read_team_join(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft:
    """`team_join`: somebody new in the workspace; `user` is an object here."""
    person = read_person(read_object(event.get("user")))
    if person is None:
        raise ValueError("no user.id")
    name = workspace.name or workspace.id
    return SignalDraft(
        kind=SignalKind.MEMBER_JOINED,
        occurred_at=ts_instant(event_ts(event, fallback_ts)),
        title=f"{person.name} joined {name}",
        url=workspace.url,
        actor=Actor(person.id, person.name),
        subject=Subject("user", person.id, person.name),
        container=Container("workspace", workspace.id, name, workspace.url),
        dedupe_key=workspace.key("team", "member", person.id),
        payload=event,
    )


RULES: Mapping[str, Rule] = {
    "message": read_message_event,
    "app_mention": read_message_event,
    "reaction_added": read_reaction,
    "reaction_removed": read_reaction,
    "member_joined_channel": read_membership,
    "member_left_channel": read_membership,
    "channel_created": read_channel_created,
    "channel_archive": read_channel_archive,
    "channel_rename": read_channel_rename,
    "team_join": read_team_join,
}
"""Every event that becomes a signal; any other is ignored, never an error."""

KINDS = frozenset(
    {
        SignalKind.MESSAGE_POSTED,
        SignalKind.MESSAGE_REPLIED,
        SignalKind.MESSAGE_EDITED,
        SignalKind.MESSAGE_DELETED,
        SignalKind.REACTION_ADDED,
        SignalKind.REACTION_REMOVED,
        SignalKind.MEMBER_JOINED,
        SignalKind.MEMBER_LEFT,
        SignalKind.CHANNEL_CREATED,
        SignalKind.CHANNEL_ARCHIVED,
        SignalKind.CHANNEL_RENAMED,
    }
)
