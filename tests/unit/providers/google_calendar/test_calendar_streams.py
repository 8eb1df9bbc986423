"""How calendars are read."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import (
    DANA,
    LEE,
    NOW,
    Google,
    converse,
    error_reply,
    make_app,
    make_connection,
    query_of,
    reply,
    script,
)
from tests.support.stream_reader import StreamReader

from connectors.domain.model.errors import AccessLostError, RateLimitedError, UnexpectedResponseError
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.streams import ParkedItem, Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers._google.ids import NAMELESS
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_calendar.calendars import FAMILY_NAMES, stream_key
from connectors.domain.providers.google_calendar.old_cursor import split_cursor
from connectors.domain.providers.google_calendar.streams import PARAMETERS_HASH

CONTEXT = SyncContext(app=make_app(GOOGLE_CALENDAR), connection=make_connection(GOOGLE_CALENDAR))
STREAMS = GOOGLE_CALENDAR.streams
STREAM = Stream(key="calendar:a", name="A", data={"id": "a"})
BOOKMARK = {"token": "t1", "parameters": PARAMETERS_HASH}
FIRST = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW)
NEXT = attrs.evolve(FIRST, bookmark=BOOKMARK)
HISTORY = attrs.evolve(FIRST, mode=SyncMode.BACKFILL, low=NOW - timedelta(days=9), floor=NOW - timedelta(days=9))
WEEK = NOW - timedelta(days=7)


def read(window, cursor, *responses):
    answer = script(*responses)
    page = converse(GOOGLE_CALENDAR, STREAMS.read_page(CONTEXT, STREAM, window, cursor), answer)
    return page, answer.asked


def reader_of(answer, context=CONTEXT, floor=NOW):
    return StreamReader(
        streams=STREAMS,
        context=context,
        converse=lambda conversation: converse(GOOGLE_CALENDAR, conversation, answer),
        floor=floor,
    )


# --- passes --------------------------------------------------------------------------------------------------------


def test_a_first_read_reports_nothing_old():
    """What was there before the account was connected is only remembered."""
    google = Google.new()
    google.world.create_event("Old", by=DANA, age_days=3)
    driver = google.connect(GOOGLE_CALENDAR)
    assert driver.sync() == []
    assert len(driver.snapshots) == 1
    assert driver.pages[-1].read_from == NOW


def test_a_first_read_reports_all_that_is_wanted():
    """A baseline lists everything, so what a backfill has asked for by then is read with it."""
    google = Google.new()
    google.world.create_event("Old", by=DANA, age_days=3)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.reader.floor = WEEK
    assert len(driver.sync()) == 1
    assert driver.pages[-1].read_from == WEEK
    assert driver.backfill(WEEK) == []


def test_empty_pages_are_followed():
    """A page without items and with a token is not the last."""
    google = Google.new()
    google.world.calendars.sends_empty_pages = True
    for number in range(1100):
        google.world.create_event(f"Event {number}", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(since=NOW - timedelta(days=1))
    assert len(driver.signals) == 1100
    assert 0 in [page.items for page in driver.pages]


@pytest.mark.parametrize("with_reason", [True, False])
def test_a_lapsed_token_reads_all_again_without_doubling(with_reason):
    """410 of either form: the bookmark is lost, and a full pass gives only what is really new."""
    google = Google.new()
    kept = google.world.create_event("Kept", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.sync()
    google.pass_time(hours=1)
    google.world.update_event(kept, calendar_id=DANA, summary="Changed")
    google.world.expire_sync_tokens(DANA, with_reason=with_reason)
    driver.reader.pages.clear()
    assert len(driver.sync()) == 1
    assert [bool(page.lost) for page in driver.pages] == [True, False, False]
    assert driver.sync() == []


def test_a_damaged_token_is_lost_too():
    """400 for the token itself would otherwise be repeated for ever; any other 400 is an error."""
    page, _ = read(NEXT, None, error_reply(400, "invalid", location="syncToken"))
    assert page.lost
    for window, location in ((NEXT, "pageToken"), (NEXT, None), (FIRST, "syncToken")):
        with pytest.raises(UnexpectedResponseError):
            read(window, None, error_reply(400, "invalid", location=location))


@pytest.mark.parametrize("status", [400, 410])
@pytest.mark.parametrize("window", [FIRST, HISTORY])
def test_a_full_pass_whose_page_token_has_lapsed_is_an_error(window, status):
    """It says nothing of the account's access: the engine begins the pass again."""
    with pytest.raises(UnexpectedResponseError):
        read(window, {"bookmark": None, "page": "p2"}, error_reply(status, "fullSyncRequired"))


