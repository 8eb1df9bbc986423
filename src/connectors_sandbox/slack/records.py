"""Slack's records: apps, workspaces, users, channels, installs, tokens."""

from collections import deque
from datetime import datetime
from typing import Any

import attrs

from connectors_sandbox.families import Family

STANDARD_EVENTS = (
    "message.channels",
    "message.groups",
    "reaction_added",
    "reaction_removed",
    "member_joined_channel",
    "member_left_channel",
    "channel_created",
    "channel_archive",
    "channel_rename",
    "team_join",
    "app_uninstalled",
    "tokens_revoked",
)


@attrs.define(eq=False)
class SlackApp:
    """An app, as on its settings pages."""

    client_id: str
    client_secret: str = attrs.field(repr=False)
    app_id: str
    signing_secret: str = attrs.field(repr=False)
    name: str
    redirect_urls: tuple[str, ...]
    is_rotating: bool = False
    """Token rotation: 12 hours, refresh tokens; it can never be switched off again."""
    is_strict: bool = False
    """Distributed outside the Marketplace: one history or replies call a minute, 15 items each."""
    is_tiered: bool = False
    """Whether the tiers of all other methods are enforced."""
    is_organization_wide: bool = False
    """Installed on the whole organization if the workspace belongs to one."""
    bot_events: tuple[str, ...] = STANDARD_EVENTS
    request_url: str | None = None
    is_delivery_on: bool = True
    """Slack switches it off if too many deliveries fail; a person switches it on again."""
    outcomes: deque[tuple[datetime, bool]] = attrs.field(factory=deque, repr=False)
    """The attempts of the last hour, and whether they were received."""


@attrs.define(eq=False)
class Member:
    """A user of a workspace."""

    id: str
    name: str
    real_name: str
    is_bot: bool = False


@attrs.define(eq=False)
class Channel:
    """A conversation with its messages by `ts`, in the order they were written."""

    id: str
    name: str
    created: int
    creator: str
    is_private: bool
    is_ext_shared: bool = False
    is_archived: bool = False
    refusal: str | None = None
    """The error that reading its messages gives: `no_permission` where an administrator keeps the app out,
    `ekm_access_denied` while the customer withholds the key to its text."""
    members: set[str] = attrs.field(factory=set)
    messages: dict[str, dict[str, Any]] = attrs.field(factory=dict, repr=False)


@attrs.define(eq=False)
class Team:
    """A workspace."""

    id: str
    name: str
    domain: str
    enterprise_id: str | None = None
    enterprise_name: str | None = None
    members: dict[str, Member] = attrs.field(factory=dict)
    channels: dict[str, Channel] = attrs.field(factory=dict)

    @property
    def url(self) -> str:
        """The workspace's URL."""
        return f"https://{self.domain}.slack.com/"


@attrs.define(eq=False)
class Install:
    """An app in a workspace."""

    app: SlackApp
    team: Team
    installer: str
    is_organization_wide: bool
    bot_user_id: str | None = None
    bot_id: str | None = None
    bot_scopes: tuple[str, ...] = ()
    user_scopes: dict[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of all its tokens together."""
        return frozenset(self.bot_scopes).union(*self.user_scopes.values())

    @property
    def users(self) -> frozenset[str]:
        """The users whose view it has: its bot, and those who gave it a token."""
        bot = frozenset({self.bot_user_id}) if self.bot_user_id else frozenset()
        return bot | frozenset(self.user_scopes)


@attrs.define(eq=False)
class Token:
    """One live access token."""

    access: str = attrs.field(repr=False)
    kind: str
    """`bot` or `user`."""
    install: Install
    user_id: str
    """The user it acts as."""
    scopes: tuple[str, ...]
    expires_at: datetime | None
    family: Family = attrs.field(repr=False)
    is_revoked: bool = False


@attrs.frozen
class Share:
    """What a family of tokens is for."""

    install: Install
    kind: str
    """`bot` or `user`."""
    user_id: str
    """The user it acts as."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it may do by now: scopes only ever grow."""
        return self.install.bot_scopes if self.kind == "bot" else self.install.user_scopes[self.user_id]


@attrs.frozen
class Code:
    """An authorization code."""

    app: SlackApp
    team: Team
    user_id: str
    bot_scopes: tuple[str, ...]
    user_scopes: tuple[str, ...]
    redirect_uri: str | None
    expires_at: datetime
