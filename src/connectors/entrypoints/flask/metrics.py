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
    """The counts of all processes on this machine and the state of the database, in Prometheus's text format, or in
    OpenMetrics if `Accept` asks for it. Numbers are over all tenants, and no tenant is named.
    """
    body, content_type = render(call.service.metrics, request.headers.get("Accept"))
    return Response(body, content_type=content_type)


OPERATIONS = (show_metrics,)