def test_a_cancelled_stub_gets_the_title_that_was_known():
    """A bare id is filled in from memory."""
    google = Google.new()
    google.world.calendars.stub_share = 1.0
    event = google.world.create_event("Standup", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.sync()
    google.world.cancel_event(event, calendar_id=DANA)
    driver.sync()
    assert driver.kinds()[-1] == ("calendar_event_cancelled", "Standup")


def test_a_cancelled_stub_of_a_known_event_survives_a_lost_token():
    """The baseline after it reports the cancellation, although it has no date."""
    google = Google.new()
    google.world.calendars.stub_share = 1.0
    event = google.world.create_event("Standup", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.sync()
    google.world.cancel_event(event, calendar_id=DANA)
    google.world.expire_sync_tokens(DANA)
    assert driver.backfill(WEEK) == []
    driver.sync()
    assert driver.kinds()[-1] == ("calendar_event_cancelled", "Standup")


def test_a_cancelled_stub_of_an_unknown_event_is_reported_only_as_a_change():
    """A full pass and a catch-up show such ids from long ago; a pass from a token shows what has changed."""
    catch_up = {"bookmark": BOOKMARK, "page": None}
    for window, cursor, kinds in ((FIRST, None, []), (NEXT, catch_up, []), (NEXT, None, ["calendar_event_cancelled"])):
        page, _ = read(window, cursor, reply({"items": [{"id": "e", "status": "cancelled"}], "nextSyncToken": "t2"}))
        (observation,) = page.observations
        meaning = STREAMS.interpret(CONTEXT, window, observation, None)
        assert [draft.kind for draft in meaning.signals] == kinds
        assert (meaning.snapshot is None) == (not kinds)


def test_a_read_that_a_push_asks_for_reports_what_came_since_the_connection():
    """A push for one calendar may lead to its first read: the announced change is reported, not taken as baseline."""
    google = Google.new()
    google.world.create_event("Old", by=DANA, age_days=3)
    driver = google.connect(GOOGLE_CALENDAR)
    google.pass_time(minutes=1)
    google.world.create_event("New", by=DANA)
    driver.reader.discover(google.now)
    driver.reader.read_stream(f"calendar:{DANA}", google.now)
    assert driver.kinds() == [("calendar_event_created", "New")]


def test_a_limit_is_no_lost_calendar():
    """403 for the rate concerns the connection, not the calendar."""
    with pytest.raises(RateLimitedError):
        read(NEXT, None, error_reply(403, "rateLimitExceeded"))


def test_the_frozen_parameters_go_with_every_request():
    """All passes use the same parameters, and none that a token forbids."""
    _, asked = read(NEXT, None, reply({"items": [], "nextPageToken": "p2"}))
    query = query_of(asked[0])
    assert query == {"singleEvents": "false", "showDeleted": "true", "maxResults": "500", "syncToken": "t1"}


def test_a_token_of_other_parameters_is_not_used():
    """After a change of the parameters the calendar is read in full."""
    changed = attrs.evolve(FIRST, bookmark={**BOOKMARK, "parameters": "other"})
    page, asked = read(changed, None, reply({"items": [], "nextSyncToken": "t2"}))
    assert "syncToken" not in query_of(asked[0])
    assert (page.bookmark, page.read_from) == ({"token": "t2", "parameters": PARAMETERS_HASH}, NOW)


def test_a_backfill_is_a_full_pass():
    """Its token is left alone: the incremental runs have their own."""
    page, asked = read(HISTORY, None, reply({"items": [], "nextSyncToken": "t2"}))
    assert "syncToken" not in query_of(asked[0])
    assert (page.cursor, page.bookmark, page.read_from) == (None, None, None)


@pytest.mark.parametrize("document", [{}, {"items": []}, {"nextSyncToken": 7}])
def test_a_last_page_without_token_is_an_error(document):
    """Without a token there would be no bookmark."""
    with pytest.raises(UnexpectedResponseError):
        read(NEXT, None, reply(document))


@pytest.mark.parametrize("bookmark", [None, BOOKMARK])
def test_a_list_that_repeats_its_token_gives_equal_cursors(bookmark):
    """Page tokens A, B, A: the engine notices the circle by the cursors, in a pass and in a catch-up."""
    cursors = [{"bookmark": bookmark, "page": "a"}]
    for following in ("b", "a"):
        page, _ = read(FIRST, cursors[-1], reply({"items": [], "nextPageToken": following}))
        cursors.append(page.cursor)
    assert cursors[0] == cursors[2] != cursors[1]


def test_an_explicit_end_bounds_a_backfill():
    """Nothing outside the requested window is reported."""
    google = Google.new()
    google.world.create_event("Before", by=DANA, age_days=20)
    google.world.create_event("Within", by=DANA, age_days=10)
    google.world.create_event("After", by=DANA, age_days=2)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(since=NOW - timedelta(days=15), until=NOW - timedelta(days=5))
    assert [title for _, title in driver.kinds()] == ["Within"]


def test_a_backfill_leaves_later_cancellations_to_the_incremental_run():
    """One that a bounded backfill saw with its date is still reported when the token shows it as a bare id."""
    whole = {"id": "e", "status": "confirmed", "created": rfc3339(WEEK), "updated": rfc3339(WEEK), "summary": "S"}
    cancelled = {**whole, "status": "cancelled", "updated": rfc3339(NOW)}
    stub = {"id": "e", "status": "cancelled"}
    answer = script(
        reply({"items": [{"id": "a"}]}),
        reply({"items": [whole], "nextSyncToken": "t1"}),
        reply({"items": [{"id": "a"}]}),
        reply({"items": [cancelled], "nextSyncToken": "t2"}),
        reply({"items": [{"id": "a"}]}),
        reply({"items": [stub], "nextSyncToken": "t3"}),
    )
    reader = reader_of(answer)
    reader.read(NOW)
    reader.backfill(NOW - timedelta(days=9), NOW, until=NOW - timedelta(days=1))
    reader.read(NOW + timedelta(minutes=1))
    assert [draft.kind for draft in reader.signals] == ["calendar_event_cancelled"]


def test_a_pass_of_one_page_needs_no_catch_up():
    """The answer and its token are of one instant."""
    page, _ = read(NEXT, None, reply({"items": [], "nextSyncToken": "t2"}))
    assert (page.cursor, page.bookmark["token"], page.read_from) == (None, "t2", None)


def test_a_catch_up_that_comes_too_late_is_an_error():
    """`updatedMin` covers only some weeks; beyond them the pass is repeated."""
    page, _ = read(NEXT, {"bookmark": None, "page": "p2"}, reply({"items": [], "nextSyncToken": "t2"}))
    with pytest.raises(UnexpectedResponseError):
        read(NEXT, page.cursor, error_reply(410, "updatedMinTooLongAgo"))


class LateCalendar:
    """A calendar whose pages count positions and whose token is of the end of its pass: the worst allowed case."""

    def __init__(self, count):
        self.ticks = 0
        self.asked = 0
        self.events = {}
        self.happen = lambda number: None
        for number in range(count):
            self.touch(f"e{number}")

    def touch(self, name, **changes):
        self.ticks += 1
        at = rfc3339(NOW + timedelta(seconds=self.ticks))
        self.events[name] = {"created": rfc3339(NOW), **self.events.get(name, {}), "id": name, "updated": at, **changes}

    def answer(self, request):
        if "calendarList" in request.url:
            return reply({"items": [{"id": "a"}]})
        self.asked += 1
        self.happen(self.asked)
        query = query_of(request)
        found = [event for event in self.events.values() if event["updated"] >= query.get("updatedMin", "")]
        if "syncToken" in query:
            found = [event for event in found if event["updated"] > query["syncToken"]]
        begin = int(query.get("pageToken", 0))
        ahead = {"nextPageToken": str(begin + 3)} if begin + 3 < len(found) else {"nextSyncToken": self.token()}
        return reply({"items": found[begin : begin + 3], **ahead})

    def token(self):
        return rfc3339(NOW + timedelta(seconds=self.ticks))

    def states(self):
        return {(name, event["updated"]) for name, event in self.events.items()}


changes = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["e0", "e1", "e8", "new", "other"]), st.booleans()), max_size=8
)


