"""Reading chats that behave, and some that do not, for either order in which Cliq might list."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import zoho
from tests.support.stream_reader import StreamReader
from tests.support.zoho import NOW, FakeCliq, facts, make_app, make_connection, make_reader, reply

from connectors.domain.model.errors import ProviderUnavailableError, RateLimitedError, UnexpectedResponseError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ, discovery, spans, streams
from connectors.domain.providers.zoho_cliq.old_cursor import split_cursor
from connectors.domain.providers.zoho_cliq.payloads import MESSAGE_HANDLERS
from connectors.domain.providers.zoho_cliq.webhooks import CHATS, MEMBERSHIP, OPERATIONS

FLOOR = NOW - timedelta(days=9)
DIRECT = {"direct_messages": "true"}
SECOND = timedelta(seconds=1)


def connection(**changes):
    return make_connection("zoho-cliq", **changes)


def reader(cliq, answer=None, **more):
    return make_reader(ZOHO_CLIQ, answer or cliq.answer, **more)


def history(cliq, answer=None, **more):
    """A reader that has read everything up to now."""
    found = reader(cliq, answer, **more)
    found.read(cliq.now)
    return found


def with_options(**options):
    return make_app("zoho-cliq", options=options)


def pushed(cliq, known=None):
    return [zoho.receive(ZOHO_CLIQ, body, known or connection()) for body in cliq.pushed]


def busy(**changes):
    cliq = FakeCliq(**changes)
    for chat_id in ("CT_1", "CT_2", "CT_3"):
        cliq.open(chat_id)
    return cliq


def reads(cliq):
    return [request for request in cliq.requests if "/messages" in request.url]


def keys_of(cliq, *chats):
    return {f"cliq:eu:{chat}:{one['id']}" for chat in chats or cliq.chats for one in cliq.chats[chat]}


def refuse(cliq, *parts, status=403, document=None):
    """The vendor, with everything refused whose URL has such a part."""
    refusal = {"message": "does not have enough permission"} if document is None else document

    def answer(request):
        return reply(refusal, status) if any(one in request.url for one in parts) else cliq.answer(request)

    return answer


@pytest.mark.parametrize("document", [{}, {"data": None, "channels": {}}, {"channels": [], "has_more": True}])
def test_an_answer_that_is_no_list_reads_nothing(document):
    """It is neither a silent chat nor an account without channels, and a list that goes on says where."""
    read = reader(None, lambda _: reply(document))
    window = Window(mode=SyncMode.BACKFILL, low=FLOOR, high=NOW, floor=FLOOR)
    with pytest.raises(UnexpectedResponseError):
        read.converse(streams.read_page(read.context, Stream(key="chat:CT_1", name="x"), window, None))
    with pytest.raises(UnexpectedResponseError):
        read.discover(NOW)


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_first", [True, False])
def test_spans_cover_a_busy_chat(newest_first):
    """Every message of a chat with many pages is read, in either order of Cliq's, at one call a page."""
    cliq = busy(newest_first=newest_first)
    for number in range(1000):
        cliq.post("CT_1", seconds=0.001 if number % 7 else 30)
    cliq.now += SECOND
    read = history(cliq)
    assert read.keys == keys_of(cliq, "CT_1")
    assert len(reads(cliq)) < 16
    assert read.parked == []


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("crowd", [2, 7, 60, 99])
def test_messages_of_one_millisecond_that_a_page_cuts_in_two_are_all_read(crowd, newest_first):
    """The parts of a span share their end with the page."""
    cliq = busy(newest_first=newest_first)
    for number in range(400):
        cliq.post("CT_1", seconds=0 if number % crowd else 1)
    assert history(cliq).keys == keys_of(cliq, "CT_1")


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_millisecond_with_more_than_a_page(newest_first):
    """What cannot be had is parked at its instant, stays parked, and everything around it is read."""
    cliq = busy(newest_first=newest_first)
    before = cliq.post("CT_1")
    for _ in range(130):
        crowd = cliq.post("CT_1", seconds=0)
    after = cliq.post("CT_1")
    read = history(cliq)
    assert read.keys >= {f"cliq:eu:CT_1:{before['id']}", f"cliq:eu:CT_1:{after['id']}"}
    ((key, parked),) = read.parked
    assert [zoho.ms(at) for at in parked.between] == [int(crowd["time"])] * 2
    with pytest.raises(UnexpectedResponseError):
        read.read_parked(key, parked, cliq.now)


