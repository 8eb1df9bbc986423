"""What the worlds of all providers share: clock, random numbers, faults, deliveries, the log of requests."""

import random
import string
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import attrs

from connectors_sandbox.clock import SandboxClock
from connectors_sandbox.delivery import DeliveryService
from connectors_sandbox.families import TokenFamilies
from connectors_sandbox.faults import FaultBook

ALPHANUMERIC: Final = string.ascii_letters + string.digits

REQUEST_LOG_LENGTH: Final = 20_000
"""Requests kept in memory; enough for a backfill of two million items at 100 a page."""


@attrs.frozen(kw_only=True)
class StandingHook:
    """A hook, channel or watch that an app made and that sends events now."""

    id: str
    """Unique at its vendor."""
    target: str
    """What it tells of: a repository, a site, a resource."""
    address: str
    """The URL, or Gmail's topic."""
    maker: str | None = None
    """The user whose tokens alone can remove it; None: whoever administers the target."""
    expires_at: datetime | None = None


class World(Protocol):
    """One provider's state, as the control pages and tests see it."""

    @property
    def families(self) -> TokenFamilies:
        """What consents gave, ended families too."""

    def live_hooks(self) -> list[StandingHook]:
        """What an app made and what sends events now; nothing that people set up by hand."""

    def describe(self) -> Mapping[str, Any]:
        """The contents of the index page: a JSON object without secrets."""

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the control endpoints may call, by name."""


@attrs.frozen
class LoggedRequest:
    """One request that reached the sandbox."""

    at: datetime
    provider: str
    method: str
    path: str
    """The path below the provider's mount, as in `/api/v3/user`."""
    query: str = attrs.field(repr=False)
    status: int
    """0 if the connection was reset instead of answered."""


@attrs.define(eq=False)
class SandboxCore:
    """The shared parts that worlds use."""

    clock: SandboxClock
    faults: FaultBook
    deliveries: DeliveryService
    random: random.Random
    url: str
    """The sandbox's scheme, host and port, without a trailing slash."""
    auto_consent: bool = False
    """Authorize endpoints answer immediately, as if the user had allowed everything."""
    page_caps: dict[str, int] = attrs.field(factory=dict)
    """Provider → the most items that a page of its lists holds, however many are asked for. Only for lists whose
    vendor may return fewer than asked."""
    index_lags: dict[str, timedelta] = attrs.field(factory=dict)
    """Provider → how long its lists and searches do not show a change yet. Only where the vendor's indexes lag."""
    requests: deque[LoggedRequest] = attrs.field(factory=lambda: deque(maxlen=REQUEST_LOG_LENGTH), repr=False)

    def base_url(self, provider: str) -> str:
        """The URL of `provider`, as in `http://127.0.0.1:9100/github`."""
        return f"{self.url}/{provider}"

    def page_size(self, provider: str, asked: int) -> int:
        """How many items a page holds if that many are asked for."""
        return min(asked, self.page_caps.get(provider, asked))

    def is_indexed(self, provider: str, changed_at: datetime) -> bool:
        """Whether the provider's lists show a change of that instant by now."""
        return changed_at + self.index_lags.get(provider, timedelta()) <= self.clock.now()

    def random_string(self, length: int, alphabet: str = ALPHANUMERIC) -> str:
        """A token body that is the same in every run: it comes from the sandbox's seed."""
        return "".join(self.random.choices(alphabet, k=length))

    def requests_to(self, provider: str, path_prefix: str = "", method: str | None = None) -> list[LoggedRequest]:
        """The logged requests of one provider, oldest first."""
        return [
            request
            for request in tuple(self.requests)
            if request.provider == provider
            and request.path.startswith(path_prefix)
            and method in (None, request.method)
        ]