@given(changes, st.booleans())
def test_no_change_slips_through_a_pass_of_several_pages(changes, has_bookmark):
    """Edits, cancellations and additions at any point of a pass are reported, even if the pass's token misses them."""
    calendar = LateCalendar(10)
    reader = reader_of(calendar.answer)
    reader.discover(NOW)
    if has_bookmark:
        reader.known["calendar:a"].bookmark = {"token": rfc3339(NOW), "parameters": PARAMETERS_HASH}

    def happen(number):
        for at, name, is_cancelled in changes:
            if at == number:
                calendar.touch(name, status="cancelled" if is_cancelled else "confirmed")

    calendar.happen = happen
    reader.read(NOW + timedelta(minutes=3))
    calendar.happen = lambda number: None
    reader.read(NOW + timedelta(minutes=4))
    assert calendar.states() <= {tuple(key.split(":", 3)[2:]) for key in reader.keys}
    before = reader.keys
    reader.backfill(NOW - timedelta(days=1), NOW + timedelta(minutes=5))
    assert reader.keys == before


@given(st.integers(0, 8))
def test_a_crash_between_pages_loses_and_doubles_nothing(crash_at):
    """A page that was read and not stored is read again, with the same keys."""
    calendar = LateCalendar(10)
    undisturbed, crashed = reader_of(calendar.answer), reader_of(calendar.answer)
    undisturbed.read(NOW + timedelta(minutes=3))
    numbers = iter(range(100))

    def read_page(*position):
        if next(numbers) == crash_at:
            yield from STREAMS.read_page(*position)
        return (yield from STREAMS.read_page(*position))

    crashed.streams = attrs.evolve(STREAMS, read_page=read_page)
    crashed.read(NOW + timedelta(minutes=3))
    assert [draft.dedupe_key for draft in crashed.signals] == [draft.dedupe_key for draft in undisturbed.signals]
    assert crashed.known["calendar:a"].bookmark == undisturbed.known["calendar:a"].bookmark


