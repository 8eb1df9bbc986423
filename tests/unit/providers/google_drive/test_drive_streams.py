"""How Drive is read."""

from datetime import UTC, datetime, timedelta
from functools import cache

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
from tests.support.stream_reader import through_json

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive import GOOGLE_DRIVE, listing
from connectors.domain.providers.google_drive.logs import find_logs
from connectors.domain.providers.google_drive.oauth import READ_SCOPE
from connectors.domain.providers.google_drive.streams import CHANGES_PAGE, INDEX_LAG

STREAMS = GOOGLE_DRIVE.streams
CONTEXT = SyncContext(app=make_app(GOOGLE_DRIVE), connection=make_connection(GOOGLE_DRIVE))
USER = Stream(key="log:user", name="change log of My Drive")
DRIVE = Stream(key="log:0A", name="change log of Team")
BASELINE = Window(
    mode=SyncMode.INCREMENTAL, low=NOW - timedelta(hours=1), high=NOW, floor=NOW - timedelta(days=2), bookmark=None
)
NEWS = attrs.evolve(BASELINE, bookmark={"token": "8"})
BACKFILL = attrs.evolve(BASELINE, mode=SyncMode.BACKFILL)
BAD_TOKEN = error_reply(400, "invalid", location="pageToken")
MONTH = timedelta(days=30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2099, 1, 1, tzinfo=UTC)


def read(window, cursor, *responses, stream=USER):
    answer = script(*responses)
    page = converse(GOOGLE_DRIVE, STREAMS.read_page(CONTEXT, stream, window, cursor), answer)
    return page, answer.asked


def discover(connection, *responses, cursor=None):
    context = SyncContext(app=CONTEXT.app, connection=connection)
    return converse(GOOGLE_DRIVE, STREAMS.discover(context, BASELINE, cursor), script(*responses))


def asked_of(google):
    """The last parts of the paths that Drive was asked for since the last call."""
    paths = [request.path for request in google.sandbox.core.requests if "/drive/v3/" in request.path]
    google.sandbox.core.requests.clear()
    return [path.rpartition("/")[2] for path in paths]


def kinds_of(driver, title):
    return [kind for kind, of in driver.kinds() if of == title]


# --- which logs there are ----------------------------------------------------------------------------------------------


def test_shared_drives_are_found_page_by_page():
    """The user's log, and with the scope for it each page of shared drives, by ids, for both families."""
    connection = make_connection(GOOGLE_DRIVE, scopes=(READ_SCOPE,))
    page = discover(connection, reply({"drives": [{"id": "0A", "name": "Team"}], "nextPageToken": "p2"}))
    assert {stream.key: stream.name for stream in page.streams} == {
        "log:user": "change log of My Drive",
        "log:0A": "change log of Team",
    }
    assert {family for stream in page.streams for family in stream.families} == {"files", "file_changes"}
    page = discover(connection, reply({"drives": [{"id": "0B"}]}), cursor=page.cursor)
    assert ([stream.key for stream in page.streams], page.cursor) == (["log:0B"], None)


def test_chosen_drives_are_not_listed():
    """What the connection's metadata names is read; without the scope nothing else is asked for."""
    chosen = make_connection(GOOGLE_DRIVE, metadata={"shared_drives": ["0A", "0A", 7, "x" * 1000, "user"]})
    assert {stream.key: stream.is_chosen for stream in discover(chosen).streams} == {"log:user": False, "log:0A": True}
    assert converse(GOOGLE_DRIVE, find_logs(CONTEXT.app, chosen), script()) == ("user", "0A")
    assert {stream.key for stream in discover(make_connection(GOOGLE_DRIVE)).streams} == {"log:user"}


@pytest.mark.parametrize("document", [{}, {"drives": None}, {"drives": [7]}, {"drives": [{"id": ""}]}])
def test_a_list_of_drives_that_cannot_be_read_is_an_error(document):
    """A shared drive that is not understood must not count as none."""
    with pytest.raises(UnexpectedResponseError):
        discover(make_connection(GOOGLE_DRIVE, scopes=(READ_SCOPE,)), reply(document))


