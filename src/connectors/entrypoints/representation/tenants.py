"""How tenants are shown."""

from uuid import UUID

import attrs

from connectors.domain.model.tenant import Tenant
from connectors.entrypoints.representation.common import Instant


@attrs.frozen(kw_only=True, slots=False)
class TenantView:
    """A tenant that exists here."""

    id: UUID
    created_at: Instant


def show_tenant(tenant: Tenant) -> TenantView:
    """The tenant."""
    return TenantView(id=tenant.id, created_at=tenant.created_at)
