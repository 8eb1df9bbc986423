"""A small Jira site that behaves, and what the Jira tests share."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import SyncPage, SyncPlan
from connectors.domain.model.webhook import Ignored, WebhookRequest
from connectors.domain.providers.contract import ReadContext, SyncContext, VerificationMaterial
from connectors.domain.providers.jira import JIRA

SLUG = ProviderSlug("jira")
TENANT = TenantId(UUID(int=7))
CLOUD = "1324a887-45db-1bf4-1e99-ef0ff456d421"
HOST = "acme.atlassian.net"
SITE = f"https://{HOST}"
CLIENT_ID = "app-client-id"
CLIENT_SECRET = "ATOAexample-client-secret-that-is-long-enough-for-hs256"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STATUSES = {"1": "new", "3": "indeterminate", "5": "done", "6": "done"}
STATUS_NAMES = {"1": "To Do", "3": "In Progress", "5": "Done", "6": "Won't Do"}

APP = ProviderApp(provider=SLUG, client_id=CLIENT_ID, client_secret=Secret(CLIENT_SECRET))


def make_connection(**changes: Any) -> Connection:
    account = ExternalAccount(id=CLOUD, name="acme", url=SITE, metadata={"account_id": "712020:lee"})
    values = {
        "id": ConnectionId(UUID(int=8)),
        "tenant_id": TENANT,
        "provider": SLUG,
        "account": account,
        "grant_id": GrantId(UUID(int=9)),
        "metadata": {"webhook_ids": ["1000"], "status_categories": STATUSES},
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Connection(**{**values, **changes})


# --- signing, independent of the code under test -------------------------------------------------------------------


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def make_jwt(secret: str = CLIENT_SECRET, *, alg: str = "HS256", now: datetime = NOW, **claims: Any) -> str:
    stamp = int(now.timestamp())
    body = {"iss": CLIENT_ID, "sub": "712020:lee", "iat": stamp, "exp": stamp + 180, "jti": "j1", **claims}
    body = {name: value for name, value in body.items() if value is not ...}
    head = b64url(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + "." + b64url(json.dumps(body).encode())
    digests: dict[str, Any] = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    signature = hmac.new(secret.encode(), head.encode(), digests[alg]).digest() if alg in digests else b""
    return f"{head}.{b64url(signature)}"


def make_request(
    body: bytes | dict[str, Any], *, tenant: TenantId | None = None, token: str | None = "", **headers: str
) -> WebhookRequest:
    """A delivery; with `token` "" it has a valid JWT, with None no header."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        names["Authorization"] = f"Bearer {token or make_jwt()}"
    return WebhookRequest(provider=SLUG, tenant_id=tenant, headers=names, body=raw, received_at=NOW)


def material(*secrets: str, now: datetime = NOW, app: ProviderApp | None = APP) -> VerificationMaterial:
    return VerificationMaterial(app=app, secrets=[Secret(one) for one in secrets], now=now)


def receive(request: WebhookRequest, connection: Connection, *secrets: str) -> tuple[SignalDraft, ...] | Ignored:
    """The event of a delivery for a connection: verified, read and completed."""
    assert JIRA.webhooks is not None
    assert JIRA.webhooks.to_signals is not None
    delivery = JIRA.webhooks.verify(request, material(*secrets))
    event = JIRA.webhooks.read_event(delivery, ReadContext(app=APP))
    if isinstance(event, Ignored):
        return event
    return JIRA.webhooks.to_signals(delivery, event, connection).signals


# --- conversations -------------------------------------------------------------------------------------------------

Answer = Callable[[HttpRequest], HttpResponse]


def hold(conversation: Generator[HttpRequest, HttpResponse, Any], answer: Answer) -> Any:
    """Run a conversation as `flows/provider_access/conversations.py` does, errors included."""
    try:
        request = next(conversation)
        while True:
            response = answer(request)
            if response.status >= 400 and response.status not in request.expects:
                request = conversation.throw(JIRA.limits.read_failure(request, response, NOW))
            else:
                request = conversation.send(response)
    except StopIteration as stop:
        return stop.value


