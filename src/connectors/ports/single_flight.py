"""One call for all callers in this process that ask for the same thing at the same time."""

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

T = TypeVar("T")


class SingleFlight(Protocol):
    """Work under way in this process, by what it is for. Processes do not share theirs: a lease keeps those apart."""

    def join(self, key: Hashable, work: Callable[[], T]) -> T:
        """The result of the work, done here unless another caller is already doing it for the same key.

        Args:
            key: what the work is for. It begins with a name of its own, because all flows share one port.
            work: returns the result; may take as long as an HTTP call.

        Raises:
            Exception: whatever the work raised, for every caller that waited for it.
            ProviderUnavailableError: the caller that did the work was interrupted.
        """
        ...
