"""Reading a mailbox that behaves, also while mail moves in it, and some that do not."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import zoho
from tests.support.stream_reader import StreamReader
from tests.support.zoho import NOW, FakeMailbox, facts, make_app, make_connection, make_reader, reply

from connectors.domain.model.errors import RateLimitedError, UnexpectedResponseError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.streams import ParkedItem, Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.toolbox.foreign import millis_instant
from connectors.domain.providers.zoho_mail import ZOHO_MAIL, streams
from connectors.domain.providers.zoho_mail.old_cursor import split_cursor
from connectors.domain.providers.zoho_mail.signals import FAMILY_OF, MAIL

FLOOR = NOW - timedelta(days=9)
CHANGES = {kind for kind, family in FAMILY_OF.items() if family == "changes of mail"}
INBOX = Stream(key="folder:10", name="Inbox", data={"kind": "received"})
ODD = {year: str(zoho.ms(datetime(year, 1, 2, tzinfo=UTC))) for year in (1970, 2099)}


def reader(mailbox, answer=None, **more):
    return make_reader(ZOHO_MAIL, answer or mailbox.answer, **more)


def history(mailbox, answer=None, **more):
    """A reader that has read everything up to now."""
    found = reader(mailbox, answer, **more)
    found.read(mailbox.now)
    return found


def pushed(mailbox):
    return [draft for body in mailbox.pushed for draft in zoho.receive(ZOHO_MAIL, body, make_connection()).signals]


def key(mail_id):
    return f"zmail:{zoho.ACCOUNT_ID}:{mail_id}"


def keys_of(mail_ids):
    return {key(mail_id) for mail_id in mail_ids}


def window(mode=SyncMode.BACKFILL, **changes):
    return Window(**{"mode": mode, "low": FLOOR, "high": NOW, "floor": FLOOR, **changes})


def only(rows):
    """A vendor that shows these rows for whatever it is asked."""
    return lambda _: reply({"data": rows})


def full_page():
    return [{"messageId": str(n), "receivedTime": str(zoho.ms(NOW) - 5)} for n in range(streams.PAGE_SIZE)]


def inbox_page(answer, window_, cursor=None):
    read = reader(None, answer)
    return read.converse(streams.read_page(read.context, INBOX, window_, cursor))


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": {"moreInfo": "busy"}}])
def test_an_answer_that_is_no_list_reads_nothing(document):
    """It is neither an empty folder nor a mailbox without folders; an answer without content is empty."""
    with pytest.raises(UnexpectedResponseError, match="no list of data"):
        inbox_page(lambda _: reply(document), window())
    with pytest.raises(UnexpectedResponseError, match="no list of data"):
        reader(None, lambda _: reply(document)).discover(NOW)
    assert inbox_page(lambda _: reply({}, 204), window()).cursor is None


# --- which mail ------------------------------------------------------------------------------------------------------


def test_history_has_what_the_webhook_reported_and_more():
    """Push and reading give one set of signals; sent mail is only read, and spam is reported by neither."""
    mailbox = FakeMailbox()
    for folder in ("10", "50", "30", "10"):
        mailbox.arrive(folder)
    sent = mailbox.arrive(sent=True)
    read = history(mailbox).signals
    assert facts(one for one in read if one.kind is SignalKind.EMAIL_RECEIVED) == facts(pushed(mailbox))
    assert {one.dedupe_key for one in read if one.kind is SignalKind.EMAIL_SENT} == {key(sent)}
    assert {one.kind for one in read} == ZOHO_MAIL.kinds - CHANGES


def test_the_first_read_is_a_baseline():
    """It emits nothing and asks for no mail; the next read reports what comes later."""
    mailbox = FakeMailbox()
    mailbox.arrive()
    at = mailbox.now + timedelta(seconds=1)
    read = reader(mailbox, floor=at, kind=StreamReader)
    read.read(at)
    assert (read.keys, len(mailbox.requests)) == (set(), 1)
    later = mailbox.arrive()
    read.read(mailbox.now)
    assert read.keys == {key(later)}


def test_a_read_costs_one_call_a_folder():
    """Reading the window before again needs no additional page."""
    mailbox = FakeMailbox()
    read = history(mailbox)
    for _ in range(3):
        mailbox.arrive()
        mailbox.requests.clear()
        read.read(mailbox.now)
        assert len(mailbox.requests) == 1 + 3


def test_each_folder_is_needed_for_its_family():
    """Received mail, sent mail; Trash and Spam, which are read for changes only, are needed for nothing."""
    read = history(FakeMailbox(), app=make_app(options={"track_changes": "true"}))
    families = {one.stream.name: set(one.stream.families) for one in read.known.values()}
    assert families == {
        "Inbox": {"received mail"},
        "Clients": {"received mail"},
        "Sent": {"sent mail"},
        "Trash": set(),
        "Spam": set(),
    }


def test_a_folder_without_an_id_is_counted():
    """It is named as a stream that cannot be read; the others are read."""
    read = reader(None, only([{"folderName": "Lost"}, {"folderId": "10", "folderName": "Inbox"}]))
    page = read.converse(streams.discover(read.context, window(), None))
    assert {(one.key, one.unreadable is None) for one in page.streams} == {("folder", False), ("folder:10", True)}


# --- a list that moves -----------------------------------------------------------------------------------------------


def test_paging_survives_mail_that_leaves_the_list():
    """Rows that slide up between two pages are read, however many left."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(650)]
    newest_first = ids[::-1]
    leaving = iter([newest_first[150:199], newest_first[0:40], []])

    def move_some():
        for mail_id in next(leaving, []):
            mailbox.move(mail_id, "40")

    calls = []

    def after_list():
        calls.append(1)
        if len(calls) in {1, 3}:
            move_some()

    mailbox.before_list = after_list
    assert history(mailbox).keys == keys_of(ids)


