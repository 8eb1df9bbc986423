"""What the Zoho tests share: builders, a way to run conversations, and two vendors that behave."""

import html
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import attrs

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import ReadContext, SyncContext
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL
from tests.support.stream_reader import StreamReader

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
TENANT = TenantId(UUID(int=1))
ACCOUNT_ID = "2560636000000008002"
MAIL_BASE = f"https://mail.zoho.eu/api/accounts/{ACCOUNT_ID}"


def make_app(slug="zoho-mail", *, options=(), **changes):
    provider = {"zoho-mail": ZOHO_MAIL, "zoho-cliq": ZOHO_CLIQ}[slug]
    return ProviderApp(
        **{
            "provider": provider.slug,
            "client_id": "1000.CLIENT",
            "client_secret": Secret("client-secret"),
            "options": provider.read_options(dict(options)),
            **changes,
        }
    )


def make_connection(slug="zoho-mail", **changes):
    metadata = {"location": "eu", "zuid": "680463218", "email": "scott@zylker.com"}
    return Connection(
        **{
            "id": ConnectionId(UUID(int=2)),
            "tenant_id": TENANT,
            "provider": ProviderSlug(slug),
            "account": ExternalAccount(
                id=ACCOUNT_ID if slug == "zoho-mail" else "eu:680463218", name="scott", metadata=metadata
            ),
            "grant_id": GrantId(UUID(int=3)),
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_request(body=b"", slug="zoho-mail", **headers):
    return WebhookRequest(
        provider=ProviderSlug(slug),
        tenant_id=TENANT,
        connection_id=ConnectionId(UUID(int=2)),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
        received_at=NOW,
    )


def make_delivery(body, slug, **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return VerifiedDelivery(request=make_request(body, slug, **headers), delivery_id="d", via="app")


def receive(provider, body, connection, app=None, **headers):
    """The completed event of a delivery for a connection, or Ignored."""
    delivery = make_delivery(body, provider.slug, **headers)
    outcome = provider.webhooks.read_event(delivery, ReadContext(app=app, connections=(connection,)))
    return outcome if isinstance(outcome, Ignored) else provider.webhooks.to_signals(delivery, outcome, connection)


def reply(document=None, status=200, url="", **headers):
    body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, headers=names, body=body, url=url)


def hold(provider, conversation, answer):
    """Run a conversation as the flow does, refusals included."""
    try:
        request = next(conversation)
        while True:
            response = answer(request)
            if response.status >= 400 and response.status not in request.expects:
                request = conversation.throw(provider.limits.read_failure(request, response, NOW))
            else:
                request = conversation.send(response)
    except StopIteration as stop:
        return stop.value


def script(*answers):
    """Answers in order, and the list of requests."""
    waiting, asked = list(answers), []

    def answer(request):
        asked.append(request)
        return waiting.pop(0)

    return answer, asked


def facts(drafts):
    """What must not depend on the path that a signal took."""
    return {(one.dedupe_key, one.kind.value, one.occurred_at, one.title) for one in drafts}


def described(draft):
    document = attrs.asdict(draft, filter=lambda field, _: field.name != "payload")
    return {**document, "occurred_at": rfc3339(draft.occurred_at)}


def ms(at):
    return round(at.timestamp() * 1000)


FOLDERS = {"10": ("Inbox", "Inbox"), "20": ("Sent", "Sent"), "30": ("Spam", "Spam"), "40": ("Trash", "Trash"),
           "50": ("Clients", "Inbox"), "60": ("Drafts", "Drafts")}  # fmt: skip


class FakeMailbox:
    """A mailbox that lists newest first, counts rows from 1, and whose mail moves while it is listed."""

    def __init__(self, at=NOW - timedelta(days=9)):
        self.now = at
        self.mails = {}
        self.pushed = []
        self.requests = []
        self.before_list = lambda: None
        self.broken = {}
        """What is wrong with rows, by the mail's id: fields that replace its own."""
        self._ids = 1709887058769100000

    def tick(self, seconds=61):
        self.now += timedelta(seconds=seconds)
        return ms(self.now)

    def arrive(self, folder="10", *, sent=False, seconds=61):
        self._ids += 1
        at = self.tick(seconds)
        subject = f"Tom & <Jerry> {self._ids % 1000}"
        self.mails[self._ids] = {"folder": "20" if sent else folder, "at": at, "subject": subject, "status": "0"}
        if not sent and folder not in {"30", "40"}:
            self.pushed.append(
                {
                    "messageId": self._ids,
                    "messageIdString": str(self._ids),
                    "folderId": int(folder),
                    "zuid": 680463218,
                    "subject": subject,
                    "sender": "Rebecca",
                    "fromAddress": "Rebecca@zylker.com",
                    "receivedTime": at,
                    "html": "<p>secret</p>",
                }
            )
        return self._ids

    def move(self, mail_id, folder):
        self.mails[mail_id]["folder"] = folder

    def delete(self, mail_id):
        del self.mails[mail_id]

    def row(self, mail_id):
        mail = self.mails[mail_id]
        return {
            "messageId": str(mail_id),
            "threadId": "0",
            "folderId": mail["folder"],
            "subject": html.escape(mail["subject"]),
            "sender": "Rebecca",
            "fromAddress": "Rebecca@zylker.com",
            "ccAddress": "Not Provided",
            "receivedTime": str(mail["at"]),
            "sentDateInGMT": str(mail["at"] - 7 * 3_600_000),
            "status": mail["status"],
            **self.broken.get(mail_id, {}),
        }

    def answer(self, request):
        parts = urlsplit(request.url)
        assert f"{parts.scheme}://{parts.netloc}" == "https://mail.zoho.eu"
        self.requests.append(request)
        path, query = parts.path.removeprefix(f"/api/accounts/{ACCOUNT_ID}"), dict(parse_qsl(parts.query))
        status = {"code": 200, "description": "success"}
        if path == "/folders":
            rows = [
                {"folderId": key, "folderName": name, "path": f"/{name}", "folderType": kind}
                for key, (name, kind) in FOLDERS.items()
            ]
            return reply({"status": status, "data": rows})
        if path.endswith("/details"):
            _, _, folder, _, mail_id, _ = path.split("/")
            mail = self.mails.get(int(mail_id))
            if mail is None or mail["folder"] != folder:
                return reply({"status": {"code": 404}, "data": {"errorCode": "MESSAGE_NOT_EXISTS"}}, 404)
            return reply({"status": status, "data": self.row(int(mail_id))})
        assert path == "/messages/view", path
        assert (query["sortBy"], query["sortorder"]) == ("date", "false")
        found = [key for key, mail in self.mails.items() if mail["folder"] == query["folderId"]]
        found.sort(key=lambda key: (self.mails[key]["at"], key), reverse=True)
        first, limit = int(query["start"]) - 1, int(query["limit"])
        answer = reply({"status": status, "data": [self.row(key) for key in found[first : first + limit]]})
        self.before_list()
        return answer


@attrs.define(kw_only=True)
class AccountReader(StreamReader):
    """Reads an account as the engine does: it believes `quiet_since`, and reads the past of streams that are new."""

    pending: set = attrs.field(factory=set)
    """Streams whose history has not been read."""

    def read(self, now):
        self.discover(now)
        for key, state in list(self.known.items()):
            quiet = state.stream.quiet_since
            if state.bookmark is None:
                self.pending.add(key)
            elif quiet is not None and quiet <= state.read_until:
                state.read_until = now
                continue
            self.read_stream(key, now)
        for _ in range(self.streams.rounds):
            for key in sorted(self.pending):
                self.backfill_stream(key, self.floor, now)
        self.pending &= set(self.refused)


def make_reader(provider, answer, floor=NOW - timedelta(days=9), *, app=None, connection=None, kind=AccountReader):
    """A reader of an account that such a vendor has."""
    slug = provider.slug
    context = SyncContext(app=app or make_app(slug), connection=connection or make_connection(slug))
    return kind(
        streams=provider.streams,
        context=context,
        converse=lambda conversation: hold(provider, conversation, answer),
        floor=floor,
    )


class FakeCliq:
    """Channels, their messages, and a bot that is in all of them."""

    def __init__(self, *, newest_first=True, cap=100, at=NOW - timedelta(days=9), with_ids=True):
        self.now = at
        self.newest_first, self.cap, self.with_ids = newest_first, cap, with_ids
        self.chats = {}
        self.archived = set()
        self.lists_archived = True
        """Whether the list of chats has archived channels."""
        self.message_lag = self.chat_lag = timedelta(0)
        self.pushed = []
        self.requests = []
        self.on_read = lambda: None
        self._number = 0

    def open(self, chat_id):
        self.chats[chat_id] = []

    def post(self, chat_id, seconds=61, *, kind="text", sender="55743307"):
        self.now += timedelta(seconds=seconds)
        self._number += 1
        at = ms(self.now)
        message = {
            "sender": {"name": "Scott", "id": sender},
            "id": f"{at}_{self._number}",
            "time": at if self._number % 2 else str(at),
            "type": kind,
            "content": {"text": f"Hello {self._number}"} if self._number % 3 else f"Hello {self._number}",
        }
        self.chats[chat_id].append(message)
        self.push("message_sent", chat_id, message)
        return message

    def edit(self, chat_id, index):
        message = self.chats[chat_id][index]
        message["content"] = {"text": "Edited"}
        self.now += timedelta(seconds=1)
        self.push("message_edited", chat_id, message, at=ms(self.now))

    def push(self, operation, chat_id, message, at=None):
        content = message["content"]
        text = content if isinstance(content, str) else content["text"]
        access = {"chat_id": chat_id, **({"message_id": message["id"].replace("_", "%20")} if self.with_ids else {})}
        self.pushed.append(
            {
                "handler": {"type": "participation_handler"},
                "type": "bot",
                "timestamp": ms(self.now),
                "params": {
                    "operation": operation,
                    "data": {"message": {"type": message["type"], "text": text}, "time": at or message["time"]},
                    "chat": {"id": chat_id, "type": "channel", "title": chat_id.lower()},
                    "user": {"id": message["sender"]["id"], "first_name": "Scott"},
                    "access": access,
                },
            }
        )

    def answer(self, request):
        parts = urlsplit(request.url)
        assert f"{parts.scheme}://{parts.netloc}" == "https://cliq.zoho.eu"
        self.requests.append(request)
        path, query = parts.path.removeprefix("/api/v2"), dict(parse_qsl(parts.query))
        if path == "/channels":
            is_archived = {"created": False, "archived": True}[query["status"]]
            names = sorted(key for key in self.chats if (key in self.archived) is is_archived)
            start = int(query.get("next_token", "0"))
            page = [{"chat_id": key, "name": f"#{key.lower()}"} for key in names[start : start + 2]]
            more = {"has_more": True, "next_token": str(start + 2)} if start + 2 < len(names) else {"has_more": False}
            return reply({"channels": page, **more})
        if path == "/chats":
            after, before = int(query["modified_after"]), int(query.get("modified_before", 1 << 60))
            rows = [
                {"chat_id": key, "name": key, "last_modified_time": self._iso(shown[-1]["time"])}
                for key in self.chats
                if (key not in self.archived or self.lists_archived)
                and (shown := self._shown(key, self.chat_lag))
                and after < int(shown[-1]["time"]) < before
            ]
            return reply({"chats": rows[: int(query["limit"])]})
        _, _, chat_id, tail = path.split("/")
        assert tail == "messages"
        low, high = int(query["fromtime"]), int(query["totime"])
        found = [one for one in self._shown(unquote(chat_id), self.message_lag) if low <= int(one["time"]) <= high]
        found.sort(key=lambda one: int(one["time"]), reverse=self.newest_first)
        answer = reply({"data": found[: min(self.cap, int(query["limit"]))]})
        self.on_read()
        return answer

    def _shown(self, chat_id, lag):
        return [one for one in self.chats[chat_id] if int(one["time"]) <= ms(self.now - lag)]

    def _iso(self, millis):
        return datetime.fromtimestamp(int(millis) / 1000, UTC).isoformat()
