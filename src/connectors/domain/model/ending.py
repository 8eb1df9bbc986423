"""What has to go at a vendor: a token set, a webhook subscription. It stays on record until its end is proven."""

from datetime import datetime
from enum import StrEnum

import attrs

from connectors.domain.model.instant import utc


class HeldKind(StrEnum):
    """What of ours can be at a vendor."""

    TOKEN = "token"  # noqa: S105 - a kind's name
    """The tokens of one consent."""
    HOOK = "hook"
    """A webhook subscription, a channel, a watch."""


@attrs.frozen(kw_only=True)
class Ending:
    """That something of ours has to go at its vendor, and what became of it so far."""

    since: datetime = attrs.field(converter=utc)
    failures: int = 0
    """How often it could not be ended."""
    error: str | None = None
    """Why the last try failed, or what may be left."""

    def failed(self, error: str) -> "Ending":
        """After one more failure."""
        return attrs.evolve(self, failures=self.failures + 1, error=error)
