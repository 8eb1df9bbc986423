"""The vendors' public signing keys, fetched by their rooms' conversations and kept as long as they say."""

import threading
from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.converse import Converser
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider, SigningKeys
from connectors.ports.clock import Clock

REFETCH_INTERVAL = timedelta(seconds=30)
"""At the least between two fetches: a forged key id must not make us hammer the vendor."""


@attrs.define
class SigningKeyCache:
    """Key sets by provider. One per process is enough: they are public and small."""

    converser: Converser
    clock: Clock
    _cached: dict[ProviderSlug, tuple[SigningKeys, datetime]] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def get(self, provider: Provider, app: ProviderApp, *, anew: bool = False) -> SigningKeys | None:
        """The provider's key set; None if it has none.

        Args:
            provider: whose.
            app: our registration there.
            anew: fetch it again although it has not expired, unless that has just been done.

        Raises:
            ProviderFailedError: it could not be fetched.
        """
        if provider.webhooks is None or provider.webhooks.signing_keys is None:
            return None
        now = self.clock.now()
        with self._lock:
            cached = self._cached.get(provider.slug)
            if cached is not None:
                keys, fetched_at = cached
                if now < keys.expires_at and not (anew and fetched_at + REFETCH_INTERVAL <= now):
                    return keys
            keys = self.converser.run(provider, app, provider.webhooks.signing_keys(app))
            self._cached[provider.slug] = (keys, now)
            return keys
