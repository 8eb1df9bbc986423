"""The columns of Jira's table of events."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import attrs

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.toolbox.rules import EventRule


class Payload(Protocol):
    """A class of payloads."""

    @classmethod
    def read(cls, value: Any) -> Self | None:
        """The payload, or None if the value has no id."""


P = TypeVar("P", bound=Payload)


@attrs.frozen(kw_only=True)
class JiraRule(EventRule[P]):
    """How one of Jira's events becomes a signal. `make` is called with the payload and a `signals.Drafter`."""

    member: str
    """The member of the delivery that holds the payload."""
    key: str
    """The signal's dedupe key, after the site: `{id}` is the subject's, `make` supplies any other field."""
    is_dynamic: bool = True
    """Whether our own webhook can subscribe to it. If not, only an administrator's webhook sends it."""

    @property
    def kind(self) -> SignalKind:
        """The kind of a row that has only one."""
        (kind,) = self.kinds
        return kind

    def read(self, document: Mapping[str, Any]) -> P | None:
        """The payload in a delivery, or None if it is missing or unreadable."""
        return self.payload.read(document.get(self.member))
