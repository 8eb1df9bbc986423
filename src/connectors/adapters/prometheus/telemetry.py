"""Counters of what happens, for Prometheus. `docs/metrics.md` explains each metric."""

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
"""Seconds from an event to its signal: a webhook takes less than one, a sync comes every 15 minutes, and anything older
than a day was missed."""

DURATION_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
"""Seconds from a job's first page to its end: an incremental sync without new events takes one, a long
history a day."""

log = logging.getLogger(__name__)

_P = ParamSpec("_P")


def _never_raising(
    record: Callable[Concatenate["PrometheusTelemetry", _P], None],
) -> Callable[Concatenate["PrometheusTelemetry", _P], None]:
    """The same method, but it never raises: shared counters are files, and a disk may be full."""

    @wraps(record)
    def record_if_possible(telemetry: "PrometheusTelemetry", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            record(telemetry, *args, **kwargs)
        except (OSError, ValueError) as error:  # ValueError: the file was closed, at the end of the process
            telemetry.log_failure(error)

    return record_if_possible


class PrometheusTelemetry:
    """`Telemetry` in counters and histograms.

    Labels have few values: providers, statuses, outcomes. Never a tenant, a connection or an account.
    """

    def __init__(self, *, shared_in: Path | None = None) -> None:
        """Metrics that start at zero.

        Args:
            shared_in: the directory of `share_between_processes`, for a process that shows the counters of all. None:
                this process shows at most its own.
        """
        own = CollectorRegistry()
        self.collector: Collector = own if shared_in is None else _collector_of(shared_in)
        """Everything recorded, as a Prometheus collector: by every process that shares, otherwise by this one."""
        self._has_logged_failure = False
        self._deliveries = Counter(
            "connectors_deliveries",
            "Webhook deliveries acknowledged.",
            ("provider", "status", "recorded"),
            registry=own,
        )
        self._freshness = Histogram(
            "connectors_signal_freshness_seconds",
            "Time from an event to its signal in the list.",
            ("provider", "origin"),
            buckets=FRESHNESS_BUCKETS,
            registry=own,
        )
        of_job = ("provider", "type")
        self._pages = Counter("connectors_sync_pages", "Pages of the providers' APIs committed.", of_job, registry=own)
        self._items = Counter("connectors_sync_items", "Items on the committed pages.", of_job, registry=own)
        self._signals = Counter("connectors_sync_signals", "New signals on the committed pages.", of_job, registry=own)
        self._jobs = Counter("connectors_jobs_ended", "Sync jobs ended.", (*of_job, "status"), registry=own)
        self._durations = Histogram(
            "connectors_job_duration_seconds",
            "Time from a sync job's first start to its end, waits included.",
            (*of_job, "status"),
            buckets=DURATION_BUCKETS,
            registry=own,
        )
        self._refreshes = Counter(
            "connectors_token_refreshes", "Token refreshes ended.", ("provider", "outcome"), registry=own
        )
        of_limit = ("provider", "scope")
        self._waits = Counter(
            "connectors_limit_waits", "Times that work had to wait for a vendor's limit.", of_limit, registry=own
        )
        self._waiting = Counter(
            "connectors_limit_wait_seconds", "How long work had to wait for a vendor's limit.", of_limit, registry=own
        )

    @_never_raising
    def delivery_accepted(self, provider: ProviderSlug, status: DeliveryStatus, recorded: Recorded) -> None:
        """See `Telemetry`."""
        self._deliveries.labels(provider, status.value, recorded.value).inc()

    @_never_raising
    def signal_visible(self, provider: ProviderSlug, origin: Origin, age: timedelta) -> None:
        """See `Telemetry`."""
        self._freshness.labels(provider, origin.value).observe(_seconds(age))

    @_never_raising
    def page_read(self, provider: ProviderSlug, job_type: JobType, *, items: int, signals: int) -> None:
        """See `Telemetry`."""
        self._pages.labels(provider, job_type.value).inc()
        self._items.labels(provider, job_type.value).inc(items)
        self._signals.labels(provider, job_type.value).inc(signals)

    @_never_raising
    def job_ended(self, job: SyncJob) -> None:
        """See `Telemetry`."""
        labels = (job.provider, job.type.value, job.status.value)
        self._jobs.labels(*labels).inc()
        if job.started_at is not None and job.finished_at is not None:  # it may have been cancelled before it began
            self._durations.labels(*labels).observe(_seconds(job.finished_at - job.started_at))

    @_never_raising
    def limited(self, provider: ProviderSlug, limit_scope: LimitScope, wait: timedelta) -> None:
        """See `Telemetry`."""
        self._waits.labels(provider, limit_scope.value).inc()
        self._waiting.labels(provider, limit_scope.value).inc(_seconds(wait))

    @_never_raising
    def refreshed(self, provider: ProviderSlug, outcome: RefreshOutcome) -> None:
        """See `Telemetry`."""
        self._refreshes.labels(provider, outcome.value).inc()

    def log_failure(self, error: Exception) -> None:
        """Log, once, that a metric could not be recorded."""
        if not self._has_logged_failure:
            self._has_logged_failure = True
            log.warning("metric_not_recorded", extra={"reason": type(error).__name__})


def _collector_of(directory: Path) -> Collector:
    collector: Collector = MultiProcessCollector(None, path=str(directory))  # type: ignore[no-untyped-call]  # theirs
    return collector


def _seconds(duration: timedelta) -> float:
    # A vendor's clock may be ahead of ours.
    return max(duration.total_seconds(), 0.0)
