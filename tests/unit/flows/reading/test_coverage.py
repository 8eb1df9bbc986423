"""The coverage ledger: what is proven, what may be missing, and no gaps without a cause."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.system.entropy import SystemEntropy
from connectors.domain.flows.reading.coverage import CoverageFlow, Ledger
from connectors.domain.flows.reading.jobs import CLOCK_SPREAD
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import ALL_FAMILIES, CoveragePath, GapCause, GapClosedBy
from connectors.domain.model.errors import ConnectionNotFoundError
from connectors.domain.model.spans import EPOCH, Span
from connectors.domain.model.stream_state import AccountState, HistoryRequest, StreamState, with_proof
from connectors.domain.model.streams import DISCOVERY, Stream
from connectors.domain.model.sync import JobType
from connectors.domain.model.webhook import WebhookEvent
from connectors.domain.providers.registry import ProviderRegistry
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_connection, make_tenant
from tests.support.provider import ACME, ITEMS, SLUG, STATES, make_acme
from tests.support.vendor import answer
from tests.support.world import World, created, item

WEBHOOK, SYNC, BACKFILL = CoveragePath.WEBHOOK, CoveragePath.SYNC, CoveragePath.BACKFILL
MINUTE = timedelta(minutes=1)
READ = attrs.evolve(STATES, name="readable", is_read=True)
"""Shown by incremental reads, but not by backfills."""


def at(minute):
    return NOW + minute * MINUTE


class Book:
    """A ledger, and one connection of a provider with these families, all of them in one stream."""

    def __init__(self, *families):
        self.clock = ManualClock(NOW)
        self.begin = memory_unit_of_work(MemoryDatabase(self.clock.now))
        self.connection = make_connection(provider=SLUG)
        provider = attrs.evolve(ACME, families=families or (ITEMS, STATES))
        self.ledger = Ledger(clock=self.clock, entropy=SystemEntropy(), providers=ProviderRegistry([provider]))
        self.provider = self.ledger.providers.get(SLUG)
        self.names = frozenset(one.name for one in self.provider.event_families)
        self.state = self.make_state(Stream(key="account", name="the account", families=self.names))
        self.account = AccountState(
            tenant_id=TENANT,
            connection_id=self.connection.id,
            provider=SLUG,
            requests=(HistoryRequest(since=at(-100)),),
            updated_at=NOW,
        )
        with self.begin() as uow:
            uow.tenants.record(make_tenant())
            uow.connections.save(self.connection)
            uow.accounts.add(self.account)
            # Everything is listed.
            uow.streams.save([attrs.evolve(self.make_state(Stream(key=DISCOVERY, name="list")), read_until=at(1000))])
            uow.streams.save([self.state])

    def make_state(self, stream):
        return StreamState(
            tenant_id=TENANT,
            connection_id=self.connection.id,
            stream=stream,
            status_since=NOW,
            found_at=NOW,
            listed_at=NOW,
            updated_at=NOW,
        )

    def prove(self, path, from_at, to_at):
        """Read the stream whole from then to then."""
        span = Span(at(from_at), at(to_at))
        self.state = attrs.evolve(self.state, proven=with_proof(self.state.proven, span, path))
        with self.begin() as uow:
            uow.streams.save([self.state])
            claims = self.ledger.claims(uow, self.connection)
            self.ledger.review(uow, self.connection, claims)

    def open(self, from_at, to_at, *families, cause=GapCause.DELIVERY_MISSED, reference="r"):
        with self.begin() as uow:
            ends = None if to_at is None else at(to_at)
            names = families or [one.name for one in self.provider.event_families]
            return self.ledger.open_gap(
                uow, self.connection, names, cause, "Why.", from_at=at(from_at), to_at=ends, reference=reference
            )

    def stream(self, event, minute, since=None):
        """Record at that minute that the stream of deliveries is whole, broken or ended."""
        self.clock.advance(at(minute) - self.clock.now())
        changes = {} if since is None else {"since": at(since), "reason": "It broke."}
        with self.begin() as uow:
            provider = () if event == "ended" else (self.provider,)
            getattr(self.ledger, f"note_stream_{event}")(uow, self.connection, *provider, **changes)

    def proven(self, path):
        found = {}
        flow = CoverageFlow(unit_of_work=self.begin, providers=self.ledger.providers, ledger=self.ledger)
        for family in flow.show(TENANT, self.connection.id):
            spans = [(minute(one.from_at), minute(one.to_at)) for one in family.intervals if one.path is path]
            if spans:
                found[family.family.name] = spans
        return found

    def gaps(self, *, is_open=True):
        """Each as (family, from, to); closed ones also with the path that closed them."""
        with self.begin() as uow:
            rows = uow.coverage.list_gaps(TENANT, self.connection.id, is_open=is_open)
        return [
            (one.family, minute(one.from_at), minute(one.to_at), *([] if is_open else [one.closed_by])) for one in rows
        ]


def minute(instant):
    return None if instant is None else (instant - NOW) / MINUTE


# --- proofs ----------------------------------------------------------------------------------------------------------


def test_each_path_proves_what_it_shows():
    """A sync run does not prove families that it does not show, and adjacent intervals of a path are joined."""
    book = Book(ITEMS, READ, STATES)
    book.prove(BACKFILL, -60, 0)
    book.prove(SYNC, 0, 15)
    book.prove(SYNC, 15, 30)
    book.prove(SYNC, 45, 60)
    assert book.proven(BACKFILL) == {"items": [(-60, 0)]}
    assert book.proven(SYNC) == {name: [(0, 30), (45, 60)] for name in ("items", "readable")}


def test_what_both_paths_prove_is_shown_once():
    """Where changes were read, it is not also shown as history."""
    book = Book(ITEMS)
    book.prove(BACKFILL, -60, 20)
    book.prove(SYNC, 0, 30)
    assert (book.proven(BACKFILL), book.proven(SYNC)) == ({"items": [(-60, 0)]}, {"items": [(0, 30)]})


def test_an_empty_interval_proves_nothing():
    """An empty or reversed interval is no proof."""
    book = Book()
    book.prove(SYNC, 5, 5)
    book.prove(SYNC, 6, 5)
    assert book.proven(SYNC) == {}


# --- closing gaps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "sync_runs", "left"),
    [
        ((10, 20), [(SYNC, 10, 20)], []),
        ((10, 20), [(BACKFILL, 0, 30)], []),
        ((10, 20), [(SYNC, 10, 15)], [(15, 20)]),
        ((10, 20), [(SYNC, 10, 15), (SYNC, 15, 20)], []),
        ((10, 20), [(SYNC, 5, 12), (BACKFILL, 12, 20)], []),
        ((10, 20), [(SYNC, 12, 20)], [(10, 20)]),
        ((10, 20), [(SYNC, 12, 20), (BACKFILL, 0, 13)], []),
        ((10, 20), [(SYNC, 0, 10)], [(10, 20)]),
        ((10, 20), [(SYNC, 20, 30)], [(10, 20)]),
        ((10, 10), [(SYNC, 0, 10)], [(10, 10)]),
        ((10, 10), [(SYNC, 10, 11)], []),
        ((10, None), [(SYNC, 0, 15)], [(15, None)]),
    ],
)
def test_a_gap_closes_once_sync_runs_have_read_it(gap, sync_runs, left):
    """It closes once all of it is read, in whatever steps, and reads from its beginning shorten it."""
    book = Book(ITEMS)
    assert book.open(*gap)
    for sync_run in sync_runs:
        book.prove(*sync_run)
    assert book.gaps() == [("items", *one) for one in left]


@pytest.mark.parametrize(
    ("gap", "sync_runs", "left"),
    [
        ((10, 10), [(SYNC, 0, 15)], []),
        ((10, 20), [(BACKFILL, 0, 15), (SYNC, 15, 30)], []),
        ((10, 20), [(SYNC, 0, 15)], [(15, 20)]),
        ((10, None), [(SYNC, 0, 5), (SYNC, 5, 15)], [(15, None)]),
        ((10, 20), [(SYNC, 12, 20)], [(10, 20)]),
    ],
)
def test_what_was_read_before_the_gap_was_noticed_is_not_missing(gap, sync_runs, left):
    """A gap that is noticed after a sync run has read it is recorded as closed, or begins where that run ended."""
    book = Book(ITEMS)
    for sync_run in sync_runs:
        book.prove(*sync_run)
    assert book.open(*gap) is bool(left)
    assert book.gaps() == [("items", *one) for one in left]
    assert len(book.gaps(is_open=False)) == 1


def test_a_gap_that_was_noticed_late_is_closed():
    """A stream found to have been broken for an hour leaves no gap after it is restored and the next read."""
    book = Book(ITEMS)
    book.stream("whole", 0)
    for start in (0, 15, 30, 45):
        book.prove(SYNC, start, start + 15)
    book.stream("broken", 70, since=5)
    assert book.gaps() == [("items", 60, None)]
    book.stream("whole", 70)
    book.prove(SYNC, 60, 75)
    assert book.gaps() == []


def test_what_only_deliveries_report_stays_missing():
    """No sync run closes a gap of a family that it does not show."""
    book = Book(ITEMS, STATES)
    book.open(10, 10)
    book.prove(SYNC, 0, 20)
    book.prove(BACKFILL, 0, 20)
    assert book.gaps() == [("states", 10, 10)]


@pytest.mark.parametrize(
    ("families", "sync_runs", "left"),
    [
        ((ITEMS,), [(SYNC, 0, 20)], []),
        ((ITEMS, READ), [(SYNC, 0, 20)], []),
        ((ITEMS, READ), [(BACKFILL, 0, 20)], [(10, 10)]),
        ((ITEMS, READ), [(BACKFILL, 0, 20), (SYNC, 5, 15)], []),
        ((ITEMS, STATES), [(SYNC, 0, 20), (BACKFILL, 0, 20)], [(10, 10)]),
    ],
)
def test_a_gap_of_unknown_family_needs_every_family(families, sync_runs, left):
    """It closes when each family has been read, by any path."""
    book = Book(*families)
    book.open(10, 10, ALL_FAMILIES)
    for sync_run in sync_runs:
        book.prove(*sync_run)
    assert book.gaps() == [(ALL_FAMILIES, *one) for one in left]


def test_the_same_loss_is_one_gap():
    """Found again, it opens no second gap, whether the first is open or closed; another reference does."""
    book = Book(ITEMS)
    assert [book.open(10, 10), book.open(10, 10), book.open(10, 10, reference="s")] == [True, False, True]
    book.prove(SYNC, 0, 20)
    assert book.open(10, 10) is False
    assert (book.gaps(), len(book.gaps(is_open=False))) == ([], 2)


# --- the stream ------------------------------------------------------------------------------------------------------


def test_a_stream_proves_while_it_is_whole():
    """It proves from when it was first whole until it broke, and from when it was restored; the rest is a gap."""
    book = Book(ITEMS, STATES)
    book.stream("whole", 0)
    book.stream("whole", 5)
    assert book.proven(WEBHOOK) == {"items": [(0, None)], "states": [(0, None)]}
    book.stream("broken", 20, since=10)
    assert book.gaps() == [("items", 10, None), ("states", 10, None)]
    book.stream("broken", 25, since=21)
    book.stream("whole", 30)
    assert book.proven(WEBHOOK)["states"] == [(0, 10), (30, None)]
    assert book.gaps() == [("items", 10, 30), ("states", 10, 30)]
    book.prove(SYNC, 0, 40)
    assert book.gaps() == [("states", 10, 30)]


def test_an_end_is_no_gap():
    """After the end of deliveries none are missing, and a gap that was open gets an end."""
    book = Book(STATES)
    book.stream("whole", 0)
    book.stream("broken", 20, since=10)
    book.stream("ended", 30)
    assert (book.proven(WEBHOOK), book.gaps()) == ({"states": [(0, 10)]}, [("states", 10, 30)])
    book.stream("whole", 50)
    book.stream("ended", 60)
    book.stream("ended", 70)
    assert (book.proven(WEBHOOK), book.gaps()) == ({"states": [(0, 10), (50, 60)]}, [("states", 10, 30)])


def test_a_stream_that_was_never_whole_leaves_no_gap():
    """If the stream proved nothing before, its break opens no gap."""
    book = Book()
    book.stream("broken", 20, since=10)
    assert book.gaps() == []


def test_what_only_says_that_something_changed_proves_nothing():
    """A family without events of its own is proven by reads only."""
    book = Book(attrs.evolve(ITEMS, events=frozenset()), attrs.evolve(STATES, is_pushed=False))
    book.stream("whole", 0)
    assert book.proven(WEBHOOK) == {}


# --- in the engine ---------------------------------------------------------------------------------------------------


class Scene:
    """A connection of Acme with two families: items, which can be read, and states, which only webhooks report."""

    def __init__(self, *families, **changes):
        self.world = World(make_acme(families=families or (ITEMS, STATES), **changes))
        self.connection = self.world.connect()

    def read(self, job_type=JobType.INCREMENTAL, **changes):
        job = self.world.connectors.jobs.request(TENANT, self.connection.id, job_type, **changes)
        self.world.work()
        return self.world.job(job)

    def coverage(self, family):
        return self.world.coverage(self.connection)[family]

    def stream(self):
        return self.world.stream(self.connection, "account")

    def proven(self, path):
        return self.world.proven(self.connection, path)

    def gaps(self, **options):
        return [(one.family, one.cause) for one in self.world.gaps(self.connection, **options)]

    def lose_history(self, reason="cursor expired"):
        """The next page reports that history was lost."""

        def page(request):
            if "items" not in request.url:
                return None
            self.world.vendor.before = lambda request: None
            return answer({"items": [], "end": 0, "more": False, "gap": reason})

        self.world.vendor.before = page


@pytest.fixture
def scene():
    return Scene()


def test_a_baseline_proves_nothing_and_history_its_range(scene):
    """Only history proves the time before the first read, from the `since` of the backfill to when the read began."""
    assert scene.proven(WEBHOOK) == {"items": [(NOW, None)], "states": [(NOW, None)]}
    assert not scene.coverage("items").is_complete
    scene.world.later(minutes=1)
    began = scene.world.clock.now()
    scene.world.work()
    assert (scene.proven(SYNC), scene.proven(BACKFILL)) == ({}, {"items": [(NOW - timedelta(days=30), began)]})
    assert scene.coverage("items").is_complete
    scene.world.later(minutes=14)
    second = scene.read()
    scene.world.later(minutes=15)
    third = scene.read()
    assert (second.started_at, scene.proven(SYNC)) == (at(15), {"items": [(began, third.started_at)]})


def test_a_backfill_proves_what_it_was_asked_for(scene):
    """It proves from its `since` to its `until`, and without a `since` from the beginning of time."""
    scene.world.work()
    day = timedelta(days=1)
    scene.read(JobType.BACKFILL, since=NOW - 90 * day, until=NOW - 60 * day)
    assert scene.proven(BACKFILL) == {"items": [(NOW - 90 * day, NOW - 60 * day), (NOW - 30 * day, NOW)]}
    scene.read(JobType.BACKFILL)
    assert scene.proven(BACKFILL) == {"items": [(EPOCH, NOW)]}


def test_what_is_wanted_and_not_read_is_pending(scene):
    """Between the request of a backfill and its end the connection is not complete, and nobody's fault."""
    scene.world.work()
    assert scene.coverage("items").is_complete
    scene.world.connectors.jobs.request(TENANT, scene.connection.id, JobType.BACKFILL, since=NOW - timedelta(days=40))
    items = scene.coverage("items")
    assert (items.is_complete, items.open_gaps, items.streams_aside) == (False, (), 0)
    assert items.pending == (Span(NOW - timedelta(days=40), NOW - timedelta(days=30)),)
    scene.world.work()
    assert scene.coverage("items").is_complete


