"""Packages, vendors and clocks that misbehave: nothing is lost, nothing starves, and what is not known is said."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.errors import ConflictError, InfrastructureError, UnexpectedResponseError, VaultError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.streams import DISCOVERY, DiscoveryPage, ParkedItem, Stream
from connectors.domain.model.sync import SyncMode
from tests.support.boxes import BoxVendor, boxes, discover, read_page
from tests.support.builders import NOW, TENANT
from tests.support.provider import HOST
from tests.support.vendor import answer
from tests.support.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Room(World):
    """A system, and Acme with three boxes."""

    def __init__(self, **changes):
        super().__init__(boxes(**changes), vendor=BoxVendor)
        for box in "abc":
            self.vendor.put(box, 1, 2, 3, at=NOW - DAY)

    def seen(self):
        with self.uow() as uow:
            return {one.dedupe_key for one in uow.signals._rows.values()}

    def items(self, connection):
        (items,) = self.coverage(connection).values()
        return items

    def claims(self, connection, at):
        return any(one.from_at <= at < one.to_at for one in self.items(connection).intervals)


def key(box, number):
    return f"item:{box}-{number}:created"


# --- parked items ----------------------------------------------------------------------------------------------------


def parking(context, stream, window, cursor):
    """Every run of box b passes over the same thread."""
    page = yield from read_page(context, stream, window, cursor)
    if stream.data["id"] == "b" and window.mode is SyncMode.INCREMENTAL and window.bookmark is not None:
        return attrs.evolve(page, parked=(ParkedItem(reference="thread", reason="It fails."),))
    return page


def still_broken(context, stream, window, reference):
    raise UnexpectedResponseError("It fails.")
    yield


def test_a_thing_that_is_parked_again_covers_both_windows():
    """What a later run could not read of a thing that is parked already is not claimed either."""
    room = Room(read_page=parking, read_item=still_broken)
    connection = room.connect()
    room.run_for(MINUTE)
    times = []
    for _ in range(3):
        times.append(room.clock.now())
        room.later(minutes=20)
        room.tick()
        room.work()
    assert [room.claims(connection, at + MINUTE) for at in times] == [False] * 3


def test_a_thing_that_a_person_gave_up_is_parked_again_for_what_came_later():
    """A thread that was given up last week is said to be unreadable if what came into it since cannot be read."""
    room = Room(read_page=parking, read_item=still_broken)
    connection = room.connect()
    room.run_for(20 * MINUTE)
    assert room.parked(connection)
    room.connectors.streams.dismiss(TENANT, connection.id, "box:b")
    assert not room.parked(connection)
    at = room.clock.now() + MINUTE
    room.run_for(40 * MINUTE)
    assert not room.claims(connection, at)
    assert [one.reference for one in room.parked(connection)] == ["thread"]


def test_what_was_parked_in_a_stream_that_was_gone_is_read_when_it_is_back():
    """Things that could not be read before a stream went away are read, not claimed, after it has come back."""
    room = Room()
    connection = room.connect()
    room.run_for(20 * MINUTE)
    room.vendor.put("b", 4, detailed=True)
    room.vendor.broken["b-4"] = 403
    room.run_for(20 * MINUTE)
    assert room.parked(connection)
    room.vendor.hidden.add("b")
    room.vendor.closed["b"] = 404
    room.run_for(3 * HOUR, step=MINUTE)
    assert room.stream(connection, "box:b").status is StreamStatus.GONE
    room.vendor.hidden.clear()
    room.vendor.closed.clear()
    room.vendor.broken.clear()
    room.run_for(2 * HOUR, step=MINUTE)
    assert key("b", 4) in room.seen()


# --- packages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["box:a", "box:b", "box:nowhere", "discovery's"])
def test_changes_in_that_leads_nowhere_are_no_proof(target):
    """Streams that leave their changes to themselves, to each other, or to one that does not exist are not claimed."""

    def discover_parts(context, window, cursor):
        page = yield from discover(context, window, cursor)
        goals = {"box:a": target, "box:b": "box:a", "box:c": None}
        return attrs.evolve(
            page, streams=tuple(attrs.evolve(one, changes_in=goals.get(one.key)) for one in page.streams)
        )

    room = Room(discover=discover_parts)
    connection = room.connect()
    room.run_for(20 * MINUTE)
    room.vendor.put("a", 4)
    at = room.clock.now()
    room.run_for(40 * MINUTE)
    items = room.items(connection)
    assert key("a", 4) in room.seen() or not room.claims(connection, at)
    assert key("a", 4) in room.seen() or not items.is_complete
    assert not [job for job in room.jobs() if not job.is_finished and job.scheduled_at < at - 10 * MINUTE]


def test_a_bookmark_that_cannot_be_stored_blocks_its_stream_alone():
    """A quiet run whose bookmark is no JSON keeps no other stream from being read."""

    def read_badly(context, stream, window, cursor):
        page = yield from read_page(context, stream, window, cursor)
        if stream.data["id"] == "b" and page.cursor is None and not page.signals:
            return attrs.evolve(page, bookmark={"at": {1, 2}})
        return page

    room = Room(read_page=read_badly)
    connection = room.connect()
    room.run_for(30 * MINUTE)
    for box in "ac":
        room.vendor.put(box, 4)
    room.run_for(30 * MINUTE)
    assert {key("a", 4), key("c", 4)} < room.seen()
    assert room.stream(connection, "box:b").status is StreamStatus.BLOCKED


def test_a_quiet_run_that_our_database_refuses_blocks_its_stream_alone(monkeypatch):
    """The same for one that the database will not have."""
    room = Room()
    connection = room.connect()
    store = type(room.uow().streams)
    save = store.save

    def refuse(self, states):
        if any(one.key == "box:b" and one.read_until is not None for one in states):
            raise InfrastructureError("The database refused it.")
        save(self, states)

    monkeypatch.setattr(store, "save", refuse)
    room.run_for(30 * MINUTE)
    room.vendor.put("c", 4)
    room.run_for(30 * MINUTE)
    assert key("c", 4) in room.seen()
    assert room.stream(connection, "box:b").status is StreamStatus.BLOCKED


@pytest.mark.parametrize("error", [ConflictError("No."), VaultError("No."), InfrastructureError("No.")])
def test_no_error_of_a_package_ends_the_reading_of_others(error):
    """Whatever a package raises for one stream is that stream's failure."""

    def read_badly(context, stream, window, cursor):
        if stream.data["id"] == "a":
            raise error
        return (yield from read_page(context, stream, window, cursor))

    room = Room(read_page=read_badly)
    connection = room.connect()
    room.run_for(2 * MINUTE)
    assert {key("b", 1), key("c", 1)} < room.seen()
    assert room.stream(connection, "box:a").status is StreamStatus.BLOCKED


