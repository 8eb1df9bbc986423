"""Key sets (JWKS) that vendors publish, and how long they may be kept.

Source: RFC 7517 §5; RFC 9111 §5.2.2.1, §5.3.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import HttpResponse
from connectors.domain.providers.contract import SigningKeys, unknown_key
from connectors.domain.providers.toolbox.foreign import id_reader, read_objects
from connectors.domain.providers.toolbox.http_dates import read_http_date

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,7})(?:$|[,\s])", re.ASCII)
_AGE = re.compile(r"[0-9]{1,7}", re.ASCII)

read_key_name = id_reader(limit=1024)


def read_key_set(response: HttpResponse) -> SigningKeys:
    """The keys of an answer by their `kid`. They expire when the answer may no longer be cached.

    Raises:
        UnexpectedResponseError: it has none.
    """
    keys = {
        name: key
        for key in read_objects(response.json_object().get("keys"))
        if (name := read_key_name(key.get("kid"))) is not None
    }
    if not keys:
        raise UnexpectedResponseError("The key set has no keys.")
    return SigningKeys(keys=keys, expires_at=_cached_until(response))


def get_key(keys: SigningKeys | None, key_id: str | None) -> Mapping[str, Any]:
    """The key of that name.

    Raises:
        DeliveryRejectedError: there is none; `is_unknown_key` says that a newer key set may have it.
    """
    key = None if keys is None or key_id is None else keys.keys.get(key_id)
    if not isinstance(key, Mapping):
        raise unknown_key()
    return key


def _cached_until(response: HttpResponse) -> datetime:
    """When the answer becomes stale, by its headers; at once if they do not say."""
    sent_at = read_http_date(response.headers.get("date"))
    found = _MAX_AGE.search(response.headers.get("cache-control", ""))
    age = response.headers.get("age", "0").strip()
    if sent_at is not None and found is not None:
        seconds_old = int(age) if _AGE.fullmatch(age) else 0
        return sent_at + timedelta(seconds=int(found.group(1)) - seconds_old)
    return read_http_date(response.headers.get("expires")) or datetime.fromtimestamp(0, UTC)