def test_a_read_of_the_one_stream_proves_the_whole(scene):
    """A read that was asked of a stream proves it like any other one."""
    scene.world.work()
    scene.world.later(minutes=15)
    scene.read(JobType.WEBHOOK, target="account")
    assert scene.stream().read_until == at(15)
    # The streams are known up to the last listing, so nothing later is claimed.
    assert scene.proven(SYNC) == {}
    scene.world.later(minutes=5)
    scene.read()
    assert scene.proven(SYNC) == {"items": [(NOW, at(20))]}


def test_lost_history_is_a_gap_until_history_has_brought_it(scene):
    """The read that found it proves nothing of that time; the history that follows closes the gap."""
    scene.world.work()
    scene.world.later(minutes=15)
    scene.lose_history()
    seen = []
    job = scene.world.connectors.jobs.request(TENANT, scene.connection.id, JobType.INCREMENTAL)
    scene.world.connectors.sync.run(TENANT, job.id, on_page=lambda job: seen.append(scene.world.gaps(scene.connection)))
    (gap,) = seen[1]
    assert (gap.family, gap.cause, gap.stream) == ("items", GapCause.HISTORY_LOST, "account")
    assert (gap.from_at, gap.to_at, gap.reason) == (NOW, at(15), "cursor expired")
    assert scene.gaps() == []
    assert scene.proven(SYNC) == {}
    assert scene.proven(BACKFILL) == {"items": [(NOW - timedelta(days=30), at(15))]}
    (closed,) = scene.world.gaps(scene.connection, is_open=False)
    assert closed.closed_by is GapClosedBy.SYNC


