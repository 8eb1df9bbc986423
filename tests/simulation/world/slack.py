"""Slack: workspaces whose bot, or whose user, reads channels. Sandbox and vendor: `connectors_sandbox.slack`."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, Final

from connectors_sandbox import Sandbox
from connectors_sandbox.slack.records import Channel, Install, Team
from connectors_sandbox.slack.world import SlackWorld
from tests.simulation.world.account import Account, Deed, Event

OWNER, USER, OTHER_USER = "max", "lee", "kim"
PEOPLE: Final = (OWNER, USER, OTHER_USER)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TOMBSTONE: Final = "tombstone"
BOT_SCOPES: Final = (
    "channels:history",
    "channels:read",
    "groups:history",
    "groups:read",
    "reactions:read",
    "users:read",
    "team:read",
)
USER_SCOPES: Final = (
    "user:channels:history",
    "user:channels:read",
    "user:groups:history",
    "user:groups:read",
    "user:users:read",
)

LIFETIMES: Final = (timedelta(hours=12), timedelta(minutes=45))
"""Of access tokens: Slack's own, and one that ends within a run."""

REFUSALS: Final = ("no_permission", "ekm_access_denied")
"""Errors of single channels."""

ARCHIVED: Final = "in an archived channel"
NOT_MEMBERS: Final = "in a channel that the user is not in"
EARLIER: Final = "from before we came into its channel"
REFUSED: Final = "from before its channel was shown to us again"
OLD_THREAD: Final = "in a thread of long ago"
OLD_MESSAGE: Final = "of a message of long ago"
OF_REPLY: Final = "of a reply"
"""What may be unusual about an event."""
SAME_MOMENT: Final = timedelta(seconds=1)
"""Messages of one moment get times that are all different, the last ones after it."""
LONG_AGO: Final = timedelta(days=7)
"""What is older when something happens to it than this has a note: readers look back so far, or not much farther."""

Message = dict[str, Any]


