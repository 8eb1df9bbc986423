"""Metrics: what is counted, what is read from the database, and in which format it is shown."""

import re
import threading
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connectors.adapters.prometheus.database import DatabaseGauges
from connectors.adapters.prometheus.exposition import create_registry, render
from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ending import HeldKind
from connectors.domain.model.errors import InfrastructureError
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.signal import Origin
from connectors.domain.model.statistics import Statistics
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import DeliveryStatus, Recorded, SubscriptionStatus
from connectors.ports.telemetry import RefreshOutcome
from tests.support.builders import GITHUB, NOW, SLACK, make_job
from tests.support.reference import DOCS

MINUTE = timedelta(minutes=1)
MEASURED = Statistics(
    unfinished_jobs={(GITHUB, JobType.BACKFILL, JobStatus.QUEUED): 3},
    longest_waits={GITHUB: MINUTE},
    connections={(GITHUB, ConnectionStatus.ACTIVE): 2},
    subscriptions={(GITHUB, SubscriptionStatus.ACTIVE): 1},
    earliest_expiries={GITHUB: -MINUTE},
    open_gaps=4,
    streams={(GITHUB, StreamStatus.BLOCKED): 2},
    longest_unread={GITHUB: MINUTE},
    held={(GITHUB, HeldKind.TOKEN, "live"): 2, (GITHUB, HeldKind.HOOK, "left"): 1},
    longest_ending=2 * MINUTE,
    parked_items={GITHUB: 5},
)


def fill(telemetry):
    """Record each kind of event once."""
    telemetry.delivery_accepted(GITHUB, DeliveryStatus.PROCESSED, Recorded.NEW)
    telemetry.signal_visible(GITHUB, Origin.WEBHOOK, timedelta(seconds=2))
    telemetry.page_read(GITHUB, JobType.BACKFILL, items=50, signals=40)
    telemetry.job_ended(
        make_job(type=JobType.BACKFILL, status=JobStatus.SUCCEEDED, started_at=NOW, finished_at=NOW + MINUTE)
    )
    telemetry.limited(SLACK, LimitScope.APP, timedelta(seconds=30))
    telemetry.refreshed(GITHUB, RefreshOutcome.DEAD)
    return telemetry


def registry_of(telemetry, collect=lambda: MEASURED, **changes):
    return create_registry(telemetry, collect, version="1.2.3", **changes)


def test_everything_that_happens_is_counted():
    """Each event changes its own metrics, with its own labels."""
    registry = registry_of(fill(PrometheusTelemetry()))

    def value(name, **labels):
        return registry.get_sample_value(f"connectors_{name}", labels)

    assert value("deliveries_total", provider="github", status="processed", recorded="new") == 1
    freshness = {"provider": "github", "origin": "webhook"}
    assert value("signal_freshness_seconds_bucket", le="1.0", **freshness) == 0
    assert value("signal_freshness_seconds_bucket", le="2.5", **freshness) == 1
    backfill = {"provider": "github", "type": "backfill"}
    assert value("sync_pages_total", **backfill) == 1
    assert value("sync_items_total", **backfill) == 50
    assert value("sync_signals_total", **backfill) == 40
    assert value("jobs_ended_total", status="succeeded", **backfill) == 1
    assert value("job_duration_seconds_sum", status="succeeded", **backfill) == 60
    assert value("limit_waits_total", provider="slack", scope="app") == 1
    assert value("limit_wait_seconds_total", provider="slack", scope="app") == 30
    assert value("token_refreshes_total", provider="github", outcome="dead") == 1
    assert value("build_info", version="1.2.3") == 1


def test_a_job_that_never_began_has_no_duration():
    """A job that is cancelled while it waits is counted, without a duration."""
    telemetry = PrometheusTelemetry()
    telemetry.job_ended(make_job(status=JobStatus.CANCELLED, finished_at=NOW))
    labels = {"provider": "github", "type": "incremental", "status": "cancelled"}
    registry = registry_of(telemetry)
    assert registry.get_sample_value("connectors_jobs_ended_total", labels) == 1
    assert registry.get_sample_value("connectors_job_duration_seconds_count", labels) is None


def test_a_clock_that_is_ahead_does_no_harm():
    """An event from the future has an age of zero, and a limit that has ended a wait of zero."""
    telemetry = PrometheusTelemetry()
    telemetry.signal_visible(GITHUB, Origin.SYNC, -MINUTE)
    telemetry.limited(GITHUB, LimitScope.GRANT, -MINUTE)
    registry = registry_of(telemetry)
    labels = {"provider": "github", "origin": "sync"}
    assert registry.get_sample_value("connectors_signal_freshness_seconds_sum", labels) == 0
    waits = {"provider": "github", "scope": "grant"}
    assert registry.get_sample_value("connectors_limit_wait_seconds_total", waits) == 0


def test_recording_never_fails(caplog):
    """When counts cannot be written, work continues, and the log says so once."""

    class FullDisk:
        def labels(self, *_):
            raise OSError(28, "No space left on device")

    telemetry = PrometheusTelemetry()
    telemetry._refreshes = FullDisk()
    for _ in range(2):
        telemetry.refreshed(GITHUB, RefreshOutcome.REFRESHED)
    assert [record.message for record in caplog.records] == ["metric_not_recorded"]


