"""Reading a site by its streams, and that every path to an event ends in the same signals."""

import contextlib
import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jira import (
    APP,
    CLOUD,
    LONG_AGO,
    NOW,
    STATUSES,
    FakeSite,
    facts,
    hold,
    make_connection,
    make_request,
    ms,
    read_history,
    reader_of,
    receive,
    replies,
    reply,
    stamp,
)

from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    ProviderUnavailableError,
    UnexpectedResponseError,
)
from connectors.domain.model.instant import read_instant
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.old_cursor import split_cursor
from connectors.domain.providers.jira.position import SETTLE, SITE
from connectors.domain.providers.jira.streams import READ_FAMILIES, SEARCHED_FIELDS, read_page

PROJECT = "project:10000"
HISTORY = Window(mode=SyncMode.BACKFILL, low=LONG_AGO, high=NOW, floor=LONG_AGO)
EVERY = timedelta(minutes=15)


def stream(key):
    return Stream(key=key, name=key)


def push(envelopes, connection=None):
    connection = connection or make_connection()
    return [draft for one in envelopes for draft in receive(make_request(one), connection)]


def page_at(cursor, answer, key=PROJECT, window=HISTORY):
    """One page of a stream."""
    return hold(read_page(SyncContext(app=APP, connection=make_connection()), stream(key), window, cursor), answer)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "move", "assign", "rename", "comment", "edit"]),
        st.integers(0, 5),
        st.sampled_from(sorted(STATUSES)),
    ),
    max_size=14,
)


def play(site, steps):
    """The webhook bodies of these steps."""
    envelopes = [site.create()]
    for verb, number, status in steps:
        issue_id = list(site.issues)[number % len(site.issues)]
        match verb:
            case "create":
                envelopes.append(site.create())
            case "move":
                envelopes.append(site.move(issue_id, status))
            case "assign":
                envelopes.append(site.change(issue_id, "assignee", None, "712020:sam"))
            case "rename":
                envelopes.append(site.change(issue_id, "summary", "a", "b"))
            case "comment":
                envelopes.append(site.comment(issue_id))
            case "edit" if site.comments[issue_id]:
                envelopes.append(site.edit(issue_id, number % len(site.comments[issue_id])))
            case _:
                pass
    return envelopes


def lost_edits(site, pushed):
    """Edits that a later edit has overwritten: only push can show them."""
    last = {
        f"jira:{CLOUD}:comment:{one['id']}:edited:{ms(read_instant(one['updated']))}"
        for all_ in site.comments.values()
        for one in all_
    }
    return {fact for fact in pushed if ":edited:" in fact[0] and fact[0] not in last}


def created_keys(issue_ids):
    return {f"jira:{CLOUD}:issue:{one}:created" for one in issue_ids}


# --- streams ---------------------------------------------------------------------------------------------------------


def test_the_site_shows_changes_and_each_project_its_history():
    """Each stream has the families that reading sees; a project's name is not in its key."""
    site = FakeSite()
    site.projects = {"10000": "OPS", "10001": "WEB"}
    reader = reader_of(site.answer, make_connection(metadata={}))
    reader.discover(NOW)
    assert {key: (one.stream.changes_in, one.stream.families) for key, one in reader.known.items()} == {
        SITE: (None, READ_FAMILIES),
        "project:10000": (SITE, READ_FAMILIES),
        "project:10001": (SITE, READ_FAMILIES),
    }
    assert {"issues", "comments"} == READ_FAMILIES
    assert reader.context.connection.metadata == {"status_categories": STATUSES}


def test_the_history_of_the_site_is_that_of_its_projects():
    """A backfill of the site's own stream asks for nothing."""
    answer, asked = replies()
    page = page_at(None, answer, SITE)
    assert (page.cursor, page.bookmark, asked) == (None, None, [])


def test_names_of_statuses_stop_no_discovery():
    """A list of statuses that cannot be read leaves the categories unknown, and the streams are found."""
    site = FakeSite()
    site.broken["status"] = 403
    reader = reader_of(site.answer, make_connection(metadata={}))
    reader.discover(NOW)
    assert list(reader.known) == [SITE, PROJECT]
    assert reader.context.connection.metadata == {}