class SlackAccount(Account):
    """A workspace. Its truth is the sandbox's tables: what the token in use is shown.

    Every message begins with a text that nothing else has and keeps it when it is edited; so do names of channels.
    The installation is shared by all tenants that connect the workspace, and so is its end.
    """

    slug = "slack"
    mount = "slack"
    lists = ("conversations.list", "conversations.history", "conversations.replies", "users.list")
    has_own_tokens = False
    is_read_by_date = True
    page_items = 15
    """What Slack gives apps outside its Marketplace, whatever they ask for."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self._readable_since: dict[str, tuple[datetime, str]] = {}
        """Channels that we may read although others have written there before → since when, and the note for that."""
        self._imported: set[str] = set()
        """The `ts` of what was imported meanwhile."""

    # --- before ------------------------------------------------------------------------------------------------------

    def prepare(self, items: int, dice: Random) -> None:
        """The workspace with three people and one channel; one old message in five has a reply.

        The app's tokens rotate or not; those that do may live so short that a run sees refreshes. The app is in Slack's
        Marketplace or not: then each history may be asked for once a minute.
        """
        for app in self.slack.auth.apps.values():
            app.is_rotating = dice.random() < 2 / 3
            app.is_strict = dice.random() < 1 / 5
            if app.is_strict:
                # No request and no answer says so in advance: one of two histories, and of two threads, is refused.
                self.limited_an_hour = 120
        self.slack.auth.access_lifetime = dice.choice(LIFETIMES)
        self.sandbox.core.page_caps["slack"] = self.page_items
        self.slack.add_team(self.name)
        for person in PEOPLE:
            self.slack.add_user(self.name, person)
        channel = self._new_channel(is_inside=True)
        channel.created = int(self.days_ago(21).timestamp())
        self.main = channel.id
        for _ in range(items):
            at = self.days_ago(dice.uniform(1, 20))
            ts = self._import(channel, at, dice)
            if dice.random() < 1 / 5:
                self._import(channel, at + timedelta(hours=dice.uniform(0, 20)), dice, thread=ts)
        self._readable_since.clear()
        self._imported.clear()

    @property
    def user(self) -> str:
        return f"{self.team.id}:{self.slack.member(self.team, USER).id}"

    @property
    def other_user(self) -> str:
        return f"{self.team.id}:{self.slack.member(self.team, OTHER_USER).id}"

    # --- for the oracle ----------------------------------------------------------------------------------------------

    def hooks(self) -> int:
        """None: the Request URL belongs to the app."""
        return 0

    def tokens(self) -> int:
        """Whether the app has any token in the workspace: tenants share the installation."""
        return int(any(self.slack.auth.live_tokens(install) for install in self.slack.installs(self.team)))

    def events(self) -> list[Event]:
        """Public channels, archived or not; in channels that can be read what was written, and its last edit.

        Slack shows neither deletions, reactions, members nor new names. A message of the future comes later.
        """
        found = []
        for channel in self.team.channels.values():
            if not channel.is_private:
                created = EPOCH + timedelta(seconds=channel.created)
                note = ARCHIVED if channel.is_archived else ""
                found.append(Event(kind="channel_created", title=_first_name(channel), at=created, note=note))
            if channel.refusal is None and self._can_read(channel):
                for message in self._written(channel):
                    is_import = message["ts"] in self._imported
                    found.extend(_events_of(message, self._notes(channel, message), is_traceless=is_import))
        return found

    def _notes(self, channel: Channel, message: Message) -> list[str]:
        """What is unusual about this message."""
        since, note = self._readable_since.get(channel.id, (EPOCH, EARLIER))
        at = _instant(message["ts"])
        notes = {
            ARCHIVED: channel.is_archived,
            NOT_MEMBERS: not channel.members.issuperset(self._readers()),
            note: at < since,
            OLD_THREAD: at - _instant(message.get("thread_ts", message["ts"])) > LONG_AGO,
        }
        return [note for note, is_so in notes.items() if is_so]

    # --- what bots and users differ in -------------------------------------------------------------------------------

    late_channels_are_private: ClassVar[bool]
    """Whether channels that the reader gets to know later are private: a user's token reads every public one."""

    @abstractmethod
    def _can_read(self, channel: Channel) -> bool:
        """Whether Slack shows the messages of this channel."""

    @abstractmethod
    def _readers(self) -> tuple[str, ...]:
        """Ids of those through whom we read, if they exist yet."""

    # --- every day ---------------------------------------------------------------------------------------------------

    def post(self, dice: Random) -> None:
        """Somebody writes in any open channel."""
        self._post(self._open_channel(dice), dice)

    def reply(self, dice: Random) -> None:
        """Somebody answers, sometimes after weeks, sometimes so that the channel sees it too."""
        channel = self._open_channel(dice)
        parents = [one for one in self._written(channel) if one.get("thread_ts") in {None, one["ts"]}]
        if not parents:
            self._post(channel, dice)
            return
        self._post(channel, dice, thread=dice.choice(parents)["ts"], broadcast=dice.random() < 1 / 4)

    def edit(self, dice: Random) -> None:
        """Somebody edits any message."""
        for channel, message in self._any_message(dice):
            text = f"{_first_text(message)} {self.text()}"
            self.slack.edit(self.name, channel.id, message["ts"], text, by=dice.choice(PEOPLE))

    def delete(self, dice: Random) -> None:
        """Somebody deletes any message; of a parent a tombstone stays."""
        for channel, message in self._any_message(dice):
            self.slack.delete(self.name, channel.id, message["ts"])

    def react(self, dice: Random) -> None:
        """A reaction comes, or goes."""
        for channel, message in self._any_message(dice):
            change = self.slack.remove_reaction if message.get("reactions") else self.slack.add_reaction
            change(self.name, channel.id, message["ts"], "eyes", by=dice.choice(PEOPLE))

    def unfurl(self, dice: Random) -> None:
        """Slack changes a message by itself."""
        for channel, message in self._any_message(dice):
            self.slack.unfurl(self.name, channel.id, message["ts"])

    def share_file(self, dice: Random) -> None:
        """A message that has only a file's title."""
        channel = self._open_channel(dice)
        files = [{"id": f"F{self._texts:09d}", "title": self.text()}]
        self.slack.post(self.name, channel.id, "", by=dice.choice(PEOPLE), subtype="file_share", files=files)

    def other_bot(self, dice: Random) -> None:
        """Another app's message."""
        self._post(self._open_channel(dice), dice, subtype="bot_message", bot_id="B0OTHERBOT", username="Builds")

    def rename(self, dice: Random) -> None:
        """A channel gets another name, which begins like the first one."""
        channel = self._open_channel(dice)
        self.slack.rename_channel(self.name, channel.id, f"{_first_name(channel)}_{dice.randrange(100)}")

    def come_or_go(self, dice: Random) -> None:
        """The owner leaves a channel or comes back."""
        channel, owner = self._open_channel(dice), self.slack.member(self.team, OWNER).id
        move = self.slack.leave_channel if owner in channel.members else self.slack.join_channel
        move(self.name, channel.id, owner)

    def open_channel(self, dice: Random) -> None:
        """A new channel that we are not in."""
        self._new_channel(is_private=self.late_channels_are_private)

    # --- levers: items -----------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """A message of the last weeks is imported, and another into its thread."""
        channel, at = self._open_channel(dice), self.days_ago(dice.uniform(0.1, 40))
        ts = self._import(channel, at, dice)
        self._import(channel, at + timedelta(minutes=dice.uniform(1, 60)), dice, thread=ts)

    def date_1970(self, dice: Random) -> None:
        """A message of 1970 is imported: an import's file may have any time."""
        self._import(self._open_channel(dice), EPOCH + timedelta(seconds=dice.randrange(1, 1000)), dice)

    def date_2099(self, dice: Random) -> None:
        """A message of 2099 is imported."""
        self._import(self._open_channel(dice), datetime(2099, 1, 1, tzinfo=UTC), dice)

    def burst(self, dice: Random) -> None:
        """More messages at once than a page holds."""
        channel = self._open_channel(dice)
        for _ in range(self.page_items + dice.randrange(1, 6)):
            self._post(channel, dice)

    def burst_in_thread(self, dice: Random) -> None:
        """More replies at once than a page holds."""
        channel = self._open_channel(dice)
        parent = self._post(channel, dice)
        for _ in range(self.page_items + dice.randrange(1, 6)):
            self._post(channel, dice, thread=parent)

    def partner_posts(self, dice: Random) -> None:
        """A partner, whom our directory does not know, writes in a channel that is shared with them."""
        channel = self._open_channel(dice)
        channel.is_ext_shared = True
        self.slack.post(self.name, channel.id, self.text(), by="U0PARTNER1", partner="T0PARTNER1")

    # --- levers: channels --------------------------------------------------------------------------------------------

    def new_container(self, dice: Random) -> None:
        """A channel that we are in from the beginning, public or private, with messages."""
        self._fill(self._new_channel(is_private=dice.random() < 1 / 3, is_inside=True), dice)

    def close_container(self, dice: Random) -> None:
        """A channel is archived; bots are out of it."""
        for channel in self._pick(dice, lambda one: not one.is_archived):
            self.slack.archive_channel(self.name, channel.id, by=OWNER)

    def reopen_container(self, dice: Random) -> None:
        """An archived channel is open again, with a message; half of the time somebody thinks of inviting us."""
        for channel in self._pick(dice, lambda one: one.is_archived):
            self.slack.unarchive_channel(self.name, channel.id, by=OWNER)
            self._post(channel, dice)
            if dice.random() < 1 / 2:
                self._invite(channel)

    def invite_late(self, dice: Random) -> None:
        """Into a channel with messages; those of before are visible from then on."""
        if not self._channels(self._is_outside):
            self._fill(self._new_channel(is_private=self.late_channels_are_private), dice)
        for channel in self._pick(dice, self._is_outside):
            self._invite(channel)

    def leave_container(self, dice: Random) -> None:
        """We are removed from a channel; its messages are not visible any more."""
        for channel in self._pick(dice, self._is_leavable):
            for reader in self._readers():
                self.slack.leave_channel(self.name, channel.id, reader)

    def refuse_channel(self, dice: Random) -> None:
        """Slack does not show a channel's messages to us for now, although we are in it."""
        for channel in self._pick(dice, lambda one: one.refusal is None):
            channel.refusal = dice.choice(REFUSALS)

    def allow_channel(self, dice: Random) -> None:
        """It shows them again, all of them."""
        for channel in self._pick(dice, lambda one: one.refusal is not None):
            channel.refusal = None
            self._readable_since[channel.id] = self.now, REFUSED

    # --- levers: tokens, events, pages -------------------------------------------------------------------------------

    def end_tokens_early(self, dice: Random) -> None:
        """Access tokens expire at once; their refresh tokens live on."""
        for install in self.slack.installs(self.team):
            for token in self.slack.auth.live_tokens(install):
                token.expires_at = token.expires_at and self.now

    def hooks_vanish(self, dice: Random) -> None:
        """Slack switches the events of every app off, as after too many failures."""
        for app in self.slack.auth.apps.values():
            app.is_delivery_on = False

    def hooks_return(self, dice: Random) -> None:
        """A person switches events on again."""
        for client_id in self.slack.auth.apps:
            self.slack.switch_delivery_on(client_id)

    def limit_events(self, dice: Random) -> None:
        """Slack says that there were too many events."""
        for install in self.slack.installs(self.team):
            self.slack.send_rate_limited(install.app.client_id, self.name)

    def events_twice(self, dice: Random) -> None:
        """Every event comes twice under two ids, or once again."""
        self.slack.events.copies = 3 - self.slack.events.copies

    def swap_endings(self, dice: Random) -> None:
        """`tokens_revoked` and `app_uninstalled` change places."""
        self.slack.sends_uninstall_first = not self.slack.sends_uninstall_first

    def expire_history(self, dice: Random) -> None:
        """Cursors into lists end."""
        self.slack.expire_cursors()

    def short_pages(self, dice: Random) -> None:
        """Lists give a few items a page."""
        self.sandbox.core.page_caps["slack"] = dice.randrange(2, 8)

    def empty_pages(self, dice: Random) -> None:
        """Lists begin with an empty page, and give half of what they might."""
        self.slack.gives_short_pages = True

    def full_pages(self, dice: Random) -> None:
        """Lists give all that is asked for."""
        self.sandbox.core.page_caps.pop("slack", None)
        self.slack.gives_short_pages = False

    usual: ClassVar[Mapping[str, tuple[int, Deed]]] = {
        "post": (6, post),
        "reply": (4, reply),
        "edit": (3, edit),
        "delete": (2, delete),
        "react": (2, react),
        "unfurl": (1, unfurl),
        "share_file": (1, share_file),
        "other_bot": (1, other_bot),
        "rename": (1, rename),
        "come_or_go": (1, come_or_go),
        "open_channel": (1, open_channel),
    }
    odd: ClassVar[Mapping[str, Deed]] = {
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "burst": burst,
        "burst_in_thread": burst_in_thread,
        "partner_posts": partner_posts,
        "new_container": new_container,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "invite_late": invite_late,
        "leave_container": leave_container,
        "refuse_channel": refuse_channel,
        "allow_channel": allow_channel,
        "end_tokens_early": end_tokens_early,
        "hooks_vanish": hooks_vanish,
        "hooks_return": hooks_return,
        "limit_events": limit_events,
        "events_twice": events_twice,
        "swap_endings": swap_endings,
        "expire_history": expire_history,
        "short_pages": short_pages,
        "empty_pages": empty_pages,
        "full_pages": full_pages,
    }

    # --- for deeds ---------------------------------------------------------------------------------------------------

    @property
    def slack(self) -> SlackWorld:
        """All workspaces."""
        return self.sandbox.slack

    @property
    def team(self) -> Team:
        """This workspace."""
        return self.slack.team(self.name)

    @property
    def install(self) -> Install | None:
        """Our app in this workspace."""
        return next(iter(self.slack.installs(self.team)), None)

    def _channels(self, fits: Callable[[Channel], bool]) -> list[Channel]:
        return [channel for channel in self.team.channels.values() if fits(channel)]

    def _pick(self, dice: Random, fits: Callable[[Channel], bool]) -> list[Channel]:
        """One channel that fits, if there is one."""
        found = self._channels(fits)
        return [dice.choice(found)] if found else []

    def _open_channel(self, dice: Random) -> Channel:
        """A channel to write in, the main one more often than others; a new one if all are archived."""
        found = self._channels(lambda one: not one.is_archived)
        if not found:
            return self._new_channel(is_inside=True)
        return found[0] if dice.random() < 1 / 2 else dice.choice(found)

    def _any_message(self, dice: Random) -> list[tuple[Channel, Message]]:
        """A channel to write in and a message in it, if it has one."""
        channel = self._open_channel(dice)
        found = list(self._written(channel))
        return [(channel, dice.choice(found))] if found else []

    def _written(self, channel: Channel) -> Iterator[Message]:
        """What people wrote there until now and nobody deleted."""
        return (
            message
            for message in channel.messages.values()
            if message.get("subtype") != TOMBSTONE and _instant(message["ts"]) <= self.now + SAME_MOMENT
        )

    def _new_channel(self, *, is_private: bool = False, is_inside: bool = False) -> Channel:
        name = self.text().removesuffix(".")
        channel = self.slack.add_channel(self.name, name, by=OWNER, private=is_private)
        if is_inside:
            self._invite(channel)
        return channel

    def _invite(self, channel: Channel) -> None:
        for reader in self._readers():
            if reader not in channel.members:
                self._readable_since[channel.id] = self.now, EARLIER
                self.slack.join_channel(self.name, channel.id, reader, inviter=OWNER)

    def _fill(self, channel: Channel, dice: Random) -> None:
        for _ in range(3):
            self._post(channel, dice)

    def _is_outside(self, channel: Channel) -> bool:
        is_late = channel.is_private or not self.late_channels_are_private
        return is_late and not channel.is_archived and not channel.members.issuperset(self._readers())

    def _is_leavable(self, channel: Channel) -> bool:
        is_late = channel.is_private or not self.late_channels_are_private
        return is_late and not channel.is_archived and channel.members.issuperset(self._readers())

    def _post(self, channel: Channel, dice: Random, **more: Any) -> str:
        return self.slack.post(self.name, channel.id, self.text(), by=dice.choice(PEOPLE), **more)

    def _import(self, channel: Channel, at: datetime, dice: Random, thread: str | None = None) -> str:
        by = dice.choice(PEOPLE)
        ts = self.slack.import_message(self.name, channel.id, self.text(), by=by, at=at, thread=thread)
        self._imported.add(ts)
        return ts


