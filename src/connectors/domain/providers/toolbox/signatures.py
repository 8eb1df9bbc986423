"""Checks that a request carries a value made with one of our secrets, comparing bytes in constant time."""

import hashlib
import hmac
from collections.abc import Callable, Iterable

from connectors.domain.model.secret import Secret


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """The HMAC-SHA256 of the message (RFC 2104)."""
    return hmac.digest(key, message, hashlib.sha256)


def hmac_sha256_hex(key: bytes, message: bytes) -> bytes:
    """`hmac_sha256` as lower-case hexadecimal digits."""
    return hmac_sha256(key, message).hex().encode()


def is_made_with(secrets: Iterable[Secret], claimed: str | bytes, make: Callable[[bytes], bytes]) -> bool:
    """Whether `make` gives the claimed value for one of the secrets. An empty secret proves nothing.

    Every secret is tried, so that the time taken does not reveal which one matched. Digests are compared, so that it
    does not reveal the length of the right value.

    Args:
        secrets: those that are valid now; two while one is being replaced.
        claimed: the value in the request. The sender chose it, so a text may hold any character.
        make: the right value for a secret's bytes.
    """
    digest = _digest(claimed.encode(errors="replace") if isinstance(claimed, str) else claimed)
    matches = [
        hmac.compare_digest(_digest(make(secret.reveal_bytes())), digest) for secret in secrets if secret.reveal()
    ]
    return any(matches)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
