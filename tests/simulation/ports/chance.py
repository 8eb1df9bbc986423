"""Chance from the seed, and a vault that needs none."""

import random
from datetime import datetime
from uuid import UUID

import attrs

from connectors.domain.model.secret import SealedSecret, Secret, SecretContext

_RANDOM_BITS = 60


class SeededEntropy:
    """`Entropy` from the seed. Ids of one instant ascend, as the system's do."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"entropy {seed}")
        self._last = 0

    def token(self, size: int = 32) -> str:
        """Characters enough for `size` bytes as base64url."""
        return f"{self._random.getrandbits(size * 8):0{size * 2}x}"[: -(-size * 4 // 3)]

    def fraction(self) -> float:
        """From 0 to below 1."""
        return self._random.random()

    def uuid7(self, at: datetime) -> UUID:
        """A UUIDv7 of that instant (RFC 9562 §5.7), its fraction of a millisecond in `rand_a`."""
        milliseconds, rest = divmod(round(at.timestamp() * 1e6), 1000)
        fraction = rest * 4096 // 1000
        value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | self._random.getrandbits(_RANDOM_BITS)
        if value >> 64 == self._last >> 64:
            value = max(value, self._last + 1)
        self._last = value
        return UUID(int=value)


@attrs.frozen
class PlainVault:
    """`Vault` without encryption: that costs time and true randomness, and is not what is simulated."""

    def seal(self, secret: Secret, context: SecretContext) -> SealedSecret:
        """The secret as it is, bound to its context."""
        return SealedSecret(key_id="simulation", nonce=repr(context).encode(), ciphertext=secret.reveal_bytes())

    def open(self, sealed: SealedSecret, context: SecretContext) -> Secret:
        """The secret."""
        assert sealed.nonce == repr(context).encode(), "a secret was opened for another purpose than it was sealed for"
        return Secret(sealed.ciphertext.decode())
