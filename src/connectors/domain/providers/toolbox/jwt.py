"""Signed tokens (JWT) that prove who sent a webhook.

The caller chooses the algorithm, never the token (RFC 8725 §3.1). Times are checked against the caller's instant; the
library would read the clock.

Source: RFC 6750 §2.1, RFC 7519 §4.1, RFC 8725.
"""

import warnings
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.instant import from_epoch_seconds

TOKEN_LIMIT = 8192
"""Characters. The longest tokens that vendors send have about 1,200."""
LATEST = 1 << 36
"""Epoch seconds, in the year 4147: still a valid date with the leeway added, and later than any real expiry."""

_UNCHECKED: Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, RecursionError)
"""What the library raises for foreign bytes: RecursionError for brackets nested thousands deep."""


def get_bearer_token(authorization: str) -> str:
    """The token of an `Authorization` header.

    Raises:
        DeliveryRejectedError: there is none, or it is too long.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LIMIT:
        raise DeliveryRejectedError("The delivery carries no bearer token.")
    return token


def read_key_id(token: str, algorithm: str) -> str | None:
    """The `kid` in the token's unverified header; None if there is none.

    Raises:
        DeliveryRejectedError: it is no JWT, or names another algorithm, so that no key needs to be fetched for it.
    """
    try:
        header = jwt.get_unverified_header(token)
    except _MALFORMED:
        raise DeliveryRejectedError("The bearer token is not a JWT.") from None
    if header.get("alg") != algorithm:
        raise DeliveryRejectedError(f"The bearer token is not signed with {algorithm}.")
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def verify_token(token: str, key: bytes | Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """The claims of a token that was signed with this key. The claims themselves are not checked.

    Args:
        token: from `get_bearer_token`.
        key: a secret's bytes, or a public key as JWK (RFC 7517).
        algorithm: the only accepted one.

    Raises:
        DeliveryRejectedError: it is not signed, or was signed with another key or algorithm.
    """
    try:
        with warnings.catch_warnings():
            if isinstance(key, Mapping):
                warnings.simplefilter("error")  # the library warns about public keys that are too weak
                return jwt.decode(token, jwt.PyJWK(dict(key), algorithm), algorithms=[algorithm], options=_UNCHECKED)
            return jwt.decode(token, key, algorithms=[algorithm], options=_UNCHECKED)
    except (*_MALFORMED, Warning):
        raise DeliveryRejectedError("The bearer token is not valid.") from None


def verify_times(claims: Mapping[str, Any], now: datetime, leeway: timedelta) -> None:
    """Check that the token is valid at this instant.

    Args:
        claims: `exp` is required; `nbf` and `iat` are checked if present.
        now: aware UTC instant.
        leeway: how far the vendor's clock and ours may differ.

    Raises:
        DeliveryRejectedError: it has expired, is from the future, or has an unreadable time.
    """
    expires_at = _read_instant(claims.get("exp"))
    if expires_at is None:
        raise DeliveryRejectedError("The bearer token does not say how long it is valid.")
    if now >= expires_at + leeway:
        raise DeliveryRejectedError("The bearer token has expired.")
    for name in ("nbf", "iat"):
        starts_at = _read_instant(claims.get(name))
        if name in claims and (starts_at is None or starts_at > now + leeway):
            raise DeliveryRejectedError("The bearer token is from the future.")


def _read_instant(value: Any) -> datetime | None:
    """The instant of a NumericDate (RFC 7519 §2); None if it is none or out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LATEST:
        return None
    return from_epoch_seconds(value)
