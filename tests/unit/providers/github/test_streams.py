"""Reading a GitHub that behaves by its streams, also while people go on working in it."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stream_reader import StreamReader, through_json
from tests.unit.providers.github.fake import EPOCH, FakeGitHub, text
from tests.unit.providers.github.support import CONTEXT, NOW, make_app, make_connection, make_delivery

from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    ForbiddenHostError,
    ProviderUnavailableError,
    RateLimitedError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.model.webhook import WebhookEvent
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.github import GITHUB, discovery, webhooks
from connectors.domain.providers.github.discovery import MAX_REPOSITORIES, TOO_MANY
from connectors.domain.providers.github.old_cursor import split_cursor
from connectors.domain.providers.github.streams import LISTS, STREAMS

PUSH_ONLY = {SignalKind.ISSUE_REOPENED, SignalKind.PULL_REQUEST_REOPENED}
CLOSED = {SignalKind.ISSUE_CLOSED, SignalKind.PULL_REQUEST_CLOSED}


def drive(conversation, github):
    """What the conversation returns when the fake answers."""
    try:
        request = next(conversation)
        while True:
            try:
                response = github.answer(request)
            except ConnectorsError as error:
                request = conversation.throw(error)
            else:
                request = conversation.send(response)
    except StopIteration as end:
        return end.value


def reader_of(github, connection=None, floor=None):
    """A reader of a connection that was made at `floor`: now, if it is not given."""
    return StreamReader(
        streams=STREAMS,
        context=SyncContext(app=make_app(), connection=connection or make_connection()),
        converse=lambda conversation: drive(conversation, github),
        floor=floor or github.now,
    )


def history(github, connection=None, since=EPOCH, until=None):
    """A reader that has read the history of everything, and been refused nothing."""
    reader = reader_of(github, connection, since)
    reader.backfill(since, github.now, until)
    assert reader.refused == {}
    return reader


def calls_of(github, path):
    """How often a list of the repository was asked for."""
    return sum(request.url.partition("?")[0].endswith(f"{github.full_name}/{path}") for request in github.requests)


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
    by_sync = {draft.dedupe_key: draft for draft in history(github).signals}
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
    reader = reader_of(github)
    reader.read(github.now)
    github.tick(10)
    for index, (action, pick) in enumerate(actions):
        work(github, action, pick)
        if index in cuts:
            reader.read(github.now)
    reader.read(github.now)
    by_push = pushed(github)
    hidden = {
        key for key, draft in by_push.items()
        if draft.kind in PUSH_ONLY or (draft.kind in CLOSED and _was_reopened(github, draft))
    }  # fmt: skip
    assert reader.keys <= set(by_push)
    assert set(by_push) - hidden <= reader.keys
    if not cuts:
        assert reader.keys == history(github).keys


def _was_reopened(github, draft):
    item = github.issues[int(draft.subject.id)]
    return item["closed_at"] is None or item["closed_at"] != draft.occurred_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_first_read_emits_nothing_older():
    """The first read emits only what happened since the connection was made, and so does the second."""
    github = busy_github()
    before = set(pushed(github))
    github.tick()
    reader = reader_of(github)
    reader.read(github.now)
    assert reader.keys == set()
    github.tick()
    github.comment(min(github.pulls))
    reader.read(github.now)
    assert reader.keys == set(pushed(github)) - before


@pytest.mark.parametrize("at_once", [True, False], ids=["one second", "one after the other"])
@pytest.mark.parametrize("kind", ["issue", "pull"])
def test_drift(kind, at_once):
    """An item touched at every page moves others, and still none is missed; the extra pages stay few."""
    github = FakeGitHub(per_page_cap=20)
    at = github.tick() if at_once else None
    make = github.open_issue if kind == "issue" else github.open_pull
    numbers = [make(at) for _ in range(500)]
    if kind == "pull":
        for number in numbers[::7]:
            # Written into the past: the review must not move the pull request.
            github.reviews[number] = [
                {"id": number, "state": "APPROVED", "html_url": "https://github.com/x", "submitted_at": "2026-03-01T00:00:01Z"}
            ]  # fmt: skip
    github.tick(1000)
    calls = iter(range(10**6))

    def disturb(request):
        if request.url.partition("?")[0].endswith(("/issues", "/pulls")):
            github.touch(numbers[next(calls) * 7 % len(numbers)])

    github.before_answer = disturb
    found = history(github).keys
    assert set(pushed(github)) <= found
    if kind == "pull":
        assert {f"github:7001:review:{number}" for number in numbers[::7]} <= found
    assert calls_of(github, "issues") <= 25 * 1.2 + 5
    assert calls_of(github, "pulls") <= 25 * 1.2 + 5


def test_a_release_that_leaves_hides_no_other():
    """Releases deleted between two pages move the rest up, and still none of the rest is missed."""
    github = FakeGitHub()
    for _ in range(350):
        github.release()
    github.tick(1000)

    def disturb(request):
        if request.url.partition("?")[0].endswith("/releases"):
            del github.releases[-3:]

    github.before_answer = disturb
    found = history(github).keys
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
    github.repositories = others
    reader = reader_of(github)
    reader.discover(github.now)
    assert {f"issues:{one['id']}" for one in others} <= set(reader.known)


def test_more_repositories_than_are_read_are_named():
    """Only the newest thousand are read; what is cut off is said, and where it was read before its streams say why."""
    github = FakeGitHub()
    others = [{**github.repository, "id": id_, "full_name": f"ada/r{id_}"} for id_ in range(MAX_REPOSITORIES + 300)]
    github.repositories = others[1:]
    reader = reader_of(github)
    reader.discover(github.now)
    assert MAX_REPOSITORIES - 5 <= len(reader.known) / len(LISTS) <= MAX_REPOSITORIES
    assert len(github.requests) <= 17
    last = list(reader.known)[-1].partition(":")[2]
    assert {known.stream.unreadable for known in reader.known.values()} == {None}
    github.repositories = others
    others[1:1] = [{**github.repository, "id": id_, "full_name": f"ada/r{id_}"} for id_ in range(5000, 5050)]
    reader.discover(github.now)
    assert reader.known[f"pulls:{last}"].stream.unreadable == TOO_MANY


def test_an_entry_that_cannot_be_read_keeps_its_streams():
    """A repository whose entry is odd is not read, and those streams that it had say why."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.discover(github.now)
    github.repository["html_url"] = None
    reader.discover(github.now)
    assert {known.stream.unreadable for known in reader.known.values()} == {
        "GitHub's entry of this repository is not as documented."
    }


