"""How Drive is read."""

from datetime import timedelta

import pytest
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

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive import GOOGLE_DRIVE, listing
from connectors.domain.providers.google_drive.oauth import READ_SCOPE

CONTEXT = SyncContext(app=make_app(GOOGLE_DRIVE), connection=make_connection(GOOGLE_DRIVE))
PLAN = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=NOW, last_cursor={"tokens": {"user": "8"}})
CHANGES = {"tokens": {"user": "8"}, "work": [{"pass": "changes", "log": "user"}], "read_at": "2026-11-19T10:00:00Z"}


def read(cursor, *responses):
    answer = script(*responses)
    page = converse(GOOGLE_DRIVE, GOOGLE_DRIVE.sync.read_page(CONTEXT, PLAN, cursor), answer)
    return page, answer.asked


def test_a_backfill_takes_its_token_before_it_lists():
    """What happens during the listing is in the changes after it."""
    google = Google.new()
    google.world.create_file("Recent", by=DANA, age_days=3)
    google.world.create_file("Old", by=DANA, age_days=300)
    driver = google.connect(GOOGLE_DRIVE)
    driver.backfill(since=NOW - timedelta(days=30))
    asked = [request.path for request in google.sandbox.core.requests if "/drive/v3/" in request.path]
    assert asked[-4:] == ["/drive/v3/changes/startPageToken", "/drive/v3/files", "/drive/v3/files", "/drive/v3/changes"]
    assert driver.kinds() == [("file_created", "Recent")]
    assert len(driver.snapshots) == 2


def test_a_backfill_shows_what_was_uploaded_with_an_older_time():
    """A file from a disk keeps the time of its last edit there, which may lie before the window."""
    google = Google.new()
    google.world.drive.create(
        by=DANA, name="Scan", created_at=NOW - timedelta(days=3), modified_at=NOW - timedelta(900)
    )
    driver = google.connect(GOOGLE_DRIVE)
    driver.backfill(since=NOW - timedelta(days=30))
    assert driver.kinds() == [("file_created", "Scan")]


def test_the_first_read_is_silent_and_remembers():
    """Without a stored token nothing old is reported, and a later edit of an old file is an edit."""
    google = Google.new()
    old = google.world.create_file("Old", by=DANA, age_days=300)
    driver = google.connect(GOOGLE_DRIVE)
    assert driver.sync() == []
    google.pass_time(minutes=1)
    google.world.edit_file(old, by=DANA)
    driver.sync()
    assert driver.kinds() == [("file_updated", "Old")]


def test_pages_are_followed_and_resumed():
    """The sync run dies in mid-page and goes on where it was: nothing is lost or doubled."""
    google = Google.new()
    driver = google.connect(GOOGLE_DRIVE)
    driver.sync()
    google.pass_time(minutes=1)
    for number in range(1200):
        google.world.create_file(f"File {number}", by=DANA)
    driver.pages.clear()
    driver.sync_run(SyncMode.INCREMENTAL, crash_after=1)
    assert len(driver.signals) == 1200
    assert [page.items for page in driver.pages] == [500, 500, 200]


def test_shared_drives_have_cursors_of_their_own():
    """Each log is read from its own token; the cursor of a lost one is dropped without affecting the others."""
    google = Google.new()
    team = google.world.add_shared_drive("Team", [DANA, LEE])
    driver = google.connect(GOOGLE_DRIVE, scopes=(READ_SCOPE,))
    driver.sync()
    assert set(driver.cursors[""]["tokens"]) == {"user", team}
    google.pass_time(minutes=1)
    google.world.create_file("In team", by=LEE, shared_drive=team)
    driver.sync()
    assert driver.kinds() == [("file_created", "In team")]
    google.world.leave_shared_drive(team, DANA)
    google.world.create_file("Mine", by=DANA)
    driver.sync()
    assert driver.kinds()[-1] == ("file_created", "Mine")
    assert set(driver.cursors[""]["tokens"]) == {"user"}


def test_a_drive_lost_in_the_middle_of_a_sync_run_is_dropped():
    """404 on a shared drive's log ends that log's work; on the user's own log it is an error."""
    cursor = {"tokens": {"user": "8", "0A": "9"}, "work": [{"pass": "changes", "log": "0A"}]}
    page, _ = read(cursor, error_reply(404, "notFound", location="driveId"))
    assert (page.done, page.cursor["tokens"]) == (True, {"user": "8"})
    with pytest.raises(AccessLostError):
        read(CHANGES, error_reply(404, "notFound"))


def test_a_lost_token_lists_again_and_says_so():
    """A new token first, then files since shortly before the last good read, then changes; the gap is reported."""
    page, asked = read(CHANGES, error_reply(400, "invalid", location="pageToken"), reply({"startPageToken": "99"}))
    assert page.gap
    assert not page.done
    assert [work["pass"] for work in page.cursor["work"]] == ["resync", "changes"]
    assert page.cursor["tokens"] == {"user": "99"}
    assert "2026-11-18T10:00:00Z" in page.cursor["work"][0]["filter"]
    assert asked[1].url.partition("?")[0].endswith("/changes/startPageToken")


def test_a_fresh_token_that_is_refused_ends_the_sync_run():
    """A log that accepts no token would otherwise be listed for ever."""
    page, _ = read(CHANGES, error_reply(400, "invalid", location="pageToken"), reply({"startPageToken": "99"}))
    after_the_listing, _ = read(page.cursor, reply({"files": []}))
    with pytest.raises(UnexpectedResponseError):
        read(after_the_listing.cursor, error_reply(400, "invalid", location="pageToken"))