def test_odd_dates_move_nothing():
    """Events of 1970 and 2099 on the first page: all pages are read, and the next run goes on from the token."""
    calendar = LateCalendar(4)
    odd = {"odd1": "1970-01-01T00:00:00Z", "odd2": "2099-01-01T00:00:00Z"}
    calendar.events = {name: {"id": name, "updated": at} for name, at in odd.items()} | calendar.events
    reader = reader_of(calendar.answer)
    reader.read(NOW)
    assert {key.split(":")[2] for key in reader.keys} == {"odd2", "e0", "e1", "e2", "e3"}
    reader.forget()
    calendar.touch("later")
    reader.read(NOW + timedelta(minutes=1))
    assert "gcal:a:later:2026-11-20T10:00:05Z" in reader.keys


# --- single events -------------------------------------------------------------------------------------------------


def test_an_event_that_cannot_be_read_is_parked_until_it_can():
    """The page goes on without it, and it is asked for by its id."""
    broken = {"id": "b/c", "summary": "Broken"}
    answer = script(
        reply({"items": [{"id": "a"}]}),
        reply({"items": [broken, {"id": "fine", "updated": rfc3339(NOW)}, 7], "nextSyncToken": "t1"}),
        reply(broken),
        reply({**broken, "updated": rfc3339(NOW)}),
        error_reply(404, "notFound"),
        reply({"items": []}),
        error_reply(404, "notFound"),
        error_reply(404, "notFound"),
    )
    reader = reader_of(answer)
    reader.read(NOW)
    assert len(reader.keys) == 1
    (key, item), (_, nameless) = reader.parked
    assert (item.reference, nameless.reference) == ("b/c", NAMELESS)
    assert reader.read_parked(key, item, NOW).parked == (item,)
    assert reader.read_parked(key, item, NOW).parked == ()
    assert f"gcal:a:b/c:{rfc3339(NOW)}" in reader.keys
    assert answer.asked[-1].url.endswith("/calendars/a/events/b%2Fc")
    assert reader.read_parked(key, item, NOW) is None
    with pytest.raises(AccessLostError):
        reader.read_parked(key, item, NOW)  # not the event, but the whole calendar
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, nameless, NOW)
    other = STREAMS.read_item(CONTEXT, STREAM, FIRST, "b/c")
    with pytest.raises(UnexpectedResponseError):
        converse(GOOGLE_CALENDAR, other, script(reply({"id": "other", "updated": rfc3339(NOW)})))


