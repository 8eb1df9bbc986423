"""Reading channels, histories and threads, page by page."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stream_reader import through_json
from tests.unit.providers.slack.builders import NOW, answer, converse, make_connection, make_user_connection
from tests.unit.providers.slack.fake_slack import FakeSlack
from tests.unit.providers.slack.reading import TWO_DAYS, connect, context_of, key, keys_of, now_of, read_all, read_new

from connectors.domain.model.errors import (
    AccessLostError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.slack import SLACK, directory
from connectors.domain.providers.slack.payloads import EPOCH, instant_ts, ts_instant
from connectors.domain.providers.slack.position import span_of

C1 = Stream(key="channel:C1", name="#c1", data={"name": "c1", "joins": False})
BOT, USER = make_connection().account, make_user_connection("U7").account
OUT_OF_RANGE = [
    {"type": "message", "user": "U1", "ts": "5.000000"},
    {"type": "message", "user": "U1", "ts": "4102444800.000000"},
]
"""Of 1970 and of 2100."""


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


def history_window(slack):
    return Window(mode=SyncMode.BACKFILL, low=now_of(slack) - TWO_DAYS, high=now_of(slack), floor=NOW - TWO_DAYS)


def methods(slack):
    return [method for method, _ in slack.asked]


# --- all of it, in any pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"page": 1}, {"page": 2, "empty_pages": True}])
def test_a_backfill_reads_channels_messages_threads_and_edits(options):
    """Short and empty pages with a cursor change nothing."""
    slack, expected = busy_workspace(**options)
    assert read_all(slack).keys == expected


@given(page=st.sampled_from([1, 2, 3, 15]), is_empty=st.booleans(), is_history=st.booleans())
def test_every_page_resumes_from_its_cursor_alone(page, is_empty, is_history):
    """Killed after any page, the rest of the run gives the rest of the signals; run again, it gives the same."""
    slack, expected = busy_workspace(page=page, empty_pages=is_empty)
    window = history_window(slack)
    if not is_history:
        window = attrs.evolve(window, mode=SyncMode.INCREMENTAL, bookmark={})
    cursor, pages = None, []
    while not pages or cursor is not None:
        pages.append(converse(SLACK.streams.read_page(context_of(), C1, window, cursor), slack.reply))
        again = converse(SLACK.streams.read_page(context_of(), C1, window, cursor), slack.reply)
        assert again == pages[-1]
        cursor = through_json(pages[-1].cursor)
    found = [key for page in pages for key in keys_of(page)]
    assert set(found) == {one for one in expected if one.split(":")[2] == "C1"}
    assert len(found) == len(set(found))


def test_the_upper_end_is_fixed_when_the_run_starts():
    """What is written during a run over the past belongs to the next incremental run."""
    slack, expected = busy_workspace()
    reader, begun = connect(slack), now_of(slack)
    slack.second += 10
    late = slack.post("C1", "late")
    reader.backfill(begun - TWO_DAYS, begun)
    assert reader.keys | {key("channel", "C1", "created")} == expected
    reader.read(begun)
    assert key("C1", late, "posted") in read_new(reader, slack)


def test_nothing_outside_the_asked_window_is_emitted():
    """Both ends are included; the look-back reads more without emitting it."""
    slack = FakeSlack()
    slack.make_channel("C1")
    times = []
    for _ in range(5):
        slack.second += 100
        times.append(slack.post("C1"))
    reader = connect(slack)
    reader.backfill(ts_instant(times[1]), now_of(slack), until=ts_instant(times[3]))
    assert reader.keys == {key("C1", ts, "posted") for ts in times[1:4]}


def test_a_baseline_asks_nothing_and_the_next_run_emits_nothing_older():
    """A channel's first incremental run only notes where it is."""
    slack, _ = busy_workspace()
    slack.second += 600
    reader = connect(slack)
    reader.read(now_of(slack))
    assert not {"conversations.history", "conversations.replies"} & set(methods(slack))
    assert reader.keys == set()
    slack.second += 5
    new = slack.post("C1", "new")
    assert read_new(reader, slack) == {key("C1", new, "posted")}


def test_an_incremental_run_overlaps_the_one_before():
    """Slack's clock and ours may differ by minutes: the overlap covers the difference."""
    slack, _ = busy_workspace()
    reader = connect(slack, options={"thread_lookback_days": "0"})
    reader.read(now_of(slack) + timedelta(minutes=4))
    late = slack.post("C1", "stamped before the end of the window, seen after it")
    reader.read(now_of(slack) + timedelta(minutes=8))
    assert key("C1", late, "posted") in reader.keys


