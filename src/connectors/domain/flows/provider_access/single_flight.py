"""Runs one call for several threads that ask for the same thing at the same time."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

import attrs

from connectors.domain.model.errors import ProviderUnavailableError

Result = TypeVar("Result")


@attrs.define(eq=False)
class SingleFlight(Generic[Result]):
    """The work under way in this process, by what it is for."""

    _flights: dict[Hashable, "Future[Result]"] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def join(self, key: Hashable, work: Callable[[], Result]) -> Result:
        """The result of the work, done here unless another thread is already doing it for the same key.

        Raises:
            Exception: whatever the work raised, in every thread that waited for it.
            ProviderUnavailableError: the thread that did the work was interrupted.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                mine: Future[Result] = Future()
                self._flights[key] = mine
        if flight is not None:
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
