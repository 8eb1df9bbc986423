"""Reading channels, histories and threads, page by page."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.slack.builders import NOW, TEAM, answer, converse
from tests.unit.providers.slack.fake_slack import FakeSlack
from tests.unit.providers.slack.sync_runs import backfill, context_of, incremental, keys_of, now_of, sync_run

from connectors.domain.model.errors import (
    InsufficientScopeError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.slack import SLACK, directory
from connectors.domain.providers.slack.payloads import ts_instant


def key(*parts):
    return ":".join(("slack", TEAM, *parts))


def busy_workspace(**options):
    """Two channels, a thread of three replies, an edit."""
    slack = FakeSlack(**options)
    slack.make_channel("C1")
    slack.make_channel("C2", private=True)
    parent = slack.post("C1", "question")
    first = slack.post("C1", "plain")
    replies = [slack.post("C1", f"answer {n}", thread=parent) for n in range(3)]
    slack.edit("C1", first, "plainer")
    other = slack.post("C2", "secret")
    edit = slack.messages["C1"][first]["edited"]["ts"]
    expected = {
        key("channel", "C1", "created"),
        *(key("C1", ts, "posted") for ts in (parent, first, *replies)),
        key("C1", first, "edited", edit),
        key("C2", other, "posted"),
    }
    return slack, expected


@pytest.mark.parametrize("options", [{}, {"page": 1}, {"page": 2, "empty_pages": True}])
def test_a_backfill_reads_channels_messages_threads_and_edits(options):
    """Short and empty pages with a cursor change nothing."""
    slack, expected = busy_workspace(**options)
    assert keys_of(sync_run(slack, backfill(slack))) == expected


def test_every_page_resumes_from_its_cursor_alone():
    """Killed after any page, the rest of the sync run gives the rest of the signals."""
    slack, expected = busy_workspace(page=1)
    plan, context = backfill(slack), context_of()
    pages = sync_run(slack, plan)
    for index, page in enumerate(pages[:-1]):
        again = converse(SLACK.sync.read_page(context, plan, json.loads(json.dumps(page.cursor))), slack.reply)
        assert again == pages[index + 1]
    assert keys_of(pages) == expected


def test_the_upper_end_is_fixed_when_the_sync_run_starts():
    """What is written during the sync run belongs to the next one."""
    slack, expected = busy_workspace()
    plan = backfill(slack)
    slack.second += 10
    late = slack.post("C1", "late")
    pages = sync_run(slack, plan)
    assert keys_of(pages) == expected
    assert key("C1", late, "posted") in keys_of(sync_run(slack, incremental(slack, pages[-1].cursor)))


def test_nothing_outside_the_asked_window_is_emitted():
    """Both ends are included; the look-back reads more without emitting it."""
    slack = FakeSlack()
    slack.make_channel("C1")
    times = []
    for _ in range(5):
        slack.second += 100
        times.append(slack.post("C1"))
    plan = backfill(slack, since=ts_instant(times[1]), until=ts_instant(times[3]))
    assert keys_of(sync_run(slack, plan)) == {key("C1", ts, "posted") for ts in times[1:4]}


def test_a_baseline_asks_nothing_and_the_next_sync_run_emits_nothing_older():
    """Without a stored cursor an incremental sync run only notes where it is."""
    slack, _ = busy_workspace()
    (page,) = sync_run(slack, incremental(slack, None))
    assert (page.done, page.signals, slack.asked) == (True, (), [])
    slack.second += 5
    new = slack.post("C1", "new")
    assert keys_of(sync_run(slack, incremental(slack, page.cursor))) == {key("C1", new, "posted")}


def test_an_incremental_sync_run_overlaps_the_one_before():
    """Slack's clock and ours may differ by minutes: the overlap covers the difference."""
    slack, _ = busy_workspace()
    cursor = sync_run(slack, backfill(slack, started_at=now_of(slack) + timedelta(minutes=4)))[-1].cursor
    late = slack.post("C1", "stamped before the end of the window, seen after it")
    plan = incremental(slack, cursor, started_at=now_of(slack) + timedelta(minutes=8))
    assert key("C1", late, "posted") in keys_of(sync_run(slack, plan))


def test_a_new_reply_to_an_old_parent_is_found_within_the_look_back():
    """The parent does not reappear in the history's new part."""
    slack = FakeSlack()
    slack.make_channel("C1")
    parent = slack.post("C1")
    slack.second += 600
    cursor = sync_run(slack, backfill(slack))[-1].cursor
    slack.second += 3 * 86_400
    reply = slack.post("C1", thread=parent)
    assert keys_of(sync_run(slack, incremental(slack, cursor))) == {key("C1", reply, "posted")}
    none = context_of(options={"thread_lookback_days": "0"})
    assert keys_of(sync_run(slack, incremental(slack, cursor), none)) == set()


