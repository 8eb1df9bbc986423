"""How often Zoho Mail may be called: about 30 calls per minute and user, then a lock.

Neither number is published by Zoho; both are from a secondary source.
"""

from datetime import timedelta

from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers._zoho.limits import zoho_limits
from connectors.domain.providers.zoho_mail.oauth import NAME

LOCK = timedelta(minutes=15)
"""How long Zoho Mail refuses calls after too many."""

CALLS = Budget(name="calls", limit_scope=LimitScope.ACCOUNT, requests=10, burst=18)
"""30 per minute, of which two are left for clocks that differ. A page takes one. Most may be used at once, because a
read without new mail takes one for each folder and then pauses for minutes."""
API = "/api/accounts"


def find_budget(path: str) -> Budget | None:
    """The budget of a path of the REST API, the same for all."""
    return CALLS if API in path else None


LIMITS = zoho_limits(NAME, LOCK, find_budget)
