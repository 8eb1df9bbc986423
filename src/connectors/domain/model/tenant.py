"""Tenants: Core owns them; we only know which ids exist here."""

from datetime import datetime

import attrs

from connectors.domain.model.ids import TenantId
from connectors.domain.model.instant import utc


@attrs.frozen(kw_only=True)
class Tenant:
    """A customer of Poblysh, known here by Core's id."""

    id: TenantId
    created_at: datetime = attrs.field(converter=utc)
