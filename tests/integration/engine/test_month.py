"""A month of the machines' and the vendors' time: nothing expires, nobody starves and nothing is done twice.

`MONTH_TENANTS`, `MONTH_STEP_HOURS` and `MONTH_INTERVAL_HOURS` in the environment make the full size (`-m thorough`) as busy
as an afternoon allows.
"""

import os
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise

import attrs
import pytest

from connectors.domain.model.sync import JobStatus
from connectors.ports.telemetry import RefreshOutcome
from connectors_sandbox.jira.webhooks import live_hooks
from tests.support.acts import ACTS, fresh_name, jira_site
from tests.support.fleet import SharedClock, open_fleet
from tests.support.sizes import at_sizes
from tests.support.stage import open_stage

TENANTS = int(os.environ.get("MONTH_TENANTS", "3"))
STEP = timedelta(hours=float(os.environ.get("MONTH_STEP_HOURS", "8")))
INTERVAL = timedelta(hours=float(os.environ.get("MONTH_INTERVAL_HOURS", "24")))
MONTH = timedelta(days=30)
SILENCE = timedelta(days=3)
IDLE = timedelta(days=200)

WATCHED = {"google-drive", "google-calendar", "gmail"}
"""Whose subscriptions last a week."""

APP_WIDE = {"slack", "zoho-cliq"}
"""Whose webhooks are nobody's own: the app's secret is good for all."""


@pytest.fixture
def begin(own_database, clock):
    """Opens the service with all providers, two schedulers and four workers."""
    with ExitStack() as stack:

        def begin(interval, **settings):
            settings["POBLYSH_SYNC_INTERVAL_SECONDS"] = str(round(interval.total_seconds()))
            shared = SharedClock(clock)
            stage = stack.enter_context(open_stage(own_database, sandbox_clock=clock, clock=shared, **settings))
            return stage, stack.enter_context(open_fleet(stage, shared, schedulers=2, workers=4))

        yield begin


@attrs.frozen(eq=False)
class Part:
    """One connection, and the person behind it."""

    core: object
    connection: dict
    act: object
    name: str
    subscribed: int
    """How many standing arrangements the vendor had at first."""

    @property
    def id(self):
        return self.connection["id"]

    def live_subscriptions(self, sandbox):
        """How many the vendor has, expired ones left out."""
        now = sandbox.clock.now()
        match self.act.slug:
            case "jira":
                return len(live_hooks(jira_site(sandbox, self.name), now))
            case "gmail":
                watch = sandbox.google.mail.get(self.act.prepare(sandbox, self.name)).watch
                return int(watch is not None and watch.expires_at > now)
            case _:
                return self.act.subscriptions(sandbox, self.name)


def connect_everything(stage, tenants):
    """Every provider, for so many tenants."""
    for core in [stage.tenant() for _ in range(tenants)]:
        for slug, act in ACTS.items():
            name = fresh_name()
            connection = core.connect(slug, act.prepare(stage.sandbox, name), act.options(name))
            act.finish(stage.sandbox, name, core.webhook_url(connection))
            stage.deliver()
            yield Part(core, connection, act, name, act.subscriptions(stage.sandbox, name))


def assert_subscribed(stage, parts):
    """The vendors would tell us of events at this moment."""
    assert {part: part.live_subscriptions(stage.sandbox) for part in parts} == {part: part.subscribed for part in parts}


def assert_well(stage, parts, step):
    """By our own books all is well, too."""
    now = stage.sandbox.clock.now()
    rows = stage.rows("SELECT provider, status, sync_error, webhook_error FROM connections")
    assert sorted(rows) == sorted((part.act.slug, "active", None, None) for part in parts)
    # The keys of URLs that a person enters at the vendor are subscriptions, too; nobody maintains them.
    live = stage.rows(
        "SELECT connection_id::text, expires_at FROM subscriptions WHERE status = 'active' AND target <> 'url'"
    )
    assert [row for row in live if row[1] is not None and row[1] <= now] == []
    ours = {part.id for part in parts if part.act.slug not in APP_WIDE}
    assert {connection for connection, _ in live} == ours
    assert stage.rows("SELECT * FROM coverage_gaps WHERE closed_at IS NULL") == []
    behind = stage.rows(
        "SELECT provider, last_synced_at FROM connections WHERE last_synced_at < :least",
        least=now - INTERVAL * 1.2 - step,
    )
    assert behind == []