def test_an_import_of_older_messages_is_found_by_a_backfill():
    """An incremental run emits what is new in its window alone: look-backs are read again and again."""
    slack, _ = busy_workspace()
    reader = read_all(slack, since=timedelta(days=9))
    slack.second += 600
    ts = instant_ts(now_of(slack) - timedelta(days=6))
    slack.messages["C1"][ts] = {"type": "message", "user": "U1", "text": "imported", "ts": ts}
    assert read_new(reader, slack) == set()
    reader.forget()
    reader.read(now_of(slack) + timedelta(minutes=10))
    reader.read(now_of(slack) + timedelta(minutes=20))
    assert [page for page in reader.pages if page.signals] == []
    reader.backfill(now_of(slack) - timedelta(days=9), now_of(slack))
    assert key("C1", ts, "posted") in reader.keys


def test_a_new_reply_to_an_old_parent_is_found_within_the_look_back():
    """The parent does not reappear in the history's new part."""
    slack = FakeSlack()
    slack.make_channel("C1")
    parent = slack.post("C1")
    slack.second += 600
    reader, none = read_all(slack), read_all(slack, options={"thread_lookback_days": "0"})
    slack.second += 3 * 86_400
    reply = slack.post("C1", thread=parent)
    assert read_new(reader, slack) == {key("C1", reply, "posted")}
    assert read_new(none, slack) == set()


def test_an_edited_reply_is_found_with_the_next_reply_to_its_thread():
    """Also one that is older than the run's window: the thread is read from the look-back on."""
    slack = FakeSlack()
    slack.make_channel("C1")
    parent = slack.post("C1")
    old = slack.post("C1", thread=parent)
    slack.second += 86_400
    reader = read_all(slack)
    slack.second += 600
    slack.edit("C1", old, "better")
    edit = slack.messages["C1"][old]["edited"]["ts"]
    assert read_new(reader, slack) == set()
    new = slack.post("C1", thread=parent)
    assert read_new(reader, slack) == {key("C1", new, "posted"), key("C1", old, "edited", edit)}


MEDDLING = st.lists(
    st.tuples(st.sampled_from(["post", "reply", "edit", "delete", "delete"]), st.integers(0, 30)), max_size=12
)


@given(meddling=MEDDLING, page=st.sampled_from([1, 2, 5]))
def test_nothing_slips_while_people_go_on(meddling, page):
    """Whatever is written, edited and deleted between two pages, this run or the next reads all that remains, even if
    paging cursors count positions and skip.
    """
    slack = FakeSlack(page=page)
    slack.make_channel("C1")
    parents = [slack.post("C1") for _ in range(6)]
    for parent in parents[:2]:
        for _ in range(3):
            slack.post("C1", thread=parent)
    slack.tick(3600)  # further back than runs overlap
    actions, answer_to = iter(meddling), slack.reply

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
    reader, begun = connect(slack), now_of(slack)
    reader.backfill(begun - TWO_DAYS, begun)
    reader.read(begun)
    slack.reply = answer_to
    slack.tick(600)
    reader.read(now_of(slack))
    standing = slack.messages["C1"]
    assert {key("C1", ts, "posted") for ts in standing} <= reader.keys
    assert {key("C1", ts, "edited", m["edited"]["ts"]) for ts, m in standing.items() if "edited" in m} <= reader.keys


@given(page=st.sampled_from([1, 2, 5]), odd=st.sampled_from(OUT_OF_RANGE), at_the_end=st.booleans())
def test_a_page_that_is_not_what_was_asked_for_does_not_end_the_run_early(page, odd, at_the_end):
    """A run goes on neither from a `ts` of 1970 nor from one of 2100, in histories and in threads."""
    slack, expected = busy_workspace(page=page)
    originals = slack.on_conversations_history, slack.on_conversations_replies

    def with_odd(original):
        def listed(params):
            found = original(params)
            if found["ok"]:
                messages = found["messages"]
                found["messages"] = [*messages, odd] if at_the_end else [odd, *messages]
            return found

        return listed

    slack.on_conversations_history, slack.on_conversations_replies = map(with_odd, originals)
    assert expected <= read_all(slack).keys


def test_a_position_moves_only_to_what_was_asked_for():
    """Down from the present one, or up from it, within the window."""
    base = Window(mode=SyncMode.BACKFILL, low=NOW, high=NOW + timedelta(days=1), floor=NOW)
    span = span_of(context_of(options={"thread_lookback_days": "0"}), base)
    early, low, high, late = (instant_ts(NOW + timedelta(hours=hours)) for hours in (-1, 1, 2, 25))
    assert span.read_down_to([high, low, early], None) == low
    assert span.read_down_to([low, high], high) == low
    assert span.read_down_to([high, late, early], low) == low
    assert span.read_up_to([early, low, high, late], None) == high
    assert span.read_up_to([high, low], low) == high
    assert span.read_up_to([late, low, early], high) == high