def test_an_event_whose_id_is_too_long_to_be_parked_stays_without_one():
    """A reference has at most 200 characters, and a cut id would be another event's."""
    page, _ = read(FIRST, None, reply({"items": [{"id": "x" * 300}], "nextSyncToken": "t"}))
    assert page.parked == (ParkedItem(reference=NAMELESS, reason="The event does not say when it was updated."),)


# --- the list of calendars -----------------------------------------------------------------------------------------


def test_each_calendar_is_a_stream_of_both_families():
    """The key has the id, which a renaming does not change; pages of the list are followed."""
    first = {"items": [{"id": "a", "summary": "A"}, {"id": "b", "deleted": True}, 7], "nextPageToken": "p2"}
    second = {"items": [{"id": "c d@x", "summary": "C", "summaryOverride": "Mine"}]}
    reader = reader_of(script(reply(first), reply(second)))
    reader.discover(NOW)
    found = {key: known.stream for key, known in reader.known.items()}
    assert {key: one.name for key, one in found.items()} == {"calendar:a": "A", "calendar:c d@x": "Mine"}
    assert {one.families for one in found.values()} == {FAMILY_NAMES}
    assert {family.name for family in GOOGLE_CALENDAR.families} == FAMILY_NAMES


def test_a_list_of_calendars_that_repeats_its_token_gives_equal_cursors():
    """The engine notices the circle; a conversation that reads the whole list ends by itself."""
    cursors = []
    for _ in range(2):
        conversation = STREAMS.discover(CONTEXT, FIRST, {"page": "p", "missing": []})
        cursors.append(
            converse(GOOGLE_CALENDAR, conversation, script(reply({"items": [], "nextPageToken": "p"}))).cursor
        )
    assert cursors[0] == cursors[1]
    targets = GOOGLE_CALENDAR.webhooks.subscriptions.targets(CONTEXT.app, CONTEXT.connection)
    with pytest.raises(UnexpectedResponseError):
        converse(GOOGLE_CALENDAR, targets, lambda request: reply({"items": [], "nextPageToken": "p"}))


def test_chosen_calendars_narrow_what_is_read():
    """One that the list does not show is named as unreadable, wherever in the list the others are."""
    chosen = attrs.evolve(CONTEXT.connection, metadata={"calendars": ["c", "b", "gone", 7]})
    context = attrs.evolve(CONTEXT, connection=chosen)
    first = reply({"items": [{"id": "a"}, {"id": "b"}], "nextPageToken": "p2"})
    second = reply({"items": [{"id": "c", "accessRole": "freeBusyReader"}]})
    one = converse(GOOGLE_CALENDAR, STREAMS.discover(context, FIRST, None), script(first))
    two = converse(GOOGLE_CALENDAR, STREAMS.discover(context, FIRST, one.cursor), script(second))
    streams = (*one.streams, *two.streams)
    assert all(stream.is_chosen for stream in streams)
    found = {stream.key: stream.unreadable for stream in streams}
    assert found.pop("calendar:b") is None
    assert set(found) == {"calendar:c", "calendar:gone"}
    assert all(found.values())
    targets = GOOGLE_CALENDAR.webhooks.subscriptions.targets(CONTEXT.app, chosen)
    assert converse(GOOGLE_CALENDAR, targets, script(first, second)) == ("b",)


