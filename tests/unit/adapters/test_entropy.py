"""The system's clock and randomness."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.entropy import SystemEntropy

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

instants = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them naive


@given(at=instants)
def test_a_uuid7_contains_its_instant(at):
    """The first 48 bits are the instant's milliseconds, and version and variant are those of RFC 9562."""
    made = SystemEntropy().uuid7(at)
    assert type(made) is UUID
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(at=instants, other=instants)
def test_later_instants_sort_later(at, other):
    """Ids of two instants sort as the instants do, to the microsecond."""
    entropy = SystemEntropy()
    if at != other:
        assert (entropy.uuid7(at) < entropy.uuid7(other)) == (at < other)


def test_ids_within_a_millisecond_are_sorted():
    """Two instants inside one millisecond still sort by time."""
    entropy = SystemEntropy()
    steps = [entropy.uuid7(AT + timedelta(microseconds=n)) for n in range(2000)]
    assert steps == sorted(steps)


def test_ids_of_one_instant_ascend():
    """Ids that are made for the same instant are distinct and ascend."""
    entropy = SystemEntropy()
    made = [entropy.uuid7(AT) for _ in range(5000)]
    assert made == sorted(set(made))


def test_the_zone_does_not_matter():
    """The same instant written in another zone gives the same milliseconds."""
    there = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert SystemEntropy().uuid7(there).int >> 80 == SystemEntropy().uuid7(AT).int >> 80


@pytest.mark.parametrize("at", [AT.replace(tzinfo=None), datetime(1969, 12, 31, tzinfo=UTC)])
def test_instants_without_a_uuid7_are_refused(at):
    """A naive or too early instant raises ValueError."""
    with pytest.raises(ValueError, match="1970"):
        SystemEntropy().uuid7(at)


def test_threads_never_get_the_same_id():
    """Four threads that use the same instant get different ids."""
    entropy = SystemEntropy()
    made: list[UUID] = []
    threads = [Thread(target=lambda: made.extend(entropy.uuid7(AT) for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 2000


def test_a_token_has_the_requested_bytes():
    """A token is unpadded base64url of so many random bytes, and different each time."""
    entropy = SystemEntropy()
    token = entropy.token(32)
    assert len(token) == 43
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert token != entropy.token(32)


def test_the_clock_is_aware_and_utc():
    """The clock's instant has UTC as its zone."""
    assert SystemClock().now().tzinfo is UTC
