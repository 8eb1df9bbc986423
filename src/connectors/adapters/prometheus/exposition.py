"""All metrics in Prometheus's format, served by the API or on a port of their own."""

from collections.abc import Callable, Iterator, Sequence

import attrs
from prometheus_client import CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.core import InfoMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from connectors.adapters.prometheus.database import DatabaseGauges
from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.adapters.system.values import Bind
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.statistics import Statistics
from connectors.ports.telemetry import Telemetry

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus's own format, which every scraper reads."""

OPENMETRICS = "application/openmetrics-text"


@attrs.frozen
class BuildInfo(Collector):
    """The running version, as a label of a metric that is always 1."""

    version: str

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield InfoMetricFamily("connectors_build", "The running version.", value={"version": self.version})


def create_registry(
    telemetry: Telemetry,
    collect: Callable[[], Statistics],
    *,
    version: str,
    providers: Sequence[ProviderSlug] = (),
) -> CollectorRegistry:
    """Everything that a scrape shows.

    Args:
        telemetry: counters of what happened; shown if it is a `PrometheusTelemetry`.
        collect: measures the database; may raise InfrastructureError.
        version: the service's own.
        providers: those that are configured here.
    """
    registry = CollectorRegistry()
    registry.register(BuildInfo(version))
    registry.register(DatabaseGauges(collect, providers))
    if isinstance(telemetry, PrometheusTelemetry):
        registry.register(telemetry.collector)
    return registry


def render(registry: CollectorRegistry, accept: str | None) -> tuple[bytes, str]:
    """The metrics and their content type: OpenMetrics if the client asks for it, otherwise Prometheus's text format.

    Args:
        registry: what to show.
        accept: the request's `Accept` header.
    """
    # Not with the library's choose_encoder: it fails on malformed versions, and repeats others in its response.
    if accept is not None and OPENMETRICS in accept:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return text, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), TEXT_FORMAT


def start_exporter(bind: Bind, registry: CollectorRegistry) -> Callable[[], None]:
    """Serve this process's metrics at `http://host:port/metrics`, in a thread; returns a function that stops it.

    Raises:
        SettingsError: the address cannot be bound.
    """
    try:
        server, thread = start_http_server(bind.port, addr=bind.host, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"POBLYSH_METRICS_BIND is {bind} ({(error.strerror or type(error).__name__).lower()}), expected an address "
            "of this machine and a free port"
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
