"""Token sets: their JSON form, which is sealed, and when they expire."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

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


def lacks_refresh_token(token_set: TokenSet) -> bool:
    """Whether its access token expires and there is nothing to refresh it with."""
    return token_set.expires_at is not None and token_set.refresh_token is None


def keep_refresh_token(provider: Provider, token_set: TokenSet, present: TokenSet) -> TokenSet:
    """A new consent's token set, with the refresh token of the same account's present one if it brought none.

    Only where refresh tokens do not rotate: elsewhere each consent is a family of its own. Google and Zoho answer with
    a refresh token only to some consents, and the earlier one goes on working.
    """
    if not lacks_refresh_token(token_set) or provider.oauth.reuse_window is not None:
        return token_set
    return attrs.evolve(token_set, refresh_token=present.refresh_token, refresh_expires_at=present.refresh_expires_at)


def is_same_consent(one: TokenSet, other: TokenSet) -> bool:
    """Whether both have the same token: some vendors answer a second consent with what they gave at the first."""

    def reveal(token_set: TokenSet) -> set[str]:
        tokens = (token_set.access_token, token_set.refresh_token)
        return {token.reveal() for token in tokens if token is not None}

    return not reveal(one).isdisjoint(reveal(other))


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
