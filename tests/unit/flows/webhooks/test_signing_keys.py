"""Vendors' signing keys: fetched when needed, cached until they expire."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import attrs
import pytest

from connectors.domain.flows.webhooks.signing_keys import REFETCH_INTERVAL, SigningKeyCache
from connectors.domain.model.errors import ProviderUnavailableError
from tests.support.provider import make_acme, signing_keys
from tests.support.vendor import answer
from tests.support.world import World


@pytest.fixture
def world():
    return World(make_acme(webhooks={"signing_keys": signing_keys}))


def get(world, **options):
    return world.connectors.ingest.signing_keys.get(world.acme, world.app, **options)


def fetches(world):
    return world.vendor.count("GET /keys")


def test_keys_are_cached_until_they_expire(world):
    """One fetch serves until the vendor's expiry time."""
    assert get(world) is get(world)
    world.later(minutes=59)
    get(world)
    assert fetches(world) == 1
    world.later(minutes=1)
    get(world)
    assert fetches(world) == 2


def test_keys_can_be_refetched_at_intervals(world):
    """An unknown key causes a fetch, but not more often than the interval."""
    get(world)
    get(world, refetch=True)
    assert fetches(world) == 1
    world.clock.advance(REFETCH_INTERVAL)
    world.vendor.keys["k2"] = {}
    assert "k2" in get(world, refetch=True).keys
    get(world, refetch=True)
    assert fetches(world) == 2


def test_a_failed_refetch_keeps_the_cached_keys(world):
    """A failed refetch does not remove keys that are still valid."""
    known = get(world)
    world.clock.advance(REFETCH_INTERVAL)
    world.vendor.before = lambda request: answer(status=503)
    with pytest.raises(ProviderUnavailableError):
        get(world, refetch=True)
    assert get(world) is known


def test_providers_without_keys_have_none(world):
    """Nothing is fetched for a vendor that signs otherwise."""
    cache: SigningKeyCache = world.connectors.ingest.signing_keys
    for other in (make_acme(), attrs.evolve(make_acme(), webhooks=None)):
        assert cache.get(other, world.app) is None
    assert fetches(world) == 0


def test_a_slow_fetch_holds_up_only_those_who_need_it(world):
    """While a vendor is slow with new keys, cached keys serve, another vendor's are fetched, and waiters share one fetch."""
    cache = world.connectors.ingest.signing_keys
    other = make_acme(webhooks={"signing_keys": signing_keys}, slug="other")
    known = get(world)
    world.clock.advance(REFETCH_INTERVAL)
    asked, may_answer = Event(), Event()

    def slow(request):
        world.vendor.before = lambda later: None
        asked.set()
        may_answer.wait()

    world.vendor.before = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get, world, refetch=True)
        asked.wait()
        second = pool.submit(get, world, refetch=True)
        assert get(world) is known
        assert cache.get(other, world.app) is not None
        may_answer.set()
        assert first.result() is second.result()
    assert fetches(world) == 3  # one of the other vendor