def assert_no_token_lost(stage, fleet):
    """Every refresh has worked, and no vendor has seen a token that was used up."""
    assert {outcome for _, outcome in fleet.tally.refreshes} == {RefreshOutcome.REFRESHED}
    sandbox = stage.sandbox
    assert sandbox.github.families.reused == []
    assert sandbox.slack.families.reused == []
    assert not any(family.ending for family in sandbox.jira.families.all)


def kinds(core):
    """How many signals of each kind the tenant has, by connection."""
    return Counter((one["connection_id"], one["kind"]) for one in core.signals())


@pytest.mark.timeout(900)
@at_sizes(("tenants", "step"), small=(1, timedelta(days=1)), full=(TENANTS, STEP))
def test_a_month_passes(begin, clock, tenants, step):
    """Two schedulers and four workers keep every subscription, token and schedule entry for a month, and none twice."""
    stage, fleet = begin(INTERVAL)
    parts = tuple(connect_everything(stage, tenants))
    fleet.settle()
    assert_well(stage, parts, step)

    end = clock.now() + MONTH
    while clock.now() < end:
        clock.advance(step)
        assert_subscribed(stage, parts)
        fleet.go_on()
        assert_well(stage, parts, step)

    assert fleet.taken_entries.taken_twice() == []
    assert {job.status for job in fleet.tally.ended} == {JobStatus.SUCCEEDED}
    for part in parts:
        syncs = fleet.tally.incremental_syncs(part.id)
        pauses = [later - earlier for earlier, later in pairwise(syncs)]
        assert min(pauses) >= INTERVAL * 0.8
        assert max(pauses) <= INTERVAL * 1.2 + step
    assert_no_token_lost(stage, fleet)
    assert_renewed(stage, parts)

    # Nobody works for three days. Then all is made up for, once.
    before = {part: len(fleet.tally.incremental_syncs(part.id)) for part in parts}
    clock.advance(SILENCE)
    fleet.go_on()
    after = {part: len(fleet.tally.incremental_syncs(part.id)) for part in parts}
    assert after == {part: times + 1 for part, times in before.items()}
    assert fleet.taken_entries.taken_twice() == []
    assert_subscribed(stage, parts)
    assert_well(stage, parts, step)
    assert_no_token_lost(stage, fleet)

    # And whatever happens is heard of as on the first day.
    known = {part.core: kinds(part.core) for part in parts}
    for part in parts:
        part.act.play(stage.sandbox, part.name)
    stage.deliver()
    clock.advance(INTERVAL * 1.2)
    fleet.go_on()
    for part in parts:
        new = kinds(part.core) - known[part.core]
        assert {kind: n for (owner, kind), n in new.items() if owner == part.id} == part.act.kinds
    assert_well(stage, parts, step)


def assert_renewed(stage, parts):
    """Where subscriptions expire they were renewed with a third of their life left, neither late nor all the time."""
    core = stage.sandbox.core
    weeks = len([part for part in parts if part.act.slug in WATCHED])
    watches = len([one for one in core.requests_to("google", method="POST") if one.path.endswith("/watch")])
    # 7 days: on the fifth of them. 30 days: on the twentieth.
    assert 6 * weeks <= watches - weeks <= 7 * weeks
    refreshes = [one for one in core.requests_to("jira", method="PUT") if one.path.endswith("/webhook/refresh")]
    assert len(refreshes) == len([part for part in parts if part.act.slug == "jira"])


@pytest.mark.timeout(300)
def test_half_a_year_without_use(begin, clock):
    """Tokens that a vendor lets die of disuse outlive that, though nothing is read and nobody is told of anything."""
    stage, fleet = begin(timedelta(days=364), POBLYSH_PUBLIC_URL="")
    core, sandbox = stage.tenant(), stage.sandbox
    for slug in ("github", "jira", "google-calendar"):
        act, name = ACTS[slug], fresh_name()
        core.connect(slug, act.prepare(sandbox, name), act.options(name))
    fleet.settle()
    fleet.tally.refreshes.clear()
    end = clock.now() + IDLE
    while clock.now() < end:
        clock.advance(timedelta(days=5))
        fleet.go_on()
    assert fleet.taken_entries.taken_twice() == []
    assert_no_token_lost(stage, fleet)
    # A third into the life of each: 184, 90 and 180 days.
    kept = {provider: times for (provider, _), times in fleet.tally.refreshes.items()}
    assert kept == {"github": 3, "jira": 6, "google-calendar": 3}
    unwell = "status <> 'active' OR sync_error IS NOT NULL OR webhook_error IS NOT NULL"
    assert stage.rows(f"SELECT provider FROM connections WHERE {unwell}") == []
