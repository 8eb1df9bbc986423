"""Liveness and readiness of the service."""

from http import HTTPStatus

from connectors.domain.model.errors import InfrastructureError
from connectors.entrypoints.flask.operations import Answer, Call, operation
from connectors.entrypoints.representation.service import AliveView, ReadyView, ServiceView


@operation("GET", "/", tag="service", summary="Where things are", query=None, answers={HTTPStatus.OK: ServiceView})
def show_service(call: Call) -> Answer:
    """Links to the documentation."""
    return Answer(
        ServiceView(
            name="Poblysh Connectors",
            version=call.service.settings.version,
            docs="/docs",
            openapi="/openapi.json",
            providers="/providers",
        )
    )


@operation("GET", "/healthz", tag="service", summary="Liveness", query=None, answers={HTTPStatus.OK: AliveView})
def check_liveness(_call: Call) -> Answer:
    """The process answers. The database is not checked: a restart would not repair it."""
    return Answer(AliveView())


@operation(
    "GET",
    "/readyz",
    tag="service",
    summary="Readiness",
    query=None,
    answers={HTTPStatus.OK: ReadyView},
    errors=("SERVICE_UNAVAILABLE",),
)
def check_readiness(call: Call) -> Answer:
    """Every part works. If not, `details` names the failing parts.

    Skipped plugins are named as well. The service is ready without them: the other providers work.
    """
    readiness = call.service.connectors.check_readiness()
    if not readiness.is_ready:
        failing = [{"part": part, "message": state} for part, state in readiness.checks.items() if state != "ok"]
        raise InfrastructureError("Not every part of the service works.", details=failing)
    # Anybody may call this, and a reason may quote foreign errors: it is in the log and in `connectors providers list`.
    skipped = ", ".join(one.distribution for one in call.service.connectors.providers.skipped)
    plugins = {"plugins": f"skipped: {skipped}"} if skipped else {}
    return Answer(ReadyView(status="ready", checks={**readiness.checks, **plugins}))


OPERATIONS = (show_service, check_liveness, check_readiness)