def test_a_page_in_another_order_does_not_end_the_run_early():
    """What it repeats costs requests, and nothing else."""
    slack, expected = busy_workspace(page=3)
    original = slack.on_conversations_history

    def history(params):
        page = original(params)
        page["messages"] = page["messages"][::-1]
        return page

    slack.on_conversations_history = history
    assert read_all(slack).keys == expected


@pytest.mark.parametrize("year", [1970, 2099])
def test_one_message_of_another_time_hides_no_other(year):
    """An import may have any date: what is wanted of it is emitted, and all others are read before and after."""
    slack, expected = busy_workspace(page=2)
    slack.second += 600
    ts = instant_ts(datetime(year, 1, 1, 0, 5, tzinfo=UTC))
    slack.messages["C1"][ts] = {"type": "message", "user": "U1", "text": "imported", "ts": ts}
    reader = read_all(slack)
    assert expected <= reader.keys
    slack.second += 60
    new = slack.post("C1")
    imported = {key("C1", ts, "posted")} if year > 2000 else set()
    assert read_new(reader, slack) == {key("C1", new, "posted")} | imported
    whole = connect(slack)
    whole.backfill(EPOCH, now_of(slack))
    assert expected - {key("channel", "C1", "created")} <= whole.keys
    assert (key("C1", ts, "posted") in whole.keys) is (year < 2000)


def test_a_reply_of_the_future_hides_no_other():
    """A thread's position never follows a date that has not come."""
    slack, expected = busy_workspace(page=2)
    parent = next(ts for ts, message in slack.messages["C1"].items() if message.get("reply_count"))
    ts = instant_ts(datetime(2099, 1, 1, tzinfo=UTC))
    slack.messages["C1"][ts] = {"type": "message", "user": "U1", "text": "far", "ts": ts, "thread_ts": parent}
    slack.messages["C1"][parent].update(latest_reply=ts)
    reader = read_all(slack)
    assert expected <= reader.keys
    new = slack.post("C1", thread=parent)
    assert key("C1", new, "posted") in read_new(reader, slack)


def test_threads_without_new_replies_are_not_read():
    """Every call counts against a limit of fifty, or one, a minute."""
    slack, _ = busy_workspace()
    slack.second += 600
    reader = read_all(slack)
    slack.asked.clear()
    reader.read(now_of(slack))
    assert "conversations.history" in methods(slack)
    assert "conversations.replies" not in methods(slack)


# --- cursors that die, pages that lead nowhere --------------------------------------------------------------------------


def test_a_dead_cursor_falls_back_to_times():
    """`invalid_cursor` in the middle of a history or thread loses nothing."""
    slack, expected = busy_workspace(page=1, empty_pages=True)
    original, calls = slack.reply, {"n": 0}

    def reply(request):
        calls["n"] += 1
        if calls["n"] % 3 == 0 and "cursor=" in request.url and ".list" not in request.url:
            return answer({"ok": False, "error": "invalid_cursor"})
        return original(request)

    slack.reply = reply
    assert read_all(slack).keys == expected


def test_an_invalid_cursor_where_none_was_sent_is_an_error():
    """Otherwise the run would never end."""
    slack, expected = busy_workspace()
    slack.refusals["conversations.history"] = ["invalid_cursor"]
    reader = read_all(slack)
    assert reader.keys == {k for k in expected if ":C1:" not in k or "channel:C1" in k}
    assert reader.refused == {}
    window = history_window(slack)
    slack.refusals["conversations.history"] = ["invalid_cursor"]
    with pytest.raises(UnexpectedResponseError):
        converse(SLACK.streams.read_page(context_of(), C1, window, None), slack.reply)


@pytest.mark.parametrize("method", ["users.list", "conversations.list"])
def test_a_dead_cursor_of_a_list_is_an_error(method):
    """The engine begins the list again: a cursor names a position in it, and nothing else does."""
    slack, window = FakeSlack(), history_window(FakeSlack())
    slack.refusals[method] = ["invalid_cursor"]
    read = directory.discover if method == "conversations.list" else directory.read_people
    window = attrs.evolve(window, mode=SyncMode.INCREMENTAL)
    with pytest.raises(UnexpectedResponseError):
        converse(read(context_of(), window, {"page": "at:0"}), slack.reply)