@given(
    actions=st.lists(st.tuples(st.sampled_from(WORK), st.integers(0, 50)), max_size=40),
    per_page=st.sampled_from([1, 3, 100]),
    mode=st.sampled_from(SyncMode),
)
def test_every_page_can_be_asked_again(actions, per_page, mode):
    """A run killed after any page goes on from its cursor, and a page asked twice says the same."""
    github = FakeGitHub(per_page_cap=per_page)
    reader = reader_of(github)
    reader.read(github.now)
    for action, pick in actions:
        work(github, action, pick)
    found = set()
    for key, known in reader.known.items():
        bookmark = known.bookmark if mode is SyncMode.INCREMENTAL else None
        window = Window(mode=mode, low=EPOCH, high=github.now, floor=EPOCH, bookmark=bookmark)
        cursor = None
        while True:
            page, again = (
                drive(STREAMS.read_page(reader.context, known.stream, window, through_json(cursor)), github)
                for _ in range(2)
            )
            assert page == again
            found |= {draft.dedupe_key for draft in page.signals}
            cursor = page.cursor
            if cursor is None:
                break
        assert (page.bookmark is None) is (mode is SyncMode.BACKFILL), key
    assert found == history(github).keys == history(github).keys


def test_bounds_of_a_backfill():
    """Nothing older than `since` and nothing newer than `until` comes out."""
    github = FakeGitHub()
    times = []
    for _ in range(6):
        github.open_issue()
        times.append(github.now)
        github.tick(3600)
    reader = history(github, since=times[1], until=times[3])
    assert sorted(draft.occurred_at for draft in reader.signals) == times[1:4]


@pytest.mark.parametrize("skew", [timedelta(hours=3), timedelta(hours=-3)])
def test_clocks_that_disagree(skew):
    """Whichever clock is ahead, nothing falls between two reads."""
    github = FakeGitHub()
    reader = reader_of(github, floor=EPOCH - timedelta(hours=9))
    reader.read(github.now + skew)
    for _ in range(5):
        github.tick(1200)
        github.open_issue()
        github.close(github.open_pull())
        github.push()
        github.release()
        reader.read(github.now + skew)
    assert reader.keys == set(pushed(github))


