"""Background work's promise to the vendors' limits, kept by all workers together."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import RateLimitedError
from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import Reach, Spending, spending_of
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider
from connectors.ports.clock import Clock
from connectors.ports.telemetry import Telemetry
from connectors.ports.unit_of_work import UnitOfWorkFactory

RESERVE = "reserve"
"""The `scope` of a RateLimitedError that only says: leave the rest of the quota to others. Interactive calls go on."""

ALL = "*"
"""What stands for the budget in the key of a pause that names none."""

FIRST_PATIENCE = timedelta(seconds=2)
"""How long the first request of a page may be held back: a little more than what lies between two writes at GitHub.
Longer waits are stored on the job: no thread sleeps them."""

LATER_PATIENCE = timedelta(seconds=15)
"""How long each further request of a page may be: giving up here would throw away what the page has spent already."""

PAUSE_LOOK = timedelta(seconds=1)
"""How often requests that count against nothing look whether others were told to wait. A look is a transaction."""


@attrs.define(kw_only=True)
class Meter:
    """Watches over what one piece of background work asks of a vendor."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    telemetry: Telemetry
    provider: Provider
    subjects: Mapping[Reach, str]
    """Whose limits it uses."""
    reserve: RateLimitedError | None = None
    """Why nothing more may be asked for now: only the reserve is left."""
    is_under_way: bool = False
    looked_at: datetime | None = None
    """When it was last looked whether anybody has to wait."""

    def begin(self) -> None:
        """The next request is a page's first."""
        self.is_under_way = False

    def admit(self, request: HttpRequest) -> None:
        """Return when the request may go out.

        Raises:
            RateLimitedError: that would take too long to wait for here.
        """
        if self.reserve is not None:
            raise self.reserve
        now = self.clock.now()
        spendings = self._spendings(request)
        is_counted = any(one.interval is not None for one in spendings)
        patience = LATER_PATIENCE if self.is_under_way else FIRST_PATIENCE
        self.is_under_way = True
        if not is_counted and self.looked_at is not None and now - self.looked_at < PAUSE_LOOK:
            return
        with self.unit_of_work() as uow:
            at = uow.limits.spend(spendings, now=now, patience=patience)
        self.looked_at = now
        wait = at - now
        if wait > patience:
            budgets = self.provider.limits.budgets(request)
            self.telemetry.limited(self.provider.slug, budgets[0].reach if budgets else Reach.GRANT, wait)
            raise RateLimitedError(f"{self.provider.name}'s limits want a pause.", retry_at=at)
        if wait > timedelta(0):
            self.clock.sleep(wait)

    def heed(self, refusal: RateLimitedError) -> None:
        """Let everybody wait whom the vendor's refusal concerns."""
        if refusal.scope == RESERVE:
            self.reserve = refusal
        self.telemetry.limited(self.provider.slug, refusal.reach, refusal.retry_at - self.clock.now())
        with self.unit_of_work() as uow:
            uow.limits.pause(self._key(refusal.reach, refusal.scope or ALL), until=refusal.retry_at)

    def _spendings(self, request: HttpRequest) -> list[Spending]:
        pauses = {self._key(reach, name): None for reach in self.subjects for name in (ALL, RESERVE)}
        budgets = {self._key(budget.reach, budget.name): budget for budget in self.provider.limits.budgets(request)}
        return [
            *(Spending(key=key) for key in pauses if key not in budgets),
            *(spending_of(budget, key) for key, budget in budgets.items()),
        ]

    def _key(self, reach: Reach, name: str) -> str:
        return f"{self.provider.slug}:{reach}:{self.subjects[reach]}:{name}"


def meter_subjects(app: ProviderApp, connection: Connection) -> dict[Reach, str]:
    """Whose limits a connection's work uses. Account and app are hashed: their ids are other systems' business."""
    return {
        Reach.GRANT: str(connection.grant_id or connection.id),
        Reach.ACCOUNT: _short(f"{app.client_id}|{connection.account.id}"),
        Reach.APP: _short(app.client_id),
    }


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]