def test_a_vendor_that_ignores_the_span_is_left_alone():
    """Full pages of other times refuse the chat instead of being read without end."""
    cliq = busy()
    cliq.post("CT_1")
    other = [{"id": f"{n}_1", "time": n, "type": "text", "content": "x"} for n in range(100)]
    read = history(cliq, lambda request: reply({"data": other}) if "CT_1/mess" in request.url else cliq.answer(request))
    assert read.refused == {"chat:CT_1": streams.LAWLESS}
    assert read.keys == set()


@pytest.mark.parametrize("newest_first", [True, False])
@given(cuts=st.sets(st.integers(0, 240), max_size=30))
@settings(max_examples=10)
def test_messages_that_are_deleted_while_a_chat_is_read_hide_no_other(newest_first, cuts):
    """Spans are of time: what is deleted between two pages, at any edge, moves nothing else."""
    cliq = busy(newest_first=newest_first)
    for _ in range(240):
        cliq.post("CT_1", seconds=0.5)
    stay = {one["id"] for number, one in enumerate(cliq.chats["CT_1"]) if number not in cuts}

    def delete():
        cliq.chats["CT_1"] = [one for one in cliq.chats["CT_1"] if one["id"] in stay]

    cliq.on_read = delete
    assert history(cliq).keys >= {f"cliq:eu:CT_1:{one}" for one in stay}


@pytest.mark.parametrize("count", [99, 100, 101])
def test_a_chat_with_just_a_page_teaches_nothing_wrong(count):
    """A full page that leaves nothing open says nothing about the order of the next chat's pages."""
    cliq = busy(newest_first=False)
    for number in range(350):
        cliq.post("CT_1", seconds=1)
        if number < count:
            cliq.post("CT_2", seconds=1)
    assert history(cliq).keys == keys_of(cliq)


@given(
    newest_first=st.booleans(),
    odd=st.lists(st.tuples(st.integers(0, 99), st.sampled_from([1970, 2099])), max_size=6),
)
@settings(max_examples=25)
def test_a_message_of_an_odd_date_neither_ends_nor_stops_a_chat(newest_first, odd):
    """Rows dated 1970 or 2099 in any position of any page hide no other row, and those of 2099 are reported."""
    cliq = busy(newest_first=newest_first)
    for _ in range(240):
        cliq.post("CT_1", seconds=20)
    rows = dict(odd)

    def answer(request):
        response = cliq.answer(request)
        if "CT_1/messages" not in request.url:
            return response
        data = response.json()["data"]
        for place, year in rows.items():
            at = zoho.ms(datetime(year, 1, 2, tzinfo=UTC))
            data.insert(place, {"id": f"{at}_{place}", "time": at, "type": "text", "content": "odd"})
        return reply({"data": data[: spans.LIMIT]})

    read = history(cliq, answer)
    assert read.keys >= keys_of(cliq, "CT_1")
    cliq.now += timedelta(hours=1)
    cliq.post("CT_1")
    read.read(cliq.now)
    assert read.keys >= keys_of(cliq, "CT_1")
    if rows.get(0) == 2099:
        assert any(draft.occurred_at.year == 2099 for draft in read.signals)


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"id": None}, "own"),
        ({"time": "soon"}, "own"),
        ({"id": None, "time": None}, "page"),
        ({"id": "x", "time": None}, "page"),
    ],
)
@pytest.mark.parametrize("count", [5, 240])
def test_a_row_that_cannot_be_read_is_parked_where_it_lies(broken, where, count):
    """The other rows are read, and the row itself when it can be; until then it stays parked."""
    cliq = busy()
    for _ in range(count):
        cliq.post("CT_1", seconds=20)
    row = cliq.chats["CT_1"][count - 3]
    is_broken = [True]

    def answer(request):
        response = cliq.answer(request)
        if "CT_1/messages" not in request.url or not is_broken[0]:
            return response
        return reply(
            {"data": [{**one, **broken} if one["id"] == row["id"] else one for one in response.json()["data"]]}
        )

    read = history(cliq, answer)
    assert read.keys == keys_of(cliq, "CT_1") - {f"cliq:eu:CT_1:{row['id']}"}
    ((key, parked),) = set(read.parked)
    low, high = (zoho.ms(at) for at in parked.between)
    assert low <= int(row["time"]) <= high
    assert (low == high) is (where == "own")
    with pytest.raises(UnexpectedResponseError):
        read.read_parked(key, parked, cliq.now)
    is_broken[0] = False
    assert read.read_parked(key, parked, cliq.now).parked == ()
    assert read.keys == keys_of(cliq, "CT_1")


