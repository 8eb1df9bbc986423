"""Answers to requests that may be sent twice (`Idempotency-Key`)."""

from datetime import datetime

import attrs

from connectors.domain.model.ids import JobId, TenantId
from connectors.domain.model.instant import utc

MAX_KEY_LENGTH = 255
"""Characters of an idempotency key: the same maximum as Stripe's."""


@attrs.frozen(kw_only=True)
class IdempotentAnswer:
    """The jobs that a request created or found."""

    tenant_id: TenantId
    key: str
    fingerprint: str
    """Identifies what was requested. The same key with another request is an error of the caller."""
    job_ids: tuple[JobId, ...]
    created_at: datetime = attrs.field(converter=utc)


def fingerprint_of(*parts: object) -> str:
    """One text that identifies a request."""
    return "|".join(str(part) for part in parts)
