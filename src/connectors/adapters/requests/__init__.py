"""All outbound HTTP: provider APIs and token endpoints, on requests and requests-oauthlib."""

from connectors.adapters.requests.provider_api import RequestsProviderApi
from connectors.adapters.requests.token_endpoint import RequestsTokenEndpoint
from connectors.adapters.requests.transport import OutboundLimits, Transport

__all__ = ["OutboundLimits", "RequestsProviderApi", "RequestsTokenEndpoint", "Transport"]