def test_a_list_out_of_sight_is_taken_up_later():
    """A refused list holds up no other, and is read from where it was when it is visible again."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.read(github.now)
    github.tick(600)
    github.open_issue()
    github.push()
    github.refused = {"activity": AccessLostError("GitHub answered 404: it is not there.")}
    github.tick(600)
    reader.read(github.now)
    assert reader.refused == {"activity:7001": "GitHub answered 404: it is not there."}
    assert {draft.kind for draft in reader.signals} == {SignalKind.ISSUE_CREATED}
    github.refused = {}
    github.tick(86_400)
    reader.forget()
    reader.read(github.now)
    assert {draft.kind for draft in reader.signals} == {SignalKind.CODE_PUSHED}


def test_a_list_that_was_never_readable_is_read_whole_when_it_is():
    """A list that was refused from the first day on has its whole history once access comes."""
    github = busy_github()
    github.refused = {"issues": AccessLostError("An organization asks for single sign-on.")}
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    reader.read(github.now)
    assert set(reader.refused) == {"issues:7001"}
    assert reader.known["issues:7001"].bookmark is None
    github.refused = {}
    github.tick(86_400)
    reader.read(github.now)
    reader.backfill(EPOCH, github.now)
    assert reader.keys == set(pushed(github))


def test_a_list_that_is_broken_for_ever_holds_up_no_other():
    """A list of which GitHub gives up every page leaves all others current."""
    github = FakeGitHub()
    github.refused = {"pulls": ProviderUnavailableError("GitHub answered 502.")}
    reader = reader_of(github)
    reader.read(github.now)
    github.tick(600)
    github.push()
    github.comment(github.open_issue())
    reader.read(github.now)
    assert set(reader.refused) == {"pulls:7001"}
    assert reader.keys == set(pushed(github))


def test_a_repository_that_comes_back():
    """What happened in a repository while it was invisible is read when it is visible again."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.read(github.now)
    gone = dict.fromkeys(("issues", "pulls"), AccessLostError("GitHub answered 404: it is not there."))
    github.refused = gone
    for _ in range(3):
        github.tick(3600)
        github.open_issue()
        reader.read(github.now)
    github.refused = {}
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