def test_a_parked_row_that_is_gone_is_nothing_to_wait_for():
    """Its span is read without it."""
    cliq = busy()
    cliq.post("CT_1")
    read = history(cliq, None)
    page = read.converse(
        streams.read_item(
            read.context,
            read.known["chat:CT_2"].stream,
            Window(mode=SyncMode.BACKFILL, low=FLOOR, high=NOW, floor=FLOOR),
            f"{zoho.ms(FLOOR)}-{zoho.ms(NOW)}",
        )
    )
    assert (page.parked, page.signals, page.cursor) == ((), (), None)


@given(newest_first=st.booleans(), stops=st.sets(st.integers(0, 12)), mode=st.sampled_from(SyncMode))
@settings(max_examples=20)
def test_a_crash_between_two_pages_repeats_at_most_the_page(newest_first, stops, mode):
    """A cursor that went through JSON gives the same page again, and positions that differ from all before."""
    cliq = busy(newest_first=newest_first)
    for _ in range(450):
        cliq.post("CT_1", seconds=1)
    window = Window(
        mode=mode, low=FLOOR, high=cliq.now, floor=FLOOR, bookmark=None if mode is SyncMode.BACKFILL else {}
    )
    read = reader(cliq)
    stream, cursor, seen, found = Stream(key="chat:CT_1", name="one"), None, [], set()
    for number in range(40):
        page = read.converse(streams.read_page(read.context, stream, window, cursor))
        if number in stops:
            assert read.converse(streams.read_page(read.context, stream, window, cursor)) == page
        found |= {draft.dedupe_key for draft in page.signals}
        if page.cursor is None:
            break
        cursor = json.loads(json.dumps(page.cursor))
        assert cursor not in seen
        seen.append(cursor)
    assert found == keys_of(cliq, "CT_1")


def test_reading_again_finds_the_same():
    """Two readers of an account that rests find the same keys, and the second read of one finds nothing new."""
    cliq = busy()
    for number in range(300):
        cliq.post(f"CT_{number % 3 + 1}", seconds=1)
    first, second = history(cliq), history(cliq)
    assert first.keys == second.keys == keys_of(cliq)
    first.forget()
    first.read(cliq.now)
    assert first.keys <= second.keys


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_chat_that_was_refused_is_read_again_without_changes():
    """After a temporary refusal its history is read, although nothing changed in it."""
    cliq = busy()
    cliq.post("CT_1")
    cliq.now += timedelta(hours=5)
    is_refused = [True]

    def answer(request):
        refused = is_refused[0] and "CT_1/messages" in request.url
        return reply({"message": "a technical error"}, 400) if refused else cliq.answer(request)

    read = history(cliq, answer)
    assert set(read.refused) == {"chat:CT_1"}
    is_refused[0] = False
    cliq.now += timedelta(hours=5)
    read.read(cliq.now)
    assert read.keys == keys_of(cliq, "CT_1")