def test_shared_drives_have_bookmarks_of_their_own():
    """Each log is read from its own token; one that is refused goes on from there when it can be read again."""
    google = Google.new()
    team = google.world.add_shared_drive("Team", [DANA, LEE])
    driver = google.connect(GOOGLE_DRIVE, scopes=(READ_SCOPE,))
    driver.sync()
    assert set(driver.reader.known) == {"log:user", f"log:{team}"}
    google.pass_time(minutes=1)
    google.world.create_file("In team", by=LEE, shared_drive=team)
    driver.sync()
    assert driver.kinds() == [("file_created", "In team")]
    google.world.leave_shared_drive(team, DANA)
    google.world.create_file("Mine", by=DANA)
    google.world.create_file("Meanwhile", by=LEE, shared_drive=team)
    driver.sync()
    assert driver.kinds()[-1] == ("file_created", "Mine")
    assert set(driver.reader.refused) == {f"log:{team}"}
    google.world.join_shared_drive(team, DANA)
    driver.sync()
    assert driver.kinds()[-1] == ("file_created", "Meanwhile")
    assert not driver.reader.refused


def test_a_log_that_is_refused_says_so():
    """404 is the stream's own, whichever log and list it is of."""
    lost = error_reply(404, "notFound", location="driveId")
    for window in (BASELINE, NEWS, BACKFILL):
        for stream in (USER, DRIVE):
            with pytest.raises(AccessLostError):
                read(window, None, lost, stream=stream)


def test_a_chosen_drive_that_cannot_be_read_does_not_stop_the_others():
    """A shared drive chosen by hand that is refused keeps its stream; once it can be read, its history arrives."""
    google = Google.new()
    team = google.world.add_shared_drive("Team", [LEE])
    google.world.drive.create(by=LEE, name="Before", drive_id=team, age_days=3)
    driver = google.connect(GOOGLE_DRIVE)
    connection = attrs.evolve(driver.connection, metadata={"shared_drives": [team]})
    driver.reader.context = attrs.evolve(driver.reader.context, connection=connection)
    google.world.create_file("Mine", by=DANA)
    driver.sync()
    driver.backfill(since=google.now - MONTH)
    assert driver.kinds() == [("file_created", "Mine")]
    assert set(driver.reader.refused) == {f"log:{team}"}
    google.world.join_shared_drive(team, DANA)
    driver.sync()
    driver.backfill(since=google.now - MONTH)
    assert ("file_created", "Before") in driver.kinds()


# --- the first read ----------------------------------------------------------------------------------------------------


def test_the_baseline_takes_its_token_before_it_lists():
    """What happens during the listing is in the changes after it."""
    google = Google.new()
    google.world.create_file("Recent", by=DANA, age_days=3)
    google.world.create_file("Old", by=DANA, age_days=300)
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    assert asked_of(google)[-3:] == ["startPageToken", "files", "files"]
    assert len(driver.snapshots) == 2
    driver.backfill(since=NOW - MONTH)
    driver.sync()
    assert asked_of(google) == ["files", "changes"]
    assert driver.kinds() == [("file_created", "Recent")]


def test_a_backfill_shows_what_was_uploaded_with_an_older_time():
    """A file from a disk keeps the time of its last edit there, which may lie before the window."""
    google = Google.new()
    google.world.drive.create(
        by=DANA, name="Scan", created_at=NOW - timedelta(days=3), modified_at=NOW - timedelta(900)
    )
    driver = google.connect(GOOGLE_DRIVE)
    driver.backfill(since=NOW - MONTH)
    assert driver.kinds() == [("file_created", "Scan")]


