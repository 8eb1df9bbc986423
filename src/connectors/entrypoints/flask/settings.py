"""What the API wants to know of the operator's decisions."""

import attrs

DEFAULT_BODY_LIMIT = 26_214_400
"""Bytes: 25 MiB, GitHub's own cap on a webhook payload and the largest of the eight vendors'."""


@attrs.frozen(kw_only=True)
class ApiSettings:
    """Settings of the HTTP API."""

    max_body_bytes: int = attrs.field(default=DEFAULT_BODY_LIMIT, validator=attrs.validators.ge(1))
    """A longer request body is answered 413."""
    webhook_rate_limit: str | None = "6000/minute"
    """How many deliveries a webhook URL takes, per provider and tenant, as `limits` writes it; None: any number."""
    version: str = "0"
    """The service's version, as shown at `/` and in the OpenAPI document."""
