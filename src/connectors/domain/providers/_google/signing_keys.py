"""The signed tokens that Cloud Pub/Sub sends with each push, and Google's keys to verify them.

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
"""A tuple, because a claim may be of any JSON type, and a set could not look up unhashable ones."""
ALGORITHM = "RS256"
SKEW = timedelta(seconds=60)
"""How far Google's clock and ours may differ."""


@attrs.frozen(kw_only=True)
class Expected:
    """What a push token must say."""

    audience: str
    email: str
    """The service account that the push subscription signs as. Without this check, any token that Google signed for
    the audience would pass."""


def fetch_signing_keys(app: ProviderApp) -> Conversation[SigningKeys]:
    """Google's current key set, valid as long as its answer may be cached."""
    response = yield HttpRequest(method="GET", url=url_of(app, Endpoint.CERTS), authorization=Authorization.NONE)
    return read_key_set(response)


def verify_push_token(
    authorization: str, keys: SigningKeys | None, expected: Expected, now: datetime
) -> Mapping[str, Any]:
    """The verified claims of the bearer token.

    1. One RS256 signature by a key that Google publishes under the token's `kid`.
    2. `iss` is Google, `aud` is our audience.
    3. `email` is our push service account, and `email_verified` is true.
    4. `exp` is not past and `iat` is not in the future, with `SKEW` as tolerance.

    There is no replay check: one token serves many messages within its hour. The message id distinguishes them.

    Raises:
        DeliveryRejectedError: a check fails; `unknown_key()` when newer keys may help.
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