def test_an_edited_reply_is_found_with_the_next_reply_to_its_thread():
    """Also one that is older than the sync run's window: the thread is read from the look-back on."""
    slack = FakeSlack()
    slack.make_channel("C1")
    parent = slack.post("C1")
    old = slack.post("C1", thread=parent)
    slack.second += 86_400
    cursor = sync_run(slack, backfill(slack))[-1].cursor
    slack.second += 600
    slack.edit("C1", old, "better")
    edit = slack.messages["C1"][old]["edited"]["ts"]
    assert keys_of(sync_run(slack, incremental(slack, cursor))) == set()
    new = slack.post("C1", thread=parent)
    found = keys_of(sync_run(slack, incremental(slack, cursor)))
    assert found == {key("C1", new, "posted"), key("C1", old, "edited", edit)}


MEDDLING = st.lists(
    st.tuples(st.sampled_from(["post", "reply", "edit", "delete", "delete"]), st.integers(0, 30)), max_size=12
)


@given(meddling=MEDDLING, page=st.sampled_from([1, 2, 5]))
def test_nothing_slips_while_people_go_on(meddling, page):
    """Whatever is written, edited and deleted between two pages, this sync run or the next reads all that remains, even
    if paging cursors count positions and skip.
    """
    slack = FakeSlack(page=page)
    slack.make_channel("C1")
    parents = [slack.post("C1") for _ in range(6)]
    for parent in parents[:2]:
        for _ in range(3):
            slack.post("C1", thread=parent)
    slack.tick(3600)  # further back than sync runs overlap
    plan, actions, answer_to = backfill(slack), iter(meddling), slack.reply

    def reply(request):
        response = answer_to(request)
        action, position = next(actions, (None, 0))
        standing = sorted(slack.messages["C1"])
        if action == "post":
            slack.post("C1")
        elif action == "reply" and parents[0] in standing:
            slack.post("C1", thread=parents[0])
        elif action == "edit" and standing:
            top = [ts for ts in standing if slack.messages["C1"][ts].get("thread_ts", ts) == ts]
            if top:
                slack.edit("C1", top[position % len(top)], "other")
        elif action == "delete":
            # A parent is deleted with its thread, which would be invisible without it.
            single = [ts for ts in standing if ts not in parents[:2]]
            if single:
                del slack.messages["C1"][single[position % len(single)]]
        return response

    slack.reply = reply
    first = sync_run(slack, plan)
    slack.reply = answer_to
    slack.tick(600)
    found = keys_of(first) | keys_of(sync_run(slack, incremental(slack, first[-1].cursor)))
    standing = slack.messages["C1"]
    assert {key("C1", ts, "posted") for ts in standing} <= found
    assert {key("C1", ts, "edited", m["edited"]["ts"]) for ts, m in standing.items() if "edited" in m} <= found


def test_a_page_that_is_not_what_was_asked_for_does_not_end_the_sync_run_early():
    """A sync run does not go on from a `ts` before the window."""
    slack, expected = busy_workspace(page=1)
    original = slack.on_conversations_history

    def history(params):
        page = original(params)
        page["messages"] = [*page["messages"], {"type": "message", "user": "U1", "ts": "5.000000"}]
        return page

    slack.on_conversations_history = history
    assert keys_of(sync_run(slack, backfill(slack))) == expected


def test_threads_without_new_replies_are_not_read():
    """Every call counts against a limit of fifty, or one, a minute."""
    slack, _ = busy_workspace()
    slack.second += 600
    cursor = sync_run(slack, backfill(slack))[-1].cursor
    slack.asked.clear()
    sync_run(slack, incremental(slack, cursor))
    assert "conversations.replies" not in [method for method, _ in slack.asked]


def test_a_dead_cursor_falls_back_to_times():
    """`invalid_cursor` in the middle of a history or thread loses nothing."""
    slack, expected = busy_workspace(page=1)
    original, calls = slack.reply, {"n": 0}

    def reply(request):
        calls["n"] += 1
        if calls["n"] % 3 == 0 and "cursor=" in request.url:
            return answer({"ok": False, "error": "invalid_cursor"})
        return original(request)

    slack.reply = reply
    assert keys_of(sync_run(slack, backfill(slack))) == expected


def test_an_invalid_cursor_where_none_was_sent_is_an_error():
    """Otherwise the sync run would never end."""
    slack, _ = busy_workspace()
    slack.refusals["conversations.history"] = ["invalid_cursor"]
    with pytest.raises(UnexpectedResponseError):
        sync_run(slack, backfill(slack))


