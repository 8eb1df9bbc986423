"""Gmail v1: profile, watch, history, messages, labels."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flask import request

from connectors_sandbox.google.api import GOOGLE_AUTH, Api, body, flag
from connectors_sandbox.google.auth import Grant
from connectors_sandbox.google.errors import GoogleError, invalid, not_found
from connectors_sandbox.google.gmail import TYPES, Mail, Mailbox, Message, Watch, record_json
from connectors_sandbox.google.pubsub import PROJECT

FULL: Final = ("gmail.readonly", "gmail.modify", "https://mail.google.com/")
ANY: Final = (*FULL, "gmail.metadata")
WATCH_LIFETIME: Final = timedelta(days=7)
SYSTEM_LABELS: Final = ("INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT")


class GmailViews:
    """The views of one world."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.world = api.world

    @property
    def mail(self) -> Mail:
        """The mailboxes of the world."""
        return self.world.mail

    def install(self) -> None:
        """Mount the views."""
        route, root = self.api.route, "/gmail/v1/users/<user_id>"
        route("GET", f"{root}/profile", self.profile, ANY)
        route("POST", f"{root}/watch", self.watch, ANY)
        route("POST", f"{root}/stop", self.stop, ANY)
        route("GET", f"{root}/history", self.list_history, ANY)
        route("GET", f"{root}/messages", self.list_messages, ANY)
        route("GET", f"{root}/messages/<message_id>", self.get_message, ANY)
        route("GET", f"{root}/labels", self.list_labels, ANY)

    def _mailbox(self, grant: Grant, user_id: str) -> Mailbox:
        if user_id not in {"me", grant.email}:
            raise GoogleError(403, "forbidden", f"Delegation denied for {grant.email}")
        if grant.email not in self.mail.mailboxes:
            raise GoogleError(400, "failedPrecondition", "Mail service not enabled")
        return self.mail.get(grant.email)

    def profile(self, grant: Grant, user_id: str) -> dict[str, Any]:
        """The mailbox and its current history id."""
        mailbox = self._mailbox(grant, user_id)
        return {
            "emailAddress": mailbox.email,
            "messagesTotal": len(mailbox.messages),
            "threadsTotal": len({message.thread_id for message in mailbox.messages.values()}),
            "historyId": str(mailbox.history_id),
        }

    def watch(self, grant: Grant, user_id: str) -> dict[str, Any]:
        """Publish changes to a topic of the project; calling it again extends the watch."""
        mailbox, asked = self._mailbox(grant, user_id), body()
        topic, labels, now = asked.get("topicName"), asked.get("labelIds", []), self.world.core.clock.now()
        if not isinstance(topic, str) or not topic.startswith(f"projects/{PROJECT}/topics/"):
            raise GoogleError(400, "invalidArgument", f"Invalid topicName does not match projects/{PROJECT}/topics/*")
        if topic not in self.world.pubsub.topics:
            raise GoogleError(403, "forbidden", "Error sending test message to Cloud PubSub: not authorized.")
        if mailbox.watch is not None and mailbox.watch.topic != topic and mailbox.watch.expires_at > now:
            message = "Only one user push notification client allowed per developer (call /stop then try again)"
            raise GoogleError(400, "failedPrecondition", message)
        mailbox.watch = Watch(topic, frozenset(map(str, labels)), now + WATCH_LIFETIME)
        self.mail.publish(mailbox)
        return {
            "historyId": str(mailbox.history_id),
            "expiration": str(int(mailbox.watch.expires_at.timestamp() * 1000)),
        }

    def stop(self, grant: Grant, user_id: str) -> None:
        """Stop publishing."""
        self._mailbox(grant, user_id).watch = None

    def list_history(self, grant: Grant, user_id: str) -> dict[str, Any]:
        """The history since a history id."""
        mailbox = self._mailbox(grant, user_id)
        start = request.args.get("startHistoryId", "")
        if not start.isdigit():
            raise invalid("Missing or invalid startHistoryId", "startHistoryId")
        if int(start) < mailbox.oldest_history_id:
            raise not_found()
        names = request.args.getlist("historyTypes") or list(TYPES)
        if not set(names) <= set(TYPES):
            raise GoogleError(400, "invalidArgument", "Invalid value at 'history_types'")
        kinds = {TYPES[name] for name in names}
        label = request.args.get("labelId")
        records = [
            record
            for record in mailbox.history
            if record.id > int(start)
            and record.kind in kinds
            and (label is None or label in {*record.message_labels, *record.labels})
        ]
        begin = int(request.args.get("pageToken", "0"))
        size = self.api.page_size("maxResults", 100, 500)
        document: dict[str, Any] = {"historyId": str(mailbox.history_id)}
        if records:
            document["history"] = [record_json(record) for record in records[begin : begin + size]]
        if begin + size < len(records):
            document["nextPageToken"] = str(begin + size)
        return document

    def list_messages(self, grant: Grant, user_id: str) -> dict[str, Any]:
        """Ids, newest first."""
        mailbox = self._mailbox(grant, user_id)
        query = request.args.get("q")
        if query is not None and not self._has_full(grant):
            raise GoogleError(403, "forbidden", "Metadata scope does not support 'q' parameter")
        labels = set(request.args.getlist("labelIds"))
        begins, ends = _read_window(query or "")
        found = [
            message
            for message in mailbox.messages.values()
            if labels <= message.labels
            and begins <= message.received_at < ends
            and (flag("includeSpamTrash") or not message.labels & {"SPAM", "TRASH"})
        ]
        found.sort(key=lambda message: (message.received_at, message.id), reverse=True)
        begin = int(request.args.get("pageToken", "0"))
        size = self.api.page_size("maxResults", 100, 500)
        document: dict[str, Any] = {"resultSizeEstimate": len(found)}
        if found:
            page = found[begin : begin + size]
            document["messages"] = [{"id": message.id, "threadId": message.thread_id} for message in page]
        if begin + size < len(found):
            document["nextPageToken"] = str(begin + size)
        return document

    def get_message(self, grant: Grant, user_id: str, message_id: str) -> dict[str, Any]:
        """One message; a metadata grant does not get its contents."""
        mailbox = self._mailbox(grant, user_id)
        form = request.args.get("format", "full")
        if form not in {"minimal", "metadata"} and not self._has_full(grant):
            raise GoogleError(403, "forbidden", f"Metadata scope doesn't allow format {form.upper()}")
        message = mailbox.messages.get(message_id)
        if message is None:
            raise not_found()
        return _message_json(message, form, request.args.getlist("metadataHeaders"))

    def list_labels(self, grant: Grant, user_id: str) -> dict[str, Any]:
        """The labels, with id and name."""
        mailbox = self._mailbox(grant, user_id)
        used = {label for message in mailbox.messages.values() for label in message.labels}
        own = sorted(label for label in used if label.startswith("Label_"))
        return {
            "labels": [
                *({"id": label, "name": label, "type": "system"} for label in SYSTEM_LABELS),
                *({"id": label, "name": label.replace("_", " "), "type": "user"} for label in own),
            ]
        }

    def _has_full(self, grant: Grant) -> bool:
        names = {name if "://" in name else GOOGLE_AUTH + name for name in FULL}
        return not names.isdisjoint(grant.scopes)


def _read_window(query: str) -> tuple[datetime, datetime]:
    """The instants of `after:` and `before:`, given as epoch seconds or as a day."""
    bounds = {"after": datetime.min.replace(tzinfo=UTC), "before": datetime.max.replace(tzinfo=UTC)}
    for name, value in re.findall(r"(after|before):(\S+)", query):
        if value.isdigit():
            bounds[name] = datetime.fromtimestamp(int(value), UTC)
        else:
            bounds[name] = datetime.strptime(value, "%Y/%m/%d").replace(tzinfo=UTC)
    return bounds["after"], bounds["before"]


def _message_json(message: Message, form: str, wanted: list[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": message.id,
        "threadId": message.thread_id,
        "labelIds": sorted(message.labels),
        "snippet": "It&#39;s from the sandbox",
        "historyId": str(message.history_id or 1),
        "internalDate": str(int(message.received_at.timestamp() * 1000)),
        "sizeEstimate": 5120,
    }
    if form == "minimal":
        return document
    names = {name.lower() for name in wanted}
    headers = [{"name": name, "value": value} for name, value in message.headers if not names or name.lower() in names]
    return {**document, "payload": {"mimeType": "multipart/alternative", "headers": headers}}
