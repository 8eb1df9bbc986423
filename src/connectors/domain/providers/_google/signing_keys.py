"""The signed tokens that Cloud Pub/Sub presents with each push, and Google's keys to check them with.

Source: docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.http import Authorization, Conversation, HttpRequest
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers.contract import SigningKeys
from connectors.domain.providers.toolbox.jwks import get_key, read_key_set
from connectors.domain.providers.toolbox.jwt import get_bearer_token, read_key_id, verify_times, verify_token

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
"""A sequence: a claim may be of any JSON type, and a set would have to hash it."""
ALGORITHM = "RS256"
SKEW = timedelta(seconds=60)
"""How far Google's clock and ours may be apart."""


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
    return read_key_set(response)


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
    token = get_bearer_token(authorization)
    claims = verify_token(token, get_key(keys, read_key_id(token, ALGORITHM)), ALGORITHM)
    if claims.get("iss") not in ISSUERS:
        raise DeliveryRejectedError("The push token was not issued by Google.")
    if claims.get("aud") != expected.audience:
        raise DeliveryRejectedError("The push token is for another audience.")
    if claims.get("email") != expected.email or claims.get("email_verified") is not True:
        raise DeliveryRejectedError("The push token belongs to another service account.")
    if "iat" not in claims:
        raise DeliveryRejectedError("The push token does not say when it was issued.")
    verify_times(claims, now, SKEW)
    return claims
