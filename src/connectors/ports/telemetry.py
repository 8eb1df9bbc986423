"""What operators can measure. Recording it never fails and never waits."""

from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.signal import Origin
from connectors.domain.model.sync import JobType, SyncJob
from connectors.domain.model.webhook import DeliveryStatus, Recorded


class RefreshOutcome(StrEnum):
    """How a token refresh ended."""

    REFRESHED = "refreshed"
    DEAD = "dead"
    """The grant is dead: the user has to connect again."""
    CLIENT_REJECTED = "client_rejected"
    """The provider refused our client id or secret."""
    FAILED = "failed"
    """It failed this time and will be tried again."""


class Telemetry(Protocol):
    """Records what happens."""

    def delivery_accepted(self, provider: ProviderSlug, status: DeliveryStatus, recorded: Recorded) -> None:
        """A webhook delivery was stored, or was stored already."""
        ...

    def signal_visible(self, provider: ProviderSlug, origin: Origin, age: timedelta) -> None:
        """A new signal is visible, `age` after the event."""
        ...

    def page_read(self, provider: ProviderSlug, job_type: JobType, *, items: int, signals: int) -> None:
        """A page was committed: its number of items, and of new signals."""
        ...

    def job_ended(self, job: SyncJob) -> None:
        """A job has ended."""
        ...

    def limited(self, provider: ProviderSlug, limit_scope: LimitScope, wait: timedelta) -> None:
        """Work has to wait that long because of a vendor's limit."""
        ...

    def refreshed(self, provider: ProviderSlug, outcome: RefreshOutcome) -> None:
        """A token refresh has ended."""
        ...


class NullTelemetry:
    """Records nothing."""

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
