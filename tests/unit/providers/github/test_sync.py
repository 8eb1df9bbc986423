"""Sync runs through a GitHub that behaves, also while people go on working in it."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.github.fake import FakeGitHub
from tests.unit.providers.github.support import CONTEXT, NOW, make_app, make_connection, make_delivery

from connectors.domain.model.errors import (
    AccessLostError,
    ForbiddenHostError,
    ProviderUnavailableError,
    RateLimitedError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.model.webhook import WebhookEvent
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.github import sync, webhooks

PUSH_ONLY = {SignalKind.ISSUE_REOPENED, SignalKind.PULL_REQUEST_REOPENED}
CLOSED = {SignalKind.ISSUE_CLOSED, SignalKind.PULL_REQUEST_CLOSED}


def drive(conversation, github):
    """What the conversation returns when the fake answers."""
    try:
        request = next(conversation)
        while True:
            try:
                response = github.answer(request)
            except (AccessLostError, ProviderUnavailableError, RateLimitedError) as error:
                request = conversation.throw(error)
            else:
                request = conversation.send(response)
    except StopIteration as end:
        return end.value


def plan_at(github, **changes):
    return SyncPlan(**{"mode": SyncMode.INCREMENTAL, "started_at": github.now, **changes})


def backfill(github, **changes):
    return plan_at(github, mode=SyncMode.BACKFILL, **changes)


def sync_run(github, plan, connection=None):
    """All pages of a sync run; every cursor goes through JSON, as it would through the database."""
    context = SyncContext(app=make_app(), connection=connection or make_connection())
    cursor = json.loads(json.dumps(drive(sync.start(context, plan), github)))
    pages = []
    while not pages or not pages[-1].done:
        pages.append(drive(sync.read_page(context, plan, cursor), github))
        cursor = json.loads(json.dumps(pages[-1].cursor))
        assert len(pages) < 2000, "the sync run does not end"
    return pages


def keys(pages):
    return {draft.dedupe_key for page in pages for draft in page.signals}


def pushed(github):
    """The signals of all webhooks so far, by key."""
    outcomes = [webhooks.read_event(make_delivery(body, event), CONTEXT) for event, body in github.deliveries]
    drafts = [draft for outcome in outcomes if isinstance(outcome, WebhookEvent) for draft in outcome.signals]
    return {draft.dedupe_key: draft for draft in drafts}


def busy_github():
    github = FakeGitHub()
    for _ in range(3):
        issue, pull = github.open_issue(), github.open_pull()
        github.comment(issue)
        github.comment(pull)
        github.review(pull)
        github.review(pull, state="commented", body="")
        github.review_comment(pull)
        github.close(issue)
        github.close(pull, merged=True)
        github.push()
        github.push("branch_creation")
        github.release()
        github.release(draft=True)
    github.close(github.open_pull())
    return github


def test_a_backfill_finds_what_the_webhooks_reported():
    """Push and backfill give one set of keys, with the same kinds, times and containers."""
    github = busy_github()
    by_push = pushed(github)
    by_sync = {draft.dedupe_key: draft for page in sync_run(github, backfill(github)) for draft in page.signals}
    assert set(by_sync) == set(by_push)
    for key, draft in by_sync.items():
        reported = by_push[key]
        assert (draft.kind, draft.container, draft.subject.type) == (
            reported.kind,
            reported.container,
            reported.subject.type,
        )
        assert draft.subject.id == reported.subject.id
        if draft.kind is not SignalKind.CODE_PUSHED:
            assert (draft.occurred_at, draft.url) == (reported.occurred_at, reported.url)


WORK = ("issue", "pull", "comment", "close", "merge", "reopen", "review", "shell", "review_comment", "push", "release")


def work(github, action, pick):
    """One thing that somebody does, on an item that admits it."""
    issues, pulls = sorted(github.issues), sorted(github.pulls)
    is_open = [n for n in issues if github.issues[n]["closed_at"] is None]
    is_closed = [
        n for n in issues
        if github.issues[n]["closed_at"] and not (github.issues[n].get("pull_request") or {}).get("merged_at")
    ]  # fmt: skip
    open_pulls = [n for n in is_open if n in github.pulls]
    choices = {
        "issue": (None, lambda _: github.open_issue()),
        "pull": (None, lambda _: github.open_pull()),
        "push": (None, lambda _: github.push()),
        "release": (None, lambda _: github.release()),
        "comment": (issues, github.comment),
        "close": (is_open, github.close),
        "merge": (open_pulls, lambda n: github.close(n, merged=True)),
        "reopen": (is_closed, github.reopen),
        "review": (pulls, github.review),
        "shell": (pulls, lambda n: github.review(n, state="commented", body=None)),
        "review_comment": (pulls, github.review_comment),
    }
    among, act = choices[action]
    if among is None:
        act(None)
    elif among:
        act(among[pick % len(among)])


@given(
    actions=st.lists(st.tuples(st.sampled_from(WORK), st.integers(0, 50)), max_size=40),
    cuts=st.sets(st.integers(0, 40), max_size=3),
    per_page=st.sampled_from([1, 2, 100]),
)
def test_any_sequence_by_push_by_sync_and_by_both(actions, cuts, per_page):
    """Push only, sync only and both agree on every signal that the API still shows when it is asked."""
    github = FakeGitHub(per_page_cap=per_page)
    cursor = sync_run(github, plan_at(github))[-1].cursor
    github.tick(10)
    by_sync = set()
    for index, (action, pick) in enumerate(actions):
        work(github, action, pick)
        if index in cuts:
            pages = sync_run(github, plan_at(github, last_cursor=cursor))
            by_sync, cursor = by_sync | keys(pages), pages[-1].cursor
    by_sync |= keys(sync_run(github, plan_at(github, last_cursor=cursor)))
    by_push = pushed(github)
    hidden = {
        key for key, draft in by_push.items()
        if draft.kind in PUSH_ONLY or (draft.kind in CLOSED and _was_reopened(github, draft))
    }  # fmt: skip
    assert by_sync <= set(by_push)
    assert set(by_push) - hidden <= by_sync
    if not cuts:
        assert by_sync == keys(sync_run(github, backfill(github)))


def _was_reopened(github, draft):
    item = github.issues[int(draft.subject.id)]
    return item["closed_at"] is None or item["closed_at"] != draft.occurred_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_baseline_emits_nothing_older():
    """The first incremental sync run reads no list; the second emits only what happened since."""
    github = busy_github()
    before = set(pushed(github))
    github.tick()
    first = sync_run(github, plan_at(github))
    assert keys(first) == set()
    assert len(first) == 1
    github.tick()
    old = min(github.pulls)
    github.comment(old)
    second = sync_run(github, plan_at(github, last_cursor=first[-1].cursor))
    assert keys(second) == set(pushed(github)) - before


@pytest.mark.parametrize("at_once", [True, False], ids=["one second", "one after the other"])
@pytest.mark.parametrize("kind", ["issue", "pull"])
def test_drift(kind, at_once):
    """An item touched at every page moves others, and still none is missed; the extra pages stay few."""
    github = FakeGitHub(per_page_cap=20)
    at = github.tick() if at_once else None
    make = github.open_issue if kind == "issue" else github.open_pull
    numbers = [make(at) for _ in range(500)]
    if kind == "pull":
        for number in numbers[::50]:
            # Written into the past: the review must not move the pull request.
            github.reviews[number] = [
                {"id": number, "state": "APPROVED", "html_url": "https://github.com/x", "submitted_at": "2026-03-01T00:00:01Z"}
            ]  # fmt: skip
    github.tick(1000)
    plan = backfill(github)
    calls = iter(range(10**6))
    lists = []

    def disturb(request):
        path = request.url.partition("?")[0]
        if path.endswith(("/issues", "/pulls")):
            lists.append(path)
            github.touch(numbers[next(calls) * 7 % len(numbers)])

    github.before_answer = disturb
    pages = sync_run(github, plan)
    assert set(pushed(github)) <= keys(pages)
    if kind == "pull":
        assert {f"github:7001:review:{number}" for number in numbers[::50]} <= keys(pages)
    issue_pages = sum(path.endswith("/issues") for path in lists)
    assert issue_pages <= 25 * 1.15 + 4


def test_a_release_that_leaves_hides_no_other():
    """Releases deleted between two pages move the rest up, and still none of the rest is missed."""
    github = FakeGitHub()
    for _ in range(350):
        github.release()
    github.tick(1000)
    plan = backfill(github)

    def disturb(request):
        if request.url.partition("?")[0].endswith("/releases"):
            del github.releases[-3:]

    github.before_answer = disturb
    found = keys(sync_run(github, plan))
    assert len(github.releases) < 350
    assert {f"github:7001:release:{one['id']}:published" for one in github.releases} <= found


def test_a_repository_that_leaves_hides_no_other():
    """The list of repositories is complete though one disappears between two of its pages."""
    github = FakeGitHub()
    others = [{**github.repository, "id": id_, "full_name": f"ada/r{id_}"} for id_ in range(250)]
    answer = github.answer

    def listed(request):
        response = answer(request)
        del others[:1]
        return response

    github.answer = listed
    github._page, page_of = (lambda request, _, query: page_of(request, others, query)), github._page
    cursor = drive(sync.start(SyncContext(app=make_app(), connection=make_connection()), backfill(github)), github)
    assert {one["id"] for one in others} <= {id_ for id_, _, _ in cursor["repositories"]}


def test_every_page_can_be_asked_again():
    """A sync run killed after any page goes on from its cursor, and a page asked twice says the same."""
    github = FakeGitHub(per_page_cap=3)
    for _ in range(8):
        github.review(github.open_pull())
        github.comment(github.open_issue())
    plan = backfill(github)
    context = SyncContext(app=make_app(), connection=make_connection())
    cursor = drive(sync.start(context, plan), github)
    found = set()
    while True:
        page = drive(sync.read_page(context, plan, cursor), github)
        again = drive(sync.read_page(context, plan, json.loads(json.dumps(cursor))), github)
        assert keys([page]) == keys([again])
        assert page.cursor == again.cursor
        found |= keys([page])
        cursor = page.cursor
        if page.done:
            break
    assert found == set(pushed(github))


def test_bounds_of_a_backfill():
    """Nothing older than `since` and nothing newer than `until` comes out."""
    github = FakeGitHub()
    times = []
    for _ in range(6):
        github.open_issue()
        times.append(github.now)
        github.tick(3600)
    pages = sync_run(github, backfill(github, since=times[1], until=times[3]))
    assert sorted(draft.occurred_at for page in pages for draft in page.signals) == times[1:4]
    assert pages[-1].cursor["mark"] == times[3].strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
def test_clocks_that_disagree(skew):
    """Whichever clock is ahead, nothing falls between two sync runs."""
    github = FakeGitHub()
    cursor = sync_run(github, plan_at(github, started_at=github.now + skew))[-1].cursor
    found = set()
    for _ in range(5):
        github.tick(1200)
        github.open_issue()
        pages = sync_run(github, plan_at(github, started_at=github.now + skew, last_cursor=cursor))
        found, cursor = found | keys(pages), pages[-1].cursor
    github.tick(7200)
    found |= keys(sync_run(github, plan_at(github, started_at=github.now + skew, last_cursor=cursor)))
    assert found == set(pushed(github))


def test_a_list_out_of_sight_is_taken_up_later():
    """A refused list is skipped, the others are read, and the next sync run continues it where it was."""
    github = FakeGitHub()
    cursor = sync_run(github, plan_at(github))[-1].cursor
    github.tick(600)
    github.open_issue()
    github.push()
    github.refused = {"activity": AccessLostError("GitHub answered 404: it is not there.")}
    github.tick(600)
    pages = sync_run(github, plan_at(github, last_cursor=cursor))
    assert [item.reference for page in pages for item in page.skipped] == ["ada/lamp/activity"]
    assert {draft.kind for page in pages for draft in page.signals} == {SignalKind.ISSUE_CREATED}
    github.refused = {}
    github.tick(86_400)
    pages = sync_run(github, plan_at(github, last_cursor=pages[-1].cursor))
    assert {draft.kind for page in pages for draft in page.signals} == {SignalKind.CODE_PUSHED}


def test_a_repository_that_comes_back():
    """What happened in a repository while it was invisible is read when it is visible again."""
    github = FakeGitHub()
    cursor = sync_run(github, plan_at(github))[-1].cursor
    chosen = make_connection(metadata={"repositories": []})
    for _ in range(3):
        github.tick(3600)
        github.open_issue()
        cursor = sync_run(github, plan_at(github, last_cursor=cursor), chosen)[-1].cursor
    assert keys(sync_run(github, plan_at(github, last_cursor=cursor))) == set(pushed(github))


def test_what_is_out_of_sight_is_remembered_within_bounds():
    """Repositories come and go for years; a cursor keeps the latest of those that are gone."""
    github = FakeGitHub()
    cursor = sync_run(github, plan_at(github))[-1].cursor
    first = {str(number): cursor["mark"] for number in range(sync.MOST_BEHIND + 10)}
    crowded = {**cursor, "behind": {f"1{number}:*": at for number, at in first.items()}, "known": [7]}
    behind = sync_run(github, plan_at(github, last_cursor=crowded))[-1].cursor["behind"]
    assert len(behind) == sync.MOST_BEHIND
    assert "7:*" in behind


def test_a_repository_named_pull_has_issues_too():
    """What a comment is on is read from the end of its page's address, not from a repository's name."""
    github = FakeGitHub()
    github.full_name = "ada/pull"
    github.repository |= {"full_name": "ada/pull", "html_url": "https://github.com/ada/pull"}
    github.comment(github.open_issue())
    github.comment(github.open_pull())
    by_sync = {draft.dedupe_key: draft.kind for page in sync_run(github, backfill(github)) for draft in page.signals}
    assert by_sync == {key: draft.kind for key, draft in pushed(github).items()}


def test_one_bad_item():
    """An unreadable item is named and skipped; its neighbours are not lost."""
    github = FakeGitHub()
    good, bad, last = github.open_issue(), github.open_issue(), github.open_issue()
    github.issues[bad]["title"] = None
    pages = sync_run(github, backfill(github))
    (skipped,) = [item for page in pages for item in page.skipped]
    assert skipped.reference == f"ada/lamp/issues {bad * 10}"
    assert "$.title" in skipped.reason
    assert keys(pages) == {f"github:7001:issue:{number}:created" for number in (good, last)}


def test_a_page_of_bad_items_ends():
    """Lists in which nothing can be read are read to their end, once."""
    github = FakeGitHub(per_page_cap=2)
    for _ in range(6):
        github.pulls[github.open_pull()]["title"] = None
    for issue in github.issues.values():
        issue["title"] = 5
    pages = sync_run(github, backfill(github))
    assert keys(pages) == set()
    assert sum(len(page.skipped) for page in pages) >= 12


def test_a_heavy_page_is_asked_smaller():
    """GitHub cuts off what takes too long: the page is halved, not given up."""
    github = FakeGitHub()
    for _ in range(60):
        github.open_issue()

    def strain(request):
        if "/issues?" in request.url and "per_page=100" in request.url:
            raise ProviderUnavailableError("GitHub answered 502.")

    github.before_answer = strain
    assert keys(sync_run(github, backfill(github))) == set(pushed(github))


def test_a_limit_stops_the_sync_run_at_its_page():
    """A limit is not a lost list: it is raised, and the page is asked again later."""
    github = FakeGitHub()
    github.refused = {"issues": RateLimitedError("GitHub wants a pause.", retry_at=NOW)}
    with pytest.raises(RateLimitedError):
        sync_run(github, backfill(github))


@pytest.mark.parametrize(("status", "body"), [(304, b""), (409, b'{"message": "Git Repository is empty."}')])
def test_an_empty_answer(status, body):
    """Nothing new, or a repository without a commit, is an empty page."""
    github = FakeGitHub()
    answer = github.answer

    def sometimes(request):
        return answer(request) if "/user/repos" in request.url else HttpResponse(status=status, body=body)

    github.answer = sometimes
    assert keys(sync_run(github, backfill(github))) == set()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message": 1}', b'{"message": "Conflict"}'])
def test_a_conflict(body):
    """A 409 that does not call the repository empty is an error: what the list holds was not read."""
    github = FakeGitHub()
    answer = github.answer

    def sometimes(request):
        return answer(request) if "/user/repos" in request.url else HttpResponse(status=409, body=body)

    github.answer = sometimes
    with pytest.raises(UnexpectedResponseError):
        sync_run(github, backfill(github))


@pytest.mark.parametrize(
    "link", ["https://evil.example/x", "http://api.github.com/x", "https://a@api.github.com/x", "/x"]
)
def test_a_next_page_elsewhere(link):
    """A page on another host is never asked for."""
    github = FakeGitHub()
    answer = github.answer

    def elsewhere(request):
        response = answer(request)
        return HttpResponse(status=200, headers={"link": f'<{link}>; rel="next"'}, body=response.body)

    github.answer = elsewhere
    with pytest.raises(ForbiddenHostError):
        sync_run(github, backfill(github))


@pytest.mark.parametrize("body", [b"", b'[{"number": 1', b"<html>", b"{}"])
def test_a_page_that_is_cut_off(body):
    """A list that is no list is asked again later; it is not the end of the sync run, nor of the history."""
    github = FakeGitHub()
    answer = github.answer

    def cut(request):
        return answer(request) if "/user/repos" in request.url else HttpResponse(status=200, body=body)

    github.answer = cut
    with pytest.raises(ProviderUnavailableError):
        sync_run(github, backfill(github))


def test_endless_reviews_are_reported():
    """A pull request with more reviews than are read is named, and its neighbours are read."""
    github = FakeGitHub(per_page_cap=1)
    endless = github.open_pull()
    for _ in range(31):
        github.review(endless)
    github.review(github.open_pull())
    pages = sync_run(github, backfill(github))
    assert {item.reference for page in pages for item in page.skipped} == {f"ada/lamp/pulls {endless}"}
    assert len(set(pushed(github)) - keys(pages)) == 1


def test_a_target():
    """A sync run may be for one repository only."""
    github = FakeGitHub()
    github.open_issue()
    assert keys(sync_run(github, backfill(github, target="repo:ada/lamp"))) == set(pushed(github))
    assert github.requests[0].url == "https://api.github.com/repos/ada/lamp"
    assert keys(sync_run(github, backfill(github, target="org:lighthouse"))) == set()


def test_a_cursor_of_another_version_reports_its_gap():
    """A cursor of another version starts over, and the gap is reported."""
    github = FakeGitHub()
    github.open_issue()
    (page,) = sync_run(github, plan_at(github, last_cursor={"version": 99}))
    assert page.done
    assert page.gap
    assert page.cursor["mark"]
