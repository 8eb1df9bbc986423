"""The plans behind ending, pruning and erasing: what is looked for often, or under a lock, is found by an index."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from connectors.adapters.postgres import postgres_unit_of_work
from connectors.adapters.procrastinate.job_queue import ProcrastinateJobQueue
from connectors.domain.model.ids import GrantId
from tests.integration.conftest import empty_database
from tests.support.builders import GITHUB, NOW, TENANT, make_id, make_tenant

FILL = (
    """
    INSERT INTO tenants (id, created_at, erased_at)
    SELECT gen_random_uuid(), now(), CASE WHEN n % 500 = 0 THEN now() END FROM generate_series(1, 2000) AS t (n)
    """,
    """
    INSERT INTO grants (tenant_id, id, provider, state, grant_key, version, end_since, created_at, updated_at)
    SELECT :tenant, gen_random_uuid(), 'github',
           CASE WHEN n % 400 = 0 THEN 'ending' WHEN n % 9 = 0 THEN 'ended' ELSE 'live' END, 'github:' || n, 1,
           CASE WHEN n % 400 = 0 THEN now() END, now(), CAST(:now AS timestamptz) + make_interval(mins => n)
    FROM generate_series(1, 8000) AS numbers (n)
    """,
    """
    INSERT INTO connections (tenant_id, id, provider, account_id, account_name, account_metadata, grant_id, status,
                             scopes, metadata, created_at, consented_at, updated_at)
    SELECT tenant_id, gen_random_uuid(), 'github', grant_key, 'octo', '{}', id, 'active', '{}', '{}', now(), now(), now()
    FROM grants
    """,
    """
    INSERT INTO subscriptions (tenant_id, id, connection_id, provider, target, status, external_id, metadata, grant_id,
                               created_at, updated_at)
    SELECT tenant_id, gen_random_uuid(), id, 'github', 'repo:octo/hello',
           CASE WHEN n % 400 = 0 THEN 'ending' WHEN n % 401 = 0 THEN 'pending' WHEN n % 9 = 0 THEN 'ended'
                ELSE 'active' END,
           'hook-' || n, '{}', grant_id, now(), CAST(:now AS timestamptz) + make_interval(mins => n::int)
    FROM (SELECT *, row_number() OVER () AS n FROM connections) AS numbered
    """,
)
AN_ID = GrantId(make_id())
SOON = NOW + timedelta(hours=2)
QUERIES = {
    "live": (
        lambda work: work.grants.find_live(TENANT, GITHUB, "github:7"),
        {"grants_key"},
    ),
    "lived on": (
        lambda work: work.grants.is_lived_on("github:7", besides=AN_ID),
        {"grants_consent", "connections_grant"},
    ),
    "old grants": (
        lambda work: work.grants.prune(ended_before=SOON, limit=500),
        {"grants_over", "grants_pkey"},
    ),
    "oldest grant": (
        lambda work: work.grants.oldest_ending(),
        {"grants_ending"},
    ),
    "of a grant": (
        lambda work: work.subscriptions.list_of_grant(TENANT, AN_ID),
        {"subscriptions_grant"},
    ),
    "old subscriptions": (
        lambda work: work.subscriptions.prune(ended_before=SOON, limit=500),
        {"subscriptions_over", "subscriptions_pkey"},
    ),
    "oldest subscription": (
        lambda work: work.subscriptions.oldest_ending(),
        {"subscriptions_ending"},
    ),
    "pending": (
        lambda work: work.subscriptions.list_candidates(TENANT, GITHUB, None),
        {"subscriptions_pending"},
    ),
    "candidates": (
        lambda work: work.subscriptions.list_candidates(TENANT, GITHUB, "hook-7"),
        {"subscriptions_pending", "subscriptions_named"},
    ),
    "erased": (
        lambda work: work.tenants.forget_erased(erased_before=SOON),
        {"tenants_erased"},
    ),
}


@pytest.fixture(scope="module")
def filled(postgres_engine):
    """Thousands of grants, connections and subscriptions of one tenant, with statistics."""
    empty_database(postgres_engine)
    with postgres_unit_of_work(postgres_engine, ProcrastinateJobQueue)() as work:
        work.tenants.record(make_tenant())
    with postgres_engine.begin() as connection:
        for statement in FILL:
            given = {name: value for name, value in (("tenant", TENANT), ("now", NOW)) if f":{name}" in statement}
            connection.execute(text(statement), given)
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE tenants, grants, connections, subscriptions"))
    yield postgres_engine
    empty_database(postgres_engine)


@pytest.mark.parametrize("generic", [False, True], ids=["custom", "generic"])
@pytest.mark.parametrize("query", QUERIES)
def test_each_uses_its_index(filled, query, generic):
    """For these values and as a prepared statement, these tables are read by these indexes, and none as a whole."""
    act, indexes = QUERIES[query]
    found = list(nodes(explain(filled, act, generic=generic)))
    own = {"grants", "connections", "subscriptions", "tenants"}
    # Of an erased tenant, a few rows are looked at by its id.
    own -= {"grants", "subscriptions"} if query == "erased" else set()
    assert [one for one in found if one["Node Type"] == "Seq Scan" and one["Relation Name"] in own] == []
    assert indexes <= {one["Index Name"] for one in found if "Index Name" in one}


def explain(engine, act, *, generic):
    """The plan as JSON of the one statement that this sends."""
    sent = []

    def note(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with suppress(LookupError), postgres_unit_of_work(engine, ProcrastinateJobQueue)() as work:
            act(work)
            raise LookupError  # nothing is to be changed
    finally:
        event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = sent
    with engine.connect() as connection:
        if not generic:
            row = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        else:
            connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
            numbers = {name: f"${number}" for number, name in enumerate(parameters, 1)}
            connection.exec_driver_sql(f"PREPARE it AS {statement % numbers}")
            values = f"({', '.join('NULL' for _ in parameters)})" if parameters else ""
            row = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE it{values}").scalar_one()
            connection.exec_driver_sql("DEALLOCATE it")
    return (json.loads(row) if isinstance(row, str) else row)[0]["Plan"]


def nodes(plan):
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
