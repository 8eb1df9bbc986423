"""Token sets: their JSON form, which is sealed, and when they expire."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import Provider


def dump_token_set(token_set: TokenSet) -> Secret:
    """The token set as one JSON text, to be sealed."""
    return Secret(json.dumps(_document(token_set)))


def _document(token_set: TokenSet) -> dict[str, Any]:
    return {
        "access_token": token_set.access_token.reveal(),
        "refresh_token": token_set.refresh_token.reveal() if token_set.refresh_token else None,
        "token_type": token_set.token_type,
        "scopes": list(token_set.scopes),
        "expires_at": rfc3339(token_set.expires_at) if token_set.expires_at else None,
        "refresh_expires_at": rfc3339(token_set.refresh_expires_at) if token_set.refresh_expires_at else None,
        "extra": dict(token_set.extra),
        "companions": {name: _document(companion) for name, companion in token_set.companions.items()},
    }


def load_token_set(secret: Secret) -> TokenSet:
    """What `dump_token_set` wrote."""
    return _token_set(json.loads(secret.reveal()))


def _token_set(document: Mapping[str, Any]) -> TokenSet:
    refresh_token = document["refresh_token"]
    return TokenSet(
        access_token=Secret(document["access_token"]),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        token_type=document["token_type"],
        scopes=tuple(document["scopes"]),
        expires_at=read_instant(document["expires_at"]),
        refresh_expires_at=read_instant(document["refresh_expires_at"]),
        extra=document["extra"],
        companions={name: _token_set(inner) for name, inner in document["companions"].items()},
    )


def earliest_expiry(token_set: TokenSet) -> datetime | None:
    """When the first of the set's access tokens expires, companions included."""
    expiries = [token_set.expires_at, *(companion.expires_at for companion in token_set.companions.values())]
    return min((at for at in expiries if at is not None), default=None)


def idle_refresh_at(provider: Provider, token_set: TokenSet, now: datetime) -> datetime | None:
    """When to refresh a token set that is not used; None where a refresh does not keep it alive.

    After a third of its lifetime, so that a hundred more tries fit in if the first ones fail.
    """
    ends = []
    for one in (token_set, *token_set.companions.values()):
        if one.refresh_token is not None:
            if one.refresh_expires_at is not None:
                ends.append(one.refresh_expires_at)
            if provider.oauth.idle_lifetime is not None:
                ends.append(now + provider.oauth.idle_lifetime)
    return now + (min(ends) - now) / 3 if ends else None