class SlackBot(SlackAccount):
    """A workspace that its app's bot reads: the channels that it was invited to."""

    is_set_up_by_hand = True
    late_channels_are_private = False

    def finish(self, url: str | None) -> None:
        """Somebody invites the bot to the first channel."""
        main = self.team.channels[self.main]
        if not main.is_archived:
            self._invite(main)

    def withdraw(self) -> None:
        """The app is uninstalled: for every tenant."""
        if self.install is not None:
            self.slack.uninstall(self.install.app.client_id, self.name)

    def _readers(self) -> tuple[str, ...]:
        bot = self.install and self.install.bot_user_id
        return (bot,) if bot else ()

    def _can_read(self, channel: Channel) -> bool:
        readers = self._readers()
        return bool(readers) and channel.members.issuperset(readers)


class SlackUser(SlackAccount):
    """A workspace that a user reads: every public channel, and the private ones that the user is in.

    Both users are in the same private channels, so that it does not matter which of them consented.
    """

    scopes = USER_SCOPES
    late_channels_are_private = True

    def withdraw(self) -> None:
        """Whoever consented takes it back."""
        install = self.install
        for user in (*install.user_scopes,) if install else ():
            self.slack.revoke_user_token(install.app.client_id, self.name, user)

    def unjoined_channel(self, dice: Random) -> None:
        """A public channel that the user is not in, with messages, which the user's token reads in any case."""
        self._fill(self._new_channel(), dice)

    odd: ClassVar[Mapping[str, Deed]] = {**SlackAccount.odd, "unjoined_channel": unjoined_channel}

    def _readers(self) -> tuple[str, ...]:
        return tuple(self.slack.member(self.team, person).id for person in (USER, OTHER_USER))

    def _can_read(self, channel: Channel) -> bool:
        return not channel.is_private or channel.members.issuperset(self._readers())


