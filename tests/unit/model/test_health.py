"""The health of connections, its reason and what to do about it."""

import pytest

from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.health import NEXT_STEPS, Health, health_of, next_step_of, reason_of
from tests.support.builders import NOW, make_connection

DEAD = {"status": ConnectionStatus.REAUTHORIZATION_REQUIRED}


def test_every_reason_has_a_next_step():
    """No reason leaves people without a sentence."""
    assert set(NEXT_STEPS) == set(ReasonCode)
    assert all(text.endswith(".") for text in NEXT_STEPS.values())


@pytest.mark.parametrize(
    ("changes", "health", "reason"),
    [
        ({}, Health.HEALTHY, None),
        ({"suspected_at": NOW}, Health.DEGRADED, ReasonCode.BEING_CHECKED),
        ({"suspected_at": NOW, "sync_error": "No."}, Health.DEGRADED, ReasonCode.BEING_CHECKED),
        ({"reason_code": ReasonCode.NO_REFRESH_TOKEN}, Health.DEGRADED, ReasonCode.NO_REFRESH_TOKEN),
        ({"sync_error": "No."}, Health.DEGRADED, ReasonCode.STREAMS_ASIDE),
        ({"webhook_error": "No."}, Health.DEGRADED, ReasonCode.WEBHOOKS_FAILING),
        ({**DEAD, "reason_code": ReasonCode.TOKEN_DEAD}, Health.NEEDS_USER, ReasonCode.TOKEN_DEAD),
        ({**DEAD, "reason_code": ReasonCode.TOKEN_DEAD, "suspected_at": NOW}, Health.NEEDS_USER, ReasonCode.TOKEN_DEAD),
    ],
)
def test_the_reason_belongs_to_the_health(changes, health, reason):
    """Exactly a connection that is not healthy has a reason and a next step."""
    connection = make_connection(**changes)
    assert (health_of(connection), reason_of(connection)) == (health, reason)
    assert (next_step_of(connection, reason) is None) is (health is Health.HEALTHY)


def test_a_death_from_before_reasons_has_a_next_step():
    """Its user still has to connect again."""
    connection = make_connection(**DEAD)
    assert reason_of(connection) is None
    assert "POST /connect" in next_step_of(connection, None)


def test_a_change_of_status_replaces_the_reason():
    """What was true of the former status is gone with it."""
    dead = make_connection().moved_to(
        ConnectionStatus.REAUTHORIZATION_REQUIRED, at=NOW, reason="No.", code=ReasonCode.REFRESH_LOST
    )
    assert dead.reason_code is ReasonCode.REFRESH_LOST
    assert dead.moved_to(ConnectionStatus.ACTIVE, at=NOW).reason_code is None
