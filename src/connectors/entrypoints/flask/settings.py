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
    """How many verified deliveries a tenant may get of a provider, and how many requests of all senders may prove
    nothing, in the notation of `limits`; None for no limit."""
    trusted_proxy_hops: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    """How many proxies of the operator's a request passes, each of which adds to `X-Forwarded-For`."""
    version: str = "0"
    """The service's version, as shown at `/` and in the OpenAPI document."""
