"""The form of a row in Jira's table of events."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import attrs

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.toolbox.rules import EventRule


class Payload(Protocol):
    """What a row's payload can be read as."""

    @classmethod
    def read(cls, value: Any) -> Self | None:
        """The payload, or None if the value does not identify one."""


P = TypeVar("P", bound=Payload)


@attrs.frozen(kw_only=True)
class JiraRule(EventRule[P]):
    """How one of Jira's events becomes a signal. `make` is called with the payload and a `signals.Drafter`."""

    member: str
    """The member of the delivery that holds the payload."""
    key: str
    """The signal's dedupe key, after the site: `{id}` is its subject's, the function supplies any other field."""
    is_dynamic: bool = True
    """Whether the webhook that we register may ask for it. If not, only an administrator's webhook sends it."""

    @property
    def kind(self) -> SignalKind:
        """The kind of a row that has one."""
        (kind,) = self.kinds
        return kind

    def read(self, document: Mapping[str, Any]) -> P | None:
        """The payload that a delivery carries, or None if it is missing or not readable."""
        return self.payload.read(document.get(self.member))
