"""Tenants: Core owns them; we only know which ids exist here."""

from datetime import datetime

import attrs

from connectors.domain.model.ids import TenantId
from connectors.domain.model.instant import optional_utc, utc


@attrs.frozen(kw_only=True)
class Tenant:
    """A customer of Poblysh, known here by Core's id."""

    id: TenantId
    created_at: datetime = attrs.field(converter=utc)
    erased_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Since when it is being erased. It stays known for that until nothing of it is left at a provider."""
