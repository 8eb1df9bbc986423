"""Figures about the database for operators."""

from collections.abc import Mapping
from datetime import timedelta

import attrs

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ending import HeldKind
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.stream_state import StreamStatus
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
    """Gaps that are stored in the connections' coverage."""
    streams: Mapping[tuple[ProviderSlug, StreamStatus], int]
    """Of active connections, discovery included."""
    longest_unread: Mapping[ProviderSlug, timedelta]
    """How long ago the stream of each provider that has waited longest was read; without those that only give names."""
    held: Mapping[tuple[ProviderSlug, HeldKind, str], int]
    """What we have at vendors, or may have left there, by its state."""
    longest_ending: timedelta
    """How long the oldest thing has been ending that has to go at a vendor; zero if there is none."""
    parked_items: Mapping[ProviderSlug, int]
    """Single things that could not be read, and are asked for again."""
