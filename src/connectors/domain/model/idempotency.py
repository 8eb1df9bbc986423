"""What was answered to a request that may come twice (`Idempotency-Key`)."""

from datetime import datetime

import attrs

from connectors.domain.model.ids import JobId, TenantId
from connectors.domain.model.instant import utc

MAX_KEY_LENGTH = 255
"""Characters of an idempotency key, as long as Stripe's may be."""


@attrs.frozen(kw_only=True)
class IdempotentAnswer:
    """The jobs that a request got."""

    tenant_id: TenantId
    key: str
    fingerprint: str
    """Of what was asked. The same key with other wishes is a mistake of the caller."""
    job_ids: tuple[JobId, ...]
    created_at: datetime = attrs.field(converter=utc)


def fingerprint_of(*parts: object) -> str:
    """One text for what was asked."""
    return "|".join(str(part) for part in parts)