@pytest.mark.parametrize("name", ["members", "channels", "messages", "threads"])
def test_page_tokens_that_circle_give_equal_cursors(name):
    """A→B→A: the engine notices a circle by a cursor that comes again."""
    tokens = {None: "A", "A": "B", "B": "A"}
    items = {
        "members": [{"id": "U1", "name": "ada"}],
        "channels": [{"id": "C1", "name": "general", "is_member": True}],
        "messages": [{"ts": "5.000000"}],
        "threads": [{"ts": "5.000000"}],
    }

    def reply(request):
        token = dict(part.split("=") for part in request.url.partition("?")[2].split("&")).get("cursor")
        shown = {"messages" if name == "threads" else name: items[name]}
        return answer({"ok": True, **shown, "response_metadata": {"next_cursor": tokens[token]}})

    window = attrs.evolve(history_window(FakeSlack()), mode=SyncMode.INCREMENTAL, bookmark={})
    cursors, cursor = [], {"threads": [["1777896000.000001", None]]} if name == "threads" else None
    stream = Stream(key="people", name="people") if name == "members" else C1
    for _ in range(8):
        if name == "channels":
            page = converse(SLACK.streams.discover(context_of(), window, cursor), reply)
        else:
            page = converse(SLACK.streams.read_page(context_of(), stream, window, cursor), reply)
        cursor = through_json(page.cursor)
        cursors.append(cursor)
    assert cursors[-1] in cursors[:-1]


def test_more_without_a_cursor_is_an_error_unless_times_lead_there():
    """A list that breaks off is not taken for its end."""
    slack, _ = busy_workspace()

    def reply(messages):
        return lambda request: answer({"ok": True, "messages": messages, "has_more": True})

    window = history_window(slack)
    with pytest.raises(UnexpectedResponseError):
        converse(SLACK.streams.read_page(context_of(), C1, window, None), reply([]))
    ts = instant_ts(now_of(slack))
    page = converse(SLACK.streams.read_page(context_of(), C1, window, None), reply([{"ts": ts, "type": "message"}]))
    assert page.cursor["lowest"] == ts


# --- which channels there are -------------------------------------------------------------------------------------------


def streams_of(slack, **changes):
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW)
    page = converse(SLACK.streams.discover(context_of(**changes), window, None), slack.reply)
    return {stream.key: stream for stream in page.streams}


@pytest.mark.parametrize("document", [{}, {"messages": None, "channels": {}}])
def test_an_answer_that_is_no_list_reads_nothing(document):
    """It is neither an empty channel nor a workspace without channels."""
    window = Window(mode=SyncMode.BACKFILL, low=NOW - TWO_DAYS, high=NOW, floor=NOW - TWO_DAYS)
    for conversation in (
        SLACK.streams.read_page(context_of(), C1, window, None),
        SLACK.streams.discover(context_of(), window, None),
    ):
        with pytest.raises(UnexpectedResponseError, match="no list"):
            converse(conversation, lambda _: answer({"ok": True, **document}))


def test_a_channel_is_a_stream_under_its_id():
    """Names change."""
    slack, _ = busy_workspace()
    streams = streams_of(slack)
    assert list(streams) == ["people", "channel:C1", "channel:C2"]
    assert (streams["channel:C1"].name, streams["channel:C1"].families) == ("#c1", {"messages"})
    assert (streams["people"].families, streams["people"].interval) == (set(), timedelta(days=1))


def test_channels_that_we_are_not_in_are_named_with_the_reason():
    """This is the usual reason for reads without messages."""
    slack, expected = busy_workspace()
    slack.make_channel("C3", member=False)
    assert streams_of(slack)["channel:C3"].unreadable == "The app is not a member of the channel."
    reader = read_all(slack)
    assert reader.keys == expected | {key("channel", "C3", "created")}
    assert "channel:C3" not in reader.known


def test_what_was_written_before_the_bot_came_is_read():
    """Invited hours later, it reads the channel's past as far as it is wanted."""
    slack, _ = busy_workspace()
    slack.make_channel("C3", member=False)
    before = slack.post("C3", "before")
    reader = read_all(slack)
    slack.tick(5 * 3600)
    slack.channels["C3"]["is_member"] = True
    assert read_new(reader, slack) == {key("C3", before, "posted")}
    after = slack.post("C3", "after")
    assert read_new(reader, slack) == {key("C3", after, "posted")}


def test_what_was_written_while_a_channel_was_refused_is_read_afterwards():
    """The stream stays where it was; meanwhile the others go on."""
    slack, expected = busy_workspace()
    reader = read_all(slack)
    slack.withheld["C1"] = "no_permission"
    slack.tick(30 * 86_400)
    missed, other = slack.post("C1"), slack.post("C2")
    slack.tick(8 * 86_400)
    assert read_new(reader, slack) == {key("C2", other, "posted")}
    assert list(reader.refused) == ["channel:C1"]
    del slack.withheld["C1"]
    assert read_new(reader, slack) == {key("C1", missed, "posted")}
    assert reader.keys == expected | {key("C1", missed, "posted"), key("C2", other, "posted")}


def test_the_bot_joins_public_channels_with_the_option():
    """The option makes a channel readable by itself; private channels never."""
    slack, expected = busy_workspace(page=1)
    slack.make_channel("C3", member=False)
    slack.make_channel("C4", member=False, private=True)
    posted = {key("C3", slack.post("C3"), "posted") for _ in range(3)}
    reader = read_all(slack, options={"join_public_channels": "true"})
    assert reader.keys == expected | {key("channel", "C3", "created"), *posted}
    assert "channel:C4" not in reader.known
    assert methods(slack).count("conversations.join") == 1