@pytest.mark.parametrize("status", [403, 502])
def test_a_chat_that_fails_steps_aside(status):
    """A chat that is refused or always fails keeps no other from being read; it loses nothing if it comes back."""
    cliq = busy()
    cliq.post("CT_1")
    cliq.post("CT_2")
    is_refused = [True]
    refusing = refuse(cliq, "CT_1/messages", status=status)
    read = history(cliq, lambda request: refusing(request) if is_refused[0] else cliq.answer(request))
    assert read.keys == keys_of(cliq, "CT_2")
    for _ in range(3):
        cliq.post("CT_1", seconds=900)
        cliq.post("CT_2")
        read.read(cliq.now)
    assert read.keys == keys_of(cliq, "CT_2")
    is_refused[0] = False
    cliq.now += timedelta(hours=1)
    read.read(cliq.now)
    assert read.keys == keys_of(cliq, "CT_1", "CT_2")


def test_a_channel_that_is_joined_later_brings_its_past():
    """Its messages from before are read, down to the floor."""
    cliq = busy()
    read = history(cliq)
    cliq.open("CT_4")
    for _ in range(120):
        cliq.post("CT_4", seconds=30)
    cliq.now += timedelta(days=1)
    read.read(cliq.now)
    assert read.keys == keys_of(cliq, "CT_4")


@pytest.mark.parametrize(("status", "document"), [(429, {"message": "Too many requests within a certain time frame."}),
                                                  (400, {"message": "You have exceeded the URL throttle limits."})])  # fmt: skip
def test_a_throttle_waits_the_lock_out(status, document):
    """Both forms give the instant at which the lock ends."""
    with pytest.raises(RateLimitedError) as caught:
        reader(FakeCliq(), lambda _: reply(document, status)).read(NOW)
    assert caught.value.retry_at == NOW + timedelta(minutes=10)
    assert (caught.value.scope, caught.value.limit_scope) == ("channels", LimitScope.ACCOUNT)


# --- which chats -----------------------------------------------------------------------------------------------------


def test_a_channel_that_slips_between_two_pages_of_the_list_is_found():
    """When the user leaves a channel of an earlier page, the list moves up; it is read again."""
    cliq = FakeCliq()
    for number in range(6):
        cliq.open(f"CT_{number}")
        cliq.post(f"CT_{number}")
    listed = []

    def answer(request):
        if "CT_0/messages" in request.url:
            return reply({"message": "chat_not_found"}, 404)
        found = cliq.answer(request)
        if "/channels" in request.url:
            listed.append(1)
            cliq.chats.pop("CT_0", None)
        return found

    read = history(cliq, answer)
    assert {one.container.id for one in read.signals} == {f"CT_{number}" for number in range(1, 6)}
    assert set(read.refused) == {"chat:CT_0"}
    assert len(listed) < 12


def test_page_tokens_that_circle_give_equal_cursors():
    """Within a pass equal positions are equal cursors, so that the engine notices the circle."""
    tokens = {None: "A", "A": "B", "B": "A"}

    def answer(request):
        token = dict(parse_qsl(urlsplit(request.url).query)).get("next_token")
        return reply({"channels": [{"chat_id": "CT_1"}], "has_more": True, "next_token": tokens[token]})

    read, cursor, seen = reader(FakeCliq(), answer), None, []
    window = Window(mode=SyncMode.INCREMENTAL, low=FLOOR, high=NOW, floor=FLOOR)
    for _ in range(4):
        cursor = json.loads(json.dumps(read.converse(discovery.discover(read.context, window, cursor)).cursor))
        seen.append(cursor)
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]


