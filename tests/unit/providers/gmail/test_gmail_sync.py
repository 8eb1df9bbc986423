"""How mailboxes are read."""

from datetime import timedelta

import pytest
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

from connectors.domain.model.errors import RateLimitedError, UnexpectedResponseError
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.gmail import GMAIL, listing
from connectors.domain.providers.gmail.oauth import METADATA_SCOPE, READ_SCOPE

CONTEXT = SyncContext(app=make_app(GMAIL), connection=make_connection(GMAIL))
PLAN = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=NOW)
CURSOR = {"history_id": "1230", "seen_at": "2026-11-19T10:00:00Z", "follow": True}


def read(cursor, *responses):
    answer = script(*responses)
    page = converse(GMAIL, GMAIL.sync.read_page(CONTEXT, PLAN, cursor), answer)
    return page, answer.asked


def test_a_first_read_only_takes_the_history_id():
    """Nothing old is reported; the next sync run starts from here, and pushes are compared with it."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Old", age_days=1)
    driver = google.connect(GMAIL)
    assert driver.sync() == []
    assert driver.connection.metadata["history_id"] == driver.cursors[""]["history_id"]


def test_nothing_new_is_an_answer_without_history():
    """The array is absent then; the cursor takes the answer's id."""
    page, asked = read(CURSOR, reply({"historyId": "1250"}))
    assert (page.done, page.cursor["history_id"]) == (True, "1250")
    query = query_of(asked[0])
    assert query["startHistoryId"] == "1230"
    assert query["historyTypes"] == ["messageAdded", "labelAdded", "labelRemoved", "messageDeleted"]


@pytest.mark.parametrize("history_id", ["1200", None, "x", -5])
def test_the_cursor_never_goes_back(history_id):
    """An older or unreadable id leaves the cursor unchanged; 999 is less than 1230 although it sorts later as text."""
    assert read(CURSOR, reply({"historyId": history_id}))[0].cursor["history_id"] == "1230"
    assert read(CURSOR, reply({"historyId": "999"}))[0].cursor["history_id"] == "1230"


def test_pages_keep_the_id_that_the_sync_run_began_with():
    """The page token belongs to that start."""
    page, _ = read(CURSOR, reply({"historyId": "1300", "nextPageToken": "p2"}))
    assert (page.done, page.cursor["history_id"], page.cursor["page"]) == (False, "1230", "p2")
    with pytest.raises(UnexpectedResponseError):
        read(page.cursor, reply({"historyId": "1300", "nextPageToken": "p2"}))


