"""The tenants that exist here."""

from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import TenantId
from connectors.domain.model.webhook import Recorded
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.representation.tenants import TenantView, show_tenant


@operation(
    "PUT",
    "/tenants/{tenant_id}",
    tag="tenants",
    summary="Make a tenant known",
    auth=Auth.OPERATOR,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: TenantView, HTTPStatus.CREATED: TenantView},
)
def ensure_tenant(call: Call) -> Answer:
    """The tenant: 201 if it was not known before, else 200."""
    tenant, recorded = call.service.connectors.tenants.ensure(TenantId(path_id(call, "tenant_id")))
    return Answer(show_tenant(tenant), HTTPStatus.CREATED if recorded is Recorded.NEW else HTTPStatus.OK)


@operation(
    "GET",
    "/tenants/{tenant_id}",
    tag="tenants",
    summary="Show a tenant",
    auth=Auth.OPERATOR,
    permission=Permission.READ,
    answers={HTTPStatus.OK: TenantView},
)
def show_one_tenant(call: Call) -> Answer:
    """The tenant, if it is known here."""
    return Answer(show_tenant(call.service.connectors.tenants.get(TenantId(path_id(call, "tenant_id")))))


@operation(
    "DELETE",
    "/tenants/{tenant_id}",
    tag="tenants",
    summary="Erase a tenant",
    auth=Auth.OPERATOR,
    permission=Permission.ADMIN,
    answers={HTTPStatus.NO_CONTENT: None},
)
def erase_tenant(call: Call) -> Answer:
    """Erase the tenant with its connections, tokens, signals, deliveries and jobs. This cannot be undone."""
    call.service.connectors.tenants.erase(TenantId(path_id(call, "tenant_id")))
    return Answer(None, HTTPStatus.NO_CONTENT)


OPERATIONS = (ensure_tenant, show_one_tenant, erase_tenant)
