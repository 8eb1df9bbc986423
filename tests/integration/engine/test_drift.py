"""The repository changes while it is read: nothing slips through."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.sizes import at_sizes

PAGE = 100


@pytest.mark.timeout(240)
@at_sizes(("issues",), small=(1000,), full=(5000,))
def test_one_issue_is_touched_per_page(rig, issues):
    """One issue is edited after every page of the backfill: none is missing, at most 15 % more pages are read."""
    rig.github.populate("ada/lamp", issues=issues, step_seconds=600)
    connection = rig.connect("ada/lamp")
    rig.connectors.run_pending()
    chance = random.Random(5)
    rig.requests.clear()
    touched = []

    def touch(_job):
        number = chance.randint(1, issues)
        rig.github.edit_issue("ada/lamp", number, title=f"Touched {len(touched)}", by="ada")
        touched.append(number)

    job = rig.backfill(connection, datetime.now(UTC) - timedelta(days=4000))
    ended = rig.connectors.sync.run(job.tenant_id, job.id, on_page=touch)
    assert (ended.status, ended.error) == ("succeeded", None)

    # The list that shifts: it is in the order of changes, and has pull requests in it.
    lists = [path for path in rig.requests if "/issues?" in path]
    assert len(touched) >= issues / PAGE
    assert issues / PAGE <= len(lists) <= 1.15 * issues / PAGE
    assert (
        rig.scalar(
            "SELECT count(DISTINCT subject->>'id') FROM signals WHERE tenant_id = %(tenant)s"
            " AND kind IN ('issue_created', 'pull_request_opened')",
            tenant=connection.tenant_id,
        )
        == issues
    )
