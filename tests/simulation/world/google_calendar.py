"""Calendar: the user's own, a second one, those of a colleague, and generated ones (holidays)."""

from datetime import timedelta
from random import Random

from connectors_sandbox import Sandbox
from connectors_sandbox.google.calendar import Calendar
from connectors_sandbox.google.calendar import Event as Meeting
from tests.simulation.world.account import Account, Event
from tests.simulation.world.google import EPOCH, FAR_AHEAD, GoogleAccount, choose, some_years_ago, to_millis

NEW_FOR = timedelta(seconds=5)
"""As long as `updated` is no further than this from `created`, an event counts as just created."""
FOCUS = "focusTime"
"""A block of the user's own time. The reader leaves it out, as the provider's facts say."""
WEEKLY = "RRULE:FREQ=WEEKLY;COUNT=20"


class CalendarAccount(GoogleAccount):
    """A primary calendar, and others that come and go."""

    slug = "google-calendar"
    lists = ("/events", "/calendarList")
    resource = "events:"
    hooks_each = 2
    page_items = 40

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.marks: dict[str, str] = {}
        """By event: the part of its title that stays."""
        self.known: list[str] = []
        """Ids of all calendars that the user has had."""

    def prepare(self, items: int, dice: Random) -> None:
        self.known.append(self.user)
        super().prepare(items, dice)
        second = f"{self.name}-team@group.calendar.google.com"
        self.known.append(self.google.add_calendar(second, "Team", owner=self.user))

    def add_old(self, age_days: float, dice: Random) -> None:
        meeting = self._add(self.google.calendars.all[self.user], age_days=age_days)
        if dice.random() < 0.3:
            meeting.updated_at += timedelta(days=age_days) * dice.random()

    def events(self) -> list[Event]:
        return [
            event
            for calendar in self._calendars()
            for meeting in calendar.events.values()
            if (event := self._event(meeting)) is not None
        ]

    def _event(self, meeting: Meeting) -> Event | None:
        """What a reading has to say of it: nothing of a bare id, which has no date, or of what is no meeting."""
        if meeting.event_type == FOCUS:
            return None
        updated_at = to_millis(meeting.updated_at)
        created_at = meeting.created_at and meeting.created_at.replace(microsecond=0)
        title = self.marks[meeting.id]
        if meeting.is_cancelled:
            if meeting.is_stub:
                return None
            return Event(kind="calendar_event_cancelled", title=title, at=updated_at)
        if created_at is not None and abs(updated_at - created_at) < NEW_FOR:
            return Event(kind="calendar_event_created", title=title, at=created_at)
        return Event(kind="calendar_event_updated", title=title, at=updated_at)

    # --- calendars and events ----------------------------------------------------------------------------------------

    def _calendars(self, *, is_writable: bool = False) -> list[Calendar]:
        """The calendars that the user can read now."""
        present = [self.google.calendars.all[each] for each in self.known if each in self.google.calendars.all]
        roles = {"owner", "writer"} if is_writable else {"owner", "writer", "reader"}
        return [calendar for calendar in present if calendar.roles.get(self.user) in roles]

    def _a_calendar(self, dice: Random) -> Calendar:
        """One that the user can write to; their own is always there."""
        return dice.choice(self._calendars(is_writable=True))

    def _add(self, calendar: Calendar, **how: object) -> Meeting:
        mark = self.text()
        meeting = self.google.calendars.create(calendar, f"{mark} Meeting", self.user, **how)
        self.marks[meeting.id] = mark
        return meeting

    def _add_copy(self, calendar: Calendar, created_at, start) -> None:
        mark = self.text()
        meeting = self.google.calendars.add_copy(calendar, f"{mark} Meeting", self.other_user, created_at, start)
        self.marks[meeting.id] = mark

    def _pick(self, dice: Random, *, is_series: bool = False) -> tuple[Calendar, Meeting] | None:
        """An event that is not cancelled, and its calendar."""
        return choose(
            dice,
            [
                (calendar, meeting)
                for calendar in self._calendars(is_writable=True)
                for meeting in calendar.events.values()
                if not meeting.is_cancelled and (meeting.recurrence or not is_series)
            ],
        )

    # --- every day ---------------------------------------------------------------------------------------------------

    def create(self, dice: Random) -> None:
        self._add(self._a_calendar(dice), starts_in_hours=dice.uniform(1, 500))

    def create_series(self, dice: Random) -> None:
        self._add(self._a_calendar(dice), recurrence=[WEEKLY])

    def create_with_guests(self, dice: Random) -> None:
        self._add(self._a_calendar(dice), attendees=[self.user, self.other_user])

    def block_time(self, dice: Random) -> None:
        """An entry that is no meeting."""
        self._add(self._a_calendar(dice), event_type=FOCUS)

    def be_invited(self, dice: Random) -> None:
        """A colleague's meeting of some days ago now has the user as a guest."""
        start = self.now + timedelta(days=1)
        self._add_copy(self.google.calendars.all[self.user], self.days_ago(dice.uniform(0, 20)), start)

    def retitle(self, dice: Random) -> None:
        if (picked := self._pick(dice)) is not None:
            calendar, meeting = picked
            meeting.summary = f"{self.marks[meeting.id]} Meeting {dice.randrange(1000)}"
            self.google.calendars.changed(calendar, meeting)

    def reschedule(self, dice: Random) -> None:
        if (picked := self._pick(dice)) is not None:
            calendar, meeting = picked
            self.google.move_event(meeting.id, calendar_id=calendar.id, hours=dice.randint(1, 48))

    def answer(self, dice: Random) -> None:
        if (picked := self._pick(dice)) is not None:
            calendar, meeting = picked
            answer = dice.choice(["accepted", "declined", "tentative"])
            self.google.answer_event(meeting.id, calendar_id=calendar.id, by=self.other_user, answer=answer)

    def cancel(self, dice: Random) -> None:
        if (picked := self._pick(dice)) is not None:
            calendar, meeting = picked
            self.google.calendars.cancel(calendar, meeting)

    def change_occurrence(self, dice: Random) -> None:
        """One occurrence of a series gets another title, or is cancelled."""
        if (picked := self._pick(dice, is_series=True)) is not None:
            calendar, master = picked
            mark = self.text()
            is_cancelled = dice.random() < 0.5
            meeting = self.google.calendars.add_exception(
                calendar, master, f"{mark} Meeting", dice.randint(1, 20), is_cancelled=is_cancelled
            )
            self.marks[meeting.id] = mark

    # --- rare --------------------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """An event is added now that was created years ago, or in the year 0."""
        created_at = some_years_ago(self.now, dice)
        self._add_copy(self._a_calendar(dice), created_at if dice.random() < 0.7 else None, created_at)

    def date_1970(self, dice: Random) -> None:
        """A birthday of 1970, entered now or imported with that date as its creation."""
        created_at = self.now if dice.random() < 0.5 else EPOCH
        self._add_copy(self._a_calendar(dice), created_at, EPOCH)

    def date_2099(self, dice: Random) -> None:
        """A meeting in 2099."""
        self._add(self._a_calendar(dice), start=FAR_AHEAD)

    def burst(self, dice: Random) -> None:
        """More events at once than a page holds, as when a file is imported."""
        calendar = self._a_calendar(dice)
        for _ in range(self.page_items + dice.randint(1, 10)):
            self._add(calendar)

    def new_container(self, dice: Random) -> None:
        """A colleague's calendar with old events comes onto the list."""
        self._new_calendar(f"{self.text()}@group.calendar.google.com", dice, is_generated=False)

    def new_holidays(self, dice: Random) -> None:
        """A generated calendar comes onto the list: it cannot be watched."""
        self._new_calendar(f"{self.text()}holiday@group.v.calendar.google.com", dice, is_generated=True)

    def _new_calendar(self, identifier: str, dice: Random, *, is_generated: bool) -> None:
        self.google.add_calendar(identifier, "Another", owner=self.other_user, is_generated=is_generated)
        calendar = self.google.calendars.all[identifier]
        for _ in range(3):
            self._add(calendar, age_days=dice.uniform(1, 28))
        self.known.append(identifier)
        self.google.share_calendar(identifier, self.user, "reader" if is_generated else "writer")

    def close_container(self, dice: Random) -> None:
        """A calendar leaves the list, and the user can no longer read it."""
        calendar = choose(dice, [one for one in self._calendars() if one.id != self.user])
        if calendar is not None:
            self.google.unshare_calendar(calendar.id, self.user)

    def reopen_container(self, dice: Random) -> None:
        """It comes back. Who may see it has changed, so its sync tokens may have ended."""
        gone = [
            one
            for each in self.known
            if (one := self.google.calendars.all.get(each)) is not None and self.user not in one.roles
        ]
        calendar = choose(dice, gone)
        if calendar is not None:
            self.google.share_calendar(calendar.id, self.user, "reader")
            if dice.random() < 0.5:
                self.google.expire_sync_tokens(calendar.id)

    def delete_container(self, dice: Random) -> None:
        """A calendar is deleted with all its events."""
        calendar = choose(dice, [one for one in self._calendars() if one.id != self.user])
        if calendar is not None:
            self.google.delete_calendar(calendar.id)

    def empty_pages(self, dice: Random) -> None:
        """Between any two pages of events comes one without items, or no longer does."""
        self.google.calendars.sends_empty_pages = not self.google.calendars.sends_empty_pages

    def expire_history(self, dice: Random) -> None:
        """The sync and page tokens of a calendar are refused with 410."""
        calendar = dice.choice(self._calendars())
        self.google.expire_sync_tokens(calendar.id, with_reason=dice.random() < 0.7)

    usual = {
        "create": (6, create),
        "create_series": (1, create_series),
        "create_with_guests": (2, create_with_guests),
        "block_time": (1, block_time),
        "be_invited": (2, be_invited),
        "retitle": (3, retitle),
        "reschedule": (3, reschedule),
        "answer": (2, answer),
        "cancel": (2, cancel),
        "change_occurrence": (1, change_occurrence),
    }
    odd = {
        **GoogleAccount.shared_levers,
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "burst": burst,
        "new_container": new_container,
        "new_holidays": new_holidays,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "delete_container": delete_container,
        "empty_pages": empty_pages,
        "expire_history": expire_history,
    }


ACCOUNTS: tuple[type[Account], ...] = (CalendarAccount,)
