"""Reading a site, and that every path to an event ends in the same signals."""

import contextlib
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jira import (
    APP,
    CLOUD,
    NOW,
    STATUSES,
    FakeSite,
    facts,
    hold,
    make_connection,
    make_request,
    ms,
    receive,
    replies,
    reply,
    stamp,
    sync_run,
)

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.sync import FIELDS, read_page

BACKFILL = SyncPlan(mode=SyncMode.BACKFILL, started_at=NOW)


def incremental(cursor, **changes):
    return SyncPlan(mode=SyncMode.INCREMENTAL, started_at=NOW, last_cursor=cursor, **changes)


def drafts_of(pages):
    return [draft for page in pages for draft in page.signals]


def push(envelopes, connection=None):
    connection = connection or make_connection()
    return [draft for one in envelopes for draft in receive(make_request(one), connection)]


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
        f"jira:{CLOUD}:comment:{one['id']}:edited:{ms_of(one['updated'])}"
        for all_ in site.comments.values()
        for one in all_
    }
    return {fact for fact in pushed if ":edited:" in fact[0] and fact[0] not in last}


def ms_of(text):
    from connectors.domain.model.instant import read_instant

    return ms(read_instant(text))


@given(STEPS, st.booleans(), st.integers(1, 3))
def test_push_and_reading_end_in_the_same_signals(steps, embed, page_size):
    """Push only, backfill only, both in any order and everything twice give one set of signals."""
    site = FakeSite(page_size)
    site.embed = embed
    pushed = facts(push(play(site, steps)))
    read = facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    again = facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    assert read == again
    assert pushed - lost_edits(site, pushed) == read
    keys = [key for key, _, _ in pushed | read | again]
    assert len(keys) == len(set(keys))


@given(STEPS, STEPS)
def test_sync_runs_one_after_the_other_leave_no_gap(first, second):
    """A baseline or backfill and then incremental sync runs see whatever a whole backfill sees."""
    site = FakeSite()
    play(site, first)
    pages = sync_run(BACKFILL, site.answer, make_connection())
    seen = facts(drafts_of(pages))
    site.tick(timedelta(hours=1))
    play(site, second)
    more = sync_run(incremental(pages[-1].cursor), site.answer, make_connection())
    seen |= facts(drafts_of(more))
    everything = facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    assert everything <= seen


@given(STEPS, st.lists(st.tuples(st.integers(0, 5), st.sampled_from(sorted(STATUSES))), max_size=8))
def test_issues_that_move_during_the_sync_run_are_not_missed(steps, touches):
    """An issue that changes while pages are read loses nothing that happened before."""
    site = FakeSite(page_size=1)
    play(site, [("create", 0, "1"), ("create", 0, "1"), *steps])
    before = facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    waiting = list(touches)

    def touch():
        if waiting:
            number, status = waiting.pop()
            site.move(list(site.issues)[number % len(site.issues)], status)

    site.on_search = touch
    assert before <= facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))


@pytest.mark.parametrize("position", [-1, -2])
def test_fields_newer_than_the_index_hide_no_issue(position):
    """An issue that is edited while an answer is made is at its old position with its new time: others follow it."""
    site = FakeSite(page_size=50)
    for _ in range(260):
        site.create()
    expected = facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    plain, touched, pages = site._search, set(), []

    def search(query):
        found = plain(query)
        pages.append(1)
        if len(found["issues"]) == 50 and found["issues"][position]["id"] not in touched:
            issue = found["issues"][position]
            touched.add(issue["id"])
            site.now = NOW
            site.change(issue["id"], "summary", "a", "b")
            issue["fields"]["updated"] = site.issues[issue["id"]]["fields"]["updated"]
        return found

    site._search = search
    assert expected <= facts(drafts_of(sync_run(BACKFILL, site.answer, make_connection())))
    assert touched
    assert len(pages) < 15


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

    keys = {draft.dedupe_key for draft in drafts_of(sync_run(BACKFILL, answer, make_connection())[:1])}
    assert keys >= {f"jira:{CLOUD}:comment:{one}:created" for one in stay}


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

    pages = sync_run(BACKFILL, answer, make_connection())
    assert len({draft.dedupe_key for draft in drafts_of(pages)}) == 90
    longest = max(len(run) for run in "".join("c" if one == "comment" else " " for one in asked).split())
    assert longest <= 42
    assert len(pages) <= 4


def test_first_incremental_sync_run_is_a_baseline():
    """Without a cursor nothing older is emitted; statuses are learnt; the next sync run begins now."""
    site = FakeSite()
    site.create()
    pages = sync_run(incremental(None), site.answer, make_connection(metadata={}))
    assert [page.signals for page in pages] == [()]
    assert pages[0].cursor == {"updated": ms(NOW)}
    assert pages[0].connection_metadata == {"status_categories": STATUSES}


