"""Zoho Mail: one mailbox with its folders, and the webhook that its owner saves by hand."""

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from connectors.domain.model.signal import SignalKind
from connectors_sandbox import Sandbox
from connectors_sandbox.zoho.mail import Mail, Mailbox, WebhookNotSavedError
from tests.simulation.world.account import Deed, Event
from tests.simulation.world.zoho import ZohoAccount, instant, instants, millis

NOT_LISTED = frozenset({"Drafts", "Templates", "Outbox", "Spam", "Trash"})
"""Folders with mail that was neither received nor sent, or that is thrown away."""
MOVED_AT_ONCE = 15
"""More rows than the reader's pages overlap."""
PAGE_ROWS = 200
"""Of the reader's pages: Zoho gives fewer only at a list's end, so no cap can stand in for them."""
YEAR_2099 = 4_070_908_800_000
"""Milliseconds."""

IMPORTED, DATED_1970, BACK = "of an import", "dated 1970", "back from the trash or spam"
TRACELESS = frozenset({IMPORTED, DATED_1970, BACK})
"""Notes of mail that no list shows as new: Zoho's lists are by `receivedTime` alone, which is an old one."""


class ZohoMail(ZohoAccount):
    """A user's mailbox."""

    slug = "zoho-mail"
    lists = ("/folders", "/messages/view")
    page_items = 110
    """More than half of a page: its rows are read every five minutes and dear, and twice as many are more than one."""
    colleagues_location = None

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.folders: list[str] = []
        """Names of the user's own folders."""
        self._is_saved_late = False
        self._notes: dict[int, str] = {}
        """What is odd about a message, by its id."""

    def prepare(self, items: int, dice: Random) -> None:
        """The mailbox with a folder of the user's, and old mail in the inbox; the webhook may be saved late."""
        self.add_users(dice)
        self._is_saved_late = dice.random() < 0.4
        self._add_folder()
        for at in instants(items, 20, self.now, dice):
            self.zoho.import_mail(self.user, self._subject(dice), time=millis(at))

    def finish(self, url: str | None) -> None:
        """The owner saves the URL in the mailbox's settings, or keeps it for later."""
        self.url = url or self.url
        if not self._is_saved_late:
            self._save_hook()

    def events(self) -> list[Event]:
        """The mail that was received and sent, and that lies neither in the trash nor in spam."""
        mailbox = self._mailbox
        kinds = {
            key: SignalKind.EMAIL_SENT if name == "Sent" else SignalKind.EMAIL_RECEIVED
            for key, (name, _) in mailbox.folders.items()
            if name not in NOT_LISTED and key not in mailbox.deleted_folders
        }
        return [
            Event(
                kind=kinds[mail.folder_id],
                title=mail.subject,
                at=instant(mail.received_ms),
                note=self._note(mail),
                is_traceless=self._note(mail) in TRACELESS,
            )
            for mail in mailbox.mails.values()
            if mail.folder_id in kinds and self.is_shown(mail.added_at)
        ]

    # --- of every day ------------------------------------------------------------------------------------------------

    def receive(self, dice: Random) -> None:
        """Mail in the inbox."""
        self.zoho.receive_mail(self.user, self._subject(dice))

    def receive_filtered(self, dice: Random) -> None:
        """Mail that a filter files in another folder."""
        self.zoho.receive_mail(self.user, self._subject(dice), folder=self._folder(dice))

    def receive_spam(self, dice: Random) -> None:
        """Mail in Spam, which no webhook reports."""
        self.zoho.receive_mail(self.user, self._subject(dice), folder="Spam")

    def send(self, dice: Random) -> None:
        """Mail in Sent, which no webhook reports."""
        self.zoho.send_mail(self.user, self._subject(dice))

    def read(self, dice: Random) -> None:
        """A message is marked as read, or as unread again."""
        mail = self._mail(dice)
        if mail is not None:
            self.zoho.read_mail(self.user, mail.id, is_read=not mail.is_read)

    def move(self, dice: Random) -> None:
        """Mail goes from the inbox to a folder, or back."""
        mail, folder = self._mail(dice, "Inbox", *self._kept_folders()), self._folder(dice)
        if mail is None:
            self.receive(dice)
        else:
            is_inside = mail.folder_id == self._mailbox.folder_id(folder)
            self.zoho.move_mail(self.user, mail.id, "Inbox" if is_inside else folder)

    def throw_away(self, dice: Random) -> None:
        """Mail goes to the trash."""
        self._move_from(dice, "Trash", "Inbox", "Sent", *self._kept_folders())

    def restore(self, dice: Random) -> None:
        """Mail comes back from the trash."""
        mail = self._mail(dice, "Trash")
        if mail is not None:
            self.zoho.move_mail(self.user, mail.id, "Sent" if mail.from_address == self.user else "Inbox")
            self._come_back(mail)

    def mark_spam(self, dice: Random) -> None:
        """Mail goes to Spam."""
        self._move_from(dice, "Spam", "Inbox", *self._kept_folders())

    def unmark_spam(self, dice: Random) -> None:
        """Mail comes back from Spam."""
        mail = self._mail(dice, "Spam")
        if mail is not None:
            self.zoho.move_mail(self.user, mail.id, "Inbox")
            self._come_back(mail)

    def delete(self, dice: Random) -> None:
        """Mail is deleted for good."""
        mail = self._mail(dice)
        if mail is None:
            self.receive(dice)
        else:
            self.zoho.delete_mail(self.user, mail.id)

    def make_task(self, dice: Random) -> None:
        """The webhook reports a task, which is no mail."""
        self.zoho.send_task(self.user, self.text())

    # --- levers ------------------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """An IMAP client or a migration adds mail with old dates."""
        for _ in range(dice.randint(1, 3)):
            folder = dice.choice(("Inbox", "Sent", self._folder(dice)))
            self._import(dice, millis(self.days_ago(dice.uniform(0.01, 40))), folder=folder)

    def date_1970(self, dice: Random) -> None:
        """An IMAP client adds mail without a date."""
        self._import(dice, 0, note=DATED_1970)

    def date_2099(self, dice: Random) -> None:
        """An IMAP client adds mail with a date of the future."""
        self._import(dice, YEAR_2099 + dice.randrange(1000), note="dated 2099")

    def deliver_late(self, dice: Random) -> None:
        """Mail is listed and reported minutes after its `receivedTime`."""
        at = millis(self.now) - dice.randrange(1000, 14 * 60_000)
        mail = self.zoho.receive_mail(self.user, self._subject(dice), time=at)
        self._notes[mail.id] = "listed late"

    def new_container(self, dice: Random) -> None:
        """A new folder, into which the latest mail of the inbox moves and a migration puts some."""
        name = self._add_folder()
        latest = self._in("Inbox")[-3:]
        for mail in latest[: dice.randint(0, 3)]:
            self.zoho.move_mail(self.user, mail.id, name)
        for _ in range(dice.randint(0, 3)):
            self._import(dice, millis(self.days_ago(dice.uniform(0, 10))), folder=name)

    def close_container(self, dice: Random) -> None:
        """A folder goes to the trash, with its mail."""
        kept = self._kept_folders()
        if kept:
            self.zoho.delete_folder(self.user, dice.choice(kept))

    def reopen_container(self, dice: Random) -> None:
        """A folder comes back from the trash, if there is one."""
        kept = self._kept_folders()
        closed = [name for name in self.folders if name not in kept]
        if closed:
            name = dice.choice(closed)
            self.zoho.restore_folder(self.user, name)
            for mail in self._in(name):
                self._come_back(mail)

    def tidy_up(self, dice: Random) -> None:
        """Many messages leave the inbox at once, so that a list that is being read moves up."""
        folder = self._folder(dice)
        for mail in self._in("Inbox")[-MOVED_AT_ONCE:]:
            self.zoho.move_mail(self.user, mail.id, folder)

    def receive_between_pages(self, dice: Random) -> None:
        """Mail arrives after each of the next few lists."""
        self.zoho.receive_between_pages(self.user, dice.randint(1, 3), subject=self.text())

    def burst(self, dice: Random) -> None:
        """More mail within minutes than a page holds, by a migration that no webhook reports."""
        at = millis(self.now)
        for number in range(PAGE_ROWS + dice.randint(1, 30), 0, -1):
            self._import(dice, at - number * 500, note="of a burst")

    def save_hook(self, dice: Random) -> None:
        """The owner saves the webhook, for the first time or again."""
        self._is_saved_late = False
        self._save_hook()

    def hooks_vanish(self, dice: Random) -> None:
        """The webhook is removed from the settings; one that is saved later has another secret."""
        self.zoho.remove_mail_webhook(self.user)

    def leave_out_id_texts(self, dice: Random) -> None:
        """Webhooks of all mailboxes have ids as numbers only, as older ones do."""
        self.zoho.mail_webhooks.has_id_string = False

    # --- for deeds ---------------------------------------------------------------------------------------------------

    @property
    def _mailbox(self) -> Mailbox:
        return self.zoho.mailboxes[self.user]

    def _subject(self, dice: Random) -> str:
        return self.text() + dice.choice(("", " Go for launch?", " R&D <plan>", " Été"))

    def _add_folder(self) -> str:
        name = f"Folder {len(self.folders)}"
        self.zoho.add_folder(self.user, name)
        self.folders.append(name)
        return name

    def _kept_folders(self) -> list[str]:
        """The user's folders that are not in the trash."""
        mailbox = self._mailbox
        return [name for name in self.folders if mailbox.folder_id(name) not in mailbox.deleted_folders]

    def _folder(self, dice: Random) -> str:
        """A folder of the user's; a new one if there is none."""
        kept = self._kept_folders()
        return dice.choice(kept) if kept else self._add_folder()

    def _in(self, *folders: str) -> list[Mail]:
        """The mail of these folders, in the order in which it was added."""
        mailbox = self._mailbox
        ids = [mailbox.folder_id(name) for name in folders]
        return [mail for mail in mailbox.mails.values() if mail.folder_id in ids]

    def _mail(self, dice: Random, *folders: str) -> Mail | None:
        """A message of these folders, or of any."""
        found = self._in(*folders) if folders else list(self._mailbox.mails.values())
        return dice.choice(found) if found else None

    def _move_from(self, dice: Random, target: str, *sources: str) -> None:
        mail = self._mail(dice, *sources)
        if mail is not None:
            self.zoho.move_mail(self.user, mail.id, target)

    def _come_back(self, mail: Mail) -> None:
        self._notes.setdefault(mail.id, BACK)

    def _import(self, dice: Random, time: int, *, folder: str = "Inbox", note: str = IMPORTED) -> None:
        mail = self.zoho.import_mail(self.user, self._subject(dice), time=time, folder=folder)
        self._notes[mail.id] = note

    def _note(self, mail: Mail) -> str:
        return self._notes.get(mail.id) or ("listed late" if self.was_shown_late(mail.added_at) else "")

    def _save_hook(self) -> None:
        if self.url is None:
            return
        try:
            self.zoho.save_mail_webhook(self.user, self.url)
        except WebhookNotSavedError:
            return  # the owner sees the message, and the mail is found by reading

    usual: ClassVar[Mapping[str, tuple[int, Deed]]] = {
        "receive": (8, receive),
        "receive_filtered": (2, receive_filtered),
        "receive_spam": (1, receive_spam),
        "send": (3, send),
        "read": (1, read),
        "move": (2, move),
        "throw_away": (2, throw_away),
        "restore": (1, restore),
        "mark_spam": (1, mark_spam),
        "unmark_spam": (1, unmark_spam),
        "delete": (1, delete),
        "make_task": (1, make_task),
    }
    odd: ClassVar[Mapping[str, Deed]] = {
        **ZohoAccount.odd,
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "deliver_late": deliver_late,
        "new_container": new_container,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "tidy_up": tidy_up,
        "receive_between_pages": receive_between_pages,
        "burst": burst,
        "save_hook": save_hook,
        "hooks_vanish": hooks_vanish,
        "leave_out_id_texts": leave_out_id_texts,
    }


ACCOUNTS = (ZohoMail,)
