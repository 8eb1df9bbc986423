"""Gauges measured in the database when Prometheus scrapes."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from itertools import product
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from connectors.domain.model.ending import HeldKind
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.statistics import Statistics
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import UNFINISHED, JobType

MAX_WAIT = timedelta(seconds=3)
"""How long a scrape waits for the database. Prometheus gives up on the whole scrape after 10 s."""

LIFETIME = timedelta(seconds=5)
"""How long a result is reused before it is measured again. Anybody may scrape, and measuring burdens the database."""


class DatabaseGauges(Collector):
    """Gauges over all tenants. While the database does not answer, there is only `connectors_database_up`, at 0."""

    def __init__(
        self,
        collect: Callable[[], Statistics],
        providers: Sequence[ProviderSlug] = (),
        *,
        max_wait: timedelta = MAX_WAIT,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        """Gauges that are measured on demand.

        Args:
            collect: may raise InfrastructureError, or hang.
            providers: their empty queues are shown as zeros.
            max_wait: how long a scrape waits for `collect`.
            lifetime: how long its result is reused.
        """
        self._collect = collect
        self._providers = providers
        self._max_wait = max_wait.total_seconds()
        self._lifetime = lifetime.total_seconds()
        self._lock = threading.Lock()
        self._latest: Future[Statistics] | None = None
        self._started_at = 0.0

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        found = self._find()
        yield GaugeMetricFamily(
            "connectors_database_up", "Whether the database answers.", value=0 if found is None else 1
        )
        if found is None:
            return
        zeros = dict.fromkeys(product(self._providers, JobType, sorted(UNFINISHED)), 0)
        yield _gauge(
            "connectors_jobs_unfinished",
            "Sync jobs that are queued or running.",
            ("provider", "type", "status"),
            {**zeros, **found.unfinished_jobs},
        )
        yield _gauge(
            "connectors_job_longest_wait_seconds",
            "How long the oldest sync job that has not begun has waited.",
            ("provider",),
            {(slug,): 0.0 for slug in self._providers} | _seconds(found.longest_waits),
        )
        yield _gauge("connectors_connections", "Connections.", ("provider", "status"), found.connections)
        yield _gauge(
            "connectors_subscriptions",
            "Webhook subscriptions that have not ended.",
            ("provider", "status"),
            found.subscriptions,
        )
        yield _gauge(
            "connectors_subscription_earliest_expiry_seconds",
            "Time until the first active webhook subscription expires.",
            ("provider",),
            _seconds(found.earliest_expiries),
        )
        unfinished = dict.fromkeys(product(self._providers, HeldKind, ("ending", "left")), 0)
        yield _gauge(
            "connectors_held",
            "Tokens and webhooks of ours that are at a vendor, or may be left there.",
            ("provider", "kind", "state"),
            {**unfinished, **found.held},
        )
        yield GaugeMetricFamily(
            "connectors_ending_oldest_seconds",
            "How long the oldest thing has been ending that has to go at a vendor.",
            value=found.longest_ending.total_seconds(),
        )
        yield GaugeMetricFamily(
            "connectors_coverage_gaps_open", "Open gaps in the coverage of connections.", value=found.open_gaps
        )
        states = dict.fromkeys(product(self._providers, StreamStatus), 0)
        yield _gauge(
            "connectors_streams",
            "Streams of active connections.",
            ("provider", "status"),
            {**states, **found.streams},
        )
        yield _gauge(
            "connectors_stream_longest_unread_seconds",
            "How long ago the stream that has waited longest was read.",
            ("provider",),
            _seconds(found.longest_unread),
        )
        yield _gauge(
            "connectors_parked_items_open",
            "Single things that could not be read and are asked for again.",
            ("provider",),
            {(slug,): 0 for slug in self._providers} | {(slug,): count for slug, count in found.parked_items.items()},
        )

    def _find(self) -> Statistics | None:
        with self._lock:
            latest = self._latest
            if latest is None or (latest.done() and time.monotonic() - self._started_at >= self._lifetime):
                latest = self._latest = self._start()
        try:
            return latest.result(self._max_wait)
        except (InfrastructureError, TimeoutError):
            return None

    def _start(self) -> "Future[Statistics]":
        # One thread at a time, however many scrapes wait, so that a hanging database gets a single query. A daemon
        # thread, so that it does not delay the end of the process.
        future: Future[Statistics] = Future()
        self._started_at = time.monotonic()
        threading.Thread(target=_run, args=(self._collect, future), name="database-gauges", daemon=True).start()
        return future


def _run(collect: Callable[[], Statistics], future: "Future[Statistics]") -> None:
    try:
        future.set_result(collect())
    except BaseException as error:  # noqa: BLE001 - passed on to whoever waits for the result
        future.set_exception(error)


def _gauge(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[Any, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in key], value)
    return family


def _seconds(durations: Mapping[ProviderSlug, timedelta]) -> dict[tuple[ProviderSlug], float]:
    return {(provider,): duration.total_seconds() for provider, duration in durations.items()}