def test_query_is_bounded_and_in_epoch_milliseconds():
    """The search names its fields and bounds, never a quoted date, and asks for no page token."""
    site = FakeSite()
    site.create()
    since = NOW - timedelta(days=30)
    plan = SyncPlan(mode=SyncMode.BACKFILL, started_at=NOW, since=since, target="OPS")
    sync_run(plan, site.answer, make_connection())
    assert site.searches == [f'updated >= {ms(since)} AND project = "OPS" ORDER BY updated ASC, id ASC']
    assert {"created", "updated", "status", "comment"} <= set(FIELDS)


@pytest.mark.parametrize("target", ['OPS" OR project = "X', "ops", "", "O" * 99])
def test_target_is_no_way_into_the_query(target):
    """Only a project's key or id goes into JQL."""
    with pytest.raises(UnexpectedResponseError):
        sync_run(SyncPlan(mode=SyncMode.BACKFILL, started_at=NOW, target=target), FakeSite().answer, make_connection())


def test_incremental_starts_before_the_last_end():
    """The index may lag: the sync run reads the last ten minutes again."""
    site = FakeSite()
    sync_run(incremental({"updated": ms(NOW)}), site.answer, make_connection())
    assert site.searches == [f"updated >= {ms(NOW - timedelta(minutes=10))} ORDER BY updated ASC, id ASC"]


def test_window_of_a_backfill():
    """Only what happened between `since` and `until` is emitted, and incremental reading begins at `until`."""
    site = FakeSite(page_size=50)
    envelopes = play(site, [("comment", 0, "1"), ("move", 0, "3"), ("assign", 0, "1"), ("rename", 0, "1")])
    since, until = (envelopes[1]["timestamp"], envelopes[2]["timestamp"])
    bounds = {
        "since": NOW + timedelta(milliseconds=since - ms(NOW)),
        "until": NOW + timedelta(milliseconds=until - ms(NOW)),
    }
    pages = sync_run(SyncPlan(mode=SyncMode.BACKFILL, started_at=NOW, **bounds), site.answer, make_connection())
    assert [draft.kind.value for draft in drafts_of(pages)] == ["issue_status_changed", "issue_commented"]
    assert pages[-1].cursor == {"updated": until}


def test_bulk_edit_uses_page_tokens():
    """Many issues of one second are read through tokens, each once at least."""
    site = FakeSite()
    for _ in range(7):
        site.create()
    same = stamp(NOW)
    for issue in site.issues.values():
        issue["fields"]["updated"] = same
    pages = sync_run(BACKFILL, site.answer, make_connection())
    keys = {draft.dedupe_key for draft in drafts_of(pages)}
    assert len(keys) == 7
    assert all(page.gap is None for page in pages)


def test_repeated_token_ends_with_a_gap_and_goes_on():
    """If a server repeats its token in a full second, the loss is reported and the rest is read."""
    at = stamp(NOW)
    fields = {"created": at, "updated": at, "summary": "x", "comment": {"comments": [], "total": 0}}
    full = {"issues": [{"id": "1", "key": "A-1", "fields": fields}], "nextPageToken": "again", "isLast": False}
    searches = []

    def answer(request):
        if "search/jql" not in request.url:
            return reply({"issueChangeLogs": []})
        query = json.loads(request.body)
        searches.append(query)
        assert len(searches) < 10
        return reply(full if f"{ms(NOW)}" in query["jql"] or len(searches) == 1 else {"issues": [], "isLast": True})

    pages = sync_run(BACKFILL, answer, make_connection())
    assert [page.gap is not None for page in pages] == [False, False, True, False]
    assert pages[-1].done
    assert pages[-1].cursor == {"updated": ms(NOW) + 1000}


@pytest.mark.parametrize(
    "document",
    [
        {"issues": [], "nextPageToken": "t", "isLast": False},
        {"issues": [], "nextPageToken": None},
        {"issues": None},
        {},
    ],
)
def test_empty_page_ends_the_sync_run(document):
    """No issues is the end, whatever else the answer says."""
    answer, _ = replies(document)
    (page,) = sync_run(BACKFILL, answer, make_connection())
    assert page.done
    assert page.items == 0


def test_expired_token_restarts_from_the_cursor():
    """A 400 to a token begins the same second again; a 400 without one is an error."""
    cursor = {"since": 5000, "started": 0, "token": "old", "used": ["x"]}
    context = SyncContext(app=APP, connection=make_connection())
    answer, _ = replies(reply({"errorMessages": ["expired"]}, 400))
    page = hold(read_page(context, BACKFILL, cursor), answer)
    assert page.cursor == {"since": 5000, "started": 0}
    assert not page.done
    answer, _ = replies(reply({"errorMessages": ["bad jql"]}, 400))
    with pytest.raises(UnexpectedResponseError):
        hold(read_page(context, BACKFILL, page.cursor), answer)


def test_removed_search_is_an_error_and_not_an_empty_site():
    """A 410 is never "no issues"."""
    answer, _ = replies(reply({"errorMessages": ["removed"]}, 410))
    with pytest.raises(UnexpectedResponseError):
        sync_run(BACKFILL, answer, make_connection())


