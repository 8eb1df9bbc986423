"""The operator's settings that concern the API."""

import attrs

DEFAULT_BODY_LIMIT = 26_214_400
"""Bytes: 25 MiB, GitHub's limit for a webhook payload and the largest of the eight vendors'."""


@attrs.frozen(kw_only=True)
class ApiSettings:
    """Settings of the HTTP API."""

    max_body_bytes: int = attrs.field(default=DEFAULT_BODY_LIMIT, validator=attrs.validators.ge(1))
    """A longer request body is answered 413."""
    webhook_rate_limit: str | None = "6000/minute"
    """The rate limit of a webhook URL, per provider and tenant, in the notation of `limits`; None for no limit."""
    version: str = "0"
    """The service's version, as shown at `/` and in the OpenAPI document."""
