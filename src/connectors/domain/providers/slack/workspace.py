"""What a connection knows about its workspace, and what signals are made from: names, links, keys, the source."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.signal import Actor, Container, SignalDraft, one_line
from connectors.domain.providers.slack.payloads import Message, read_id
from connectors.domain.providers.toolbox.foreign import read_object

TITLE_TEXT = 2000
"""Characters of a message that are read for its title, which is the first line."""
MARKUP = re.compile(r"<(?P<sign>[@#!]?)(?P<target>[^<>|]{1,500})(?:\|(?P<label>[^<>]{0,500}))?>")

Names = Mapping[str, str]


@attrs.frozen(kw_only=True)
class Workspace:
    """What a connection knows about its workspace (or organization)."""

    id: str
    name: str | None = None
    url: str | None = None
    bot_user_id: str | None = None
    bot_id: str | None = None
    channels: Names = attrs.field(factory=dict, repr=False)
    people: Names = attrs.field(factory=dict, repr=False)

    def key(self, *parts: str) -> str:
        """A dedupe key of this workspace."""
        return ":".join(("slack", self.id, *parts))

    def is_own(self, message: Message) -> bool:
        """Whether our own bot wrote it: tenants need no signal about that."""
        by_bot = self.bot_id is not None and message.bot_id == self.bot_id
        return by_bot or (self.bot_user_id is not None and message.user == self.bot_user_id)

    def actor(self, user: str | None, name: str | None = None) -> Actor | None:
        """The user, with the name if it is known."""
        return None if user is None else Actor(user, self.people.get(user) or name or user)

    def container(self, channel: str, name: str | None = None) -> Container:
        """The channel, with the name if it is known."""
        return Container("channel", channel, self.channels.get(channel) or name or channel, self.channel_url(channel))

    def channel_url(self, channel: str) -> str | None:
        """The URL of the channel."""
        return None if self.url is None else f"{self.url}archives/{channel}"

    def message_url(self, channel: str, ts: str, thread_ts: str | None = None) -> str | None:
        """The permalink of a message, as `chat.getPermalink` returns it."""
        if self.url is None:
            return None
        link = f"{self.url}archives/{channel}/p{ts.replace('.', '')}"
        return link if thread_ts in {None, ts} else f"{link}?thread_ts={thread_ts}&cid={channel}"


def workspace_of(connection: Connection) -> Workspace:
    """What the connection knows: its account, and the names of the last sync run."""
    account = connection.account
    return Workspace(
        id=account.id,
        name=account.name,
        url=account.url,
        bot_user_id=read_id(account.metadata.get("bot_user_id")),
        bot_id=read_id(account.metadata.get("bot_id")),
        channels=read_names(connection.metadata.get("channel_names")),
        people=read_names(connection.metadata.get("people_names")),
    )


def read_names(value: Any) -> Names:
    """The stored names, by id."""
    return {key: name for key, name in read_object(value).items() if isinstance(name, str)}


def plain_text(text: str | None, workspace: Workspace) -> str:
    """The first line as people see it: names for mentions and links, without escapes. Empty if there is none."""
    if text is None:
        return ""

    def shown(match: re.Match[str]) -> str:
        sign, target, label = match["sign"], match["target"], match["label"]
        if sign == "@":
            return "@" + (label or workspace.people.get(target) or target)
        if sign == "#":
            return "#" + (label or workspace.channels.get(target) or target)
        if sign == "!":
            return label or "@" + target.partition("^")[0]
        return label or target

    return one_line(unescape(MARKUP.sub(shown, text[:TITLE_TEXT])))


@attrs.frozen(kw_only=True)
class Source:
    """What a signal is made from, besides the fields of its payload."""

    payload: Mapping[str, Any] = attrs.field(repr=False)
    """The JSON object: an inner event, or an item of a list."""
    workspace: Workspace
    event_ts: str | None = None
    """When the event happened. None for an item of a list, which has its own times."""

    @property
    def at(self) -> str:
        """When the event happened, in the form used in keys.

        Raises:
            ValueError: Slack does not say.
        """
        return needed("event_ts", self.event_ts)


Outcome = SignalDraft | str
"""A signal, or why there is none."""


def needed(name: str, value: str | None) -> str:
    """The value.

    Raises:
        ValueError: it is missing or of another type.
    """
    if value is None:
        raise ValueError(f"no {name}")
    return value
