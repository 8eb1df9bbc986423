"""Sync runs through a mailbox that behaves, also while mail moves in it."""

import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import zoho
from tests.support.zoho import NOW, FakeMailbox, backfill, facts, hold, keys, make_app, make_connection, plan, reply

from connectors.domain.model.errors import RateLimitedError, UnexpectedResponseError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.zoho_mail import ZOHO_MAIL, sync
from connectors.domain.providers.zoho_mail.payloads import Folder, FolderKind
from connectors.domain.providers.zoho_mail.signals import FAMILY_OF, MAIL

CHANGES = {kind for kind, family in FAMILY_OF.items() if family == "changes of mail"}


def sync_run(mailbox, plan_, connection=None, **more):
    return zoho.sync_run(ZOHO_MAIL, mailbox.answer, plan_, connection or make_connection(), **more)[0]


def drafts(pages):
    return [draft for page in pages for draft in page.signals]


def pushed(mailbox):
    return [draft for body in mailbox.pushed for draft in zoho.receive(ZOHO_MAIL, body, make_connection()).signals]


def key(mail_id):
    return f"zmail:{zoho.ACCOUNT_ID}:{mail_id}"


def test_a_backfill_finds_what_the_webhook_reported_and_more():
    """Push and reading give one set of signals; sent mail is only read, and spam is reported by neither."""
    mailbox = FakeMailbox()
    for folder in ("10", "50", "30", "10"):
        mailbox.arrive(folder)
    sent = mailbox.arrive(sent=True)
    read = drafts(sync_run(mailbox, backfill()))
    assert facts(one for one in read if one.kind is SignalKind.EMAIL_RECEIVED) == facts(pushed(mailbox))
    assert {one.dedupe_key for one in read if one.kind is SignalKind.EMAIL_SENT} == {key(sent)}
    assert {one.kind for one in read} == ZOHO_MAIL.kinds - CHANGES


def test_the_first_read_is_a_baseline():
    """Without a cursor nothing is emitted and no call is made; the next sync run reports what comes later."""
    mailbox = FakeMailbox()
    mailbox.arrive()
    first = sync_run(mailbox, plan(mailbox.now + timedelta(seconds=1)))
    assert (keys(first), mailbox.requests) == (set(), [])
    later = mailbox.arrive()
    assert keys(sync_run(mailbox, plan(mailbox.now, last_cursor=first[-1].cursor))) == {key(later)}


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
    assert keys(sync_run(mailbox, backfill(mailbox.now))) == {key(one) for one in ids}


def test_the_whole_tail_may_vanish():
    """If all rows that two pages share are gone, the sync run steps back and still reads every row that stayed."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(seconds=20) for _ in range(450)]
    gone = ids[::-1][100:205]
    once = iter([1])

    def remove():
        if next(once, None):
            for mail_id in gone:
                mailbox.delete(mail_id)

    mailbox.before_list = remove
    assert keys(sync_run(mailbox, backfill(mailbox.now))) >= {key(one) for one in ids if one not in set(gone)}


@pytest.mark.parametrize(("old", "new"), [("50", "10"), ("10", "50")])
def test_mail_that_moves_between_folders_during_a_backfill_is_read(old, new):
    """Whichever way each mail moves, and however late: the second pass goes through the folders the other way round."""
    mailbox = FakeMailbox()
    ids = [mailbox.arrive(old if number % 2 else new, seconds=20) for number in range(40)]
    moving = iter(ids)

    def move():
        for mail_id in (next(moving, None), next(moving, None)):
            if mail_id is not None and mailbox.mails[mail_id]["folder"] == old:
                mailbox.move(mail_id, new)

    mailbox.before_list = move
    assert keys(sync_run(mailbox, backfill(mailbox.now))) == {key(one) for one in ids}


def test_mail_that_moves_between_folders_during_an_incremental_sync_run_is_read_by_the_next():
    """Mail that moved from an unread folder into one already read, and is older than its mark, is found."""
    mailbox = FakeMailbox()
    cursor = sync_run(mailbox, plan(mailbox.now))[-1].cursor
    mailbox.arrive("10")
    cursor = sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))[-1].cursor
    found = set()
    for old, new in (("10", "50"), ("50", "10")):
        hidden = mailbox.arrive(old)
        mailbox.arrive(new, seconds=3600)  # the other folder's mark will be far beyond
        once = iter([1, 2])
        mailbox.before_list = lambda hidden=hidden, new=new, once=once: next(once, 0) == 1 and mailbox.move(hidden, new)
        for _ in range(2):
            pages = sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))
            cursor, found = pages[-1].cursor, found | keys(pages)
            mailbox.arrive(new, seconds=3600)
        assert key(hidden) in found


def test_an_incremental_sync_run_costs_one_call_a_folder():
    """Reading the previous sync run's range again needs no additional page."""
    mailbox = FakeMailbox()
    cursor = sync_run(mailbox, plan(mailbox.now))[-1].cursor
    for _ in range(3):
        mailbox.arrive()
        mailbox.requests.clear()
        cursor = sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))[-1].cursor
        assert len(mailbox.requests) == 1 + 3