def test_without_its_scope_the_bot_joins_no_channel():
    """The reason says what is lacking."""
    slack = FakeSlack()
    slack.make_channel("C3", member=False)
    scopes = ("channels:read", "channels:history")
    (stream,) = streams_of(slack, options={"join_public_channels": "true"}, scopes=scopes).values()
    assert stream.unreadable == "The app is not a member of the channel, and lacks the scope channels:join."


@pytest.mark.parametrize("error", ["missing_scope", "is_archived", "some_future_error"])
def test_a_channel_that_cannot_be_joined_is_refused_alone(error):
    """The refusal is reported, and the others are read."""
    slack, expected = busy_workspace()
    slack.make_channel("C0", member=False)
    slack.refusals["conversations.join"] = [error]
    reader = connect(slack, options={"join_public_channels": "yes"})
    reader.backfill(now_of(slack) - TWO_DAYS, now_of(slack))
    assert "channel:C0" in reader.refused
    assert reader.keys | {key("channel", "C1", "created")} == expected


def test_archived_channels_are_read_by_whoever_is_in_them():
    """Bots are out of a channel that is archived; users stay, and its history too."""
    slack, expected = busy_workspace()
    slack.archive("C1")
    assert streams_of(slack)["channel:C1"].unreadable == "The channel is archived, and the app is not a member."
    assert read_all(slack).keys == {key("channel", "C1", "created"), *(k for k in expected if ":C2:" in k)}
    slack.channels["C1"]["is_member"] = True
    assert read_all(slack).keys == expected


def test_a_user_reads_every_public_channel():
    """Slack shows them to a user's token, joined or not, archived or not; private ones only to members."""
    slack, expected = busy_workspace()
    slack.is_bot = False
    slack.make_channel("C3", member=False)
    slack.make_channel("C4", member=False, private=True)
    posted = slack.post("C3")
    slack.archive("C3")
    reader = read_all(slack, account=USER)
    assert reader.keys == expected | {key("channel", "C3", "created"), key("C3", posted, "posted")}
    assert "channel:C4" not in reader.known


def test_a_workspace_that_shows_no_more_says_from_when_on_it_does():
    """A free plan hides older messages: they are a gap of the vendor's, not read."""
    slack, _ = busy_workspace(page=2)
    slack.second += 600
    original = slack.on_conversations_history
    slack.on_conversations_history = lambda params: {**original(params), "is_limited": True}
    assert slack.messages["C1"][min(slack.messages["C1"])]["reply_count"]  # so that a run does not end with its history
    reader = read_all(slack, options={"thread_lookback_days": "0"})
    oldest = ts_instant(min(slack.messages["C1"]))
    shown = [page.oldest_shown for page in reader.pages if page.oldest_shown is not None]
    assert all(page.cursor is None for page in reader.pages if page.oldest_shown is not None)
    assert shown == [oldest, ts_instant(min(slack.messages["C2"]))]
    within = read_all(slack, since=timedelta(minutes=5))
    assert [page.oldest_shown for page in within.pages if page.oldest_shown] == []
    reader.forget()
    slack.tick(3600)
    slack.post("C1")
    reader.read(now_of(slack))
    assert reader.signals
    assert [page.oldest_shown for page in reader.pages if page.oldest_shown] == []


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        *("not_in_channel", "channel_not_found", "is_archived", "no_permission", "ekm_access_denied"),
        *("missing_scope", "some_future_error"),
    ],
)
def test_a_channel_that_refuses_is_refused_alone(error):
    """An error of one channel is neither the others' nor the connection's."""
    slack, expected = busy_workspace()
    slack.withheld["C1"] = error
    reader = read_all(slack)
    slack.tick(60)
    reader.read(now_of(slack))
    assert reader.keys == {k for k in expected if ":C1:" not in k or "channel:C1" in k}
    assert error in reader.refused["channel:C1"] or error == "missing_scope"
    assert list(reader.refused) == ["channel:C1"]
    assert reader.known["channel:C2"].read_until == now_of(slack)


def thread_of(slack):
    return next(ts for ts, message in slack.messages["C1"].items() if message.get("reply_count"))


def test_a_thread_that_is_gone_is_parked_and_then_found_gone():
    """It may be deleted between the history's page and its replies."""
    slack, expected = busy_workspace()
    slack.withheld[thread_of(slack)] = "thread_not_found"
    reader = read_all(slack)
    assert reader.keys < expected
    assert len(expected - reader.keys) == 3
    (item,) = {one.reference: one for _, one in reader.parked}.values()
    read_again = SLACK.streams.read_item(context_of(), C1, history_window(slack), item.reference)
    assert converse(read_again, slack.reply) is None


