"""Secrets in two states: in plain text in memory (`Secret`), and sealed for storage (`SealedSecret`)."""

from enum import StrEnum
from uuid import UUID

import attrs

from connectors.domain.model.ids import TenantId


class Secret:
    """A plain-text secret that cannot be printed by accident.

    It has no `==`: compare secrets with `hmac.compare_digest` on the revealed bytes. It is not an attrs class: pretty
    printers look into those, and tracebacks with local variables would show it.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Store the value."""
        self.__value = value

    def reveal(self) -> str:
        """The secret itself. Call it only to send the secret or to encrypt it."""
        return self.__value

    def reveal_bytes(self) -> bytes:
        """The secret as UTF-8."""
        return self.__value.encode()

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


class SecretPurpose(StrEnum):
    """What a sealed secret is for. The cipher authenticates it: a secret of one kind never passes for another."""

    TOKEN_SET = "token_set"  # noqa: S105 - a purpose's name
    CODE_VERIFIER = "code_verifier"
    WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - a purpose's name


@attrs.frozen
class SecretContext:
    """Whose secret it is: a sealed secret opens only in the context in which it was sealed."""

    tenant_id: TenantId
    owner_id: UUID
    """The grant, subscription, connection or authorization request that the secret belongs to."""
    purpose: SecretPurpose


@attrs.frozen
class SealedSecret:
    """The ciphertext and what is needed to open it, except the key."""

    key_id: str
    nonce: bytes = attrs.field(repr=False)
    ciphertext: bytes = attrs.field(repr=False)