def test_a_renamed_repository_keeps_its_streams():
    """The key is the repository's id; its name is as new as the last discovery."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.read(github.now)
    known = set(reader.known)
    github.full_name = "ada/lantern"
    github.repository |= {"full_name": "ada/lantern", "html_url": "https://github.com/ada/lantern"}
    github.open_issue()
    reader.read(github.now)
    assert set(reader.known) == known
    assert reader.known["issues:7001"].stream.name == "issues of ada/lantern"
    assert reader.keys == set(pushed(github))


def test_what_a_list_leaves_stays_small():
    """A bookmark has two fields at most, however much was read."""
    github = FakeGitHub(per_page_cap=3)
    reader = reader_of(github)
    for _ in range(20):
        github.review(github.open_pull())
        github.push()
        github.release()
        reader.read(github.now)
    for known in reader.known.values():
        assert known.bookmark.keys() <= {"since", "etag"}
        assert len(json.dumps(known.bookmark)) < 150


def test_a_first_read_that_needs_no_history():
    """What a connection that was just made wants is read by the first run; older history is left to a backfill."""
    github = busy_github()
    github.tick(600)
    for floor, is_whole in ((EPOCH, True), (EPOCH - timedelta(days=9), False)):
        reader = reader_of(github, floor=floor)
        reader.read(github.now)
        assert [page.read_from for page in reader.pages if page.cursor is None] == [floor if is_whole else None] * 6
        assert reader.keys == set(pushed(github))


@pytest.mark.parametrize("number", [0, 1, 5, 120])
def test_a_quiet_account_costs_the_discovery_alone(number):
    """Where nothing has changed since the last read, every list is answered 304."""
    github = FakeGitHub()
    for _ in range(number):
        github.comment(github.open_issue())
        github.review_comment(github.open_pull())
        github.push()
        github.release()
    reader = reader_of(github, floor=EPOCH)
    for _ in range(3):
        github.tick(900)
        reader.read(github.now)
    seen, github.points = reader.keys, 0
    reader.forget()
    for hours in range(24):
        github.tick(3600 * hours)
        reader.read(github.now)
    assert github.points == 24
    assert seen == set(pushed(github))
    assert reader.keys == set()


@pytest.mark.parametrize("number", [99, 100, 101, 200])
@pytest.mark.parametrize("kind", ["issue", "pull", "push", "release"])
def test_what_is_added_behind_a_full_page_is_seen(kind, number):
    """An answer that is the same although something was added, because its page was full, proves nothing."""
    github = FakeGitHub()
    make = {"issue": github.open_issue, "pull": github.open_pull, "push": github.push, "release": github.release}[kind]
    at = github.tick()
    for _ in range(number):
        make(at) if kind in {"issue", "pull"} else make()
    reader = reader_of(github, floor=EPOCH)
    for _ in range(3):
        for _ in range(3):
            github.tick(900)
            reader.read(github.now)
        make()
        make()
    github.tick(900)
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


def test_pull_requests_touched_in_one_second_are_all_seen():
    """An answer is not taken as the last word on a second that fills its whole page."""
    github = FakeGitHub()
    numbers = [github.open_pull() for _ in range(250)]
    github.tick(9000)
    reader = reader_of(github)
    reader.read(github.now)
    second = github.tick()
    for number in numbers[:150]:
        github.pulls[number]["updated_at"] = second
    reader.read(github.now)
    github.reviews = {
        number: [{"id": number, "state": "APPROVED", "html_url": "https://github.com/x", "submitted_at": second}]
        for number in numbers[:250]
    }
    for number in numbers[150:]:
        github.pulls[number]["updated_at"] = second
    github.tick(900)
    reader.read(github.now)
    assert {f"github:7001:review:{number}" for number in numbers} <= reader.keys


@given(
    edits=st.lists(st.integers(0, 99), max_size=3, unique=True),
    kind=st.sampled_from(["issue", "pull"]),
    number=st.sampled_from([130, 320]),
    incremental=st.booleans(),
)
def test_rows_edited_while_their_page_is_made(edits, kind, number, incremental):
    """Rows that stand at their old position and show a new time hide none of those between."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.read(github.now)
    make = github.open_issue if kind == "issue" else github.open_pull
    for _ in range(number):
        make()
    github.tick(9000)

    def show(rows):
        for index in edits:
            if index < len(rows) and "updated_at" in rows[index]:
                rows[index]["updated_at"] = text(github.now)
        return rows

    github.show = show
    if incremental:
        reader.read(github.now)
    else:
        reader.backfill(EPOCH, github.now)
    assert reader.keys == set(pushed(github))


