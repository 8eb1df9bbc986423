"""How calendars are read."""

from datetime import timedelta

import pytest
from tests.support.google import (
    DANA,
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

from connectors.domain.model.errors import RateLimitedError, UnexpectedResponseError
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_calendar.sync import PARAMETERS_HASH

CONTEXT = SyncContext(app=make_app(GOOGLE_CALENDAR), connection=make_connection(GOOGLE_CALENDAR))
PLAN = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=NOW)
STATE = {"token": "t1", "parameters": PARAMETERS_HASH, "read_at": "2026-11-20T09:00:00Z"}
WORK = {"id": "a", "name": "A", "token": "t1", "page": None, "window": {"known_from": "2026-11-20T10:00:00Z"}}
CURSOR = {"calendars": {"a": STATE, "b": STATE}, "work": [WORK, {**WORK, "id": "b"}]}


def read(cursor, *responses):
    answer = script(*responses)
    page = converse(GOOGLE_CALENDAR, GOOGLE_CALENDAR.sync.read_page(CONTEXT, PLAN, cursor), answer)
    return page, answer.asked


def start(last, *, mode=SyncMode.INCREMENTAL, target=None):
    plan = SyncPlan(mode=mode, started_at=NOW, last_cursor=last, target=target)
    answer = script(reply({"items": [{"id": "a"}, {"id": "b"}]}))
    return converse(GOOGLE_CALENDAR, GOOGLE_CALENDAR.sync.start(CONTEXT, plan), answer)


