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
from connectors.domain.model.webhook import Ignored, WebhookEvent, WebhookRequest
from connectors.domain.providers.contract import ReadContext, SyncContext, VerificationMaterial
from connectors.domain.providers.jira import JIRA
from tests.support.stream_reader import StreamReader

SLUG = ProviderSlug("jira")
TENANT = TenantId(UUID(int=7))
CLOUD = "1324a887-45db-1bf4-1e99-ef0ff456d421"
HOST = "acme.atlassian.net"
SITE = f"https://{HOST}"
CLIENT_ID = "app-client-id"
CLIENT_SECRET = "ATOAexample-client-secret-that-is-long-enough-for-hs256"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
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
    """The signals of a delivery for a connection."""
    event = receive_event(request, connection, *secrets)
    return event if isinstance(event, Ignored) else event.signals


def receive_event(request: WebhookRequest, connection: Connection, *secrets: str) -> WebhookEvent | Ignored:
    """The event of a delivery for a connection: verified, read and completed."""
    assert JIRA.webhooks is not None
    assert JIRA.webhooks.to_signals is not None
    delivery = JIRA.webhooks.verify(request, material(*secrets))
    event = JIRA.webhooks.read_event(delivery, ReadContext(app=APP))
    if isinstance(event, Ignored):
        return event
    JIRA.webhooks.verify_owner(delivery, connection)
    return JIRA.webhooks.to_signals(delivery, event, connection)


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


def reader_of(answer: Answer, connection: Connection | None = None, floor: datetime = NOW) -> StreamReader:
    """A reader of a connection's streams that has read nothing yet."""
    assert JIRA.streams is not None
    return StreamReader(
        streams=JIRA.streams,
        context=SyncContext(app=APP, connection=connection or make_connection()),
        converse=lambda conversation: hold(conversation, answer),
        floor=floor,
    )


def read_history(
    answer: Answer, connection: Connection | None = None, since: datetime = LONG_AGO, now: datetime = NOW
) -> StreamReader:
    """A reader that has read the history of everything."""
    reader = reader_of(answer, connection)
    reader.backfill(since, now)
    return reader


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
        self.lag = timedelta()
        """How long the search does not know an issue that has changed."""
        self.projects = {"10000": "OPS"}
        """Id → key of the projects that are shown."""
        self.on_search: Callable[[], None] | None = None
        """Called before a search."""
        self.on_answer: Callable[[list[dict[str, Any]]], None] | None = None
        """Called with the issues that a search has found, before it shows their fields."""
        self.broken: dict[str, int] = {}
        """Path → the status that it answers with."""
        self.searches: list[str] = []
        self.generation = 0
        """Of page tokens: those of earlier ones are refused."""
        self._ids = 100

    def next_id(self) -> str:
        self._ids += 1
        return str(self._ids)

    def tick(self, by: timedelta = timedelta(seconds=7, milliseconds=13)) -> datetime:
        self.now += by
        return self.now

    def create(self, project: str = "10000", dated: datetime | None = None) -> dict[str, Any]:
        """A new issue; with `dated` one that is imported with that date."""
        at, issue_id = stamp(dated or self.tick()), self.next_id()
        self.issues[issue_id] = {
            "id": issue_id,
            "key": f"OPS-{issue_id}",
            "self": f"{SITE}/rest/api/2/issue/{issue_id}",
            "fields": {
                "summary": f"Issue {issue_id}",
                "project": {"id": project, "key": "OPS", "name": "Operations"},
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
        if path in self.broken:
            return reply({"errorMessages": ["No."], "errors": {}}, self.broken[path])
        if path == "search/jql":
            query = json.loads(request.body or b"")
            if not query.get("nextPageToken", self._token(0)).endswith(self._token("")):
                return reply({"errorMessages": ["The token has expired."], "errors": {}}, 400)
            return reply(self._search(query))
        if path == "changelog/bulkfetch":
            asked = json.loads(request.body or b"")["issueIdsOrKeys"]
            logs = [{"issueId": one, "changeHistories": self.histories[one]} for one in asked if self.histories[one]]
            return reply({"issueChangeLogs": logs})
        if path == "status":
            return reply([self._status(one) for one in STATUSES])
        if path == "project/search":
            return reply({"values": [{"id": one, "key": key} for one, key in self.projects.items()], "isLast": True})
        found = re.fullmatch(r"issue/(\d+)(/comment|/changelog)?", path)
        if found and self._is_shown(found[1]):
            return reply(self._show(found[1], found[2], parse_qs(urlsplit(request.url).query)))
        return reply({"errorMessages": ["no such path"]}, 404)

    def _is_shown(self, issue_id: str) -> bool:
        return issue_id in self.issues and self.issues[issue_id]["fields"]["project"]["id"] in self.projects

    def _show(self, issue_id: str, part: str | None, query: dict[str, list[str]]) -> dict[str, Any]:
        if part is None:
            return self._shown(self.issues[issue_id], query["fields"][0].split(","))
        listed = self.comments[issue_id] if part == "/comment" else self.histories[issue_id]
        start = int(query["startAt"][0])
        member = "comments" if part == "/comment" else "values"
        return {member: listed[start : start + 2], "startAt": start, "total": len(listed)}

    def _shown(self, issue: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
        fields = {name: value for name, value in issue["fields"].items() if name in names}
        if self.embed:
            of_issue = self.comments[issue["id"]]
            fields["comment"] = {"comments": of_issue[:1], "total": len(of_issue)}
        copy: dict[str, Any] = json.loads(json.dumps({**issue, "fields": fields}))
        return copy

    def _search(self, query: dict[str, Any]) -> dict[str, Any]:
        if self.on_search is not None:
            self.on_search()
        self.searches.append(query["jql"])
        bound = re.fullmatch(r"updated >= (\d+)(?: AND project = (\d+))? ORDER BY updated ASC, id ASC", query["jql"])
        assert bound is not None, query["jql"]
        rows = [
            issue
            for issue in sorted(self.issues.values(), key=lambda one: (one["fields"]["updated"], int(one["id"])))
            if self._is_shown(issue["id"])
            and (bound[2] is None or issue["fields"]["project"]["id"] == bound[2])
            and self._updated_ms(issue) >= int(bound[1])
            and not ms(self.now - self.lag) < self._updated_ms(issue) <= ms(self.now)
        ]
        start = int(query.get("nextPageToken", self._token(0)).partition("-")[0])
        page = rows[start : start + self.page_size]
        if self.on_answer is not None:
            self.on_answer(page)
        answer: dict[str, Any] = {"issues": [self._shown(issue, query["fields"]) for issue in page]}
        if start + self.page_size < len(rows):
            answer["nextPageToken"] = self._token(start + self.page_size)
        return answer

    def _token(self, start: int | str) -> str:
        return f"{start}-{self.generation}"

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
