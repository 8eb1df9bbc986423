"""What happens, counted for Prometheus. `docs/metrics.md` says what each metric is good for."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.signal import Origin
from connectors.domain.model.sync import JobType, SyncJob
from connectors.domain.model.webhook import DeliveryStatus, Recorded
from connectors.ports.telemetry import RefreshOutcome

FRESHNESS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 14_400, 86_400)
"""Seconds from an event to its signal: a webhook's way takes parts of one, a sync comes every 15 minutes, and what is
older than a day was missed."""

DURATION_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
"""Seconds from a job's first page to its end: an incremental sync with no news takes one, a large history a day."""

log = logging.getLogger(__name__)

_P = ParamSpec("_P")


def _harmless(
    note: Callable[Concatenate["PrometheusTelemetry", _P], None],
) -> Callable[Concatenate["PrometheusTelemetry", _P], None]:
    """The same, save that it never raises: shared counts are files, and a disk may be full."""

    @wraps(note)
    def note_if_possible(telemetry: "PrometheusTelemetry", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            note(telemetry, *args, **kwargs)
        except (OSError, ValueError) as error:  # ValueError: the file has been closed, at the end of the process
            telemetry.complain(error)

    return note_if_possible


class PrometheusTelemetry:
    """`Telemetry` in counters and histograms.

    Labels hold what there are few of: providers, statuses, outcomes. Never a tenant, a connection or an account.
    """

    def __init__(self, *, shared_in: Path | None = None) -> None:
        """Metrics that begin at nothing.

        Args:
            shared_in: where the processes that `share_between_processes` has joined keep their counts, for one that
                shows them. None: this process shows, if anything, its own.
        """
        own = CollectorRegistry()
        self.collector: Collector = own if shared_in is None else _collector_of(shared_in)
        """All that has been noted, as a Prometheus collector: by every process that shares, or else by this one."""
        self._has_complained = False
        self._deliveries = Counter(
            "connectors_deliveries",
            "Webhook deliveries that were kept, or were there already.",
            ("provider", "status", "recorded"),
            registry=own,
        )
        self._freshness = Histogram(
            "connectors_signal_freshness_seconds",
            "From an event to its signal in the list.",
            ("provider", "origin"),
            buckets=FRESHNESS_BUCKETS,
            registry=own,
        )
        of_job = ("provider", "type")
        self._pages = Counter("connectors_sync_pages", "Pages of the providers' APIs committed.", of_job, registry=own)
        self._items = Counter("connectors_sync_items", "Items on those pages.", of_job, registry=own)
        self._signals = Counter("connectors_sync_signals", "New signals on those pages.", of_job, registry=own)
        self._jobs = Counter("connectors_jobs_ended", "Sync jobs ended.", (*of_job, "status"), registry=own)
        self._durations = Histogram(
            "connectors_job_duration_seconds",
            "From a sync job's begin to its end, its waits included.",
            (*of_job, "status"),
            buckets=DURATION_BUCKETS,
            registry=own,
        )
        self._refreshes = Counter(
            "connectors_token_refreshes", "Token refreshes ended.", ("provider", "outcome"), registry=own
        )
        of_limit = ("provider", "scope")
        self._waits = Counter("connectors_limit_waits", "Times that a vendor's limit was met.", of_limit, registry=own)
        self._waiting = Counter(
            "connectors_limit_wait_seconds", "How long work was put off for it.", of_limit, registry=own
        )

    @_harmless
    def delivery_accepted(self, provider: ProviderSlug, status: DeliveryStatus, recorded: Recorded) -> None:
        """See `Telemetry`."""
        self._deliveries.labels(provider, status.value, recorded.value).inc()

    @_harmless
    def signal_visible(self, provider: ProviderSlug, origin: Origin, age: timedelta) -> None:
        """See `Telemetry`."""
        self._freshness.labels(provider, origin.value).observe(_seconds(age))

    @_harmless
    def page_read(self, provider: ProviderSlug, job_type: JobType, *, items: int, signals: int) -> None:
        """See `Telemetry`."""
        self._pages.labels(provider, job_type.value).inc()
        self._items.labels(provider, job_type.value).inc(items)
        self._signals.labels(provider, job_type.value).inc(signals)

    @_harmless
    def job_ended(self, job: SyncJob) -> None:
        """See `Telemetry`."""
        labels = (job.provider, job.type.value, job.status.value)
        self._jobs.labels(*labels).inc()
        if job.started_at is not None and job.finished_at is not None:  # it may have been cancelled before
            self._durations.labels(*labels).observe(_seconds(job.finished_at - job.started_at))

    @_harmless
    def limited(self, provider: ProviderSlug, limit_scope: LimitScope, wait: timedelta) -> None:
        """See `Telemetry`."""
        self._waits.labels(provider, limit_scope.value).inc()
        self._waiting.labels(provider, limit_scope.value).inc(_seconds(wait))

    @_harmless
    def refreshed(self, provider: ProviderSlug, outcome: RefreshOutcome) -> None:
        """See `Telemetry`."""
        self._refreshes.labels(provider, outcome.value).inc()

    def complain(self, error: Exception) -> None:
        """Say in the log, once, that something could not be counted."""
        if not self._has_complained:
            self._has_complained = True
            log.warning("not_counted", extra={"reason": type(error).__name__})


def _collector_of(directory: Path) -> Collector:
    collector: Collector = MultiProcessCollector(None, path=str(directory))  # type: ignore[no-untyped-call]  # theirs
    return collector


def _seconds(duration: timedelta) -> float:
    # A vendor's clock may be ahead of ours.
    return max(duration.total_seconds(), 0.0)
