"""Zoho Cliq: channels, their messages, and the bots that people put into them."""

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from connectors.domain.model.signal import SignalKind
from connectors_sandbox import Sandbox
from connectors_sandbox.zoho.cliq import Bot, Chat, Message
from tests.simulation.world.account import Deed, Event
from tests.simulation.world.zoho import ZohoAccount, instant, instants, millis
from tests.support.stage import CLIQ_SECRET

SERVICE = "info"
"""The type of rows that nobody posted: joins, calls, settings."""
RECENT = 30
"""Messages of a channel that people still edit and delete."""
BOT = "Status bot"
"""Another bot, which posts and is heard by no bot."""
IMPORTED = "of an import"
"""The note of messages with old times: a chat that gets some is not listed as modified."""


class ZohoCliq(ZohoAccount):
    """A user in some channels of an organization."""

    slug = "zoho-cliq"
    lists = ("/channels", "/chats", "/messages")
    page_items = 100
    """The rows that the reader asks for: Cliq gives fewer only at a window's end, so no cap can stand in for them."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.chats: list[Chat] = []
        self.bots: dict[str, Bot] = {}
        """Our bot of each webhook URL."""
        self._is_invited_late = False
        self._joined: dict[str, int] = {}
        """Milliseconds at which the user joined a channel that was there before, by chat."""
        self._notes: dict[str, str] = {}
        """What is odd about a message, by its id."""

    @property
    def colleagues_location(self) -> str:
        """The user's: a channel has members of one data centre."""
        return self.location

    def prepare(self, items: int, dice: Random) -> None:
        """A channel with old messages, and an empty one without the user; the bot may be invited late."""
        self.add_users(dice)
        self._is_invited_late = dice.random() < 0.4
        main = self._add_channel(self.user, self.other_user)
        self._add_channel(self.other_user)
        for at in instants(items, 20, self.now, dice):
            by = dice.choice((self.user, self.other_user, BOT))
            self.zoho.post_message(main.id, f"{self.text()} old", by=by, time=millis(at))

    def finish(self, url: str | None) -> None:
        """Somebody makes a bot for the URL, and mostly adds it to the channels at once."""
        if url is None:
            return
        self.url = url
        if url not in self.bots:
            name = f"Poblysh {self.name} {len(self.bots)}"
            self.bots[url] = self.zoho.add_bot(name, url, kind="deluge", secret=CLIQ_SECRET, location=self.location)
        if not self._is_invited_late:
            self._invite()

    def events(self) -> list[Event]:
        """What people and other bots have posted in the channels of which the user is a member, archived or not."""
        return [
            Event(
                kind=SignalKind.MESSAGE_POSTED,
                title=title_of(message),
                at=instant(message.time),
                note=self._note(chat, message),
                is_traceless=self._notes.get(message.id) == IMPORTED,
            )
            for chat in self.chats
            if self.user in chat.members
            for message in chat.messages
            if message.type != SERVICE and self.is_shown(message.added_at)
        ]

    # --- of every day ------------------------------------------------------------------------------------------------

    def post(self, dice: Random) -> None:
        """A message of one of the two."""
        self.zoho.post_message(self._channel(dice).id, f"{self.text()} Is it in?", by=self._person(dice))

    def post_file(self, dice: Random) -> None:
        """A file, with or without a caption."""
        name, caption = self.text(), dice.random() < 0.5
        self.zoho.post_message(
            self._channel(dice).id,
            f"{name} The plan" if caption else "",
            by=self._person(dice),
            type="file",
            file_name="plan.pdf" if caption else f"{name} plan.pdf",
        )

    def post_as_bot(self, dice: Random) -> None:
        """A message that no bot hears."""
        self.zoho.post_message(self._channel(dice).id, f"{self.text()} All is well", by=BOT)

    def mention(self, dice: Random) -> None:
        """A message that mentions one of our bots, which two of its handlers report."""
        bot, channel, text = self._bot(dice), self._channel(dice), f"{self.text()} What is up?"
        if bot is None:
            self.zoho.post_message(channel.id, text, by=self._person(dice))
        else:
            self.zoho.mention_bot(bot.id, channel.id, text, by=self._person(dice))

    def message_bot(self, dice: Random) -> None:
        """A direct message to one of our bots, which no channel shows."""
        bot = self._bot(dice)
        if bot is not None:
            self.zoho.message_bot(bot.id, f"{self.text()} Only for you", by=self._person(dice))

    def edit(self, dice: Random) -> None:
        """A recent message gets another text; without one, somebody posts."""
        channel, message = self._recent(dice)
        if message is None:
            self.post(dice)
        else:
            self.zoho.edit_message(channel.id, message.id, f"{title_of(message)} edited {dice.randrange(100)}")

    def delete(self, dice: Random) -> None:
        """A recent message is deleted; without one, somebody posts."""
        channel, message = self._recent(dice)
        if message is None:
            self.post(dice)
        else:
            self.zoho.delete_message(channel.id, message.id)

    def note_change(self, dice: Random) -> None:
        """A row that nobody posted."""
        self.zoho.post_message(self._channel(dice).id, "changed the topic", by=self._person(dice), type=SERVICE)

    def close_thread(self, dice: Random) -> None:
        """A thread is closed, which only bots hear."""
        channel = self._channel(dice)
        data = {"thread_chat_id": f"{channel.id}T{dice.randrange(1000)}"}
        self.zoho.run_operation(channel.id, "thread_closed", by=self._person(dice), data=data)

    # --- levers ------------------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """Messages of an import, which keep their times."""
        channel = self._channel(dice)
        for _ in range(dice.randint(1, 3)):
            at = millis(self.days_ago(dice.uniform(0.01, 40)))
            message = self.zoho.post_message(channel.id, f"{self.text()} imported", by=BOT, time=at)
            self._notes[message.id] = IMPORTED

    def new_container(self, dice: Random) -> None:
        """A new channel of both, with some messages; no bot is in it."""
        channel = self._add_channel(self.user, self.other_user)
        for _ in range(dice.randint(0, 4)):
            self.zoho.post_message(channel.id, f"{self.text()} Welcome", by=self._person(dice))

    def close_container(self, dice: Random) -> None:
        """A channel is archived."""
        self.zoho.archive_channel(self._channel(dice).id)

    def reopen_container(self, dice: Random) -> None:
        """An archived channel is opened again, if there is one."""
        closed = [chat for chat in self.chats if chat.is_archived]
        if closed:
            self.zoho.unarchive_channel(dice.choice(closed).id)

    def leave_container(self, dice: Random) -> None:
        """The user leaves a channel, which the colleague keeps."""
        self.zoho.leave_channel(self._channel(dice).id, self.user)

    def join_container(self, dice: Random) -> None:
        """The user joins a channel in which the colleague has posted before; a row may tell of it."""
        others = [chat for chat in self.chats if self.user not in chat.members]
        if not others:
            return
        channel = dice.choice(others)
        self.zoho.join_channel(channel.id, self.user)
        self._joined[channel.id] = millis(self.now)
        if dice.random() < 0.5:
            self.zoho.post_message(channel.id, "joined", by=self.user, type=SERVICE)

    def post_elsewhere(self, dice: Random) -> None:
        """The colleague posts in a channel that the user is not in."""
        others = [chat for chat in self.chats if self.user not in chat.members]
        if others:
            self.zoho.post_message(dice.choice(others).id, f"{self.text()} Without you", by=self.other_user)

    def invite_late(self, dice: Random) -> None:
        """Our bots are added to all channels that lack them."""
        self._invite()

    def remove_bot(self, dice: Random) -> None:
        """One of our bots is removed from a channel, and told so."""
        bot = self._bot(dice)
        joined = [chat for chat in self.chats if bot is not None and chat.id in bot.chats]
        if bot is not None and joined:
            self.zoho.remove_bot_from_channel(bot.id, dice.choice(joined).id, by=self.other_user)

    def hooks_vanish(self, dice: Random) -> None:
        """All our bots are deleted."""
        for bot in self.bots.values():
            self.zoho.delete_bot(bot.id)
        self.bots.clear()

    def leave_out_ids(self, dice: Random) -> None:
        """Our bots' calls have no message ids: no source says for which operations Cliq sends them."""
        for bot in self.bots.values():
            bot.has_message_ids = False

    def fill_from_other_end(self, dice: Random) -> None:
        """Cliq fills windows of messages from the other end, which it does not document."""
        self.zoho.newest_first = not self.zoho.newest_first

    def short_pages(self, dice: Random) -> None:
        """Lists of channels have one or two on a page; Cliq gives fewer than asked for, and a token."""
        self.sandbox.core.page_caps[self.mount] = dice.randint(1, 2)

    def full_pages(self, dice: Random) -> None:
        """Lists have as many as Cliq gives."""
        self.sandbox.core.page_caps.pop(self.mount, None)

    def burst(self, dice: Random) -> None:
        """More messages within seconds than a page holds; no bot hears them."""
        channel, at = self._channel(dice), millis(self.now)
        for number in range(self.page_items + dice.randint(1, 30), 0, -1):
            message = self.zoho.post_message(channel.id, f"{self.text()} Row", by=BOT, time=at - number * 20)
            self._notes[message.id] = "of a burst"

    def same_millisecond(self, dice: Random) -> None:
        """Several messages of one instant, which a page may cut in two."""
        channel, at = self._channel(dice), millis(self.now)
        for _ in range(dice.randint(2, 8)):
            self.zoho.post_message(channel.id, f"{self.text()} At once", by=self._person(dice), time=at)

    # --- for deeds ---------------------------------------------------------------------------------------------------

    def _add_channel(self, *members: str) -> Chat:
        channel = self.zoho.add_channel(f"{self.name} {len(self.chats)}", members, location=self.location)
        self.chats.append(channel)
        return channel

    def _channel(self, dice: Random) -> Chat:
        """A channel in which the user can post; a new one if there is none."""
        open_ = [chat for chat in self.chats if self.user in chat.members and not chat.is_archived]
        return dice.choice(open_) if open_ else self._add_channel(self.user, self.other_user)

    def _recent(self, dice: Random) -> tuple[Chat, Message | None]:
        """A channel, and a recent text of a person in it."""
        channel = self._channel(dice)
        texts = [one for one in channel.messages[-RECENT:] if one.type == "text" and not one.sender_id.startswith("b-")]
        return channel, dice.choice(texts) if texts else None

    def _note(self, chat: Chat, message: Message) -> str:
        if chat.is_archived:
            return "in an archived channel"
        if message.time < self._joined.get(chat.id, 0):
            return "of a channel that was joined later"
        return self._notes.get(message.id) or ("listed late" if self.was_shown_late(message.added_at) else "")

    def _person(self, dice: Random) -> str:
        return dice.choice((self.user, self.other_user))

    def _bot(self, dice: Random) -> Bot | None:
        return dice.choice(list(self.bots.values())) if self.bots else None

    def _invite(self) -> None:
        for bot in self.bots.values():
            for chat in self.chats:
                if chat.id not in bot.chats and self.other_user in chat.members and not chat.is_archived:
                    self.zoho.add_bot_to_channel(bot.id, chat.id, by=self.other_user)

    usual: ClassVar[Mapping[str, tuple[int, Deed]]] = {
        "post": (8, post),
        "post_file": (2, post_file),
        "post_as_bot": (1, post_as_bot),
        "mention": (1, mention),
        "message_bot": (1, message_bot),
        "edit": (3, edit),
        "delete": (2, delete),
        "note_change": (1, note_change),
        "close_thread": (1, close_thread),
        "post_elsewhere": (1, post_elsewhere),
    }
    odd: ClassVar[Mapping[str, Deed]] = {
        **ZohoAccount.odd,
        "backdate": backdate,
        "new_container": new_container,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "leave_container": leave_container,
        "join_container": join_container,
        "invite_late": invite_late,
        "remove_bot": remove_bot,
        "hooks_vanish": hooks_vanish,
        "leave_out_ids": leave_out_ids,
        "fill_from_other_end": fill_from_other_end,
        "short_pages": short_pages,
        "full_pages": full_pages,
        "burst": burst,
        "same_millisecond": same_millisecond,
    }


def title_of(message: Message) -> str:
    """The part of a message's text, or of its file's name, that nothing else has and no edit changes."""
    return (message.text or message.file_name or "").partition(" ")[0]


ACCOUNTS = (ZohoCliq,)
