"""A whole system in memory with the provider Acme, and short methods for what tests do with it."""

import json
import time
from datetime import timedelta
from itertools import count

import attrs

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.ids import UNROUTED, TenantId
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobFilter
from connectors.domain.model.webhook import DeliveryFilter, WebhookRequest
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.library import Connectors
from tests.support.builders import NOW, TENANT
from tests.support.provider import ACME, SLUG, sign
from tests.support.vendor import Vendor


class StillClock(ManualClock):
    """A clock that sleeping does not advance: the sleeper waits for other threads, which need real time."""

    def sleep(self, duration):
        time.sleep(0.0005)


class World:
    """One system, one vendor, one clock."""

    def __init__(self, acme=ACME, *, clock=None, vendor=Vendor, **changes):
        self.clock = clock or ManualClock(NOW)
        self.vendor = vendor(self.clock)
        self.acme = acme
        self.connectors = Connectors.in_memory(
            respond=self.vendor, registry=ProviderRegistry([acme]), clock=self.clock, **changes
        )
        self.uow = self.connectors.connect.unit_of_work
        self.keeper = self.connectors.connect.keeper
        self.app = self.connectors.apps[SLUG]
        self._deliveries = count(1)

    def start(self, tenant=TENANT, **changes):
        return self.connectors.connect.start_authorization(tenant, "acme", **changes)

    def finish(self, query, **changes):
        return self.connectors.connect.complete_authorization("acme", query, **changes)

    def connect(self, tenant=TENANT, user="ada", **changes):
        """The first connection that a whole consent gives."""
        return self.finish(self.vendor.consent(self.start(tenant, **changes).authorize_url, user))[0]

    def known(self, tenant=TENANT):
        """The tenant, created if it is not known."""
        return self.connectors.tenants.ensure(TenantId(tenant))[0].id

    def reload(self, connection):
        with self.uow() as uow:
            return uow.connections.get(connection.tenant_id, connection.id)

    def grant(self, connection):
        with self.uow() as uow:
            return uow.grants.get(connection.tenant_id, connection.grant_id)

    def tokens(self, connection):
        return self.keeper.open(self.grant(connection))

    def grants(self):
        """The grants whose secrets are held here."""
        with self.uow() as uow:
            return [row.grant for row in uow.grants._rows.values() if row.grant.token_set is not None]

    def end_all(self, *, within=timedelta(hours=26)):
        """Let the background end what it can: every minute for so long."""
        give_up_at = self.clock.now() + within
        while self.clock.now() < give_up_at and self.has_endings():
            self.clock.advance(timedelta(minutes=1))
            self.tick()
            self.work()

    def has_endings(self):
        """Whether something has to go at the vendor."""
        with self.uow() as uow:
            return uow.grants.oldest_ending() is not None or uow.subscriptions.oldest_ending() is not None

    def subscriptions(self, connection):
        with self.uow() as uow:
            return uow.subscriptions.list_of_connection(connection.tenant_id, connection.id)

    def jobs(self, tenant=TENANT):
        with self.uow() as uow:
            return uow.jobs.list_page(tenant, PageRequest(limit=100), JobFilter()).items

    def signals(self, tenant=TENANT):
        return self.connectors.queries.list_signals(tenant, limit=100).items

    def deliveries(self, tenant=TENANT):
        return self.connectors.queries.list_deliveries(tenant, limit=100).items

    def unrouted(self):
        with self.uow() as uow:
            return uow.deliveries.list_page(UNROUTED, PageRequest(limit=100), DeliveryFilter()).items

    def work(self):
        """Run all queued tasks that are due; how many there were."""
        return self.connectors.run_pending()

    def tick(self):
        """Queue what has become due; how many tasks that were."""
        return self.connectors.schedule.tick()

    def retune(self, *, concurrency=None, time_slice=None):
        """Give workers other settings."""
        sync = self.connectors.sync
        if concurrency is not None:
            concurrency = attrs.evolve(sync.concurrency, settings=concurrency)
            receipts = attrs.evolve(sync.receipts, concurrency=concurrency)
            sync = attrs.evolve(sync, concurrency=concurrency, receipts=receipts)
        changed = attrs.evolve(self.connectors.tasks, sync=sync)
        if time_slice is not None:
            changed = attrs.evolve(changed, time_slice=time_slice)
        self.connectors = attrs.evolve(self.connectors, sync=sync, tasks=changed)

    def tasks(self):
        """The queued tasks that are not running, as (task, due at)."""
        with self.uow() as uow:
            return [(row.task, row.due_at) for row in uow.queue._rows.values() if not row.is_taken]

    def job(self, job):
        with self.uow() as uow:
            return uow.jobs.get(job.tenant_id, job.id)

    def entry(self, subject_id, kind, tenant=TENANT):
        with self.uow() as uow:
            return uow.schedules.find(tenant, subject_id, kind)

    def gaps(self, connection, *, is_open=True):
        with self.uow() as uow:
            return uow.coverage.list_gaps(connection.tenant_id, connection.id, is_open=is_open)

    def coverage(self, connection):
        """What is known of each family, by its name."""
        shown = self.connectors.coverage.show(connection.tenant_id, connection.id)
        return {one.family.name: one for one in shown}

    def proven(self, connection, path):
        """The intervals that the path has proven, as {family: [(from, to)]}."""
        found = {}
        for name, one in self.coverage(connection).items():
            spans = [(interval.from_at, interval.to_at) for interval in one.intervals if interval.path is path]
            if spans:
                found[name] = spans
        return found

    def stream(self, connection, key=""):
        """The stream's row, or None."""
        with self.uow() as uow:
            rows = uow.streams.list(connection.tenant_id, connection.id)
            return next((row for row in rows if row.key == key), None)

    def account(self, connection):
        """The state of the connection's reading, or None."""
        with self.uow() as uow:
            return uow.accounts.find(connection.tenant_id, connection.id)

    def parked(self, connection):
        """The open parked items."""
        with self.uow() as uow:
            return uow.parked.list_open(connection.tenant_id, connection.id)

    def run_for(self, duration, step=timedelta(seconds=10)):
        """Let time pass, with a worker and the schedule at work."""
        end = self.clock.now() + duration
        self.work()
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            self.tick()
            self.work()

    def hook(self, connection):
        """The connection's one hook, as the vendor stores it."""
        return next(one for one in self.vendor.hooks.values() if connection.account.id in one["accounts"])

    def url_key(self, connection):
        """The unguessable part of the connection's own URL."""
        return self.connectors.webhook_secrets.url(connection.tenant_id, connection.id).rpartition("/")[2]

    def request(
        self,
        document,
        *,
        secret="webhook-secret",
        tenant=TENANT,
        connection=None,
        url_key=None,
        hook=None,
        **headers,
    ):
        """A delivery as Acme sends it."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {"x-acme-delivery": f"delivery-{next(self._deliveries)}", "Content-Type": "application/json"}
        if hook is not None:
            sent["x-acme-hook"] = hook
        if secret is not None:
            sent["X-Acme-Signature"] = sign(secret, body)
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return WebhookRequest(
            provider=SLUG,
            tenant_id=tenant,
            connection_id=None if connection is None else connection.id,
            url_key=url_key,
            headers=sent,
            body=body,
            received_at=self.clock.now(),
        )

    def deliver(self, document, **changes):
        return self.connectors.ingest.accept_delivery(self.request(document, **changes))

    def later(self, **duration):
        self.clock.advance(timedelta(**duration))


def item(number=1, **changes):
    """One item of Acme's."""
    created_at = "2026-03-01T08:00:00Z"
    return {"id": str(number), "title": f"Item {number}", "created_at": created_at, **changes}


def created(number=1, **changes):
    """The event that announces it."""
    return {"event": "item.created", "item": item(number), **changes}
