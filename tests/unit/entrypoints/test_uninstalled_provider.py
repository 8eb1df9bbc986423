"""A provider that is no longer installed: its stored data can be seen and erased, and blocks nothing."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import CoveragePath
from connectors.domain.model.errors import ProviderNotSupportedError, TenantNotFoundError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.tenant import Tenant
from connectors.domain.model.webhook import Recorded, SubscriptionStatus
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.flask import ApiSettings
from tests.support.api import Api, problem
from tests.support.builders import TENANT
from tests.support.foreground import Commands
from tests.support.provider import ITEMS, SLUG, STATES, make_acme, subscribe_for_a_time
from tests.support.world import World, created, item

GONE = "The provider acme is not installed here."
ACME = make_acme(
    oauth={"idle_lifetime": timedelta(days=30)},
    subscriptions={"subscribe": subscribe_for_a_time, "lifetime": timedelta(days=7)},
    families=(ITEMS, STATES),
)


class Left:
    """A system with stored data of Acme, started again without it."""

    def __init__(self):
        self.world = World(ACME)
        world = self.world
        world.vendor.add_items(*(item(number) for number in range(3)))
        self.connection = world.connect()
        world.work()
        (self.subscription,) = world.subscriptions(self.connection)
        hook = self.subscription.external_id
        secret = world.vendor.hooks[hook]["secret"]
        world.deliver(created(7), hook=hook, secret=secret)
        world.deliver(b"[", hook=hook, secret=secret)
        self.failed, self.delivered = world.deliveries()
        self.job = world.connectors.jobs.request(TENANT, self.connection.id, JobType.INCREMENTAL)
        self.done = next(job for job in world.jobs() if job.is_finished)
        self.signal = world.signals()[0]
        world.later(minutes=1)
        self.uninstall()

    def uninstall(self):
        """Start again without Acme: in memory, the flows share one registry and one set of registrations."""
        self.world.connectors.providers._providers.clear()
        self.world.connectors.apps.clear()

    def fill(self, text):
        """The text with the ids of that data filled in."""
        return text.format(
            tenant=TENANT,
            connection=self.connection.id,
            job=self.job.id,
            delivery=self.delivered.id,
            failed=self.failed.id,
            signal=self.signal.id,
        )


@pytest.fixture
def left():
    return Left()


@pytest.fixture(scope="module")
def left_unchanged():
    """What is left and the API to it, for requests that change nothing."""
    left = Left()
    return left, Api(left.world.connectors, ApiSettings())


# --- over the HTTP API -------------------------------------------------------------------------------------------------

NOT_SUPPORTED = (404, "PROVIDER_NOT_SUPPORTED")
REQUESTS = {
    ("GET", "/readyz"): 200,
    ("GET", "/providers"): 200,
    ("GET", "/providers/acme"): NOT_SUPPORTED,
    ("GET", "/metrics"): 200,
    ("GET", "/tenants/{tenant}"): 200,
    ("GET", "/connections"): 200,
    ("GET", "/connections?status=active"): 200,
    ("GET", "/connections/{connection}"): 200,
    ("GET", "/connections/{connection}/coverage"): 200,
    ("GET", "/signals"): 200,
    ("GET", "/signals?connection_id={connection}"): 200,
    ("GET", "/signals/{signal}"): 200,
    ("GET", "/deliveries"): 200,
    ("GET", "/deliveries/{delivery}"): 200,
    ("GET", "/jobs"): 200,
    ("GET", "/jobs/{job}"): 200,
    ("GET", "/connections?provider=acme"): 200,
    ("GET", "/signals?provider=acme"): 200,
    ("GET", "/deliveries?provider=acme"): 200,
    ("GET", "/jobs?provider=acme"): 200,
    ("GET", "/signals?provider=acmee"): NOT_SUPPORTED,
    ("GET", "/signals?provider=%F0%9F%92%A5"): NOT_SUPPORTED,
    ("POST", "/jobs/{job}/cancel"): 200,
    ("DELETE", "/connections/{connection}"): 204,
    ("DELETE", "/tenants/{tenant}"): 204,
    ("PATCH", "/connections/{connection}"): NOT_SUPPORTED,
    ("POST", "/connections/{connection}/refresh"): NOT_SUPPORTED,
    ("POST", "/connections/{connection}/sync"): NOT_SUPPORTED,
    ("POST", "/deliveries/{delivery}/replay"): NOT_SUPPORTED,
    ("POST", "/deliveries/{failed}/replay"): NOT_SUPPORTED,
    ("POST", "/sync/acme"): NOT_SUPPORTED,
    ("POST", "/connect/acme"): NOT_SUPPORTED,
    ("POST", "/webhooks/acme/{tenant}"): NOT_SUPPORTED,
}


@pytest.mark.parametrize("path", [path for method, path in REQUESTS if method == "GET"])
def test_the_api_shows_it(left_unchanged, path):
    """What is stored can be read; the provider itself is a 404 that says why."""
    left, api = left_unchanged
    check(left, api, "GET", path)


@pytest.mark.parametrize(("method", "path"), [one for one in REQUESTS if one[0] != "GET"], ids=str)
def test_the_api(left, method, path):
    """What needs no provider works; the rest is a 404 that says why."""
    check(left, Api(left.world.connectors, ApiSettings()), method, path)


def check(left, api, method, path):
    body = {"json": {"sync_interval_seconds": 600}} if method == "PATCH" else {}
    answer = api.call(method, left.fill(path), tenant=TENANT, **body)
    wanted = REQUESTS[method, path]
    if wanted != NOT_SUPPORTED:
        assert answer.status_code == wanted
        return
    assert problem(answer) == wanted
    is_stored = "{" in path.removesuffix("/{tenant}")
    assert answer.get_json()["detail"].startswith(GONE if is_stored else "There is no such provider.")


# --- on the command line -----------------------------------------------------------------------------------------------

COMMANDS = {
    "connections list": (0, "acme"),
    "connections show {connection}": (0, "acme"),
    "connections delete {connection} --yes": (0, GONE),
    "connections refresh {connection}": (1, GONE),
    "connections schedule {connection} --every 1h": (1, GONE),
    "backfill --dry-run": (0, "no active connection"),
    "backfill --dry-run --connection {connection}": (1, GONE),
    "sync --connection {connection}": (1, GONE),
    "jobs list": (0, "acme"),
    "connections list --provider acme": (0, "acme"),
    "signals list --provider acme": (0, "issue_created"),
    "deliveries list --provider acme": (0, "acme"),
    "jobs list --provider acme": (0, "acme"),
    "jobs list --provider acmee": (1, "There is no such provider."),
    "jobs show {job}": (0, "acme"),
    "jobs cancel {job}": (0, "cancelled"),
    "signals list": (0, "issue_created"),
    "deliveries list": (0, "acme"),
    "deliveries show {delivery}": (0, "acme"),
    "deliveries replay {delivery}": (1, GONE),
    "deliveries replay --failed": (1, f"{{failed}}: {GONE}"),
    "webhooks maintain --connection {connection}": (0, "active"),
    "webhooks secret {connection}": (1, GONE),
    "webhooks rekey {connection} --yes": (1, GONE),
}


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_line(left, line, monkeypatch, capsys):
    """Every command works, or ends in one line that names the provider."""
    shell = Commands(monkeypatch, capsys)
    shell.world, shell.connection = left.world, left.connection
    code, words = COMMANDS[line]
    done = shell.mine(*left.fill(line).split())
    assert done.code == code, done
    assert left.fill(words) in done.out + done.err
    assert "Traceback" not in done.err


def test_what_can_be_read_leaves_it_out(left):
    """Its connections are not readable, neither for one tenant nor for all; named, it is refused."""
    jobs = left.world.connectors.jobs
    assert jobs.list_readable() == jobs.list_readable(TENANT) == ()
    for tenant in (None, TENANT):
        with pytest.raises(ProviderNotSupportedError, match="acme is not installed"):
            jobs.list_readable(tenant, connection_id=left.connection.id)


# --- in the background -------------------------------------------------------------------------------------------------


def test_disconnecting_erases_what_is_held_here(left):
    """After a day the tokens and the webhook secret are destroyed; the connection says that nothing was revoked."""
    world = left.world
    asked = len(world.vendor.requests)
    ended = world.connectors.disconnect.end_connection(TENANT, left.connection.id)
    assert ended.status is ConnectionStatus.REVOKED
    assert GONE in ended.end_error
    world.end_all()
    assert GONE in world.reload(left.connection).end_error
    assert world.grants() == []
    assert [(one.status, one.secret) for one in world.subscriptions(left.connection)] == [
        (SubscriptionStatus.LEFT, None)
    ]
    assert world.entry(left.connection.id, TaskKind.SYNC) is None
    assert world.job(left.job).status is JobStatus.CANCELLED
    streams = world.proven(left.connection, CoveragePath.WEBHOOK)
    assert streams
    assert all(to_at is not None for stretches in streams.values() for _, to_at in stretches)
    assert len(world.signals()) == 4
    assert len(world.vendor.requests) == asked


def test_a_tenant_is_erased_with_it(left):
    """Nothing of the tenant is left, and its queued tasks find nothing to do."""
    left.world.connectors.tenants.erase(TENANT)
    with pytest.raises(TenantNotFoundError):
        left.world.signals()
    left.world.end_all()
    left.world.clock.advance(timedelta(hours=2))
    left.world.tick()
    left.world.work()
    assert (left.world.grants(), left.world.tasks()) == ([], [])
    with left.world.uow() as uow:
        assert uow.tenants.record(Tenant(id=TENANT, created_at=left.world.clock.now())) is Recorded.NEW


def test_its_jobs_end(left):
    """A queued job ends as FAILED and says why, on the job and on the connection; it has no task any more."""
    left.world.work()
    job = left.world.job(left.job)
    assert (job.status, job.error, job.retry_after) == (JobStatus.FAILED, GONE, None)
    assert left.world.reload(left.connection).sync_error == GONE
    assert left.world.tasks() == []


def test_a_job_that_was_running_ends(left):
    """A job whose worker crashed while the provider was installed ends with the next task of its connection."""
    world = left.world
    with world.uow() as uow:
        job = uow.jobs.get(TENANT, left.job.id, lock=True)
        uow.jobs.save(attrs.evolve(job, status=JobStatus.RUNNING, attempts=1))
    world.later(hours=1)
    world.tick()
    world.work()
    assert (world.job(left.job).status, world.job(left.job).error) == (JobStatus.FAILED, GONE)


def test_the_schedule_continues(left, caplog):
    """In a year of ticks the queue empties each time, nothing crashes, and few things are tried."""
    world = left.world
    done = 0
    for _ in range(365):
        world.later(days=1)
        world.tick()
        done += world.work()
    assert world.tasks() == []
    assert not [record for record in caplog.records if record.exc_info]
    assert done < 3 * 365
    (expired,) = world.subscriptions(left.connection)
    assert (expired.status, expired.error) == (SubscriptionStatus.LAPSED, "It has expired.")
    assert [job.status for job in world.jobs() if not job.is_finished] == []


def test_deliveries_and_jobs_are_retained_as_long_as_others(left):
    """Retention ignores the provider: failed deliveries stay, the rest is deleted in time."""
    world = left.world
    for _ in range(3):
        world.later(days=60)
        world.tick()
        world.work()
    assert [one.id for one in world.deliveries()] == [left.failed.id]
    assert left.done.id not in {job.id for job in world.jobs()}


def test_its_coverage_is_shown_as_it_was(left):
    """What deliveries have proven is still shown, by family, with the gaps; no path can prove more of it."""
    items, states = left.world.connectors.coverage.show(TENANT, left.connection.id)
    assert (items.family.name, states.family.name) == ("items", "states")
    assert items.intervals
    assert items.open_gaps
    assert items.paths == states.paths == ()


def test_gaps_of_unknown_family_are_shown_without_any_proof(left):
    """They are listed under one family, as if all events were one."""
    world = left.world
    with world.uow() as uow:
        for path in CoveragePath:
            uow.coverage.replace_intervals(TENANT, left.connection.id, path, {"items": [], "states": []})
    (family,) = world.connectors.coverage.show(TENANT, left.connection.id)
    assert family.family.name == "events"
    assert family.open_gaps


def test_metrics_count_it(left):
    """What the database has is counted by slug."""
    found = left.world.connectors.statistics.collect()
    assert any(SLUG in key for key in found.connections)


def test_installed_again_it_continues(left):
    """Nothing was lost: the next read is as before, and what reading has proven is shown again."""
    world = left.world
    world.work()
    world.connectors.providers._providers[SLUG] = ProviderRegistry([ACME]).get(SLUG)
    world.connectors.apps[SLUG] = world.app
    world.vendor.add_items(item(9))
    job = world.connectors.jobs.request(TENANT, left.connection.id, JobType.INCREMENTAL)
    world.work()
    assert world.job(job).status is JobStatus.SUCCEEDED
    assert world.reload(left.connection).sync_error is None
    assert set(world.proven(left.connection, CoveragePath.BACKFILL)) == {"items"}


def test_stored_and_named_slugs():
    """A stored slug is found or not; a slug that a caller names is refused with the list of the known ones."""
    registry = ProviderRegistry([ACME])
    assert registry.find(SLUG) is registry.get("acme") is registry.get_stored(SLUG)
    assert registry.get("acme").oauth is ACME.oauth
    assert registry.find(ProviderSlug("beta")) is None
    with pytest.raises(ProviderNotSupportedError, match=r"^The provider beta is not installed here\.$"):
        registry.get_stored(ProviderSlug("beta"))
    with pytest.raises(ProviderNotSupportedError) as caught:
        registry.get("beta")
    assert caught.value.next_step == "The providers here are: acme."
