"""What Calendar's events mean."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, converse, make_app, make_connection, reply, script
from tests.support.google_fixtures import assert_expected, load_fixtures

from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_calendar.payloads import Calendar, Event, read_event_item
from connectors.domain.providers.google_calendar.signals import observe
from connectors.domain.providers.google_calendar.streams import PARAMETERS_HASH

FIXTURES = load_fixtures(Path(__file__).parent / "fixtures")
CONTEXT = SyncContext(app=make_app(GOOGLE_CALENDAR), connection=make_connection(GOOGLE_CALENDAR))
EVER = datetime(2000, 1, 1, tzinfo=UTC)
WINDOW = Window(
    mode=SyncMode.INCREMENTAL,
    low=EVER,
    high=NOW,
    floor=EVER,
    bookmark={"token": "t1", "parameters": PARAMETERS_HASH},
)
STREAMS = GOOGLE_CALENDAR.streams
CALENDAR = Calendar(id="dana@x.com", name="dana@x.com")
WHOLE = FIXTURES["event__updated"]["item"]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def interpret(item, known, *, is_full=False):
    event = read_event_item(item)
    assert isinstance(event, Event)
    return STREAMS.interpret(CONTEXT, WINDOW, observe(CALENDAR, event, item, is_full=is_full), known)


@pytest.mark.parametrize("name", FIXTURES)
def test_each_row_of_the_table(name):
    """An item's own fields decide its signal; what was known only completes it and adds attributes."""
    fixture = FIXTURES[name]
    meaning = interpret(fixture["item"], fixture["known"], is_full=fixture["is_full"])
    if fixture["expected"] is None:
        assert meaning.signals == ()
        return
    (draft,) = meaning.signals
    assert_expected(draft, fixture["expected"])


def test_each_kind_has_a_fixture():
    """Every row has a case."""
    assert {one["expected"]["kind"] for one in FIXTURES.values() if one["expected"]} == set(GOOGLE_CALENDAR.kinds)


@pytest.mark.parametrize("name", [name for name in FIXTURES if FIXTURES[name]["expected"]])
def test_kind_and_key_do_not_depend_on_what_was_known(name):
    """A pass after a lost token agrees with the push that came first."""
    item = FIXTURES[name]["item"]
    known = FIXTURES["event__rescheduled"]["known"]
    (with_memory,) = interpret(item, known).signals
    (without,) = interpret(item, None).signals
    assert (with_memory.kind, with_memory.dedupe_key) == (without.kind, without.dedupe_key)


def test_an_event_that_is_edited_at_once_is_created_once():
    """Seconds after its creation, an edit that we see apart from it is an edit; a repeated reading is the creation."""
    item = FIXTURES["event__created"]["item"]
    meaning = interpret(item, None)
    assert [draft.kind for draft in meaning.signals] == ["calendar_event_created"]
    again = interpret(item, meaning.snapshot)
    assert again == meaning
    edited = {**item, "updated": "2026-11-19T09:00:03.500Z", "summary": "Another title"}
    assert [draft.kind for draft in interpret(edited, None).signals] == ["calendar_event_created"]
    assert [draft.kind for draft in interpret(edited, meaning.snapshot).signals] == ["calendar_event_updated"]


def test_a_stub_that_is_not_reported_is_not_remembered():
    """A full pass does not report an undated cancellation: the token's own pass still has to."""
    stub = FIXTURES["event__cancelled_stub"]["item"]
    assert interpret(stub, None, is_full=True).snapshot is None
    assert interpret(stub, None).signals


@given(st.sampled_from(["", *WHOLE, "new"]), ANY)
def test_no_foreign_value_breaks_a_page(name, value):
    """Whatever types its fields have, an item is read or parked, and the stream moves on."""
    items = [{**WHOLE, name: value}, value, {"id": "x", "status": "cancelled", name: value}]
    answer = script(reply({"items": items, "nextSyncToken": "t2", "summary": value}))
    stream = Stream(key="calendar:dana@x.com", name="d", data={"id": "dana@x.com"})
    page = converse(GOOGLE_CALENDAR, STREAMS.read_page(CONTEXT, stream, WINDOW, None), answer)
    assert page.cursor is None
    assert page.bookmark["token"] == "t2"
    assert page.parked
    for observation in page.observations:
        for known in (None, {"title": value, "url": value, "person": value, "event_type": value}):
            for draft in STREAMS.interpret(CONTEXT, WINDOW, observation, known).signals:
                assert draft.kind in GOOGLE_CALENDAR.kinds
                draft.dedupe_key.encode()
                draft.title.encode()