@pytest.mark.parametrize("error", ["internal_error", "some_future_error", "no_permission"])
def test_a_thread_that_fails_is_parked_and_read_later(error):
    """The channel goes on; what is left out of it is named with its time."""
    slack, expected = busy_workspace(page=2)
    parent = thread_of(slack)
    slack.withheld[parent] = error
    reader = read_all(slack)
    replies = {key("C1", ts, "posted") for ts, m in slack.messages["C1"].items() if m.get("thread_ts", ts) != ts}
    assert reader.keys == expected - replies
    (item,) = {one.reference: one for _, one in reader.parked}.values()
    assert item.reference == f"C1/{parent}"
    latest = slack.messages["C1"][parent]["latest_reply"]
    assert item.between == (ts_instant(parent), ts_instant(latest))
    with pytest.raises((AccessLostError, ProviderUnavailableError, UnexpectedResponseError)):
        reader.read_parked("channel:C1", item, now_of(slack))
    slack.withheld.clear()
    assert read_parked(reader, item, slack) == replies


def read_parked(reader, item, slack):
    """The keys of a parked thing, and of what is parked in its place, until nothing is."""
    items, found, tries = [item], set(), 0
    while items:
        tries += 1
        assert tries < 50
        try:
            page = reader.read_parked("channel:C1", items[0], now_of(slack))
        except RateLimitedError:
            continue
        found |= keys_of(page)
        items = list(page.parked)
    return found


def test_an_outage_is_not_taken_for_broken_threads():
    """The third thread in a row that Slack cannot give now is its trouble: nothing is parked for it."""
    slack = FakeSlack()
    slack.make_channel("C1")
    for _ in range(4):
        slack.post("C1", thread=slack.post("C1"))
    slack.refusals["conversations.replies"] = ["fatal_error"] * 3
    reader = connect(slack)
    reader.backfill(now_of(slack) - TWO_DAYS, now_of(slack))
    assert (list(reader.refused), reader.parked) == (["channel:C1"], [])


def test_a_strict_limit_lets_every_call_count():
    """Outside the Marketplace Slack answers one call a minute: what was read of several threads stays read."""
    slack = FakeSlack(page=2)
    slack.make_channel("C1")
    for _ in range(4):
        parent = slack.post("C1")
        for _ in range(3):
            slack.post("C1", thread=parent)
    slack.is_strict = True
    window, cursor, found, tries = history_window(slack), None, set(), 0
    while cursor is not None or tries == 0:
        tries += 1
        assert tries < 50
        try:
            page = converse(SLACK.streams.read_page(context_of(), C1, window, cursor), slack.reply)
        except RateLimitedError:
            continue
        found |= keys_of(page)
        cursor = through_json(page.cursor)
    assert found == {key("C1", ts, "posted") for ts in slack.messages["C1"]}


@pytest.mark.parametrize("options", [{"page": 2}, {"page": 2, "empty_pages": True}])
def test_a_parked_thread_advances_with_each_try(options):
    """Whatever its length and Slack's limits: what follows a page is parked in its place."""
    slack = FakeSlack(**options)
    slack.make_channel("C1")
    parent = slack.post("C1")
    replies = {key("C1", slack.post("C1", thread=parent), "posted") for _ in range(7)}
    slack.withheld[parent] = "internal_error"
    reader = read_all(slack)
    slack.withheld.clear()
    slack.is_strict = "empty_pages" not in options
    assert read_parked(reader, reader.parked[0][1], slack) == replies


@pytest.mark.parametrize(
    ("error", "raised"),
    [("token_revoked", ReauthorizationRequiredError), ("missing_scope", InsufficientScopeError)],
)
def test_a_dead_token_ends_the_run(error, raised):
    """Only the user can mend it."""
    slack, _ = busy_workspace()
    slack.refusals["conversations.list"] = [error]
    with pytest.raises(raised):
        read_all(slack)
    slack.refusals = {"conversations.history": ["token_revoked"]}
    with pytest.raises(ReauthorizationRequiredError):
        read_all(slack)


def test_one_bad_message_steps_aside():
    """It is parked by its neighbours, the page's others are kept, and it is read once it can be."""
    slack, expected = busy_workspace()
    first, *_, last = sorted(ts for ts in slack.messages["C1"] if slack.messages["C1"][ts].get("thread_ts", ts) == ts)
    original, bad = slack.on_conversations_history, [None, "x", {"ts": 7}, {"type": "message", "user": "U1"}]

    def history(params):
        page = original(params)
        if params["channel"] == "C1":
            page["messages"][1:1] = bad
        return page

    slack.on_conversations_history = history
    reader = read_all(slack)
    assert reader.keys == expected
    (item,) = {one.reference: one for _, one in reader.parked}.values()
    assert item.reference == f"C1/{first}..{last}"
    assert item.between == (ts_instant(first), ts_instant(last))
    (still,) = reader.read_parked("channel:C1", item, now_of(slack)).parked
    assert (still.reference, still.reason) == (item.reference, item.reason)
    slack.on_conversations_history = original
    assert reader.read_parked("channel:C1", item, now_of(slack)).parked == ()


