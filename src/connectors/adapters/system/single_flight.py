"""One call for several threads that ask for the same thing at the same time."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from connectors.domain.model.errors import ProviderUnavailableError

T = TypeVar("T")


class ThreadSingleFlight:
    """A `SingleFlight` for the threads of one process."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Future[Any]] = {}
        self._lock = Lock()

    def join(self, key: Hashable, work: Callable[[], T]) -> T:
        """See `SingleFlight.join`."""
        mine: Future[T] = Future()
        with self._lock:
            flight: Future[T] = self._flights.setdefault(key, mine)
        if flight is not mine:
            return flight.result()
        try:
            result = work()
        except Exception as error:
            mine.set_exception(error)
            raise
        except BaseException:
            # An interrupt is meant for this thread only.
            mine.set_exception(ProviderUnavailableError("The thread that was doing this was interrupted."))
            raise
        else:
            mine.set_result(result)
            return result
        finally:
            # The next caller starts again: what has failed may work next time.
            with self._lock:
                del self._flights[key]
