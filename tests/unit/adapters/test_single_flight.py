"""Work that several threads need at the same time is done by one of them."""

import threading

import pytest

from connectors.adapters.system.single_flight import ThreadSingleFlight
from connectors.domain.model.errors import ProviderUnavailableError

FOLLOWERS = 5


class Key:
    """A key that counts its lookups, so that a test can wait until every thread has joined."""

    def __init__(self):
        self.lookups = threading.Semaphore(0)

    def __hash__(self):
        self.lookups.release()
        return 1

    def wait_for(self, count):
        for _ in range(count):
            assert self.lookups.acquire(timeout=10)


def fly(outcome):
    """What one leader and several followers get of this work, which only the leader does."""
    flights, key, done, got = ThreadSingleFlight(), Key(), [], []

    def work():
        done.append(threading.current_thread())
        for one in threads:
            one.start()
        key.wait_for(1 + FOLLOWERS)
        return outcome()

    def join():
        try:
            got.append(flights.join(key, work))
        except BaseException as error:  # noqa: BLE001 - the test checks it
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
    """The work is done once, and every thread gets its result."""
    assert fly(lambda: "tokens") == ["tokens"] * (1 + FOLLOWERS)


def test_all_fail_with_the_first_one():
    """All threads that waited get the same error, and the next call tries again."""
    error = ProviderUnavailableError("No answer.")

    def fail():
        raise error

    assert fly(fail) == [error] * (1 + FOLLOWERS)


def test_an_interrupt_is_raised_in_its_own_thread_only():
    """The threads that waited for the interrupted one get a ProviderUnavailableError."""

    def interrupt():
        raise KeyboardInterrupt

    got = fly(interrupt)
    assert sum(isinstance(one, KeyboardInterrupt) for one in got) == 1
    assert sum(isinstance(one, ProviderUnavailableError) for one in got) == FOLLOWERS


def test_other_work_does_not_wait():
    """Work for another key is done at the same time."""
    flights = ThreadSingleFlight()
    with pytest.raises(ZeroDivisionError):
        flights.join("one", lambda: flights.join("two", lambda: 1 / 0))
    assert flights.join("one", lambda: flights.join("two", lambda: 2)) == 2