def test_what_the_vendor_hides_is_not_proven_whichever_page_says_so():
    """A page in the middle of a run that says that nothing older is shown is believed at the end of the run."""

    def read_hidden(context, stream, window, cursor):
        page = yield from read_page(context, stream, window, cursor)
        if window.mode is SyncMode.BACKFILL and page.cursor is not None:
            return attrs.evolve(page, oldest_shown=NOW - 2 * DAY)
        return page

    room = Room(read_page=read_hidden)
    connection = room.connect()
    room.run_for(20 * MINUTE)
    assert not room.claims(connection, NOW - 3 * DAY)
    assert room.claims(connection, NOW - DAY)
    assert room.items(connection).open_gaps


def test_a_stream_without_a_key_does_not_replace_discovery():
    """A package that names a stream with the empty key fails its discovery, and nothing of it is stored."""

    def discover_badly(context, window, cursor):
        page = yield from discover(context, window, cursor)
        return attrs.evolve(page, streams=(*page.streams, Stream(key=DISCOVERY, name="nothing")))

    room = Room(discover=discover_badly)
    connection = room.connect()
    room.run_for(2 * MINUTE)
    row = room.stream(connection, DISCOVERY)
    assert (row.status, row.stream.name) == (StreamStatus.BLOCKED, "the list of what there is")


def test_a_discovery_without_end_fails():
    """A list of streams that never ends is said, and keeps the known ones from nothing."""

    endless = []

    def discover_on(context, window, cursor):
        if not endless:
            return (yield from discover(context, window, cursor))
        return DiscoveryPage(cursor={"page": 0 if cursor is None else cursor["page"] + 1})

    room = Room(discover=discover_on)
    connection = room.connect()
    room.run_for(MINUTE)
    endless.append(1)
    room.vendor.put("b", 4)
    room.run_for(20 * MINUTE, step=5 * MINUTE)
    assert room.stream(connection, DISCOVERY).status is StreamStatus.BLOCKED
    assert key("b", 4) in room.seen()


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limited", ["/api/boxitem/", "/api/boxes"])
def test_one_call_that_is_limited_for_ever_starves_nothing_else(limited):
    """What is limited takes its turn like everything else, also a parked thing and the list of streams."""
    room = Room()
    connection = room.connect()
    room.run_for(20 * MINUTE)
    for number in (4, 5):
        room.vendor.put("b", number, detailed=True)
        room.vendor.broken[f"b-{number}"] = 403
    room.run_for(20 * MINUTE)
    assert len(room.parked(connection)) == 2

    def before(request):
        path = request.url.split("?")[0]
        if path.endswith(limited) or (limited.endswith("/") and limited in path):
            return answer(status=429, retry_after="30")
        return None

    room.vendor.before = before
    room.vendor.put("c", 4)
    room.run_for(2 * HOUR)
    assert key("c", 4) in room.seen()


def test_history_that_is_limited_for_ever_starves_nothing_new():
    """While a history is limited at every try, what is new is read."""

    def read_slowly(context, stream, window, cursor):
        if window.mode is SyncMode.BACKFILL:
            yield HttpRequest(method="GET", url=f"{HOST}/api/slow")
        return (yield from read_page(context, stream, window, cursor))

    room = Room(read_page=read_slowly)
    room.vendor.before = lambda request: answer(status=429, retry_after="30") if request.url.endswith("/slow") else None
    room.connect()
    room.run_for(20 * MINUTE)
    room.vendor.put("c", 4)
    room.run_for(HOUR)
    assert key("c", 4) in room.seen()


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_leaves_no_time_unread():
    """After our clock has been two hours ahead, what happens is read at once, and nothing of the future is proven."""
    lows = []

    def noting(context, stream, window, cursor):
        lows.append((window.low, window.high))
        return (yield from read_page(context, stream, window, cursor))

    room = Room(read_page=noting)
    connection = room.connect()
    room.run_for(5 * HOUR, step=5 * MINUTE)
    room.clock.advance(-2 * HOUR)
    room.vendor.put("b", 4)
    at = room.clock.now()
    lows.clear()
    room.connectors.jobs.request(TENANT, connection.id, "incremental")
    room.run_for(20 * MINUTE)
    assert key("b", 4) in room.seen()
    assert min(low for low, _ in lows) <= at
    assert not room.claims(connection, room.clock.now() + HOUR)
