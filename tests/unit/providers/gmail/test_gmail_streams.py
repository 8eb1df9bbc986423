"""How mailboxes are read."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
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
from tests.support.stream_reader import StreamReader

from connectors.domain.model.errors import (
    ProviderUnavailableError,
    RateLimitedError,
    UnexpectedResponseError,
)
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail import GMAIL, listing, streams
from connectors.domain.providers.gmail.oauth import METADATA_SCOPE, READ_SCOPE
from connectors.domain.providers.gmail.old_cursor import split_cursor
from connectors.domain.providers.gmail.streams import MAILBOX
from connectors_sandbox.faults import Fault

CONTEXT = SyncContext(app=make_app(GMAIL), connection=make_connection(GMAIL))
STREAMS = GMAIL.streams
STREAM = Stream(key=MAILBOX, name=DANA)
MONTH = NOW - timedelta(days=30)
NEXT = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW, bookmark={"history_id": "1230"})
HISTORY = Window(mode=SyncMode.BACKFILL, low=MONTH, high=NOW, floor=MONTH)


def read(window, cursor, *responses, context=CONTEXT):
    answer = script(*responses)
    page = converse(GMAIL, STREAMS.read_page(context, STREAM, window, cursor), answer)
    return page, answer.asked


def ids(*names, **more):
    return reply({"messages": [{"id": name} for name in names], **more})


def mail(name, at=NOW, **changes):
    millis = str(int(at.timestamp() * 1000))
    return reply({"id": name, "threadId": name, "labelIds": ["INBOX"], "internalDate": millis, **changes})


def added(number, *names, labels=("INBOX",)):
    messages = [{"message": {"id": name, "labelIds": list(labels)}} for name in names]
    return {"id": str(number), "messagesAdded": messages}


def history(*records, history_id="1300", **more):
    return reply({"history": list(records), "historyId": history_id, **more})


# --- history -------------------------------------------------------------------------------------------------------


def test_the_mailbox_is_one_stream_of_both_families():
    """It is found without a request."""
    page = converse(GMAIL, STREAMS.discover(CONTEXT, NEXT, None), script())
    (stream,) = page.streams
    assert (stream.key, stream.name, page.cursor) == ("mailbox", DANA, None)
    assert stream.families == {family.name for family in GMAIL.families}


def test_a_first_read_only_takes_the_history_id():
    """Nothing old is reported; the next run starts from here, and pushes are compared with it."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Old", age_days=1)
    driver = google.connect(GMAIL)
    assert driver.sync() == []
    assert driver.connection.metadata["history_id"] == driver.reader.known[MAILBOX].bookmark["history_id"]
    assert driver.pages[-1].read_from is None


def test_nothing_new_is_an_answer_without_history():
    """The array is absent then; the bookmark takes the answer's id."""
    page, asked = read(NEXT, None, reply({"historyId": "1250"}))
    assert (page.cursor, page.bookmark) == (None, {"history_id": "1250"})
    query = query_of(asked[0])
    assert query["startHistoryId"] == "1230"
    assert query["historyTypes"] == ["messageAdded", "labelAdded", "labelRemoved", "messageDeleted"]


@pytest.mark.parametrize("history_id", ["1200", "999"])
def test_the_bookmark_never_goes_back(history_id):
    """An older id leaves it unchanged; 999 is less than 1230 although it sorts later as text."""
    assert read(NEXT, None, reply({"historyId": history_id}))[0].bookmark == {"history_id": "1230"}


@pytest.mark.parametrize("window", [NEXT, HISTORY])
@pytest.mark.parametrize(
    "document",
    [{}, {"error": {"code": 500}}, {"historyId": "x"}, {"historyId": "1300", "resultSizeEstimate": 5, "messages": {}}],
)
def test_an_answer_that_is_no_list_reads_nothing(window, document):
    """An error under a good status, or a list that is none, is not an empty list."""
    with pytest.raises(UnexpectedResponseError):
        read(window, None, reply(document if window is HISTORY else {"history": {}, **document}))


