"""Reading the single things of a page so that one that fails does not keep the page from going on."""

from datetime import datetime
from typing import TypeVar

from connectors.domain.model.errors import AccessLostError, ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import ParkedItem

T = TypeVar("T")

MOST_UNAVAILABLE = 3
"""So many things in a row that the provider cannot give now: it is not the things."""


class ItemGuard:
    """Reads the things of one page, and keeps those that cannot be read."""

    def __init__(self) -> None:
        self.parked: list[ParkedItem] = []
        """What could not be read, in order."""
        self._unavailable = 0

    def read(
        self, reference: str, conversation: Conversation[T], between: tuple[datetime, datetime] | None = None
    ) -> Conversation[T | None]:
        """What the conversation returns; None if the thing cannot be read now, and then it is parked.

        Args:
            reference: of the thing, for `Streams.read_item`.
            conversation: reads it.
            between: see `ParkedItem`.

        Raises:
            ProviderUnavailableError: it is the third thing in a row that the provider could not give.
            ConnectorsError: what concerns the whole connection: limits, dead tokens.
        """
        try:
            value = yield from conversation
        except ProviderUnavailableError as error:
            self._unavailable += 1
            if self._unavailable >= MOST_UNAVAILABLE:
                raise
            self.park(reference, error.message, between)
            return None
        except (AccessLostError, UnexpectedResponseError) as error:
            self._unavailable = 0
            self.park(reference, error.message, between)
            return None
        self._unavailable = 0
        return value

    def park(self, reference: str, reason: str, between: tuple[datetime, datetime] | None = None) -> None:
        """Park a thing that was given and cannot be understood."""
        self.parked.append(ParkedItem(reference=reference, reason=reason, between=between))
