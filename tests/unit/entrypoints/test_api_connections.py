"""A connection's health, interval and coverage over the API."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.instant import rfc3339
from connectors.entrypoints.flask import ApiSettings
from tests.support.api import READER_TOKEN, Api, make_api, problem
from tests.support.builders import NOW, TENANT
from tests.support.world import World

HOUR = timedelta(hours=1)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def connection(world):
    return world.connect()


@pytest.fixture
def api(world):
    return Api(world.connectors, ApiSettings())


@pytest.fixture
def path(connection):
    return f"/connections/{connection.id}"


def shown(api, path):
    return api.get(path, tenant=TENANT).get_json()


def change(world, connection, **changes):
    with world.uow() as uow:
        uow.connections.save(attrs.evolve(world.reload(connection), **changes))


def open_gap(world, connection, families, **changes):
    """Open a gap of one hour in these families."""
    span = {"from_at": NOW - HOUR, "to_at": NOW, **changes}
    with world.uow() as uow:
        world.connectors.maintenance.ledger.open_gap(
            uow, connection, families, GapCause.HISTORY_LOST, "The cursor has expired.", **span
        )


# --- health --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, "healthy"),
        ({"sync_error": "The provider is down."}, "degraded"),
        ({"webhook_error": "No right."}, "degraded"),
        ({"status": ConnectionStatus.REAUTHORIZATION_REQUIRED, "sync_error": "No."}, "needs_user"),
        ({"status": ConnectionStatus.DISABLED}, "off"),
        ({"status": ConnectionStatus.REVOKED}, "off"),
    ],
)
def test_health_is_one_word(world, connection, api, path, changes, health):
    """Health follows status and last error, and an inactive connection has no next read."""
    change(world, connection, **changes)
    one = shown(api, path)
    assert one["health"] == health
    assert (one["next_sync_at"] is None) is (one["status"] != "active")
    (listed,) = api.get("/connections", tenant=TENANT).get_json()["connections"]
    assert listed["health"] == health
    assert not {"next_sync_at", "subscriptions"} & listed.keys()


@pytest.mark.parametrize(
    ("changes", "code", "step"),
    [
        ({}, None, None),
        ({"suspected_at": NOW}, "being_checked", "Nothing to do"),
        ({"webhook_error": "No right."}, "webhooks_failing", "Nothing to do"),
        (
            {"status": ConnectionStatus.REAUTHORIZATION_REQUIRED, "reason_code": ReasonCode.REFRESH_TOKEN_DEAD},
            "refresh_token_dead",
            "Connect the account again",
        ),
        ({"status": ConnectionStatus.REAUTHORIZATION_REQUIRED}, None, "Connect the account again"),
        (
            {"status": ConnectionStatus.REVOKED, "reason_code": ReasonCode.WITHDRAWN_AT_PROVIDER},
            "withdrawn_at_provider",
            "Connect the account again",
        ),
    ],
)
def test_a_reason_comes_with_a_next_step(world, connection, api, path, changes, code, step):
    """Programs get a code and people a sentence, in the list, too."""
    change(world, connection, **changes)
    for one in (shown(api, path), api.get("/connections", tenant=TENANT).get_json()["connections"][0]):
        assert one["reason_code"] == code
        assert one["next_step"] == step or one["next_step"].startswith(step)


def test_an_open_gap_degrades(world, connection, api, path):
    """A connection with an open gap is degraded where it is asked for by itself."""
    open_gap(world, connection, ["events"])
    assert shown(api, path)["health"] == "degraded"
    assert api.get("/connections", tenant=TENANT).get_json()["connections"][0]["health"] == "healthy"


# --- the interval --------------------------------------------------------------------------------------------------


def next_read(one):
    return datetime.fromisoformat(one["next_sync_at"]) - NOW


def test_a_connection_has_an_interval_of_its_own(api, path):
    """The next read is scheduled by the new interval; null restores the provider's."""
    assert abs(next_read(shown(api, path)) - HOUR / 4) <= HOUR / 20
    changed = api.call("PATCH", path, tenant=TENANT, json={"sync_interval_seconds": 7200}).get_json()
    assert changed == shown(api, path)
    assert changed["metadata"] == {"sync_interval_seconds": 7200}
    assert abs(next_read(changed) - 2 * HOUR) <= 2 * HOUR / 5
    changed = api.call("PATCH", path, tenant=TENANT, json={"sync_interval_seconds": None}).get_json()
    assert changed["metadata"] == {}
    assert abs(next_read(changed) - HOUR / 4) <= HOUR / 20


@pytest.mark.parametrize("seconds", [59, 0, -60, True, "60", 60.5, 10**30, 31_622_401, [60]])
def test_an_interval_is_a_minute_to_a_year(api, path, seconds):
    """Any other interval is refused."""
    answer = api.call("PATCH", path, tenant=TENANT, json={"sync_interval_seconds": seconds})
    assert problem(answer) == (400, "VALIDATION_ERROR")
    assert [detail["field"] for detail in answer.get_json()["details"]] == ["sync_interval_seconds"]


