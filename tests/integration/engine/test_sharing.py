"""Tenants share the workers, and the API and the workers do without each other."""

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.domain.model.sync import JobStatus, JobType
from connectors_sandbox.faults import Fault, FaultKind
from tests.support.service import Core, Service
from tests.support.sizes import at_sizes

TIME_SLICE = 1
"""Seconds that a job goes on while others wait."""
PAGE = 3
"""Seconds that a page may take on a busy machine: what must be over before anybody else's time slice begins."""


@pytest.mark.timeout(240)
@at_sizes(("items", "reads"), small=(1000, 3), full=(4000, 6))
def test_a_long_history_holds_nobody_up(rig, items, reads):
    """One tenant's histories fill the worker; another tenant's new events are read after one time slice and one page at
    most."""
    names = [f"ada/heap{number}" for number in range(4)]
    for name in names:
        rig.github.add_repository(name)
        rig.github.populate(name, issues=items, step_seconds=3600)
    # Four tenants with one history each would fill the worker's two threads; so would one tenant with four.
    big = [rig.connect(name) for name in names]
    small = rig.connect("ada/kite")
    rig.connectors.run_pending()
    # About 20 of these requests make a page, so that no history ends before the short reads do.
    slow = Fault(provider="github", path="/api/v3/repos/ada/heap*/pulls/*", kind=FaultKind.DELAY, seconds=0.02)
    rig.server.sandbox.faults.add(slow)
    histories = [rig.backfill(one, datetime.now(UTC) - timedelta(days=400)) for one in big]
    with rig.worker(POBLYSH_WORKER_CONCURRENCY="2", POBLYSH_JOB_TURN_SECONDS=str(TIME_SLICE)):
        rig.until(lambda: sum(rig.job(one).progress.pages > 0 for one in histories) >= 2)
        delays = []
        for _ in range(reads):
            asked = time.monotonic()
            job = rig.connectors.jobs.request(small.tenant_id, small.id, JobType.INCREMENTAL)
            rig.until(lambda job=job: rig.job(job).is_finished, 60)
            delays.append(time.monotonic() - asked)
            assert rig.job(job).status is JobStatus.SUCCEEDED
        assert not all(rig.job(one).is_finished for one in histories)
        assert max(delays) < 2 * (TIME_SLICE + PAGE)
        # And the histories share what is left: none of them waits for another one's end.
        rig.until(lambda: all(rig.job(one).progress.pages > 0 for one in histories))
        assert not any(rig.job(one).is_finished for one in histories)
        cancel(rig, histories)


@pytest.mark.timeout(240)
@at_sizes(("items", "started"), small=(500, 2), full=(1500, 4))
def test_a_tenant_has_so_many_slots(rig, items, started):
    """Of one tenant no more jobs run at once than it has slots, and one of them is left to new events."""
    tenant = None
    connections = []
    for number in range(4):
        name = f"ada/pile{number}"
        rig.github.add_repository(name)
        rig.github.populate(name, issues=items, step_seconds=3600)
        rig.github.add_user(f"user{number}")
        connections.append(rig.connect(name, tenant_id=tenant, user=f"user{number}"))
        tenant = connections[0].tenant_id
    rig.connectors.run_pending()
    histories = [rig.backfill(one, datetime.now(UTC) - timedelta(days=400)) for one in connections]
    running = Counter()

    def enough_have_run():
        query = "SELECT count(*) FROM jobs WHERE tenant_id = %(tenant)s AND status = 'running'"
        running[rig.scalar(query, tenant=tenant)] += 1
        return sum(rig.job(one).progress.pages > 0 for one in histories) >= started

    with rig.worker(POBLYSH_WORKER_CONCURRENCY="8", POBLYSH_TENANT_CONCURRENCY="2", POBLYSH_JOB_TURN_SECONDS="1"):
        rig.until(enough_have_run)
        cancel(rig, histories)
    assert max(running) == 1


def cancel(rig, jobs):
    """End them, so that the worker need not read on."""
    for one in jobs:
        if not rig.job(one).is_finished:
            rig.connectors.jobs.cancel(one.tenant_id, one.id)


@pytest.mark.timeout(240)
def test_the_api_and_the_workers_do_without_each_other(rig, folder):
    """With no worker webhooks are accepted, and what they ask for is queued; with no API, workers read all the same."""
    own = {"POBLYSH_OPERATOR_TOKEN", "POBLYSH_OAUTH_REDIRECT_URI"}  # the service brings these itself
    settings = {name: text for name, text in rig.environment.items() if name not in own}
    service = Service(folder / "api", options=("--api-only",), **settings)
    with service:
        core = Core(service.url)
        started = core.call("POST", "/connect/github", json={"options": {"repositories": ["ada/lamp"]}}).json()
        query = core.consent(started["authorize_url"])
        connection = core.get("/connect/github/callback", params=query)["connection"]
        rig.github.open_issue("ada/lamp", by="ada", title="No worker is here")
        rig.server.sandbox.deliver_pending()
        titles = [one["title"] for one in core.list("signals")]
        assert any("No worker is here" in title for title in titles)
        queued = core.list("jobs")
        assert {(one["type"], one["status"]) for one in queued} == {("incremental", "queued"), ("backfill", "queued")}
    rig.github.open_issue("ada/lamp", by="ada", title="No API is here")
    with rig.worker():
        rig.until(
            lambda: (
                rig.scalar("SELECT count(*) FROM signals WHERE title LIKE '%%No API is here%%' AND origin <> 'webhook'")
                == 1
            )
        )
    assert connection["status"] == "active"


def worker_of(service):
    """The process id of the worker that a service runs, None while it has none."""
    for children in Path(f"/proc/{service.process.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"worker" in words:
                return int(child)
    return None


@pytest.mark.timeout(240)
def test_serve_keeps_a_worker(rig, folder):
    """`connectors serve` alone reads what is asked for, also after its worker was killed."""
    own = {"POBLYSH_OPERATOR_TOKEN", "POBLYSH_OAUTH_REDIRECT_URI"}
    settings = {name: text for name, text in rig.environment.items() if name not in own}
    with Service(folder / "all", options=(), **settings) as service:
        core = Core(service.url)
        started = core.call("POST", "/connect/github", json={"options": {"repositories": ["ada/lamp"]}}).json()
        query = core.consent(started["authorize_url"])
        connection = core.get("/connect/github/callback", params=query)["connection"]
        path = f"/connections/{connection['id']}"
        rig.until(lambda: core.get(path)["last_synced_at"] is not None)
        rig.until(lambda: {one["status"] for one in core.list("jobs")} == {"succeeded"})
        first = worker_of(service)
        os.kill(first, signal.SIGKILL)
        job = core.call("POST", f"{path}/sync").json()["job"]
        rig.until(lambda: core.get(f"/jobs/{job['id']}")["status"] == "succeeded")
        assert worker_of(service) not in {None, first}
