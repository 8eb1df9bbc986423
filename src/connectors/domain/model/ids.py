"""Identifiers, one type each, so that the type checker notices a tenant passed for a connection."""

from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
ConnectionId = NewType("ConnectionId", UUID)
GrantId = NewType("GrantId", UUID)
SubscriptionId = NewType("SubscriptionId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
SignalId = NewType("SignalId", UUID)
JobId = NewType("JobId", UUID)

ProviderSlug = NewType("ProviderSlug", str)
"""`github`, `google-drive`, …: lower-case words joined by hyphens, as they appear in URLs."""

UNROUTED = TenantId(UUID(int=0))
"""Owner of verified deliveries that name an account nobody has connected here (Slack sends those)."""
