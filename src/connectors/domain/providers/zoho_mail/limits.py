"""How often Zoho Mail may be asked: about 30 calls a minute and user, then a lock.

Neither number is published; a secondary source tells of both.
"""

from datetime import timedelta

from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers._zoho.limits import zoho_limits
from connectors.domain.providers.zoho_mail.oauth import NAME

LOCK = timedelta(minutes=15)
"""How long Zoho Mail refuses a user who was too fast."""

CALLS = Budget(name="calls", limit_scope=LimitScope.ACCOUNT, requests=10, burst=18)
"""30 a minute, of which two are left for clocks that differ. A page takes one; most may go out at once, because a walk
with nothing new takes one for each folder and then rests for minutes."""
API = "/api/accounts"


def find_budget(path: str) -> Budget | None:
    """The budget of a path of the REST API: the same for all."""
    return CALLS if API in path else None


LIMITS = zoho_limits(NAME, LOCK, find_budget)
