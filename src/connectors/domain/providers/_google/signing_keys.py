"""Google's signing keys, and the signed tokens that Cloud Pub/Sub presents with each push.

Source: docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions; RFC 7517, RFC 7519, RFC 8725.
"""

import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import jwt
from jwt.types import Options

from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.http import Authorization, Conversation, HttpRequest, HttpResponse
from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.reading import read_http_date, read_id, read_objects
from connectors.domain.providers.contract import SigningKeys, unknown_key

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
"""A sequence: a claim may be of any JSON type, and a set would have to hash it."""
ALGORITHMS = ["RS256"]
"""The only one that is ever tried. A token does not choose how it is checked (RFC 8725 §3.1)."""
SKEW = timedelta(seconds=60)
"""How far Google's clock and ours may be apart."""
TOKEN_LIMIT = 8192
"""Characters. Google's push tokens have about 1,200."""
LATEST = 1 << 36
"""Epoch seconds, in the year 4147: still a date when the tolerance is added."""
MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,7})(?:$|[,\s])")


@attrs.frozen(kw_only=True)
class Expected:
    """What a push token must say."""

    audience: str
    email: str
    """The service account that the push subscription signs as. Without this check any token that Google ever signed
    for the audience would pass."""


def fetch_signing_keys(app: ProviderApp) -> Conversation[SigningKeys]:
    """Google's current key set, good for as long as its answer may be cached."""
    response = yield HttpRequest(method="GET", url=url_of(app, Endpoint.CERTS), authorization=Authorization.NONE)
    keys: dict[str, Any] = {}
    for key in read_objects(response.json_object().get("keys")):
        if (identifier := read_id(key.get("kid"))) is not None:
            keys[identifier] = key
    if not keys:
        raise UnexpectedResponseError("Google's key set has no keys.")
    return SigningKeys(keys=keys, expires_at=_cached_until(response))


def _cached_until(response: HttpResponse) -> datetime:
    """When the answer goes stale by its own headers (RFC 9111 §5.2.2.1, §5.3); at once when they do not say."""
    sent_at = read_http_date(response.headers.get("date"))
    found = MAX_AGE.search(response.headers.get("cache-control", ""))
    age = response.headers.get("age", "0").strip()
    if sent_at is not None and found is not None:
        spent = int(age) if re.fullmatch("[0-9]{1,7}", age) else 0
        return sent_at + timedelta(seconds=int(found.group(1)) - spent)
    return read_http_date(response.headers.get("expires")) or datetime.fromtimestamp(0, UTC)


def verify_push_token(
    authorization: str, keys: SigningKeys | None, expected: Expected, now: datetime
) -> Mapping[str, Any]:
    """The claims of the bearer token, every one of them checked.

    1. One RS256 signature by a key that Google publishes under the token's `kid`.
    2. `iss` is Google, `aud` is our audience.
    3. `email` is our push service account, and `email_verified` is true.
    4. `exp` is not past and `iat` not in the future, give or take `SKEW`.

    A token serves for many messages within its hour: there is no replay check, the message id is what tells them apart.

    Raises:
        DeliveryRejectedError: any of it fails; `unknown_key()` when newer keys may help.
    """
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise DeliveryRejectedError("The push carries no bearer token.")
    if len(token) > TOKEN_LIMIT:
        raise DeliveryRejectedError("The push token is too long.")
    claims = _read_signed(token, keys)
    _check_claims(claims, expected, now)
    return claims


def _read_signed(token: str, keys: SigningKeys | None) -> Mapping[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise DeliveryRejectedError("The push token is not a JWT.") from error
    if header.get("alg") not in ALGORITHMS:
        raise DeliveryRejectedError("The push token is not signed with RS256.")
    key_id = header.get("kid")
    jwk = keys.keys.get(key_id) if keys is not None and isinstance(key_id, str) else None
    if not isinstance(jwk, Mapping):
        raise unknown_key()  # newer keys may have it
    # The instants are checked against the caller's clock, not the library's.
    unchecked: Options = {
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
        "verify_aud": False,
        "verify_iss": False,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a key that the library warns of is not one of Google's
            key = jwt.PyJWK(dict(jwk), algorithm=ALGORITHMS[0])
            claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=ALGORITHMS, options=unchecked)
    except (jwt.PyJWTError, Warning, ValueError, TypeError, RecursionError) as error:
        raise DeliveryRejectedError("The push token's signature does not match.") from error
    return claims


def _check_claims(claims: Mapping[str, Any], expected: Expected, now: datetime) -> None:
    if claims.get("iss") not in ISSUERS:
        raise DeliveryRejectedError("The push token was not issued by Google.")
    if claims.get("aud") != expected.audience:
        raise DeliveryRejectedError("The push token is for another audience.")
    if claims.get("email") != expected.email or claims.get("email_verified") is not True:
        raise DeliveryRejectedError("The push token belongs to another service account.")
    expires, issued = _read_instant(claims.get("exp")), _read_instant(claims.get("iat"))
    if expires is None or issued is None:
        raise DeliveryRejectedError("The push token does not say how long it is valid.")
    if now >= expires + SKEW:
        raise DeliveryRejectedError("The push token has expired.")
    if issued > now + SKEW:
        raise DeliveryRejectedError("The push token is from the future.")


def _read_instant(value: Any) -> datetime | None:
    """A NumericDate of RFC 7519, of this era."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LATEST:
        return None
    return from_epoch_seconds(value)
