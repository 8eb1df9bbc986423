"""`connectors backfill` and `connectors sync`, in memory."""

import json
from datetime import timedelta

import pytest

from connectors.domain.model.errors import ProviderUnavailableError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import JobStatus, JobType
from connectors.entrypoints.cli import watch
from tests.support.builders import NOW, OTHER_TENANT, TENANT
from tests.support.foreground import Commands, IdleWorker, MemoryQueueWorker
from tests.support.vendor import answer


@pytest.fixture
def commands(monkeypatch, capsys):
    """A connection whose first jobs are queued, and five items."""
    return Commands(monkeypatch, capsys)


@pytest.fixture
def settled(commands):
    """The same, with its first jobs done."""
    commands.settle()
    return commands


def interrupt(monkeypatch, after=0):
    """Ctrl-C at that check of the jobs, counted from 0."""
    checks = iter(range(10_000))
    refresh = watch.refresh

    def check(connectors, targets):
        refresh(connectors, targets)
        if next(checks) >= after:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "refresh", check)


def test_sync_of_one_connection(commands):
    """`sync --connection` reads the connection to the end and prints its job as one object."""
    done = commands.mine("sync", "--connection", commands.connection.id, "--now", "-o", "json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["status"], shown["type"]) == ("succeeded", "incremental")
    assert {"job", "pages", "items", "signals"} <= set(shown)
    assert "succeeded" in done.err


def test_sync_of_all(settled):
    """Without a tenant, every tenant's active connections are read, and each job is listed."""
    settled.world.connect(OTHER_TENANT)
    done = settled.run("sync", "-o", "jsonl")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {row["tenant_id"] for row in rows} == {str(TENANT), str(OTHER_TENANT)}
    assert {row["status"] for row in rows} == {"succeeded"}
    assert len(settled.mine("sync", "--provider", "acme").out.splitlines()) == 2


def test_backfill_reads_history(settled):
    """A backfill reads everything in its range and prints the counts; what was read before is not read again."""
    done = settled.mine("backfill", "--connection", settled.connection.id, "--days", "60", "-o", "json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["status"], shown["pages"], shown["items"]) == ("succeeded", 3, 5)
    assert shown["streams"] == {"total": 1, "done": 1, "aside": 0}
    assert shown["since"] == rfc3339(NOW.replace(microsecond=0) - timedelta(days=60))
    again = json.loads(settled.mine("backfill", "--days", "50", "-o", "json").out)
    assert [(one["status"], one["pages"]) for one in again] == [("succeeded", 0)]


def test_dry_run_writes_nothing(settled):
    """A dry run shows the range, unfinished jobs and limits, and queues nothing."""
    before = settled.world.jobs()
    table = settled.mine("backfill", "--dry-run")
    rows = json.loads(settled.mine("backfill", "--dry-run", "--since", "2026-01-01T00:00:00Z", "-o", "json").out)
    assert settled.world.jobs() == before
    assert "ada" in table.out
    assert "3 backfills of a tenant" in table.err
    assert (rows[0]["since"], rows[0]["resumes"], rows[0]["unfinished"]) == ("2026-01-01T00:00:00Z", None, [])


def test_detach_only_queues(settled):
    """`--detach` leaves the job to the workers."""
    done = settled.mine("backfill", "--detach", "-o", "json")
    assert (done.code, json.loads(done.out)[0]["status"]) == (0, "queued")
    assert len(settled.jobs(type=JobType.BACKFILL, status=JobStatus.QUEUED)) == 1


def test_ctrl_c_and_continue(settled, monkeypatch):
    """Ctrl-C exits 130 and prints the command to continue, which finishes the same job and queues no other."""
    settled.open_worker = lambda: IdleWorker(settled.world.connectors)
    with monkeypatch.context() as patch:
        interrupt(patch)
        stopped = settled.mine("backfill", "--connection", settled.connection.id, "--days", "7")
    assert stopped.code == 130
    (job,) = settled.jobs(type=JobType.BACKFILL, status=JobStatus.QUEUED)
    again = stopped.err.split("`")[1].split()
    assert again[:2] == ["connectors", "backfill"]

    settled.world.later(minutes=5)
    settled.open_worker = lambda: MemoryQueueWorker(settled.world.connectors)
    done = settled.run(*again[1:], "-o", "json")
    assert (done.code, json.loads(done.out)["job"]) == (0, str(job.id))
    assert "Continuing 1 unfinished backfill" in done.err


@pytest.mark.parametrize(
    ("arguments", "is_resumed"),
    [
        ((), True),
        (("--days", "20"), True),
        (("--days", "21"), False),
        (("--days", "18"), False),
        (("--since", "2026-01-01T00:00:00Z"), False),
        (("--days", "20", "--until", "2026-03-01T00:00:00Z"), False),
    ],
)
def test_which_backfill_is_continued(settled, arguments, is_resumed):
    """An unfinished backfill is continued by a command with no range or the same range, and by no other."""
    settled.mine("backfill", "--detach", "--days", "20")
    settled.world.later(hours=3)
    (row,) = json.loads(settled.mine("backfill", "--dry-run", *arguments, "-o", "json").out)
    assert (row["resumes"] is not None) is is_resumed
    assert len(row["unfinished"]) == 1


def test_another_range_is_read_too(settled):
    """Beside a running backfill of another range, the requested one is queued and read to the end."""
    settled.mine("backfill", "--days", "20", "--detach")
    (first,) = settled.jobs(type=JobType.BACKFILL, status=JobStatus.QUEUED)
    settled.world.connectors.sync.run(TENANT, first.id, is_stopping=lambda: True)
    done = settled.mine("backfill", "--connection", settled.connection.id, "--days", "90", "-o", "json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["status"], shown["since"]) == ("succeeded", rfc3339(NOW.replace(microsecond=0) - timedelta(days=90)))
    assert shown["job"] != str(first.id)


def test_a_failure_says_why(settled):
    """A failed read gives exit code 1, the reason, and the command that shows more."""
    settled.world.later(minutes=1)
    settled.world.vendor.kill()
    done = settled.mine("sync")
    assert done.code == 1
    assert "Acme refused the grant." in done.err
    assert f"connectors connections show {settled.connection.id}" in done.err
    inactive = settled.mine("sync")
    assert (inactive.code, "no active connection" in inactive.err) == (1, True)
    named = settled.mine("sync", "--connection", settled.connection.id)
    assert (named.code, "Connect the account again" in named.err) == (1, True)


def test_a_wait_is_shown(settled, monkeypatch):
    """While a provider's limit holds, the line says until when and why; then the read continues."""

    def refuse(request):
        raise ProviderUnavailableError("Acme answered 503.")

    settled.mine("backfill", "--detach")
    settled.world.vendor.before = refuse
    settled.settle()
    settled.world.vendor.before = lambda request: None
    (job,) = settled.jobs(type=JobType.BACKFILL, status=JobStatus.QUEUED)
    refresh, checks = watch.refresh, iter(range(10_000))

    def check(connectors, targets):
        refresh(connectors, targets)
        if next(checks) == 1:
            settled.world.later(minutes=1)

    monkeypatch.setattr(watch, "refresh", check)
    done = settled.mine("backfill")
    assert done.code == 0, done.err
    first, *_, last = done.err.splitlines()[1:]
    assert f"waiting until {job.retry_after:%H:%M:%SZ}" in first
    assert "Acme answered 503." in first
    assert "succeeded" in last


def test_a_crashed_worker_is_noticed(settled):
    """If the inline worker crashes, the command ends with one line instead of waiting for ever."""
    settled.open_worker = lambda: MemoryQueueWorker(settled.world.connectors, error=OSError("gone"))
    done = settled.mine("sync")
    assert done.code == 1
    assert "Error: The worker has crashed: OSError." in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "2999-01-01T00:00:00Z"),
        ("--since", "yesterday"),
        ("--since", "2026-01-01T00:00:00Z", "--days", "3"),
        ("--days", "3", "--until", "2020-01-01T00:00:00Z"),
        ("--provider", "acme", "--connection", "11111111-1111-4111-8111-111111111111"),
    ],
    ids=" ".join,
)
def test_impossible_ranges(commands, arguments):
    """An impossible range is refused before anything is queued, with exit code 2 and the option's name."""
    done = commands.mine("backfill", *arguments)
    assert (done.code, done.out) == (2, "")
    assert arguments[-2] in done.err or arguments[0] in done.err


def test_unknown_ones(commands):
    """An unknown connection or provider gives one line."""
    assert commands.mine("sync", "--connection", TENANT).err.startswith("Error: ")
    assert commands.run("sync", "--connection", TENANT).err.startswith("Error: There is no such connection.")
    assert commands.mine("backfill", "--provider", "nobody").code == 1
    assert commands.run("backfill", "--tenant", TenantId(OTHER_TENANT)).code == 1


def test_one_failing_connection_leaves_the_others(settled):
    """A provider's refusal of one connection does not keep the others from being read."""
    other = settled.world.connect(OTHER_TENANT)
    settled.world.later(minutes=1)

    def refuse(request):
        mine = settled.world.tokens(settled.connection).access_token.reveal()
        return answer({}, 401) if mine in request.headers.get("authorization", "") else None

    settled.world.vendor.before = refuse
    done = settled.run("sync", "-o", "jsonl")
    statuses = {row["connection_id"]: row["status"] for row in map(json.loads, done.out.splitlines())}
    assert done.code == 1
    assert statuses == {str(settled.connection.id): "failed", str(other.id): "succeeded"}
