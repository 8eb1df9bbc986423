"""Concurrency: no tenant and no provider takes more slots than the operator grants it."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.stream_state import AccountState
from connectors.domain.model.sync import JobFilter, JobStatus, JobType
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork

SHORTEST_WAIT = timedelta(milliseconds=500)
"""The shortest pause before a job that found no free slot tries again; most time slices are longer."""

LONGEST_WAIT = timedelta(seconds=15)
"""The longest such pause. Every time slice that ends frees a slot."""

_FIRST_QUEUED = PageRequest(limit=50)
"""How many of a tenant's queued jobs `yield_slot` looks at to find one that could run."""


@attrs.frozen(kw_only=True)
class ConcurrencySettings:
    """How many connections may be read at once, in all workers together."""

    per_tenant: int = 4
    per_provider: int | None = None
    """None: no limit."""
    providers: Mapping[ProviderSlug, int] = attrs.field(factory=dict)
    """Limits of single providers, instead of `per_provider`."""


@attrs.frozen(kw_only=True)
class Concurrency:
    """Decides whether a connection may be read now."""

    settings: ConcurrencySettings
    entropy: Entropy

    def wait_for(self, uow: UnitOfWork, account: AccountState, *, is_history_only: bool) -> timedelta:
        """How long the connection has to wait at least; zero if it may be read, and then the caller marks it as such.

        One that is marked already has no worker any more: its own slot does not count.
        """
        if self._is_full(uow, account, is_history_only=is_history_only):
            return SHORTEST_WAIT + (LONGEST_WAIT - SHORTEST_WAIT) * self.entropy.fraction()
        return timedelta(0)

    def yield_slot(self, uow: UnitOfWork, account: AccountState, *, is_history_only: bool, now: datetime) -> timedelta:
        """How long a connection whose time slice is over waits before the next one.

        Zero if no other connection needs the slot. Else long enough for those that wait to try again: they try only
        every few seconds, and without the pause this one would keep its slot until it is done. What is new does not
        yield to history.
        """
        if not self._is_full(uow, account, is_history_only=is_history_only, besides=1):
            return timedelta(0)
        waiting = uow.jobs.list_page(account.tenant_id, _FIRST_QUEUED, JobFilter(status=JobStatus.QUEUED)).items
        is_needed = any(
            other.connection_id != account.connection_id
            and (other.retry_after is None or other.retry_after <= now)
            and (is_history_only or other.type is not JobType.BACKFILL)
            for other in waiting
        ) or (self._slots_of(account) is not None and self._is_provider_wanted(uow, account, is_history_only))
        return LONGEST_WAIT if is_needed else timedelta(0)

    @staticmethod
    def _is_provider_wanted(uow: UnitOfWork, account: AccountState, is_history_only: bool) -> bool:  # noqa: FBT001 - private
        """Whether jobs of other connections of the provider, of any tenant, are queued."""
        jobs = uow.jobs.list_unfinished(account.tenant_id, account.connection_id)
        own = Counter(job.type for job in jobs if job.status is JobStatus.QUEUED)
        return any(
            provider == account.provider
            and status is JobStatus.QUEUED
            and number > own[job_type]
            and (is_history_only or job_type is not JobType.BACKFILL)
            for (provider, job_type, status), number in uow.jobs.count_unfinished().items()
        )

    def _slots_of(self, account: AccountState) -> int | None:
        return self.settings.providers.get(account.provider, self.settings.per_provider)

    def _is_full(self, uow: UnitOfWork, account: AccountState, *, is_history_only: bool, besides: int = 0) -> bool:
        """Whether the tenant or the provider has no slot left for it.

        Args:
            uow: the caller's transaction.
            account: whose slot.
            is_history_only: history leaves one slot free for what is new.
            besides: how many slots it has that are not counted.
        """
        own = account.running_since is not None
        limits = [(uow.accounts.count_running(tenant_id=account.tenant_id) - own, self.settings.per_tenant)]
        of_provider = self._slots_of(account)
        if of_provider is not None:
            limits.append((uow.accounts.count_running(provider=account.provider) - own, of_provider))
        return any(
            running + besides >= (slots - 1 if is_history_only and slots > 1 else slots) for running, slots in limits
        )
