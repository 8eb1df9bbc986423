"""The fields of Slack's payloads that we read, and no others. All of it is foreign data.

A reader returns None (or an empty value) for what is missing; the function that needs the field decides if that is
an error. The rows of `events.RULES` read their events as the classes with `read`.
Source: docs.slack.dev, "The Events API", the event pages, `conversations.history`, `conversations.list`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from connectors.domain.providers.toolbox.foreign import id_reader, read_list, read_object, read_text

TEXT_LIMIT = 40_000
"""Characters. Slack cuts a message's text there; only its first line is shown."""
NAME_LIMIT = 300
"""Characters. Slack's own names have 80 at the most."""
read_id = id_reader(64, characters=r"A-Za-z0-9_.\-")
"""Slack's ids (of users, channels, teams, events) are 9 to 11 capitals and digits. A few more characters are allowed,
but none that could break a key or a URL."""
TS = re.compile(r"(?P<seconds>[0-9]{1,11})(?:\.(?P<fraction>[0-9]{1,6}))?", re.ASCII)
TYPE_LIMIT = 80
"""Characters of a type or subtype. Slack's longest have about 30."""
REPLY = "message.reply"
"""Our name for a message in a thread, of any subtype. Slack has none. We need one because reading finds every other
message, but not every reply."""
POSTED_SUBTYPES = frozenset({None, "file_share", "me_message", "thread_broadcast", "bot_message"})
"""Messages that somebody wrote. Other subtypes say what happened to a message, or are notices."""
TOMBSTONE = "tombstone"
"""The subtype that replaces a deleted parent of a thread. Not confirmed; only used through this name."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_ts(value: Any) -> str | None:
    """A `ts`, kept as text: it identifies a message, and a float would lose its last digits."""
    return value if isinstance(value, str) and TS.fullmatch(value) else None


def ts_instant(ts: str) -> datetime:
    """The instant in a `ts`, exact to the microsecond.

    Raises:
        ValueError: not a `ts`, or after the year 9999.
    """
    match = TS.fullmatch(ts)
    if match is None:
        raise ValueError("not a Slack ts")
    fraction = (match["fraction"] or "").ljust(6, "0")
    try:
        return EPOCH + timedelta(seconds=int(match["seconds"]), microseconds=int(fraction))
    except OverflowError as error:
        raise ValueError("a Slack ts after the year 9999") from error


def instant_ts(at: datetime) -> str:
    """The instant in the form of `oldest` and `latest`: seconds with six decimals."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def read_epoch(value: Any) -> datetime | None:
    """The instant of whole epoch seconds; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return EPOCH + timedelta(seconds=value)
    except (OverflowError, ValueError):
        return None


def read_workspace_url(value: Any) -> str | None:
    """`https://acme.slack.com/` with the slash; None if it is no web address."""
    text = read_text(value, 2000)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    if parts.scheme not in {"https", "http"} or not parts.netloc or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def event_name(event: Mapping[str, Any]) -> str:
    """The name of an inner event in `events.RULES`: its type, with the subtype for messages.

    A message in a thread is `message.reply`, whatever its subtype. `app_mention` has the subtypes of the message that
    it repeats, and their names.
    """
    event_type = read_text(event.get("type"), TYPE_LIMIT) or "unknown"
    if event_type not in {"message", "app_mention"}:
        return event_type
    subtype = read_text(event.get("subtype"), TYPE_LIMIT)
    if subtype in POSTED_SUBTYPES and is_reply(subtype, read_ts(event.get("ts")), read_ts(event.get("thread_ts"))):
        return REPLY
    return f"message.{subtype}" if subtype else event_type


def is_reply(subtype: str | None, ts: str | None, thread_ts: str | None) -> bool:
    """Whether a message is in a thread and did not start it. A broadcast is a reply that the channel shows too."""
    return subtype == "thread_broadcast" or thread_ts not in {None, ts}


@attrs.frozen(kw_only=True)
class Message:
    """One message, as an event's `event` or `event.message`, or as an item of `conversations.history`."""

    ts: str | None
    channel: str | None
    subtype: str | None
    user: str | None
    bot_id: str | None
    bot_name: str | None
    text: str | None = attrs.field(repr=False)
    thread_ts: str | None
    edited_ts: str | None
    edited_by: str | None
    reply_count: int
    latest_reply: str | None

    @classmethod
    def read(cls, document: Mapping[str, Any], channel: Any = None) -> Self:
        """The message in a JSON object; `channel` is used if the object does not name its channel."""
        edited = read_object(document.get("edited"))
        count = document.get("reply_count")
        return cls(
            ts=read_ts(document.get("ts")),
            channel=read_id(document.get("channel")) or read_id(channel),
            subtype=read_text(document.get("subtype"), TYPE_LIMIT),
            user=read_id(document.get("user")),
            bot_id=read_id(document.get("bot_id")),
            bot_name=read_bot_name(document),
            text=read_message_text(document),
            thread_ts=read_ts(document.get("thread_ts")),
            edited_ts=read_ts(edited.get("ts")),
            edited_by=read_id(edited.get("user")),
            reply_count=count if isinstance(count, int) else 0,
            latest_reply=read_ts(document.get("latest_reply")),
        )

    @property
    def is_reply(self) -> bool:
        """Whether it is in a thread and did not start it."""
        return is_reply(self.subtype, self.ts, self.thread_ts)

    @property
    def is_posted(self) -> bool:
        """Whether somebody wrote it; if not, it is a notice from Slack."""
        return self.subtype in POSTED_SUBTYPES

    @property
    def is_tombstone(self) -> bool:
        """Whether it replaces a deleted parent of a thread."""
        return self.subtype == TOMBSTONE