@given(st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=20)
def test_no_cursor_of_a_discovery_comes_again(created, archived):
    """The passes over lists of any length have positions of their own, and end."""
    cliq = FakeCliq()
    for number in range(created + archived):
        cliq.open(f"CT_{number}")
        cliq.post(f"CT_{number}")
    cliq.archived = {f"CT_{number}" for number in range(created, created + archived)}
    read, cursor, seen = reader(cliq), None, []
    window = Window(mode=SyncMode.INCREMENTAL, low=FLOOR, high=NOW, floor=FLOOR)
    while True:
        page = read.converse(discovery.discover(read.context, window, cursor))
        cursor = json.loads(json.dumps(page.cursor))
        if cursor is None:
            break
        assert cursor not in seen
        seen.append(cursor)
    assert {stream.key for stream in page.streams} == {f"chat:{chat_id}" for chat_id in cliq.chats}


def test_a_channel_without_a_chat_is_counted():
    """It is named as a stream that cannot be read; the list goes on."""
    rows = [{"channel_id": "P1", "name": "#lost"}, {"chat_id": "CT_1", "name": "#found"}]
    read = reader(FakeCliq(), lambda _: reply({"channels": rows}))
    window = Window(mode=SyncMode.INCREMENTAL, low=FLOOR, high=NOW, floor=FLOOR)
    page = read.converse(discovery.discover(read.context, window, None))
    assert {(one.key, one.name, one.unreadable is None) for one in page.streams} == {
        ("channel:P1", "#lost", False),
        ("chat:CT_1", "found", True),
    }


@pytest.mark.parametrize("lists_archived", [True, False])
def test_archived_channels_are_read(lists_archived):
    """Those archived from the beginning and those archived later, with what was posted just before."""
    cliq = busy()
    cliq.lists_archived = lists_archived
    cliq.archived = {"CT_3"}
    for chat_id in ("CT_1", "CT_2", "CT_3"):
        cliq.post(chat_id)
    cliq.now += timedelta(hours=1)
    read = history(cliq)
    assert read.keys == keys_of(cliq)
    cliq.post("CT_2")
    cliq.archived.add("CT_2")
    cliq.now += timedelta(hours=1)
    read.read(cliq.now)
    assert read.keys == keys_of(cliq)


@pytest.mark.parametrize("newest_first", [True, False])
def test_more_direct_chats_than_a_page_are_all_read(newest_first, monkeypatch):
    """The list of chats is read in spans, and chats that change meanwhile are found at its top."""
    for module in (spans, streams, discovery):
        monkeypatch.setattr(module, "LIMIT", 4)
    cliq = FakeCliq(cap=4)
    for number in range(18):
        cliq.open(f"DM_{number:02}")
        cliq.post(f"DM_{number:02}", seconds=400)
    at, expected = cliq.now, keys_of(cliq)
    busy_ones = iter(["DM_01", "DM_14"])
    read = reader(cliq, lists_of_chats(cliq, newest_first, busy_ones), app=with_options(**DIRECT))
    read.read(at)
    assert read.keys == expected
    assert len(read.known) == 18


def lists_of_chats(cliq, newest_first, busy_ones=()):
    """The vendor without channels. While its list of chats is read, these chats change, one a call."""
    changing = iter(busy_ones)

    def answer(request):
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query))
        if parts.path.endswith("/channels"):
            return reply({"channels": []})
        if not parts.path.endswith("/chats"):
            return cliq.answer(request)
        low, high = int(query["modified_after"]), int(query.get("modified_before", 1 << 60))
        rows = [(int(posts[-1]["time"]), chat) for chat, posts in cliq.chats.items() if posts]
        rows = sorted([one for one in rows if low < one[0] < high], reverse=newest_first)[: int(query["limit"])]
        chat = next(changing, None)
        if chat is not None:
            cliq.now += timedelta(minutes=9)
            cliq.post(chat)
        return reply({"chats": [{"chat_id": chat, "last_modified_time": when} for when, chat in rows]})

    return answer