def test_a_listing_that_does_not_advance_ends_the_sync_run():
    """A token that is refused again, or that points to itself, is an error."""
    item = {"pass": "files", "log": "user", "page": "p2", "before": "2026-11-19T00:00:00Z"}
    cursor = {"tokens": {"user": "8"}, "work": [{**item, "restarted": True}]}
    with pytest.raises(UnexpectedResponseError):
        read(cursor, error_reply(400, "invalid", location="pageToken"))
    with pytest.raises(UnexpectedResponseError):
        read({**cursor, "work": [item]}, reply({"files": [], "nextPageToken": "p2"}), reply({"files": []}))


def test_a_chosen_drive_that_cannot_be_read_does_not_stop_the_others():
    """A shared drive chosen by hand that cannot be read is left out, and tried again by the next sync run."""
    connection = make_connection(GOOGLE_DRIVE, metadata={"shared_drives": ["0Gone", "0Team"]})
    context = SyncContext(app=CONTEXT.app, connection=connection)
    answer = script(error_reply(404, "notFound", location="driveId"), reply({"startPageToken": "7"}))
    cursor = converse(GOOGLE_DRIVE, GOOGLE_DRIVE.sync.start(context, PLAN), answer)
    assert cursor["tokens"] == {"user": "8", "0Team": "7"}
    assert {work["log"] for work in cursor["work"]} == {"user", "0Team"}


def test_a_wrong_parameter_is_a_bug_and_no_lost_token():
    """`invalidParameter` is a mistake of ours."""
    with pytest.raises(UnexpectedResponseError):
        read(CHANGES, error_reply(400, "invalidParameter", location="fields"))


def test_a_listing_goes_on_by_the_time_of_its_last_file():
    """The next page asks for what is no newer, the second rounded up, and has no token that could lapse or shift."""
    item = {"pass": "files", "log": "user", "filter": "trashed = false"}
    files = [{"id": "1", "modifiedTime": "2026-11-19T00:00:00.250Z"}]
    page, _ = read({"tokens": {"user": "8"}, "work": [item]}, reply({"files": files, "nextPageToken": "p2"}))
    _, asked = read(page.cursor, reply({"files": []}))
    query = query_of(asked[0])
    assert "pageToken" not in query
    assert query["q"] == "modifiedTime <= '2026-11-19T00:00:01Z' and (trashed = false)"


@pytest.mark.parametrize(("minutes", "lapses"), [(7, True), (0, False), (0, True)])
def test_no_file_slips_through_a_list_that_moves(minutes, lapses, monkeypatch):
    """Between pages listed files are trashed, one not yet listed is edited, one is new: each is reported."""
    monkeypatch.setattr(listing, "FILES_PAGE", 10)
    google = Google.new()
    names = [f"File {number}" for number in range(60)]
    files = [google.world.create_file(name, by=DANA, age_days=1 + n * minutes / 1440) for n, name in enumerate(names)]
    google.pass_time(minutes=1)
    driver = google.connect(GOOGLE_DRIVE)

    def happen(number):
        if number <= 5:
            google.pass_time(seconds=1)
            reported = [draft.subject.id for draft in driver.signals.values()]
            for file in reported[4 * number - 4 : 4 * number]:
                google.world.trash_file(file, by=DANA)
            google.world.edit_file(next(file for file in reversed(files) if file not in reported), by=DANA)
            google.world.create_file(f"New {number}", by=DANA)
        if lapses and number == 3:
            google.world.expire_listings()

    driver.sync_run(SyncMode.BACKFILL, since=NOW - timedelta(days=30), between=happen)
    driver.sync()
    created = {title for kind, title in driver.kinds() if kind == "file_created"}
    assert set(names) <= created
    assert {f"New {number}" for number in range(1, 6)} <= created
    assert sum(kind == "file_trashed" for kind, _ in driver.kinds()) == 20


def test_a_search_of_a_part_is_noted():
    """Drive says when it did not look everywhere, and so does the page."""
    item = {"pass": "older", "log": "user", "filter": None}
    page, _ = read({"tokens": {"user": "8"}, "work": [item]}, reply({"files": [], "incompleteSearch": True}))
    assert [skipped.reference for skipped in page.skipped] == ["files of user"]


def test_an_empty_page_with_a_token_goes_on():
    """Pages without rows are legal in the middle."""
    page, asked = read(CHANGES, reply({"changes": [], "nextPageToken": "10"}))
    assert (page.done, page.cursor["tokens"]) == (False, {"user": "10"})
    query = query_of(asked[0])
    assert query["includeRemoved"] == query["supportsAllDrives"] == query["includeItemsFromAllDrives"] == "true"
    assert "newStartPageToken" in query["fields"]


@pytest.mark.parametrize("document", [{}, {"nextPageToken": "8"}, {"newStartPageToken": 7}, {"nextPageToken": ""}])
def test_a_list_that_leads_nowhere_is_an_error(document):
    """No token, or the same one again, would loop or lose the cursor."""
    with pytest.raises(UnexpectedResponseError):
        read(CHANGES, reply(document))


def test_own_and_others_removals_are_reported_alike():
    """Un-sharing and deleting look the same, and are worded so."""
    google = Google.new()
    theirs = google.world.create_file("Theirs", by=LEE, age_days=9)
    google.world.share_file(theirs, by=LEE, to=DANA)
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
