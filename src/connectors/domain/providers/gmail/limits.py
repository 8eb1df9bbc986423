"""What Gmail allows, in units: reading one message costs twenty.

Source: developers.google.com/workspace/gmail/api/reference/quota.
"""

from connectors.domain.providers._google.hosts import Endpoint
from connectors.domain.providers._google.limits import google_limits
from connectors.domain.providers._google.quotas import Quota

ROOT = "/users/me"
COSTS = {"/profile": 1, "/labels": 1, "/history": 2, "/messages": 5, "/stop": 50, "/watch": 100}
"""Units by path."""
MESSAGE_COST = 20
"""Units of `messages.get`."""
DEAREST_COST = 100
"""Units of what is not in our table: as much as the most expensive method in Gmail's."""

PAGE_SIZE = 25
"""Messages per page. Each costs a `messages.get`, and a user has 6,000 units a minute. Pages are small, so that a burst
leaves most of the minute for the steady rate."""
PAGE_COST = 2 * (COSTS["/messages"] + PAGE_SIZE * MESSAGE_COST)
"""Units of the most expensive page: two listings and all their messages."""


def cost(path: str) -> int:
    """What a request costs, in units."""
    name = path.removeprefix(ROOT)
    return MESSAGE_COST if name.startswith("/messages/") else COSTS.get(name, DEAREST_COST)


QUOTA = Quota(
    endpoint=Endpoint.GMAIL,
    user_minute=6_000,
    project_minute=1_200_000,
    project_day=80_000_000,
    page=PAGE_COST,
    cost=cost,
)
LIMITS = google_limits(QUOTA)
