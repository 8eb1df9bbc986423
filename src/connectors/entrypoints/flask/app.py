"""The Flask app: a route for every operation, a problem document for every error, no global state."""

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Flask, Response
from flask.typing import ResponseReturnValue

from connectors.adapters.prometheus.exposition import create_registry
from connectors.adapters.system.operators import OperatorTokens
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.flask import (
    connect,
    connections,
    deliveries,
    dispatch,
    docs,
    health,
    jobs,
    metrics,
    problems,
    providers,
    signals,
    tenants,
    tracing,
    webhooks,
)
from connectors.entrypoints.flask.limiting import DeliveryLimiter
from connectors.entrypoints.flask.openapi import build_document
from connectors.entrypoints.flask.operations import Operation
from connectors.entrypoints.flask.service import Service
from connectors.entrypoints.flask.settings import ApiSettings
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.representation.encoding import encode
from connectors.entrypoints.request_ids import PATH_PARAMETERS

RESOURCES: Mapping[str, Sequence[Operation]] = {
    "health": health.OPERATIONS,
    "metrics": metrics.OPERATIONS,
    "providers": providers.OPERATIONS,
    "connect": connect.OPERATIONS,
    "connections": connections.OPERATIONS,
    "jobs": jobs.OPERATIONS,
    "signals": signals.OPERATIONS,
    "deliveries": deliveries.OPERATIONS,
    "webhooks": webhooks.OPERATIONS,
    "tenants": tenants.OPERATIONS,
    "docs": docs.OPERATIONS,
}
"""All operations, a blueprint for each resource."""


def create_app(connectors: Connectors, operators: OperatorTokens, settings: ApiSettings | None = None) -> Flask:
    """The API in front of a system.

    Args:
        connectors: the system; the caller closes it.
        operators: who may call.
        settings: None for the defaults.

    Raises:
        ValueError: the rate limit is malformed.
    """
    settings = settings or ApiSettings()
    app = Flask("connectors", static_folder=None)
    # Paths are taken literally: a redirect would lose a POST's body or a signature.
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    service = Service(
        connectors=connectors,
        operators=operators,
        settings=settings,
        limiter=DeliveryLimiter(settings.webhook_rate_limit, connectors.clock),
        openapi=encode(document(connectors.providers, version=settings.version)),
        metrics=create_registry(
            connectors.telemetry,
            connectors.statistics.collect,
            version=settings.version,
            providers=tuple(connectors.apps),
        ),
    )
    problems.install(app, connectors.clock)
    for name, operations in RESOURCES.items():
        app.register_blueprint(_blueprint(name, operations, service))
    _refuse_head(app)
    app.register_blueprint(docs.assets())
    app.after_request(_add_headers)
    tracing.install(app)
    return app


def document(providers: ProviderRegistry, *, version: str) -> dict[str, object]:
    """The OpenAPI document of the API in front of a system with these providers.

    Args:
        providers: which path parameters can name.
        version: the service's own.
    """
    operations = [operation for group in RESOURCES.values() for operation in group]
    return build_document(operations, providers, version=version)


def _blueprint(name: str, operations: Sequence[Operation], service: Service) -> Blueprint:
    blueprint = Blueprint(name, __name__)
    for operation in operations:
        rule = "/".join(_rule_part(part) for part in operation.path.split("/"))
        blueprint.add_url_rule(
            rule, endpoint=operation.id, view_func=_view(operation, service), methods=[operation.method]
        )
    return blueprint


def _refuse_head(app: Flask) -> None:
    """Take HEAD, which Flask adds to every GET, from the operations that do not allow it: it is answered with 405."""
    refusing = {
        f"{name}.{operation.id}"
        for name, operations in RESOURCES.items()
        for operation in operations
        if not operation.allows_head
    }
    for rule in app.url_map.iter_rules():
        if rule.endpoint in refusing and rule.methods is not None:
            rule.methods.discard("HEAD")


def _rule_part(part: str) -> str:
    """A part of a path as Flask writes it."""
    if not part.startswith("{"):
        return part
    name = part[1:-1]
    return f"<path:{name}>" if PATH_PARAMETERS[name].has_slashes else f"<{name}>"


def _view(operation: Operation, service: Service) -> Callable[..., ResponseReturnValue]:
    def view(**path: str) -> ResponseReturnValue:
        return dispatch.serve(service, operation, path)

    return view


def _add_headers(response: Response) -> Response:
    # Answers hold a tenant's data or the present state, so nobody may cache them. The docs' files set their own header.
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
