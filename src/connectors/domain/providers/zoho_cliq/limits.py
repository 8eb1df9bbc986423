"""How often Cliq may be called: for each family of endpoints so many calls per minute and user, then a lock.

Source: zoho.com/cliq/help/restapi/v2: channels, chats, messages.
"""

import re
from datetime import timedelta

from connectors.domain.model.limits import Budget, LimitScope
from connectors.domain.providers._zoho.limits import zoho_limits
from connectors.domain.providers.zoho_cliq.oauth import NAME

LOCK = timedelta(minutes=10)
"""How long Cliq refuses calls after too many: 5 or 10 minutes, by endpoint; 10 for messages and chats."""

CHANNELS = Budget(name="channels", limit_scope=LimitScope.ACCOUNT)
"""No number is known."""
CHATS = Budget(name="chats", limit_scope=LimitScope.ACCOUNT, requests=6, burst=12)
"""20 per minute. Two are left for clocks that differ and requests that overtake each other."""
MESSAGES = Budget(name="messages", limit_scope=LimitScope.ACCOUNT, requests=8, burst=5)
"""15 per minute, of which two are left for the same reason. A page takes one."""

FAMILIES = (
    (re.compile(r"/api/v2/chats/[^/]+/messages(?:/|$)"), MESSAGES),
    (re.compile(r"/api/v2/chats(?:/|$)"), CHATS),
    (re.compile(r"/api/v2/channels(?:/|$)"), CHANNELS),
)


def find_budget(path: str) -> Budget | None:
    """The budget of a path of the REST API."""
    return next((budget for pattern, budget in FAMILIES if pattern.search(path)), None)


LIMITS = zoho_limits(NAME, LOCK, find_budget)
