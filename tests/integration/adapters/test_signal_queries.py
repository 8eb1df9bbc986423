"""The plans behind `GET /signals`."""

import itertools
import json
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlalchemy.dialects import postgresql

from connectors.adapters.postgres import postgres_unit_of_work
from connectors.adapters.postgres.signals import select_page
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.paging import PageRequest, Position
from connectors.domain.model.signal import SignalFilter, SignalKind
from tests.integration.conftest import empty_database
from tests.support.builders import NOW, SLACK, make_signal, make_tenant

TENANT_1 = TenantId(UUID(int=1))
FILTERS = {
    "provider": SLACK,
    "connection_id": ConnectionId(UUID(int=0x100 + 2)),
    "kind": SignalKind.MESSAGE_POSTED,
    "occurred_after": NOW - timedelta(days=20),
    "occurred_before": NOW - timedelta(days=1),
}
COMBINATIONS = [
    dict(chosen) for size in range(len(FILTERS) + 1) for chosen in itertools.combinations(FILTERS.items(), size)
]
AFTER = Position(NOW - timedelta(days=5), UUID(int=5))

FILL = """
    INSERT INTO signals (tenant_id, id, connection_id, provider, kind, occurred_at, received_at, title, url,
                         subject, dedupe_key, origin, payload)
    SELECT lpad(to_hex(1 + n % 3), 32, '0')::uuid, gen_random_uuid(), lpad(to_hex(256 + n % 7), 32, '0')::uuid,
           (ARRAY['github', 'slack', 'jira'])[1 + n % 7 % 3],
           (ARRAY['issue_created', 'message_posted', 'issue_closed', 'code_pushed'])[1 + (n / 21) % 4],
           CAST(:now AS timestamptz) - make_interval(secs => n * 86.4), :now, 'title', NULL, '{}', 'key' || n,
           'webhook', '{}'
    FROM generate_series(1, 30000) AS numbers (n)
"""


@pytest.fixture(scope="module")
def filled(postgres_engine):
    """Thirty thousand signals of three tenants, with statistics."""
    empty_database(postgres_engine)
    with postgres_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO tenants SELECT lpad(to_hex(n), 32, '0')::uuid, now() FROM generate_series(1, 3) AS t (n)")
        )
        connection.execute(text(FILL), {"now": NOW})
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE signals"))
    yield postgres_engine
    empty_database(postgres_engine)


@pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])
@pytest.mark.parametrize("after", [None, AFTER], ids=["first", "later"])
@pytest.mark.parametrize("filters", COMBINATIONS, ids=lambda filters: "+".join(filters) or "none")
def test_every_list_is_one_index_range(filled, filters, after, generic):
    """Whatever the filters, the page is read from an index in its order: nothing is sorted, no table is scanned."""
    statement = select_page(TENANT_1, PageRequest(limit=50, after=after), SignalFilter(**filters))
    plan = explain(filled, statement, generic=generic)
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "signals" or "Bitmap" in node["Node Type"]]
    assert [node["Node Type"] for node in scans] in (["Index Scan"], ["Index Only Scan"])
    assert not [node for node in nodes(plan) if "Sort" in node["Node Type"]]
    condition = scans[0]["Index Cond"]
    assert "tenant_id" in condition
    assert ("occurred_at" in condition) == bool(after or {"occurred_after", "occurred_before"} & filters.keys())
    # Provider with connection is checked once, before; all else narrows the range itself.
    for name in {"kind", "connection_id"} & filters.keys():
        assert name in condition


def test_no_statement_grows_with_the_page(clean_engine):
    """Signals are written by statements of at most 500 rows and 8 MB each, a larger signal by one of its own."""
    sizes = []

    def measure(*call):
        if "INSERT INTO signals" in call[2]:
            (rows,) = call[3].values()
            sizes.append((len(json.loads(rows)), len(rows.encode()) // 1_000_000))

    unit_of_work = postgres_unit_of_work(clean_engine, ProcrastinateJobQueue)
    megabytes = [1] * 9 + [9] + [3] * 3
    event.listen(clean_engine, "before_cursor_execute", measure)
    try:
        with unit_of_work() as work:
            work.tenants.record(make_tenant())
            work.signals.record_all([make_signal(dedupe_key=f"a{n:04}", payload={}) for n in range(1_001)])
            work.signals.record_all(
                [make_signal(dedupe_key=f"b{n:04}", payload={"x": "ü" * 500_000 * m}) for n, m in enumerate(megabytes)]
            )
            work.signals.record_all([])
    finally:
        event.remove(clean_engine, "before_cursor_execute", measure)
    assert sizes == [(500, 0), (500, 0), (1, 0), (7, 7), (2, 2), (1, 9), (2, 6), (1, 3)]


def explain(engine, statement, *, generic):
    """The plan as JSON: for these values, or the one that a prepared statement settles on."""
    compiled = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        if not generic:
            row = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}").scalar_one()
        else:
            bound = statement.compile(engine)
            values = ", ".join("NULL" for _ in bound.positiontup or bound.params)
            sql = numbered(bound)
            connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
            connection.exec_driver_sql(f"PREPARE page AS {sql}")
            row = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE page({values})").scalar_one()
            connection.exec_driver_sql("DEALLOCATE page")
    return (json.loads(row) if isinstance(row, str) else row)[0]["Plan"]


def numbered(bound):
    """The compiled statement with `$1` for its first parameter, and so on."""
    return str(bound) % {name: f"${number}" for number, name in enumerate(bound.params, 1)}


def nodes(plan):
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
