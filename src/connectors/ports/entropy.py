"""Randomness and fresh identifiers."""

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Entropy(Protocol):
    """Produces values that cannot be guessed."""

    def token(self, size: int = 32) -> str:
        """`size` random bytes from the system's CSPRNG as unpadded base64url."""
        ...

    def uuid7(self, at: datetime) -> UUID:
        """A fresh UUIDv7 (RFC 9562 §5.7) for that instant: later ones sort later."""
        ...

    def fraction(self) -> float:
        """A random number from 0 to below 1, for jitter."""
        ...