def test_the_database_is_counted():
    """Gauges show the counts, and zeros for the queues of providers that have no jobs."""
    registry = registry_of(PrometheusTelemetry(), providers=(GITHUB, SLACK))

    def value(name, **labels):
        return registry.get_sample_value(f"connectors_{name}", labels)

    assert value("database_up") == 1
    assert value("jobs_unfinished", provider="github", type="backfill", status="queued") == 3
    assert value("jobs_unfinished", provider="slack", type="webhook", status="running") == 0
    assert value("job_longest_wait_seconds", provider="github") == 60
    assert value("job_longest_wait_seconds", provider="slack") == 0
    assert value("connections", provider="github", status="active") == 2
    assert value("subscriptions", provider="github", status="active") == 1
    assert value("subscription_earliest_expiry_seconds", provider="github") == -60
    assert value("coverage_gaps_open") == 4
    assert value("streams", provider="github", status="blocked") == 2
    assert value("streams", provider="slack", status="ready") == 0
    assert value("stream_longest_unread_seconds", provider="github") == 60
    assert value("stream_longest_unread_seconds", provider="slack") is None
    assert value("parked_items_open", provider="github") == 5
    assert value("parked_items_open", provider="slack") == 0
    assert value("held", provider="github", kind="token", state="live") == 2
    assert value("held", provider="github", kind="hook", state="left") == 1
    assert value("held", provider="slack", kind="token", state="ending") == 0
    assert value("ending_oldest_seconds") == 120


def names_of(gauges):
    return [(metric.name, metric.samples[0].value) for metric in gauges.collect()]


def test_an_unreachable_database():
    """Only the gauge that says so is left."""

    def fail():
        raise InfrastructureError("The database cannot be reached.")

    assert names_of(DatabaseGauges(fail)) == [("connectors_database_up", 0)]


def test_a_database_that_hangs():
    """Scrapes time out, send no second query meanwhile, and show its counts again once it answers."""
    answers, asked = threading.Event(), []

    def hang():
        asked.append(1)
        assert answers.wait(10)
        return MEASURED

    gauges = DatabaseGauges(hang, max_wait=timedelta(milliseconds=5), lifetime=timedelta(0))
    assert names_of(gauges) == names_of(gauges) == [("connectors_database_up", 0)]
    assert len(asked) == 1
    answers.set()
    gauges._max_wait = 10
    assert ("connectors_coverage_gaps_open", 4) in names_of(gauges)


def test_scrapes_in_a_row_are_one_query():
    """Recent counts are shown again without a query; a bug of ours is raised."""
    asked = []
    gauges = DatabaseGauges(lambda: asked.append(1) or MEASURED)
    assert names_of(gauges) == names_of(gauges)
    assert len(asked) == 1
    with pytest.raises(ZeroDivisionError):
        names_of(DatabaseGauges(lambda: 1 // 0))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=x", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=x;q", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_formats(accept, kind):
    """Whatever format the scraper asks for, it gets one that the answer declares."""
    body, content_type = render(CollectorRegistry(), accept)
    assert content_type == kind
    assert body.endswith(b"# EOF\n") == ("openmetrics" in kind)


def test_the_page_lists_every_metric():
    """`docs/metrics.md` lists exactly the existing metrics with exactly their labels."""
    body, _ = render(registry_of(fill(PrometheusTelemetry())), None)
    shown = {}
    for family in text_string_to_metric_families(body.decode()):
        if family.name.endswith("_created"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    rows = re.findall(r"^\| `(connectors_\w+)` \| \w+ \| ([^|]*) \|", (DOCS / "metrics.md").read_text(), re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == shown
    assert set().union(*shown.values()) <= {
        *("provider", "type", "status", "origin", "recorded", "outcome", "scope", "version", "kind", "state")
    }


def test_alerts_use_what_exists():
    """Every alert of the page compares existing metrics with their own labels, and names statuses that exist."""
    page = (DOCS / "metrics.md").read_text()
    rows = re.findall(r"^\| `(connectors_\w+)` \| \w+ \| ([^|]*) \|", page, re.MULTILINE)
    known = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n +- alert:|\n```)", page, re.DOTALL)
    assert len(alerts) == len(dict(alerts)) >= 10
    for _, rule in alerts:
        used = re.findall(r"(connectors_\w+?)(?:_bucket)?(?:\{([^}]*)\})?(?=[\[)\s])", rule)
        assert used
        for name, selector in used:
            selected = dict(re.findall(r"(\w+)=\"(\w+)\"", selector))
            assert set(selected) <= known[name]
            if name == "connectors_streams":
                assert selected["status"] in set(StreamStatus)
            if name == "connectors_held":
                assert selected["state"] in {str(GrantState.ENDING), str(GrantState.LEFT)}
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", rule) for label in group.split(", ")}
        assert grouped <= {"le"}.union(*(known[name] for name, _ in used))