@given(odd=st.sampled_from(["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]), index=st.integers(0, 119))
def test_one_odd_date_moves_nothing(odd, index):
    """One row of 1970 ends no list, and one of 2099 neither freezes nor skips one, wherever it stands."""
    github = FakeGitHub()
    reader = reader_of(github)
    reader.read(github.now)
    for _ in range(120):
        github.open_issue()
        github.review(github.open_pull())
        github.push()
        github.release()
    github.tick(900)

    def show(rows):
        for row in rows:
            if row.get("number") == list(github.issues)[index]:
                row["updated_at"] = odd
        return rows

    github.show = show
    github.activity[index]["timestamp"] = github.releases[index]["created_at"] = odd
    for _ in range(3):
        reader.read(github.now)
        github.open_issue()
        github.review(github.open_pull())
        github.release()
        github.tick(900)
    reader.read(github.now)
    ids = {f"github:7001:push:{one['ref']}:{one['before']}:{one['after']}" for one in github.activity}
    odd_one = github.activity[index]
    hidden = {f"github:7001:push:{odd_one['ref']}:{odd_one['before']}:{odd_one['after']}"} if odd < "2000" else set()
    assert ids - hidden <= reader.keys
    assert {key for key in pushed(github) if ":push:" not in key} <= reader.keys


@given(
    actions=st.lists(st.tuples(st.sampled_from(WORK), st.integers(0, 50)), max_size=30),
    cuts=st.sets(st.integers(0, 30), max_size=5),
    per_page=st.sampled_from([3, 100]),
)
def test_a_list_that_lags_behind(actions, cuts, per_page):
    """What reaches the lists up to two minutes late is found by a later read."""
    github = FakeGitHub(per_page_cap=per_page)
    github.index_lag = timedelta(seconds=110)
    github.tick(200)
    reader = reader_of(github)
    reader.read(github.now)
    for index, (action, pick) in enumerate(actions):
        work(github, action, pick)
        github.tick(pick)
        if index in cuts:
            reader.read(github.now)
    github.tick(200)
    reader.read(github.now)
    by_push = pushed(github)
    assert {
        key for key, draft in by_push.items()
        if draft.kind not in PUSH_ONLY and not (draft.kind in CLOSED and _was_reopened(github, draft))
    } <= reader.keys  # fmt: skip


def test_a_review_that_reaches_the_list_late():
    """A pull request that shows its change only after it was read is read down to by the next run."""
    github = FakeGitHub()
    numbers = [github.open_pull() for _ in range(10)]
    github.tick(900)
    reader = reader_of(github, floor=EPOCH)
    github.index_lag = timedelta(seconds=110)
    github.tick(900)
    github.review(numbers[5])
    github.tick(30)
    reader.read(github.now)
    assert not any(":review:" in key for key in reader.keys)
    github.tick(900)
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


@pytest.mark.parametrize("position", [0, 1, 9, 48, 49])
@pytest.mark.parametrize("number_of_new", [10, 50])
def test_the_reviews_of_an_oddly_dated_pull_request(position, number_of_new):
    """They are read although it shows 1970 where only new ones can stand."""
    github = FakeGitHub()
    for _ in range(50):
        github.open_pull()
    github.tick(900)
    reader = reader_of(github)
    reader.read(github.now)
    github.tick(900)
    new = list(github.pulls)[:number_of_new]
    for number in new:
        github.review(number)
    if number_of_new == 50:
        del github.issues[min(github.issues)], github.pulls[min(github.pulls)]
    odd = new[min(position, number_of_new - 2) + 1]
    shown = [number for number in new if number in github.pulls]

    def show(rows):
        for row in rows:
            if row.get("number") == odd:
                row["updated_at"] = "1970-01-01T00:00:00Z"
        return rows

    github.show = show
    reader.read(github.now)
    assert {f"github:7001:review:{one['id']}" for number in shown for one in github.reviews[number]} <= reader.keys


def test_an_old_issue_that_appears_late():
    """An issue transferred here keeps its old date, and is emitted if that is still wanted."""
    github = FakeGitHub()
    reader = reader_of(github, floor=EPOCH)
    github.tick(86_400)
    reader.read(github.now)
    github.tick(600)
    wanted, older = github.open_issue(), github.open_issue()
    github.issues[wanted]["created_at"] = text(EPOCH + timedelta(hours=1))
    github.issues[older]["created_at"] = text(EPOCH - timedelta(hours=1))
    reader.read(github.now)
    assert reader.keys == {f"github:7001:issue:{wanted}:created"}


def test_a_repository_named_pull_has_issues_too():
    """What a comment is on is read from the end of its page's address, not from a repository's name."""
    github = FakeGitHub()
    github.full_name = "ada/pull"
    github.repository |= {"full_name": "ada/pull", "html_url": "https://github.com/ada/pull"}
    github.comment(github.open_issue())
    github.comment(github.open_pull())
    by_sync = {draft.dedupe_key: draft.kind for draft in history(github).signals}
    assert by_sync == {key: draft.kind for key, draft in pushed(github).items()}


@pytest.mark.parametrize(
    ("make", "field"),
    [("open_issue", "title"), ("open_pull", "title"), ("release", "tag_name"), ("comment", "html_url")],
)
def test_one_bad_item(make, field):
    """An unreadable item is parked; its neighbours are not lost, and it is read when it can be."""
    github = FakeGitHub()
    listed = {
        "open_issue": github.issues, "open_pull": github.pulls, "release": github.releases, "comment": github.comments
    }[make]  # fmt: skip
    arguments = [github.open_issue()] if make == "comment" else []
    for _ in range(3):
        getattr(github, make)(*arguments)
    bad = (list(listed.values()) if isinstance(listed, dict) else listed)[-2]
    kept, bad[field] = bad[field], None
    reader = reader_of(github, floor=EPOCH)
    reader.backfill(EPOCH, github.now)
    ((key, parked),) = reader.parked
    name = "number" if make.startswith("open") else "id"
    assert parked.reference == f"{make.removeprefix('open_')} {bad[name]}"
    assert f"$.{field}" in parked.reason
    missing = set(pushed(github)) - reader.keys
    assert all(str(bad[name]) in one for one in missing)
    assert make == "open_pull" or len(missing) == 1
    bad[field] = kept
    reader.read_parked(key, parked, github.now)
    assert reader.keys == set(pushed(github))


def test_an_unreadable_push_stays_parked():
    """GitHub shows a push only in its list: it cannot be read by itself, and is not taken for gone."""
    github = FakeGitHub()
    github.push()
    github.activity[0]["ref"] = None
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    ((key, parked),) = reader.parked
    assert key == "activity:7001"
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, parked, github.now)


def test_a_pull_request_that_always_fails():
    """One whose reviews are refused is parked with the time that it may hold; the others' reviews are read."""
    github = FakeGitHub()
    numbers = [github.open_pull() for _ in range(25)]
    for number in numbers:
        github.review(number)
    bad = numbers[7]
    error = ProviderUnavailableError("GitHub answered 502.")
    github.refused = {f"pulls/{bad}/reviews": error}
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    ((key, parked),) = reader.parked
    assert (key, parked.reference) == ("pulls:7001", f"pull {bad}")
    missing = [pushed(github)[one] for one in set(pushed(github)) - reader.keys]
    assert [draft.occurred_at for draft in missing] == [parked.between[1]]
    with pytest.raises(ProviderUnavailableError):
        reader.read_parked(key, parked, github.now)
    github.refused = {}
    reader.read_parked(key, parked, github.now)
    assert reader.keys == set(pushed(github))


def test_a_pull_request_that_is_gone():
    """A parked pull request that GitHub does not show any more says so."""
    github = FakeGitHub()
    number = github.open_pull()
    github.refused = {f"pulls/{number}/reviews": AccessLostError("GitHub answered 404.")}
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    ((key, parked),) = reader.parked
    github.refused = {f"pulls/{number}": AccessLostError("GitHub answered 404.")}
    with pytest.raises(AccessLostError):
        reader.read_parked(key, parked, github.now)
    github.refused = {f"pulls/{number}/reviews": AccessLostError("GitHub answered 404.")}
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, parked, github.now)


def test_a_thing_is_not_gone_with_its_repository():
    """While the repository is invisible, or the list switched off, a parked issue stays parked; moved away it is gone."""
    github = FakeGitHub()
    number = github.open_issue()
    github.issues[number]["title"] = None
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    ((key, parked),) = reader.parked
    github.refused = dict.fromkeys((f"issues/{number}", ""), AccessLostError("GitHub answered 404."))
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, parked, github.now)
    github.refused = {}
    github.issues[number] |= {"title": "Moved", "number": number + 1000}
    with pytest.raises(AccessLostError):
        reader.read_parked(key, parked, github.now)
    answering(github, status=410, body=SWITCHED_OFF[1][1])
    with pytest.raises(UnexpectedResponseError):
        reader.read_parked(key, parked, github.now)


