"""Who may call the API: operator tokens, stored only as SHA-256 digests."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.model.ids import TenantId

_DIGEST_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_ENTRY_KEYS = frozenset({"name", "token", "token_sha256", "permissions", "tenants"})


class Permission(StrEnum):
    """What an operator may do. No permission implies another."""

    READ = "read"
    """Read connections, signals, jobs and deliveries."""
    WRITE = "write"
    """Register tenants, connect, disconnect, refresh, sync, replay."""
    ADMIN = "admin"
    """Delete tenants."""


ALL_PERMISSIONS = frozenset(Permission)


@attrs.frozen(kw_only=True)
class Operator:
    """A trusted caller."""

    name: str
    permissions: frozenset[Permission] = ALL_PERMISSIONS
    tenants: frozenset[TenantId] | None = None
    """The only tenants it may act for; None means all."""

    def may(self, permission: Permission) -> bool:
        """Whether it has the permission."""
        return permission in self.permissions

    def may_act_for(self, tenant_id: TenantId) -> bool:
        """Whether it may act for this tenant."""
        return self.tenants is None or tenant_id in self.tenants


@attrs.frozen
class _Entry:
    digest: bytes = attrs.field(repr=False)
    operator: Operator


@attrs.frozen(repr=False)
class OperatorTokens:
    """All operators of this service, by token."""

    _entries: tuple[_Entry, ...]

    def __attrs_post_init__(self) -> None:
        if not self._entries:
            raise ValueError("it contains no token")
        if len({entry.operator.name for entry in self._entries}) < len(self._entries):
            raise ValueError("two entries have the same name")
        if len({entry.digest for entry in self._entries}) < len(self._entries):
            raise ValueError("two entries have the same token")

    @classmethod
    def parse(cls, text: str) -> "OperatorTokens":
        """The operators of `POBLYSH_OPERATOR_TOKENS`.

        Args:
            text: a JSON array, or tokens separated by commas. An entry of the array is a token, or an object with
                `token` or `token_sha256` (64 hex digits) and, optionally, `name`, `permissions` and `tenants`. Without
                `permissions` an entry may do everything; without `tenants`, for every tenant.

        Raises:
            ValueError: which entry is wrong and how, without any part of a token.
        """
        entries = _read_array(text) if text.lstrip().startswith(("[", "{")) else _read_list(text)
        return cls(tuple(_read_entry(entry, number) for number, entry in enumerate(entries, start=1)))

    @classmethod
    def single(cls, token: str) -> "OperatorTokens":
        """One operator, called `operator`, who may do everything.

        Raises:
            ValueError: the token is empty.
        """
        return cls((_Entry(_digest(_checked_token(token, 1)), Operator(name="operator")),))

    @property
    def operators(self) -> tuple[Operator, ...]:
        """All operators, in the configured order."""
        return tuple(entry.operator for entry in self._entries)

    def authenticate(self, presented: str) -> Operator | None:
        """The operator whose token this is, or None.

        It takes equally long for any token: all digests are compared every time, in constant time.
        """
        digest = _digest(presented)
        found: Operator | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.operator
        return found

    def __str__(self) -> str:
        return "; ".join(f"{operator.name}:***" for operator in self.operators)

    def __repr__(self) -> str:
        return f"OperatorTokens({self})"


def _digest(token: str) -> bytes:
    # The caller chose the token: lone surrogates must not raise.
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _read_list(text: str) -> list[Any]:
    return [entry.strip() for entry in text.split(",")]


def _read_array(text: str) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it looks like JSON but is not valid JSON") from None
    if not isinstance(document, list):
        raise ValueError("the JSON is not an array")  # noqa: TRY004 - a wrong setting, not a wrong type of ours
    return document


def _read_entry(entry: Any, number: int) -> _Entry:
    default_name = f"operator-{number}"
    if isinstance(entry, str):
        return _Entry(_digest(_checked_token(entry, number)), Operator(name=default_name))
    if not isinstance(entry, dict):
        raise ValueError(f"entry {number} is neither a string nor an object")  # noqa: TRY004 - as above
    if entry.keys() - _ENTRY_KEYS:
        raise ValueError(f"entry {number} has members other than {', '.join(sorted(_ENTRY_KEYS))}")
    name = entry.get("name", default_name)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"the name of entry {number} is not a printable text")
    operator = Operator(
        name=name.strip(), permissions=_read_permissions(entry, number), tenants=_read_tenants(entry, number)
    )
    return _Entry(_read_digest(entry, number), operator)


def _read_digest(entry: Mapping[str, Any], number: int) -> bytes:
    if ("token" in entry) == ("token_sha256" in entry):
        raise ValueError(f"entry {number} must have one of token and token_sha256")
    if "token" in entry:
        return _digest(_checked_token(entry["token"], number))
    written = entry["token_sha256"]
    if not isinstance(written, str) or not _DIGEST_HEX.fullmatch(written):
        raise ValueError(f"token_sha256 of entry {number} is not 64 hexadecimal digits")
    return bytes.fromhex(written)


def _checked_token(token: Any, number: int) -> str:
    # Bearer tokens are sent in a header (RFC 6750 §2.1): any other token could never be used.
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"the token of entry {number} is empty or not printable ASCII without spaces")
    return token


def _read_permissions(entry: Mapping[str, Any], number: int) -> frozenset[Permission]:
    if "permissions" not in entry:
        return ALL_PERMISSIONS
    names = entry["permissions"]
    if not isinstance(names, list) or not names or not all(name in list(Permission) for name in names):
        raise ValueError(f"permissions of entry {number} is not a list of {', '.join(Permission)}")
    return frozenset(Permission(name) for name in names)


def _read_tenants(entry: Mapping[str, Any], number: int) -> frozenset[TenantId] | None:
    if "tenants" not in entry:
        return None
    listed = entry["tenants"]
    try:
        tenants = frozenset(TenantId(UUID(tenant)) for tenant in listed) if isinstance(listed, list) else frozenset()
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"tenants of entry {number} is not a list of UUIDs") from None
    if not tenants:
        raise ValueError(f"tenants of entry {number} is not a list of UUIDs, or empty; leave it out to allow all")
    return tenants