def test_a_list_of_chats_that_does_not_rest_proves_nothing(monkeypatch):
    """If its top is full in the end, no chat is called quiet, and the next discovery lists the same again."""
    for module in (spans, streams, discovery):
        monkeypatch.setattr(module, "LIMIT", 4)
    cliq = FakeCliq(cap=4)
    for number in range(9):
        cliq.open(f"DM_{number}")
        cliq.post(f"DM_{number}")
    at = cliq.now
    changing = (f"DM_{number % 9}" for number in range(100))
    read = reader(cliq, lists_of_chats(cliq, True, changing), app=with_options(**DIRECT), kind=StreamReader)
    read.discover(at)
    assert {one.stream.quiet_since for one in read.known.values()} == {None}
    assert read.discovery.bookmark is None


def test_direct_chats_that_rest_are_quiet_and_stay_known():
    """A direct chat that is not listed, because nothing changed, is named with the time since when it is quiet."""
    cliq = FakeCliq()
    cliq.open("DM_1")
    cliq.post("DM_1")
    cliq.now += timedelta(hours=1)
    read = reader(cliq, lists_of_chats(cliq, True), app=with_options(**DIRECT))
    read.read(cliq.now)
    cliq.requests.clear()
    for _ in range(3):
        cliq.now += timedelta(hours=1)
        read.read(cliq.now)
    assert read.keys == keys_of(cliq)
    assert reads(cliq) == []
    assert read.context.connection.metadata[CHATS] == {"DM_1": "DM_1"}


def test_idle_chats_are_not_read():
    """Only chats that changed since the last read cost a call, and an idle chat loses nothing."""
    cliq = busy()
    for chat_id in cliq.chats:
        cliq.post(chat_id)
    cliq.now += timedelta(minutes=10)
    read = history(cliq)
    cliq.now += timedelta(hours=2)
    cliq.requests.clear()
    cliq.post("CT_2")
    read.read(cliq.now)
    assert read.keys == keys_of(cliq)
    assert len(reads(cliq)) == 1


def test_a_chat_that_the_list_never_names_is_never_called_quiet():
    """That it is left out proves nothing: it is read each time."""
    cliq = busy()
    cliq.post("CT_1")

    def answer(request):
        return reply({"chats": []}) if "/chats?" in request.url else cliq.answer(request)

    read = history(cliq, answer)
    for _ in range(3):
        cliq.post("CT_1", seconds=3600)
        read.read(cliq.now)
    assert read.keys == keys_of(cliq)
    assert all(one.stream.quiet_since is None for one in read.known.values())


POSTS = [*(f"CT_{number}" for number in range(1, 4)), "archive", "reopen", "read", "rest"]


@given(
    actions=st.lists(st.tuples(st.sampled_from(POSTS), st.integers(0, 400)), max_size=40),
    lags=st.tuples(st.integers(0, 120), st.integers(0, 120)),
    clock=st.integers(-120, 120),
    lists_archived=st.booleans(),
)
@settings(max_examples=150)
def test_quiet_chats_hide_nothing(actions, lags, clock, lists_archived):
    """Whatever changes between reads, with lists that lag and clocks that differ: every message is read in the end."""
    cliq = busy()
    cliq.lists_archived = lists_archived
    cliq.message_lag, cliq.chat_lag = (timedelta(seconds=lag) for lag in lags)
    read = reader(cliq)
    for action, seconds in actions:
        cliq.now += timedelta(seconds=seconds)
        if action == "archive":
            cliq.archived.add("CT_1")
        elif action == "reopen":
            cliq.archived.clear()
        elif action == "read":
            read.read(cliq.now + timedelta(seconds=clock))
        elif action != "rest":
            cliq.post(action, seconds=1)
    cliq.now += timedelta(hours=1)
    for _ in range(2):
        read.read(cliq.now + timedelta(seconds=clock))
    assert read.keys == keys_of(cliq)