@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_a_bad_message_at_the_end_of_a_page_can_be_read_later(page):
    """It is parked by its neighbours on both pages: between these Slack shows no more than a page."""
    slack = FakeSlack(page=page)
    slack.make_channel("C1")
    posted = [slack.post("C1", f"{n}") for n in range(12)]
    original, bad = slack.on_conversations_history, set(posted[4:6])

    def history(params):
        found = original(params)
        found["messages"] = [
            {name: value for name, value in one.items() if name != "ts" or value not in bad}
            for one in found["messages"]
        ]
        return found

    slack.on_conversations_history = history
    reader = read_all(slack)
    slack.on_conversations_history = original
    assert reader.parked
    for _, item in reader.parked:
        reader.read_parked("channel:C1", item, now_of(slack))
    assert {key("C1", ts, "posted") for ts in posted} <= reader.keys


def test_a_bad_message_of_the_look_back_is_not_parked_again():
    """It was, when its time was read."""
    slack, _ = busy_workspace()
    original = slack.on_conversations_history

    def history(params):
        page = original(params)
        page["messages"][1:1] = [{"ts": 7}]
        return page

    slack.on_conversations_history = history
    slack.second += 600
    reader = read_all(slack)
    slack.tick(3600)
    reader.read(now_of(slack))
    reader.forget()
    slack.tick(3600)
    slack.post("C1")
    slack.tick(3600)
    slack.post("C1")
    slack.post("C1")
    reader.read(now_of(slack))
    assert len(reader.parked) == 1


@pytest.mark.parametrize("messages", [[None], [{"ts": "1777896001.000001"}, 7, {"ts": "1777896002.000001"}]])
def test_a_bad_message_without_neighbours_in_order_is_parked_with_all_that_was_asked_for(messages):
    """Nothing tells where it is."""
    slack = FakeSlack()
    window = history_window(slack)
    page = converse(
        SLACK.streams.read_page(context_of(), C1, window, None), lambda _: answer({"ok": True, "messages": messages})
    )
    (item,) = page.parked
    low, high = item.between
    assert low < window.low
    assert high >= window.high


def test_a_bad_reply_parks_its_thread():
    """The other replies are kept."""
    slack, expected = busy_workspace()
    original = slack.on_conversations_replies

    def replies(params):
        page = original(params)
        page["messages"] += [None, {"ts": 7}]
        return page

    slack.on_conversations_replies = replies
    reader = read_all(slack)
    assert reader.keys == expected
    assert {one.reference for _, one in reader.parked} == {f"C1/{thread_of(slack)}"}
    again = reader.read_parked("channel:C1", reader.parked[0][1], now_of(slack))
    assert [one.reference for one in again.parked] == [f"C1/{thread_of(slack)}"]
    assert len(again.signals) == 3


# --- names --------------------------------------------------------------------------------------------------------------


def test_names_are_learnt_on_the_way():
    """People and channels by id, for webhooks to come."""
    slack, _ = busy_workspace(page=1)
    slack.people = [{"id": "U1", "profile": {"display_name": "ada"}}, {"id": "U2", "name": "bob"}, {"name": "no id"}]
    metadata = read_all(slack).context.connection.metadata
    assert metadata["people_names"] == {"U1": "ada", "U2": "bob"}
    assert metadata["channel_names"] == {"C1": "c1", "C2": "c2"}


def test_names_of_people_have_no_history():
    """A backfill does not ask for them."""
    slack, _ = busy_workspace()
    reader = connect(slack)
    reader.backfill(now_of(slack) - TWO_DAYS, now_of(slack))
    assert "users.list" not in methods(slack)


def test_the_names_of_channels_that_are_read_come_first(monkeypatch):
    """A workspace can have more channels than names are kept; those of our messages keep theirs."""
    monkeypatch.setattr(directory, "NAMES_KEPT", 2)
    slack = FakeSlack(page=2)
    for number in range(5):
        slack.make_channel(f"C{number}", member=number == 4)
    assert read_all(slack).context.connection.metadata["channel_names"] == {"C4": "c4", "C0": "c0"}


@pytest.mark.parametrize("error", ["missing_scope", "unknown_method", "access_denied"])
def test_everything_is_read_without_names(error):
    """Names are optional: their stream is refused alone, and no family needs it."""
    slack, expected = busy_workspace()
    slack.refusals["users.list"] = [error]
    reader = read_all(slack)
    assert reader.keys == expected
    assert list(reader.refused) == ["people"]