def test_a_project_without_a_number_is_an_error():
    """A list that cannot be read whole does not count as read."""
    answer, _ = replies({"values": [{"id": "1", "key": "A"}, {"key": "B"}], "isLast": True})
    with pytest.raises(UnexpectedResponseError):
        reader_of(answer).discover(NOW)


def test_first_incremental_run_is_a_baseline():
    """Nothing is asked for and nothing older emitted; the next run begins where the search lags."""
    answer, asked = replies()
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW - EVERY, high=NOW, floor=NOW - EVERY)
    page = page_at(None, answer, SITE, window)
    assert (page.cursor, page.bookmark, page.signals, asked) == (None, {"since": ms(NOW - SETTLE)}, (), [])


def test_a_project_that_is_shown_later_brings_its_past():
    """What happened in it before is read once it is found, and its changes from then on with the site's."""
    site = FakeSite(page_size=50)
    site.create()
    hidden = site.create("10001")["issue"]["id"]
    site.move(hidden, "5")
    reader = reader_of(site.answer, floor=site.now - timedelta(days=1))
    reader.read(site.now)
    reader.backfill(reader.floor, site.now)
    assert not any(f"issue:{hidden}:" in key for key in reader.keys)
    site.projects["10001"] = "WEB"
    reader.discover(site.tick(EVERY))
    reader.backfill_stream("project:10001", reader.floor, site.now)
    site.comment(hidden)
    reader.read(site.tick(EVERY))
    assert facts(reader.signals) >= facts(read_history(site.answer).signals)


@pytest.mark.parametrize("status", [200, 400])
def test_a_hidden_project_is_refused_and_not_empty(status):
    """A search of a project that is not shown proves nothing, whether Jira refuses it or answers with no issue."""
    site = FakeSite()
    site.create()
    reader = reader_of(site.answer)
    reader.discover(NOW)
    site.projects = {"10001": "WEB"}
    if status == 400:
        site.broken["search/jql"] = 400
    reader.backfill_stream(PROJECT, LONG_AGO, NOW)
    assert "no longer shows" in reader.refused[PROJECT]
    assert not reader.signals


def test_an_issue_that_goes_to_another_project_is_a_change_of_the_site():
    """It may be in neither project's history; then the site brings all of it that is wanted."""
    site = FakeSite(page_size=50)
    site.projects["10001"] = "WEB"
    issue_id = site.create("10001")["issue"]["id"]
    site.move(issue_id, "3")
    reader = reader_of(site.answer, floor=site.now - timedelta(days=1))
    reader.read(site.now)
    reader.backfill_stream(PROJECT, reader.floor, site.now)
    site.change(issue_id, "project", "10001", "10000")
    site.issues[issue_id]["fields"]["project"]["id"] = "10000"
    reader.backfill_stream("project:10001", reader.floor, site.now)
    reader.read(site.tick(EVERY))
    assert facts(reader.signals) == facts(read_history(site.answer).signals)


# --- both paths ------------------------------------------------------------------------------------------------------


@given(STEPS, st.booleans(), st.integers(1, 3))
def test_push_and_reading_end_in_the_same_signals(steps, embed, page_size):
    """Push only, backfill only, both in any order and everything twice give one set of signals."""
    site = FakeSite(page_size)
    site.embed = embed
    pushed = facts(push(play(site, steps)))
    read, again = (facts(read_history(site.answer).signals) for _ in range(2))
    assert read == again
    assert pushed - lost_edits(site, pushed) == read
    keys = [key for key, _, _ in pushed | read | again]
    assert len(keys) == len(set(keys))


@given(STEPS, STEPS, st.integers(1, 3))
def test_runs_one_after_the_other_leave_no_gap(first, second, page_size):
    """A baseline, history and then incremental runs see whatever the whole history shows."""
    site = FakeSite(page_size)
    play(site, first)
    reader = reader_of(site.answer)
    reader.read(site.now)
    reader.backfill(LONG_AGO, site.now)
    site.tick(timedelta(hours=1))
    play(site, second)
    reader.read(site.now)
    assert facts(read_history(site.answer).signals) <= facts(reader.signals)


# --- lists that move -------------------------------------------------------------------------------------------------


