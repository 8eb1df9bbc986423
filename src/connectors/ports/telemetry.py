"""What operators can measure. Telling it never fails, and never waits."""

from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.signal import Origin
from connectors.domain.model.sync import JobType, SyncJob
from connectors.domain.model.webhook import DeliveryStatus, Recorded


class RefreshOutcome(StrEnum):
    """What became of a refresh."""

    REFRESHED = "refreshed"
    DEAD = "dead"
    """The grant has died: its user has to connect again."""
    CLIENT_REJECTED = "client_rejected"
    """The provider refused our client id or secret."""
    FAILED = "failed"
    """This time; it is tried again."""


class Telemetry(Protocol):
    """Takes note of what happens."""

    def delivery_accepted(self, provider: ProviderSlug, status: DeliveryStatus, recorded: Recorded) -> None:
        """A webhook was kept, or was there already."""
        ...

    def signal_visible(self, provider: ProviderSlug, origin: Origin, age: timedelta) -> None:
        """A new signal can be read, so long after it happened."""
        ...

    def page_read(self, provider: ProviderSlug, job_type: JobType, *, items: int, signals: int) -> None:
        """A page was committed, with so many items, of which so many gave new signals."""
        ...

    def job_ended(self, job: SyncJob) -> None:
        """A job has come to its end."""
        ...

    def limited(self, provider: ProviderSlug, limit_scope: LimitScope, wait: timedelta) -> None:
        """Work has to wait that long for a vendor's limit."""
        ...

    def refreshed(self, provider: ProviderSlug, outcome: RefreshOutcome) -> None:
        """A token refresh has ended so."""
        ...


class NullTelemetry:
    """Takes no note of anything."""

    def delivery_accepted(self, provider: ProviderSlug, status: DeliveryStatus, recorded: Recorded) -> None:
        """See `Telemetry`."""

    def signal_visible(self, provider: ProviderSlug, origin: Origin, age: timedelta) -> None:
        """See `Telemetry`."""

    def page_read(self, provider: ProviderSlug, job_type: JobType, *, items: int, signals: int) -> None:
        """See `Telemetry`."""

    def job_ended(self, job: SyncJob) -> None:
        """See `Telemetry`."""

    def limited(self, provider: ProviderSlug, limit_scope: LimitScope, wait: timedelta) -> None:
        """See `Telemetry`."""

    def refreshed(self, provider: ProviderSlug, outcome: RefreshOutcome) -> None:
        """See `Telemetry`."""