def read_bot_name(document: Mapping[str, Any]) -> str | None:
    """What a bot calls itself in a message."""
    profile = read_object(document.get("bot_profile"))
    return read_text(profile.get("name"), NAME_LIMIT) or read_text(document.get("username"), NAME_LIMIT)


def read_message_text(document: Mapping[str, Any]) -> str | None:
    """The text, or a replacement if the message is only files or attachments; None if it is only blocks."""
    text = read_text(document.get("text"), TEXT_LIMIT)
    if text is not None:
        return text
    for list_name, names in (("files", ("title", "name")), ("attachments", ("fallback", "title", "text"))):
        first = read_object(next(iter(read_list(document.get(list_name))), None))
        for name in names:
            found = read_text(first.get(name), TEXT_LIMIT)
            if found is not None:
                return found
    return None


@attrs.frozen(kw_only=True)
class Channel:
    """One conversation, as an item of `conversations.list` or the object in a channel's event."""

    id: str | None
    name: str | None
    created: datetime | None
    creator: str | None
    is_member: bool
    is_public: bool
    is_archived: bool


def read_channel(document: Mapping[str, Any]) -> Channel:
    """The channel in a JSON object."""
    private = any(document.get(flag) is True for flag in ("is_private", "is_im", "is_mpim", "is_group"))
    return Channel(
        id=read_id(document.get("id")),
        name=read_text(document.get("name"), NAME_LIMIT),
        created=read_epoch(document.get("created")),
        creator=read_id(document.get("creator")),
        is_member=document.get("is_member") is True,
        is_public=not private,
        is_archived=document.get("is_archived") is True,
    )


@attrs.frozen
class Person:
    """One user: id and the name to show."""

    id: str
    name: str


def read_person(document: Mapping[str, Any]) -> Person | None:
    """The user in a `user` object; None without an id. The name is the one that Slack's client prefers."""
    identifier = read_id(document.get("id"))
    if identifier is None:
        return None
    profile = read_object(document.get("profile"))
    candidates = (
        profile.get("display_name"),
        profile.get("real_name"),
        document.get("real_name"),
        document.get("name"),
    )
    name = next((found for found in (read_text(value, NAME_LIMIT) for value in candidates) if found), identifier)
    return Person(identifier, name)


@attrs.frozen(kw_only=True)
class MessageChange:
    """`message_changed` and `message_deleted`: a message before, and after if it still exists."""

    message: Message
    previous: Message
    deleted_ts: str | None

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The change in an event."""
        channel = event.get("channel")
        return cls(
            message=Message.read(read_object(event.get("message")), channel),
            previous=Message.read(read_object(event.get("previous_message")), channel),
            deleted_ts=read_ts(event.get("deleted_ts")),
        )


@attrs.frozen(kw_only=True)
class Reaction:
    """`reaction_added` and `reaction_removed`."""

    name: str | None
    user: str | None
    item_type: str | None
    """The type of the item: `message`; `file` in old events."""
    channel: str | None
    ts: str | None
    """Of the message."""

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The reaction in an event."""
        item = read_object(event.get("item"))
        return cls(
            # Part of the key, which has always had U+FFFD for half a character.
            name=read_text(event.get("reaction"), NAME_LIMIT, half_pair="\ufffd"),
            user=read_id(event.get("user")),
            item_type=read_text(item.get("type"), TYPE_LIMIT),
            channel=read_id(item.get("channel")),
            ts=read_ts(item.get("ts")),
        )


@attrs.frozen(kw_only=True)
class UserInChannel:
    """An event that names a user and a channel by their ids: memberships, and `channel_archive`."""

    user: str | None
    channel: str | None

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The two ids in an event."""
        return cls(user=read_id(event.get("user")), channel=read_id(event.get("channel")))


@attrs.frozen
class ChannelChange:
    """`channel_created` and `channel_rename`, which contain the channel as an object."""

    channel: Channel

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The channel in an event."""
        return cls(read_channel(read_object(event.get("channel"))))


@attrs.frozen
class TeamJoin:
    """`team_join`, which contains the user as an object."""

    person: Person | None

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """The user in an event."""
        return cls(read_person(read_object(event.get("user"))))
