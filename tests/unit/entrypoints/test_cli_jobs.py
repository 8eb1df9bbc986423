"""`connectors jobs`, and the commands of `connections` and `webhooks` that concern the engine, in memory."""

import json
from datetime import timedelta

import pytest

from connectors.domain.model.coverage import GapCause
from connectors.domain.model.instant import rfc3339
from tests.support.builders import NOW, TENANT, make_id
from tests.support.foreground import Commands
from tests.support.vendor import answer


@pytest.fixture
def commands(monkeypatch, capsys):
    """A connection whose first jobs are queued."""
    return Commands(monkeypatch, capsys)


def test_jobs_are_listed_and_shown(commands):
    """The filters narrow the list; `show` has all details."""
    commands.settle()
    commands.mine("backfill", "--detach")
    rows = json.loads(commands.mine("jobs", "list", "-o", "json").out)
    assert len(rows) == len(commands.world.jobs())
    (queued,) = json.loads(commands.mine("jobs", "list", "--status", "queued", "--type", "backfill", "-o", "json").out)
    assert queued in rows
    assert json.loads(commands.mine("jobs", "show", queued["id"], "-o", "json").out) == queued
    table = commands.mine("jobs", "list", "--provider", "acme", "--connection", commands.connection.id, "--limit", "1")
    assert "0 p, 0 items, 0 signals" in table.out
    assert len(table.out.splitlines()) == 2
    assert "connectors backfill" in commands.mine("jobs", "list", "--status", "failed").out


def test_a_job_is_cancelled(commands):
    """A queued job never starts; a finished one stays as it is, and the command says so."""
    commands.settle()
    commands.mine("backfill", "--detach")
    (queued,) = json.loads(commands.mine("jobs", "list", "--status", "queued", "-o", "json").out)
    done = commands.mine("jobs", "cancel", queued["id"], "-o", "json")
    assert (done.code, json.loads(done.out)["status"], done.err) == (0, "cancelled", "")
    assert "had already ended: cancelled" in commands.mine("jobs", "cancel", queued["id"]).err
    commands.settle()
    assert json.loads(commands.mine("jobs", "show", queued["id"], "-o", "json").out)["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_unknown_job(commands, verb):
    """A job that the tenant does not have gives one line and exit code 1."""
    done = commands.mine("jobs", verb, make_id())
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)


def test_connections_show_their_health(commands):
    """`list` shows health and the last read; `show` also the next read and the coverage, with the reasons of gaps."""
    commands.settle()
    world, connection = commands.world, commands.connection
    family = world.acme.event_families[0].name
    with world.uow() as uow:
        world.connectors.maintenance.ledger.open_gap(
            uow,
            connection,
            [family],
            GapCause.STREAM_BROKEN,
            "The hook was gone.",
            from_at=NOW - timedelta(days=40),
            to_at=NOW - timedelta(days=39),
        )
    listed = commands.mine("connections", "list").out
    assert "health" in listed
    assert rfc3339(NOW.replace(microsecond=0)) in listed
    shown = json.loads(commands.mine("connections", "show", connection.id, "-o", "json").out)
    assert shown["health"] == "degraded"
    assert shown["next_sync_at"] > rfc3339(NOW)
    assert shown["coverage"]["open_gaps"] == 1
    table = commands.mine("connections", "show", connection.id).out
    (line,) = [one for one in table.splitlines() if one.startswith(f"{family} ") and "hook" in one]
    assert "2026-02-02T05:06:07Z" in line
    assert "2026-01-23T05:06:07Z to 2026-01-24T05:06:07Z: The hook was gone." in line


def test_a_connection_gets_its_own_interval(commands):
    """`schedule --every` schedules the next read again; `--default` removes the interval."""
    commands.settle()

    def until_next():
        shown = json.loads(commands.mine("connections", "show", commands.connection.id, "-o", "json").out)
        at = shown["next_sync_at"]
        with commands.world.uow() as uow:
            assert uow.connections.get(TENANT, commands.connection.id)
        return at

    assert commands.mine("connections", "schedule", commands.connection.id, "--every", "5m").code == 0
    assert rfc3339(NOW + timedelta(minutes=4)) <= until_next() <= rfc3339(NOW + timedelta(minutes=6))
    assert commands.mine("connections", "schedule", commands.connection.id, "--default").code == 0
    assert until_next() >= rfc3339(NOW + timedelta(minutes=12))
    short = commands.mine("connections", "schedule", commands.connection.id, "--every", "5s")
    assert (short.code, "between a minute and a year" in short.err) == (1, True)
    for arguments in ((), ("--every", "5m", "--default"), ("--every", "soon"), ("--every", "0s")):
        assert commands.mine("connections", "schedule", commands.connection.id, *arguments).code == 2


def test_subscriptions_are_maintained(commands):
    """`webhooks maintain` makes missing subscriptions, and exits 0 when all of them work."""
    commands.settle()
    world = commands.world
    world.vendor.hooks.clear()
    done = commands.mine("webhooks", "maintain", "--connection", commands.connection.id, "-o", "json")
    assert done.code == 0, done.err
    assert {row["status"] for row in json.loads(done.out)} == {"active"}


def test_failed_maintenance_is_reported(commands):
    """If the vendor does not list its targets, the exit code is 1 although every known subscription works."""
    commands.settle()
    world = commands.world
    world.vendor.before = lambda request: answer(status=503) if request.url.endswith("/targets") else None
    done = commands.mine("webhooks", "maintain", "--connection", commands.connection.id)
    assert (done.code, "Acme answered 503." in done.err) == (1, True)
