"""Mailboxes: folders, messages, and the single outgoing webhook that each may have."""

import base64
import hashlib
import hmac
import html
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import NO_RETRY, Outgoing
from connectors_sandbox.zoho.auth import User

SYSTEM_FOLDERS: Final = ("Inbox", "Drafts", "Templates", "Snoozed", "Sent", "Spam", "Trash", "Outbox")
ZONE_OFFSET: Final = timedelta(hours=7)
"""The error of `sentDateInGMT`, as in Zoho's samples."""


class WebhookNotSavedError(ValueError):
    """The URL did not answer the announcement with 200."""


@attrs.define(eq=False)
class Mail:
    """One message."""

    id: int
    folder_id: str
    subject: str
    sender: str
    from_address: str
    text: str
    received_ms: int
    """Milliseconds after the epoch, as the row says; another date than that of its arrival if it was imported."""
    added_at: datetime
    is_read: bool = False

    @property
    def sent_ms(self) -> int:
        """`received_ms`, with Zoho's error."""
        return self.received_ms - ZONE_OFFSET // timedelta(milliseconds=1)

    def to_row(self) -> dict[str, Any]:
        """As in `messages/view`: texts, escaped."""
        return {**self._fixed_row, "folderId": self.folder_id, "status": "1" if self.is_read else "0"}

    @cached_property
    def _fixed_row(self) -> dict[str, Any]:
        # Pages hold two hundred rows and are read every few minutes.
        return {
            "summary": html.escape(self.text[:60]),
            "sentDateInGMT": str(self.sent_ms),
            "calendarType": 0,
            "subject": html.escape(self.subject),
            "messageId": str(self.id),
            "threadCount": "0",
            "flagid": "flag_not_set",
            "status2": "0",
            "priority": "3",
            "hasInline": "false",
            "toAddress": "&quot;me&quot;&lt;me@sandbox.test&gt;",
            "ccAddress": "Not Provided",
            "hasAttachment": "0",
            "size": str(len(self.text)),
            "sender": html.escape(self.sender),
            "receivedTime": str(self.received_ms),
            "fromAddress": html.escape(self.from_address),
        }

    def to_found(self, url: str) -> dict[str, Any]:
        """As in search results: numbers, and other field names."""
        row = {name: value for name, value in self.to_row().items() if name != "receivedTime"}
        return {
            **row,
            "messageId": self.id,
            "folderId": int(self.folder_id),
            "receivedtime": self.received_ms,
            "status": "read" if self.is_read else "unread",
            "status2": "none",
            "flagid": 0,
            "URI": f"{url}/folders/{self.folder_id}/messages/{self.id}",
        }


@attrs.define(eq=False)
class Hook:
    """An outgoing webhook."""

    url: str
    secret: str = attrs.field(repr=False)
    id: int


@attrs.define(eq=False)
class Mailbox:
    """One user's mail."""

    user: User
    account_id: int
    folders: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Name and `folderType`, by id."""
    mails: dict[int, Mail] = attrs.field(factory=dict)
    deleted_folders: set[str] = attrs.field(factory=set)
    """Ids of folders that lie in the trash, with their mail."""
    hook: Hook | None = None
    between_pages: int = 0
    """Messages that arrive between two pages of a list, one after each page."""
    between_subject: str = "Meanwhile"

    def folder_id(self, name: str) -> str:
        """The id of a folder by its name."""
        return next(key for key, (shown, _) in self.folders.items() if shown == name)

    def path(self, folder_id: str) -> str:
        """A folder's path: a deleted one lies below Trash."""
        name, _ = self.folders[folder_id]
        return f"/Trash/{name}" if folder_id in self.deleted_folders else f"/{name}"

    def to_account(self, base: str) -> dict[str, Any]:
        """As in `GET /api/accounts`."""
        return {
            "accountId": str(self.account_id),
            "zuid": self.user.zuid,
            "type": "ZOHO_ACCOUNT",
            "accountName": self.user.email.partition("@")[0],
            "primaryEmailAddress": self.user.email,
            "mailboxAddress": self.user.email,
            "incomingUserName": self.user.email,
            "accountDisplayName": self.user.name,
            "timeZone": "America/Los_Angeles",
            "emailAddress": [
                {"mailId": self.user.email, "isPrimary": True, "isAlias": False, "isConfirmed": True},
            ],
            "URI": f"{base}/{self.account_id}",
        }


class MailWebhooks:
    """Announces secrets and sends signed deliveries, once each."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.has_id_string = True
        """Whether deliveries carry `messageIdString`."""

    def save(self, mailbox: Mailbox, url: str, hook_id: int, *, is_signed: bool = False) -> None:
        """Announce a secret at the URL; the webhook is saved only if the response is 200.

        Raises:
            WebhookNotSavedError: it is another one.
        """
        secret = mailbox.hook.secret if mailbox.hook is not None else self._core.random_string(64)
        body = b"{}"
        headers = {"Content-Type": "application/json", "X-Hook-Secret": secret}
        if is_signed:
            headers["X-Hook-Signature"] = sign(secret, body)
        outgoing = Outgoing(provider="zoho", url=url, event="announcement", body=body, headers=headers, policy=NO_RETRY)
        attempt = self._core.deliveries.send_now(outgoing)
        if attempt.status != 200:  # noqa: PLR2004 - Zoho takes no other success
            raise WebhookNotSavedError(f"the URL answered {attempt.status} to the announcement")
        mailbox.hook = Hook(url, secret, hook_id)

    def arrived(self, mailbox: Mailbox, mail: Mail) -> None:
        """Send an incoming message."""
        body: dict[str, Any] = {
            "summary": mail.text[:60],
            "sentDateInGMT": mail.sent_ms,
            "subject": mail.subject,
            "Mode": 0,
            "messageId": mail.id,
            "toAddress": f"<{mailbox.user.email}>",
            "ccAddress": "",
            "folderId": int(mail.folder_id),
            "zuid": mailbox.user.zuid,
            "size": len(mail.text),
            "sender": mail.sender,
            "receivedTime": mail.received_ms,
            "fromAddress": mail.from_address,
            "html": f"<div>{html.escape(mail.text)}</div>",
        }
        if self.has_id_string:
            body["messageIdString"] = str(mail.id)
        self.send(mailbox, "mail", body)

    def send(self, mailbox: Mailbox, event: str, body: Mapping[str, Any]) -> None:
        """Queue a signed delivery, if the mailbox has a webhook."""
        hook = mailbox.hook
        if hook is None:
            return
        raw = json.dumps({**body, "IntegIdList": f"{hook.id},"}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "X-Hook-Signature": sign(hook.secret, raw)}
        self._core.deliveries.enqueue(
            Outgoing(provider="zoho", url=hook.url, event=event, body=raw, headers=headers, source=f"hook:{hook.id}")
        )


def sign(secret: str, body: bytes) -> str:
    """The header's value: Base64 of the HMAC-SHA256 with the secret's text as the key."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