def test_the_whole_tail_may_vanish():
    """If all rows that two pages share are gone, reading steps back and still finds every row that stayed."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(450)]
    gone = ids[::-1][100:205]
    once = iter([1])

    def remove():
        if next(once, None):
            for mail_id in gone:
                mailbox.delete(mail_id)

    mailbox.before_list = remove
    assert history(mailbox).keys >= keys_of(one for one in ids if one not in set(gone))


@given(cuts=st.lists(st.tuples(st.integers(0, 640), st.integers(1, 230)), max_size=4), arrivals=st.integers(0, 30))
@settings(max_examples=25)
def test_whatever_leaves_and_comes_while_a_folder_is_read_hides_no_other_mail(cuts, arrivals):
    """In one pass over a folder, every row that stays in it is read, and no position comes again."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(650)]
    leaving, gone = iter(cuts), set()

    def change():
        start, count = next(leaving, (0, 0))
        for mail_id in ids[::-1][start : start + count]:
            if mail_id not in gone:
                mailbox.delete(mail_id)
                gone.add(mail_id)
        for _ in range(arrivals):
            mailbox.arrive(seconds=0.001)

    mailbox.before_list = change
    cursor, seen, found = None, [], set()
    while True:
        page = inbox_page(mailbox.answer, window(), cursor)
        found |= {draft.dedupe_key for draft in page.signals}
        cursor = page.cursor
        if cursor is None:
            break
        assert cursor not in seen
        seen.append(cursor)
    assert found >= keys_of(one for one in ids if one not in gone)


def test_the_same_rows_may_leave_again_and_again():
    """Stepping back to the top more than once is no circle: each time another page was the one before."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(850)][::-1]
    leaving = {1: ids[100:205], 3: ids[210:320]}
    calls = []

    def change():
        calls.append(1)
        for mail_id in leaving.get(len(calls), ()):
            mailbox.delete(mail_id)

    mailbox.before_list = change
    cursor, seen = None, []
    while cursor is not None or not seen:
        cursor = inbox_page(mailbox.answer, window(), cursor).cursor
        assert cursor not in seen
        seen.append(cursor)
    assert [one["start"] for one in seen if one].count(1) == 2


@pytest.mark.parametrize(("old", "new"), [("50", "10"), ("10", "50")])
def test_mail_that_moves_between_folders_while_history_is_read_is_found(old, new):
    """Whichever way each mail moves, and however late: all folders are read twice."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(old if number % 2 else new, seconds=20) for number in range(40)]
    moving = iter(ids)

    def move():
        for mail_id in (next(moving, None), next(moving, None)):
            if mail_id is not None and mailbox.mails[mail_id]["folder"] == old:
                mailbox.move(mail_id, new)

    mailbox.before_list = move
    assert history(mailbox).keys == keys_of(ids)
    assert ZOHO_MAIL.streams.rounds == 2


