"""All metrics, in the form that Prometheus reads: answered by the API, or by a port of their own."""

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
"""Prometheus's own, which everybody reads."""

OPENMETRICS = "application/openmetrics-text"


@attrs.frozen
class BuildInfo(Collector):
    """Which version runs, as a label of a metric that is always 1."""

    version: str

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield InfoMetricFamily("connectors_build", "What runs here.", value={"version": self.version})


def create_registry(
    telemetry: Telemetry,
    collect: Callable[[], Statistics],
    *,
    version: str,
    providers: Sequence[ProviderSlug] = (),
) -> CollectorRegistry:
    """Everything that a scrape shows.

    Args:
        telemetry: what has happened; shown if it is a `PrometheusTelemetry`.
        collect: how things stand in the database; may raise InfrastructureError.
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
    """The metrics and their content type: OpenMetrics for those who ask for it, else Prometheus's text format.

    Args:
        registry: what to show.
        accept: the request's `Accept` header.
    """
    # Not by the library's choose_encoder, which fails on versions that are no numbers and repeats others in its answer.
    if accept is not None and OPENMETRICS in accept:
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no annotations
        return text, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), TEXT_FORMAT


def start_exporter(bind: Bind, registry: CollectorRegistry) -> Callable[[], None]:
    """Answer scrapes of this process at `http://host:port/metrics`, in a thread; what it returns ends that.

    Raises:
        SettingsError: nobody can listen there.
    """
    try:
        server, thread = start_http_server(bind.port, addr=bind.host, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"POBLYSH_METRICS_BIND is {bind} ({(error.strerror or type(error).__name__).lower()}), expected an address "
            "of this machine and a port that is free"
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
