"""Log lines of background work: whose they are, and which request began it all."""

import io
import json
import logging

import pytest
import structlog

from connectors.adapters.system.logs import configure_logs
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.model.trace import TRACE_ID
from tests.support.builders import TENANT
from tests.support.world import World, item


@pytest.fixture
def lines():
    """What has been logged as JSON so far, a dict a line."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logs("debug", "json")
    written = io.StringIO()
    root.handlers[0].setStream(written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def asked_for(world, connection):
    """A job that a request with a trace id has asked for."""
    token = TRACE_ID.set("a" * 32)
    try:
        return world.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
    finally:
        TRACE_ID.reset(token)


def test_every_line_of_a_job_says_whose_it_is(lines):
    """Tenant, connection, job and the trace id of the request stand in all lines of a job, and in no other's."""
    world = World()
    connection = world.connect()
    world.work()
    world.vendor.add_items(*(item(number) for number in range(3)))
    job = asked_for(world, connection)
    before = len(lines())
    world.work()
    written = lines()[before:]
    assert "job_ended" in {line["event"] for line in written}
    for line in written:
        assert line["tenant_id"] == str(TENANT)
        assert line["connection_id"] == str(connection.id)
        assert line["job_id"] == str(job.id)
        assert line["trace_id"] == job.trace_id == "a" * 32
    assert structlog.contextvars.get_contextvars() == {}
    assert TRACE_ID.get() is None


def test_a_task_that_crashes_says_whose_it_was(lines):
    """The line about a crash, and about a database that is away, has the ids too."""
    world = World()
    connection = world.connect()
    world.work()
    job = asked_for(world, connection)

    class Broken:
        def run(self, *_, **__):
            raise self.error

    handler = world.connectors.tasks
    before = len(lines())
    for error in (InfrastructureError("The database cannot be reached."), ZeroDivisionError()):
        broken = Broken()
        broken.error = error
        object.__setattr__(handler, "sync", broken)
        handler.handle(TaskKind.SYNC, TENANT, job.id)
    written = lines()[before:]
    assert [line["event"] for line in written] == ["task_requeued", "task_crashed"]
    for line in written:
        ids = {name: line[name] for name in ("tenant_id", "connection_id", "job_id", "trace_id")}
        assert ids == {
            "tenant_id": str(TENANT),
            "connection_id": str(connection.id),
            "job_id": str(job.id),
            "trace_id": "a" * 32,
        }


def test_libraries_keep_quiet(lines):
    """The queue's and the pool's own chatter, which repeats connection strings, is not shown at any level of ours."""
    before = len(lines())
    logging.getLogger("procrastinate.worker").info("Starting job")
    logging.getLogger("psycopg.pool").warning("error connecting in 'pool-1': invalid token: 'hunter%zz'")
    assert lines()[before:] == []
    logging.getLogger("procrastinate.worker").error("It broke")
    assert [line["event"] for line in lines()[before:]] == ["It broke"]


def test_gunicorn_speaks_as_we_do(lines):
    """gunicorn's lines go through our handler, as events of one line."""
    config_module = pytest.importorskip("gunicorn.config")
    from connectors.entrypoints.gunicorn_logs import OurLogger

    config = config_module.Config()
    logger = OurLogger(config)
    logger.setup(config)
    before = len(lines())
    logger.info("Listening at: %s (%s)", "http://127.0.0.1:8080", 7)
    (line,) = lines()[before:]
    assert line["event"] == "Listening at: http://127.0.0.1:8080 (7)"
    assert line["logger"] == "gunicorn.error"