def test_mail_that_moves_between_folders_during_a_read_is_found_by_the_next():
    """Mail that moved from an unread folder into one already read, and is older than its window, is found."""
    mailbox = FakeMailbox()
    read = history(mailbox)
    mailbox.arrive("10")
    read.read(mailbox.now)
    for old, new in (("10", "50"), ("50", "10")):
        hidden = mailbox.arrive(old)
        mailbox.arrive(new, seconds=3600)
        once = iter([1, 2])
        mailbox.before_list = lambda hidden=hidden, new=new, once=once: next(once, 0) == 1 and mailbox.move(hidden, new)
        for _ in range(2):
            read.read(mailbox.now)
            mailbox.arrive(new, seconds=3600)
        assert key(hidden) in read.keys


def test_mail_that_is_listed_late_is_found_in_the_overlap():
    """Delivery order is not receipt order: a message a few minutes older than the window is still reported."""
    mailbox = FakeMailbox()
    mailbox.arrive()
    read = history(mailbox)
    for _ in range(2):
        mailbox.tick(3600)
        read.read(mailbox.now)
    late = mailbox.arrive()
    mailbox.mails[late]["at"] -= 3600_000 + 5 * 60_000
    read.read(mailbox.now)
    assert key(late) in read.keys


def test_a_list_that_shows_one_page_for_ever_is_refused():
    """If the page's last rows are those of the page before, reading would never end."""
    first = inbox_page(only(full_page()), window())
    with pytest.raises(UnexpectedResponseError):
        inbox_page(only(full_page()), window(), first.cursor)


def test_pages_that_never_meet_give_equal_cursors():
    """The same positions come again, so that the engine notices the circle."""
    number = iter(range(1000))

    def answer(_):
        first = 1000 * (next(number) % 2)
        return reply({"data": [{**row, "messageId": str(first + int(row["messageId"]))} for row in full_page()]})

    cursor, seen = None, []
    for _ in range(6):
        cursor = json.loads(json.dumps(inbox_page(answer, window(), cursor).cursor))
        seen.append(cursor)
    assert seen[2] in seen[:2] or seen[4] in seen[:4]


