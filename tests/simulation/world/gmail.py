"""Gmail: one mailbox, and a colleague who writes."""

from datetime import datetime
from random import Random

from connectors_sandbox import Sandbox
from connectors_sandbox.google.gmail import Mailbox, Message
from tests.simulation.world.account import Account, Event
from tests.simulation.world.google import EPOCH, FAR_AHEAD, GoogleAccount, choose, some_years_ago, to_millis
from tests.support.stage import PUSH_ACCOUNT

HIDDEN = frozenset({"DRAFT", "SPAM", "TRASH"})
"""What a mailbox shows only to those who look for it: the reader leaves it out, as the provider's README says."""


class GmailAccount(GoogleAccount):
    """A mailbox. Its pushes come through Pub/Sub, whose subscription the operator makes."""

    slug = "gmail"
    lists = ("/messages", "/history", "/profile")
    page_items = 25
    is_capped = False
    is_set_up_by_hand = True
    requests_a_minute = 300
    """One for each message of a page. Google allows 6,000 units a minute, of which a message costs 20."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.marks: dict[str, str] = {}
        """By message: its subject."""

    def add_old(self, age_days: float, dice: Random) -> None:
        mark = self.text()
        identifier = self.google.receive_email(self.user, sender=self._sender, subject=mark, age_days=age_days)
        self.marks[identifier] = mark
        if dice.random() < 0.2:
            self._box.messages[identifier].labels = {"SENT"}

    def finish(self, url: str | None) -> None:
        """The operator's push subscription. All tenants and mailboxes share it."""
        if url is not None:
            self.google.add_push_subscription(url, service_account=PUSH_ACCOUNT)

    def hooks(self) -> int:
        return sum(self._is_watched(email) for email in (self.user, self.other_user))

    def _is_watched(self, email: str) -> bool:
        watch = self.google.mail.get(email).watch
        return watch is not None and watch.expires_at > self.now

    def events(self) -> list[Event]:
        return [
            Event(
                kind="email_sent" if "SENT" in message.labels else "email_received",
                title=self.marks[message.id],
                at=to_millis(message.received_at),
            )
            for message in self._box.messages.values()
            if HIDDEN.isdisjoint(message.labels)
        ]

    # --- messages ----------------------------------------------------------------------------------------------------

    @property
    def _box(self) -> Mailbox:
        return self.google.mail.get(self.user)

    @property
    def _sender(self) -> str:
        return f"Lee <{self.other_user}>"

    def _receive(self, *labels: str) -> None:
        mark = self.text()
        labels = labels or ("INBOX", "UNREAD")
        self.marks[self.google.receive_email(self.user, sender=self._sender, subject=mark, labels=labels)] = mark

    def _send(self, to: str) -> None:
        mark = self.text()
        self.marks[self.google.send_email(self.user, to=to, subject=mark)] = mark

    def _pick(self, dice: Random, *, has: str = "", lacks: frozenset[str] = HIDDEN) -> Message | None:
        """A message with that label and without those."""
        return choose(
            dice,
            [
                message
                for message in self._box.messages.values()
                if (not has or has in message.labels) and lacks.isdisjoint(message.labels)
            ],
        )

    def _relabel(self, message: Message | None, add: str = "", remove: str = "") -> None:
        if message is not None:
            self.google.label_email(self.user, message.id, add=add.split(), remove=remove.split())

    # --- every day ---------------------------------------------------------------------------------------------------

    def receive(self, dice: Random) -> None:
        self._receive()

    def receive_archived(self, dice: Random) -> None:
        """A filter keeps it out of the inbox."""
        self._receive("UNREAD", "Label_1")

    def receive_spam(self, dice: Random) -> None:
        self._receive("SPAM", "UNREAD")

    def send(self, dice: Random) -> None:
        self._send(self.other_user)

    def note_to_self(self, dice: Random) -> None:
        self._send(self.user)

    def read(self, dice: Random) -> None:
        self._relabel(self._pick(dice, has="UNREAD"), remove="UNREAD")

    def label(self, dice: Random) -> None:
        self._relabel(self._pick(dice), add=dice.choice(["STARRED", "Label_1", "Label_2"]))

    def unlabel(self, dice: Random) -> None:
        self._relabel(self._pick(dice), remove="STARRED Label_1 Label_2")

    def archive(self, dice: Random) -> None:
        self._relabel(self._pick(dice, has="INBOX"), remove="INBOX")

    def trash(self, dice: Random) -> None:
        self._relabel(self._pick(dice), add="TRASH", remove="INBOX")

    def restore(self, dice: Random) -> None:
        self._relabel(self._pick(dice, has="TRASH", lacks=frozenset()), add="INBOX", remove="TRASH")

    def mark_spam(self, dice: Random) -> None:
        self._relabel(self._pick(dice), add="SPAM", remove="INBOX")

    def unmark_spam(self, dice: Random) -> None:
        self._relabel(self._pick(dice, has="SPAM", lacks=frozenset({"TRASH"})), add="INBOX", remove="SPAM")

    def delete(self, dice: Random) -> None:
        """For good, mostly out of the trash."""
        has, lacks = ("TRASH", frozenset()) if dice.random() < 0.7 else ("", HIDDEN)
        if (message := self._pick(dice, has=has, lacks=lacks)) is not None:
            self.google.delete_email(self.user, message.id)

    def draft(self, dice: Random) -> None:
        """A draft is begun, or saved again under a new id."""
        before = self._pick(dice, has="DRAFT", lacks=frozenset({"TRASH", "SPAM"}))
        mark = self.text()
        identifier = self.google.save_draft(self.user, subject=mark, replaces=before and before.id)
        self.marks[identifier] = mark

    def send_draft(self, dice: Random) -> None:
        """The draft goes, and the message that was sent has a new id."""
        if (before := self._pick(dice, has="DRAFT", lacks=frozenset({"TRASH", "SPAM"}))) is not None:
            self.google.delete_email(self.user, before.id)
            self._send(self.other_user)

    # --- rare --------------------------------------------------------------------------------------------------------

    def _import(self, received_at: datetime) -> None:
        mark = self.text()
        identifier = self.google.import_email(self.user, sender=self._sender, subject=mark, received_at=received_at)
        self.marks[identifier] = mark

    def backdate(self, dice: Random) -> None:
        """Mail of another service is imported, dated as it was there."""
        self._import(some_years_ago(self.now, dice))

    def date_1970(self, dice: Random) -> None:
        """Imported mail whose Date header has no time."""
        self._import(EPOCH)

    def date_2099(self, dice: Random) -> None:
        """Imported mail of a sender whose clock is wrong."""
        self._import(FAR_AHEAD)

    def burst(self, dice: Random) -> None:
        """More messages at once than a page holds."""
        for _ in range(self.page_items + dice.randint(1, 10)):
            self._receive()

    def empty_trash(self, dice: Random) -> None:
        """All that is in the trash is deleted for good."""
        for message in [one for one in self._box.messages.values() if "TRASH" in one.labels]:
            self.google.delete_email(self.user, message.id)

    def drop_pushes(self, dice: Random) -> None:
        """Of several pushes within a second all but the first are dropped, or no longer are."""
        self.google.pubsub.limits_rate = not self.google.pubsub.limits_rate

    def expire_history(self, dice: Random) -> None:
        """History ids up to now are refused with 404."""
        self.google.expire_history(self.user)

    usual = {
        "receive": (8, receive),
        "receive_archived": (1, receive_archived),
        "receive_spam": (1, receive_spam),
        "send": (4, send),
        "note_to_self": (1, note_to_self),
        "read": (2, read),
        "label": (2, label),
        "unlabel": (1, unlabel),
        "archive": (2, archive),
        "trash": (2, trash),
        "restore": (1, restore),
        "mark_spam": (1, mark_spam),
        "unmark_spam": (1, unmark_spam),
        "delete": (2, delete),
        "draft": (2, draft),
        "send_draft": (1, send_draft),
    }
    odd = {
        **GoogleAccount.shared_levers,
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "burst": burst,
        "empty_trash": empty_trash,
        "drop_pushes": drop_pushes,
        "expire_history": expire_history,
    }


ACCOUNTS: tuple[type[Account], ...] = (GmailAccount,)
