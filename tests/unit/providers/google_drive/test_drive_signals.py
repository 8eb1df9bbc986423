"""What Drive's changes mean."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, converse, make_app, make_connection, reply, script
from tests.support.google_fixtures import assert_expected, load_fixtures

from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.sync import Interpretation, SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive import GOOGLE_DRIVE
from connectors.domain.providers.google_drive.payloads import Change, read_change, read_file
from connectors.domain.providers.google_drive.signals import observe_change, observe_file

FIXTURES = load_fixtures(Path(__file__).parent / "fixtures")
CONTEXT = SyncContext(app=make_app(GOOGLE_DRIVE), connection=make_connection(GOOGLE_DRIVE))
PLAN = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=NOW)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WHOLE = FIXTURES["file__trashed_in_shared_drive"]["change"]


def interpret(change, baseline, known):
    return GOOGLE_DRIVE.sync.interpret(CONTEXT, PLAN, observe_change(change, baseline), known)


@pytest.mark.parametrize("name", FIXTURES)
def test_each_row_of_the_table(name):
    """A change compared with the known state gives the signals of its rows."""
    fixture = FIXTURES[name]
    change = read_change(fixture["change"])
    assert isinstance(change, Change)
    meaning = interpret(change, read_instant(fixture["baseline"]), fixture["known"])
    assert len(meaning.signals) == len(fixture["expected"])
    for draft, expected in zip(meaning.signals, fixture["expected"], strict=True):
        assert_expected(draft, expected)
    assert (meaning.snapshot is None) is change.removed
    if change.file is not None:
        # Seen once more, nothing has changed.
        again = interpret(change, read_instant(fixture["baseline"]), meaning.snapshot)
        assert again == Interpretation(snapshot=meaning.snapshot)


def test_a_file_that_only_left_the_log_is_not_deleted():
    """Drive removes it from the log and still describes it: the account sees it in another location."""
    fixture = FIXTURES["file__moved"]
    change = read_change({**fixture["change"], "removed": True})
    assert isinstance(change, Change)
    meaning = interpret(change, read_instant(fixture["baseline"]), fixture["known"])
    assert [draft.kind for draft in meaning.signals] == ["file_moved"]
    assert meaning.snapshot is not None


def test_each_kind_has_a_fixture():
    """Every row has a case."""
    assert {draft["kind"] for one in FIXTURES.values() for draft in one["expected"]} == set(GOOGLE_DRIVE.kinds)


def test_a_listing_leaves_what_was_known():
    """A backfill reports creations and updates by their times, and does not hide a rename from the change log."""
    document = FIXTURES["file__updated"]["change"]["file"]
    known = FIXTURES["file__renamed"]["known"]
    observation = observe_file(read_file(document), document, None, None, is_in_window=True)
    meaning = GOOGLE_DRIVE.sync.interpret(CONTEXT, PLAN, observation, known)
    assert [draft.dedupe_key for draft in meaning.signals] == [
        "gdrive:1098:1AbC:created",
        "gdrive:1098:1AbC:updated:2026-11-20T10:15:30.900Z",
    ]
    assert meaning.snapshot == known


@pytest.mark.parametrize("name", ["modifiedTime", "sharedWithMeTime"])
@pytest.mark.parametrize(("minutes", "kinds"), [(1, ["file_created", "file_updated"]), (-60, [])])
def test_a_listing_hides_nothing_from_the_change_log(name, minutes, kinds):
    """What happened since the log was last read may be listed before the log is read again: the log reports it then."""
    change = read_change(FIXTURES["file__updated"]["change"])
    old = {"modifiedTime": "2026-11-02T10:00:00.000Z"}
    document = {**change.document["file"], **old, name: rfc3339(NOW + timedelta(minutes=minutes))}
    observation = observe_file(read_file(document), document, None, None, is_in_window=False)
    known = GOOGLE_DRIVE.sync.interpret(CONTEXT, PLAN, observation, None).snapshot
    change = read_change({**change.document, "file": document})
    assert [draft.kind for draft in interpret(change, NOW, known).signals] == kinds


@given(st.sampled_from(["", *WHOLE, *(f"file.{name}" for name in WHOLE["file"])]), ANY)
def test_no_foreign_value_breaks_a_page(path, value):
    """Whatever types its fields have, an item is read or skipped, and its page is still read."""
    outer, _, inner = path.partition(".")
    document = {**WHOLE, outer: value} if not inner else {**WHOLE, "file": {**WHOLE["file"], inner: value}}
    answer = script(reply({"changes": [document, value], "newStartPageToken": "9"}))
    cursor = {"tokens": {"user": "8"}, "baseline": "2026-11-10T00:00:00Z", "work": [{"pass": "changes", "log": "user"}]}
    page = converse(GOOGLE_DRIVE, GOOGLE_DRIVE.sync.read_page(CONTEXT, PLAN, cursor), answer)
    assert page.done
    for observation in page.observations:
        for known in (None, FIXTURES["file__updated"]["known"], {"name": value, "parents": value}):
            for draft in GOOGLE_DRIVE.sync.interpret(CONTEXT, PLAN, observation, known).signals:
                assert draft.kind in GOOGLE_DRIVE.kinds
                draft.dedupe_key.encode()
                draft.title.encode()