def test_a_discovery_remembers_the_chats_that_there_are():
    """Channels that were left are forgotten; with direct messages no list has all chats, and those stay."""
    cliq = busy()
    cliq.post("CT_1")
    for options, kept in (({}, False), (DIRECT, True)):
        read = history(cliq, app=with_options(**options))
        chats = read.discovery.bookmark["chats"]
        read.discovery.bookmark = {
            **read.discovery.bookmark,
            "chats": {**chats, "CT_left": ["left", "created", 5], "DM_1": ["direct", "direct", 5]},
        }
        read.discover(cliq.now)
        assert "CT_left" not in read.discovery.bookmark["chats"]
        assert ("DM_1" in read.discovery.bookmark["chats"]) is kept


@pytest.mark.parametrize("document", [{"code": "oauthtoken_scope_invalid", "message": "no"}, {"message": "no"}])
def test_without_the_list_of_chats_all_channels_are_read(document):
    """A missing scope costs calls, not messages; that direct chats cannot be listed is named."""
    cliq = busy()
    cliq.post("CT_3")
    answer = refuse(cliq, "/chats?", document=document)
    read = history(cliq, answer, app=with_options(**DIRECT))
    assert read.keys == keys_of(cliq)
    assert len(reads(cliq)) == 3
    window = Window(mode=SyncMode.INCREMENTAL, low=FLOOR, high=NOW, floor=FLOOR)
    listing = discovery.Listing(list="chats", spans=(spans.Span(0, 1),))
    page = read.converse(discovery.discover(read.context, window, listing.to_cursor()))
    assert [(one.key, one.unreadable is None) for one in page.streams] == [("direct", False)]


def test_a_list_of_chats_that_fails_keeps_no_channel_from_being_known():
    """The channels are named before it is asked."""
    cliq = busy()
    read = reader(cliq, refuse(cliq, "/chats?", status=502))
    with pytest.raises(ProviderUnavailableError):
        read.discover(NOW)
    assert set(read.known) == {"chat:CT_1", "chat:CT_2", "chat:CT_3"}


# --- limits, families, both paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name", "most"),
    [("chats/CT%2F1/messages?limit=1", "messages", 15), ("chats?limit=1", "chats", 20), ("channels", "channels", None)],
)
def test_budgets(path, name, most):
    """Each family of endpoints has a budget below Cliq's number, which a throttle in a 200 also names."""
    url = f"https://cliq.zoho.eu/api/v2/{path}"
    (budget,) = ZOHO_CLIQ.limits.budgets(HttpRequest(method="GET", url=url))
    assert budget.name == name
    assert most is None or budget.requests + budget.burst <= most
    refusal = reply({"status": {"code": 429}, "code": "x", "message": "Too many requests"}, url=url)
    assert ZOHO_CLIQ.limits.read_throttle(refusal, NOW).scope == name


def test_every_event_has_the_family_of_its_kind():
    """Every webhook event belongs to the family of its kind, and every stream to that of messages."""
    for operation, kind in OPERATIONS.items():
        for event in (operation, f"participation_handler.{operation}"):
            assert kind in ZOHO_CLIQ.family_of(event).kinds
    for event in (*MEMBERSHIP, *MESSAGE_HANDLERS, "message_handler.message_sent"):
        assert SignalKind.MESSAGE_POSTED in ZOHO_CLIQ.family_of(event).kinds
    assert {family for one in history(busy()).known.values() for family in one.stream.families} == {
        family.name for family in ZOHO_CLIQ.families if family.is_read
    }


