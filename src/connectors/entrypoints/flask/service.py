"""What handlers use."""

import attrs
from prometheus_client import CollectorRegistry

from connectors.adapters.system.operators import OperatorTokens
from connectors.entrypoints.flask.limiting import DeliveryLimiter
from connectors.entrypoints.flask.settings import ApiSettings
from connectors.entrypoints.library import Connectors


@attrs.frozen(kw_only=True)
class Service:
    """One running API: its system, its operators, its settings."""

    connectors: Connectors
    operators: OperatorTokens
    settings: ApiSettings
    limiter: DeliveryLimiter
    openapi: bytes = attrs.field(repr=False)
    """The OpenAPI document as JSON."""
    metrics: CollectorRegistry
    """What `/metrics` shows."""