def test_site_without_bulk_changelog_is_asked_issue_by_issue():
    """Where the bulk call is missing, histories come one by one."""
    site = FakeSite()
    site.create()
    (issue_id,) = site.issues
    site.move(issue_id, "5")

    def answer(request):
        if "bulkfetch" in request.url:
            return reply({}, 404)
        if f"issue/{issue_id}/changelog" in request.url:
            return reply({"values": site.histories[issue_id], "isLast": True})
        return site.answer(request)

    assert facts(drafts_of(sync_run(BACKFILL, answer, make_connection()))) == facts(
        drafts_of(sync_run(BACKFILL, site.answer, make_connection()))
    )


def test_an_issue_whose_details_are_closed_steps_aside():
    """An issue that the user may no longer open is named, and the others of its page are read."""
    site = FakeSite(page_size=10)
    for _ in range(2):
        site.create()
    closed, still_open = site.issues
    for issue_id in (closed, still_open):
        site.move(issue_id, "5")
        site.comment(issue_id)
    site.embed = False

    def answer(request):
        if "bulkfetch" in request.url:
            return reply({}, 404)
        if f"issue/{closed}/" in request.url:
            return reply({"errorMessages": ["No."], "errors": {}}, 403)
        if f"issue/{still_open}/changelog" in request.url:
            return reply({"values": site.histories[still_open], "isLast": True})
        return site.answer(request)

    pages = sync_run(BACKFILL, answer, make_connection())
    kinds = sorted(draft.kind.value for draft in drafts_of(pages))
    assert kinds == ["issue_closed", "issue_commented", "issue_created", "issue_created"]
    skipped = {item.reference for page in pages for item in page.skipped}
    assert skipped == {f"history of issue {closed}", f"comments of issue {closed}"}


def test_only_numbers_go_into_a_path():
    """An id that would change the path of the URL is never requested."""
    odd = {"id": "..", "key": "A-1", "fields": {"created": stamp(NOW), "updated": stamp(NOW)}}
    answer, asked = replies({"issues": [odd]})
    sync_run(BACKFILL, answer, make_connection())
    assert len(asked) == 1


def test_unknown_statuses_are_learnt():
    """A connection without categories learns them with its first page, and uses them at once."""
    site = FakeSite()
    site.create()
    (issue_id,) = site.issues
    site.move(issue_id, "5")
    site.move(issue_id, "3")
    pages = sync_run(BACKFILL, site.answer, make_connection(metadata={}))
    assert [draft.kind.value for draft in drafts_of(pages)] == ["issue_created", "issue_closed", "issue_reopened"]
    assert pages[0].connection_metadata == {"status_categories": STATUSES}


def test_one_bad_item_steps_aside():
    """Items without ids or times are reported; the page goes on."""
    good = {"id": "1", "key": "A-1", "fields": {"created": stamp(NOW), "updated": stamp(NOW)}}
    page = {"issues": [None, {"fields": 7}, {"id": "2", "fields": {"created": "soon"}}, good]}
    logs = {"issueChangeLogs": [{"issueId": "1", "changeHistories": [{"id": None}, 7, {"id": "5", "items": [{}]}]}]}
    none = {"comments": [], "total": 0}
    answer, _ = replies(page, logs, none, none)
    (result,) = sync_run(BACKFILL, answer, make_connection())
    assert [draft.dedupe_key for draft in result.signals] == [f"jira:{CLOUD}:issue:1:created"]
    assert len(result.skipped) == 6
    assert result.items == 4


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_hostile_search_answers_never_crash(data):
    """Whatever any field of any object contains, the result is a page or one of our errors."""
    site = FakeSite(page_size=50)
    play(site, [("comment", 0, "1"), ("move", 0, "5"), ("edit", 0, "1")])
    spoilt = data.draw(st.sampled_from(["search/jql", "bulkfetch", "comment", "status"]))

    def answer(request):
        response = site.answer(request)
        if spoilt not in request.url:
            return response
        return reply(spoil(data, json.loads(response.body)))

    site.embed = False
    with contextlib.suppress(UnexpectedResponseError):
        sync_run(BACKFILL, answer, make_connection(metadata={}), cap=50)


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
    from connectors.domain.model.errors import ConnectorsError

    site = FakeSite()
    envelopes = play(site, [("comment", 0, "1"), ("move", 0, "5"), ("edit", 0, "1"), ("assign", 0, "1")])
    envelope = spoil(data, data.draw(st.sampled_from(envelopes)))
    with contextlib.suppress(ConnectorsError):
        receive(make_request(envelope), make_connection())


def test_sync_run_needs_no_more_than_one_call_more_than_its_pages():
    """Embedded comments and known statuses keep a page at two calls."""
    site = FakeSite(page_size=50)
    play(site, [("comment", 0, "1"), ("create", 0, "1"), ("move", 1, "5")])
    asked = []

    def answer(request):
        asked.append(request.url)
        return site.answer(request)

    sync_run(BACKFILL, answer, make_connection())
    assert len(asked) == 2
    assert JIRA.sync is not None