def test_pages_keep_the_id_that_the_run_began_with():
    """The page token belongs to that start; one that repeats gives equal cursors, by which the engine notices it."""
    page, _ = read(NEXT, None, reply({"historyId": "1300", "nextPageToken": "p2"}))
    assert page.cursor == {"history_id": "1300", "page": "p2"}
    again, asked = read(NEXT, page.cursor, reply({"historyId": "1301", "nextPageToken": "p2"}))
    assert query_of(asked[0])["startHistoryId"] == "1230"
    assert again.cursor == page.cursor


def test_the_bookmark_is_the_id_of_the_first_answer():
    """A later page may name the id of a record that came after the list was made: that one is the next run's, and so
    is its push."""
    first, _ = read(NEXT, None, history(added(1240, "a"), history_id="1250", nextPageToken="p2"), mail("a"))
    assert first.connection_metadata == {}
    last, _ = read(NEXT, first.cursor, history(added(1245, "b"), history_id="1260"), mail("b"))
    assert last.bookmark == last.connection_metadata == {"history_id": "1250"}


def test_lapsed_history_is_lost_and_what_came_since_is_listed():
    """404 is no fault of the connection: mail since the last read is listed, and older mail is not reported."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Ancient", age_days=60)
    driver = google.connect(GMAIL)
    driver.backfill(since=NOW - timedelta(days=5))
    google.pass_time(days=10)
    google.world.receive_email(DANA, sender=LEE, subject="While away")
    google.world.expire_history(DANA)
    driver.reader.forget()
    driver.sync()
    assert driver.kinds() == [("email_received", "While away")]
    assert [bool(page.lost) for page in driver.pages] == [True, False, False]
    assert driver.sync() == []


def test_while_history_is_lost_no_push_counts_as_read():
    """A mailbox that was restored may count from a lower id; until the new baseline every push asks for a read."""
    page, _ = read(NEXT, None, error_reply(404, "notFound"))
    assert page.lost
    assert page.connection_metadata == {"history_id": None}
    assert page.bookmark is None


def test_history_that_lapses_at_once_ends_each_run():
    """An id that Gmail forgets at once makes no run endless: each ends with its baseline."""

    def answer(request):
        if "/history" in request.url:
            return error_reply(404, "notFound")
        return reply({"historyId": "2000"}) if "/profile" in request.url else reply({"resultSizeEstimate": 0})

    reader = StreamReader(
        streams=STREAMS, context=CONTEXT, converse=lambda talk: converse(GMAIL, talk, answer), floor=NOW
    )
    for _ in range(3):
        reader.read(NOW)
    assert len(reader.lost) == 2
    assert reader.refused == {}


def test_an_answer_that_names_many_messages_is_read_in_parts():
    """However many one record names, no page reads more than its size; what is added meanwhile is the next run's."""
    bulk = added(1240, *(f"m{number}" for number in range(30)))
    late = added(1250, "late", "m0")
    gone = [error_reply(404, "notFound")] * 30
    first, asked = read(NEXT, None, history(bulk, history_id="1245"), *gone[:25])
    assert (first.bookmark, first.items, len(asked)) == (None, 25, 26)
    second, _ = read(NEXT, first.cursor, history(bulk, late, history_id="1250"), *gone[:5])
    assert (second.cursor, second.items, second.bookmark) == (None, 5, {"history_id": "1245"})


def test_a_history_page_whose_token_has_lapsed_is_an_error():
    """The engine begins the run again from its bookmark; the same records give the same keys."""
    with pytest.raises(UnexpectedResponseError):
        read(NEXT, {"history_id": "1300", "page": "p9"}, error_reply(400, "invalidArgument"))


events = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["receive", "trash", "read", "delete", "crash"])), max_size=8
)


