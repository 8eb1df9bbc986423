"""The signals of reactions, members and channels. Those of messages are in `messages.py`.

Every dedupe key starts with `slack:` and the *connection's* workspace, also in channels shared with a partner: a
channel can become shared later, and its keys must not change then. (A tenant that has connected both sides of a shared
channel gets one signal from each.)
"""

from datetime import datetime

from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject
from connectors.domain.providers.slack.payloads import ChannelChange, Reaction, TeamJoin, UserInChannel, ts_instant
from connectors.domain.providers.slack.workspace import Outcome, Source, needed


def reaction_added(reaction: Reaction, source: Source) -> Outcome:
    """`reaction_added`."""
    return _reacted(SignalKind.REACTION_ADDED, reaction, source, "added to", "reaction")


def reaction_removed(reaction: Reaction, source: Source) -> Outcome:
    """`reaction_removed`."""
    return _reacted(SignalKind.REACTION_REMOVED, reaction, source, "removed from", "unreaction")


def _reacted(kind: SignalKind, reaction: Reaction, source: Source, verb: str, key: str) -> Outcome:
    if reaction.item_type != "message":
        return "not on a message"
    channel, ts = needed("item.channel", reaction.channel), needed("item.ts", reaction.ts)
    user, name = needed("user", reaction.user), needed("reaction", reaction.name)
    workspace = source.workspace
    url = workspace.message_url(channel, ts)
    return SignalDraft(
        kind=kind,
        occurred_at=ts_instant(source.at),
        title=f":{name}: {verb} a message",
        url=url,
        actor=workspace.actor(user),
        subject=Subject("message", ts, f":{name}:", url),
        container=workspace.container(channel),
        dedupe_key=workspace.key(channel, ts, key, name, user, source.at),
        payload=source.payload,
    )


def member_joined(event: UserInChannel, source: Source) -> SignalDraft:
    """`member_joined`, in a channel."""
    return _member(SignalKind.MEMBER_JOINED, event, source, "joined", "member")


def member_left(event: UserInChannel, source: Source) -> SignalDraft:
    """`member_left`."""
    return _member(SignalKind.MEMBER_LEFT, event, source, "left", "left")


def _member(kind: SignalKind, event: UserInChannel, source: Source, verb: str, key: str) -> SignalDraft:
    channel, user = needed("channel", event.channel), needed("user", event.user)
    workspace = source.workspace
    container, name = workspace.container(channel), workspace.people.get(user, user)
    return SignalDraft(
        kind=kind,
        occurred_at=ts_instant(source.at),
        title=f"{name} {verb} #{container.name}",
        url=container.url,
        actor=workspace.actor(user),
        subject=Subject("user", user, name),
        container=container,
        dedupe_key=workspace.key(channel, key, user, source.at),
        payload=source.payload,
    )


def team_joined(event: TeamJoin, source: Source) -> SignalDraft:
    """`member_joined`, in the workspace."""
    person, workspace = event.person, source.workspace
    if person is None:
        raise ValueError("no user.id")
    name = workspace.name or workspace.id
    return SignalDraft(
        kind=SignalKind.MEMBER_JOINED,
        occurred_at=ts_instant(source.at),
        title=f"{person.name} joined {name}",
        url=workspace.url,
        actor=Actor(person.id, person.name),
        subject=Subject("user", person.id, person.name),
        container=Container("workspace", workspace.id, name, workspace.url),
        dedupe_key=workspace.key("team", "member", person.id),
        payload=source.payload,
    )


def channel_created(change: ChannelChange, source: Source) -> SignalDraft:
    """`channel_created`. The list of channels shows the same object, and its items give the same signal.

    Raises:
        ValueError: the object has no id or no time.
    """
    channel = change.channel
    if channel.created is None:
        raise ValueError("no channel.created")
    # A channel is created once, so the key needs no time; reading does not have the event's.
    return _channel(
        SignalKind.CHANNEL_CREATED,
        "created",
        source,
        channel=needed("channel.id", channel.id),
        name=channel.name,
        actor=source.workspace.actor(channel.creator),
        occurred_at=channel.created,
    )


def channel_archived(event: UserInChannel, source: Source) -> SignalDraft:
    """`channel_archived`. Slack sends only the channel's id."""
    channel = needed("channel", event.channel)
    return _channel(
        SignalKind.CHANNEL_ARCHIVED,
        "archived",
        source,
        source.at,
        channel=channel,
        name=source.workspace.channels.get(channel),
        actor=source.workspace.actor(event.user),
        occurred_at=ts_instant(source.at),
    )


def channel_renamed(change: ChannelChange, source: Source) -> SignalDraft:
    """`channel_renamed`. Slack does not say who did it."""
    return _channel(
        SignalKind.CHANNEL_RENAMED,
        "renamed",
        source,
        source.at,
        channel=needed("channel.id", change.channel.id),
        name=change.channel.name,
        actor=None,
        occurred_at=ts_instant(source.at),
    )


def _channel(
    kind: SignalKind,
    verb: str,
    source: Source,
    *key: str,
    channel: str,
    name: str | None,
    actor: Actor | None,
    occurred_at: datetime,
) -> SignalDraft:
    """A signal whose subject and container are the channel. `key` follows the verb in the dedupe key."""
    shown, url = name or channel, source.workspace.channel_url(channel)
    return SignalDraft(
        kind=kind,
        occurred_at=occurred_at,
        title=f"#{shown} {verb}",
        url=url,
        actor=actor,
        subject=Subject("channel", channel, shown, url),
        container=Container("channel", channel, shown, url),
        dedupe_key=source.workspace.key("channel", channel, verb, *key),
        payload=source.payload,
    )