def test_the_first_read_is_silent_and_remembers():
    """Without a bookmark nothing old is reported, and a later edit of an old file is an edit."""
    google = Google.new()
    old = google.world.create_file("Old", by=DANA, age_days=300)
    driver = google.connect(GOOGLE_DRIVE)
    assert driver.sync() == []
    google.pass_time(minutes=1)
    google.world.edit_file(old, by=DANA)
    driver.sync()
    assert driver.kinds() == [("file_updated", "Old")]


@pytest.mark.parametrize("mode", ["baseline", "backfill"])
def test_what_happens_while_files_are_listed_is_reported(mode, monkeypatch):
    """A file that is edited, made or shared after the token and listed before the log is read is no secret of ours."""
    monkeypatch.setattr(listing, "FILES_PAGE", 5)
    google = Google.new()
    files = [google.world.create_file(f"File {number}", by=DANA, age_days=1 + number) for number in range(12)]
    theirs = google.world.create_file("Theirs", by=LEE, age_days=90)
    driver = google.connect(GOOGLE_DRIVE)
    if mode == "backfill":
        driver.sync()
    google.pass_time(minutes=5)

    def happen(number):
        if number == 1:
            google.pass_time(seconds=1)
            google.world.edit_file(files[-1], by=DANA)
            google.world.edit_file(files[0], by=DANA)
            google.world.create_file("New", by=DANA)
            google.world.share_file(theirs, by=LEE, to=DANA)

    driver.before_page(happen)
    if mode == "backfill":
        driver.backfill(since=NOW - MONTH)
    driver.sync()
    driver.sync()
    assert kinds_of(driver, "New") == ["file_created"]
    assert "file_shared" in kinds_of(driver, "Theirs")
    for name in ("File 0", "File 11"):
        assert kinds_of(driver, name)[-1] == "file_updated"
        assert "file_shared" not in kinds_of(driver, name)


def test_new_files_that_lists_do_not_have_yet_are_listed_later(monkeypatch):
    """A file made before the token, which the log will not show, is found when the lists have caught up, once."""
    google = Google.new()
    google.world.create_file("Just made", by=DANA)
    monkeypatch.setitem(google.sandbox.core.index_lags, "google", timedelta(minutes=20))
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    driver.backfill(since=NOW - MONTH)
    google.pass_time(minutes=15)
    driver.sync()
    assert driver.kinds() == []
    google.pass_time(minutes=15)
    driver.sync()
    assert driver.kinds() == [("file_created", "Just made")]
    asked_of(google)
    google.pass_time(minutes=20)
    driver.sync()
    assert asked_of(google) == ["changes"]


def test_what_was_around_a_baseline_is_listed_in_pages_after_the_log():
    """The log's new token is kept for the bookmark while the list is read."""
    listed_at = NOW - INDEX_LAG
    window = attrs.evolve(NEWS, bookmark={"token": "8", "listed_at": rfc3339(listed_at)})
    page, _ = read(window, None, reply({"changes": [], "newStartPageToken": "9"}))
    files = [{"id": str(number), "modifiedTime": rfc3339(listed_at)} for number in range(3)]
    page, asked = read(window, page.cursor, reply({"files": files, "nextPageToken": "p2"}))
    assert f"modifiedTime >= '{rfc3339(listed_at - INDEX_LAG)}'" in query_of(asked[0])["q"]
    page, _ = read(window, page.cursor, reply({"files": []}))
    assert (page.cursor, page.bookmark) == (None, {"token": "9"})


# --- the log -----------------------------------------------------------------------------------------------------------


def test_pages_are_followed_and_resumed():
    """The run dies in mid-page and goes on where it was: nothing is lost or doubled."""
    google = Google.new()
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    google.pass_time(minutes=1)
    for number in range(1200):
        google.world.create_file(f"File {number}", by=DANA)
    driver.reader.forget()
    driver.before_page(lambda number: number == 1)
    driver.sync()
    assert len(driver.reader.signals) == len(driver.signals) == 1200
    assert [page.items for page in driver.pages] == [500, 500, 200]


