"""Zoho's world, as tests and demos control it."""

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from connectors_sandbox.core import SandboxCore, StandingHook
from connectors_sandbox.families import Ending, TokenFamilies
from connectors_sandbox.zoho.auth import DATA_CENTRES, Authorizations, Client, Grant, Limiter, User
from connectors_sandbox.zoho.cliq import Bot, BotCalls, BotKind, Chat, Message, make_key
from connectors_sandbox.zoho.mail import SYSTEM_FOLDERS, Mail, Mailbox, MailWebhooks

ACTIONS: Final = (
    "add_client",
    "add_user",
    "revoke_user",
    "end_access_tokens",
    "throttle_tokens",
    "lock_out",
    "add_folder",
    "delete_folder",
    "restore_folder",
    "receive_mail",
    "import_mail",
    "send_mail",
    "move_mail",
    "read_mail",
    "delete_mail",
    "receive_between_pages",
    "save_mail_webhook",
    "remove_mail_webhook",
    "send_task",
    "add_channel",
    "join_channel",
    "leave_channel",
    "archive_channel",
    "unarchive_channel",
    "post_message",
    "edit_message",
    "delete_message",
    "add_bot",
    "delete_bot",
    "add_bot_to_channel",
    "remove_bot_from_channel",
    "mention_bot",
    "message_bot",
    "run_operation",
)
"""The methods that the control endpoints may call."""

MAIL_CALLS: Final = 30
MAIL_LOCK: Final = timedelta(minutes=15)
MESSAGE_CALLS: Final = 15
MESSAGE_LOCK: Final = timedelta(minutes=10)
FIRST_MESSAGE_ID: Final = 1_709_887_058_769_100_001
"""Nineteen digits: more than a JavaScript number holds."""


