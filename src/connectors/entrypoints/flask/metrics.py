"""Metrics for Prometheus."""

from http import HTTPStatus

from flask import Response, request

from connectors.adapters.prometheus.exposition import render
from connectors.entrypoints.flask.operations import Call, operation


@operation(
    "GET",
    "/metrics",
    tag="service",
    summary="Metrics",
    query=None,
    answers={HTTPStatus.OK: bytes},
    media_type="text/plain",
)
def show_metrics(call: Call) -> Response:
    """All that this machine's processes count, and how things stand in the database, in Prometheus's text format, or
    in OpenMetrics for those who ask for it. Figures are over all tenants; none is named.
    """
    body, content_type = render(call.service.metrics, request.headers.get("Accept"))
    return Response(body, content_type=content_type)


OPERATIONS = (show_metrics,)