def test_reviews_that_all_fail_are_not_the_pull_requests_fault():
    """The third in a row that GitHub cannot give stops the run."""
    github = FakeGitHub()
    numbers = [github.open_pull() for _ in range(5)]
    github.refused = {f"pulls/{number}/reviews": ProviderUnavailableError("down") for number in numbers}
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    assert set(reader.refused) == {"pulls:7001"}
    assert reader.parked == []


def test_a_page_of_bad_items_ends():
    """Lists in which nothing can be read are read to their end, once."""
    github = FakeGitHub(per_page_cap=2)
    for _ in range(6):
        github.pulls[github.open_pull()]["title"] = None
    for issue in github.issues.values():
        issue["title"] = 5
    reader = history(github)
    assert reader.keys == set()
    assert {parked.reference for _, parked in reader.parked} == {
        f"{kind} {number}" for kind in ("issue", "pull") for number in github.issues
    }


def test_a_heavy_page_is_asked_smaller():
    """GitHub cuts off what takes too long: the page is halved, not given up."""
    github = FakeGitHub()
    for _ in range(60):
        github.open_issue()

    def strain(request):
        if "/issues?" in request.url and "per_page=100" in request.url:
            raise ProviderUnavailableError("GitHub answered 502.")

    github.before_answer = strain
    assert history(github).keys == set(pushed(github))