def at_inbox(**changes):
    first = sync.first_step(SyncContext(app=make_app(), connection=make_connection()), backfill())
    inbox = Folder(id="10", name="Inbox", kind=FolderKind.RECEIVED)
    return attrs.evolve(first, phase="messages", queue=(inbox,), **changes)


def read_pages(first, rows, count):
    context, cursor = SyncContext(app=make_app(), connection=make_connection()), first.to_cursor()
    for _ in range(count):
        conversation = sync.read_page(context, backfill(), cursor)
        cursor = hold(ZOHO_MAIL, conversation, lambda _: reply({"data": rows})).cursor
    return cursor


def test_a_list_that_shows_one_page_for_ever_ends_the_sync_run():
    """If the page's last rows are those of the page before, reading would never end."""
    rows = [{"messageId": str(n), "receivedTime": str(zoho.ms(NOW) - 5)} for n in range(200)]
    with pytest.raises(UnexpectedResponseError):
        read_pages(at_inbox(), rows, 2)


def test_pages_that_never_meet_end_the_sync_run():
    """A sync run steps back often, but not for ever."""
    rows = [{"messageId": str(n), "receivedTime": str(zoho.ms(NOW) - 5)} for n in range(200)]
    assert read_pages(at_inbox(start=381, tail=("x",)), rows, 1)["retreats"] == 1
    with pytest.raises(UnexpectedResponseError):
        read_pages(at_inbox(start=381, tail=("x",), retreats=sync.RETREATS), rows, 1)


def test_marks_of_folders_that_are_gone_are_forgotten():
    """A cursor has the folders that there are."""
    mailbox = FakeMailbox()
    mailbox.arrive()
    cursor = sync_run(mailbox, backfill(mailbox.now))[-1].cursor
    cursor = {**cursor, "marks": {**cursor["marks"], "gone": 5}}
    assert set(sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))[-1].cursor["marks"]) == {"10"}


def test_mail_that_is_listed_late_is_found_in_the_overlap():
    """Delivery order is not receipt order: a message a few minutes older than the mark is still reported."""
    mailbox = FakeMailbox()
    mailbox.arrive()
    first = sync_run(mailbox, backfill(mailbox.now + timedelta(seconds=1)))
    late = mailbox.arrive()
    mailbox.mails[late]["at"] -= 5 * 60_000
    assert key(late) in keys(sync_run(mailbox, plan(mailbox.now, last_cursor=first[-1].cursor)))


def test_a_backfill_with_an_end_leaves_the_rest_to_the_next_sync_run():
    """Nothing newer than `until` is emitted, and the incremental sync run begins there."""
    mailbox = FakeMailbox()
    old, middle = mailbox.arrive(), mailbox.now
    new = mailbox.arrive(seconds=3600)
    first = sync_run(mailbox, backfill(mailbox.now, until=middle))
    assert keys(first) == {key(old)}
    assert key(new) in keys(sync_run(mailbox, plan(mailbox.now, last_cursor=first[-1].cursor)))