def test_service_rows_and_our_own_bot_are_left_out():
    """Joins and messages of our own bot are reported by neither path."""
    app = with_options(bot_id="b-1, b-2")
    cliq = busy()
    cliq.post("CT_1", kind="info")
    cliq.post("CT_1", sender="b-2")
    assert history(cliq, app=app).keys == set()
    outcomes = [zoho.receive(ZOHO_CLIQ, body, connection(), app=app) for body in cliq.pushed]
    assert [one.reason for one in outcomes] == ["a service message", "our own bot's"]


ACTIONS = ["CT_1", "CT_2", "CT_3", "edit", "read", "fast"]


@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=30),
    newest_first=st.booleans(),
    with_ids=st.booleans(),
    twice=st.booleans(),
)
def test_any_sequence_by_push_by_reading_and_by_both(actions, newest_first, with_ids, twice):
    """Push only, reading only, both, and everything twice agree on every message that was posted."""
    cliq = busy(newest_first=newest_first, with_ids=with_ids)
    read = history(cliq)
    for action in actions:
        if action == "read":
            for _ in range(1 + twice):
                read.read(cliq.now)
        elif action == "edit":
            if cliq.chats["CT_1"]:
                cliq.edit("CT_1", 0)
        else:
            cliq.post(action if action != "fast" else "CT_2", seconds=0 if action == "fast" else 61)
    read.read(cliq.now)
    found, known = read.signals, read.context.connection
    posted = read.keys
    reported, named = [], set()
    for outcome in pushed(cliq, known) * (1 + twice):
        reported += outcome.signals
        if outcome.needs_sync:
            named.add(outcome.sync_target)
    read.forget()
    for key in named:
        read.read_stream(key, cliq.now)
    assert {one.dedupe_key for one in reported if one.kind is SignalKind.MESSAGE_POSTED} | read.keys <= posted
    if with_ids:
        # What reading saw first stays; an edit changes the title of a message that is read after it.
        assert {one[:3] for one in facts(found)} == {
            one[:3] for one in facts(reported) if one[1] == SignalKind.MESSAGE_POSTED.value
        }
    assert {one["id"] for posts in cliq.chats.values() for one in posts} == {key.rsplit(":", 1)[1] for key in posted}


# --- the cursor of before --------------------------------------------------------------------------------------------


def test_the_old_cursor_gives_a_bookmark_to_each_chat_that_was_read():
    """Each has the upper end of what was read of it; one that was always refused, the cursor's floor."""
    cursor = {
        "floor": 1770000000000,
        "listed_from": 1770000600000,
        "ceiling": 1770000900000,
        "marks": {"CT_1": 1770000900000, "CT_2": 1770000300000, "CT_3": 1770000000001},
        "phase": "rest",
        "page": None,
        "passes": 2,
        "has_grown": False,
        "queue": [],
        "windows": [],
        "behind": ["CT_3", "CT_4"],
    }
    assert split_cursor(cursor) == {
        "chat:CT_1": {"low": 1770000900000},
        "chat:CT_2": {"low": 1770000300000},
        "chat:CT_3": {"low": 1770000000001},
        "chat:CT_4": {"low": 1770000000000},
    }
    assert split_cursor({**cursor, "phase": "messages"}) == {}
    assert split_cursor({}) == {}


def test_a_chat_that_the_old_cursor_was_refused_loses_nothing():
    """Its first read begins where the cursor had come in it, not where the account had."""
    cliq = busy()
    cliq.post("CT_1")
    low = zoho.ms(cliq.now - SECOND)
    cliq.now += timedelta(days=2)
    read = reader(cliq, kind=StreamReader)
    read.discover(cliq.now)
    state = read.known["chat:CT_1"]
    state.bookmark, state.read_until = {"low": low}, cliq.now
    cliq.now += timedelta(hours=1)
    read.read_stream("chat:CT_1", cliq.now)
    assert read.keys == keys_of(cliq, "CT_1")
    assert state.bookmark == streams.BOOKMARK
