"""What Drive allows, in units: a listing costs a hundred.

Source: developers.google.com/workspace/drive/api/guides/limits.
"""

from connectors.domain.providers._google.hosts import Endpoint
from connectors.domain.providers._google.limits import google_limits
from connectors.domain.providers._google.quotas import Quota

LIST_COST = 100
"""Units of `changes.list`, `files.list` and `drives.list`, and of unlisted methods, which cost no more."""
GET_COST = 5
"""Units of reading a single thing."""
CHEAP_PATHS = frozenset({"/changes/startPageToken", "/about"})


def cost(path: str) -> int:
    """What a request costs, in units."""
    return GET_COST if path in CHEAP_PATHS else LIST_COST


QUOTA = Quota(
    endpoint=Endpoint.DRIVE,
    user_minute=325_000,
    project_minute=1_000_000,
    project_day=400_000_000,
    page=3 * LIST_COST,  # two listings, or a listing and a fresh token
    cost=cost,
)
LIMITS = google_limits(QUOTA)
