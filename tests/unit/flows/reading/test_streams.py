"""Reading by streams: what cannot be read is set aside, said, and read later; everything else goes on."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.coverage import CoveragePath, GapCause
from connectors.domain.model.errors import InfrastructureError, UnexpectedResponseError
from connectors.domain.model.health import Health
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.streams import DiscoveryPage, ParkedItem, Stream, StreamPage
from connectors.domain.model.sync import JobStatus, JobType, SyncMode
from tests.support.boxes import BOXES, BoxVendor, boxes, read_page
from tests.support.builders import NOW, TENANT
from tests.support.vendor import answer
from tests.support.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Room(World):
    """A system, Acme with boxes, and the words of these tests."""

    def __init__(self, provider=BOXES):
        super().__init__(provider, vendor=BoxVendor)

    def seen(self):
        return {one.dedupe_key for one in self.all_signals()}

    def all_signals(self):
        with self.uow() as uow:
            return uow.signals._rows.values()

    def backfill(self, connection, **changes):
        return self.connectors.jobs.request(TENANT, connection.id, JobType.BACKFILL, **changes)

    def sync(self, connection):
        return self.connectors.jobs.request(TENANT, connection.id, JobType.INCREMENTAL)

    def health(self, connection):
        return self.connectors.queries.inspect_connection(TENANT, connection.id).health

    def asked(self, box):
        return self.vendor.count(f"GET /api/boxes/{box}/items")


def key(box, number):
    return f"item:{box}-{number}:created"


@pytest.fixture
def room():
    room = Room()
    for box in "abc":
        room.vendor.put(box, 1, 2, 3, at=NOW - DAY)
    return room


def test_all_of_an_account_is_read(room):
    """The first read and the backfill bring every item of every box, and coverage proves the whole range."""
    connection = room.connect()
    room.work()
    assert room.seen() == {key(box, number) for box in "abc" for number in (1, 2, 3)}
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    room.vendor.put("b", 4)
    room.run_for(HOUR)
    assert key("b", 4) in room.seen()
    (items,) = room.coverage(connection).values()
    assert items.intervals[0].from_at <= NOW - DAY
    assert items.intervals[-1].to_at > NOW + 40 * MINUTE
    assert items.is_complete
    assert room.health(connection) is Health.HEALTHY


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502])
def test_one_sick_box_is_a_gap_and_the_others_are_read(room, status):
    """A box that cannot be read delays no other one; it is a gap with its reason, and read whole once it can be."""
    room.vendor.closed["b"] = status
    connection = room.connect()
    room.run_for(HOUR)
    for box in "ac":
        room.vendor.put(box, 4)
    room.run_for(HOUR)
    assert {key(box, 4) for box in "ac"} < room.seen()
    (items,) = room.coverage(connection).values()
    (gap,) = items.open_gaps
    assert (gap.cause, gap.stream, gap.to_at) == (GapCause.STREAM_BLOCKED, "box:b", None)
    assert gap.from_at <= NOW - DAY
    assert gap.reason
    assert not items.intervals
    assert items.streams_aside == 1
    assert room.health(connection) is Health.DEGRADED
    assert "box b" in room.reload(connection).sync_error
    assert room.reload(connection).status is ConnectionStatus.ACTIVE
    job = next(job for job in room.jobs() if job.type is JobType.BACKFILL)
    assert (job.status, job.streams.aside, job.streams.total) == (JobStatus.PARTIAL, 1, 3)
    del room.vendor.closed["b"]
    room.run_for(HOUR + 5 * MINUTE)
    assert {key("b", number) for number in (1, 2, 3)} < room.seen()
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert room.health(connection) is Health.HEALTHY
    assert room.reload(connection).sync_error is None


def test_a_sick_box_is_asked_politely(room):
    """A box that fails for ever is asked less and less: hourly in the end."""
    room.vendor.closed["b"] = 403
    room.connect()
    room.run_for(6 * HOUR, step=MINUTE)
    first = room.asked("b")
    assert first <= 16
    room.run_for(10 * HOUR, step=MINUTE)
    assert 9 <= room.asked("b") - first <= 11


def test_an_outage_loses_nothing_and_is_nobodys_fault(room):
    """While the whole vendor is down nothing is failed or set aside; afterwards the backfill is complete."""
    connection = room.connect()
    room.vendor.down = 503
    room.run_for(3 * HOUR)
    assert all(job.status is JobStatus.QUEUED for job in room.jobs())
    assert "503" in room.reload(connection).sync_error
    assert room.health(connection) is Health.DEGRADED
    assert not room.seen()
    asked = len(room.vendor.requests)
    assert asked < 200
    room.vendor.down = None
    room.run_for(16 * MINUTE)
    assert room.seen() == {key(box, number) for box in "abc" for number in (1, 2, 3)}
    assert room.health(connection) is Health.HEALTHY
    assert {job.status for job in room.jobs()} == {JobStatus.SUCCEEDED}


def test_an_outage_after_connecting_blames_no_box(room):
    """When several boxes in a row are not available, it is the vendor: every box is read soon after it is back."""
    connection = room.connect()
    room.work()
    room.vendor.down = 502
    room.run_for(2 * HOUR)
    assert all(room.stream(connection, f"box:{box}").incremental.failures == 0 for box in "abc")
    for box in "abc":
        room.vendor.put(box, 4)
    room.vendor.down = None
    room.run_for(17 * MINUTE)
    assert {key(box, 4) for box in "abc"} < room.seen()


def test_a_wait_of_zero_is_not_taken_at_its_word(room):
    """A vendor that limits and says to wait no time is asked ever more rarely, at least a minute apart in the end."""
    room.connect()
    room.vendor.down = 429
    room.run_for(HOUR, step=timedelta(seconds=1))
    assert len(room.vendor.requests) < 80
    room.vendor.down = None
    room.run_for(2 * MINUTE)
    assert len(room.seen()) == 9


def test_a_circle_of_pages_is_noticed(room):
    """Pages that go in a circle block their box after a few requests; the others are read."""
    room.vendor.circles.add("b")
    connection = room.connect()
    room.work()
    assert room.asked("b") <= 2 + 9
    assert "circle" in room.stream(connection, "box:b").reason
    assert key("c", 3) in room.seen()


def test_a_position_that_lapses_while_its_page_fails():
    """A page that failed for a day is read although the position before it is no longer known by then."""

    def read_sick(context, stream, window, cursor):
        page = yield from read_page(context, stream, window, cursor)
        now = room.clock.now()
        if cursor is not None and (room.vendor.is_sick or read_instant(cursor["at"]) < now - HOUR / 2):
            raise UnexpectedResponseError("No such page.")
        return page if page.cursor is None else attrs.evolve(page, cursor={**page.cursor, "at": rfc3339(now)})

    room = Room(boxes(read_page=read_sick))
    room.vendor.put("a", *range(20), at=NOW - DAY)
    room.vendor.is_sick = True
    room.connect()
    room.run_for(DAY)
    room.vendor.is_sick = False
    room.run_for(5 * HOUR)
    assert len(room.seen()) == 20


def test_a_box_that_is_found_later_brings_its_past(room):
    """A box that becomes visible later is read back to what was asked for, without anybody asking again."""
    room.vendor.put("d", 1, 2, at=NOW - DAY)
    room.vendor.hidden.add("d")
    connection = room.connect()
    room.run_for(5 * HOUR, step=MINUTE)
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    room.vendor.hidden.clear()
    room.run_for(20 * MINUTE)
    assert {key("d", 1), key("d", 2)} < room.seen()


def test_a_box_that_cannot_be_read_is_not_promised(room):
    """A box that is listed as unreadable, and always was, is counted; one that could be read is a gap."""
    room.vendor.unreadable["b"] = "Nobody let us in."
    connection = room.connect()
    room.work()
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert room.stream(connection, "box:b") is None
    assert room.connectors.streams.list_page(TENANT, connection.id).uncounted == 1
    room.vendor.unreadable = {"a": "We were put out."}
    room.run_for(HOUR)
    (items,) = room.coverage(connection).values()
    assert {gap.stream for gap in items.open_gaps} == {"box:a"}
    assert {key("b", number) for number in (1, 2, 3)} < room.seen()
    room.vendor.unreadable = {}
    room.vendor.put("a", 4)
    room.run_for(HOUR)
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert key("a", 4) in room.seen()


def test_a_box_that_is_gone_leaves_the_intersection(room):
    """A box that is neither listed nor shown any more is a bounded gap, and the others prove their families again."""
    connection = room.connect()
    room.run_for(HOUR)
    room.vendor.hidden.add("b")
    room.vendor.closed["b"] = 404
    room.run_for(3 * HOUR)
    assert room.stream(connection, "box:b").status is StreamStatus.GONE
    (items,) = room.coverage(connection).values()
    (gap,) = items.open_gaps
    assert (gap.cause, gap.stream) == (GapCause.STREAM_GONE, "box:b")
    assert items.intervals[-1].to_at > NOW + 3 * HOUR
    room.connectors.streams.dismiss(TENANT, connection.id, "box:b")
    room.work()
    (items,) = room.coverage(connection).values()
    assert items.is_complete


def test_history_of_a_box_that_is_gone_is_a_gap(room):
    """What was wanted of a box and not read when it went is said, not only the time since its last read."""
    room.vendor.put("b", 9, at=NOW - 50 * DAY)
    connection = room.connect()
    room.run_for(HOUR)
    room.vendor.closed["b"] = 404
    room.backfill(connection, since=NOW - 60 * DAY)
    room.run_for(10 * MINUTE)
    room.vendor.hidden.add("b")
    room.run_for(4 * HOUR)
    assert room.stream(connection, "box:b").status is StreamStatus.GONE
    (items,) = room.coverage(connection).values()
    assert next(gap.from_at for gap in items.open_gaps) == NOW - 60 * DAY
    room.vendor.hidden.clear()
    room.vendor.closed.clear()
    room.run_for(HOUR)
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert key("b", 9) in room.seen()


def test_a_parked_item_of_a_box_that_comes_back_is_read(room):
    """It is closed with its box, and its time is read again when the box is listed again."""
    room.vendor.put("b", 7, at=NOW - HOUR, detailed=True)
    room.vendor.broken["b-7"] = 500
    connection = room.connect()
    room.run_for(10 * MINUTE)
    room.vendor.hidden.add("b")
    room.vendor.closed["b"] = 404
    room.run_for(4 * HOUR)
    assert room.stream(connection, "box:b").status is StreamStatus.GONE
    (items,) = room.coverage(connection).values()
    assert any(gap.from_at <= NOW - HOUR < gap.to_at for gap in items.open_gaps)
    room.vendor.hidden.clear()
    room.vendor.closed.clear()
    room.vendor.broken.clear()
    room.run_for(HOUR)
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert key("b", 7) in room.seen()


@pytest.mark.parametrize("status", [403, 400, 502])
def test_one_bad_item_is_parked_and_its_box_goes_on(room, status):
    """An item that always fails is a small gap of its own; it is asked for again until it can be read."""
    room.vendor.put("b", 7, at=NOW - HOUR, detailed=True)
    room.vendor.put("b", 8, at=NOW - HOUR)
    room.vendor.broken["b-7"] = status
    connection = room.connect()
    room.run_for(HOUR)
    assert key("b", 8) in room.seen()
    assert key("b", 7) not in room.seen()
    (item,) = room.parked(connection)
    assert (item.stream_key, item.reference) == ("box:b", "b-7")
    (items,) = room.coverage(connection).values()
    (gap,) = items.open_gaps
    assert gap.cause is GapCause.ITEM_UNREADABLE
    assert gap.from_at <= NOW - HOUR <= gap.to_at
    assert items.intervals[-1].to_at > NOW + 30 * MINUTE
    assert all(not (one.from_at <= NOW - HOUR < one.to_at) for one in items.intervals)
    asked = room.vendor.count("GET /api/boxitem/b-7")
    assert asked <= 30
    room.vendor.broken.clear()
    room.run_for(3 * HOUR)
    assert key("b", 7) in room.seen()
    assert not room.parked(connection)
    (items,) = room.coverage(connection).values()
    assert items.is_complete


def test_an_item_that_is_gone_closes_its_gap(room):
    """A parked item that no longer exists is not missing."""
    room.vendor.put("b", 7, at=NOW - HOUR, detailed=True)
    room.vendor.broken["b-7"] = 500
    connection = room.connect()
    room.work()
    assert room.parked(connection)
    room.vendor.broken.clear()
    room.vendor.boxes["b"] = room.vendor.boxes["b"][:3]
    room.run_for(10 * MINUTE)
    assert not room.parked(connection)


def test_things_that_are_met_again_are_counted_once():
    """Two rounds that park the same 600 things do not make them too many."""

    def read_many(context, stream, window, cursor):
        page = yield from read_page(context, stream, window, cursor)
        things = tuple(ParkedItem(reference=f"{number}", reason="No.") for number in range(600))
        return attrs.evolve(page, parked=things) if window.mode is SyncMode.BACKFILL else page

    room = Room(boxes(read_page=read_many, rounds=2))
    room.vendor.put("a", 1, at=NOW - DAY)
    connection = room.connect()
    room.work()
    assert room.stream(connection, "box:a").status is StreamStatus.READY
    assert len(room.parked(connection)) == 600


def test_a_page_that_our_database_refuses_blocks_only_its_box(room, monkeypatch):
    """A page that cannot be stored is tried three times, then its box counts as failed; the others are read."""
    stores = []
    connection = room.connect()
    real = type(room.uow().signals).record_all

    def refuse(store, signals):
        stores.append(store)
        if any("b " in one.title or one.title.startswith("b") or "b-" in one.dedupe_key for one in signals):
            raise InfrastructureError("The database refused it.")
        return real(store, signals)

    monkeypatch.setattr(type(room.uow().signals), "record_all", refuse)
    room.run_for(30 * MINUTE)
    assert room.seen() == {key(box, number) for box in "ac" for number in (1, 2, 3)}
    assert "Our database refused it" in room.stream(connection, "box:b").reason
    assert room.asked("b") < 20
    assert "Our database" in room.reload(connection).sync_error
    monkeypatch.undo()
    room.run_for(HOUR)
    assert len(room.seen()) == 9
    assert room.coverage(connection)["items"].is_complete


def test_a_lapsed_bookmark_loses_nothing_that_history_shows(room):
    """A stream that has forgotten where it was takes a new baseline and reads the time since from history."""
    connection = room.connect()
    room.run_for(HOUR)
    room.vendor.lost.add("b")
    room.vendor.put("b", 4)
    room.run_for(20 * MINUTE)
    assert key("b", 4) in room.seen()
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    lost = [gap for gap in items.gaps if gap.cause is GapCause.HISTORY_LOST]
    assert len(lost) == 1
    assert lost[0].closed_at is not None
    assert lost[0].stream == "box:b"


def test_what_the_vendor_does_not_show_is_said(room):
    """History that a free plan hides is a gap until a person dismisses it; the rest is proven."""
    room.vendor.shown_from = NOW - 12 * HOUR
    room.vendor.put("a", 9, at=NOW - HOUR)
    connection = room.connect()
    room.work()
    (items,) = room.coverage(connection).values()
    gaps = [gap for gap in items.open_gaps if gap.cause is GapCause.HISTORY_HIDDEN]
    assert {gap.stream for gap in gaps} == {"box:a", "box:b", "box:c"}
    assert items.intervals[0].from_at == NOW - 12 * HOUR
    for box in "abc":
        room.connectors.streams.dismiss(TENANT, connection.id, f"box:{box}")
    assert room.coverage(connection)["items"].is_complete


def test_a_retry_by_hand_is_at_once(room):
    """A person who has mended something need not wait for the next try."""
    room.vendor.closed["b"] = 403
    connection = room.connect()
    room.run_for(5 * HOUR, step=MINUTE)
    del room.vendor.closed["b"]
    room.connectors.streams.retry(TENANT, connection.id, "box:b")
    room.work()
    assert key("b", 3) in room.seen()


def test_a_dismissed_box_is_no_gap_until_it_can_be_read(room):
    """A box that a person gave up makes no connection degraded; it takes part again once it can be read."""
    room.vendor.closed["b"] = 403
    connection = room.connect()
    room.run_for(HOUR)
    room.connectors.streams.dismiss(TENANT, connection.id, "box:b")
    room.run_for(2 * HOUR)
    (items,) = room.coverage(connection).values()
    assert items.is_complete
    assert room.health(connection) is Health.HEALTHY
    assert room.reload(connection).sync_error is None
    del room.vendor.closed["b"]
    room.vendor.put("b", 4)
    room.run_for(2 * HOUR)
    assert key("b", 4) in room.seen()
    assert not room.stream(connection, "box:b").is_dismissed


def test_a_push_storm_starves_nobody(room):
    """A box that is named by webhooks all the time is read often; the others keep their turns."""
    connection = room.connect()
    room.work()
    for second in range(1800):
        if second % 60 == 0:
            for box in "abc":
                room.vendor.put(box, f"s{second}")
        room.connectors.jobs.request(TENANT, connection.id, JobType.WEBHOOK, target="box:a")
        room.clock.advance(timedelta(seconds=1))
        room.tick()
        room.work()
    assert 300 <= room.asked("a") <= 1000
    room.run_for(20 * MINUTE)
    assert {key(box, "s1740") for box in "abc"} < room.seen()


def test_a_webhook_names_a_box_that_is_new(room):
    """A read that a webhook asks of an unknown box finds it first."""
    connection = room.connect()
    room.work()
    room.vendor.put("z", 1)
    job = room.connectors.jobs.request(TENANT, connection.id, JobType.WEBHOOK, target="box:z")
    room.later(seconds=6)
    room.work()
    assert room.job(job).status is JobStatus.SUCCEEDED
    assert key("z", 1) in room.seen()


def test_discovery_that_fails_bounds_every_claim(room):
    """While the list of boxes cannot be read, known boxes are, and nothing later than the last list is claimed."""
    connection = room.connect()
    room.run_for(HOUR)
    known_until = room.stream(connection).read_until
    original = room.vendor._list
    room.vendor._list = lambda page: answer(status=403)
    room.vendor.put("a", 4)
    room.run_for(HOUR)
    assert key("a", 4) in room.seen()
    (items,) = room.coverage(connection).values()
    assert max(one.to_at for one in items.intervals) == room.stream(connection).read_until
    assert room.stream(connection).read_until < known_until + 20 * MINUTE
    assert not items.is_complete
    room.vendor._list = original
    room.run_for(HOUR + 5 * MINUTE)
    assert room.coverage(connection)["items"].is_complete


def test_history_and_news_take_turns():
    """A long history keeps no new item waiting, and reads of what is new keep no history from ending."""
    room = Room()
    room.vendor.put("a", *range(60), at=NOW - DAY)
    room.vendor.put("b", 1, at=NOW - DAY)
    connection = room.connect()
    room.work()
    assert len(room.seen()) == 61
    assert room.coverage(connection)["items"].is_complete


def test_two_rounds_read_history_twice_all_before_any_again():
    """With two rounds every box is read once before one is read again, and only then is anything proven."""
    order = []
    plain = BOXES.streams.read_page

    def read_page(context, stream, window, cursor):
        if window.mode == "backfill" and cursor is None:
            order.append(stream.key)
        return (yield from plain(context, stream, window, cursor))

    room = Room(boxes(read_page=read_page, rounds=2))
    for box in "abc":
        room.vendor.put(box, 1, at=NOW - DAY)
    connection = room.connect()
    room.work()
    assert sorted(order[:3]) == sorted(order[3:]) == ["box:a", "box:b", "box:c"]
    assert room.coverage(connection)["items"].is_complete


def test_a_whole_shows_the_changes_of_its_parts():
    """Where one stream shows what is new in all, the parts have only history, and each brings its own past."""

    def discover(context, window, cursor):
        yield from ()
        whole = Stream(key="all", name="all", families=frozenset({"items"}), data={"id": "a"})
        parts = (
            Stream(key=f"box:{one}", name=one, families=frozenset({"items"}), data={"id": one}, changes_in="all")
            for one in sorted(room.vendor.boxes)
            if one not in room.vendor.hidden
        )
        return DiscoveryPage(streams=(whole, *parts))

    room = Room(boxes(discover=discover))
    room.vendor.put("a", 1, at=NOW - DAY)
    room.vendor.put("b", 1, at=NOW - DAY)
    room.vendor.hidden.add("b")
    connection = room.connect()
    room.run_for(HOUR)
    assert room.seen() == {key("a", 1)}
    assert room.coverage(connection)["items"].is_complete
    room.vendor.hidden.clear()
    room.run_for(40 * MINUTE)
    assert room.seen() == {key("a", 1), key("b", 1)}
    assert room.coverage(connection)["items"].is_complete
    proven = room.proven(connection, CoveragePath.SYNC)["items"]
    assert proven[-1][1] > NOW + HOUR


def test_what_the_vendor_calls_quiet_is_not_asked():
    """A stream of which the list says that nothing has happened is proven without a request."""

    def discover(context, window, cursor):
        yield from ()
        stream = Stream(key="box:a", name="a", families=frozenset({"items"}), data={"id": "a"}, quiet_since=NOW - DAY)
        return DiscoveryPage(streams=(stream,))

    room = Room(boxes(discover=discover))
    room.vendor.put("a", 1, at=NOW - DAY)
    connection = room.connect()
    room.work()
    asked = room.asked("a")
    room.run_for(2 * HOUR)
    assert room.asked("a") == asked
    assert room.coverage(connection)["items"].intervals[-1].to_at > NOW + HOUR


def test_a_cancelled_backfill_wants_nothing_any_more(room):
    """What only a cancelled backfill had asked for is not read, and no gap."""
    connection = room.connect()
    room.work()
    for box in "abc":
        room.vendor.boxes[box].insert(0, {"id": f"{box}-0", "title": "old", "created_at": "2020-01-01T00:00:00Z"})
    job = room.backfill(connection, since=NOW - 10_000 * DAY)
    room.connectors.jobs.cancel(TENANT, job.id)
    room.work()
    assert not {key(box, 0) for box in "abc"} & room.seen()
    assert room.coverage(connection)["items"].is_complete


def test_a_dead_grant_keeps_what_is_wanted(room):
    """While the user has to connect again nothing is claimed; afterwards everything is read by itself."""
    connection = room.connect()
    room.vendor.kill()
    room.work()
    assert room.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert {job.status for job in room.jobs()} == {JobStatus.FAILED}
    assert not room.coverage(connection)["items"].is_complete
    room.later(hours=5)
    room.connect()
    room.run_for(20 * MINUTE)
    assert len(room.seen()) == 9
    assert room.coverage(connection)["items"].is_complete


def test_quiet_streams_are_stored_together(monkeypatch):
    """A read of many quiet streams takes a handful of transactions, not one each."""
    room = Room()
    for number in range(450):
        room.vendor.put(f"b{number:03}", 1, at=NOW - DAY)
    connection = room.connect()
    room.work()
    saved = []
    store = type(room.uow().streams)
    real = store.save

    def count(self, states):
        saved.append(len(states))
        return real(self, states)

    monkeypatch.setattr(store, "save", count)
    room.later(minutes=20)
    room.tick()
    room.work()
    assert room.stream(connection, "box:b449").read_until > NOW
    assert len([size for size in saved if size]) <= 450 // 2 + 5
    assert max(saved) >= 200


def test_the_first_page_may_be_the_last():
    """A stream with nothing in it is read and proven."""

    def read_page(context, stream, window, cursor):
        yield from ()
        return StreamPage(cursor=None, bookmark={})

    room = Room(boxes(read_page=read_page))
    room.vendor.put("a", 1)
    connection = room.connect()
    room.run_for(HOUR)
    assert room.coverage(connection)["items"].is_complete