@pytest.mark.parametrize("document", [{}, {"items": None}, {"error": {"code": 500}}])
def test_an_answer_that_is_no_list_reads_nothing(document):
    """An error under a good status is neither an empty page of events nor an account without calendars."""
    with pytest.raises(UnexpectedResponseError, match="no list of items"):
        read(HISTORY, None, reply({**document, "nextSyncToken": "t"}))
    with pytest.raises(UnexpectedResponseError, match="no list of items"):
        reader_of(script(reply(document))).discover(NOW)


def test_a_very_long_id_has_a_short_key():
    """Google allows 1024 characters, a key has 200; the id itself is kept beside it."""
    longest = "x" * 1024
    reader = reader_of(script(reply({"items": [{"id": longest}]}), reply({"items": [], "nextSyncToken": "t"})))
    reader.discover(NOW)
    (key,) = reader.known
    assert key == stream_key(longest)
    assert len(key) < 100
    reader.read_stream(key, NOW)
    assert reader.known[key].bookmark["token"] == "t"
    assert len(stream_key("y" * 191)) == 200
    assert "y" * 191 in stream_key("y" * 191)


def test_a_calendar_that_is_refused_keeps_its_bookmark_and_stops_no_other():
    """What happened meanwhile arrives when it can be read again."""
    google = Google.new()
    google.world.add_calendar("team", "Team", owner=LEE)
    google.world.share_calendar("team", DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.sync()
    google.world.unshare_calendar("team", DANA)
    google.world.create_event("Meanwhile", by=LEE, calendar_id="team")
    google.world.create_event("Mine", by=DANA)
    driver.sync()
    assert [title for _, title in driver.kinds()] == ["Mine"]
    assert set(driver.reader.refused) == {"calendar:team"}
    google.world.share_calendar("team", DANA)
    driver.sync()
    assert [title for _, title in driver.kinds()] == ["Mine", "Meanwhile"]
    assert driver.reader.refused == {}


@pytest.mark.parametrize("role", [None, "freeBusyReader"])
def test_a_calendar_that_becomes_readable_later_brings_its_past(role):
    """Its baseline reports all that is wanted, also from before it was shared."""
    google = Google.new()
    google.world.add_calendar("team", "Team", owner=LEE)
    if role is not None:
        google.world.share_calendar("team", DANA, role)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(WEEK)
    driver.sync()
    assert set(driver.reader.known) == {f"calendar:{DANA}"}
    google.world.create_event("Before", by=LEE, calendar_id="team", age_days=3)
    google.world.share_calendar("team", DANA)
    driver.sync()
    assert [title for _, title in driver.kinds()] == ["Before"]


@pytest.mark.parametrize("failure", [error_reply(502, ""), error_reply(400, "invalid"), reply({"items": []})])
def test_one_calendar_that_always_fails_stops_no_other(failure):
    """Each error concerns its stream alone."""

    def answer(request):
        if "calendarList" in request.url:
            return reply({"items": [{"id": "a"}, {"id": "b"}]})
        event = {"id": "e", "updated": rfc3339(NOW)}
        return failure if "/a/" in request.url else reply({"items": [event], "nextSyncToken": "t"})

    reader = reader_of(answer)
    reader.read(NOW)
    assert set(reader.refused) == {"calendar:a"}
    assert reader.keys == {f"gcal:b:e:{rfc3339(NOW)}"}


# --- stored cursors ------------------------------------------------------------------------------------------------


def test_the_old_cursor_becomes_a_bookmark_for_each_calendar():
    """A calendar that had just lost its token gets none, and so a new baseline."""
    state = {**BOOKMARK, "read_at": "2026-11-20T09:00:00Z"}
    old = {"calendars": {"a": state, "b c": state, "lost": {"read_at": "2026-11-20T09:00:00Z"}}}
    assert split_cursor(old) == {"calendar:a": BOOKMARK, "calendar:b c": BOOKMARK}
    assert split_cursor({}) == {}
    _, asked = read(
        attrs.evolve(FIRST, bookmark=split_cursor(old)["calendar:a"]), None, reply({"items": [], "nextSyncToken": "t2"})
    )
    assert query_of(asked[0])["syncToken"] == "t1"
