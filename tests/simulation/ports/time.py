"""Clocks that follow the schedule."""

from datetime import datetime, timedelta

import attrs

from connectors_sandbox import SandboxClock
from tests.simulation.schedule import Schedule


@attrs.frozen
class ProcessClock:
    """`Clock` of one process. Machines' clocks differ: this one is ahead by `offset`, or behind."""

    schedule: Schedule
    offset: timedelta = timedelta()

    def now(self) -> datetime:
        """The time on this machine."""
        return self.schedule.instant() + self.offset

    def sleep(self, duration: timedelta) -> None:
        """Let that much virtual time pass."""
        self.schedule.sleep(duration.total_seconds())


class VendorClock(SandboxClock):
    """The vendors' clock: the true time."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule.instant())
        self._schedule = schedule

    def now(self) -> datetime:
        """The true time."""
        return self._schedule.instant()

    def sleep(self, duration: timedelta) -> None:
        """Let that much virtual time pass."""
        self._schedule.sleep(duration.total_seconds(), "vendor sleeps")