@given(STEPS, st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(STATUSES))), max_size=8), st.integers(1, 4))
def test_issues_that_move_during_the_run_are_not_missed(steps, touches, page_size):
    """An issue that changes while history is read loses nothing, nor hides another: the site's next read has the rest."""
    site = FakeSite(page_size)
    play(site, [("create", 0, "1"), ("create", 0, "1"), *steps])
    reader, begun = reader_of(site.answer, floor=LONG_AGO), site.now
    reader.read(begun)
    waiting = list(touches)

    def touch():
        if waiting:
            number, status = waiting.pop()
            site.move(list(site.issues)[number % len(site.issues)], status)

    site.on_search = touch
    reader.backfill(LONG_AGO, begun)
    site.on_search = None
    reader.read(site.tick(EVERY))
    assert facts(reader.signals) == facts(read_history(site.answer).signals)


@given(st.data())
def test_issues_of_one_second_that_move_are_not_missed(data):
    """A bulk edit that fills pages is read whole though its issues change meanwhile."""
    site = FakeSite(page_size=data.draw(st.integers(2, 5)))
    for _ in range(12):
        site.create()
    same = stamp(site.now)
    for issue in list(site.issues.values())[:9]:
        issue["fields"]["updated"] = same
    before = read_history(site.answer).keys
    changes = data.draw(st.lists(st.integers(0, 11) | st.none(), max_size=8))
    site.now = NOW

    def touch():
        number = changes.pop() if changes else None
        if number is not None:
            site.change(list(site.issues)[number], "summary", "a", "b")

    site.on_search = touch
    assert before <= read_history(site.answer).keys


@given(st.data())
def test_fields_newer_than_the_index_hide_no_issue(data):
    """Issues that are edited while an answer is made are at their old positions with new times: others follow them.

    However many they are, at the end of however short a page; whether history or changes are read.
    """
    site = FakeSite(page_size=data.draw(st.integers(1, 12)))
    for _ in range(40):
        site.create()
    expected = created_keys(site.issues)
    begun, edited = site.tick(timedelta(hours=1)), set()

    def edit(page):
        fresh = [one["id"] for one in page if one["id"] not in edited]
        for issue_id in fresh[len(fresh) - data.draw(st.integers(0, 4)) :]:
            if len(edited) < 12:
                edited.add(issue_id)
                site.change(issue_id, "summary", "a", "b")

    site.on_answer = edit
    if data.draw(st.booleans()):
        reader = read_history(site.answer, now=begun)
    else:
        reader = reader_of(site.answer, floor=LONG_AGO)
        reader.discover(begun)
        reader.known[SITE].bookmark = {"since": 0}
        reader.read_stream(SITE, begun)
    assert expected <= reader.keys
    site.on_answer = None


def test_pages_full_of_edited_issues_need_few_requests():
    """A position advances past what changed while the pages were made."""
    site = FakeSite(page_size=50)
    for _ in range(260):
        site.create()
    begun = site.tick(timedelta(hours=1))
    touched = set()

    def edit(page):
        for issue in page[-3:]:
            if issue["id"] not in touched and len(page) == 50:
                touched.add(issue["id"])
                site.change(issue["id"], "summary", "a", "b")

    site.on_answer = edit
    reader = read_history(site.answer, now=begun)
    assert created_keys(site.issues) <= reader.keys
    assert len(touched) > 10
    assert len(site.searches) < 15


@given(st.integers(0, 600), st.lists(st.integers(1, 900), min_size=1, max_size=8))
def test_an_index_that_lags_hides_nothing_for_good(lag, pauses):
    """What the search does not know yet is in the next run."""
    site = FakeSite(page_size=3)
    site.lag = timedelta(seconds=lag)
    reader = reader_of(site.answer, floor=site.now)
    reader.read(site.now)
    for pause in pauses:
        site.create()
        reader.read(site.tick(timedelta(seconds=pause)))
    reader.read(site.tick(timedelta(minutes=11)))
    assert created_keys(site.issues) <= reader.keys


