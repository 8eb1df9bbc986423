"""What Slack's events mean, one row per event. Families, kinds and bot events to subscribe to are derived from it.

Reading uses the same functions: they also make the signals of messages in `conversations.history` and of channels in
`conversations.list`, so push and reading cannot disagree.
Source: docs.slack.dev, "The Events API" and the event pages, which also name the scopes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import SignalDraft, SignalKind
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.contract import Family
from connectors.domain.providers.slack import messages, signals
from connectors.domain.providers.slack.payloads import (
    REPLY,
    ChannelChange,
    Message,
    MessageChange,
    Reaction,
    TeamJoin,
    UserInChannel,
    event_name,
    read_ts,
)
from connectors.domain.providers.slack.workspace import Outcome, Source, Workspace
from connectors.domain.providers.toolbox.rules import EventRule, Rules, derive_families, kinds_of, subscribed_events


class Payload(Protocol):
    """A class of events."""

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The fields of an inner event. Never raises; missing ones are None."""


P = TypeVar("P", bound=Payload)


def _on(
    payload: type[P],
    make: Callable[[P, Source], Outcome],
    family: str,
    *kinds: SignalKind,
    subscribed_as: tuple[str, ...] = (),
) -> EventRule[Any]:
    return EventRule(family=family, kinds=frozenset(kinds), payload=payload, make=make, subscribed_as=subscribed_as)


_K = SignalKind
_MESSAGES = ("message.channels", "message.groups")
"""Slack offers messages by the type of their channel, whatever their subtype."""
_POSTED = _on(Message, messages.posted, "messages", _K.MESSAGE_POSTED, subscribed_as=_MESSAGES)
"""The row of messages outside of threads, whatever their subtype."""

RULES: Rules = {
    "message": _POSTED,
    "message.file_share": _POSTED,
    "message.me_message": _POSTED,
    "message.bot_message": _POSTED,
    # Not subscribed to by its own name: the message that it repeats comes anyway, and it needs another scope. An app
    # that is subscribed to it gets the same signals with the same keys.
    "app_mention": _POSTED,
    REPLY: _on(Message, messages.posted, "replies", _K.MESSAGE_REPLIED, subscribed_as=_MESSAGES),
    "message.message_changed": _on(
        MessageChange,
        messages.changed,
        "message_changes",
        _K.MESSAGE_EDITED,
        _K.MESSAGE_DELETED,  # of the parent of a thread, which a tombstone replaces
        subscribed_as=_MESSAGES,
    ),
    "message.message_deleted": _on(
        MessageChange, messages.deleted, "message_changes", _K.MESSAGE_DELETED, subscribed_as=_MESSAGES
    ),
    "reaction_added": _on(Reaction, signals.reaction_added, "reactions", _K.REACTION_ADDED),
    "reaction_removed": _on(Reaction, signals.reaction_removed, "reactions", _K.REACTION_REMOVED),
    "member_joined_channel": _on(UserInChannel, signals.member_joined, "members", _K.MEMBER_JOINED),
    "member_left_channel": _on(UserInChannel, signals.member_left, "members", _K.MEMBER_LEFT),
    "team_join": _on(TeamJoin, signals.team_joined, "members", _K.MEMBER_JOINED),
    "channel_created": _on(ChannelChange, signals.channel_created, "channels", _K.CHANNEL_CREATED),
    "channel_archive": _on(UserInChannel, signals.channel_archived, "channels", _K.CHANNEL_ARCHIVED),
    "channel_rename": _on(ChannelChange, signals.channel_renamed, "channels", _K.CHANNEL_RENAMED),
}
"""Every event that becomes a signal, by `payloads.event_name`. Any other is ignored, never an error."""


def _pushed_only(name: str) -> Family:
    return Family(name=name, is_read=False, is_backfilled=False)


FAMILIES = derive_families(
    RULES,
    # Before `messages`, which has `message` and so all subtypes not named elsewhere: the first match counts.
    _pushed_only("replies"),
    _pushed_only("message_changes"),
    Family(name="messages"),
    _pushed_only("reactions"),
    _pushed_only("members"),
    _pushed_only("channels"),
)
"""Webhooks report all of them; README.md, "Events, and which path shows them", says what reading shows."""

KINDS = kinds_of(RULES)

TOKENS_REVOKED = "tokens_revoked"
LIFECYCLE_EVENTS = ("app_uninstalled", TOKENS_REVOKED)
"""These end connections and do not become signals."""

BOT_EVENTS = (*subscribed_events(RULES), *LIFECYCLE_EVENTS)
"""The bot events that an operator subscribes the app to."""

EVENT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "member_joined_channel": ("channels:read", "groups:read"),
    "member_left_channel": ("channels:read", "groups:read"),
    "team_join": ("users:read",),
    "channel_created": ("channels:read",),
    "channel_archive": ("channels:read",),
    "channel_rename": ("channels:read",),
    "app_uninstalled": (),
    "tokens_revoked": (),
}
"""The bot scopes that a bot event needs. Of two, the first is for public channels, the second for private ones."""

IGNORED_ON_PURPOSE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("message.channel_join", "message.channel_leave", "message.channel_name"),
            *("message.channel_archive", "message.channel_unarchive"),
            *("message.group_join", "message.group_leave", "message.group_name"),
            *("message.group_archive", "message.group_unarchive"),
            *("message.pinned_item", "message.unpinned_item"),
            *("message.bot_add", "message.bot_remove", "message.message_replied"),
        ),
        "repeats another event",
    ),
    **dict.fromkeys(
        ("message.channel_topic", "message.channel_purpose", "message.group_topic", "message.group_purpose"),
        "a channel's topic or purpose",
    ),
    "message.reminder_add": "a private reminder",
    "message.ekm_access_denied": "the customer's key does not open the text",
    "message.tombstone": "the remains of a deleted message",
}
"""Why these are left out. Events neither here nor in the table are "not tracked"."""


def read_signal(event: Mapping[str, Any], workspace: Workspace, fallback_ts: str | None) -> SignalDraft | Ignored:
    """The signal in an inner event, or why there is none.

    Args:
        event: the `event` of an envelope.
        workspace: the connection's.
        fallback_ts: used if the event has no `event_ts` (the envelope's `event_time`).

    Raises:
        UnexpectedResponseError: the event is in the table and lacks a field that its signal needs.
    """
    name = event_name(event)
    rule = RULES.get(name)
    if rule is None:
        return Ignored(name, IGNORED_ON_PURPOSE.get(name, "not tracked"))
    source = Source(payload=event, workspace=workspace, event_ts=read_ts(event.get("event_ts")) or fallback_ts)
    try:
        outcome: Outcome = rule.make(rule.payload.read(event), source)
    except ValueError as error:
        raise UnexpectedResponseError(f"Slack's {name} event: {error}") from error
    return Ignored(name, outcome) if isinstance(outcome, str) else outcome