def test_mail_dated_years_ahead_is_reported():
    """A backfill and an incremental sync run emit mail of the future, and go on to find what comes later."""
    mailbox = FakeMailbox()
    cursor = sync_run(mailbox, plan(mailbox.now))[-1].cursor
    ahead = mailbox.arrive()
    mailbox.mails[ahead]["at"] = zoho.ms(datetime(2099, 1, 1, tzinfo=UTC))
    assert key(ahead) in keys(sync_run(mailbox, backfill(mailbox.now)))
    first = sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))
    assert key(ahead) in keys(first)
    later = mailbox.arrive()
    assert key(later) in keys(sync_run(mailbox, plan(mailbox.now, last_cursor=first[-1].cursor)))


@given(
    actions=st.lists(st.sampled_from(["in", "client", "sent", "spam", "move", "sync"]), max_size=30),
    twice=st.booleans(),
)
def test_any_sequence_by_push_by_sync_and_by_both(actions, twice):
    """Push only, sync only, both, and everything twice agree on all mail that was received."""
    mailbox, cursor, found = FakeMailbox(), None, {}
    cursor = sync_run(mailbox, plan(mailbox.now))[-1].cursor
    for action in actions:
        if action == "move" and mailbox.mails:
            movable = [one for one in mailbox.mails if mailbox.mails[one]["folder"] == "10"]
            if movable:
                mailbox.move(movable[0], "50")
        elif action == "sync":
            for _ in range(1 + twice):
                pages = sync_run(mailbox, plan(mailbox.now, last_cursor=cursor))
                found |= {one.dedupe_key: one for one in drafts(pages)}
            cursor = pages[-1].cursor
        else:
            mailbox.arrive({"client": "50", "spam": "30"}.get(action, "10"), sent=action == "sent")
    found |= {one.dedupe_key: one for one in drafts(sync_run(mailbox, plan(mailbox.now, last_cursor=cursor)))}
    by_push = pushed(mailbox) * (1 + twice)
    received = [one for one in found.values() if one.kind is SignalKind.EMAIL_RECEIVED]
    assert facts(received) == facts(by_push)
    whole = drafts(sync_run(mailbox, backfill(mailbox.now)))
    assert {one.dedupe_key for one in whole} == set(found)


def test_a_removed_folder_steps_aside():
    """A 404 on one folder skips it and the sync run goes on."""
    mailbox = FakeMailbox()
    mail = mailbox.arrive()

    def answer(request):
        if "folderId=50" in request.url:
            return reply({"status": {"code": 404}, "data": {"errorCode": "FOLDER_NOT_FOUND"}}, 404)
        return mailbox.answer(request)

    pages = zoho.sync_run(ZOHO_MAIL, answer, backfill(mailbox.now), make_connection())[0]
    assert keys(pages) == {key(mail)}
    assert {one.reference for page in pages for one in page.skipped} == {"folder 50"}


def test_a_bad_row_steps_aside():
    """Rows without id or time are skipped with a reason; numeric ids of a search are read."""
    context = SyncContext(app=make_app(), connection=make_connection())
    first = sync.first_step(context, backfill())
    first = attrs.evolve(first, phase="messages", queue=(Folder(id="10", name="Inbox", kind=FolderKind.RECEIVED),))
    at = zoho.ms(NOW) - 5
    rows = [
        {"receivedTime": str(at)},
        {"messageId": "5"},
        7,
        {"messageId": 1709887058769100001, "receivedtime": at, "status": "unread", "fromAddress": "&lt;a@b.c&gt;"},
    ]
    page = hold(ZOHO_MAIL, sync.read_page(context, backfill(), first.to_cursor()), lambda _: reply({"data": rows}))
    assert [draft.dedupe_key for draft in page.signals] == [key(1709887058769100001)]
    assert page.signals[0].actor.id == "a@b.c"
    assert len(page.skipped) == 3


