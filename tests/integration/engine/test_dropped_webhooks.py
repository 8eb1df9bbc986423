"""Webhooks get lost: each is made up for within one interval, the loss is on record until then, and nothing else is."""

import random
from collections import Counter
from datetime import timedelta
from uuid import UUID

import attrs
import pytest

from connectors.domain.flows.reading.schedule import JITTER
from connectors.domain.flows.webhooks.missed_deliveries import IN_FLIGHT
from connectors.domain.flows.webhooks.subscription_maintenance import AUDIT_EVERY, PROBE_EVERY
from connectors.domain.model.coverage import CoveragePath, GapCause, GapClosedBy
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.providers.github import GITHUB
from connectors.domain.providers.github.events import EVENTS
from tests.support.acts import ACTS, fresh_name, jira_site
from tests.support.fleet import SharedClock, open_fleet
from tests.support.sizes import at_sizes
from tests.support.stage import open_stage

AT_ONCE = 10
STEP = timedelta(minutes=3)
INTERVAL = timedelta(minutes=15)
LATEST = INTERVAL * (1 + JITTER) + STEP
"""How long after something the next sync begins, at the latest: these tests look every `STEP`."""

READ = {family.name for family in GITHUB.families if family.is_read}
"""Of GitHub's families, those that a sync shows."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def shared(clock):
    """The same clock for the service. One worker at a time uses it, so it may pass for who sleeps."""
    return SharedClock(clock, passes=True)


@pytest.fixture
def stage(own_database, clock, shared):
    """The service and all providers; everybody is read every quarter of an hour."""
    seconds = str(round(INTERVAL.total_seconds()))
    with open_stage(own_database, sandbox_clock=clock, clock=shared, POBLYSH_SYNC_INTERVAL_SECONDS=seconds) as opened:
        yield opened


@pytest.fixture
def fleet(stage, shared):
    """One scheduler and one worker, who look for what is due when the test says so."""
    with open_fleet(stage, shared, schedulers=1, workers=1, concurrency=1, is_prompt=False) as opened:
        yield opened


@pytest.fixture
def chance():
    """Chance that is the same every time."""
    return random.Random(20260302)


@attrs.define(eq=False)
class Party:
    """A tenant with one connection."""

    stage: object
    core: object
    connection: dict
    name: str
    played: int = 0

    @property
    def ids(self):
        return TenantId(UUID(self.core.tenant_id)), ConnectionId(UUID(self.connection["id"]))

    def gaps(self, *, is_open=True):
        """As the ledger shows them: reference → (family, gap)."""
        found = {}
        for shown in self.stage.connectors.coverage.show(*self.ids):
            for gap in shown.open_gaps if is_open else shown.gaps:
                found.setdefault(gap.reference, []).append((shown.family.name, gap))
        return found

    def kinds(self):
        return Counter(one["kind"] for one in self.core.signals())

    def subscriptions(self, column):
        """One column of the live ones."""
        query = f"SELECT {column} FROM subscriptions WHERE connection_id = :id AND status = 'active'"
        return self.stage.rows(query, id=self.ids[1])

    def assert_well(self):
        shown = self.core.show(self.connection)
        assert (shown["status"], shown["last_error"]) == ("active", None)


@pytest.fixture
def join(stage, fleet):
    """Makes a connection; its first reads are done."""

    def make(slug):
        act, name, core = ACTS[slug], fresh_name(), stage.tenant()
        connection = core.connect(slug, act.prepare(stage.sandbox, name), act.options(name))
        act.finish(stage.sandbox, name, core.webhook_url(connection))
        stage.deliver()
        fleet.settle()
        return Party(stage, core, connection, name)

    return make


def play(stage, chance, parties, stories, dropped):
    """A few more things happen to all; what the first one would be told of them may get lost."""
    disorder = stage.sandbox.deliveries.disorder
    for _ in range(AT_ONCE):
        stage.sandbox.clock.advance(STEP / AT_ONCE)
        disorder.drop = 1.0 if chance.random() < dropped else 0.0
        for party, story in zip(parties, stories, strict=True):
            next(story)
            party.played += 1
            disorder.drop = 0.0


# --- GitHub, which keeps a log -----------------------------------------------------------------------------------------


def github_story(sandbox, name):
    """One thing after the other, forever; each is one webhook or a few."""
    github, repository = sandbox.github, f"{name}/lamp"
    number = 0
    while True:
        number += 1
        fan = github.add_user(f"{name}-fan{number}").login
        issue = github.open_issue(repository, f"It flickers, {number}", by=name).number
        yield
        github.comment(repository, issue, "Only at night.", by=fan)
        yield
        github.edit_issue(repository, issue, title=f"It flickers at night, {number}", by=name)  # of no interest
        yield
        github.assign(repository, issue, name, by=name)
        yield
        github.close_issue(repository, issue, by=name)
        yield
        github.reopen_issue(repository, issue, by=fan)
        yield
        github.push(repository, by=name, messages=[f"Tighten bulb {number}"])
        yield
        github.star(repository, by=fan)
        yield
        pull = github.open_pull(repository, f"Another bulb, {number}", by=name).number
        yield
        github.review(repository, pull, by=fan, state="APPROVED", body="Good.")
        yield
        github.merge_pull(repository, pull, by=name)
        yield
        github.publish_release(repository, f"v{number}", by=name)
        yield


def lost_at(sandbox, name):
    """What GitHub's log says got lost, in order: id → (family's name, or None where we do not care, when)."""
    (hook,) = sandbox.github.hooks_on(sandbox.github.repository(f"{name}/lamp"))
    found = {}
    for line in reversed(hook.log):
        if line.outgoing.is_dropped:
            event = line.outgoing.event if line.action is None else f"{line.outgoing.event}.{line.action}"
            family = GITHUB.family_of(event) if event in EVENTS else None
            # The log is precise to the second.
            found[line.outgoing.id] = (family.name if family else None, line.delivered_at.replace(microsecond=0))
    return found


@at_sizes(("events", "dropped"), small=(120, 0.1), full=(300, 0.05))
def test_what_github_could_not_deliver(stage, fleet, clock, join, chance, events, dropped):
    """Some events get lost. The ledger shows each of these losses, and no other, until GitHub has sent it again."""
    ada, control = join("github"), join("github")
    stories = github_story(stage.sandbox, ada.name), github_story(stage.sandbox, control.name)
    noticed, received = {}, {}
    while ada.played < events:
        play(stage, chance, [ada, control], stories, dropped)
        keep_watch(stage, fleet, ada, noticed, received)
        assert control.gaps(is_open=False) == {}
    end = clock.now() + LATEST
    while clock.now() < end:
        clock.advance(STEP)
        keep_watch(stage, fleet, ada, noticed, received)

    lost = lost_at(stage.sandbox, ada.name)
    mine = {one: told for one, told in lost.items() if told[0] is not None}
    assert len(lost) > len(mine) > events * dropped / 2
    for reference, (_, at) in mine.items():
        assert received[reference] - at <= LATEST
    # Seen open, unless a read was faster than the look at the log: by then it was no gap.
    on_record = ada.gaps(is_open=False)
    assert set(on_record) == set(mine)
    for reference, ((_, gap),) in on_record.items():
        if reference in noticed:
            assert noticed[reference] - mine[reference][1] <= AUDIT_EVERY * (1 + JITTER) + IN_FLIGHT + STEP
        else:
            assert gap.closed_by is GapClosedBy.SYNC
    only_pushed = {one for one, (name, _) in mine.items() if name not in READ}
    assert only_pushed
    assert only_pushed <= set(noticed)
    assert {on_record[one][0][1].closed_by for one in only_pushed} == {CoveragePath.WEBHOOK}
    assert ada.gaps() == {}
    assert ada.kinds() == control.kinds()


def keep_watch(stage, fleet, party, noticed, received):
    """What was asked for again arrives, what is due is done, and no gap is shown that is none."""
    now = stage.sandbox.clock.now()
    for one in stage.deliver():
        received.setdefault(one.id, now)
    fleet.tick()
    fleet.settle()
    party.assert_well()
    lost = lost_at(stage.sandbox, party.name)
    for reference, shown in party.gaps().items():
        # Lost indeed, not here yet, and shown with the one family that it concerns.
        ((family, gap),) = shown
        assert reference not in received
        assert (family, gap.from_at) == lost[reference]
        assert (gap.cause, gap.to_at) == (GapCause.DELIVERY_MISSED, gap.from_at)
        noticed.setdefault(reference, now)


# --- those who keep none -----------------------------------------------------------------------------------------------


def jira_story(sandbox, name):
    """What a look at Jira shows as well."""
    jira, site, ada = sandbox.jira, jira_site(sandbox, name).id, f"712020:{name}"
    while True:
        issue = jira.create_issue(site, "ROCK", "Fuel gauge sticks", by=ada).key
        yield
        jira.assign_issue(site, issue, ada, by=ada)
        yield
        jira.comment(site, issue, "It was the cold.", by=ada)
        yield
        jira.move_issue(site, issue, "Done", by=ada)
        yield


def slack_story(sandbox, name):
    """What a look at Slack shows as well."""
    while True:
        sandbox.slack.post(name, "launch", "Is it in?", by="lee")
        yield


@pytest.mark.parametrize(("slug", "story"), [("jira", jira_story), ("slack", slack_story)])
@at_sizes(("events", "dropped"), small=(50, 0.1), full=(100, 0.05))
def test_what_others_could_not_deliver(stage, fleet, clock, join, chance, slug, story, events, dropped):
    """Some events get lost without a trace; the next read shows each of them, and nothing was ever called a gap."""
    ada, control = join(slug), join(slug)
    stories = story(stage.sandbox, ada.name), story(stage.sandbox, control.name)
    while ada.played < events:
        play(stage, chance, [ada, control], stories, dropped)
        fleet.go_on()
    lost = [one for one in stage.sandbox.deliveries.log if one.is_dropped]
    assert len(lost) >= events * dropped / 2
    clock.advance(LATEST)
    fleet.go_on()
    assert ada.kinds() == control.kinds()
    for party in (ada, control):
        party.assert_well()
        assert party.gaps(is_open=False) == {}


# --- a subscription that is gone ---------------------------------------------------------------------------------------


def github_deletes(sandbox, name):
    """Somebody removes the webhook on the settings page."""
    (hook,) = sandbox.github.hooks_on(sandbox.github.repository(f"{name}/lamp"))
    del sandbox.github.hooks.hooks[hook.id]


def jira_deletes(sandbox, name):
    """The site forgets the app's webhooks."""
    jira_site(sandbox, name).hooks.clear()


