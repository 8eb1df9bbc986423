"""The vault's keys: several, each with an id, so that keys can be rotated without downtime."""

import base64
import binascii
import re
import secrets

import attrs

KEY_SIZE = 32
"""Bytes: AES-256."""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_FORM = "id:base64(32 bytes), comma-separated"


def generate_key(key_id: str) -> str:
    """A fresh key as one entry of `POBLYSH_VAULT_KEYS`: `id:base64`.

    Raises:
        ValueError: the id is not 1 to 32 of the characters A-Z a-z 0-9 _ -.
    """
    _check_id(key_id, 1)
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode()}"


@attrs.frozen
class KeyRing:
    """Keys by id. The first encrypts; all of them decrypt."""

    _keys: dict[str, bytes] = attrs.field(repr=lambda keys: f"<{', '.join(keys)}>")

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """The key ring described by a text such as `2026:…,2025:…`.

        Args:
            text: entries of an id, a colon and the standard base64 of 32 bytes; newest first.

        Raises:
            ValueError: which entry is wrong and how, without any part of a key.
        """
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(text.split(","), start=1):
            key_id, colon, encoded = entry.strip().partition(":")
            if not colon:
                raise ValueError(f"entry {number} is not {_FORM}")
            _check_id(key_id, number)
            if key_id in keys:
                raise ValueError(f"entry {number} has the same id as an earlier one")
            keys[key_id] = _read_key(encoded, number)
        return cls(keys)

    @property
    def current_id(self) -> str:
        """The id of the key that encrypts."""
        return next(iter(self._keys))

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, newest first."""
        return tuple(self._keys)

    def find(self, key_id: str) -> bytes | None:
        """The key with this id, or None."""
        return self._keys.get(key_id)


def _check_id(key_id: str, number: int) -> None:
    # The text before the colon may be a key that was pasted in the wrong order, so it is not repeated.
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError(f"the id of entry {number} is not 1 to 32 of the characters A-Z a-z 0-9 _ -")


def _read_key(encoded: str, number: int) -> bytes:
    try:
        key = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the key of entry {number} is not base64") from None
    if len(key) != KEY_SIZE:
        raise ValueError(f"the key of entry {number} has {len(key)} bytes, not {KEY_SIZE}")
    return key