def replies(*answers: Any) -> tuple[Answer, list[HttpRequest]]:
    """Scripted answers in order (JSON values, or whole responses), and the list of requests."""
    waiting, asked = list(answers), []

    def answer(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        given = waiting.pop(0)
        return given if isinstance(given, HttpResponse) else reply(given)

    return answer, asked


def reply(document: Any, status: int = 200, **headers: str) -> HttpResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpResponse(status=status, headers=names, body=body)


def sync_run(plan: SyncPlan, answer: Answer, connection: Connection, *, cap: int = 1000) -> list[SyncPage]:
    """All pages of a sync run, with the connection's metadata updated as the engine does."""
    assert JIRA.sync is not None
    context = SyncContext(app=APP, connection=connection)
    cursor = hold(JIRA.sync.start(context, plan), answer)
    pages: list[SyncPage] = []
    while len(pages) < cap:
        cursor = json.loads(json.dumps(cursor))
        page = hold(JIRA.sync.read_page(context, plan, cursor), answer)
        pages.append(page)
        metadata = {**context.connection.metadata, **page.connection_metadata}
        context = SyncContext(app=APP, connection=make_connection(metadata=metadata))
        if page.done:
            return pages
        cursor = page.cursor
    raise AssertionError("the sync run does not end")


# --- the site ------------------------------------------------------------------------------------------------------


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}+0000"


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