@given(stops=st.sets(st.integers(0, 5)), mode=st.sampled_from(SyncMode))
@settings(max_examples=10)
def test_a_crash_between_two_pages_repeats_at_most_the_page(stops, mode):
    """A cursor that went through JSON gives the same page again, and positions that differ from all before."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(650)]
    bookmark = None if mode is SyncMode.BACKFILL else {"low": zoho.ms(FLOOR)}
    cursor, seen, found = None, [], set()
    for number in range(10):
        page = inbox_page(mailbox.answer, window(mode, bookmark=bookmark), cursor)
        if number in stops:
            assert inbox_page(mailbox.answer, window(mode, bookmark=bookmark), cursor) == page
        found |= {draft.dedupe_key for draft in page.signals}
        if page.cursor is None:
            break
        cursor = json.loads(json.dumps(page.cursor))
        assert cursor not in seen
        seen.append(cursor)
    assert found == keys_of(ids)


def test_reading_again_finds_the_same():
    """Two readers of an account that rests find the same keys, and the second read of one finds nothing new."""
    mailbox = FakeMailbox()
    for number in range(450):
        mailbox.arrive("50" if number % 3 else "10", seconds=20, sent=number % 7 == 0)
    first, second = history(mailbox), history(mailbox)
    assert first.keys == second.keys == keys_of(mailbox.mails)
    first.forget()
    first.read(mailbox.now)
    assert first.keys <= second.keys


# --- dates -----------------------------------------------------------------------------------------------------------


def test_history_with_an_end_leaves_the_rest_to_the_next_read():
    """Nothing newer than `until` is emitted, and the next read has it."""
    mailbox = FakeMailbox()
    start = mailbox.now
    old, middle = mailbox.arrive(), mailbox.now
    read = reader(mailbox, floor=mailbox.now, kind=StreamReader)
    read.read(mailbox.now)
    new = mailbox.arrive(seconds=3600)
    read.backfill(start, mailbox.now, until=middle)
    assert read.keys == {key(old)}
    read.read(mailbox.now)
    assert key(new) in read.keys


def test_a_list_that_is_not_quite_in_order_is_read_to_its_floor():
    """Rows a few minutes older than what is wanted, at the end of a page, do not end the folder."""
    mailbox = FakeMailbox()
    start = mailbox.now
    ids = [mailbox.arrive(seconds=2) for _ in range(250)]
    early = ids[::-1][190:200]
    mailbox.broken = {mail_id: {"receivedTime": str(zoho.ms(start) - 5 * 60_000)} for mail_id in early}
    assert history(mailbox, floor=start).keys == keys_of(set(ids) - set(early))


def test_mail_dated_years_ahead_is_reported():
    """History and new mail have mail of the future, and reading goes on to find what comes later."""
    mailbox = FakeMailbox()
    read = history(mailbox)
    ahead = mailbox.arrive()
    mailbox.mails[ahead]["at"] = int(ODD[2099])
    assert key(ahead) in history(mailbox).keys
    read.read(mailbox.now)
    assert key(ahead) in read.keys
    for _ in range(3):
        later = mailbox.arrive(seconds=3600)
        read.read(mailbox.now)
        assert key(later) in read.keys


@given(odd=st.dictionaries(st.integers(0, 249), st.sampled_from(sorted(ODD)), max_size=8))
@settings(max_examples=15)
def test_a_row_of_an_odd_date_neither_ends_nor_stops_a_folder(odd):
    """Rows that show 1970 or 2099 wherever they stand hide no other row; three together are a list that has ended."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(250)]
    odd = {place: year for place, year in odd.items() if not {place - 1, place - 2} & set(odd)}
    mailbox.broken = {ids[place]: {"receivedTime": ODD[year]} for place, year in odd.items()}
    read = history(mailbox)
    missed = {ids[place] for place, year in odd.items() if year == 1970}
    assert read.keys == keys_of(set(ids) - missed)
    assert read.parked == []
    later = mailbox.arrive(seconds=3600)
    read.read(mailbox.now)
    assert key(later) in read.keys


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 500])
def test_a_folder_that_fails_steps_aside(status):
    """A folder that is gone or always fails keeps no other from being read; what it has is read when it can be."""
    mailbox = FakeMailbox()
    mail, hidden = mailbox.arrive(), mailbox.arrive("50")
    is_refused = [True]

    def answer(request):
        if is_refused[0] and "folderId=50" in request.url:
            return reply({"status": {"code": status}, "data": {"errorCode": "FOLDER_NOT_FOUND"}}, status)
        return mailbox.answer(request)

    read = history(mailbox, answer)
    assert read.keys == {key(mail)}
    assert set(read.refused) == {"folder:50"}
    for _ in range(3):
        mailbox.tick(3600)
        read.read(mailbox.now)
    is_refused[0] = False
    read.read(mailbox.now)
    assert read.keys == {key(mail), key(hidden)}


def test_a_folder_that_is_made_later_brings_its_mail():
    """Mail that was moved there before the folder was first listed is read, down to the floor."""
    mailbox = FakeMailbox()
    is_there = [False]

    def answer(request):
        response = mailbox.answer(request)
        if request.url.endswith("/folders") and not is_there[0]:
            return reply({"data": [row for row in response.json()["data"] if row["folderId"] != "50"]})
        return response

    read = history(mailbox, answer)
    moved = mailbox.arrive("50")
    mailbox.tick(3 * 86400)
    for _ in range(2):
        read.read(mailbox.now)
    is_there[0] = True
    read.read(mailbox.now)
    assert read.keys == {key(moved)}