def test_an_incomplete_backfill_proves_nothing(scene):
    """Until history can be read whole, it is a gap, and its part before the first read stays unproven."""
    scene.world.vendor.before = lambda request: answer(status=400) if "after=0" in request.url else None
    scene.world.later(minutes=5)
    scene.world.work()
    assert scene.proven(BACKFILL) == {}
    (gap,) = scene.coverage("items").open_gaps
    assert (gap.cause, gap.from_at, gap.to_at) == (GapCause.STREAM_BLOCKED, NOW - timedelta(days=30), at(5))
    scene.world.vendor.before = lambda request: None
    scene.world.later(minutes=1)
    scene.world.tick()
    scene.world.work()
    assert scene.coverage("items").is_complete


def test_a_delivery_that_could_not_be_read_is_a_gap_until_it_is_replayed(scene):
    """The gap names the delivery, and a successful replay closes it by the webhook path."""
    scene.world.work()
    scene.world.deliver(
        {"event": "item.created", "item": {}}, hook=scene.world.hook(scene.connection)["id"], secret=secret(scene)
    )
    (gap,) = scene.world.gaps(scene.connection)
    (row,) = scene.world.deliveries()
    assert (gap.cause, gap.reference, gap.from_at) == (GapCause.DELIVERY_FAILED, str(row.id), row.received_at)
    fixed = attrs.evolve(
        scene.world.acme.webhooks, read_event=lambda delivery, context: WebhookEvent(event="item.created")
    )
    scene.world.connectors.providers._providers["acme"] = attrs.evolve(scene.world.acme, webhooks=fixed)
    scene.world.connectors.ingest.replay(TENANT, row.id)
    assert scene.gaps() == []
    assert [one.closed_by for one in scene.world.gaps(scene.connection, is_open=False)] == [WEBHOOK]