def test_a_lost_token_lists_again_and_says_so():
    """A new token first, then files since shortly before the last good read, then changes; the gap is reported."""
    page, _ = read(NEWS, None, BAD_TOKEN)
    assert page.lost
    assert (page.cursor, page.signals, page.bookmark) == (None, (), None)
    _, asked = read(BACKFILL, None, reply({"files": []}))
    assert "2026-11-19T09:00:00Z" in query_of(asked[0])["q"]
    _, asked = read(attrs.evolve(BACKFILL, floor=BACKFILL.low), None, reply({"files": []}))
    assert "2026-11-20T09:00:00Z" in query_of(asked[0])["q"]
    google = Google.new()
    edited = google.world.create_file("Edited", by=DANA, age_days=9)
    renamed = google.world.create_file("Before", by=DANA, age_days=9)
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    google.pass_time(minutes=20)
    google.world.edit_file(edited, by=DANA)
    google.world.rename_file(renamed, "After", by=DANA)
    driver.reader.known["log:user"].bookmark = {"token": "lapsed"}
    asked_of(google)
    driver.sync()
    assert len(driver.reader.lost) == 1
    assert asked_of(google) == ["changes", "startPageToken", "files", "files", "files"]
    assert set(driver.kinds()) == {("file_updated", "Edited"), ("file_renamed", "After"), ("file_updated", "After")}
    google.pass_time(minutes=1)
    google.world.edit_file(renamed, by=DANA)
    driver.sync()
    assert driver.kinds()[3:] == [("file_updated", "After")]


def test_a_fresh_token_that_is_refused_ends_the_run():
    """A log that accepts no token is listed once in each read, and each time it is said that it was lost."""
    google = Google.new()
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    for number in (1, 2):
        driver.reader.known["log:user"].bookmark = {"token": "refused"}
        asked_of(google)
        driver.sync()
        assert len(driver.reader.lost) == number
        assert asked_of(google) == ["changes", "startPageToken", "files", "files", "files"]


def test_a_wrong_parameter_is_a_bug_and_no_lost_token():
    """`invalidParameter` is a mistake of ours."""
    with pytest.raises(UnexpectedResponseError):
        read(NEWS, None, error_reply(400, "invalidParameter", location="fields"))


def test_an_empty_page_with_a_token_goes_on():
    """Pages without rows are legal in the middle."""
    page, asked = read(NEWS, None, reply({"changes": [], "nextPageToken": "10"}))
    assert (page.cursor, page.bookmark) == ({"token": "10"}, None)
    query = query_of(asked[0])
    assert query["includeRemoved"] == query["supportsAllDrives"] == query["includeItemsFromAllDrives"] == "true"
    assert "newStartPageToken" in query["fields"]
    _, asked = read(NEWS, page.cursor, reply({"changes": [], "newStartPageToken": "11"}))
    assert query_of(asked[0])["pageToken"] == "10"


@pytest.mark.parametrize(
    "document",
    [{}, {"newStartPageToken": 7}, {"nextPageToken": ""}, {"changes": []}, {"newStartPageToken": "9"}],
)
def test_a_list_that_leads_nowhere_is_an_error(document):
    """Without a token the bookmark would be lost, and without a list what it had."""
    with pytest.raises(UnexpectedResponseError):
        read(NEWS, None, reply(document))


def test_a_list_that_goes_in_circles_gives_equal_cursors():
    """Whatever else is on the pages, the same tokens lead to the same cursors, so that a circle is noticed."""
    cursors, cursor = [], None
    for number, token in enumerate("ABABA"):
        changes = [{"fileId": str(number), "time": rfc3339(NOW + timedelta(number)), "file": {"id": str(number)}}]
        page, _ = read(NEWS, cursor, reply({"changes": changes, "nextPageToken": token}))
        cursors.append(cursor := through_json(page.cursor))
    assert cursors[1:3] == cursors[3:5]
    same_second = [{"id": str(number), "modifiedTime": rfc3339(NOW)} for number in range(3)]
    cursors, cursor = [], None
    for token in "XABABAB":
        answers = [reply({"files": same_second, "nextPageToken": token})] * 2
        page, _ = read(BACKFILL, cursor, *answers)
        cursors.append(cursor := through_json(page.cursor))
    assert cursors[3:5] == cursors[5:7]