@settings(max_examples=settings.default.max_examples // 2)
@given(events)
def test_no_record_slips_through_a_history_of_several_pages(events):
    """Whatever happens between pages and wherever the worker dies, each message is reported once as received."""
    google = Google.new()
    driver = google.connect(GMAIL)
    driver.sync()
    mails = [google.world.receive_email(DANA, sender=LEE, subject=f"Mail {number}") for number in range(12)]
    titles = {f"Mail {number}" for number in range(12)}

    def happen(number):
        is_crash = False
        for at, event in events:
            if at != number:
                continue
            is_crash = is_crash or event == "crash"
            if event == "receive":
                titles.add(f"New {len(titles)}")
                google.world.receive_email(DANA, sender=LEE, subject=f"New {len(titles) - 1}")
            elif event == "trash":
                google.world.trash_email(DANA, mails[0])
            elif event == "read":
                google.world.read_email(DANA, mails[1])
            elif event == "delete" and mails[2] is not None:
                google.world.delete_email(DANA, mails[2])
                mails[2] = None
        return is_crash

    driver.before_page(happen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "HISTORY_SIZE", 5)
        patch.setattr(streams, "PAGE_SIZE", 2)
        driver.sync()
    driver.sync()
    received = [title for kind, title in driver.kinds() if kind == "email_received"]
    assert len(received) == len(set(received))
    unread = {"Mail 2"} if mails[2] is None else set()  # one that is deleted before it is read is not reported
    assert titles - unread <= set(received) <= titles


@pytest.mark.parametrize(("labels", "kinds"), [(["INBOX"], ["email_received"]), (["SPAM"], []), ([], [])])
def test_a_message_whose_trashing_is_on_a_later_page_was_received(labels, kinds):
    """The record of its arrival shows it outside the spam and the trash; without labels it proves nothing."""
    page, _ = read(
        NEXT, None, history(added(1240, "m", labels=labels), nextPageToken="p2"), mail("m", labelIds=["TRASH"])
    )
    (observation,) = page.observations
    assert [draft.kind for draft in STREAMS.interpret(CONTEXT, NEXT, observation, None).signals] == kinds


# --- the message list ----------------------------------------------------------------------------------------------


def test_a_metadata_grant_lists_by_label():
    """Without the right to search, inbox and sent mail are listed until they leave the window."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Recent", age_days=2)
    google.world.receive_email(DANA, sender=LEE, subject="Ancient", age_days=60)
    google.world.send_email(DANA, to=LEE, subject="Sent")
    driver = google.connect(GMAIL, scopes=(METADATA_SCOPE,))
    driver.backfill(since=MONTH)
    assert sorted(driver.kinds()) == [("email_received", "Recent"), ("email_sent", "Sent")]


def test_a_large_mailbox_is_read_page_by_page():
    """Every page is a list and its messages; a run that dies goes on at the last page."""
    google = Google.new()
    for number in range(60):
        google.world.receive_email(DANA, sender=LEE, subject=f"Mail {number}", age_days=1 + number / 100)
    driver = google.connect(GMAIL)
    driver.sync()
    driver.before_page(lambda number: number == 1)
    driver.backfill(since=MONTH)
    assert len(driver.signals) == len(driver.reader.signals) == 60
    assert [page.items for page in driver.pages] == [0, 25, 25, 10]


def test_an_explicit_end_bounds_a_backfill():
    """Nothing outside the requested window is reported."""
    google = Google.new()
    for title, age in (("Before", 20), ("Within", 10), ("After", 2)):
        google.world.receive_email(DANA, sender=LEE, subject=title, age_days=age)
    driver = google.connect(GMAIL)
    driver.backfill(since=NOW - timedelta(days=15), until=NOW - timedelta(days=5))
    assert [title for _, title in driver.kinds()] == ["Within"]


def test_a_limit_in_mid_page_ends_the_page():
    """The page is asked for again later, as a whole."""
    with pytest.raises(RateLimitedError):
        read(HISTORY, None, ids("1"), error_reply(429, "rateLimitExceeded"))


def test_arrival_needs_no_history_to_be_the_same():
    """Backfill and history give one message one key."""
    google = Google.new()
    driver = google.connect(GMAIL)
    driver.sync()
    google.world.receive_email(DANA, sender=LEE, subject="Once")
    driver.sync()
    assert driver.backfill(since=NOW - timedelta(days=1)) == []
    assert driver.kinds() == [("email_received", "Once")]


@pytest.mark.parametrize("leave", ["trash_email", "archive_email", "delete_email"])
@pytest.mark.parametrize("scope", [READ_SCOPE, METADATA_SCOPE])
def test_no_message_slips_through_a_list_that_moves(scope, leave, monkeypatch):
    """Although messages leave the list and arrive between pages, each is reported, by either way of listing."""
    monkeypatch.setattr(listing, "PAGE_SIZE", 6)
    google = Google.new()
    mails = [google.world.receive_email(DANA, sender=LEE, subject=f"Mail {n}", age_days=1 + n / 100) for n in range(40)]
    driver = google.connect(GMAIL, scopes=(scope,))
    driver.sync()

    def happen(number):
        if 1 <= number <= 5:
            for one in mails[2 * number - 2 : 2 * number]:
                getattr(google.world, leave)(DANA, one)
            google.pass_time(seconds=1)
            google.world.receive_email(DANA, sender=LEE, subject=f"New {number}")

    driver.before_page(happen)
    driver.backfill(since=MONTH)
    driver.sync()
    received = {title for kind, title in driver.kinds() if kind == "email_received"}
    assert received == {f"Mail {n}" for n in range(40)} | {f"New {n}" for n in range(1, 6)}


moves = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["trash_email", "archive_email"]), st.integers(0, 23)), max_size=8
)


@settings(max_examples=settings.default.max_examples // 2)
@given(moves, st.sampled_from([READ_SCOPE, METADATA_SCOPE]), st.integers(0, 9))
def test_no_message_slips_through_wherever_it_leaves_the_list(moves, scope, crash_at):
    """Messages of the pages before and behind the run leave at any time, one worker dies: each is reported once. One
    that leaves the list before the run comes to it is not required to be."""
    google = Google.new()
    mails = [google.world.receive_email(DANA, sender=LEE, subject=f"Mail {n}", age_days=1 + n / 10) for n in range(24)]
    left, driver = set(), google.connect(GMAIL, scopes=(scope,))
    driver.sync()

    def happen(number):
        for at, leave, which in moves:
            if at == number:
                left.add(f"Mail {which}")
                getattr(google.world, leave)(DANA, mails[which])
        return number == crash_at

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "PAGE_SIZE", 6)
        driver.before_page(happen)
        driver.backfill(since=MONTH)
        received = {title for _, title in driver.kinds()}
        assert {f"Mail {n}" for n in range(24)} - left <= received
        before = set(driver.signals)
        driver.backfill(since=MONTH)
    assert set(driver.signals) == before
    assert driver.reader.refused == {}


def test_a_message_that_is_trashed_between_the_list_and_its_reading_was_received():
    """Its labels show it in the trash, but the list has shown that it was not."""
    page, _ = read(HISTORY, None, ids("1"), mail("1", labelIds=["TRASH"]))
    (observation,) = page.observations
    assert [draft.kind for draft in STREAMS.interpret(CONTEXT, HISTORY, observation, None).signals] == [
        "email_received"
    ]


@pytest.mark.parametrize("year", [1970, 2099, 9999])
@pytest.mark.parametrize("position", [0, 3, 5])
@pytest.mark.parametrize("scope", [READ_SCOPE, METADATA_SCOPE])
def test_one_odd_date_neither_ends_nor_moves_a_listing(scope, position, year):
    """An imported message of 1970 or 2099 anywhere on a page: the pages behind it are read, also after starting over."""
    odd = NOW.replace(year=year)
    times = [NOW - timedelta(hours=n) for n in range(12)]
    times[position] = odd
    pages = {None: range(6), "p2": range(6, 12)}
    refusals = iter([True])

    def answer(request):
        query = query_of(request)
        if "/messages/" in request.url:
            name = request.url.partition("/messages/")[2].partition("?")[0]
            return mail(name, times[int(name)])
        token = query.get("pageToken")
        if token == "p2" and next(refusals, False):
            return error_reply(400, "invalidArgument")
        if query.get("labelIds") == "SENT":
            return ids()
        before = int(query.get("q", "before:99999999999 ").partition("before:")[2].partition(" ")[0] or 99999999999)
        shown = [str(n) for n in pages[token] if times[n].timestamp() < before]
        return ids(*shown, **({"nextPageToken": "p2"} if token is None else {}))

    context = attrs.evolve(CONTEXT, connection=attrs.evolve(CONTEXT.connection, scopes=(scope,)))
    cursor, seen = None, set()
    for _ in range(9):
        page = converse(GMAIL, STREAMS.read_page(context, STREAM, HISTORY, cursor), answer)
        seen |= {one.state["id"] for one in page.observations}
        cursor = page.cursor
        if cursor is None:
            break
    assert cursor is None
    assert seen >= {str(n) for n in range(12) if n != position}


LISTED = {
    "labels": [],
    "page": "p2",
    "before": None,
    "read_to": "2026-11-10T00:00:00Z",
    "passed": ["1", "2"],
    "passed_page": None,
}


def test_a_page_out_of_touch_with_the_one_before_starts_the_listing_over():
    """If no message proves that the pages overlap, the listing goes on from a day above what has been read."""
    page, _ = read(HISTORY, LISTED, ids("8", "9"), ids("6", "7"))
    assert page.observations == ()
    _, asked = read(HISTORY, page.cursor, ids())
    after = int((MONTH - timedelta(days=1)).timestamp())
    assert query_of(asked[0])["q"] == f"before:1794355200 after:{after} -in:chats"


def test_a_listing_that_starts_over_without_progress_is_where_it_was():
    """Equal positions are equal cursors, so the engine notices that the list changes faster than it can be read."""
    starts = []
    for page in ("p2", "p3"):
        again, _ = read(HISTORY, {**LISTED, "page": page}, ids("8"), ids("6"))
        starts.append(again.cursor)
    assert starts[0] == starts[1]
    further, _ = read(HISTORY, {**LISTED, "read_to": "2026-11-09T00:00:00Z"}, ids("8"), ids("6"))
    assert further.cursor != starts[0]


def test_a_listing_whose_tokens_circle_comes_to_equal_cursors():
    """Page tokens A, B, A, B: a position comes again after two rounds at the latest."""
    following = {None: "a", "a": "b", "b": "a"}

    def answer(request):
        token = query_of(request).get("pageToken")
        if "/messages/" in request.url:
            return error_reply(404, "notFound")
        return ids(f"{token}1", f"{token}2", nextPageToken=following[token])

    cursors = [None]
    while cursors.count(cursors[-1]) == 1 and len(cursors) < 9:
        page = converse(GMAIL, STREAMS.read_page(CONTEXT, STREAM, HISTORY, cursors[-1]), answer)
        cursors.append(page.cursor)
    assert cursors.count(cursors[-1]) == 2


def test_a_listing_whose_token_has_lapsed_starts_over():
    """A page token lapses during a long wait; on a first page the error means something else."""
    page, _ = read(HISTORY, LISTED, error_reply(400, "invalidArgument"))
    assert (page.cursor["page"], page.cursor["before"]) == (None, LISTED["read_to"])
    with pytest.raises(UnexpectedResponseError):
        read(HISTORY, page.cursor, error_reply(400, "invalidArgument"))


# --- single messages -----------------------------------------------------------------------------------------------

FAILURES = [error_reply(403, "forbidden"), error_reply(400, "invalid"), error_reply(500, ""), mail("other"), reply({})]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
def test_a_message_that_cannot_be_read_is_parked_and_stops_no_other(failure):
    """Refused, broken or another's: the page goes on, by history and by the list, and the run ends."""
    page, _ = read(NEXT, None, history(added(1240, "bad", "good")), failure, mail("good"))
    assert [one.reference for one in page.parked] == ["bad"]
    assert page.bookmark == {"history_id": "1300"}
    assert [one.key for one in page.observations if one.state["document"]] == ["message:good"]
    listed, _ = read(HISTORY, None, ids("bad", "good"), failure, mail("good"))
    assert [one.reference for one in listed.parked] == ["bad"]
    assert (listed.cursor, [one.key for one in listed.observations]) == (None, ["message:good"])


def test_three_messages_that_fail_in_a_row_are_the_vendors_trouble():
    """Three 5xx are no longer about single messages: nothing of the page is stored."""
    with pytest.raises(ProviderUnavailableError):
        read(NEXT, None, history(added(1240, "a", "b", "c")), *[error_reply(503, "")] * 3)


def test_a_parked_message_of_a_list_lies_between_its_neighbours():
    """Coverage leaves out a day around them, not the whole window; at an edge of what is known, all beyond it."""
    times = {name: NOW - timedelta(days=day) for name, day in (("a", 5), ("c", 7), ("d", 8))}

    def page_of(*names):
        found = [error_reply(400, "invalid") if name == "bad" else mail(name, times[name]) for name in names]
        return read(HISTORY, None, ids(*names), *found)[0].parked[0].between

    day = timedelta(days=1)
    assert page_of("a", "bad", "c", "d") == (times["d"] - day, times["a"] + day)
    assert page_of("bad", "c") == (times["c"] - day, NOW + day)
    assert page_of("a", "bad") == (MONTH - day, times["a"] + day)


def play_parked(*, arrived, labels, then, events=()):
    """The kinds that a message gives that cannot be read at first."""
    record = {"id": "1240", "messagesAdded": [{"message": {"id": "m", "labelIds": list(labels)}}]} if arrived else {}
    changes = [{"message": {"id": "m"}, "labelIds": list(names)} for _, names in events]
    records = [record, *({"id": "1241", kind: [one]} for (kind, _), one in zip(events, changes, strict=True))]
    answer = script(
        reply({"historyId": "1"}), history(*records), error_reply(403, "forbidden"), mail("m", labelIds=then)
    )
    reader = StreamReader(
        streams=STREAMS, context=CONTEXT, converse=lambda talk: converse(GMAIL, talk, answer), floor=NOW
    )
    reader.read(NOW)
    reader.read(NOW)
    ((key, item),) = reader.parked
    reader.read_parked(key, item, NOW)
    return [draft.kind.value for draft in reader.signals]


def test_a_parked_message_is_reported_as_it_would_have_been():
    """As far as history told its labels: what arrived and was trashed since was received, what arrived as spam was not."""
    assert play_parked(arrived=True, labels=["INBOX"], then=["INBOX"]) == ["email_received"]
    assert play_parked(arrived=True, labels=["INBOX"], then=["TRASH"]) == ["email_received"]
    assert play_parked(arrived=True, labels=["SPAM"], then=["SPAM"]) == []
    assert play_parked(arrived=True, labels=["SPAM"], then=["INBOX"]) == ["email_received"]
    trashed = [("labelsAdded", ["TRASH"])]
    expected = ["email_trashed", "email_received"]
    assert play_parked(arrived=True, labels=["TRASH"], then=["TRASH"], events=trashed) == expected
    assert play_parked(arrived=False, labels=[], then=["TRASH"], events=trashed) == ["email_trashed"]
    uncovered = [("labelsRemoved", ["SPAM"])]
    assert play_parked(arrived=False, labels=[], then=["SPAM"], events=uncovered) == ["email_received"]


def test_a_parked_message_that_is_gone_says_so():
    """404 is its end; what still cannot be read stays an error."""
    gone = STREAMS.read_item(CONTEXT, STREAM, NEXT, "m")
    assert converse(GMAIL, gone, script(error_reply(404, "notFound"))) is None
    for response in (mail("other"), reply({"id": "m"})):
        with pytest.raises(UnexpectedResponseError):
            converse(GMAIL, STREAMS.read_item(CONTEXT, STREAM, NEXT, "m"), script(response))
    long, _ = read(HISTORY, None, ids("x" * 300), error_reply(400, "invalid"))
    with pytest.raises(UnexpectedResponseError):
        converse(GMAIL, STREAMS.read_item(CONTEXT, STREAM, NEXT, long.parked[0].reference), script())


def test_one_message_that_always_fails_does_not_keep_the_mailbox_from_being_read():
    """The mailbox goes on, and the message arrives when it can be read."""
    google = Google.new()
    driver = google.connect(GMAIL)
    driver.sync()
    bad = google.world.receive_email(DANA, sender=LEE, subject="Bad")
    google.world.receive_email(DANA, sender=LEE, subject="Good")
    google.sandbox.faults.add(Fault(provider="google", path=f"*/messages/{bad}", status=502))
    driver.sync()
    assert driver.kinds() == [("email_received", "Good")]
    google.sandbox.faults.clear()
    ((key, item),) = driver.reader.parked
    driver.reader.read_parked(key, item, google.now)
    assert driver.kinds() == [("email_received", "Good"), ("email_received", "Bad")]


# --- stored cursors ------------------------------------------------------------------------------------------------


def test_the_old_cursor_becomes_the_mailboxs_bookmark():
    """Only the history id counts; without one the mailbox gets a new baseline."""
    assert split_cursor({"history_id": "1230", "seen_at": "2026-11-19T10:00:00Z"}) == {MAILBOX: NEXT.bookmark}
    assert split_cursor({"seen_at": None}) == {}