def test_a_bad_row_is_parked():
    """Rows without id or time are parked by their id or the time in which they lie; numeric ids of a search are
    read."""
    at = zoho.ms(NOW) - 5
    rows = [
        {"receivedTime": str(at)},
        {"messageId": "5"},
        7,
        {"messageId": 1709887058769100001, "receivedtime": at, "status": "unread", "fromAddress": "&lt;a@b.c&gt;"},
    ]
    page = inbox_page(only(rows), window())
    assert [draft.dedupe_key for draft in page.signals] == [key(1709887058769100001)]
    assert page.signals[0].actor.id == "a@b.c"
    around = f"{at - streams.OVERLAP_MILLIS}-{at + streams.OVERLAP_MILLIS}"
    assert [one.reference for one in page.parked] == [f"{at}-{at}", "5", around]
    assert all(low <= millis_instant(at) <= high for low, high in (one.between for one in page.parked))


def test_a_bad_row_outside_of_the_window_is_not_parked():
    """A row without an exact id is parked in the window only: each page shows older rows."""
    rows = [{"receivedTime": str(zoho.ms(NOW - timedelta(days=days)))} for days in (2, 3)]
    page = inbox_page(only(rows), window(low=NOW - timedelta(days=1), floor=NOW - timedelta(days=1)))
    assert page.parked == ()
    assert page.items == len(rows)


@pytest.mark.parametrize(
    "broken", [{"messageId": None}, {"receivedTime": None}, {"messageId": "1.7e18", "receivedTime": "soon"}]
)
@pytest.mark.parametrize("place", [0, 100, 195, 449])
def test_a_parked_row_is_read_when_it_can_be(broken, place):
    """Until then it stays parked, it is parked once, and no other mail waits for it."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(450)]
    bad = ids[::-1][place]
    mailbox.broken = {bad: broken}
    read = history(mailbox)
    assert read.keys == keys_of(set(ids) - {bad})
    parked = {one.reference: one for _, one in read.parked}
    if broken != {"messageId": "1.7e18", "receivedTime": "soon"} or place != 195:
        assert len(parked) == 1
    at = millis_instant(mailbox.mails[bad]["at"])
    for item in parked.values():
        assert item.between[0] <= at <= item.between[1]
        with pytest.raises(UnexpectedResponseError):
            read.read_parked("folder:10", item, mailbox.now)
    mailbox.broken = {}
    for item in parked.values():
        read.read_parked("folder:10", item, mailbox.now)
    assert read.keys == keys_of(ids)


def test_a_parked_message_that_is_gone_is_not_missing():
    """Zoho's 404 says that there is nothing left to wait for."""
    mailbox = FakeMailbox()
    mail = mailbox.arrive()
    mailbox.broken = {mail: {"receivedTime": None}}
    read = history(mailbox)
    mailbox.delete(mail)
    (item,) = (item for _, item in read.parked[:1])
    assert read.read_parked("folder:10", item, mailbox.now) is None
    hidden = reader(None, lambda _: reply({"status": {"code": 404, "description": "Invalid"}, "data": {}}))
    hidden.known = read.known
    assert hidden.read_parked("folder:10", item, mailbox.now) is None