def test_a_change_that_cannot_be_read_is_parked_and_read_later():
    """The page goes on without it; its page is read again until it can be understood."""
    bad = {"fileId": "bad", "time": "yesterday", "file": {"id": "bad", "name": "B", "createdTime": rfc3339(NOW)}}
    good = {"fileId": "good", "time": rfc3339(NOW), "file": {"id": "good", "name": "G", "createdTime": rfc3339(NOW)}}
    page, _ = read(NEWS, None, reply({"changes": [bad, 7, good], "newStartPageToken": "9"}))
    assert (len(page.observations), page.items, page.bookmark) == (1, 3, {"token": "9"})
    (item,) = page.parked
    assert (item.reference, item.reason) == ("changes:8", "a change has no time")

    def read_again(*responses):
        return converse(GOOGLE_DRIVE, STREAMS.read_item(CONTEXT, USER, BASELINE, item.reference), script(*responses))

    with pytest.raises(UnexpectedResponseError):
        read_again(reply({"changes": [bad], "newStartPageToken": "9"}))
    with pytest.raises(UnexpectedResponseError):
        read_again(BAD_TOKEN)  # the page has lapsed, and what was on it was never read
    page = read_again(reply({"changes": [{**bad, "time": rfc3339(NOW)}, good], "nextPageToken": "9"}))
    assert ([one.key for one in page.observations], page.cursor) == (["file:bad", "file:good"], None)


def test_own_and_others_removals_are_reported_alike():
    """Un-sharing and deleting look the same, and are worded so."""
    google = Google.new()
    theirs = google.world.create_file("Theirs", by=LEE, age_days=9)
    google.world.share_file(theirs, by=LEE, to=DANA)
    google.pass_time(minutes=5)
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    google.pass_time(minutes=1)
    google.world.unshare_file(theirs, by=LEE, to=DANA)
    driver.sync()
    (draft,) = driver.signals.values()
    assert (draft.kind, draft.title, draft.payload["derived"]["reason"]) == (
        "file_deleted",
        "Theirs",
        "deleted_or_access_lost",
    )


# --- listings ----------------------------------------------------------------------------------------------------------


def test_a_listing_that_does_not_advance_is_an_error():
    """A token that is refused is the stream's error: the engine begins the window again."""
    cursor = {"page": "p2", "before": "2026-11-19T00:00:00Z"}
    with pytest.raises(UnexpectedResponseError):
        read(BACKFILL, cursor, BAD_TOKEN)


def test_a_listing_goes_on_by_the_time_of_its_last_files():
    """The next page asks for what is no newer, the second rounded up, and has no token that could lapse or shift."""
    files = [
        {"id": "1", "modifiedTime": "2026-11-20T00:00:00Z"},
        {"id": "2", "modifiedTime": "2026-11-19T00:00:00.250Z"},
        {"id": "3", "modifiedTime": "1970-01-01T00:00:00Z"},
        {"id": "4", "modifiedTime": "2026-11-18T00:00:00Z"},
    ]
    page, _ = read(BACKFILL, None, reply({"files": files, "nextPageToken": "p2"}))
    _, asked = read(BACKFILL, page.cursor, reply({"files": []}))
    query = query_of(asked[0])
    assert "pageToken" not in query
    assert query["q"] == (
        "modifiedTime <= '2026-11-19T00:00:01Z' and trashed = false and "
        "(modifiedTime >= '2026-11-19T09:00:00Z' or createdTime >= '2026-11-19T09:00:00Z')"
    )


