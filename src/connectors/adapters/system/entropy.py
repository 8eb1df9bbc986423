"""Randomness from the operating system, and UUIDv7 (RFC 9562)."""

import secrets
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

import uuid_utils.compat as uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RAND_A_SHIFT = 64
_RAND_A_MASK = 0xFFF << _RAND_A_SHIFT
_RAND_B_TOP = 1 << 61
_STEP_BITS = 32
"""Bits of the random step between ids of one instant: 2^29 steps fit before the 62 bits of `rand_b` could overflow."""


class SystemEntropy:
    """An `Entropy` on the system's CSPRNG. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last_at: datetime | None = None
        self._last = 0

    def token(self, size: int = 32) -> str:
        """`size` random bytes from the system's CSPRNG as unpadded base64url."""
        return secrets.token_urlsafe(size)

    def fraction(self) -> float:
        """A random number from 0 to below 1, for jitter."""
        return secrets.randbelow(1 << 53) / (1 << 53)

    def uuid7(self, at: datetime) -> UUID:
        """A fresh UUIDv7 (RFC 9562 §5.7) for that instant: later ones sort later.

        The fraction of the millisecond is in `rand_a` (§6.2, method 3), so instants a microsecond apart sort by time.
        Ids made in a row for the same instant ascend too (method 2).

        Raises:
            ValueError: the instant is naive or before 1970.
        """
        if at.tzinfo is None or at < _EPOCH:
            raise ValueError("a UUIDv7 needs an aware instant since 1970")
        with self._lock:
            value = self._last + 1 + secrets.randbits(_STEP_BITS) if at == self._last_at else _uuid7_of(at)
            self._last_at, self._last = at, value
        return UUID(int=value)


def _uuid7_of(at: datetime) -> int:
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)
    fraction = (microseconds % 1000) * 4096 // 1000
    value = uuid_utils.uuid7(nanoseconds=microseconds * 1000).int
    # Given a time, the library fills rand_a at random, so it is set here. The top bit of rand_b stays clear, so that
    # ids can grow.
    return (value & ~_RAND_A_MASK & ~_RAND_B_TOP) | (fraction << _RAND_A_SHIFT)
