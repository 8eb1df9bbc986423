"""The fields of Slack's payloads that we read, and no others. All of it is foreign: missing, null, huge, another type.

A reader gives None (or an empty value) for what is not there; whether that matters is for the rule that needs it.
Source: docs.slack.dev, "The Events API", the event pages, `conversations.history`, `conversations.list`.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import attrs

from connectors.domain.model.errors import UnexpectedResponseError

TEXT_LIMIT = 40_000
"""Characters. Slack cuts a message's text there; only its first line is shown."""
NAME_LIMIT = 300
"""Characters. Slack's own names have 80 at the most."""
ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)
"""Slack's ids are 9 to 11 capitals and digits; some package, but nothing that could break a key or a URL."""
TS = re.compile(r"(?P<seconds>[0-9]{1,11})(?:\.(?P<fraction>[0-9]{1,6}))?", re.ASCII)
TOMBSTONE = "tombstone"
"""Subtype of what a deleted parent of a thread leaves behind. Not confirmed; looked at through this name only."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_text(value: Any, limit: int = TEXT_LIMIT) -> str | None:
    """A non-empty text without NUL, cut to `limit`; None for anything else."""
    if not isinstance(value, str):
        return None
    return value.replace("\0", "")[:limit] or None


def read_id(value: Any) -> str | None:
    """An id (of a user, channel, team, event), None if it cannot be one."""
    return value if isinstance(value, str) and ID.fullmatch(value) else None


def read_ts(value: Any) -> str | None:
    """A `ts`, kept as the text it is: it names a message, and a float would lose its last digits."""
    return value if isinstance(value, str) and TS.fullmatch(value) else None


def read_object(value: Any) -> Mapping[str, Any]:
    """A JSON object, empty for anything else."""
    return value if isinstance(value, dict) else {}


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
    """The instant as Slack writes it in `oldest` and `latest`: seconds with six decimals."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def read_epoch(value: Any) -> datetime | None:
    """The instant of whole epoch seconds, None if it is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return EPOCH + timedelta(seconds=value)
    except (OverflowError, ValueError):
        return None


def read_workspace_url(value: Any) -> str | None:
    """`https://acme.slack.com/` with its slash, None if it is no web address."""
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


@attrs.frozen(kw_only=True)
class Envelope:
    """What the Events API wraps around an event."""

    type: str | None
    event: Mapping[str, Any] = attrs.field(repr=False)
    event_id: str | None = None
    event_time: Any = None
    api_app_id: str | None = None
    account_id: str | None = None
    """Whose install the event was sent for: a workspace's id, or an organization's for an organization-wide install."""
    challenge: str | None = attrs.field(default=None, repr=False)

    @property
    def kind(self) -> str | None:
        """The inner event's type, or the outer one where there is no event."""
        return read_text(self.event.get("type"), 80) if self.type == "event_callback" else self.type

    @property
    def name(self) -> str:
        """`message.message_changed`: the type, with the event's subtype if it has one."""
        subtype = read_text(self.event.get("subtype"), 80)
        return f"{self.kind}.{subtype}" if self.kind and subtype else self.kind or "unknown"

    @property
    def fallback_ts(self) -> str | None:
        """The outer `event_time` as a `ts`, for events that carry no `event_ts`. The same on every retry."""
        at = self.event_time
        return read_ts(str(at)) if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 10**11 else None


def read_envelope(body: bytes) -> Envelope:
    """The envelope in a delivery's body.

    Raises:
        UnexpectedResponseError: not a JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedResponseError("the delivery's body is not JSON") from error
    if not isinstance(document, dict):
        raise UnexpectedResponseError("the delivery's body is not a JSON object")
    return Envelope(
        type=read_text(document.get("type"), 80),
        event=read_object(document.get("event")),
        event_id=read_id(document.get("event_id")),
        event_time=document.get("event_time"),
        api_app_id=read_id(document.get("api_app_id")),
        account_id=read_account_id(document),
        challenge=read_text(document.get("challenge"), 4000),
    )


def read_account_id(document: Mapping[str, Any]) -> str | None:
    """Whose install sees the event. The outer `team_id` is where it *happened*: in a channel shared with a partner
    that can be the partner's workspace, so it is asked last.
    """
    authorizations = document.get("authorizations")
    first = read_object(authorizations[0]) if isinstance(authorizations, list) and authorizations else {}
    enterprise_wide = first.get("is_enterprise_install") is True
    claims = (
        first.get("enterprise_id") if enterprise_wide else first.get("team_id"),
        document.get("context_team_id"),
        document.get("team_id"),
        document.get("context_enterprise_id"),
        document.get("enterprise_id"),
    )
    return next((found for found in map(read_id, claims) if found), None)


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

    @property
    def is_reply(self) -> bool:
        """Whether it stands in a thread and did not start it."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def is_tombstone(self) -> bool:
        """Whether it is what a deleted parent of a thread leaves behind."""
        return self.subtype == TOMBSTONE


def read_message(document: Mapping[str, Any], channel: Any = None) -> Message:
    """The message in a JSON object; `channel` for the places where Slack says it outside."""
    edited = read_object(document.get("edited"))
    count = document.get("reply_count")
    return Message(
        ts=read_ts(document.get("ts")),
        channel=read_id(document.get("channel")) or read_id(channel),
        subtype=read_text(document.get("subtype"), 80),
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


def read_bot_name(document: Mapping[str, Any]) -> str | None:
    """What a bot calls itself in a message."""
    profile = read_object(document.get("bot_profile"))
    return read_text(profile.get("name"), NAME_LIMIT) or read_text(document.get("username"), NAME_LIMIT)


def read_message_text(document: Mapping[str, Any]) -> str | None:
    """The text, or what stands in for it where a message is only files or attachments; None if it is only blocks."""
    text = read_text(document.get("text"))
    if text is not None and text.strip():
        return text
    for list_name, names in (("files", ("title", "name")), ("attachments", ("fallback", "title", "text"))):
        entries = document.get(list_name)
        first = read_object(entries[0]) if isinstance(entries, list) and entries else {}
        for name in names:
            found = read_text(first.get(name))
            if found is not None and found.strip():
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
    )


@attrs.frozen
class Person:
    """One user: id and the name to show."""

    id: str
    name: str


def read_person(document: Mapping[str, Any]) -> Person | None:
    """The user in a `user` object; None without an id. The name is the one that Slack's own client shows first."""
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