@pytest.mark.parametrize("minutes", [7, 0])
@pytest.mark.parametrize("lapses", [False, True])
def test_no_file_slips_through_a_list_that_moves(minutes, lapses, monkeypatch):
    """Between pages listed files are trashed, one not yet listed is edited, one is new: each is reported."""
    monkeypatch.setattr(listing, "FILES_PAGE", 10)
    google = Google.new()
    names = [f"File {number}" for number in range(60)]
    files = [google.world.create_file(name, by=DANA, age_days=1 + n * minutes / 1440) for n, name in enumerate(names)]
    google.pass_time(minutes=1)
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()

    def happen(number):
        if 1 <= number <= 5:
            google.pass_time(seconds=1)
            reported = [draft.subject.id for draft in driver.signals.values()]
            for file in reported[4 * number - 4 : 4 * number]:
                google.world.trash_file(file, by=DANA)
            google.world.edit_file(next(file for file in reversed(files) if file not in reported), by=DANA)
            google.world.create_file(f"New {number}", by=DANA)
        if lapses and number == 3:
            google.world.expire_listings()

    driver.before_page(happen)
    driver.backfill(since=NOW - MONTH)
    if lapses and minutes == 0:
        assert driver.reader.refused
        driver.backfill(since=NOW - MONTH)
    driver.sync()
    created = {title for kind, title in driver.kinds() if kind == "file_created"}
    assert set(names) <= created
    assert {f"New {number}" for number in range(1, 6)} <= created
    trashed = [title for kind, title in driver.kinds() if kind == "file_trashed"]
    assert len(trashed) == sum(google.world.drive.files[file].is_trashed for file in files) > 0


@given(st.data())
def test_no_row_slips_through_a_page_that_shows_edited_rows(data):
    """Rows edited while a page is made stand at their old place with any new time; those left alone are all listed."""
    times = st.sampled_from([EPOCH, FAR_AHEAD, *(NOW - timedelta(hours=number) for number in range(40))])
    index = {str(number): at for number, at in enumerate(data.draw(st.lists(times, min_size=20, max_size=60)))}
    edited, seen, cursor = set(), set(), None
    for _ in range(200):
        before = read_instant((cursor or {}).get("before")) or datetime.max.replace(tzinfo=UTC)
        rows = sorted((row for row in index if index[row] <= before), key=lambda row: (index[row], row), reverse=True)
        start = int((cursor or {}).get("page") or 0)
        page_rows = rows[start : start + 10]
        changed = data.draw(st.dictionaries(st.sampled_from(page_rows), times, max_size=2)) if page_rows else {}
        edited |= set(changed)
        files = [{"id": row, "modifiedTime": rfc3339(changed.get(row, index[row]))} for row in page_rows]
        document = {"files": files} | ({"nextPageToken": str(start + 10)} if len(rows) > start + 10 else {})
        passed = [{"id": row, "modifiedTime": rfc3339(index[row])} for row in rows[max(0, start - 10) : start]]
        page, _ = read(BASELINE, {"token": "1", "files": cursor or {}}, reply(document), reply({"files": passed}))
        seen |= {one.state["file"]["id"] for one in page.observations}
        index |= changed
        if page.cursor is None:
            break
        cursor = through_json(page.cursor)["files"]
    assert page.cursor is None
    assert set(index) - edited <= seen


def test_a_search_of_a_part_is_an_error():
    """Drive says when it did not look everywhere: the list has not ended then, whatever it had."""
    for window in (BASELINE, BACKFILL):
        cursor = {"token": "8", "files": {}} if window is BASELINE else None
        with pytest.raises(UnexpectedResponseError):
            read(window, cursor, reply({"files": [], "incompleteSearch": True}))
        with pytest.raises(UnexpectedResponseError):
            read(window, cursor, reply({}))


