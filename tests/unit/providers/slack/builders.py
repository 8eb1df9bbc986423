"""What the Slack tests share: one workspace, one connection, and Slack's signatures."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import ReadContext, VerificationMaterial
from connectors.domain.providers.slack import SLACK

FIXTURES = Path(__file__).parent / "fixtures"
FIXTURE_NAMES = sorted(path.stem for path in FIXTURES.glob("*.http"))
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
"""The one in the vendor's published example."""
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TEAM = "T9TK3CUKW"
OUR_BOT_USER, OUR_BOT = "U0KRQLJ9H", "B0KRQLJ9H"


def make_app(*, options: Mapping[str, str] | None = None, **changes: Any) -> ProviderApp:
    fields = {"provider": ProviderSlug("slack"), "client_id": "1.2", "client_secret": Secret("cs-1")}
    return ProviderApp(options=SLACK.read_options(options or {}), **{**fields, **changes})


def make_connection(**changes: Any) -> Connection:
    account = ExternalAccount(
        id=TEAM,
        name="Acme",
        url="https://acme.slack.com/",
        metadata={"team_id": TEAM, "bot_user_id": OUR_BOT_USER, "bot_id": OUR_BOT},
    )
    fields = {
        "id": ConnectionId(UUID(int=1)),
        "tenant_id": TenantId(UUID(int=2)),
        "provider": ProviderSlug("slack"),
        "account": account,
        "grant_id": GrantId(UUID(int=3)),
        "metadata": {"people_names": {"U9": "Ada"}, "channel_names": {"C123": "general"}},
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Connection(**{**fields, **changes})


def make_user_connection(user: str) -> Connection:
    """A connection with only a user's token."""
    account = ExternalAccount(id=TEAM, name="Acme", metadata={"team_id": TEAM, "user_id": user})
    return make_connection(account=account)


def read_fixture(name: str) -> tuple[dict[str, str], bytes]:
    """The headers and the exact body of a captured delivery."""
    head, _, body = (FIXTURES / f"{name}.http").read_bytes().partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().splitlines()), body


def sign(body: bytes, timestamp: str, secret: str = SIGNING_SECRET) -> str:
    return "v0=" + hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()


def make_request(body: bytes, headers: dict[str, str] | None = None, at: datetime = NOW) -> WebhookRequest:
    timestamp = str(int(at.timestamp()))
    signed = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign(body, timestamp),
    }
    return WebhookRequest(
        provider=ProviderSlug("slack"),
        tenant_id=None,
        headers={**signed, **(headers or {})},
        body=body,
        received_at=at,
    )


def material(now: datetime = NOW, secrets: tuple[str, ...] = (SIGNING_SECRET,)) -> VerificationMaterial:
    return VerificationMaterial(app=make_app(), secrets=[Secret(secret) for secret in secrets], now=now)


def verified(body: bytes | dict[str, Any], at: datetime = NOW) -> VerifiedDelivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return SLACK.webhooks.verify(make_request(raw, at=at), material(at))


def envelope(event: Any, **changes: Any) -> dict[str, Any]:
    """An Events API envelope around `event`, as the vendor documents it."""
    outer = {
        "token": "x",
        "team_id": TEAM,
        "api_app_id": "A123",
        "type": "event_callback",
        "event_id": "Ev1",
        "event_time": 1777896000,
        "context_team_id": TEAM,
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": OUR_BOT_USER,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event": event,
    }
    return {**outer, **changes}


def read(body: bytes | dict[str, Any], app: ProviderApp | None = None, connection: Connection | None = None):
    """The completed event of a delivery for one connection, or Ignored."""
    delivery = verified(body)
    event = SLACK.webhooks.read_event(delivery, ReadContext(app=app or make_app()))
    if type(event).__name__ == "Ignored":
        return event
    return SLACK.webhooks.to_signals(delivery, event, connection or make_connection())


def answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(status=status, headers=headers or {}, body=json.dumps(document).encode())


def query_of(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query))


def fields_of(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl((request.body or b"").decode()))


def converse(conversation, reply):
    """The result of a conversation with `reply(request) -> response`, which may raise."""
    try:
        request = next(conversation)
        while True:
            try:
                response = reply(request)
            except ConnectorsError as error:
                request = conversation.throw(error)
            else:
                request = conversation.send(response)
    except StopIteration as end:
        return end.value


def render(outcome: Any) -> dict[str, Any]:
    """A completed event or Ignored in the fixtures' form. Payloads are left out: they are the event itself."""
    if type(outcome).__name__ == "Ignored":
        reply = outcome.reply and {"content_type": outcome.reply.content_type, "body": outcome.reply.body.decode()}
        return {"ignored": outcome.event, "reason": outcome.reason, "reply": reply}
    return {
        "event": outcome.event,
        "account_ids": list(outcome.account_ids),
        "lifecycle": outcome.lifecycle and outcome.lifecycle.value,
        "needs_sync": outcome.needs_sync,
        "signals": [render_draft(draft) for draft in outcome.signals],
    }


def render_draft(draft: Any) -> dict[str, Any]:
    return {
        "kind": draft.kind.value,
        "occurred_at": rfc3339(draft.occurred_at),
        "title": draft.title,
        "url": draft.url,
        "actor": draft.actor and [draft.actor.id, draft.actor.name],
        "subject": [draft.subject.type, draft.subject.id, draft.subject.name],
        "container": draft.container and [draft.container.type, draft.container.id, draft.container.name],
        "dedupe_key": draft.dedupe_key,
    }