@pytest.mark.parametrize("is_history", [False, True])
def test_a_run_ends_although_the_site_never_rests(is_history):
    """Issues that are made while the latest ones are read belong to the next run."""
    site = FakeSite(page_size=3)
    for _ in range(20):
        site.create()
    begun = site.now
    site.on_search = site.create
    reader = reader_of(site.answer, floor=LONG_AGO)
    reader.discover(begun)
    reader.known[SITE].bookmark = {"since": 0}
    before = created_keys(site.issues)
    if is_history:
        reader.backfill_stream(PROJECT, LONG_AGO, begun)
    else:
        reader.read_stream(SITE, begun)
    assert before <= reader.keys
    assert len(site.searches) < 50


@pytest.mark.parametrize("year", [1970, 2099])
def test_an_odd_date_moves_nothing(year):
    """An issue dated far from now neither ends a run nor keeps a later change from being read."""
    site = FakeSite(page_size=4)
    for _ in range(6):
        site.create()
    reader = reader_of(site.answer, floor=LONG_AGO)
    reader.read(site.now)
    odd = site.create(dated=datetime(year, 1, 1, tzinfo=NOW.tzinfo))["issue"]["id"]
    reader.backfill(LONG_AGO, site.now)
    assert created_keys(site.issues) <= reader.keys
    for _ in range(3):
        new = site.create()["issue"]["id"]
        reader.forget()
        reader.read(site.tick(EVERY))
        assert created_keys([new]) <= reader.keys
    assert (created_keys([odd]) <= reader.keys) is (year == 2099)
    assert reader.known[SITE].bookmark == {"since": ms(site.now - SETTLE) // 1000 * 1000}


def test_an_import_with_its_old_dates_is_read():
    """What is dated before the window and is in a search for changes is emitted, as far back as anything is wanted."""
    site = FakeSite()
    reader = reader_of(site.answer, floor=site.now - timedelta(days=5))
    reader.read(site.now)
    reader.backfill(reader.floor, site.now)
    wanted = site.create(dated=site.now - timedelta(days=3))["issue"]["id"]
    unwanted = site.create(dated=site.now - timedelta(days=9))["issue"]["id"]
    for issue_id in (wanted, unwanted):
        site.comment(issue_id)
    reader.read(site.tick(EVERY))
    assert created_keys([wanted]) <= reader.keys
    assert not created_keys([unwanted]) & reader.keys


@given(STEPS, st.integers(1, 3), st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_run_resumes_after_a_crash(steps, page_size, crashes):
    """A page that was not stored is read again, from a cursor that has been through JSON, and nothing is missed."""
    site = FakeSite(page_size)
    play(site, steps)
    expected = read_history(site.answer).keys
    cursor, keys = None, set()
    for crash in [*crashes, *[False] * 500]:
        page = page_at(cursor, site.answer)
        if crash:
            continue
        keys |= {draft.dedupe_key for draft in page.signals}
        if page.cursor is None:
            break
        cursor = json.loads(json.dumps(page.cursor))
    assert keys == expected


def test_comments_that_are_deleted_while_they_are_listed_hide_no_other():
    """The list moves up between two pages, so it is read again; an addition at the same time does not conceal it."""
    site = FakeSite()
    site.embed = False
    site.create()
    (issue_id,) = site.issues
    for _ in range(6):
        site.comment(issue_id)
    stay = [one["id"] for one in site.comments[issue_id][2:]]
    plain, once = site.answer, iter([1])

    def answer(request):
        found = plain(request)
        if "/comment?" in request.url and next(once, None):
            del site.comments[issue_id][:2]
            site.comment(issue_id)
            site.comment(issue_id)
        return found

    keys = {draft.dedupe_key for draft in page_at(None, answer).signals}
    assert keys >= {f"jira:{CLOUD}:comment:{one}:created" for one in stay}


# --- pages -----------------------------------------------------------------------------------------------------------


def test_a_page_with_many_long_discussions_ends_early():
    """No page takes many more calls to one endpoint than may go out at once; all issues are read all the same."""
    site = FakeSite(page_size=100)
    site.embed = False
    for number in range(90):
        site.create()
        if number % 30 == 0:
            site.now -= timedelta(seconds=7, milliseconds=13)  # two issues of one second
    asked = []

    def answer(request):
        asked.append(request.url.partition("?")[0].rpartition("/")[2])
        return site.answer(request)

    reader = read_history(answer)
    assert len(reader.keys) == 90
    longest = max(len(run) for run in "".join("c" if one == "comment" else " " for one in asked).split())
    assert longest <= 42
    assert len(site.searches) <= 4


def test_a_page_of_one_second_does_not_end_early():
    """Where the position cannot advance, what a page leaves out would be left out for good."""
    site = FakeSite(page_size=100)
    site.embed = False
    for _ in range(60):
        site.comment(site.create()["issue"]["id"])
    for issue in site.issues.values():
        issue["fields"]["updated"] = stamp(site.now)
    reader = read_history(site.answer)
    assert len(reader.keys) == 120
    assert len(site.searches) == 2


def test_query_is_bounded_and_in_epoch_milliseconds():
    """The search names its fields and bounds, never a quoted date, and asks for no page token."""
    site = FakeSite()
    site.create()
    since = NOW - timedelta(days=30)
    read_history(site.answer, since=since)
    assert site.searches == [f"updated >= {ms(since)} AND project = 10000 ORDER BY updated ASC, id ASC"]
    assert {"created", "updated", "status", "comment"} <= set(SEARCHED_FIELDS)


@pytest.mark.parametrize("key", ["project:1 OR project = 2", "project:OPS", "project:", f"project:{'1' * 19}", ""])
def test_key_is_no_way_into_the_query(key):
    """Only a project's number goes into JQL."""
    with pytest.raises(UnexpectedResponseError):
        page_at(None, FakeSite().answer, key)


@pytest.mark.parametrize("bookmark", [{"since": ms(NOW)}, {"since": 10**14}, {"since": ms(NOW - SETTLE)}])
def test_incremental_run_begins_before_the_last_end(bookmark):
    """The index may lag, so what changed shortly before is read again, even if the bookmark lies later."""
    site = FakeSite()
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW + EVERY, floor=NOW, bookmark=bookmark)
    page = page_at(None, site.answer, SITE, window)
    assert site.searches == [f"updated >= {ms(NOW - SETTLE)} ORDER BY updated ASC, id ASC"]
    assert page.bookmark == {"since": ms(NOW + EVERY - SETTLE)}


def test_window_of_a_backfill():
    """Only what happened between `since` and `until` is emitted, also of issues that changed later."""
    site = FakeSite(page_size=50)
    envelopes = play(site, [("comment", 0, "1"), ("move", 0, "3"), ("assign", 0, "1"), ("rename", 0, "1")])
    since, until = (LONG_AGO + timedelta(milliseconds=envelopes[number]["timestamp"]) for number in (1, 2))
    reader = reader_of(site.answer)
    reader.backfill(since, NOW, until)
    assert [draft.kind.value for draft in reader.signals] == ["issue_status_changed", "issue_commented"]


@pytest.mark.parametrize("page_size", [2, 10])
def test_history_that_ends_long_ago_is_read_by_positions(page_size):
    """What changed after the wanted stretch is read for what happened in it, without page tokens, in short pages too."""
    site = FakeSite(page_size)
    for _ in range(100):
        site.create()
    reader = reader_of(site.answer)
    reader.backfill(LONG_AGO, NOW, site.now - timedelta(days=1))
    assert len(site.searches) < 120
    assert all("token" not in (page.cursor or {}) for page in reader.pages)


def test_bulk_edit_uses_page_tokens():
    """Many issues of one second are read through tokens, each once at least."""
    site = FakeSite()
    for _ in range(7):
        site.create()
    same = stamp(site.now)
    for issue in site.issues.values():
        issue["fields"]["updated"] = same
    reader = read_history(site.answer)
    assert len(reader.keys) == 7
    assert any("token" in (page.cursor or {}) for page in reader.pages)


@pytest.mark.parametrize("tokens", ["a", "ab", "abc"])
def test_page_tokens_that_circle_give_equal_cursors(tokens):
    """A server that repeats its tokens in a full second brings cursors that were there before: the engine notices."""
    at = stamp(NOW - timedelta(days=1))
    fields = {"created": at, "updated": at, "summary": "x", "comment": {"comments": [], "total": 0}}
    cursor, seen = None, []
    for number in range(30):
        full = {"issues": [{"id": "1", "fields": fields}], "nextPageToken": tokens[number % len(tokens)]}
        page = page_at(cursor, replies(full, {"issueChangeLogs": []})[0])
        cursor = page.cursor
        if cursor in seen:
            return
        seen.append(cursor)
    raise AssertionError("no cursor came twice")


@pytest.mark.parametrize(
    "document",
    [
        {"issues": [], "nextPageToken": "t", "isLast": False},
        {"issues": [], "nextPageToken": None},
    ],
)
def test_empty_page_ends_the_run(document):
    """No issues is the end, whatever else the answer says."""
    answer, _ = replies(document, {"values": [{"id": 10000}], "isLast": True})
    page = page_at(None, answer)
    assert page.cursor is None
    assert page.items == 0


@pytest.mark.parametrize("document", [{}, {"issues": None}, {"issues": {}}, {"errorMessages": ["No."], "errors": {}}])
def test_an_answer_without_issues_reads_nothing(document):
    """An error under a good status is not an empty page."""
    answer, _ = replies(document)
    with pytest.raises(UnexpectedResponseError, match="no list of issues"):
        page_at(None, answer)


def test_expired_token_restarts_from_the_cursor():
    """A 400 to a token begins the same second again; a 400 without one is an error."""
    site = FakeSite()
    for _ in range(7):
        site.create()
    same = stamp(site.now)
    for issue in site.issues.values():
        issue["fields"]["updated"] = same
    cursor, number, keys = None, 0, set()
    while number == 0 or cursor is not None:
        page = page_at(cursor, site.answer)
        cursor, number, keys = page.cursor, number + 1, keys | {draft.dedupe_key for draft in page.signals}
        site.generation += number in {1, 3}
    assert keys == created_keys(site.issues)
    site.broken["search/jql"] = 400
    with pytest.raises(UnexpectedResponseError, match="400"):
        page_at(None, site.answer)


def test_removed_search_is_an_error_and_not_an_empty_site():
    """A 410 is never "no issues"."""
    answer, _ = replies(reply({"errorMessages": ["removed"]}, 410))
    with pytest.raises(UnexpectedResponseError):
        page_at(None, answer)


def test_a_stored_cursor_of_another_form_is_an_error():
    """A cursor without a position is not taken for the beginning."""
    with pytest.raises(UnexpectedResponseError):
        page_at({"page": 3}, FakeSite().answer)


def test_a_run_needs_no_more_than_one_call_more_than_its_pages():
    """Embedded comments and known statuses keep a page at two calls; the last asks whether the project is shown."""
    site = FakeSite(page_size=50)
    play(site, [("comment", 0, "1"), ("create", 0, "1"), ("move", 1, "5")])
    asked = []

    def answer(request):
        asked.append(request.url)
        return site.answer(request)

    page_at(None, answer)
    assert len(asked) == 3
    assert JIRA.streams is not None


def test_a_quiet_site_takes_two_requests():
    """One for the projects and one for the changes."""
    site = FakeSite()
    site.create()
    reader = reader_of(site.answer)
    reader.read(site.tick(timedelta(hours=1)))
    asked = []
    reader.converse = lambda conversation: hold(conversation, lambda one: asked.append(one.url) or site.answer(one))
    reader.read(site.tick(EVERY))
    assert len(asked) == 2


# --- things that cannot be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 410, 400, 403, 500])
def test_site_without_bulk_changelog_is_asked_issue_by_issue(status):
    """Where the bulk call is missing or fails, histories come one by one."""
    site = FakeSite()
    site.create()
    (issue_id,) = site.issues
    site.move(issue_id, "5")
    expected = facts(read_history(site.answer).signals)
    site.broken["changelog/bulkfetch"] = status
    assert facts(read_history(site.answer).signals) == expected


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("part", ["changelog", "comments"])
def test_an_issue_whose_details_fail_is_parked_and_read_later(part, status):
    """The other issues of its page are read, and the one by itself once it can be."""
    site = FakeSite(page_size=10)
    for _ in range(3):
        site.create()
    for issue_id in site.issues:
        site.move(issue_id, "5")
        site.comment(issue_id)
    site.embed = False
    expected = read_history(site.answer).keys
    sick = list(site.issues)[1]
    path = f"issue/{sick}/{part.removesuffix('s')}"
    site.broken |= {"changelog/bulkfetch": 500, path: status}
    reader = read_history(site.answer)
    ((key, item),) = reader.parked
    assert (key, item.reference) == (PROJECT, f"issue {sick} {part}")
    created, updated = (read_instant(site.issues[sick]["fields"][name]) for name in ("created", "updated"))
    assert item.between == (created, updated)
    assert len(expected - reader.keys) == 1
    with pytest.raises((AccessLostError, UnexpectedResponseError, ProviderUnavailableError)):
        reader.read_parked(key, item, NOW)
    del site.broken[path]
    reader.read_parked(key, item, NOW)
    assert reader.keys == expected


def test_a_parked_issue_that_is_gone_ends():
    """Only an issue that is no longer there is gone; one that is closed to us may be read again."""
    site = FakeSite(page_size=10)
    (issue_id,) = [site.create()["issue"]["id"]]
    site.embed = False
    site.broken[f"issue/{issue_id}/comment"] = 403
    reader = read_history(site.answer)
    ((key, item),) = reader.parked
    with pytest.raises(AccessLostError):
        reader.read_parked(key, item, NOW)
    site.issues.clear()
    assert reader.read_parked(key, item, NOW) is None


def test_a_vendor_that_is_down_parks_nothing():
    """The third issue in a row that Jira cannot give fails the page: it is not the issues."""
    site = FakeSite(page_size=10)
    site.embed = False
    for _ in range(4):
        site.broken[f"issue/{site.create()['issue']['id']}/comment"] = 502
    with pytest.raises(ProviderUnavailableError):
        page_at(None, site.answer)


def test_only_numbers_go_into_a_path():
    """An id that would change the path of the URL is never requested."""
    odd = {"id": "..", "key": "A-1", "fields": {"created": stamp(NOW), "updated": stamp(NOW)}}
    answer, asked = replies({"issues": [odd]}, {"values": [{"id": "10000"}], "isLast": True})
    page = page_at(None, answer)
    assert len(asked) == 2
    assert [one.reference for one in page.parked] == [f"issues from {ms(NOW)}"]


@pytest.mark.parametrize("reference", ["issue 1/../2 comments", "issue 1 worklogs", "issues from -1", "issue 10", ""])
def test_a_reference_of_another_form_is_an_error(reference):
    """Nothing but numbers and known parts go from a reference into a request."""
    reader = reader_of(replies()[0])
    context = SyncContext(app=APP, connection=make_connection())
    with pytest.raises(UnexpectedResponseError):
        reader.converse(JIRA.streams.read_item(context, stream(PROJECT), HISTORY, reference))


def test_unknown_statuses_are_learnt():
    """A connection without categories learns them with its first page, and uses them at once."""
    site = FakeSite()
    site.create()
    (issue_id,) = site.issues
    site.move(issue_id, "5")
    site.move(issue_id, "3")
    context = SyncContext(app=APP, connection=make_connection(metadata={}))
    page = hold(read_page(context, stream(PROJECT), HISTORY, None), site.answer)
    assert [draft.kind.value for draft in page.signals] == ["issue_created", "issue_closed", "issue_reopened"]
    assert page.connection_metadata == {"status_categories": STATUSES}


def test_statuses_that_cannot_be_read_park_the_histories_that_need_them():
    """A closing is never emitted as another change of the status, whose key it would share."""
    site = FakeSite(page_size=10)
    for _ in range(2):
        site.create()
    closed, renamed = site.issues
    site.move(closed, "5")
    site.change(renamed, "summary", "a", "b")
    site.broken["status"] = 403
    reader = read_history(site.answer, make_connection(metadata={}))
    assert sorted(draft.kind.value for draft in reader.signals) == ["issue_created", "issue_created", "issue_updated"]
    ((key, item),) = reader.parked
    assert item.reference == f"issue {closed} changelog"
    with pytest.raises(AccessLostError):
        reader.read_parked(key, item, NOW)
    site.broken.clear()
    reader.read_parked(key, item, NOW)
    assert "issue_closed" in {draft.kind.value for draft in reader.signals}


def test_one_bad_item_steps_aside():
    """Items without ids or times are parked; the page goes on."""
    good = {"id": "1", "key": "A-1", "fields": {"created": stamp(NOW), "updated": stamp(NOW)}}
    page = {"issues": [None, {"fields": 7}, {"id": "2", "fields": {"created": "soon"}}, good]}
    logs = {"issueChangeLogs": [{"issueId": "1", "changeHistories": [{"id": None}, 7, {"id": "5", "items": [{}]}]}]}
    none = {"comments": [], "total": 0}
    shown = {"values": [{"id": "10000"}], "isLast": True}
    answer, _ = replies(page, logs, none, none, shown)
    result = page_at(None, answer)
    assert [draft.dedupe_key for draft in result.signals] == [f"jira:{CLOUD}:issue:1:created"]
    assert [one.reference for one in result.parked] == ["issues from 0", "issue 2 fields", "issue 1 changelog"]
    assert result.items == 2


def test_a_page_of_unreadable_rows_is_not_the_end():
    """What follows a page on which no row can be read is read."""
    page = page_at(None, replies({"issues": [None, 7], "nextPageToken": "t"})[0])
    assert page.cursor is not None
    assert page.cursor["token"] == "t"


def test_an_unreadable_row_is_read_once_it_is_readable():
    """A row without an id is looked for where the search showed it."""
    site = FakeSite(page_size=10)
    issue_id = site.create()["issue"]["id"]
    plain, is_damaged = site.answer, True

    def answer(request):
        found = plain(request)
        if is_damaged and "search/jql" in request.url:
            document = json.loads(found.body)
            del document["issues"][0]["id"]
            return reply(document)
        return found

    reader = read_history(answer)
    ((key, item),) = reader.parked
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, item, NOW)
    is_damaged = False
    reader.read_parked(key, item, NOW)
    assert reader.keys == created_keys([issue_id])


