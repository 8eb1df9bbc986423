"""Log lines of background work name their subject and the request that caused them."""

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
    """The JSON log lines so far, as dicts."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logs("debug", "json")
    written = io.StringIO()
    root.handlers[0].setStream(written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def requested_job(world, connection):
    """A job that was requested under a trace id."""
    token = TRACE_ID.set("a" * 32)
    try:
        return world.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL)
    finally:
        TRACE_ID.reset(token)


def test_every_line_of_a_read_names_its_subject(lines):
    """All log lines of a read have its tenant, connection and the oldest job's trace id, and the end names the job;
    nothing stays bound afterwards."""
    world = World()
    connection = world.connect()
    world.work()
    world.vendor.add_items(*(item(number) for number in range(3)))
    job = requested_job(world, connection)
    before = len(lines())
    world.work()
    written = lines()[before:]
    assert [line["job_id"] for line in written if line["event"] == "job_ended"] == [str(job.id)]
    for line in written:
        assert line["tenant_id"] == str(TENANT)
        assert line["connection_id"] == str(connection.id)
        assert line["trace_id"] == job.trace_id == "a" * 32
    assert structlog.contextvars.get_contextvars() == {}
    assert TRACE_ID.get() is None


def test_the_line_about_a_crash_names_its_subject(lines):
    """The log line about a crash, or about a database error, has the ids too."""
    world = World()
    connection = world.connect()
    world.work()
    requested_job(world, connection)

    class Broken:
        def read(self, *_, **__):
            raise self.error

    handler = world.connectors.tasks
    before = len(lines())
    for error in (InfrastructureError("The database cannot be reached."), ZeroDivisionError()):
        broken = Broken()
        broken.error = error
        object.__setattr__(handler, "sync", broken)
        handler.handle(TaskKind.READ, TENANT, connection.id)
    written = lines()[before:]
    assert [line["event"] for line in written] == ["task_requeued", "task_crashed"]
    for line in written:
        ids = {name: line[name] for name in ("tenant_id", "connection_id", "trace_id")}
        assert ids == {
            "tenant_id": str(TENANT),
            "connection_id": str(connection.id),
            "trace_id": "a" * 32,
        }


def test_libraries_log_errors_only(lines):
    """Lines of the queue and the pool below `error`, which repeat connection strings, are never shown."""
    before = len(lines())
    logging.getLogger("procrastinate.worker").info("Starting job")
    logging.getLogger("psycopg.pool").warning("error connecting in 'pool-1': invalid token: 'hunter%zz'")
    assert lines()[before:] == []
    logging.getLogger("procrastinate.worker").error("It broke")
    assert [line["event"] for line in lines()[before:]] == ["It broke"]


def test_gunicorn_logs_in_our_format(lines):
    """gunicorn's lines go through our handler, one event a line."""
    config_module = pytest.importorskip("gunicorn.config")
    from connectors.entrypoints.gunicorn_logs import PropagatingLogger

    config = config_module.Config()
    logger = PropagatingLogger(config)
    logger.setup(config)
    before = len(lines())
    logger.info("Listening at: %s (%s)", "http://127.0.0.1:8080", 7)
    (line,) = lines()[before:]
    assert line["event"] == "Listening at: http://127.0.0.1:8080 (7)"
    assert line["logger"] == "gunicorn.error"