def secret(scene):
    return scene.world.hook(scene.connection)["secret"]


def test_a_read_closes_the_gap_of_a_failed_delivery():
    """The next sync closes the gap of a delivery that could not be read, also if its family is unknown."""
    scene = Scene(ITEMS)
    scene.world.work()
    scene.world.later(minutes=5)
    hook = scene.world.hook(scene.connection)
    for document in ({"event": "item.created", "item": {}}, b"not JSON"):
        scene.world.deliver(document, hook=hook["id"], secret=hook["secret"])
    assert len(scene.gaps()) == 2
    scene.world.later(minutes=5)
    scene.read()
    assert scene.gaps() == []


def test_a_disconnect_leaves_no_growing_gap(scene):
    """Streams end with their connection, whoever ended it; connecting again proves nothing about the time between."""
    for end in ("here", "there"):
        scene.world.later(minutes=10)
        ended_at = scene.world.clock.now()
        if end == "here":
            scene.world.connectors.disconnect.end_connection(TENANT, scene.connection.id)
        else:
            hook = scene.world.hook(scene.connection)
            scene.world.vendor.kill()
            scene.world.deliver({"event": "revoked"}, hook=hook["id"], secret=hook["secret"])
            scene.world.work()
        assert scene.world.reload(scene.connection).status is ConnectionStatus.REVOKED
        assert scene.proven(WEBHOOK)["states"][-1][1] == ended_at
        assert [one for one in scene.world.gaps(scene.connection) if one.to_at is None] == []
        scene.world.later(minutes=10)
        scene.world.connect()
        assert scene.proven(WEBHOOK)["states"][-1] == (scene.world.clock.now(), None)