class ZohoWorld:
    """Users in two data centres with their mailboxes and chats, OAuth clients, webhooks and bots."""

    def __init__(self, core: SandboxCore) -> None:
        self.core = core
        self.lock = threading.RLock()
        self.auth = Authorizations(core)
        self.mailboxes: dict[str, Mailbox] = {}
        self.chats: dict[str, Chat] = {}
        self.bots: dict[str, Bot] = {}
        self.mail_webhooks = MailWebhooks(core)
        self.bot_calls = BotCalls(core)
        self.mail_limiter = Limiter(core.clock.now, MAIL_CALLS, MAIL_LOCK)
        self.message_limiter = Limiter(core.clock.now, MESSAGE_CALLS, MESSAGE_LOCK)
        self.throttle_status = 429
        """The status of a refused call: 429, or 400, which Zoho also uses."""
        self.newest_first = True
        """The end from which a window of messages is filled."""
        self._ids = 0

    # --- accounts --------------------------------------------------------------------------------------------------

    def accounts_url(self, location: str) -> str:
        """The accounts server of a data centre."""
        return f"{self.core.base_url('zoho')}/{location}/accounts"

    def mail_url(self, location: str) -> str:
        """Mail's host in a data centre."""
        return f"{self.core.base_url('zoho')}/{location}/mail"

    def add_client(
        self,
        client_id: str,
        client_secret: str,
        *,
        redirect_uris: tuple[str, ...] | list[str] = (),
        data_centres: tuple[str, ...] | list[str] = DATA_CENTRES,
    ) -> None:
        """Register a client; with fewer data centres, Multi DC is off in the others."""
        with self.lock:
            client = Client(client_id, client_secret, tuple(redirect_uris), tuple(data_centres))
            self.auth.clients[client_id] = client

    def add_user(self, email: str, *, name: str | None = None, location: str = "us") -> User:
        """A user with a mailbox.

        Raises:
            ValueError: there is no such data centre.
        """
        if location not in DATA_CENTRES:
            raise ValueError(f"the sandbox has the data centres {', '.join(DATA_CENTRES)}")
        with self.lock:
            number = self._next()
            user = User(680_463_000 + number, email, name or email.partition("@")[0].title(), location)
            self.auth.users[email] = user
            mailbox = Mailbox(user, 2_560_636_000_000_008_000 + number)
            for folder in SYSTEM_FOLDERS:
                mailbox.folders[str(9_000_000_002_000 + self._next())] = (folder, folder)
            self.mailboxes[email] = mailbox
            return user

    def revoke_user(self, email: str) -> int:
        """Revoke all grants of a user, as on the page of connected apps; returns how many there were."""
        with self.lock:
            return self.auth.families.end_all(email, Ending.WITHDRAWN)

    def end_access_tokens(self, email: str) -> int:
        """End a user's access tokens early, as Zoho does with the oldest ones; returns how many there were."""
        with self.lock:
            return self.auth.end_access_tokens(email)

    def throttle_tokens(self, email: str) -> None:
        """Answer a user's refreshes with "Access Denied" for ten minutes."""
        with self.lock:
            self.auth.throttle(email)

    def consent_elsewhere(self, client_id: str, email: str) -> Grant:
        """Consent to another environment of the same client: it counts like ours, and may end the user's oldest.

        Source: zoho.com/accounts/protocol/oauth/token-limits.
        """
        with self.lock:
            user = self.auth.users[email]
            return self.auth.add_grant(client_id, user, (), gives_refresh=True)

    def lock_out(self, email: str) -> None:
        """Refuse a user's calls from now on, until the lock of each family of endpoints ends."""
        with self.lock:
            self.mail_limiter.lock_out(email)
            self.message_limiter.lock_out(email)

    # --- mail ------------------------------------------------------------------------------------------------------

    def add_folder(self, email: str, name: str) -> str:
        """A new folder of the user's own; returns its id."""
        with self.lock:
            folder_id = str(9_000_000_002_000 + self._next())
            self.mailboxes[email].folders[folder_id] = (name, "Inbox")
            return folder_id

    def delete_folder(self, email: str, name: str) -> None:
        """Delete a folder of the user's own: it moves below Trash, with its mail."""
        with self.lock:
            mailbox = self.mailboxes[email]
            mailbox.deleted_folders.add(mailbox.folder_id(name))

    def restore_folder(self, email: str, name: str) -> None:
        """Take a deleted folder out of the trash."""
        with self.lock:
            mailbox = self.mailboxes[email]
            mailbox.deleted_folders.discard(mailbox.folder_id(name))

    def receive_mail(
        self,
        email: str,
        subject: str,
        *,
        sender: str = "Rebecca",
        from_address: str = "rebecca@zylker.com",
        text: str = "Hello",
        folder: str = "Inbox",
        time: int | None = None,
    ) -> Mail:
        """Incoming mail: the webhook reports it, unless it lands in Spam.

        Args:
            email: whose mailbox.
            subject: its subject.
            sender: a name.
            from_address: the sender's address.
            text: the body.
            folder: where a filter files it.
            time: milliseconds of its `receivedTime`, which may be minutes before it is listed; None for now.
        """
        with self.lock:
            mailbox = self.mailboxes[email]
            mail = self._add_mail(mailbox, folder, subject, sender, from_address, text, time)
            if folder != "Spam":
                self.mail_webhooks.arrived(mailbox, mail)
            return mail

    def import_mail(self, email: str, subject: str, *, time: int, folder: str = "Inbox") -> Mail:
        """Mail that a migration or an IMAP client adds with its own date; no webhook reports it.

        Args:
            email: whose mailbox.
            subject: its subject.
            time: milliseconds of its `receivedTime`.
            folder: where it is put.
        """
        with self.lock:
            return self._add_mail(
                self.mailboxes[email], folder, subject, "Rebecca", "rebecca@zylker.com", "Hello", time
            )

    def send_mail(self, email: str, subject: str, *, text: str = "Hello") -> Mail:
        """Outgoing mail, in Sent; no webhook reports it."""
        with self.lock:
            mailbox = self.mailboxes[email]
            return self._add_mail(mailbox, "Sent", subject, mailbox.user.name, email, text)

    def move_mail(self, email: str, message_id: int, folder: str) -> None:
        """Move a message to another folder."""
        with self.lock:
            mailbox = self.mailboxes[email]
            mailbox.mails[int(message_id)].folder_id = mailbox.folder_id(folder)

    def read_mail(self, email: str, message_id: int, *, is_read: bool = True) -> None:
        """Mark a message as read, or as unread again."""
        with self.lock:
            self.mailboxes[email].mails[int(message_id)].is_read = is_read

    def delete_mail(self, email: str, message_id: int) -> None:
        """Delete a message for good."""
        with self.lock:
            del self.mailboxes[email].mails[int(message_id)]

    def receive_between_pages(self, email: str, count: int, *, subject: str = "Meanwhile") -> None:
        """Let one message arrive after each of the next `count` lists; their subjects end with falling numbers."""
        with self.lock:
            mailbox = self.mailboxes[email]
            mailbox.between_pages, mailbox.between_subject = count, subject

    def save_mail_webhook(self, email: str, url: str, *, is_signed: bool = False) -> None:
        """Enter a URL in the mailbox's settings; entering another one announces the same secret again.

        Raises:
            WebhookNotSavedError: the URL did not answer 200.
        """
        with self.lock:
            mailbox, hook_id = self.mailboxes[email], 3_597_307_697_596_728_000 + self._next()
        # Outside the lock: the receiver may call us before it answers.
        self.mail_webhooks.save(mailbox, url, hook_id, is_signed=is_signed)

    def remove_mail_webhook(self, email: str) -> None:
        """Remove the webhook from the mailbox's settings; one that is made later has another secret."""
        with self.lock:
            self.mailboxes[email].hook = None

    def send_task(self, email: str, title: str) -> None:
        """Send the webhook's other entity, which looks different."""
        with self.lock:
            mailbox = self.mailboxes[email]
            body = {
                "entityId": str(self._next()),
                "entityType": 3,
                "action": "add",
                "title": title,
                "nameSpaceId": "9",
                "status": "open",
                "triggerZuid": mailbox.user.zuid,
            }
            self.mail_webhooks.send(mailbox, "task", body)

    def _add_mail(
        self,
        mailbox: Mailbox,
        folder: str,
        subject: str,
        sender: str,
        from_address: str,
        text: str,
        time: int | None = None,
    ) -> Mail:
        folder_id = mailbox.folder_id(folder)
        number = FIRST_MESSAGE_ID + self._next()
        received_ms = self._now_ms() if time is None else time
        mail = Mail(number, folder_id, subject, sender, from_address, text, received_ms, self.core.clock.now())
        mailbox.mails[mail.id] = mail
        return mail

    # --- chats -----------------------------------------------------------------------------------------------------

    def add_channel(self, name: str, members: tuple[str, ...] | list[str], *, location: str = "us") -> Chat:
        """A channel of an organization in one data centre."""
        with self.lock:
            number = self._next()
            chat = Chat(f"CT_125624652439977{number:04}_1741337", location, name, f"O{number:05}", set(members))
            self.chats[chat.id] = chat
            return chat

    def join_channel(self, chat_id: str, email: str) -> None:
        """Add a member, who sees all earlier messages, too."""
        with self.lock:
            self.chats[chat_id].members.add(email)

    def leave_channel(self, chat_id: str, email: str) -> None:
        """Remove a member."""
        with self.lock:
            self.chats[chat_id].members.discard(email)

    def archive_channel(self, chat_id: str) -> None:
        """Archive a channel: it is listed only as archived, and its messages stay.

        Source: zoho.com/cliq/help/restapi/v2/channels (`status`).
        """
        with self.lock:
            self.chats[chat_id].is_archived = True

    def unarchive_channel(self, chat_id: str) -> None:
        """Open an archived channel again."""
        with self.lock:
            self.chats[chat_id].is_archived = False

    def post_message(
        self,
        chat_id: str,
        text: str,
        *,
        by: str,
        type: str = "text",  # noqa: A002 - Cliq's own word
        file_name: str | None = None,
        time: int | None = None,
    ) -> Message:
        """A new message; the chat's bots receive it.

        Args:
            chat_id: the chat.
            text: the text, or a file's caption.
            by: a user's address, or any other name for another bot.
            type: Cliq's type; service rows have other types than people's.
            file_name: of a file.
            time: milliseconds, to give several messages the same time; None for now.
        """
        with self.lock:
            chat, user = self.chats[chat_id], self.auth.users.get(by)
            at = self._now_ms() if time is None else time
            sender_id = str(user.zuid) if user else f"b-{by}"
            message = Message(
                id=f"{at}_{self._next()}",
                time=at,
                sender_id=sender_id,
                sender_name=user.name if user else by,
                text=text,
                added_at=self.core.clock.now(),
                type=type,
                file_name=file_name,
            )
            chat.messages.append(message)
            chat.modified_ms = max(chat.modified_ms, at)
            if user is not None:
                self._notify(chat, user, "message_sent", message, at)
            return message

    def edit_message(self, chat_id: str, message_id: str, text: str) -> None:
        """Edit a message: it keeps its id and time."""
        with self.lock:
            chat = self.chats[chat_id]
            message = next(one for one in chat.messages if one.id == message_id)
            message.text = text
            self._notify(chat, self._author(message), "message_edited", message, self._now_ms())

    def delete_message(self, chat_id: str, message_id: str) -> None:
        """Delete a message."""
        with self.lock:
            chat = self.chats[chat_id]
            message = next(one for one in chat.messages if one.id == message_id)
            chat.messages.remove(message)
            self._notify(chat, self._author(message), "message_deleted", message, self._now_ms())

    def add_bot(
        self,
        name: str,
        url: str,
        *,
        kind: BotKind = "webhook",
        secret: str | None = None,
        location: str = "us",
        has_message_ids: bool = True,
    ) -> Bot:
        """A new bot: of the kind `webhook`, whose calls Zoho signs, or with a script that sends its own secret."""
        with self.lock:
            key = make_key() if kind == "webhook" else None
            bot = Bot(f"b-{self._next()}", name, location, kind, url, secret, key, has_message_ids=has_message_ids)
            self.bots[bot.id] = bot
            return bot

    def delete_bot(self, bot_id: str) -> None:
        """Delete a bot: it hears nothing more, and nobody is told."""
        with self.lock:
            self.bots.pop(bot_id, None)

    def add_bot_to_channel(self, bot_id: str, chat_id: str, *, by: str) -> None:
        """Add a bot to a channel."""
        with self.lock:
            bot, chat = self.bots[bot_id], self.chats[chat_id]
            bot.chats.add(chat_id)
            self.bot_calls.participation(bot, chat, self.auth.users[by], "added", {}, None)

    def remove_bot_from_channel(self, bot_id: str, chat_id: str, *, by: str) -> None:
        """Remove it again."""
        with self.lock:
            bot, chat = self.bots[bot_id], self.chats[chat_id]
            bot.chats.discard(chat_id)
            self.bot_calls.participation(bot, chat, self.auth.users[by], "removed", {}, None)

    def mention_bot(self, bot_id: str, chat_id: str, text: str, *, by: str) -> Message:
        """A message that mentions a bot: runs two of its handlers."""
        with self.lock:
            message = self.post_message(chat_id, text, by=by)
            self.bot_calls.mention(self.bots[bot_id], self.chats[chat_id], self.auth.users[by], message)
            return message

    def message_bot(self, bot_id: str, text: str, *, by: str) -> Message:
        """A direct message to a bot."""
        with self.lock:
            user, at = self.auth.users[by], self._now_ms()
            message = Message(f"{at}_{self._next()}", at, str(user.zuid), user.name, text, self.core.clock.now())
            self.bot_calls.direct(self.bots[bot_id], f"CT_{user.zuid}-B1", user, message)
            return message

    def run_operation(self, chat_id: str, operation: str, *, by: str, data: Mapping[str, Any] | None = None) -> None:
        """Run the participation handlers of a chat's bots with any operation, known or not (`thread_closed`, …)."""
        with self.lock:
            chat = self.chats[chat_id]
            for bot in self._bots_of(chat):
                self.bot_calls.participation(bot, chat, self.auth.users[by], operation, data or {}, None)

    def _notify(self, chat: Chat, user: User, operation: str, message: Message, at: int) -> None:
        content: dict[str, Any] = {"type": message.type, "text": message.text, "mentions": []}
        if message.file_name is not None:
            content = {"type": message.type, "comment": message.text, "file": {"name": message.file_name}}
        for bot in self._bots_of(chat):
            self.bot_calls.participation(bot, chat, user, operation, {"message": content, "time": at}, message)

    def _bots_of(self, chat: Chat) -> list[Bot]:
        return [bot for bot in self.bots.values() if chat.id in bot.chats]

    def _author(self, message: Message) -> User:
        found = (user for user in self.auth.users.values() if str(user.zuid) == message.sender_id)
        return next(found, next(iter(self.auth.users.values())))

    # --- for the control pages -----------------------------------------------------------------------------------

    def describe(self) -> Mapping[str, Any]:
        """The contents of the index page."""
        with self.lock:
            return {
                "clients": [{"id": one.id, "data_centres": one.data_centres} for one in self.auth.clients.values()],
                "users": [
                    {"email": one.email, "zuid": one.zuid, "location": one.location} for one in self.auth.users.values()
                ],
                "mailboxes": [
                    {"account_id": str(one.account_id), "email": email, "mails": len(one.mails)}
                    for email, one in self.mailboxes.items()
                ],
                "channels": [
                    {"chat_id": one.id, "name": one.name, "location": one.location, "messages": len(one.messages)}
                    for one in self.chats.values()
                ],
                "bots": [
                    {"id": one.id, "name": one.name, "kind": one.kind, "public_key": one.public_key}
                    for one in self.bots.values()
                ],
                "live_refresh_tokens": sum(one.refresh is not None for one in self.auth.grants),
            }

    @property
    def families(self) -> TokenFamilies:
        """What consents gave."""
        return self.auth.families

    def live_hooks(self) -> list[StandingHook]:
        """None: only people make webhooks and bots."""
        return []

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the control endpoints may call."""
        return {name: getattr(self, name) for name in ACTIONS}

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def _now_ms(self) -> int:
        return round(self.core.clock.now().timestamp() * 1000)