def test_a_change_names_what_changes(api, path):
    """An empty change, an unknown member and an unknown connection are refused, and so is a reader."""
    assert problem(api.call("PATCH", path, tenant=TENANT)) == (400, "VALIDATION_ERROR")
    assert problem(api.call("PATCH", path, tenant=TENANT, json={"status": "active"})) == (400, "VALIDATION_ERROR")
    body = {"sync_interval_seconds": 60}
    unknown = api.call("PATCH", f"/connections/{uuid4()}", tenant=TENANT, json=body)
    assert problem(unknown) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.call("PATCH", path, tenant=TENANT, json=body, token=READER_TOKEN)) == (403, "FORBIDDEN")


def test_an_ended_connection_gets_no_schedule_entry(world, connection, api, path):
    """The interval of a revoked connection is kept, and no read is scheduled."""
    world.connectors.disconnect.end_connection(connection.tenant_id, connection.id)
    changed = api.call("PATCH", path, tenant=TENANT, json={"sync_interval_seconds": 60}).get_json()
    assert (changed["metadata"], changed["next_sync_at"]) == ({"sync_interval_seconds": 60}, None)
    world.later(hours=1)
    world.connectors.schedule.tick()
    assert {job.status for job in world.jobs()} == {"cancelled"}


def test_the_interval_can_be_chosen_at_connecting():
    """An option of the connect body is the new connection's interval."""
    api = make_api()
    tenant = str(uuid4())
    connection = api.connect(tenant, {"options": {"sync_interval_seconds": 86400}})
    one = api.get(f"/connections/{connection['id']}", tenant=tenant).get_json()
    assert one["metadata"] == {"sync_interval_seconds": 86400}
    next_at = datetime.fromisoformat(one["next_sync_at"])
    assert next_at - datetime.fromisoformat(one["created_at"]) > timedelta(hours=19)
    refused = api.post("/connect/github", tenant=tenant, json={"options": {"sync_interval_seconds": 30}})
    assert problem(refused) == (400, "VALIDATION_ERROR")


# --- coverage ------------------------------------------------------------------------------------------------------


def test_coverage_shows_what_is_proven_and_what_is_not(world, connection, api, path):
    """Reads prove intervals; a gap stays open until a read has covered it, and then says which path closed it."""
    world.connectors.run_pending()
    (family,) = api.get(f"{path}/coverage", tenant=TENANT).get_json()["families"]
    assert (family["name"], family["is_complete"], family["gaps"]) == ("events", True, [])
    assert {one["path"] for one in family["intervals"]} <= set(family["paths"])
    backfilled = next(one for one in family["intervals"] if one["path"] == "backfill")
    assert datetime.fromisoformat(backfilled["to"]) - datetime.fromisoformat(backfilled["from"]) == timedelta(days=30)

    long_ago = NOW - timedelta(days=40)
    open_gap(world, connection, ["events"], from_at=long_ago, to_at=long_ago + HOUR)
    answer = api.get(f"{path}/coverage", tenant=TENANT).get_json()
    (family,) = answer["families"]
    (gap,) = family["gaps"]
    assert (answer["open_gaps"], family["is_complete"]) == (1, False)
    assert (gap["cause"], gap["reason"], gap["closed_at"]) == ("history_lost", "The cursor has expired.", None)

    body = {"type": "backfill", "since": rfc3339(long_ago - HOUR)}
    assert api.post(f"{path}/sync", tenant=TENANT, json=body).status_code == 202
    world.connectors.run_pending()
    answer = api.get(f"{path}/coverage", tenant=TENANT).get_json()
    (gap,) = answer["families"][0]["gaps"]
    assert (answer["open_gaps"], gap["closed_by"]) == (0, "sync")
    assert shown(api, path)["health"] == "healthy"


def test_a_gap_of_unknown_family_counts_once():
    """A gap of unknown family is listed with every family of the provider."""
    api = make_api()
    tenant = str(uuid4())
    connection = api.connect(tenant)
    with api.connectors.queries.unit_of_work() as uow:
        known = uow.connections.get(TenantId(UUID(tenant)), ConnectionId(UUID(connection["id"])))
        now = api.connectors.clock.now()
        api.connectors.maintenance.ledger.open_gap(
            uow, known, ["*"], GapCause.HISTORY_LOST, "Lost.", from_at=now - HOUR, to_at=None
        )
    answer = api.get(f"/connections/{connection['id']}/coverage", tenant=tenant).get_json()
    assert len(answer["families"]) > 1
    assert answer["open_gaps"] == 1
    assert not any(family["is_complete"] for family in answer["families"])
    assert {gap["to"] for family in answer["families"] for gap in family["gaps"]} == {None}


def test_coverage_is_of_one_tenant(world, api, path):
    """Another tenant's connection is not found."""
    stranger = api.new_tenant()
    assert problem(api.get(f"{path}/coverage", tenant=stranger)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(api.get(f"{path}/coverage", tenant=uuid4())) == (404, "TENANT_NOT_FOUND")
