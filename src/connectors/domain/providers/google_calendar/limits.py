"""What Calendar allows, in requests.

Source: developers.google.com/workspace/calendar/api/guides/quota and …/errors.
"""

from connectors.domain.providers._google.hosts import Endpoint
from connectors.domain.providers._google.limits import google_limits
from connectors.domain.providers._google.quotas import Quota

QUOTA = Quota(
    endpoint=Endpoint.CALENDAR,
    user_minute=600,
    project_minute=10_000,
    project_day=1_000_000,
    page=1,
    # "Calendar usage limits exceeded": one user did too much, independently of the project's quota.
    user_reasons=frozenset({"quotaExceeded"}),
)
LIMITS = google_limits(QUOTA)
