"""GET /metrics."""

import attrs
from prometheus_client.parser import text_string_to_metric_families

from connectors.adapters.prometheus.telemetry import PrometheusTelemetry
from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.flask import ApiSettings
from tests.support.api import Api, issue_opened, make_api


def samples(api):
    answer = api.get("/metrics", token=None)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.get_data(as_text=True))
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def test_a_delivery_shows():
    """Without a token, metrics show deliveries, freshness and waiting jobs, and name no tenant."""
    api = make_api(telemetry=PrometheusTelemetry())
    tenant = api.new_tenant()
    connection = api.connect(tenant)
    assert api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened()).status_code == 202
    found = samples(api)
    assert found["connectors_deliveries_total", "github", "new", "processed"] == 1
    assert found["connectors_signal_freshness_seconds_count", "github", "webhook"] == 1
    assert found["connectors_connections", "active", "github"] == 1
    assert found["connectors_jobs_unfinished", "backfill", "github", "queued"] == 1
    text = str(found)
    assert tenant not in text
    assert connection["id"] not in text
    assert connection["account"]["name"] not in {label for _, *labels in found for label in labels}


def test_without_database_or_telemetry():
    """A system without telemetry still shows its version and that its database is unreachable."""
    api = make_api()

    class Unreachable:
        def __enter__(self):
            raise InfrastructureError("The database cannot be reached.")

        def __exit__(self, *_):
            pass

    statistics = attrs.evolve(api.connectors.statistics, unit_of_work=Unreachable)
    api = Api(attrs.evolve(api.connectors, statistics=statistics), ApiSettings(version="7"))
    assert samples(api) == {("connectors_build_info", "7"): 1, ("connectors_database_up",): 0}