def test_a_first_read_reports_nothing_old():
    """What was there before the account was connected is only remembered."""
    google = Google.new()
    google.world.create_event("Old", by=DANA, age_days=3)
    driver = google.connect(GOOGLE_CALENDAR)
    assert driver.sync() == []
    assert len(driver.snapshots) == 1


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
    """410 of either form: a full pass, a reported gap, and only what is really new."""
    google = Google.new()
    kept = google.world.create_event("Kept", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(since=NOW - timedelta(days=1))
    google.pass_time(hours=1)
    google.world.update_event(kept, calendar_id=DANA, summary="Changed")
    google.world.expire_sync_tokens(DANA, with_reason=with_reason)
    driver.pages.clear()
    assert len(driver.sync()) == 1
    assert [bool(page.gap) for page in driver.pages] == [True, False]
    assert driver.sync() == []


def test_a_full_pass_begins_again_only_once():
    """A lapsed page token is retried once; retrying 410 for every page would never end."""
    full = {**WORK, "token": None, "page": "p2"}
    page, _ = read({"calendars": {}, "work": [full]}, error_reply(410, "fullSyncRequired"))
    again, _ = read(page.cursor, reply({"items": [], "nextPageToken": "p2"}))
    with pytest.raises(UnexpectedResponseError):
        read(again.cursor, error_reply(410, "fullSyncRequired"))


def test_a_cancelled_stub_gets_the_title_that_was_known():
    """A bare id is filled in from memory."""
    google = Google.new()
    google.world.calendars.stub_share = 1.0
    event = google.world.create_event("Standup", by=DANA)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(since=NOW - timedelta(days=1))
    google.world.cancel_event(event, calendar_id=DANA)
    driver.sync()
    assert driver.kinds()[-1] == ("calendar_event_cancelled", "Standup")


def test_a_targeted_read_before_any_other_reports_what_came_since_the_connection():
    """A push for one calendar may lead to its first read: the announced change is reported, not taken as baseline."""
    google = Google.new()
    google.world.create_event("Old", by=DANA, age_days=3)
    driver = google.connect(GOOGLE_CALENDAR)
    google.pass_time(minutes=1)
    google.world.create_event("New", by=DANA)
    driver.sync(target=DANA)
    assert driver.kinds() == [("calendar_event_created", "New")]


def test_a_calendar_that_is_gone_is_dropped():
    """The cursor of a lost calendar is dropped, the others are read."""
    page, _ = read(CURSOR, error_reply(404, "notFound"))
    assert set(page.cursor["calendars"]) == {"b"}
    assert [work["id"] for work in page.cursor["work"]] == ["b"]


def test_a_limit_is_no_lost_calendar():
    """403 for the rate ends the page, not the calendar."""
    with pytest.raises(RateLimitedError):
        read(CURSOR, error_reply(403, "rateLimitExceeded"))


def test_the_frozen_parameters_go_with_every_request():
    """All passes use the same parameters, and none that a token forbids."""
    _, asked = read(CURSOR, reply({"nextPageToken": "p2"}))
    query = query_of(asked[0])
    assert query == {"singleEvents": "false", "showDeleted": "true", "maxResults": "500", "syncToken": "t1"}


def test_a_token_of_other_parameters_is_not_used():
    """After a change of the parameters the calendar is read in full."""
    cursor = start({"calendars": {"a": STATE, "b": {**STATE, "parameters": "other"}}})
    assert [work["token"] for work in cursor["work"]] == ["t1", None]


def test_a_backfill_is_a_full_pass():
    """Stored tokens are left alone; a target narrows the work."""
    last = {"calendars": {"a": STATE, "gone": STATE}}
    assert [work["token"] for work in start(last, mode=SyncMode.BACKFILL)["work"]] == [None, None]
    assert set(start(last)["calendars"]) == {"a"}
    assert [work["id"] for work in start(last, target="b")["work"]] == ["b"]


@pytest.mark.parametrize("document", [{}, {"items": []}, {"nextSyncToken": 7}])
def test_a_last_page_without_token_is_an_error(document):
    """Without a token there would be no cursor."""
    with pytest.raises(UnexpectedResponseError):
        read(CURSOR, reply(document))


def test_a_list_that_repeats_its_token_is_an_error():
    """A token that repeats would never end."""
    with pytest.raises(UnexpectedResponseError):
        read({**CURSOR, "work": [{**WORK, "page": "p"}]}, reply({"nextPageToken": "p"}))


def test_an_explicit_end_bounds_a_backfill():
    """Nothing outside the requested window is reported."""
    google = Google.new()
    google.world.create_event("Before", by=DANA, age_days=20)
    google.world.create_event("Within", by=DANA, age_days=10)
    google.world.create_event("After", by=DANA, age_days=2)
    driver = google.connect(GOOGLE_CALENDAR)
    driver.backfill(since=NOW - timedelta(days=15), until=NOW - timedelta(days=5))
    assert [title for _, title in driver.kinds()] == ["Within"]


class LateCalendar:
    """A calendar whose pages count positions and whose token is of the end of its pass: the worst allowed case."""

    def __init__(self, count):
        self.ticks = 0
        self.events = {}
        for number in range(count):
            self.touch(f"e{number}")

    def touch(self, name, **changes):
        self.ticks += 1
        at = rfc3339(NOW + timedelta(seconds=self.ticks))
        self.events[name] = {"created": rfc3339(NOW), **self.events.get(name, {}), "id": name, "updated": at, **changes}

    def answer(self, request):
        if "calendarList" in request.url:
            return reply({"items": [{"id": "a"}]})
        query = query_of(request)
        found = [event for event in self.events.values() if event["updated"] >= query.get("updatedMin", "")]
        if "syncToken" in query:
            found = [event for event in found if event["updated"] > query["syncToken"]]
        begin = int(query.get("pageToken", 0))
        ahead = {"nextPageToken": str(begin + 3)} if begin + 3 < len(found) else {"nextSyncToken": self.token()}
        return reply({"items": found[begin : begin + 3], **ahead})

    def token(self):
        return rfc3339(NOW + timedelta(seconds=self.ticks))


@pytest.mark.parametrize("mode", list(SyncMode))
def test_no_change_slips_through_a_pass_of_several_pages(mode):
    """Edits, cancellations and additions behind the sync run are reported, even if the pass's token misses them."""
    calendar = LateCalendar(10)
    plan = SyncPlan(mode=mode, started_at=NOW, last_cursor={"calendars": {"a": {**STATE, "token": rfc3339(NOW)}}})
    cursor = converse(GOOGLE_CALENDAR, GOOGLE_CALENDAR.sync.start(CONTEXT, plan), calendar.answer)
    seen, pages, done = {}, 0, False
    while not done:
        page = converse(GOOGLE_CALENDAR, GOOGLE_CALENDAR.sync.read_page(CONTEXT, plan, cursor), calendar.answer)
        cursor, done, pages = page.cursor, page.done, pages + 1
        seen |= {one.state["item"]["id"]: one.state["item"] for one in page.observations}
        if pages == 2:
            calendar.touch("e0", summary="Changed")
            calendar.touch("e1", status="cancelled")
            calendar.touch("new")
    assert seen == calendar.events
    assert cursor["calendars"]["a"]["token"] == calendar.token()


def test_a_pass_of_one_page_needs_no_catch_up():
    """The answer and its token are of one instant."""
    page, _ = read(CURSOR, reply({"items": [], "nextSyncToken": "t2"}))
    assert [work["id"] for work in page.cursor["work"]] == ["b"]


def test_a_catch_up_that_comes_too_late_repeats_its_pass():
    """`updatedMin` covers only some weeks; beyond them the pass is repeated, once."""
    late = {**WORK, "token": None, "catch_up": "2026-10-01T00:00:00Z"}
    page, _ = read({"calendars": {"a": STATE}, "work": [late]}, error_reply(410, "updatedMinTooLongAgo"))
    assert (page.cursor["work"][0]["catch_up"], page.cursor["work"][0]["restarted"]) == (None, True)
    with pytest.raises(UnexpectedResponseError):
        read({**page.cursor, "work": [{**late, "restarted": True}]}, error_reply(410, "updatedMinTooLongAgo"))
