"""What Drive's changes mean."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, converse, make_app, make_connection, reply, script
from tests.support.google_fixtures import assert_expected, load_fixtures

from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import Interpretation, SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive import GOOGLE_DRIVE
from connectors.domain.providers.google_drive.payloads import Change, read_change, read_file
from connectors.domain.providers.google_drive.signals import observe_change, observe_file

FIXTURES = load_fixtures(Path(__file__).parent / "fixtures")
CONTEXT = SyncContext(app=make_app(GOOGLE_DRIVE), connection=make_connection(GOOGLE_DRIVE))
STREAMS = GOOGLE_DRIVE.streams
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WHOLE = FIXTURES["file__trashed_in_shared_drive"]["change"]


def window_from(floor):
    return Window(mode=SyncMode.INCREMENTAL, low=max(floor, NOW), high=NOW, floor=floor, bookmark={"token": "8"})


def interpret(change, floor, known):
    return STREAMS.interpret(CONTEXT, window_from(floor), observe_change(change), known)


def list_file(document, floor, known):
    observation = observe_file(read_file(document), document, remembers=True)
    return STREAMS.interpret(CONTEXT, window_from(floor), observation, known)


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
    """A listing reports creations and updates by their times, and does not hide a rename from the change log."""
    document = FIXTURES["file__updated"]["change"]["file"]
    known = FIXTURES["file__renamed"]["known"]
    for remembers in (False, True):
        observation = observe_file(read_file(document), document, remembers=remembers)
        meaning = STREAMS.interpret(CONTEXT, window_from(NOW + timedelta(days=1)), observation, known)
        assert [draft.dedupe_key for draft in meaning.signals] == [
            "gdrive:1098:1AbC:created",
            "gdrive:1098:1AbC:updated:2026-11-20T10:15:30.900Z",
        ]
        assert meaning.snapshot == known


@pytest.mark.parametrize(
    ("name", "minutes", "kinds"),
    [
        ("modifiedTime", 1, ["file_updated"]),
        ("modifiedTime", -60, []),
        ("sharedWithMeTime", 1, ["file_created", "file_updated", "file_shared"]),
        ("sharedWithMeTime", -60, []),
    ],
)
def test_a_listing_hides_nothing_from_the_change_log(name, minutes, kinds):
    """What happened since the log's token was taken may be listed before the log is read: the log reports it then."""
    change = read_change(FIXTURES["file__updated"]["change"])
    old = {"modifiedTime": "2026-11-02T10:00:00.000Z"}
    document = {**change.document["file"], **old, name: rfc3339(NOW + timedelta(minutes=minutes))}
    known = list_file(document, NOW, None).snapshot
    change = read_change({**change.document, "file": document})
    assert [draft.kind for draft in interpret(change, NOW, known).signals] == kinds


def test_a_backfill_remembers_nothing():
    """What it shows and nobody knows is newer than what the log was read for: there it is judged as never seen."""
    document = FIXTURES["file__updated"]["change"]["file"]
    observation = observe_file(read_file(document), document, remembers=False)
    assert STREAMS.interpret(CONTEXT, window_from(NOW), observation, None).snapshot is None


@pytest.mark.parametrize("change", [{"modifiedTime": "2026-11-20T12:00:00Z"}, {"trashed": True}])
def test_a_file_that_left_its_position_in_a_listing_is_reported_whole(change):
    """A listing under way misses a file that is edited or trashed: the log reports its creation, too."""
    document = FIXTURES["file__updated"]["change"]["file"]
    old = NOW - timedelta(days=90)
    known = list_file(document, old, None).snapshot
    change = read_change({**FIXTURES["file__updated"]["change"], "file": {**document, **change}})
    kinds = [draft.kind for draft in interpret(change, old, known).signals]
    assert kinds[:2] == ["file_created", "file_updated"]


@given(st.sampled_from(["", *WHOLE, *(f"file.{name}" for name in WHOLE["file"])]), ANY)
def test_no_foreign_value_breaks_a_page(path, value):
    """Whatever types its fields have, an item is read or skipped, and its page is still read."""
    outer, _, inner = path.partition(".")
    document = {**WHOLE, outer: value} if not inner else {**WHOLE, "file": {**WHOLE["file"], inner: value}}
    answer = script(reply({"changes": [document, value], "newStartPageToken": "9"}))
    window = window_from(NOW - timedelta(days=10))
    log = Stream(key="log:user", name="change log of My Drive")
    page = converse(GOOGLE_DRIVE, STREAMS.read_page(CONTEXT, log, window, None), answer)
    assert page.cursor is None
    assert len(page.observations) + len(page.parked) >= 1
    for observation in page.observations:
        for known in (None, FIXTURES["file__updated"]["known"], {"name": value, "parents": value}):
            for draft in STREAMS.interpret(CONTEXT, window, observation, known).signals:
                assert draft.kind in GOOGLE_DRIVE.kinds
                draft.dedupe_key.encode()
                draft.title.encode()


@given(st.sampled_from(["id", "name", "modifiedTime", "createdTime", "parents", "sharedWithMeTime"]), ANY)
def test_no_foreign_value_breaks_a_listing(name, value):
    """Whatever types a file's fields have, it is read or parked, and the list goes on."""
    document = {**WHOLE["file"], name: value}
    answer = script(reply({"files": [document, value, WHOLE["file"]], "nextPageToken": "p2"}))
    log, window = Stream(key="log:user", name="change log of My Drive"), window_from(NOW - timedelta(days=10))
    cursor = {"token": "8", "files": {}}
    page = converse(GOOGLE_DRIVE, STREAMS.read_page(CONTEXT, log, window, cursor), answer)
    assert page.cursor not in (None, cursor)
    for observation in page.observations:
        assert STREAMS.interpret(CONTEXT, window, observation, None).snapshot is not None
