"""Figures about the database for operators."""

from collections.abc import Mapping
from datetime import timedelta

import attrs

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.model.webhook import SubscriptionStatus


@attrs.frozen(kw_only=True)
class Statistics:
    """All tenants together, at one instant. Zero counts are left out."""

    unfinished_jobs: Mapping[tuple[ProviderSlug, JobType, JobStatus], int]
    longest_waits: Mapping[ProviderSlug, timedelta]
    """How long the oldest job of each provider has waited without having begun."""
    connections: Mapping[tuple[ProviderSlug, ConnectionStatus], int]
    subscriptions: Mapping[tuple[ProviderSlug, SubscriptionStatus], int]
    """Without the ended ones."""
    earliest_expiries: Mapping[ProviderSlug, timedelta]
    """The time until the first active subscription of each provider expires; negative if it has expired."""
    open_gaps: int
    """Gaps in the connections' coverage."""
