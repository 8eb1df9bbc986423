"""How things stand in the database, in figures for operators."""

from collections.abc import Mapping
from datetime import timedelta

import attrs

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import SubscriptionStatus


@attrs.frozen(kw_only=True)
class Statistics:
    """All tenants together, as of one instant. What there is none of is missing."""

    unfinished_jobs: Mapping[tuple[ProviderSlug, JobType, JobStatus], int]
    longest_waits: Mapping[ProviderSlug, timedelta]
    """How long each provider's oldest job has waited that has not begun."""
    connections: Mapping[tuple[ProviderSlug, ConnectionStatus], int]
    subscriptions: Mapping[tuple[ProviderSlug, SubscriptionStatus], int]
    """Those that have ended are left out."""
    earliest_expiries: Mapping[ProviderSlug, timedelta]
    """Until each provider's first active subscription ends; negative once it has."""
    open_gaps: int
    """In the coverage of connections."""
