"""Sealed secrets as three columns."""

from typing import Any

from sqlalchemy.engine import Row

from connectors.domain.model.secret import SealedSecret


def sealed_columns(prefix: str, sealed: SealedSecret | None) -> dict[str, Any]:
    """The columns' values, by name."""
    return {
        f"{prefix}_key_id": None if sealed is None else sealed.key_id,
        f"{prefix}_nonce": None if sealed is None else sealed.nonce,
        f"{prefix}_ciphertext": None if sealed is None else sealed.ciphertext,
    }


def read_sealed(prefix: str, row: Row[Any]) -> SealedSecret | None:
    """The sealed secret in these columns; None if they are empty."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name, underscored to keep clear of columns
    if values[f"{prefix}_key_id"] is None:
        return None
    return SealedSecret(
        key_id=values[f"{prefix}_key_id"],
        nonce=bytes(values[f"{prefix}_nonce"]),
        ciphertext=bytes(values[f"{prefix}_ciphertext"]),
    )