def test_a_file_that_cannot_be_read_is_parked_and_read_later():
    """The rest of its page is read; the list is read again from there until the file can be understood."""
    bad = {"name": "B", "modifiedTime": "2026-11-19T12:00:00.5Z"}
    page, _ = read(BACKFILL, None, reply({"files": [bad, {"id": "good"}]}))
    (item,) = page.parked
    assert (len(page.observations), item.reference) == (1, "files:2026-11-19T12:00:01Z")
    for document in (bad, {**bad, "id": "bad"}):
        answer = script(reply({"files": [document]}))
        conversation = STREAMS.read_item(CONTEXT, USER, BASELINE, item.reference)
        if "id" in document:
            assert converse(GOOGLE_DRIVE, conversation, answer).observations[0].key == "file:bad"
        else:
            with pytest.raises(UnexpectedResponseError):
                converse(GOOGLE_DRIVE, conversation, answer)
        assert "modifiedTime <= '2026-11-19T12:00:01Z'" in query_of(answer.asked[0])["q"]


# --- the whole ---------------------------------------------------------------------------------------------------------


def live(crashes=frozenset(), again=1):
    """The driver of a month of files and an hour of changes; the pages with these numbers are lost, and read again."""
    google = Google.new(seed=3)
    team = google.world.add_shared_drive("Team", [DANA, LEE])
    files = [google.world.create_file(f"File {number}", by=DANA, age_days=1 + number) for number in range(20)]
    google.world.drive.create(by=DANA, name="1970", created_at=EPOCH, modified_at=EPOCH)
    google.world.drive.create(by=DANA, name="2099", created_at=FAR_AHEAD, modified_at=FAR_AHEAD)
    google.pass_time(minutes=5)
    driver = google.connect(GOOGLE_DRIVE, scopes=(READ_SCOPE,))
    driver.before_page(lambda number: number in crashes)
    for _ in range(again):
        driver.sync()
        driver.backfill(since=NOW - MONTH)
    google.pass_time(hours=1)
    for number, file in enumerate(files[:8]):
        change = (google.world.edit_file, google.world.trash_file, google.world.delete_file)[number % 3]
        change(file, by=DANA)
    google.world.create_file("In team", by=LEE, shared_drive=team)
    for _ in range(again):
        driver.sync()
        driver.backfill(since=NOW - MONTH)
    return driver


def test_an_account_read_twice_gives_the_same_signals():
    """Undisturbed, each further read of the log or of the history finds what is known."""
    once, twice = live(), live(again=2)
    assert once.signals == twice.signals
    assert ("file_created", "2099") in once.kinds()
    assert ("file_created", "1970") not in once.kinds()


@cache
def undisturbed():
    return frozenset(live().signals)


@given(st.sets(st.integers(0, 40)))
def test_a_crash_loses_nothing(crashes):
    """Whichever pages are read and lost before they are committed, reading goes on with the same signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "FILES_PAGE", 6)
        patch.setattr("connectors.domain.providers.google_drive.streams.CHANGES_PAGE", 3)
        assert set(live(crashes).signals) == undisturbed()


def test_the_old_cursor_is_split_by_logs():
    """A finished run left a token for each log; an unfinished one leaves none, so that its logs get a baseline."""
    old = {
        "tokens": {"user": "8421", "0ADr": "77", "0Bad": None},
        "baseline": "2026-10-21T10:00:00Z",
        "read_at": "2026-11-20T10:00:00Z",
    }
    assert STREAMS.split_cursor(old) == {"log:user": {"token": "8421"}, "log:0ADr": {"token": "77"}}
    assert STREAMS.split_cursor({**old, "work": [{"pass": "first", "log": "user"}]}) == {}
    assert STREAMS.split_cursor({}) == {}
    page, asked = read(
        attrs.evolve(NEWS, bookmark=STREAMS.split_cursor(old)["log:user"]),
        None,
        reply({"changes": [], "newStartPageToken": "8422"}),
    )
    assert query_of(asked[0])["pageToken"] == "8421"
    assert query_of(asked[0])["pageSize"] == str(CHANGES_PAGE)
    assert page.bookmark == {"token": "8422"}
