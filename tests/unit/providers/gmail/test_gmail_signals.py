"""What Gmail's history means."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, converse, error_reply, make_app, make_connection, reply
from tests.support.google_fixtures import assert_expected, load_fixtures

from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail import GMAIL

FIXTURES = load_fixtures(Path(__file__).parent / "fixtures")
EVER = datetime(2000, 1, 1, tzinfo=UTC)
WINDOW = Window(mode=SyncMode.INCREMENTAL, low=EVER, high=NOW, floor=EVER, bookmark={"history_id": "1230"})
STREAM = Stream(key="mailbox", name="dana@x.com")
WHOLE = FIXTURES["message__received"]["message"]
HISTORY = FIXTURES["message__received_then_trashed"]["history"]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(history, message, *, known=None, label_events="false"):
    context = SyncContext(app=make_app(GMAIL, label_events=label_events), connection=make_connection(GMAIL))

    def answer(request):
        if "/history" in request.url:
            return reply({"history": history, "historyId": "1250"})
        return error_reply(404, "notFound") if message is None else reply(message)

    page = converse(GMAIL, GMAIL.streams.read_page(context, STREAM, WINDOW, None), answer)
    assert page.cursor is None
    drafts = []
    for observation in page.observations:
        drafts += GMAIL.streams.interpret(context, WINDOW, observation, known).signals
    return page, drafts


@pytest.mark.parametrize("name", FIXTURES)
def test_each_row_of_the_table(name):
    """A page of history and the message as it is now give the signals of their rows."""
    fixture = FIXTURES[name]
    _, drafts = read(
        fixture["history"], fixture["message"], known=fixture["known"], label_events=fixture["label_events"] or "false"
    )
    assert len(drafts) == len(fixture["expected"])
    for draft, expected in zip(drafts, fixture["expected"], strict=True):
        assert_expected(draft, expected)


def test_each_kind_has_a_fixture():
    """Every row has a case."""
    assert {draft["kind"] for one in FIXTURES.values() for draft in one["expected"]} == set(GMAIL.kinds)


@given(st.sampled_from(["", *WHOLE, "new"]), ANY)
def test_no_foreign_message_breaks_a_page(name, value):
    """Whatever types its fields have, a message is read or parked."""
    _, drafts = read(HISTORY, {**WHOLE, name: value}, label_events="true")
    for draft in drafts:
        assert draft.kind in GMAIL.kinds
        draft.dedupe_key.encode()
        draft.title.encode()


@given(st.sampled_from(["id", "messages", "messagesAdded", "labelsAdded", "labelsRemoved", "messagesDeleted"]), ANY)
def test_no_foreign_record_breaks_a_page(name, value):
    """Any part of a record of any type: the page goes on and the bookmark moves."""
    page, _ = read([{**HISTORY[0], name: value}, value, *HISTORY], WHOLE, label_events="true")
    assert page.bookmark["history_id"] == "1250"
