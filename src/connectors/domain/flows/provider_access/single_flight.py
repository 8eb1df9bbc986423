"""Runs one call for several threads that ask for the same at the same time."""

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
        """What the work gives, done here unless another thread is doing it for the same key already.

        Raises:
            Exception: whatever the work raised, in every thread that waited for it.
            ProviderUnavailableError: the thread that did the work was told to stop.
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
            # An interrupt is meant for the thread that it met.
            mine.set_exception(ProviderUnavailableError("The one who was doing this was stopped."))
            raise
        else:
            mine.set_result(result)
            return result
        finally:
            # Who comes now begins again: what has failed may work next time.
            with self._lock:
                del self._flights[key]