def test_a_limit_stops_the_run_at_its_page():
    """A limit is not a lost list: it is raised, and the page is asked again later."""
    github = FakeGitHub()
    github.refused = {"issues": RateLimitedError("GitHub wants a pause.", retry_at=NOW)}
    with pytest.raises(RateLimitedError):
        history(github)


def answering(github, **response):
    """Let GitHub give this answer to everything but the list of repositories."""
    answer = github.answer

    def sometimes(request):
        return answer(request) if "/user/repos" in request.url else HttpResponse(**response)

    github.answer = sometimes
    return github


SWITCHED_OFF = [
    (409, b'{"message": "Git Repository is empty."}'),
    (410, b'{"message": "Issues are disabled for this repo"}'),
]


@pytest.mark.parametrize(("status", "body"), [(304, b""), *SWITCHED_OFF])
def test_an_empty_answer(status, body):
    """Nothing new, a repository without a commit and disabled issues are an empty page."""
    github = answering(FakeGitHub(), status=status, body=body)
    assert history(github).keys == set()
    reader = reader_of(github)
    reader.read(github.now)
    assert reader.refused == {}


@pytest.mark.parametrize(("status", "body"), SWITCHED_OFF)
def test_a_list_that_is_switched_on_later(status, body):
    """What was in it before, and what comes then, is found."""
    github = busy_github()
    answer = github.answer
    answering(github, status=status, body=body)
    reader = reader_of(github, floor=EPOCH)
    reader.read(github.now)
    reader.backfill(EPOCH, github.now)
    assert reader.keys == set()
    github.answer = answer
    github.tick(86_400)
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


@pytest.mark.parametrize("status", [409, 410])
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message": 1}', b'{"message": "Conflict"}'])
def test_a_refusal_that_is_none_of_these(status, body):
    """A 409 or 410 that does not call the list empty or disabled is a refusal: what it holds was not read."""
    github = answering(FakeGitHub(), status=status, body=body)
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    assert {key.partition(":")[0] for key in reader.refused} == set(LISTS)


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
        history(github)


def test_links_that_circle_give_equal_cursors():
    """Where GitHub's links lead back, the cursor is one that was seen: the engine notices."""
    github = FakeGitHub(per_page_cap=2)
    for _ in range(9):
        github.open_pull()
        github.push()
        github.release()
    reader = reader_of(github)
    reader.discover(github.now)
    answer = github.answer

    def circling(request):
        response = answer(request)
        other = "b" if "page=a" in request.url else "a"
        base = request.url.partition("?")[0]
        links = ", ".join(f'<{base}?page={other}>; rel="{rel}"' for rel in ("next", "last", "prev"))
        github.tick()
        return HttpResponse(status=200, headers={**response.headers, "link": links}, body=response.body)

    inner = github._answer
    github._answer = lambda request, path, query: inner(
        request, path, {"state": "all", "sort": "updated", "direction": "desc" if path == "pulls" else "asc"}
    )
    github.answer = circling
    for mode in SyncMode:
        for key, known in reader.known.items():
            window = Window(mode=mode, low=EPOCH, high=github.now, floor=EPOCH)
            seen, cursor = [], None
            for _ in range(12):
                page = drive(STREAMS.read_page(reader.context, known.stream, window, through_json(cursor)), github)
                cursor = page.cursor
                seen.append(json.dumps(cursor))
                if cursor is None:
                    break
            assert cursor is None or len(set(seen)) < len(seen), key


@pytest.mark.parametrize("body", [b"", b'[{"number": 1', b"<html>", b"{}"])
def test_a_page_that_is_cut_off(body):
    """A list that is no list is asked again later; it is not the end of the run, nor of the history."""
    github = answering(FakeGitHub(), status=200, body=body)
    reader = reader_of(github)
    reader.backfill(EPOCH, github.now)
    assert {key.partition(":")[0] for key in reader.refused} == set(LISTS)


def test_endless_reviews_are_reported():
    """A pull request with more reviews than are read is parked, and its neighbours are read."""
    github = FakeGitHub(per_page_cap=1)
    endless = github.open_pull()
    for _ in range(31):
        github.review(endless)
    github.review(github.open_pull())
    reader = history(github)
    assert {parked.reference for _, parked in reader.parked} == {f"pull {endless}"}
    assert len(set(pushed(github)) - reader.keys) == 1


