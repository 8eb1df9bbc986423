"""A provider of another distribution, found by its entry point, goes the whole way through the HTTP API."""

import importlib
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.system.settings import read_settings
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobStatus, JobType
from connectors.domain.providers.registry import ProviderRegistry, installed_providers
from connectors.entrypoints.flask import ApiSettings
from connectors.entrypoints.library import Connectors
from tests.support.api import Api, problem
from tests.support.builders import NOW
from tests.support.provider import ACME, sign
from tests.support.vendor import Vendor
from tests.support.world import created, item

DISTRIBUTION = Path(__file__).parent.parent / "support" / "acme_distribution"


@pytest.fixture
def installed(monkeypatch):
    """Acme's distribution on the path, as pip would have put it there."""
    monkeypatch.syspath_prepend(str(DISTRIBUTION))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("acme_connectors", None)


@pytest.fixture
def vendor():
    return Vendor(ManualClock(NOW))


@pytest.fixture
def api(installed, vendor):
    return Api(Connectors.in_memory(respond=vendor, clock=vendor.clock), ApiSettings())


def test_without_the_distribution_it_is_unknown():
    """Nothing of Acme is in this tree."""
    assert "acme" not in installed_providers().slugs()


def test_its_options_are_read_like_those_of_the_others(installed):
    """A right one is in its registration when the service starts, and a wrong one stops the start in one line."""
    variables = {"POBLYSH_ACME_CLIENT_ID": "id", "POBLYSH_ACME_CLIENT_SECRET": "s", "POBLYSH_ACME_PAGE_SIZE": "7"}
    assert read_settings(variables, installed_providers()).apps[ACME.slug].options == {"page_size": 7}
    with pytest.raises(SettingsError) as caught:
        read_settings({**variables, "POBLYSH_ACME_PAGE_SIZE": "abc"}, installed_providers())
    assert caught.value.message == "POBLYSH_ACME_PAGE_SIZE is 'abc', expected a whole number from 1 to 100"


def test_two_providers_of_one_name_are_refused(installed):
    """A distribution cannot take a slug that is there."""
    with pytest.raises(ValueError, match="acme"):
        ProviderRegistry([*installed_providers(), ACME])


def test_the_whole_journey(api, vendor):
    """Listed, connected, delivered to, read back, synced, disconnected."""
    tenant = str(uuid4())
    catalog = api.get("/providers", token=None).get_json()["providers"]
    assert "acme" in {one["slug"] for one in catalog}
    shown = api.get("/providers/acme", token=None).get_json()
    assert shown["name"] == "Acme"

    start = api.post("/connect/acme", tenant=tenant).get_json()
    query = vendor.consent(start["authorize_url"])
    connection = api.get("/connect/acme/callback", query_string=query).get_json()["connection"]
    assert (connection["provider"], connection["status"]) == ("acme", "active")
    assert api.get("/connect/acme/callback", query_string=query).get_json()["connection"]["id"] == connection["id"]
    forged = {**query, "code": "another"}
    assert problem(api.get("/connect/acme/callback", query_string=forged)) == (400, "OAUTH_STATE_INVALID")

    (hook,) = vendor.hooks.values()
    path = urlsplit(hook["url"]).path
    assert path == f"/webhooks/acme/{tenant}"
    body = api.app.json.dumps(created(1)).encode()
    headers = {"X-Acme-Delivery": "d-1", "X-Acme-Hook": hook["id"], "Content-Type": "application/json"}
    signed = {**headers, "X-Acme-Signature": sign(hook["secret"], body)}
    for _ in range(2):
        answer = api.post(path, token=None, headers=signed, data=body)
        assert (answer.status_code, answer.get_json()) == (202, {"status": "accepted"})
    assert problem(api.post(path, token=None, headers=headers, data=body)) == (401, "INVALID_SIGNATURE")

    (signal,) = api.get("/signals", tenant=tenant, query_string={"provider": "acme"}).get_json()["signals"]
    assert (signal["kind"], signal["title"]) == ("issue_created", "Item 1")

    vendor.add_items(item(1), item(2), item(3))
    owner = TenantId(UUID(tenant)), ConnectionId(UUID(connection["id"]))
    job = api.connectors.jobs.request(*owner, JobType.BACKFILL)
    assert api.connectors.sync.run(owner[0], job.id).status is JobStatus.SUCCEEDED
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 3

    assert api.call("DELETE", f"/connections/{connection['id']}", tenant=tenant).status_code == 204
    assert (vendor.hooks, vendor.families[0].dead) == ({}, True)
    assert problem(api.post(path, token=None, headers=signed, data=body)) == (401, "INVALID_SIGNATURE")
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 3
