"""What several threads want at once is done by one of them."""

import threading

import pytest

from connectors.domain.flows.provider_access.single_flight import SingleFlight
from connectors.domain.model.errors import ProviderUnavailableError

FOLLOWERS = 5


class Key:
    """A key that knows how often it was looked up, by which time whoever did it has joined."""

    def __init__(self):
        self.looks = threading.Semaphore(0)

    def __hash__(self):
        self.looks.release()
        return 1

    def wait_for(self, count):
        for _ in range(count):
            assert self.looks.acquire(timeout=10)


def fly(outcome):
    """One leader and several followers; how often work was done, and what the leader and the followers got."""
    flights, key, done, got = SingleFlight(), Key(), [], []

    def work():
        done.append(threading.current_thread())
        for one in threads:
            one.start()
        key.wait_for(2 + FOLLOWERS)  # the leader looks it up and enters it
        return outcome()

    def join():
        try:
            got.append(flights.join(key, work))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            got.append(error)

    threads = [threading.Thread(target=join) for _ in range(FOLLOWERS)]
    join()
    for one in threads:
        one.join(10)
    mine = threading.current_thread()
    assert done == [mine]
    assert flights.join(key, lambda: "again") == "again"
    return got


def test_all_get_what_the_first_one_got():
    """The work is done once, and everybody has its result."""
    assert fly(lambda: "tokens") == ["tokens"] * (1 + FOLLOWERS)


def test_all_fail_with_the_first_one():
    """What went wrong for one went wrong for all who waited, and the next one may try again."""
    error = ProviderUnavailableError("No answer.")

    def fail():
        raise error

    assert fly(fail) == [error] * (1 + FOLLOWERS)


def test_an_interrupt_stays_where_it_hit():
    """Who waited for a thread that was interrupted is told that the work did not come to its end."""

    def interrupt():
        raise KeyboardInterrupt

    got = fly(interrupt)
    assert sum(isinstance(one, KeyboardInterrupt) for one in got) == 1
    assert sum(isinstance(one, ProviderUnavailableError) for one in got) == FOLLOWERS


def test_other_work_does_not_wait():
    """Work for another key is done meanwhile."""
    flights = SingleFlight()
    with pytest.raises(ZeroDivisionError):
        flights.join("one", lambda: flights.join("two", lambda: 1 / 0))
    assert flights.join("one", lambda: flights.join("two", lambda: 2)) == 2