def test_a_front_that_never_rests():
    """Where pull requests jump to the front faster than it is read, the run ends, and the next one goes on."""
    github = FakeGitHub(per_page_cap=3)
    numbers = [github.open_pull() for _ in range(40)]
    github.tick(1000)
    reader = reader_of(github, floor=EPOCH)
    busy = iter(range(10**6))

    def disturb(request):
        if request.url.partition("?")[0].endswith("/pulls"):
            for _ in range(4):
                github.touch(numbers[next(busy) % len(numbers)])

    github.before_answer = disturb
    reader.read(github.now)
    assert calls_of(github, "pulls") < 200
    github.before_answer = lambda request: None
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


def test_chosen_repositories():
    """Only what was chosen is read: by name, or all of an organization's; a name that is not there is counted."""
    github = FakeGitHub()
    github.open_issue()
    chosen = make_connection(metadata={"repositories": ["ada/lamp"]})
    assert history(github, chosen).keys == set(pushed(github))
    assert github.requests[0].url == "https://api.github.com/repos/ada/lamp"
    assert history(github, make_connection(metadata={"organizations": ["lighthouse"]})).keys == set()
    both = make_connection(metadata={"organizations": ["ADA"], "repositories": ["ada/lamp"]})
    assert history(github, both).keys == set(pushed(github))
    github.refused = {"": AccessLostError("GitHub answered 404: it is not there.")}
    context = SyncContext(app=make_app(), connection=chosen)
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW)
    page = drive(discovery.discover(context, window, None), github)
    assert [(one.key, one.unreadable) for one in page.streams] == [
        ("repository:ada/lamp", "GitHub answered 404: it is not there.")
    ]


def test_every_stream_is_needed_for_a_family():
    """The families that reading shows are exactly those of the streams."""
    read = {family.name for family in GITHUB.families if family.is_read}
    assert frozenset().union(*discovery.FAMILIES_OF.values()) == read
    assert set(discovery.FAMILIES_OF) == set(LISTS)


def test_an_old_cursor_becomes_bookmarks():
    """Each list goes on two minutes before the mark, or from where it was left behind."""
    mark, behind = "2026-03-02T10:00:00.5Z", "2026-03-01T08:00:00Z"
    bookmarks = STREAMS.split_cursor(
        {
            "version": 1,
            "mark": mark,
            "floor": "2026-02-01T00:00:00Z",
            "behind": {"7001:activity": behind, "7002:*": behind, "7001:releases": None},
            "known": [7001],
        }
    )
    assert bookmarks == {
        "pulls:7001": {"since": "2026-03-02T09:58:00Z"},
        "issues:7001": {"since": "2026-03-02T09:58:00Z"},
        "comments:7001": {"since": "2026-03-02T09:58:00Z"},
        "review_comments:7001": {"since": "2026-03-02T09:58:00Z"},
        "activity:7001": {"since": behind},
        **{f"{name}:7002": {"since": behind} for name in LISTS},
    }


def test_nothing_is_lost_by_an_old_cursor():
    """What happened since the old reading's last run is found by the first run over the streams."""
    github = FakeGitHub()
    bookmarks = STREAMS.split_cursor(
        {"version": 1, "mark": text(github.now), "floor": None, "behind": {}, "known": [7001]}
    )
    for _ in range(3):
        github.review(github.open_pull())
        github.push()
        github.release()
    github.tick(86_400)
    reader = reader_of(github, floor=EPOCH)
    reader.discover(github.now)
    for key, bookmark in bookmarks.items():
        reader.known[key].bookmark = bookmark
    reader.read(github.now)
    assert reader.keys == set(pushed(github))


@pytest.mark.parametrize(
    "cursor",
    [
        {"version": 99},
        {},
        {"version": 1, "mark": "x"},
        {"version": 1, "mark": "2026-03-02T10:00:00Z", "repositories": [[1, "a/b", ""]]},
    ],
)
def test_a_cursor_of_another_form_gives_no_bookmarks(cursor):
    """A cursor of another version, or of a run under way, is left out: the streams take a baseline."""
    assert split_cursor(cursor) == {}
