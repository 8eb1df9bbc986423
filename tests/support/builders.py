"""Builders: a test names only what matters to it."""

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.coverage import CoveragePath, Gap, GapCause, Interval
from connectors.domain.model.idempotency import IdempotentAnswer
from connectors.domain.model.ids import (
    ConnectionId,
    DeliveryId,
    GrantId,
    JobId,
    ProviderSlug,
    SignalId,
    SubscriptionId,
    TenantId,
)
from connectors.domain.model.oauth import AuthorizationRequest, Grant
from connectors.domain.model.schedule import ScheduleEntry
from connectors.domain.model.secret import SealedSecret
from connectors.domain.model.signal import Actor, Container, Origin, Signal, SignalKind, Subject
from connectors.domain.model.sync import JobType, SyncJob
from connectors.domain.model.tasks import QueuedTask, TaskKind
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import DeliveryStatus, Subscription, WebhookDelivery

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
"""The instant at which tests happen. Its microseconds show whether they are kept."""
TENANT = TenantId(UUID("11111111-1111-4111-8111-111111111111"))
OTHER_TENANT = TenantId(UUID("22222222-2222-4222-8222-222222222222"))
GITHUB = ProviderSlug("github")
SLACK = ProviderSlug("slack")

_numbers = count(1)


def make_id():
    """A fresh UUID; later ones sort later."""
    return UUID(int=next(_numbers) << 64 | uuid4().int >> 64)


def make_tenant(**changes):
    return Tenant(**{"id": TENANT, "created_at": NOW, **changes})


def make_account(**changes):
    return ExternalAccount(**{"id": f"account-{next(_numbers)}", "name": "octo", **changes})


def make_connection(**changes):
    return Connection(
        **{
            "id": ConnectionId(make_id()),
            "tenant_id": TENANT,
            "provider": GITHUB,
            "account": changes.get("account") or make_account(),
            "grant_id": GrantId(make_id()),
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_sealed(text="sealed"):
    return SealedSecret("key-1", b"nonce", text.encode())


def make_grant(**changes):
    return Grant(
        **{
            "id": GrantId(make_id()),
            "tenant_id": TENANT,
            "provider": GITHUB,
            "grant_key": f"user-{next(_numbers)}",
            "token_set": make_sealed(),
            "expires_at": NOW + timedelta(hours=1),
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_authorization_request(**changes):
    return AuthorizationRequest(
        **{
            "state_hash": make_id().bytes * 2,
            "tenant_id": TENANT,
            "provider": GITHUB,
            "redirect_uri": "https://core.example/callback",
            "scopes": ("repo",),
            "verifier_id": make_id(),
            "code_verifier": make_sealed("verifier"),
            "options": {"repositories": ["octo/hello"]},
            "created_at": NOW,
            "expires_at": NOW + timedelta(minutes=10),
            **changes,
        }
    )


def make_subscription(**changes):
    return Subscription(
        **{
            "id": SubscriptionId(make_id()),
            "tenant_id": TENANT,
            "connection_id": ConnectionId(make_id()),
            "provider": GITHUB,
            "target": "repo:octo/hello",
            "created_at": NOW,
            "updated_at": NOW,
            **changes,
        }
    )


def make_delivery(**changes):
    return WebhookDelivery(
        **{
            "id": DeliveryId(make_id()),
            "tenant_id": TENANT,
            "provider": GITHUB,
            "connection_id": None,
            "delivery_id": f"delivery-{next(_numbers)}",
            "event": "issues.opened",
            "headers": {"x-github-event": "issues"},
            "body": b'{"action": "opened"}',
            "received_at": NOW,
            "status": DeliveryStatus.PROCESSED,
            **changes,
        }
    )


def make_signal(**changes):
    return Signal(
        **{
            "id": SignalId(make_id()),
            "tenant_id": TENANT,
            "connection_id": ConnectionId(UUID(int=7)),
            "provider": GITHUB,
            "kind": SignalKind.ISSUE_CREATED,
            "occurred_at": NOW,
            "received_at": NOW,
            "title": "Crash on start",
            "url": "https://github.example/octo/hello/issues/1",
            "actor": Actor("1", "octocat"),
            "subject": Subject("issue", "1", "Crash on start"),
            "container": Container("repository", "2", "octo/hello"),
            "dedupe_key": f"issue:{next(_numbers)}:created",
            "origin": Origin.WEBHOOK,
            "payload": {"action": "opened"},
            **changes,
        }
    )


def make_job(**changes):
    return SyncJob(
        **{
            "id": JobId(make_id()),
            "tenant_id": TENANT,
            "connection_id": ConnectionId(make_id()),
            "provider": GITHUB,
            "type": JobType.INCREMENTAL,
            "scheduled_at": NOW,
            **changes,
        }
    )


def make_task(**changes):
    name = f"test:{next(_numbers)}"
    return QueuedTask(
        **{
            "kind": TaskKind.SYNC,
            "tenant_id": TENANT,
            "subject_id": make_id(),
            "priority": 10,
            "lock": name,
            "queueing_lock": name,
            **changes,
        }
    )


def make_schedule_entry(**changes):
    return ScheduleEntry(
        **{"tenant_id": TENANT, "subject_id": make_id(), "kind": TaskKind.SYNC, "next_at": NOW, **changes}
    )


def make_interval(**changes):
    return Interval(
        **{
            "tenant_id": TENANT,
            "connection_id": ConnectionId(UUID(int=7)),
            "family": "issues",
            "path": CoveragePath.SYNC,
            "from_at": NOW,
            "to_at": NOW + timedelta(hours=1),
            **changes,
        }
    )


def make_gap(**changes):
    return Gap(
        **{
            "id": make_id(),
            "tenant_id": TENANT,
            "connection_id": ConnectionId(UUID(int=7)),
            "family": "issues",
            "cause": GapCause.STREAM_BROKEN,
            "reason": "The subscription lapsed.",
            "from_at": NOW,
            "opened_at": NOW,
            **changes,
        }
    )


def make_answer(**changes):
    return IdempotentAnswer(
        **{
            "tenant_id": TENANT,
            "key": f"key-{next(_numbers)}",
            "fingerprint": "connection|1|backfill",
            "job_ids": (JobId(make_id()), JobId(make_id())),
            "created_at": NOW,
            **changes,
        }
    )
