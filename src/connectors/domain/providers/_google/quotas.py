"""How much Google allows: for each API a quota per minute of a user, one per minute of our project, and one per day.

The numbers are those of projects made since May 2026, the lowest of any project. Each API has its own table of what a
request costs: some count requests, some count units.

Source: developers.google.com/workspace/drive/api/guides/limits, …/calendar/api/guides/quota and
…/gmail/api/reference/quota.
"""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import attrs

from connectors.domain.model.http import HttpRequest
from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers._google.hosts import Endpoint

USER = "user"
"""A Google account's quota per minute."""
PROJECT = "project"
"""Our Cloud project's quota per minute, for all accounts together."""
DAY = "project_day"
"""Our Cloud project's quota per day."""

BURST_SHARE = 10
"""A tenth of a quota may be used at once; the rest is spread evenly, so that nobody waits long."""


@attrs.frozen(kw_only=True)
class Quota:
    """What one of Google's APIs allows, in its own units."""

    endpoint: Endpoint
    """Only requests to this endpoint count; others (tokens, identity) do not."""
    user_minute: int
    project_minute: int
    project_day: int
    page: int
    """The most that one page of a sync run, or its start, takes of a user's minute: so much may always be used at
    once."""
    cost: Callable[[str], int] = lambda path: 1
    """What a request costs, by the path below the API's root (`/changes`)."""
    user_reasons: frozenset[str] = frozenset()
    """Reasons that mean a user's limit in this API, and the project's in others."""

    def counts(self, request: HttpRequest) -> bool:
        """Whether the request goes to this API."""
        return self.endpoint in urlsplit(request.url).path

    def budgets(self, request: HttpRequest) -> tuple[Budget, ...]:
        """What the request counts against."""
        if not self.counts(request):
            return ()
        cost = self.cost(urlsplit(request.url).path.partition(self.endpoint)[2])
        minute, day = timedelta(minutes=1), timedelta(days=1)
        burst = max(self.user_minute // BURST_SHARE, self.page)
        return (
            _budget(USER, LimitScope.ACCOUNT, self.user_minute, minute, burst, cost),
            _budget(PROJECT, LimitScope.APP, self.project_minute, minute, self.project_minute // BURST_SHARE, cost),
            _budget(DAY, LimitScope.APP, self.project_day, day, self.project_day // BURST_SHARE, cost),
        )


def _budget(name: str, limit_scope: LimitScope, allowed: int, per: timedelta, burst: int, cost: int) -> Budget:
    return Budget(name=name, limit_scope=limit_scope, requests=allowed - burst, per=per, burst=burst, cost=cost)