def test_only_what_was_granted_is_asked():
    """Asking for private channels without their scopes would fail the whole call."""
    slack, _ = busy_workspace()
    read_all(slack, scopes=("channels:read", "channels:history"))
    asked = dict(slack.asked)
    assert asked["conversations.list"]["types"] == "public_channel"
    assert "users.list" not in asked
    scopes = ("channels:read", "user:groups:read", "user:groups:history")
    for account, types in ((BOT, "public_channel"), (USER, "public_channel,private_channel")):
        slack.asked.clear()
        read_all(slack, scopes=scopes, account=account)
        assert dict(slack.asked)["conversations.list"]["types"] == types


# --- one channel, settings, odd windows -----------------------------------------------------------------------------------


def test_one_channel_can_be_read_alone_and_claims_nothing_for_the_others():
    """Reading one stream leaves the others where they were."""
    slack, _ = busy_workspace()
    reader = read_all(slack)
    before = reader.known["channel:C1"].read_until
    slack.tick(60)
    slack.asked.clear()
    reader.read_stream("channel:C2", now_of(slack))
    assert [params["channel"] for _, params in slack.asked] == ["C2"]
    assert reader.known["channel:C1"].read_until == before


def test_a_backfill_of_the_past_does_not_move_the_incremental_position():
    """Or what lies between would never be read."""
    slack, _ = busy_workspace()
    reader = connect(slack)
    reader.backfill(NOW - timedelta(days=40), now_of(slack), until=NOW - timedelta(days=30))
    assert {key: state.bookmark for key, state in reader.known.items()} == dict.fromkeys(reader.known)


def test_the_page_size_is_a_setting_and_fifteen_are_accepted():
    """Outside the Marketplace Slack gives 15 whatever is asked."""
    slack = FakeSlack(page=15)
    slack.make_channel("C1")
    posts = [slack.post("C1") for _ in range(40)]
    reader = read_all(slack, options={"page_size": "500"})
    assert {key("C1", ts, "posted") for ts in posts} <= reader.keys
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


@pytest.mark.parametrize("cursor", [{}, {"phase": "messages"}, {"lowest": 7, "threads": "x"}, {"threads": [[], 7]}])
def test_a_cursor_of_another_version_begins_again(cursor):
    """Nothing is lost by it: the keys are the same."""
    slack, expected = busy_workspace()
    page = converse(SLACK.streams.read_page(context_of(), C1, history_window(slack), cursor), slack.reply)
    assert page.cursor is not None
    assert keys_of(page) < expected


def test_an_empty_window_is_done_at_once():
    """This happens if a backfill ends before it begins, or a clock goes back."""
    slack, _ = busy_workspace()
    window = history_window(slack)
    window = attrs.evolve(window, high=window.low - timedelta(hours=1))
    page = converse(SLACK.streams.read_page(context_of(), C1, window, None), slack.reply)
    assert (page, slack.asked) == (StreamPage(cursor=None), [])


ANY_TIME = st.datetimes(max_value=datetime(2500, 1, 1))  # noqa: DTZ001 - hypothesis wants naive bounds


@given(low=ANY_TIME, high=ANY_TIME, mode=st.sampled_from(SyncMode))
def test_any_window_gives_a_page(low, high, mode):
    """Also one before 1970, or that ends centuries from now."""
    slack = FakeSlack()
    slack.make_channel("C1")
    low, high = low.replace(tzinfo=UTC), high.replace(tzinfo=UTC)
    window = Window(mode=mode, low=low, high=high, floor=low, bookmark={})
    page = converse(SLACK.streams.read_page(context_of(), C1, window, None), slack.reply)
    assert page.cursor is None


def test_two_undisturbed_readings_give_the_same():
    """Keys do not depend on when, or by which pages, something is read."""
    slack, expected = busy_workspace(page=2)
    reader = read_all(slack)
    first = reader.keys
    reader.forget()
    reader.backfill(now_of(slack) - TWO_DAYS, now_of(slack))
    assert reader.keys == first == expected


def test_an_organization_wide_install_says_what_to_do():
    """Nothing is asked of Slack, which would refuse it: the error says to choose a workspace."""
    account = attrs.evolve(BOT, metadata={**BOT.metadata, "is_enterprise_install": True})
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW)
    with pytest.raises(AccessLostError) as caught:
        next(SLACK.streams.discover(context_of(account=account), window, None))
    assert "choose one workspace" in caught.value.next_step


def test_discovery_gives_a_page_for_any_cursor():
    """A cursor of another version begins the list again."""
    slack, _ = busy_workspace()
    window = history_window(slack)
    page = converse(SLACK.streams.discover(context_of(), window, {"page": 7, "read": [], "others": 1}), slack.reply)
    assert isinstance(page, DiscoveryPage)
    assert page.cursor is None