@pytest.mark.parametrize(("slug", "delete"), [("github", github_deletes), ("jira", jira_deletes)])
def test_a_subscription_is_deleted_behind_our_back(stage, fleet, clock, join, slug, delete):
    """It is noticed and made again; what may be missing, from the last proof on, a read makes up for where it can."""
    act, ada = ACTS[slug], join(slug)
    families = {family.name: family for family in stage.connectors.providers.get(slug).event_families}
    told = {name for name, family in families.items() if family.is_pushed and family.events}
    for _ in range(8):
        clock.advance(PROBE_EVERY / 4)
        fleet.go_on()
    ((proven_at,),) = ada.subscriptions("checked_at")
    assert ada.gaps() == {}

    delete(stage.sandbox, ada.name)
    clock.advance(timedelta(seconds=30))
    act.play(stage.sandbox, ada.name)
    assert stage.deliver() == []
    before, deadline = ada.kinds(), clock.now() + PROBE_EVERY * (1 + JITTER)
    while act.subscriptions(stage.sandbox, ada.name) == 0:
        assert clock.now() <= deadline
        assert ada.gaps() == {}
        clock.advance(STEP)
        fleet.tick()
        fleet.settle()
    noticed_at = clock.now()
    shown = dict(ada.gaps(is_open=False)[""])
    assert set(shown) == told
    for gap in shown.values():
        assert (gap.cause, gap.to_at) == (GapCause.STREAM_BROKEN, noticed_at)
        # What a read has gone over in between is proven.
        assert gap.from_at >= proven_at
    assert min(gap.from_at for gap in shown.values()) == proven_at

    clock.advance(LATEST)
    fleet.go_on()
    ada.assert_well()
    unseen = {name for name in told if not families[name].is_read}
    assert {name for name, _ in ada.gaps()[""]} == unseen
    readable = {str(kind) for name, family in families.items() if family.is_read for kind in family.kinds}
    expected = {kind: times for kind, times in act.kinds.items() if kind in readable}
    assert {kind: times for kind, times in (ada.kinds() - before).items() if kind in expected} == expected

    # The new one works.
    before = ada.kinds()
    act.play(stage.sandbox, ada.name)
    assert stage.deliver() != []
    assert ada.kinds() - before == act.kinds
