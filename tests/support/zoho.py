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
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import ReadContext, SyncContext
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL

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


def sync_run(provider, answer, plan, connection, app=None, cap=3000):
    """All pages of a sync run. Cursors go through JSON, metadata is updated, observations are interpreted."""
    context = SyncContext(app=app or make_app(provider.slug), connection=connection)
    cursor = hold(provider, provider.sync.start(context, plan), answer)
    pages = []
    while len(pages) < cap:
        page = hold(provider, provider.sync.read_page(context, plan, json.loads(json.dumps(cursor))), answer)
        pages.append(page)
        metadata = {**context.connection.metadata, **json.loads(json.dumps(page.connection_metadata))}
        context = attrs.evolve(context, connection=attrs.evolve(context.connection, metadata=metadata))
        cursor = page.cursor
        if page.done:
            return pages, context.connection
    raise AssertionError("the sync run does not end")


def plan(at=NOW, **changes):
    return SyncPlan(**{"mode": SyncMode.INCREMENTAL, "started_at": at, **changes})


def backfill(at=NOW, **changes):
    return plan(at, mode=SyncMode.BACKFILL, **changes)


def keys(pages):
    return {draft.dedupe_key for page in pages for draft in page.signals}


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
        assert path == "/messages/view", path
        assert (query["sortBy"], query["sortorder"]) == ("date", "false")
        found = [key for key, mail in self.mails.items() if mail["folder"] == query["folderId"]]
        found.sort(key=lambda key: (self.mails[key]["at"], key), reverse=True)
        first, limit = int(query["start"]) - 1, int(query["limit"])
        answer = reply({"status": status, "data": [self.row(key) for key in found[first : first + limit]]})
        self.before_list()
        return answer


class FakeCliq:
    """Channels, their messages, and a bot that is in all of them."""

    def __init__(self, *, newest_first=True, cap=100, at=NOW - timedelta(days=9), with_ids=True):
        self.now = at
        self.newest_first, self.cap, self.with_ids = newest_first, cap, with_ids
        self.chats = {}
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
            names = sorted(self.chats)
            start = int(query.get("next_token", "0"))
            page = [{"chat_id": key, "name": f"#{key.lower()}"} for key in names[start : start + 2]]
            more = {"has_more": True, "next_token": str(start + 2)} if start + 2 < len(names) else {"has_more": False}
            return reply({"channels": page, **more})
        if path == "/chats":
            after = int(query["modified_after"])
            active = [key for key, posts in self.chats.items() if posts and int(posts[-1]["time"]) > after]
            rows = [
                {"chat_id": key, "name": key, "last_modified_time": self._iso(self.chats[key][-1]["time"])}
                for key in active
            ]
            return reply({"chats": rows})
        _, _, chat_id, tail = path.split("/")
        assert tail == "messages"
        low, high = int(query["fromtime"]), int(query["totime"])
        found = [one for one in self.chats[unquote(chat_id)] if low <= int(one["time"]) <= high]
        found.sort(key=lambda one: int(one["time"]), reverse=self.newest_first)
        answer = reply({"data": found[: min(self.cap, int(query["limit"]))]})
        self.on_read()
        return answer

    def _iso(self, millis):
        return datetime.fromtimestamp(int(millis) / 1000, UTC).isoformat()
