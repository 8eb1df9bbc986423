"""Google's world, as tests and demos control it."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from connectors_sandbox.core import SandboxCore, StandingHook
from connectors_sandbox.families import TokenFamilies
from connectors_sandbox.google.auth import (
    DEFAULT_CLIENT_ID,
    DEFAULT_CLIENT_SECRET,
    Authorizations,
    Client,
    User,
)
from connectors_sandbox.google.calendar import Calendars
from connectors_sandbox.google.channels import Channels
from connectors_sandbox.google.drive import DOCUMENT, FOLDER, Drive
from connectors_sandbox.google.gmail import Mail, Mailbox
from connectors_sandbox.google.keys import KeyRing
from connectors_sandbox.google.pubsub import (
    SERVICE_ACCOUNT,
    SUBSCRIPTION,
    TOPIC,
    PubSub,
    PushSubscription,
)

ACTIONS: Final = (
    "add_client",
    "add_user",
    "revoke_tokens",
    "end_access_tokens",
    "end_refresh_tokens",
    "withhold_refresh_token",
    "drop_subscriptions",
    "rotate_keys",
    "create_file",
    "create_folder",
    "edit_file",
    "rename_file",
    "move_file",
    "trash_file",
    "restore_file",
    "delete_file",
    "share_file",
    "unshare_file",
    "view_file",
    "add_shared_drive",
    "join_shared_drive",
    "leave_shared_drive",
    "expire_listings",
    "add_calendar",
    "delete_calendar",
    "share_calendar",
    "unshare_calendar",
    "create_event",
    "update_event",
    "move_event",
    "answer_event",
    "cancel_event",
    "expire_sync_tokens",
    "add_push_subscription",
    "receive_email",
    "send_email",
    "save_draft",
    "label_email",
    "trash_email",
    "mark_spam",
    "read_email",
    "archive_email",
    "delete_email",
    "expire_history",
)
"""The methods that the control endpoints may call."""


class GoogleWorld:
    """A Google: accounts with their files, calendars and mail."""

    def __init__(self, core: SandboxCore) -> None:
        self.core = core
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Delete everything: a Google without accounts again."""
        core = self.core
        self.keys = KeyRing()
        self.auth = Authorizations(core)
        self.users: dict[str, User] = {}
        self.channels = Channels(core)
        self.pubsub = PubSub(core, self.keys)
        self.drive = Drive(core, self.channels)
        self.calendars = Calendars(core, self.channels)
        self.mail = Mail(core, self.pubsub)
        self.sends_sync_early = False
        """Whether a channel's `sync` message arrives before the response that opens it."""
        self.add_client()

    def describe(self) -> Mapping[str, Any]:
        """The contents of the index page."""
        with self.lock:
            return {
                "users": sorted(self.users),
                "grants": len(self.auth.grants),
                "files": sum(not file.is_deleted for file in self.drive.files.values()),
                "calendars": {calendar.id: len(calendar.events) for calendar in self.calendars.all.values()},
                "messages": {box.email: len(box.messages) for box in self.mail.mailboxes.values()},
                "channels": len(self.channels.live()),
            }

    @property
    def families(self) -> TokenFamilies:
        """What consents gave."""
        return self.auth.families

    def live_hooks(self) -> list[StandingHook]:
        """Open channels, and watches of mailboxes, which any consent of their user can stop."""
        with self.lock:
            now = self.core.clock.now()
            channels = [
                StandingHook(
                    id=one.id, target=one.resource, address=one.address, maker=one.email, expires_at=one.expires_at
                )
                for one in self.channels.live()
            ]
            watches = [
                StandingHook(
                    id=f"watch:{box.email}",
                    target=f"mailbox:{box.email}",
                    address=box.watch.topic,
                    maker=box.email,
                    expires_at=box.watch.expires_at,
                )
                for box in self.mail.mailboxes.values()
                if box.watch is not None and box.watch.expires_at > now
            ]
            return channels + watches

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the control endpoints may call, by name."""
        return {name: getattr(self, name) for name in ACTIONS}

    # --- accounts ------------------------------------------------------------------------------------------------

    def add_client(
        self,
        client_id: str = DEFAULT_CLIENT_ID,
        client_secret: str = DEFAULT_CLIENT_SECRET,
        name: str = "Poblysh",
        redirect_uris: tuple[str, ...] | list[str] = (),
    ) -> str:
        """A new OAuth client; returns its id. Without redirect URIs it accepts any."""
        with self.lock:
            self.auth.clients[client_id] = Client(client_id, client_secret, name, tuple(redirect_uris))
            return client_id

    def add_user(
        self, email: str, name: str | None = None, hosted_domain: str | None = None, *, has_mailbox: bool = True
    ) -> str:
        """A new account with a primary calendar and, by default, a mailbox; returns its `sub`."""
        with self.lock:
            sub = "1" + self.core.random_string(20, "0123456789")
            display = name or email.partition("@")[0].title()
            self.users[email] = User(sub, email, display, hosted_domain, has_mailbox)
            self.calendars.add(email, email, email)
            if has_mailbox:
                self.mail.mailboxes[email] = Mailbox(email)
            return sub

    def revoke_tokens(self, email: str) -> int:
        """The user revokes the app's access in the account's settings; returns how many grants were revoked."""
        with self.lock:
            return self.auth.revoke_user(email)

    def end_access_tokens(self, email: str) -> None:
        """The user's access tokens end before they expire."""
        with self.lock:
            self.auth.end_access(email)

    def end_refresh_tokens(self, email: str) -> None:
        """The user's refresh tokens end; nobody withdraws anything."""
        with self.lock:
            self.auth.end_refresh(email)

    def withhold_refresh_token(self, email: str) -> None:
        """The answer to the user's next consent has no refresh token."""
        with self.lock:
            self.auth.withheld.add(email)

    def drop_subscriptions(self, email: str) -> None:
        """The user's channels and the mailbox's watch vanish without a word."""
        with self.lock:
            self.channels.drop(email)
            if email in self.mail.mailboxes:
                self.mail.mailboxes[email].watch = None

    def rotate_keys(self) -> str:
        """Sign with a new key from now on; returns its id."""
        with self.lock:
            return self.keys.rotate().kid

    # --- files -----------------------------------------------------------------------------------------------------

    def create_file(
        self,
        name: str,
        *,
        by: str,
        parent: str | None = None,
        shared_drive: str | None = None,
        mime_type: str = DOCUMENT,
        age_days: float = 0.0,
    ) -> str:
        """A new file; returns its id."""
        with self.lock:
            return self.drive.create(
                by=by, name=name, mime_type=mime_type, parent=parent, drive_id=shared_drive, age_days=age_days
            ).id

    def create_folder(self, name: str, *, by: str, parent: str | None = None) -> str:
        """A new folder; returns its id."""
        return self.create_file(name, by=by, parent=parent, mime_type=FOLDER)

    def edit_file(self, file_id: str, *, by: str) -> None:
        """Change the contents."""
        with self.lock:
            self.drive.edit(self.drive.get(by, file_id), by)

    def rename_file(self, file_id: str, name: str, *, by: str) -> None:
        """Rename it."""
        with self.lock:
            self.drive.rename(self.drive.get(by, file_id), name, by)

    def move_file(self, file_id: str, parent: str, *, by: str) -> None:
        """Move it to another folder."""
        with self.lock:
            self.drive.move(self.drive.get(by, file_id), parent)

    def trash_file(self, file_id: str, *, by: str) -> None:
        """Move it into the trash, with everything below."""
        with self.lock:
            self.drive.set_trashed(self.drive.get(by, file_id), by, is_trashed=True)

    def restore_file(self, file_id: str, *, by: str) -> None:
        """Move it out of the trash."""
        with self.lock:
            self.drive.set_trashed(self.drive.get(by, file_id), by, is_trashed=False)

    def delete_file(self, file_id: str, *, by: str) -> None:
        """Delete it for good."""
        with self.lock:
            self.drive.delete(self.drive.get(by, file_id))

    def share_file(self, file_id: str, *, by: str, to: str) -> None:
        """Share it with a user."""
        with self.lock:
            self.drive.share(self.drive.get(by, file_id), to)

    def unshare_file(self, file_id: str, *, by: str, to: str) -> None:
        """Stop sharing it with a user."""
        with self.lock:
            self.drive.unshare(self.drive.get(by, file_id), to)

    def view_file(self, file_id: str, *, by: str) -> None:
        """Noise: a change in the log and a higher version, nothing else."""
        with self.lock:
            self.drive.touch(self.drive.get(by, file_id))

    def add_shared_drive(self, name: str, members: list[str]) -> str:
        """A new shared drive; returns its id."""
        with self.lock:
            return self.drive.add_drive(name, members).id

    def join_shared_drive(self, drive_id: str, email: str) -> None:
        """Add a member."""
        with self.lock:
            self.drive.join_drive(self.drive.drives[drive_id], email)

    def leave_shared_drive(self, drive_id: str, email: str) -> None:
        """Remove a member."""
        with self.lock:
            self.drive.leave_drive(self.drive.drives[drive_id], email)

    def expire_listings(self) -> None:
        """Expire the page tokens of listings."""
        with self.lock:
            self.drive.listing_epoch += 1

    # --- calendars -------------------------------------------------------------------------------------------------

    def add_calendar(self, calendar_id: str, summary: str, *, owner: str, is_generated: bool = False) -> str:
        """A new calendar; a generated one (holidays) has no notifications."""
        with self.lock:
            return self.calendars.add(calendar_id, summary, owner, is_generated=is_generated).id

    def delete_calendar(self, calendar_id: str) -> None:
        """Delete the calendar and its events."""
        with self.lock:
            self.calendars.remove(self.calendars.all[calendar_id])

    def share_calendar(self, calendar_id: str, email: str, role: str = "reader") -> None:
        """Put the calendar on somebody's list."""
        with self.lock:
            self.calendars.all[calendar_id].roles[email] = role

    def unshare_calendar(self, calendar_id: str, email: str) -> None:
        """Take it from somebody's list, who can no longer read it."""
        with self.lock:
            self.calendars.all[calendar_id].roles.pop(email, None)

    def create_event(
        self,
        summary: str,
        *,
        by: str,
        calendar_id: str | None = None,
        attendees: list[str] | None = None,
        event_type: str = "default",
        recurrence: list[str] | None = None,
        age_days: float = 0.0,
    ) -> str:
        """A new event; returns its id."""
        with self.lock:
            calendar = self.calendars.all[calendar_id or by]
            return self.calendars.create(
                calendar,
                summary,
                by,
                attendees=attendees,
                event_type=event_type,
                recurrence=recurrence,
                age_days=age_days,
            ).id

    def update_event(self, event_id: str, *, calendar_id: str, summary: str) -> None:
        """Change the title."""
        with self.lock:
            calendar = self.calendars.all[calendar_id]
            calendar.events[event_id].summary = summary
            self.calendars.changed(calendar, calendar.events[event_id])

    def move_event(self, event_id: str, *, calendar_id: str, hours: float) -> None:
        """Change the time."""
        with self.lock:
            calendar = self.calendars.all[calendar_id]
            event = calendar.events[event_id]
            event.start, event.end = event.start + timedelta(hours=hours), event.end + timedelta(hours=hours)
            self.calendars.changed(calendar, event)

    def answer_event(self, event_id: str, *, calendar_id: str, by: str, answer: str = "accepted") -> None:
        """Record an attendee's answer."""
        with self.lock:
            calendar = self.calendars.all[calendar_id]
            calendar.events[event_id].attendees[by] = answer
            self.calendars.changed(calendar, calendar.events[event_id])

    def cancel_event(self, event_id: str, *, calendar_id: str) -> None:
        """Delete the event."""
        with self.lock:
            calendar = self.calendars.all[calendar_id]
            self.calendars.cancel(calendar, calendar.events[event_id])

    def expire_sync_tokens(self, calendar_id: str, *, with_reason: bool = True) -> None:
        """Expire all sync tokens of the calendar."""
        with self.lock:
            self.calendars.all[calendar_id].epoch += 1
            self.calendars.gives_reason = with_reason

    # --- mail ------------------------------------------------------------------------------------------------------

    def add_push_subscription(
        self,
        endpoint: str,
        audience: str | None = None,
        service_account: str = SERVICE_ACCOUNT,
        name: str = SUBSCRIPTION,
        topic: str = TOPIC,
        *,
        has_dead_letters: bool = False,
    ) -> PushSubscription:
        """A new push subscription; without an audience, its audience is the endpoint."""
        with self.lock:
            self.pubsub.topics.add(topic)
            subscription = PushSubscription(
                name, topic, endpoint, audience or endpoint, service_account, has_dead_letters
            )
            self.pubsub.subscriptions[name] = subscription
            return subscription

    def receive_email(
        self,
        mailbox: str,
        *,
        sender: str,
        subject: str,
        labels: tuple[str, ...] | list[str] = ("INBOX", "UNREAD"),
        age_days: float = 0.0,
    ) -> str:
        """A message arrives; returns its id. One with an age is an old one, without history."""
        with self.lock:
            at = self.core.clock.now() - timedelta(days=age_days) if age_days else None
            return self._add(mailbox, sender, mailbox, subject, set(labels), at)

    def import_email(self, mailbox: str, *, sender: str, subject: str, received_at: datetime) -> str:
        """A message of another mail service is imported now, with the time at which that one got it; returns its id."""
        with self.lock:
            labels = {"INBOX", "UNREAD"}
            return self._add(mailbox, sender, mailbox, subject, labels, received_at, is_imported=True)

    def send_email(self, mailbox: str, *, to: str, subject: str) -> str:
        """A message is sent; returns its id. One to oneself is also received."""
        with self.lock:
            labels = {"SENT", "INBOX"} if to == mailbox else {"SENT"}
            return self._add(mailbox, mailbox, to, subject, labels)

    def save_draft(self, mailbox: str, *, subject: str, replaces: str | None = None) -> str:
        """Save a draft: the previous draft is deleted, a new one is created; returns its id."""
        with self.lock:
            box = self.mail.get(mailbox)
            if replaces is not None:
                self.mail.delete(box, box.messages[replaces])
            return self._add(mailbox, mailbox, "", subject, {"DRAFT"})

    def _add(
        self,
        mailbox: str,
        sender: str,
        to: str,
        subject: str,
        labels: set[str],
        at: datetime | None = None,
        *,
        is_imported: bool = False,
    ) -> str:
        headers = [
            ("from", sender),
            ("To", to),
            ("Subject", subject),
            ("Date", format_datetime(at or self.core.clock.now())),
            ("Message-ID", f"<{self.core.random_string(20)}@sandbox.example>"),
        ]
        return self.mail.add(self.mail.get(mailbox), headers, labels, at, is_imported=is_imported).id

    def label_email(
        self,
        mailbox: str,
        message_id: str,
        *,
        add: tuple[str, ...] | list[str] = (),
        remove: tuple[str, ...] | list[str] = (),
    ) -> None:
        """Add and remove labels."""
        with self.lock:
            box = self.mail.get(mailbox)
            self.mail.relabel(box, box.messages[message_id], set(add), set(remove))

    def trash_email(self, mailbox: str, message_id: str) -> None:
        """Move it into the trash."""
        self.label_email(mailbox, message_id, add=["TRASH"], remove=["INBOX"])

    def mark_spam(self, mailbox: str, message_id: str) -> None:
        """Move it into the spam folder."""
        self.label_email(mailbox, message_id, add=["SPAM"], remove=["INBOX"])

    def read_email(self, mailbox: str, message_id: str) -> None:
        """Mark it as read."""
        self.label_email(mailbox, message_id, remove=["UNREAD"])

    def archive_email(self, mailbox: str, message_id: str) -> None:
        """Move it out of the inbox."""
        self.label_email(mailbox, message_id, remove=["INBOX"])

    def delete_email(self, mailbox: str, message_id: str) -> None:
        """Delete it for good."""
        with self.lock:
            box = self.mail.get(mailbox)
            self.mail.delete(box, box.messages[message_id])

    def expire_history(self, mailbox: str) -> None:
        """Expire all history ids up to now."""
        with self.lock:
            box = self.mail.get(mailbox)
            box.oldest_history_id = box.history_id + 1
            box.history_id += 1