# --- hostile answers -------------------------------------------------------------------------------------------------


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_hostile_answers_never_crash(data):
    """Whatever any field of any object contains, the result is a page or one of our errors."""
    site = FakeSite(page_size=50)
    play(site, [("comment", 0, "1"), ("move", 0, "5"), ("edit", 0, "1")])
    spoilt = data.draw(st.sampled_from(["search/jql", "bulkfetch", "comment", "status", "project/search", "/issue/"]))

    def answer(request):
        response = site.answer(request)
        if spoilt not in request.url:
            return response
        return reply(spoil(data, json.loads(response.body)))

    site.embed = False
    reader = reader_of(answer, make_connection(metadata={}))
    with contextlib.suppress(UnexpectedResponseError, AssertionError):
        reader.backfill(LONG_AGO, NOW)
    for key, item in list(reader.parked):
        with contextlib.suppress(UnexpectedResponseError, AccessLostError):
            reader.read_parked(key, item, NOW)


def spoil(data, document):
    """The document with one value somewhere replaced or removed."""
    places = list(places_of(document))
    container, key = data.draw(st.sampled_from(places))
    if isinstance(container, dict) and data.draw(st.booleans()):
        del container[key]
    else:
        container[key] = data.draw(VALUES)
    return document


def places_of(value):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from places_of(inner)


@given(st.data())
def test_hostile_deliveries_never_crash(data):
    """A genuine sender with a damaged body gives signals, nothing, or one of our errors."""
    site = FakeSite()
    envelopes = play(site, [("comment", 0, "1"), ("move", 0, "5"), ("edit", 0, "1"), ("assign", 0, "1")])
    envelope = spoil(data, data.draw(st.sampled_from(envelopes)))
    with contextlib.suppress(ConnectorsError):
        receive(make_request(envelope), make_connection())


# --- what older versions left ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cursor", "bookmarks"),
    [
        ({"updated": 1772452800000}, {"site": {"since": 1772452800000 - ms(LONG_AGO + SETTLE)}}),
        ({"baseline": 1772452800000}, {}),
        ({"updated": "soon"}, {}),
        ({}, {}),
    ],
)
def test_the_old_cursor_becomes_a_bookmark(cursor, bookmarks):
    """An incremental cursor from before streams goes on as the site's; of another, nothing is made."""
    assert split_cursor(cursor) == bookmarks