class FakeSite:
    """Issues, their history and comments; each change gives the webhook body that Jira would send."""

    def __init__(self, page_size: int = 2, now: datetime = NOW - timedelta(days=10)) -> None:
        self.now = now
        self.page_size = page_size
        self.issues: dict[str, dict[str, Any]] = {}
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.user = {"accountId": "712020:lee", "displayName": "Lee", "self": f"{SITE}/rest/api/2/user?accountId=1"}
        self.embed = True
        self.on_search: Callable[[], None] | None = None
        self.searches: list[str] = []
        self._ids = 100

    def next_id(self) -> str:
        self._ids += 1
        return str(self._ids)

    def tick(self, by: timedelta = timedelta(seconds=7, milliseconds=13)) -> datetime:
        self.now += by
        return self.now

    def create(self) -> dict[str, Any]:
        at, issue_id = stamp(self.tick()), self.next_id()
        self.issues[issue_id] = {
            "id": issue_id,
            "key": f"OPS-{issue_id}",
            "self": f"{SITE}/rest/api/2/issue/{issue_id}",
            "fields": {
                "summary": f"Issue {issue_id}",
                "project": {"id": "10000", "key": "OPS", "name": "Operations"},
                "status": self._status("1"),
                "creator": self.user,
                "created": at,
                "updated": at,
            },
        }
        self.histories[issue_id], self.comments[issue_id] = [], []
        return self._envelope("jira:issue_created", issue_id)

    def change(self, issue_id: str, field: str, before: str | None, after: str | None) -> dict[str, Any]:
        at = self._touch(issue_id)
        if field == "status":
            self.issues[issue_id]["fields"]["status"] = self._status(after or "1")
        item = {"field": field, "fieldId": field, "from": before, "to": after, "fromString": before, "toString": after}
        history = {"id": self.next_id(), "author": self.user, "created": at, "items": [item]}
        self.histories[issue_id].append(history)
        changelog = {"id": history["id"], "items": history["items"]}
        return self._envelope("jira:issue_updated", issue_id, changelog=changelog)

    def move(self, issue_id: str, status: str) -> dict[str, Any]:
        return self.change(issue_id, "status", self.issues[issue_id]["fields"]["status"]["id"], status)

    def comment(self, issue_id: str) -> dict[str, Any]:
        at = self._touch(issue_id)
        comment = {"id": self.next_id(), "author": self.user, "body": "Hello", "created": at, "updated": at}
        self.comments[issue_id].append(comment)
        return self._comment_envelope("comment_created", issue_id, comment)

    def edit(self, issue_id: str, number: int) -> dict[str, Any]:
        comment = self.comments[issue_id][number]
        comment["updated"] = self._touch(issue_id)
        return self._comment_envelope("comment_updated", issue_id, comment)

    def answer(self, request: HttpRequest) -> HttpResponse:
        """The REST API."""
        path = urlsplit(request.url).path.partition(f"/ex/jira/{CLOUD}/rest/api/3/")[2]
        if path == "search/jql":
            return reply(self._search(json.loads(request.body or b"")))
        if path == "changelog/bulkfetch":
            asked = json.loads(request.body or b"")["issueIdsOrKeys"]
            logs = [{"issueId": one, "changeHistories": self.histories[one]} for one in asked if self.histories[one]]
            return reply({"issueChangeLogs": logs})
        if path == "status":
            return reply([self._status(one) for one in STATUSES])
        found = re.fullmatch(r"issue/(\d+)/comment", path)
        if found:
            start = int(parse_qs(urlsplit(request.url).query)["startAt"][0])
            all_of_them = self.comments[found[1]]
            return reply({"comments": all_of_them[start : start + 2], "startAt": start, "total": len(all_of_them)})
        return reply({"errorMessages": ["no such path"]}, 404)

    def _search(self, query: dict[str, Any]) -> dict[str, Any]:
        if self.on_search is not None:
            self.on_search()
        self.searches.append(query["jql"])
        bound = re.fullmatch(r"updated >= (\d+)(?: AND project = \"OPS\")? ORDER BY updated ASC, id ASC", query["jql"])
        assert bound is not None, query["jql"]
        rows = sorted(self.issues.values(), key=lambda one: (one["fields"]["updated"], int(one["id"])))
        rows = [one for one in rows if self._updated_ms(one) >= int(bound[1])]
        start = int(query.get("nextPageToken", "p0")[1:])
        page = json.loads(json.dumps(rows[start : start + self.page_size]))
        for issue in page:
            issue["fields"] = {name: value for name, value in issue["fields"].items() if name in query["fields"]}
            if self.embed:
                first = self.comments[issue["id"]][:1]
                issue["fields"]["comment"] = {"comments": first, "total": len(self.comments[issue["id"]])}
        answer: dict[str, Any] = {"issues": page}
        if start + self.page_size < len(rows):
            answer["nextPageToken"] = f"p{start + self.page_size}"
        return answer

    def _updated_ms(self, issue: dict[str, Any]) -> int:
        return ms(datetime.strptime(issue["fields"]["updated"], "%Y-%m-%dT%H:%M:%S.%f%z"))

    def _touch(self, issue_id: str) -> str:
        at = stamp(self.tick())
        self.issues[issue_id]["fields"]["updated"] = at
        return at

    def _status(self, status_id: str) -> dict[str, Any]:
        category = {"key": STATUSES[status_id]}
        return {"id": status_id, "name": STATUS_NAMES[status_id], "statusCategory": category}

    def _envelope(self, name: str, issue_id: str, **more: Any) -> dict[str, Any]:
        issue = json.loads(json.dumps(self.issues[issue_id]))
        envelope = {"timestamp": ms(self.now), "webhookEvent": name, "user": self.user, "issue": issue, **more}
        return {**json.loads(json.dumps(envelope)), "matchedWebhookIds": [1000]}

    def _comment_envelope(self, name: str, issue_id: str, comment: dict[str, Any]) -> dict[str, Any]:
        issue = {name: self.issues[issue_id][name] for name in ("id", "key", "self")}
        trimmed = {**issue, "fields": {"summary": self.issues[issue_id]["fields"]["summary"]}}
        envelope = {"timestamp": ms(self.now), "webhookEvent": name, "issue": trimmed, "comment": comment}
        return {**json.loads(json.dumps(envelope)), "matchedWebhookIds": [1000]}


def facts(drafts: Iterable[SignalDraft]) -> set[tuple[str, str, datetime]]:
    """What must not depend on the path a signal took."""
    return {(one.dedupe_key, one.kind.value, one.occurred_at) for one in drafts}
