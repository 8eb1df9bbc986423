"""Slack's world, as tests and demos control it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from connectors_sandbox.core import SandboxCore, StandingHook
from connectors_sandbox.families import Ending, TokenFamilies
from connectors_sandbox.slack.authorization import Authorization
from connectors_sandbox.slack.events import Events
from connectors_sandbox.slack.records import Channel, Install, Member, SlackApp, Team

ACTIONS: Final = (
    "add_app",
    "save_request_url",
    "switch_delivery_on",
    "add_team",
    "add_user",
    "add_channel",
    "join_channel",
    "leave_channel",
    "invite_bots",
    "rename_channel",
    "archive_channel",
    "unarchive_channel",
    "post",
    "edit",
    "unfurl",
    "delete",
    "add_reaction",
    "remove_reaction",
    "populate",
    "send_rate_limited",
    "uninstall",
    "revoke_user_token",
    "expire_cursors",
)
"""The methods that the control endpoints may call."""

MICROSECONDS: Final = 1_000_000


class SlackWorld:
    """A Slack: workspaces and their events, apps, installs."""

    def __init__(self, core: SandboxCore) -> None:
        self.core = core
        self.lock = threading.RLock()
        self.auth = Authorization(core)
        self.events = Events(core)
        self.teams: dict[str, Team] = {}
        self.gives_short_pages = False
        """Lists return half of the requested number, and begin with an empty page that has a cursor."""
        self.sends_uninstall_first = True
        """The order of `app_uninstalled` and `tokens_revoked`, which Slack does not guarantee."""
        self.cursor_generation = 0
        self._last_micros = 0
        self._numbers = 0

    # --- apps --------------------------------------------------------------------------------------------------------

    def add_app(
        self,
        client_id: str,
        client_secret: str,
        *,
        redirect_urls: Sequence[str],
        signing_secret: str = "sandbox-signing-secret",  # noqa: S107  a sandbox's
        app_id: str | None = None,
        name: str = "Poblysh",
        rotating: bool = False,
        strict: bool = False,
        tiered: bool = False,
        organization_wide: bool = False,
    ) -> SlackApp:
        """A new app.

        Args:
            client_id: any text.
            client_secret: any text.
            redirect_urls: a `redirect_uri` must be one of them, or below one.
            signing_secret: the secret that signs events.
            app_id: None to generate one.
            name: on the consent page; also the bot's.
            rotating: tokens live 12 hours and come with refresh tokens.
            strict: one history or replies call a minute, 15 items: an app outside the Marketplace.
            tiered: the tiers of all methods are enforced.
            organization_wide: installs cover the whole organization.
        """
        with self.lock:
            app = SlackApp(
                client_id,
                client_secret,
                app_id or self._id("A"),
                signing_secret,
                name,
                tuple(redirect_urls),
                is_rotating=rotating,
                is_strict=strict,
                is_tiered=tiered,
                is_organization_wide=organization_wide,
            )
            self.auth.apps[client_id] = app
            return app

    def save_request_url(self, client_id: str, url: str) -> bool:
        """Save the app's Request URL, if it answers the signed challenge."""
        with self.lock:
            app = self.auth.apps[client_id]
        # No lock during HTTP: the receiver may call back.
        if not self.events.verify_url(app, url):
            return False
        app.request_url = url
        return True

    def switch_delivery_on(self, client_id: str) -> None:
        """Switch an app's events on again, as a person does after Slack has switched them off."""
        with self.lock:
            app = self.auth.apps[client_id]
            app.is_delivery_on = True
            app.outcomes.clear()

    # --- workspaces --------------------------------------------------------------------------------------------------

    def add_team(
        self, domain: str, *, name: str | None = None, team_id: str | None = None, enterprise: str | None = None
    ) -> Team:
        """A new workspace; `enterprise` names the organization that it belongs to."""
        with self.lock:
            team = Team(team_id or self._id("T"), name or domain.title(), domain)
            if enterprise is not None:
                same = next((one for one in self.teams.values() if one.enterprise_name == enterprise), None)
                team.enterprise_id = same.enterprise_id if same else self._id("E")
                team.enterprise_name = enterprise
            self.teams[team.id] = team
            return team

    def team(self, wanted: str) -> Team:
        """The workspace with this id or domain.

        Raises:
            LookupError: there is none.
        """
        found = next((one for one in self.teams.values() if wanted in (one.id, one.domain)), None)
        if found is None:
            raise LookupError(f"no workspace {wanted}")
        return found

    def add_user(self, team: str, name: str, *, real_name: str | None = None, user_id: str | None = None) -> Member:
        """A new user: sends `team_join`."""
        with self.lock:
            home = self.team(team)
            member = Member(user_id or self._id("U"), name, real_name or name.title())
            home.members[member.id] = member
            event = {"type": "team_join", "user": render_member(home, member), "event_ts": self.new_ts()}
            self._notify(home, "team_join", event)
            return member

    def add_channel(
        self,
        team: str,
        name: str,
        *,
        by: str,
        private: bool = False,
        shared: bool = False,
        channel_id: str | None = None,
        with_bots: bool = False,
    ) -> Channel:
        """A new channel with its creator in it; a public one sends `channel_created`."""
        with self.lock:
            home, ts = self.team(team), self.new_ts()
            creator = self.member(home, by).id
            channel = Channel(channel_id or self._id("C"), name, int(float(ts)), creator, private, shared)
            channel.members.add(creator)
            home.channels[channel.id] = channel
            if not private:
                made = {"id": channel.id, "name": name, "created": channel.created, "creator": creator}
                self._notify(home, "channel_created", {"type": "channel_created", "channel": made, "event_ts": ts})
            if with_bots:
                self.invite_bots(team, name, by=by)
            return channel

    def join_channel(self, team: str, channel: str, user: str, *, inviter: str | None = None) -> None:
        """Add a member: sends `member_joined_channel`."""
        with self.lock:
            home = self.team(team)
            target, member = self.channel(home, channel), self.member(home, user)
            target.members.add(member.id)
            event = self._membership("member_joined_channel", home, target, member)
            if inviter is not None:
                event["inviter"] = self.member(home, inviter).id
            self._notify(home, "member_joined_channel", event, target)

    def leave_channel(self, team: str, channel: str, user: str) -> None:
        """Remove a member: sends `member_left_channel`."""
        with self.lock:
            home = self.team(team)
            target, member = self.channel(home, channel), self.member(home, user)
            event = self._membership("member_left_channel", home, target, member)
            self._notify(home, "member_left_channel", event, target)
            target.members.discard(member.id)

    def invite_bots(self, team: str, channel: str, *, by: str | None = None) -> None:
        """Invite the bot of every app that is installed here."""
        with self.lock:
            for install in self.installs(self.team(team)):
                if install.bot_user_id is not None:
                    self.join_channel(team, channel, install.bot_user_id, inviter=by)

    def rename_channel(self, team: str, channel: str, name: str) -> None:
        """Rename a channel: sends `channel_rename`, or `group_rename` if it is private."""
        with self.lock:
            home = self.team(team)
            target = self.channel(home, channel)
            target.name = name
            renamed = {"id": target.id, "name": name, "created": target.created}
            self._notify_channel(home, target, "rename", {"channel": renamed})

    def archive_channel(self, team: str, channel: str, *, by: str) -> None:
        """Archive a channel: sends `channel_archive`, or `group_archive` if it is private, and removes every bot.

        Nobody tells the bots that they are out, and nobody can invite them before the channel is open again.
        Source: elastic/connectors#1972 and open-cli-collective/slack-chat-api#26 on GitHub; Slack's pages do not say.
        """
        with self.lock:
            home = self.team(team)
            target = self.channel(home, channel)
            target.is_archived = True
            self._notify_channel(home, target, "archive", {"channel": target.id, "user": self.member(home, by).id})
            target.members -= {member.id for member in home.members.values() if member.is_bot}

    def unarchive_channel(self, team: str, channel: str, *, by: str) -> None:
        """Open an archived channel again: sends `channel_unarchive`, or `group_unarchive`; bots have to be invited.

        Source: docs.slack.dev, `conversations.unarchive`: the user who does it is added to the conversation.
        """
        with self.lock:
            home = self.team(team)
            target, user = self.channel(home, channel), self.member(home, by).id
            target.is_archived = False
            target.members.add(user)
            self._notify_channel(home, target, "unarchive", {"channel": target.id, "user": user})

    # --- messages ----------------------------------------------------------------------------------------------------

    def post(
        self,
        team: str,
        channel: str,
        text: str,
        *,
        by: str,
        thread: str | None = None,
        broadcast: bool = False,
        partner: str | None = None,
        **members: Any,
    ) -> str:
        """Write a message; returns its `ts`.

        Args:
            team: id or domain.
            channel: id or name.
            text: in Slack's form, with `<@U…>` and escapes.
            by: id or name.
            thread: the parent's `ts`, for a reply.
            broadcast: a reply that is also shown in the channel.
            partner: the id of the workspace that a shared channel's message comes from.
            members: any other fields of the message.
        """
        with self.lock:
            home = self.team(team)
            target, ts = self.channel(home, channel), self.new_ts()
            user = by if partner else self.member(home, by).id
            message = {"type": "message", "user": user, "text": text, "ts": ts, "team": partner or home.id, **members}
            if thread is not None:
                self._reply_to(target, message, thread, broadcast=broadcast)
            target.messages[ts] = message
            event = {**message, "channel": target.id, "event_ts": ts, "channel_type": kind_of(target)}
            self._notify(home, f"message.{kind_of(target)}s", event, target, partner)
            return ts

    def edit(self, team: str, channel: str, ts: str, text: str, *, by: str | None = None) -> str:
        """A user edits a message; returns the edit's `ts`."""
        with self.lock:
            home = self.team(team)
            target = self.channel(home, channel)
            before, at = dict(target.messages[ts]), self.new_ts()
            editor = self.member(home, by).id if by else before["user"]
            target.messages[ts] |= {"text": text, "edited": {"user": editor, "ts": at}}
            self._notify_change(home, target, before, self.new_ts())
            return at

    def unfurl(self, team: str, channel: str, ts: str) -> None:
        """Slack itself changes a message: sends `message_changed` without an edit."""
        with self.lock:
            home = self.team(team)
            target = self.channel(home, channel)
            before = dict(target.messages[ts])
            target.messages[ts]["attachments"] = [{"id": 1, "title": "Preview", "from_url": "https://example.test/"}]
            self._notify_change(home, target, before, self.new_ts())

    def delete(self, team: str, channel: str, ts: str) -> None:
        """Delete a message; a parent of replies leaves a tombstone."""
        with self.lock:
            home = self.team(team)
            target = self.channel(home, channel)
            before = dict(target.messages[ts])
            if before.get("reply_count"):
                kept = {name: before[name] for name in ("thread_ts", "reply_count", "latest_reply", "ts")}
                text = "This message was deleted."
                target.messages[ts] = {
                    "type": "message",
                    "subtype": "tombstone",
                    "user": "USLACKBOT",
                    "text": text,
                    **kept,
                }
                self._notify_change(home, target, before, self.new_ts())
                return
            del target.messages[ts]
            at = self.new_ts()
            event = {"type": "message", "subtype": "message_deleted", "hidden": True, "deleted_ts": ts, "ts": at}
            event |= {"channel": target.id, "channel_type": kind_of(target), "event_ts": at, "previous_message": before}
            self._notify(home, f"message.{kind_of(target)}s", event, target)

    def add_reaction(self, team: str, channel: str, ts: str, reaction: str, *, by: str) -> None:
        """Add a reaction: sends `reaction_added`."""
        self._react("reaction_added", team, channel, ts, reaction, by)

    def remove_reaction(self, team: str, channel: str, ts: str, reaction: str, *, by: str) -> None:
        """Remove a reaction: sends `reaction_removed`."""
        self._react("reaction_removed", team, channel, ts, reaction, by)

    def populate(self, team: str, channel: str, *, messages: int, by: str, step_seconds: int = 60) -> None:
        """Fill a channel with old messages, one every `step_seconds`, without any event."""
        with self.lock:
            home = self.team(team)
            target, user = self.channel(home, channel), self.member(home, by).id
            first = self.core.clock.now() - timedelta(seconds=step_seconds * (messages + 1))
            base = int(first.timestamp())
            old = {
                ts: {"type": "message", "user": user, "text": f"Message {n}", "ts": ts, "team": home.id}
                for n in range(messages)
                for ts in [f"{base + n * step_seconds}.{n % MICROSECONDS:06d}"]
            }
            target.messages = {**old, **target.messages}

    def import_message(
        self, team: str, channel: str, text: str, *, by: str, at: datetime, thread: str | None = None
    ) -> str:
        """Add a message with the time of its origin, as an import does: sends nothing. Returns its `ts`.

        Source: Slack's help centre on importing a CSV file: each line has the Unix time of its message.
        """
        with self.lock:
            home = self.team(team)
            target, micros = self.channel(home, channel), int(at.timestamp()) * MICROSECONDS + at.microsecond
            while (ts := render_ts(micros)) in target.messages:
                micros += 1
            message = {"type": "message", "user": self.member(home, by).id, "text": text, "ts": ts, "team": home.id}
            if thread is not None:
                self._reply_to(target, message, thread, broadcast=False)
            target.messages[ts] = message
            return ts

    # --- uninstalling and revoking -----------------------------------------------------------------------------------

    def send_rate_limited(self, client_id: str, team: str) -> None:
        """Send `app_rate_limited`, as after 30,000 deliveries in an hour."""
        with self.lock:
            self.events.notify_rate_limited(self.auth.apps[client_id], self.team(team))

    def uninstall(self, client_id: str, team: str) -> None:
        """Remove an app from a workspace: revokes all tokens and sends `app_uninstalled` and `tokens_revoked`."""
        with self.lock:
            for install in self.installs(self.team(team)):
                if install.app.client_id == client_id:
                    self.remove(install, Ending.WITHDRAWN)

    def remove(self, install: Install, ending: Ending) -> None:
        """End one install, and notify its app."""
        bots = [install.bot_user_id] if install.bot_user_id else []
        events: list[tuple[str, dict[str, Any]]] = [
            ("app_uninstalled", {"type": "app_uninstalled"}),
            ("tokens_revoked", {"type": "tokens_revoked", "tokens": {"oauth": [*install.user_scopes], "bot": bots}}),
        ]
        for name, event in events if self.sends_uninstall_first else reversed(events):
            self.events.notify(install, name, event, None)
        self.auth.end_install(install, ending)

    def revoke_user_token(self, client_id: str, team: str, user: str) -> None:
        """A user revokes their own token; the bot stays."""
        with self.lock:
            home = self.team(team)
            member = self.member(home, user)
            for install in self.installs(home):
                if install.app.client_id == client_id and member.id in install.user_scopes:
                    tokens = {"oauth": [member.id], "bot": list[str]()}
                    self.events.notify(install, "tokens_revoked", {"type": "tokens_revoked", "tokens": tokens}, None)
                    del install.user_scopes[member.id]
                    self.auth.end_tokens(install, Ending.WITHDRAWN, member.id)

    def expire_cursors(self) -> None:
        """Make every paging cursor given so far an `invalid_cursor`."""
        self.cursor_generation += 1

    # --- lookup ------------------------------------------------------------------------------------------------------

    def installs(self, team: Team) -> list[Install]:
        """The apps of a workspace."""
        return [one for one in self.auth.installs if one.team is team]

    def channel(self, team: Team, wanted: str) -> Channel:
        """The channel with this id or name.

        Raises:
            LookupError: there is none.
        """
        found = next((one for one in team.channels.values() if wanted in (one.id, one.name)), None)
        if found is None:
            raise LookupError(f"no channel {wanted}")
        return found

    def member(self, team: Team, wanted: str) -> Member:
        """The user with this id or name.

        Raises:
            LookupError: there is none.
        """
        found = next((one for one in team.members.values() if wanted in (one.id, one.name)), None)
        if found is None:
            raise LookupError(f"no user {wanted}")
        return found

    def new_ts(self) -> str:
        """A `ts` of now that no message has."""
        now = int(self.core.clock.now().timestamp() * MICROSECONDS)
        self._last_micros = max(self._last_micros + 1, now)
        return render_ts(self._last_micros)

    def describe(self) -> Mapping[str, Any]:
        """The contents of the index page."""
        with self.lock:
            return {
                "apps": [
                    {
                        "client_id": app.client_id,
                        "app_id": app.app_id,
                        "request_url": app.request_url,
                        "delivery_on": app.is_delivery_on,
                    }
                    for app in self.auth.apps.values()
                ],
                "teams": [
                    {
                        "id": team.id,
                        "domain": team.domain,
                        "users": [member.name for member in team.members.values()],
                        "channels": {target.name: len(target.messages) for target in team.channels.values()},
                    }
                    for team in self.teams.values()
                ],
                "installs": [{"app_id": one.app.app_id, "team": one.team.id} for one in self.auth.installs],
                "reused_refresh_tokens": len(self.auth.families.reused),
            }

    @property
    def families(self) -> TokenFamilies:
        """What consents gave."""
        return self.auth.families

    def live_hooks(self) -> list[StandingHook]:
        """None: the Request URL belongs to the app."""
        return []

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the control endpoints may call."""
        return {name: getattr(self, name) for name in ACTIONS}

    # --- inside ------------------------------------------------------------------------------------------------------

    def _id(self, letter: str) -> str:
        self._numbers += 1
        return f"{letter}0SANDBOX{self._numbers:02d}"

    def _notify(
        self, team: Team, name: str, event: dict[str, Any], channel: Channel | None = None, home: str | None = None
    ) -> None:
        for install in self.installs(team):
            self.events.notify(install, name, event, channel, home)

    def _notify_channel(self, team: Team, target: Channel, verb: str, members: Mapping[str, Any]) -> None:
        """Send what happened to a channel; of a private one only its members learn."""
        name = f"{kind_of(target)}_{verb}"
        event = {"type": name, **members, "event_ts": self.new_ts()}
        self._notify(team, name, event, target if target.is_private else None)

    def _notify_change(self, team: Team, target: Channel, before: dict[str, Any], at: str) -> None:
        after = dict(target.messages[before["ts"]])
        event = {"type": "message", "subtype": "message_changed", "hidden": True, "ts": at, "event_ts": at}
        event |= {"channel": target.id, "channel_type": kind_of(target), "message": after, "previous_message": before}
        self._notify(team, f"message.{kind_of(target)}s", event, target)

    def _reply_to(self, target: Channel, message: dict[str, Any], thread: str, *, broadcast: bool) -> None:
        parent = target.messages[thread]
        message["thread_ts"] = thread
        if broadcast:
            message |= {"subtype": "thread_broadcast", "root": dict(parent)}
        replies = parent.get("reply_count", 0) + 1
        latest = max(parent.get("latest_reply", "0"), message["ts"], key=Decimal)
        parent |= {"thread_ts": thread, "reply_count": replies, "latest_reply": latest}

    def _membership(self, kind: str, team: Team, target: Channel, member: Member) -> dict[str, Any]:
        letter = "G" if target.is_private else "C"
        event = {"type": kind, "user": member.id, "channel": target.id, "channel_type": letter, "team": team.id}
        return {**event, "event_ts": self.new_ts()}

    def _react(self, kind: str, team: str, channel: str, ts: str, reaction: str, by: str) -> None:
        with self.lock:
            home = self.team(team)
            target, user = self.channel(home, channel), self.member(home, by).id
            message = target.messages[ts]
            reactions: list[dict[str, Any]] = message.setdefault("reactions", [])
            entry = next((one for one in reactions if one["name"] == reaction), None)
            if entry is None:
                entry = {"name": reaction, "users": [], "count": 0}
                reactions.append(entry)
            entry["users"] = [one for one in entry["users"] if one != user]
            if kind == "reaction_added":
                entry["users"].append(user)
            entry["count"] = len(entry["users"])
            message["reactions"] = [one for one in reactions if one["count"]]
            item = {"type": "message", "channel": target.id, "ts": ts}
            event = {"type": kind, "user": user, "reaction": reaction, "item_user": message.get("user"), "item": item}
            self._notify(home, kind, {**event, "event_ts": self.new_ts()}, target)


def kind_of(channel: Channel) -> str:
    """Slack's `channel_type`."""
    return "group" if channel.is_private else "channel"


def render_ts(micros: int) -> str:
    """A `ts` from microseconds since 1970."""
    return f"{micros // MICROSECONDS}.{micros % MICROSECONDS:06d}"


def render_member(team: Team, member: Member) -> dict[str, Any]:
    """A user object."""
    return {
        "id": member.id,
        "team_id": team.id,
        "name": member.name,
        "real_name": member.real_name,
        "deleted": False,
        "is_bot": member.is_bot,
        "profile": {"display_name": member.name, "real_name": member.real_name, "team": team.id},
    }