def test_channels_that_we_are_not_in_are_skipped_and_named():
    """This is the usual reason for sync runs without messages."""
    slack, expected = busy_workspace()
    slack.make_channel("C3", member=False)
    pages = sync_run(slack, backfill(slack))
    assert keys_of(pages) == expected | {key("channel", "C3", "created")}
    assert [item.reference for page in pages for item in page.skipped] == ["C3"]


def test_the_bot_joins_public_channels_with_the_option():
    """The option makes a channel readable by itself; private channels never."""
    slack, expected = busy_workspace()
    slack.make_channel("C3", member=False)
    slack.make_channel("C4", member=False, private=True)
    posted = slack.post("C3")
    pages = sync_run(slack, backfill(slack), context_of(options={"join_public_channels": "true"}))
    assert keys_of(pages) == expected | {key("channel", "C3", "created"), key("C3", posted, "posted")}
    assert [item.reference for page in pages for item in page.skipped] == ["C4"]


@pytest.mark.parametrize("error", ["missing_scope", "is_archived", "some_future_error"])
def test_a_channel_that_cannot_be_joined_is_skipped(error):
    """The refusal is reported, and the sync run goes on."""
    slack, expected = busy_workspace()
    slack.make_channel("C0", member=False)
    slack.refusals["conversations.join"] = [error]
    pages = sync_run(slack, backfill(slack), context_of(options={"join_public_channels": "yes"}))
    assert keys_of(pages) == expected | {key("channel", "C0", "created")}


@pytest.mark.parametrize("error", ["not_in_channel", "channel_not_found", "is_archived", "no_permission"])
def test_a_channel_that_refuses_is_skipped_and_the_sync_run_goes_on(error):
    """An error of one channel is not the job's."""
    slack, expected = busy_workspace()
    slack.refusals["conversations.history"] = [error]
    pages = sync_run(slack, backfill(slack))
    assert keys_of(pages) == {k for k in expected if ":C1:" not in k or "channel:C1" in k}
    assert [item.reference for page in pages for item in page.skipped] == ["C1"]


def test_a_thread_that_is_gone_is_skipped():
    """It may be deleted between the history's page and its replies."""
    slack, expected = busy_workspace()
    slack.refusals["conversations.replies"] = ["thread_not_found"]
    found = keys_of(sync_run(slack, backfill(slack)))
    assert found < expected
    assert len(expected - found) == 3


@pytest.mark.parametrize(
    ("error", "raised"),
    [("token_revoked", ReauthorizationRequiredError), ("missing_scope", InsufficientScopeError)],
)
def test_a_dead_token_ends_the_sync_run(error, raised):
    """Only the user can mend it."""
    slack, _ = busy_workspace()
    slack.refusals["conversations.list"] = [error]
    with pytest.raises(raised):
        sync_run(slack, backfill(slack))


def test_one_bad_message_steps_aside():
    """It is named and the page's others are kept."""
    slack, expected = busy_workspace()
    slack.messages["C1"]["bad"] = {"type": "message", "ts": "1777896000.5", "text": None, "user": {"id": 1}}
    slack.on_conversations_history, original = None, slack.on_conversations_history

    def history(params):
        page = original(params)
        page["messages"] += [None, "x", {"ts": 7}, {"type": "message", "user": "U1"}]
        return page

    slack.on_conversations_history = history
    pages = sync_run(slack, backfill(slack))
    assert expected <= keys_of(pages)
    assert {item.reference for page in pages for item in page.skipped} == {"C1/?", "C2/?"}


def test_names_are_learnt_on_the_way():
    """People and channels by id, for webhooks to come."""
    slack, _ = busy_workspace(page=1)
    slack.people = [{"id": "U1", "profile": {"display_name": "ada"}}, {"id": "U2", "name": "bob"}, {"name": "no id"}]
    metadata = {}
    for page in sync_run(slack, backfill(slack)):
        metadata.update(page.connection_metadata)
    assert metadata["people_names"] == {"U1": "ada", "U2": "bob"}
    assert metadata["channel_names"] == {"C1": "c1", "C2": "c2"}


@pytest.mark.parametrize(("age", "asked"), [(timedelta(hours=23), False), (timedelta(days=1), True)])
def test_names_of_people_are_read_again_after_a_day(age, asked):
    """People join and rename themselves; every sync run would be too often."""
    slack, _ = busy_workspace()
    cursor = sync_run(slack, SyncPlan(mode=SyncMode.INCREMENTAL, started_at=now_of(slack)))[-1].cursor
    slack.post("C1", "later")
    metadata = {"people_names": {}, "people_read_at": rfc3339(now_of(slack) - age)}
    sync_run(slack, incremental(slack, cursor), context_of(metadata=metadata))
    assert ("users.list" in dict(slack.asked)) is asked


