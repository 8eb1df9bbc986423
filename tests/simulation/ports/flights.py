"""`SingleFlight` under the schedule: who waits lets others go on, where threads would block."""

from collections.abc import Callable, Hashable
from typing import Any

from connectors.domain.model.errors import ProviderUnavailableError
from tests.simulation.schedule import Schedule


class SimulatedFlights:
    """`SingleFlight` of one process."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._flights: dict[Hashable, list[tuple[bool, Any]]] = {}

    def join(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """The work's result, done here unless another thread of this process is doing it."""
        flight = self._flights.get(key)
        if flight is not None:
            self._schedule.wait(lambda: bool(flight), "flight")
            succeeded, result = flight[0]
            if succeeded:
                return result
            raise result
        mine = self._flights[key] = []
        try:
            result = work()
        except Exception as error:
            mine.append((False, error))
            raise
        except BaseException:
            mine.append((False, ProviderUnavailableError("The thread that was doing this was interrupted.")))
            raise
        else:
            mine.append((True, result))
            return result
        finally:
            del self._flights[key]
