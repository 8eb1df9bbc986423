"""Rate limits: background work of all workers together stays within the vendors' limits."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import LimitScope, Reservation, reservation_for
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWorkFactory

RESERVE = "reserve"
"""The `scope` of a RateLimitedError for background work only: the rest of the quota is left to interactive calls."""

ALL = "*"
"""Stands for the budget in the key of a pause that names none."""

FIRST_REQUEST_MAX_WAIT = timedelta(seconds=2)
"""How long the first request of a page may wait here: a little more than GitHub wants between two writes. Longer waits
are stored on the job, so that no thread sleeps."""

LATER_REQUEST_MAX_WAIT = timedelta(seconds=15)
"""How long each further request of a page may wait: giving up would waste the requests already made for the page."""

PAUSE_LOOK = timedelta(seconds=1)
"""How often requests that count against no budget check for pauses: each check is a transaction."""


@attrs.define(kw_only=True)
class RateLimiter:
    """Keeps one piece of background work within its vendor's limits."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    telemetry: Telemetry
    provider: Provider
    subjects: Mapping[LimitScope, str]
    """Limit scope → whose limit of that scope it uses."""
    reserve: RateLimitedError | None = None
    """Why no further request may be sent now: only the reserve is left."""
    is_under_way: bool = False
    looked_at: datetime | None = None
    """When pauses were last checked."""

    def begin(self) -> None:
        """Treat the next request as a page's first."""
        self.is_under_way = False

    def admit(self, request: HttpRequest) -> None:
        """Wait until the request may be sent.

        Raises:
            RateLimitedError: the wait would be too long for here.
        """
        if self.reserve is not None:
            raise self.reserve
        now = self.clock.now()
        reservations = self._reservations(request)
        is_counted = any(one.interval is not None for one in reservations)
        max_wait = LATER_REQUEST_MAX_WAIT if self.is_under_way else FIRST_REQUEST_MAX_WAIT
        self.is_under_way = True
        if not is_counted and self.looked_at is not None and now - self.looked_at < PAUSE_LOOK:
            return
        with self.unit_of_work() as uow:
            at = uow.limits.reserve_all(reservations, now=now, max_wait=max_wait)
        self.looked_at = now
        wait = at - now
        if wait > max_wait:
            budgets = self.provider.limits.budgets(request)
            self.telemetry.limited(self.provider.slug, budgets[0].limit_scope if budgets else LimitScope.GRANT, wait)
            raise RateLimitedError(f"{self.provider.name}'s limits require a pause.", retry_at=at)
        if wait > timedelta(0):
            self.clock.sleep(wait)

    def record_refusal(self, refusal: RateLimitedError) -> None:
        """Record a vendor's refusal, so that all work that counts against the same limit waits."""
        if refusal.scope == RESERVE:
            self.reserve = refusal
        self.telemetry.limited(self.provider.slug, refusal.limit_scope, refusal.retry_at - self.clock.now())
        with self.unit_of_work() as uow:
            uow.limits.pause(self._key(refusal.limit_scope, refusal.scope or ALL), until=refusal.retry_at)

    def _reservations(self, request: HttpRequest) -> list[Reservation]:
        pauses = {self._key(limit_scope, name): None for limit_scope in self.subjects for name in (ALL, RESERVE)}
        budgets = {
            self._key(budget.limit_scope, budget.name): budget for budget in self.provider.limits.budgets(request)
        }
        return [
            *(Reservation(key=key) for key in pauses if key not in budgets),
            *(reservation_for(budget, key) for key, budget in budgets.items()),
        ]

    def _key(self, limit_scope: LimitScope, name: str) -> str:
        return f"{self.provider.slug}:{limit_scope}:{self.subjects[limit_scope]}:{name}"


def limit_subjects(app: ProviderApp, connection: Connection) -> dict[LimitScope, str]:
    """Limit scope → whose limit a connection's work uses. Ids are hashed: the table of limits needs none in clear."""
    return {
        LimitScope.GRANT: str(connection.grant_id or connection.id),
        LimitScope.ACCOUNT: _short(f"{app.client_id}|{connection.account.id}"),
        LimitScope.APP: _short(app.client_id),
    }


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]
