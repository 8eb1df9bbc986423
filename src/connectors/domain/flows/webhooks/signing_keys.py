"""The vendors' public signing keys, fetched by their packages' conversations and cached until they expire."""

from datetime import datetime, timedelta

import attrs

from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.model.errors import ProviderFailedError, ProviderUnavailableError
from connectors.domain.model.http import Conversation
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider, SigningKeys
from connectors.ports.clock import Clock
from connectors.ports.single_flight import SingleFlight

REFETCH_INTERVAL = timedelta(seconds=30)
"""The shortest time between two fetches: forged key ids must not make us flood the vendor."""


@attrs.define
class SigningKeyCache:
    """Key sets by provider. One cache per process is enough: they are public and small."""

    converser: Converser
    clock: Clock
    single_flight: SingleFlight
    _cached: dict[ProviderSlug, "_Fetch"] = attrs.field(factory=dict, init=False)

    def get(self, provider: Provider, app: ProviderApp, *, refetch: bool = False) -> SigningKeys | None:
        """The provider's key set; None if it has none.

        Args:
            provider: whose.
            app: our registration there.
            refetch: fetch it again although it has not expired.

        Nothing is fetched more often than every `REFETCH_INTERVAL`, whether fetching succeeds or fails. Only callers
        that need this very fetch wait for it.

        Raises:
            ProviderFailedError: it could not be fetched.
        """
        webhooks = provider.webhooks
        if webhooks is None or webhooks.signing_keys is None:
            return None
        conversation = webhooks.signing_keys

        def fetch() -> SigningKeys:
            fetched_before = self._usable(provider, refetch=refetch)  # by another caller, while this one came here
            return fetched_before or self._fetch(provider, app, conversation(app))

        usable = self._usable(provider, refetch=refetch)
        return usable or self.single_flight.join(("signing_keys", provider.slug), fetch)

    def _usable(self, provider: Provider, *, refetch: bool) -> SigningKeys | None:
        now = self.clock.now()
        cached = self._cached.get(provider.slug)
        if cached is None or not (cached.is_recent(now) or (now < cached.expires_at and not refetch)):
            return None
        return cached.get_keys()

    def _fetch(self, provider: Provider, app: ProviderApp, conversation: Conversation[SigningKeys]) -> SigningKeys:
        now = self.clock.now()
        try:
            keys = self.converser.run(provider, app, conversation)
        except ProviderFailedError as error:
            cached = self._cached.get(provider.slug)
            known = None if cached is None else cached.keys  # still valid until they expire
            self._cached[provider.slug] = _Fetch(at=now, keys=known, failure=error)
            raise
        self._cached[provider.slug] = _Fetch(at=now, keys=keys)
        return keys


@attrs.frozen(kw_only=True)
class _Fetch:
    """The result of one fetch."""

    at: datetime
    keys: SigningKeys | None = None
    failure: ProviderFailedError | None = None

    @property
    def expires_at(self) -> datetime:
        return self.at if self.keys is None else self.keys.expires_at

    def is_recent(self, now: datetime) -> bool:
        return now < self.at + REFETCH_INTERVAL

    def get_keys(self) -> SigningKeys:
        if self.keys is None:
            # The same error again, without its old traceback.
            raise ProviderUnavailableError("The signing keys could not be fetched a moment ago.") from self.failure
        return self.keys
