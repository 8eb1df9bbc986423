"""What the GitHub tests share: builders that name only what matters."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ConnectionId, GrantId, ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import ReadContext

GITHUB_SLUG = ProviderSlug("github")
TENANT = TenantId(UUID(int=1))
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FIXTURES = Path(__file__).parent / "fixtures"
CONTEXT = ReadContext(app=None)


def make_app(**changes):
    return ProviderApp(
        **{"provider": GITHUB_SLUG, "client_id": "Ov23client", "client_secret": Secret("client-secret"), **changes}
    )


def make_connection(**changes):
    return Connection(
        **{
            "id": ConnectionId(UUID(int=2)),
            "tenant_id": TENANT,
            "provider": GITHUB_SLUG,
            "account": ExternalAccount(id="101", name="ada"),
            "grant_id": GrantId(UUID(int=3)),
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_request(body, headers=None):
    return WebhookRequest(provider=GITHUB_SLUG, tenant_id=TENANT, headers=headers or {}, body=body, received_at=NOW)


def make_delivery(body, event, **headers):
    request = make_request(body, {"x-github-event": event, **headers})
    return VerifiedDelivery(request=request, delivery_id="guid-1", via="app")


def read_fixture(path):
    """The webhook request of a fixture."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return make_request(body, headers)


def answer(conversation, *responses):
    """What the conversation returns with these answers, one after the other, and the requests that it made."""
    requests = []
    try:
        requests.append(next(conversation))
        for response in responses:
            if isinstance(response, Exception):
                requests.append(conversation.throw(response))
            else:
                requests.append(conversation.send(response))
    except StopIteration as end:
        return end.value, requests
    raise AssertionError(f"the conversation wants another answer, to {requests[-1].method} {requests[-1].url}")


def http_date(at):
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def respond(body=b"", status=200, **headers):
    """An answer; header names with `_` for `-`."""
    return HttpResponse(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body
    )