def test_lapsed_history_is_a_bounded_new_listing():
    """404 is no fault of the connection: mail since the last one seen is listed, and the gap is reported."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Ancient", age_days=60)
    driver = google.connect(GMAIL)
    driver.backfill(since=NOW - timedelta(days=5))
    google.pass_time(days=10)
    google.world.receive_email(DANA, sender=LEE, subject="While away")
    google.world.expire_history(DANA)
    driver.pages.clear()
    driver.sync()
    assert driver.kinds() == [("email_received", "While away")]
    assert [bool(page.gap) for page in driver.pages] == [True, False, False]
    assert driver.sync() == []


def test_history_that_lapses_at_once_ends_the_sync_run():
    """A sync run lists again at most once: otherwise an id that Gmail forgets at once would make it endless."""
    page, _ = read(CURSOR, error_reply(404, "notFound"), reply({"historyId": "2000"}))
    listed, _ = read(page.cursor, reply({}))
    with pytest.raises(UnexpectedResponseError):
        read(listed.cursor, error_reply(404, "notFound"))


def test_a_metadata_grant_lists_by_label():
    """Without the right to search, inbox and sent mail are listed until they leave the window."""
    google = Google.new()
    google.world.receive_email(DANA, sender=LEE, subject="Recent", age_days=2)
    google.world.receive_email(DANA, sender=LEE, subject="Ancient", age_days=60)
    google.world.send_email(DANA, to=LEE, subject="Sent")
    driver = google.connect(GMAIL, scopes=(METADATA_SCOPE,))
    driver.backfill(since=NOW - timedelta(days=30))
    assert sorted(driver.kinds()) == [("email_received", "Recent"), ("email_sent", "Sent")]


def test_a_large_mailbox_is_read_page_by_page():
    """Every page is a list and its messages; a sync run that dies goes on at the last page."""
    google = Google.new()
    for number in range(60):
        google.world.receive_email(DANA, sender=LEE, subject=f"Mail {number}", age_days=1 + number / 100)
    driver = google.connect(GMAIL)
    driver.sync_run(SyncMode.BACKFILL, since=NOW - timedelta(days=30), crash_after=1)
    assert len(driver.signals) == 60
    assert [page.items for page in driver.pages] == [25, 25, 10, 0]


def test_a_limit_in_mid_page_ends_the_page():
    """The page is asked for again later, as a whole."""
    listing = {**CURSOR, "listing": {"since": None, "until": None, "labels": [], "page": None}}
    with pytest.raises(RateLimitedError):
        read(listing, reply({"messages": [{"id": "1"}]}), error_reply(429, "rateLimitExceeded"))


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

    def happen(number):
        if number <= 5:
            for mail in mails[2 * number - 2 : 2 * number]:
                getattr(google.world, leave)(DANA, mail)
            google.pass_time(seconds=1)
            google.world.receive_email(DANA, sender=LEE, subject=f"New {number}")

    driver.sync_run(SyncMode.BACKFILL, since=NOW - timedelta(days=30), between=happen)
    received = {title for kind, title in driver.kinds() if kind == "email_received"}
    assert received == {f"Mail {n}" for n in range(40)} | {f"New {n}" for n in range(1, 6)}


LISTED = {
    **CURSOR,
    "listing": {"labels": [], "page": "p2", "passed": ["1", "2"], "oldest": "2026-11-10T00:00:00Z", "starts": 0},
}


def ids(*names, **more):
    return reply({"messages": [{"id": name} for name in names], **more})


def test_a_page_out_of_touch_with_the_one_before_starts_the_listing_over():
    """If no message proves that the pages overlap, the listing goes on from a day above the oldest message read."""
    page, _ = read(LISTED, ids("8", "9"), ids("6", "7"))
    assert (page.done, page.observations, page.cursor["follow"]) == (False, (), True)
    _, asked = read(page.cursor, ids())
    assert query_of(asked[0])["q"] == "before:1794355200 -in:chats"
    with pytest.raises(UnexpectedResponseError):
        read({**LISTED, "listing": {**LISTED["listing"], "starts": 3}}, ids("8"), ids("6"))


def test_a_listing_whose_token_has_lapsed_starts_over():
    """A page token lapses during a long wait; on a first page the error means something else."""
    page, _ = read(LISTED, error_reply(400, "invalidArgument"))
    assert (page.cursor["listing"]["page"], page.cursor["listing"]["starts"]) == (None, 1)
    with pytest.raises(UnexpectedResponseError):
        read(page.cursor, error_reply(400, "invalidArgument"))


def test_a_history_page_whose_token_has_lapsed_is_read_from_its_start():
    """Once: the same records give the same keys."""
    page, _ = read({**CURSOR, "page": "p9"}, error_reply(400, "invalidArgument"))
    assert "page" not in page.cursor
    with pytest.raises(UnexpectedResponseError):
        read({**page.cursor, "page": "p9"}, error_reply(400, "invalidArgument"))


def test_an_answer_that_names_many_messages_is_read_in_parts():
    """However many one record names, no page reads more than its size; what is added meanwhile comes after."""

    def added(number, names):
        return {"id": str(number), "messagesAdded": [{"message": {"id": name}} for name in names]}

    def answer(*records):
        return reply({"history": records, "historyId": "1300"})

    bulk = added(1240, [f"m{number}" for number in range(30)])
    gone = [error_reply(404, "notFound")] * 30
    first, asked = read(CURSOR, answer(bulk), *gone[:25])
    assert (first.done, first.items, len(asked)) == (False, 25, 26)
    second, _ = read(first.cursor, answer(bulk, added(1250, ["late", "m0"])), *gone[:5])
    assert (second.done, second.items) == (False, 5)
    third, _ = read(second.cursor, answer(bulk, added(1250, ["late", "m0"])), *gone[:2])
    assert (third.done, third.items) == (True, 2)
    assert third.cursor == {"history_id": "1300", "seen_at": CURSOR["seen_at"]}