class SlackBotAndUser(SlackBot):
    """A bot's workspace whose installer also gave a token of their own, which is refreshed by itself."""

    scopes = (*BOT_SCOPES, *USER_SCOPES)

    def end_user_token(self, dice: Random) -> None:
        """The user takes the own token back; the bot stays."""
        install = self.install
        for user in (*install.user_scopes,) if install else ():
            self.slack.revoke_user_token(install.app.client_id, self.name, user)

    odd: ClassVar[Mapping[str, Deed]] = {**SlackBot.odd, "end_user_token": end_user_token}


def _events_of(message: Message, notes: list[str], *, is_traceless: bool) -> Iterator[Event]:
    is_reply = message.get("thread_ts") not in {None, message["ts"]}
    kind = "message_replied" if is_reply else "message_posted"
    at = _instant(message["ts"])
    yield Event(kind=kind, title=_first_text(message), at=at, note=", ".join(notes), is_traceless=is_traceless)
    if "edited" in message:
        edited_at = _instant(message["edited"]["ts"])
        late = [OLD_MESSAGE] if edited_at - at > LONG_AGO else [OF_REPLY] if is_reply else []
        note = ", ".join([*notes, *late])
        yield Event(kind="message_edited", title=message["text"].split()[-1], at=edited_at, note=note)


def _first_text(message: Message) -> str:
    """The text that only this message has."""
    shown: str = message["text"] or message["files"][0]["title"]
    return shown.split(maxsplit=1)[0]


def _first_name(channel: Channel) -> str:
    """The name that the channel began with."""
    return channel.name.partition("_")[0]


def _instant(ts: str) -> datetime:
    return EPOCH + timedelta(microseconds=int(Decimal(ts).scaleb(6)))


ACCOUNTS: tuple[type[Account], ...] = (SlackBot, SlackUser, SlackBotAndUser)
