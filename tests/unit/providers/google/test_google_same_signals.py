"""The signals are the same however changes are read: after each push, on schedule, both ways, or twice."""

from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.google import DANA, LEE, NOW, Google

from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

MODES = ("pushed", "scheduled", "both", "twice")
few = settings(max_examples=settings.default.max_examples // 2)  # each plays four times


def play(provider, prepare, happen, events, mode, seed=1):
    """The signals after these events, when reads come as the mode says."""
    google = Google.new(seed=seed)
    things = prepare(google.world)
    google.pass_time(days=1)
    driver = google.connect(provider)
    driver.backfill(since=google.now - timedelta(days=30))
    google.pass_time(minutes=1)
    for number, event in enumerate(events):
        happen(google.world, things, number, event)
        google.pass_time(seconds=7)
        if mode != "scheduled":
            driver.sync()
        if mode == "twice":
            driver.sync()
        google.pass_time(seconds=7)
    if mode != "pushed":
        driver.sync()
    if mode in {"both", "twice"}:
        # Everything once more, by the other way: nothing is new.
        driver.backfill(since=NOW - timedelta(days=29))
        driver.sync()
    return driver


def comparable(driver, *, timed=True):
    return {
        key: attrs.evolve(draft, occurred_at=draft.occurred_at if timed else NOW)
        for key, draft in driver.signals.items()
    }


# --- Drive: each file changes once, because the log itself forgets all but a file's last change ------------------------

FILE_VERBS = ("edit", "rename", "move", "trash", "delete", "view", "share", "create", "none")


def prepare_files(world):
    return [world.create_file(f"File {number}", by=DANA, age_days=number + 1) for number in range(4)]


def change_file(world, files, number, verb):
    if verb == "create" or number >= len(files):
        world.create_file(f"New {number}", by=DANA)
    elif verb == "edit":
        world.edit_file(files[number], by=DANA)
    elif verb == "rename":
        world.rename_file(files[number], f"Renamed {number}", by=DANA)
    elif verb == "move":
        world.move_file(files[number], "0AElsewhere", by=DANA)
    elif verb == "trash":
        world.trash_file(files[number], by=DANA)
    elif verb == "delete":
        world.delete_file(files[number], by=DANA)
    elif verb == "view":
        world.view_file(files[number], by=DANA)
    elif verb == "share":
        shared = world.create_file(f"Of Lee {number}", by=LEE, age_days=90)
        world.share_file(shared, by=LEE, to=DANA)


@few
@given(st.lists(st.sampled_from(FILE_VERBS), max_size=5))
def test_drive_gives_the_same_signals_by_every_way(events):
    """Push, schedule, both and twice give one set of keys, kinds and times."""
    found = [comparable(play(GOOGLE_DRIVE, prepare_files, change_file, events, mode)) for mode in MODES]
    # A backfill afterwards also reports the rename as an edit.
    for other in found[1:]:
        assert {key: one.kind for key, one in found[0].items()}.items() <= {
            key: one.kind for key, one in other.items()
        }.items()
    assert found[0] == found[1]
    assert {key for key in found[2] if ":updated:" not in key} == {key for key in found[0] if ":updated:" not in key}


def test_drive_coalesces_what_happens_between_reads():
    """Of several changes of a file the log keeps the last, which shows that it was edited, too, by its time of edit."""
    events = ["edit"]

    def edit_then_trash(world, files, number, verb):
        world.edit_file(files[0], by=DANA)
        world.trash_file(files[0], by=DANA)

    driver = play(GOOGLE_DRIVE, prepare_files, edit_then_trash, events, "scheduled")
    assert [kind for kind, _ in driver.kinds()][-2:] == ["file_updated", "file_trashed"]


# --- Calendar: each event changes once, for the same reason ---------------------------------------------------------------

EVENT_VERBS = ("rename", "move", "answer", "cancel", "create", "focus")


def prepare_events(world):
    return [world.create_event(f"Event {number}", by=DANA, attendees=[LEE], age_days=number + 1) for number in range(4)]


def change_event(world, ids, number, verb):
    if verb == "create" or number >= len(ids):
        world.create_event(f"New {number}", by=DANA)
    elif verb == "focus":
        world.create_event(f"Focus {number}", by=DANA, event_type="focusTime")
    elif verb == "rename":
        world.update_event(ids[number], calendar_id=DANA, summary=f"Renamed {number}")
    elif verb == "move":
        world.move_event(ids[number], calendar_id=DANA, hours=2)
    elif verb == "answer":
        world.answer_event(ids[number], calendar_id=DANA, by=LEE)
    elif verb == "cancel":
        world.cancel_event(ids[number], calendar_id=DANA)


@few
@given(st.lists(st.sampled_from(EVENT_VERBS), max_size=5), st.sampled_from([0.0, 1.0]), st.booleans())
def test_calendar_gives_the_same_signals_by_every_way(events, stub_share, expires):
    """Also when cancellations are bare ids, and when every token lapses on the way."""

    def happen(world, ids, number, verb):
        world.calendars.stub_share = stub_share
        change_event(world, ids, number, verb)
        if expires and number == 1:
            world.expire_sync_tokens(DANA, with_reason=False)

    found = [play(GOOGLE_CALENDAR, prepare_events, happen, events, mode) for mode in MODES]
    # A bare cancellation is dated by its read.
    kinds = [{key: (one.kind, one.title) for key, one in driver.signals.items()} for driver in found]
    assert kinds[0] == kinds[1] == kinds[2] == kinds[3]
    assert "(No title)" not in {title for one in kinds for _, title in one.values()}


# --- Gmail: history keeps every record ----------------------------------------------------------------------------------

MAIL_VERBS = ("receive", "send", "self", "draft", "spam", "trash", "mark_spam", "read", "delete_old")


def prepare_mail(world):
    return [world.receive_email(DANA, sender=LEE, subject=f"Mail {number}", age_days=number + 1) for number in range(4)]


def change_mail(world, ids, number, verb):
    known = [one for one in ids if one in world.mail.get(DANA).messages]
    if verb == "receive":
        ids.append(world.receive_email(DANA, sender="Lee <lee@y.com>", subject=f"New {number}"))
    elif verb == "send":
        world.send_email(DANA, to=LEE, subject=f"Sent {number}")
    elif verb == "self":
        world.send_email(DANA, to=DANA, subject=f"Self {number}")
    elif verb == "draft":
        world.save_draft(DANA, subject="d2", replaces=world.save_draft(DANA, subject="d1"))
    elif verb == "spam":
        world.receive_email(DANA, sender="x@spam", subject="Win", labels=["SPAM"])
    elif verb == "trash" and known:
        world.trash_email(DANA, known[-1])
    elif verb == "mark_spam" and known:
        world.mark_spam(DANA, known[0])
    elif verb == "read" and known:
        world.read_email(DANA, known[-1])
    elif verb == "delete_old" and known and known[0] in ids[:4]:
        world.delete_email(DANA, known[0])


@few
@given(st.lists(st.sampled_from(MAIL_VERBS), max_size=8))
def test_gmail_gives_the_same_signals_by_every_way(events):
    """Several changes of one message in any order, drafts that churn, mail that goes to the trash before it is read."""
    found = [
        {key: one.kind for key, one in play(GMAIL, prepare_mail, change_mail, events, mode).signals.items()}
        for mode in MODES
    ]
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize(
    ("provider", "prepare", "happen", "verbs"),
    [
        (GOOGLE_DRIVE, prepare_files, change_file, FILE_VERBS),
        (GOOGLE_CALENDAR, prepare_events, change_event, EVENT_VERBS),
        (GMAIL, prepare_mail, change_mail, MAIL_VERBS),
    ],
    ids=["google-drive", "google-calendar", "gmail"],
)
def test_every_kind_and_address_is_declared(provider, prepare, happen, verbs):
    """A provider emits only its declared kinds, with title, url, subject and key filled in."""
    driver = play(provider, prepare, happen, list(verbs), "both")
    assert driver.signals
    for key, draft in driver.signals.items():
        assert draft.kind in provider.kinds
        assert draft.title
        assert draft.url.startswith("https://")
        assert draft.subject.id in key