def test_a_bad_row_outside_of_the_window_is_nothing_that_was_skipped():
    """A row without an exact id counts as skipped in the window of the sync run only: each page shows older rows."""
    context = SyncContext(app=make_app(), connection=make_connection())
    first = sync.first_step(context, backfill(since=NOW - timedelta(days=1)))
    first = attrs.evolve(first, phase="messages", queue=(Folder(id="10", name="Inbox", kind=FolderKind.RECEIVED),))
    rows = [{"receivedTime": str(zoho.ms(NOW - timedelta(days=days)))} for days in (2, 3)]
    page = hold(
        ZOHO_MAIL,
        sync.read_page(context, backfill(since=NOW - timedelta(days=1)), first.to_cursor()),
        lambda _: reply({"data": rows}),
    )
    assert page.skipped == ()
    assert page.items == len(rows)


def test_a_throttle_stops_the_sync_run_until_the_lock_is_over():
    """The job gets the instant at which it can continue, and its cursor stays the same."""
    refusal = reply({"data": {"moreInfo": "You have exceeded the URL throttle limits"}}, 400)
    with pytest.raises(RateLimitedError) as caught:
        zoho.sync_run(ZOHO_MAIL, lambda _: refusal, backfill(), make_connection())
    assert caught.value.retry_at == NOW + timedelta(minutes=15)
    request = HttpRequest(method="GET", url=f"{zoho.MAIL_BASE}/folders")
    (budget,) = ZOHO_MAIL.limits.budgets(request)
    assert (caught.value.scope, caught.value.limit_scope) == (budget.name, budget.limit_scope)
    assert budget.requests + budget.burst <= 30
    assert ZOHO_MAIL.limits.budgets(HttpRequest(method="GET", url="https://accounts.zoho.eu/oauth/user/info")) == ()


def test_the_webhook_has_the_family_of_its_kind():
    """The webhook's only event belongs to received mail."""
    assert ZOHO_MAIL.family_of(MAIL).kinds == {SignalKind.EMAIL_RECEIVED}


def test_changes_are_reported_with_the_option():
    """Read, unread, trashed and spam are differences from the last known state; without one there are none."""
    app = make_app(options={"track_changes": "true"})
    mailbox = FakeMailbox(NOW - timedelta(hours=1))
    mail = mailbox.arrive()
    known, reported = {}, []

    def run(cursor):
        pages, connection = zoho.sync_run(
            ZOHO_MAIL, mailbox.answer, plan(mailbox.now, last_cursor=cursor), make_connection(), app=app
        )
        context = SyncContext(app=app, connection=connection)
        for page in pages:
            for seen in page.observations:
                state = json.loads(json.dumps(attrs.asdict(seen)))
                meaning = ZOHO_MAIL.sync.interpret(context, plan(mailbox.now), seen, known.get(seen.key))
                reported.extend(one.kind for one in meaning.signals)
                known[state["key"]] = meaning.snapshot
        return pages[-1].cursor

    cursor = zoho.sync_run(ZOHO_MAIL, mailbox.answer, backfill(mailbox.now), make_connection(), app=app)[0][-1].cursor
    cursor = run(cursor)
    mailbox.mails[mail]["status"] = "1"
    cursor = run(cursor)
    mailbox.mails[mail]["status"] = "0"
    cursor = run(cursor)
    mailbox.move(mail, "40")
    cursor = run(cursor)
    mailbox.move(mail, "30")
    run(cursor)
    assert reported == [
        SignalKind.EMAIL_READ,
        SignalKind.EMAIL_UNREAD,
        SignalKind.EMAIL_TRASHED,
        SignalKind.EMAIL_MARKED_SPAM,
    ]
    assert set(reported) == CHANGES