def test_a_list_that_moves_while_a_parked_row_is_looked_for_is_read_later():
    """No other row is taken for the one that was parked."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(450)]
    read = history(mailbox)
    once = iter([1])
    mailbox.before_list = lambda: next(once, 0) and [mailbox.delete(mail_id) for mail_id in ids[200:300]]
    item = ParkedItem(reference=f"{zoho.ms(FLOOR)}-{zoho.ms(FLOOR)}", reason="x")
    with pytest.raises(UnexpectedResponseError):
        read.read_parked("folder:10", item, mailbox.now)


def test_a_throttle_stops_reading_until_the_lock_is_over():
    """The engine gets the instant at which it can continue."""
    refusal = reply({"data": {"moreInfo": "You have exceeded the URL throttle limits"}}, 400)
    with pytest.raises(RateLimitedError) as caught:
        reader(None, lambda _: refusal).read(NOW)
    assert caught.value.retry_at == NOW + timedelta(minutes=15)
    request = HttpRequest(method="GET", url=f"{zoho.MAIL_BASE}/folders")
    (budget,) = ZOHO_MAIL.limits.budgets(request)
    assert (caught.value.scope, caught.value.limit_scope) == (budget.name, budget.limit_scope)
    assert budget.requests + budget.burst <= 30
    assert ZOHO_MAIL.limits.budgets(HttpRequest(method="GET", url="https://accounts.zoho.eu/oauth/user/info")) == ()


# --- both paths, changes ---------------------------------------------------------------------------------------------


@given(
    actions=st.lists(st.sampled_from(["in", "client", "sent", "spam", "move", "read"]), max_size=30),
    twice=st.booleans(),
)
def test_any_sequence_by_push_by_reading_and_by_both(actions, twice):
    """Push only, reading only, both, and everything twice agree on all mail that was received."""
    mailbox = FakeMailbox()
    read = history(mailbox)
    for action in actions:
        if action == "move" and mailbox.mails:
            movable = [one for one in mailbox.mails if mailbox.mails[one]["folder"] == "10"]
            if movable:
                mailbox.move(movable[0], "50")
        elif action == "read":
            for _ in range(1 + twice):
                read.read(mailbox.now)
        else:
            mailbox.arrive({"client": "50", "spam": "30"}.get(action, "10"), sent=action == "sent")
    read.read(mailbox.now)
    # What was read first stays.
    found = {one.dedupe_key: one for one in reversed(read.signals)}
    by_push = pushed(mailbox) * (1 + twice)
    received = [one for one in found.values() if one.kind is SignalKind.EMAIL_RECEIVED]
    assert facts(received) == facts(by_push)
    assert history(mailbox).keys == set(found)


def test_the_webhook_has_the_family_of_its_kind():
    """The webhook's only event belongs to received mail."""
    assert ZOHO_MAIL.family_of(MAIL).kinds == {SignalKind.EMAIL_RECEIVED}


def test_changes_are_reported_with_the_option():
    """Read, unread, trashed and spam are differences from the last known state; without one there are none."""
    mailbox = FakeMailbox(NOW - timedelta(hours=1))
    mail = mailbox.arrive()
    read = history(mailbox, app=make_app(options={"track_changes": "true"}))

    def again():
        mailbox.tick()
        read.read(mailbox.now)

    again()
    mailbox.mails[mail]["status"] = "1"
    again()
    mailbox.mails[mail]["status"] = "0"
    again()
    mailbox.move(mail, "40")
    again()
    mailbox.move(mail, "30")
    again()
    reported = [one.kind for one in read.signals if one.kind in CHANGES]
    assert reported == [
        SignalKind.EMAIL_READ,
        SignalKind.EMAIL_UNREAD,
        SignalKind.EMAIL_TRASHED,
        SignalKind.EMAIL_MARKED_SPAM,
    ]
    assert set(reported) == CHANGES


# --- the cursor of before --------------------------------------------------------------------------------------------


def test_the_old_cursor_gives_a_bookmark_to_each_folder_that_was_read():
    """Each folder is read again from where the cursor would have begun, or from its floor."""
    cursor = {
        "floor": 1770000000000,
        "ceiling": 1770000900000,
        "marks": {"10": 1770000800000, "20": 1770000700000},
        "starts": {"10": 1770000500000},
        "next_starts": {"10": 1770000600000},
        "passes_left": 0,
        "phase": "rest",
        "queue": [],
        "start": 1,
        "tail": [],
        "retreats": 0,
        "newest": None,
    }
    assert split_cursor(cursor) == {"folder:10": {"low": 1770000600000}, "folder:20": {"low": 1770000000000}}
    assert split_cursor({**cursor, "phase": "messages"}) == {}
    assert split_cursor({}) == {}