def test_the_names_of_channels_that_are_read_come_first(monkeypatch):
    """A workspace can have more channels than names are kept; those of our messages keep theirs."""
    monkeypatch.setattr(directory, "NAMES_KEPT", 2)
    slack = FakeSlack()
    for number in range(5):
        slack.make_channel(f"C{number}", member=number == 4)
    metadata = {}
    for page in sync_run(slack, backfill(slack)):
        metadata.update(page.connection_metadata)
    assert metadata["channel_names"] == {"C4": "c4", "C0": "c0"}


@pytest.mark.parametrize("error", ["missing_scope", "unknown_method", "access_denied"])
def test_a_sync_run_goes_on_without_names(error):
    """Names are optional."""
    slack, expected = busy_workspace()
    slack.refusals["users.list"] = [error]
    assert keys_of(sync_run(slack, backfill(slack))) == expected


def test_only_what_was_granted_is_asked():
    """Asking for private channels without their scopes would fail the whole call."""
    slack, _ = busy_workspace()
    sync_run(slack, backfill(slack), context_of(scopes=("channels:read", "channels:history")))
    methods = dict(slack.asked)
    assert methods["conversations.list"]["types"] == "public_channel"
    assert "users.list" not in methods
    slack.asked.clear()
    sync_run(slack, backfill(slack), context_of(scopes=("user:groups:read", "user:groups:history")))
    assert dict(slack.asked)["conversations.list"]["types"] == "public_channel,private_channel"


def test_one_channel_can_be_read_alone_and_claims_nothing_for_the_others():
    """A targeted sync run leaves the stored position as it was."""
    slack, _ = busy_workspace()
    full = sync_run(slack, backfill(slack))[-1].cursor
    pages = sync_run(slack, incremental(slack, full, target="C2"))
    assert {params.get("channel") for method, params in slack.asked[-1:]} == {"C2"}
    assert pages[-1].cursor["high"] == full["high"]


def test_a_backfill_of_the_past_does_not_move_the_incremental_position():
    """Or what lies between would never be read."""
    slack, _ = busy_workspace()
    last = sync_run(slack, incremental(slack, None))[-1].cursor
    old = backfill(slack, since=NOW - timedelta(days=40), until=NOW - timedelta(days=30), last_cursor=last)
    assert sync_run(slack, old)[-1].cursor["high"] == last["high"]


def test_the_page_size_is_a_setting_and_fifteen_are_accepted():
    """Outside the Marketplace Slack gives 15 whatever is asked."""
    slack = FakeSlack(page=15)
    slack.make_channel("C1")
    posts = [slack.post("C1") for _ in range(40)]
    found = keys_of(sync_run(slack, backfill(slack), context_of(options={"page_size": "500"})))
    assert {key("C1", ts, "posted") for ts in posts} <= found
    assert dict(slack.asked)["conversations.history"]["limit"] == "500"


@pytest.mark.parametrize(
    "options",
    [{"page_size": "0"}, {"page_size": "1000"}, {"page_size": "ten"}, {"page_size": "9" * 6000},
     {"thread_lookback_days": "-1"}, {"join_public_channels": "perhaps"}],
)  # fmt: skip
def test_a_wrong_option_is_refused(options):
    """Numbers out of range, and words that are neither yes nor no."""
    with pytest.raises(ValueError, match=r"not a whole number|neither true nor false"):
        SLACK.read_options(options)


@pytest.mark.parametrize("cursor", [{}, {"phase": "messages"}, {"phase": "x", "low": 7}, {"phase": ["done"]}])
def test_a_cursor_of_another_version_begins_again(cursor):
    """Nothing is lost by it: the keys are the same."""
    slack, _ = busy_workspace()
    page = converse(SLACK.sync.read_page(context_of(), backfill(slack), cursor), slack.reply)
    assert not page.done
    assert slack.asked[0][0] == "users.list"


def test_an_empty_window_is_done_at_once():
    """This happens if two sync runs start at the same instant, or a clock goes back."""
    slack, _ = busy_workspace()
    cursor = sync_run(slack, incremental(slack, None))[-1].cursor
    plan = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=now_of(slack) - timedelta(hours=1), last_cursor=cursor)
    (page,) = sync_run(slack, plan)
    assert page.done
    assert page.cursor["high"] == cursor["high"]