@given(
    st.lists(
        st.sampled_from(["tick", "sync", "webhook", "backfill", "notice", "wait", "reconnect"]), min_size=1, max_size=14
    )
)
def test_a_healthy_connection_has_no_gaps(acts):
    """Whatever happens to a healthy connection, in any order, no gap is opened."""
    scene = Scene(subscriptions={"probe": _probe_succeeds})
    world = scene.world
    for number, act in enumerate(acts):
        world.later(minutes=7)
        match act:
            case "tick":
                world.tick()
                world.work()
            case "sync":
                scene.read()
            case "backfill":
                scene.read(JobType.BACKFILL, since=world.clock.now() - timedelta(days=number + 1))
            case "webhook":
                hook = world.hook(scene.connection)
                world.deliver(created(number), hook=hook["id"], secret=hook["secret"])
            case "notice":
                world.deliver({"event": "changed", "accounts": ["a-1"]})
            case "wait":
                world.later(days=1)
            case _:
                world.connectors.disconnect.end_connection(TENANT, scene.connection.id)
                world.later(minutes=1)
                world.connect()
        world.vendor.add_items(item(100 + number))
    assert world.gaps(scene.connection, is_open=False) == []


def _probe_succeeds(app, connection, subscription):
    yield from ()
    return True


# --- how it is shown -------------------------------------------------------------------------------------------------


def test_coverage_is_shown_by_family(scene):
    """Each family has its proofs and gaps, gaps of unknown family are listed with each, other tenants get nothing."""
    scene.world.work()
    hook = scene.world.hook(scene.connection)
    scene.world.deliver(b"not JSON", hook=hook["id"], secret=hook["secret"])
    flow = scene.world.connectors.coverage
    items, states = flow.show(TENANT, scene.connection.id)
    assert (items.family, states.family) == (ITEMS, STATES)
    assert {one.path for one in items.intervals} == {WEBHOOK, BACKFILL}
    assert items.intervals[0].from_at == NOW - timedelta(days=30) < NOW - CLOCK_SPREAD
    assert {one.path for one in states.intervals} == {WEBHOOK}
    assert [gap.family for gap in items.open_gaps] == [gap.family for gap in states.gaps] == [ALL_FAMILIES]
    assert (items.paths, states.paths) == ((WEBHOOK, SYNC, BACKFILL), (WEBHOOK,))
    scene.world.known(OTHER_TENANT)
    with pytest.raises(ConnectionNotFoundError):
        flow.show(OTHER_TENANT, scene.connection.id)
