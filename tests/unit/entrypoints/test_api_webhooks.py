"""The webhook URLs: signatures, relays, sizes and rate limits."""

from uuid import uuid4

import pytest

from connectors.entrypoints.flask import ApiSettings
from tests.support.api import READER_TOKEN, ROOT_TOKEN, TENANT_TOKEN, issue_opened, make_api, problem


@pytest.fixture(scope="module")
def api():
    return make_api()


@pytest.mark.parametrize("secret", [None, "wrong", ""])
def test_an_unproven_sender_is_refused(api, secret):
    """A delivery without the right signature is INVALID_SIGNATURE and is not stored."""
    tenant = api.new_tenant()
    answer = api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened(), secret=secret)
    assert problem(answer) == (401, "INVALID_SIGNATURE")
    assert "WWW-Authenticate" in answer.headers
    assert api.get("/deliveries", tenant=tenant).get_json()["deliveries"] == []


def test_a_redelivery_is_accepted_and_changes_nothing(api):
    """The same delivery twice is 202 twice, and one signal."""
    tenant = str(uuid4())
    api.connect(tenant)
    for _ in range(2):
        answer = api.deliver(f"/webhooks/github/{tenant}", "issues", issue_opened(), delivery_id="one")
        assert answer.status_code == 202
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 1
    assert len(api.get("/deliveries", tenant=tenant).get_json()["deliveries"]) == 1


def test_unknown_paths_are_not_found_and_not_created(api):
    """Unknown providers, tenants and connections are 404, and a webhook never creates a tenant."""
    tenant = str(uuid4())
    assert problem(api.deliver(f"/webhooks/github/{tenant}", "ping", {})) == (404, "TENANT_NOT_FOUND")
    assert problem(api.get(f"/tenants/{tenant}")) == (404, "TENANT_NOT_FOUND")
    assert problem(api.deliver("/webhooks/github/nonsense", "ping", {})) == (404, "TENANT_NOT_FOUND")
    assert problem(api.deliver(f"/webhooks/nowhere/{tenant}", "ping", {})) == (404, "PROVIDER_NOT_SUPPORTED")
    known = api.new_tenant()
    for connection in (uuid4(), "nonsense"):
        answer = api.deliver(f"/webhooks/github/{known}/{connection}", "ping", {})
        assert problem(answer) == (404, "CONNECTION_NOT_FOUND")


def test_a_connections_url_takes_its_deliveries(api):
    """A delivery to a connection's own URL belongs to that connection."""
    tenant = str(uuid4())
    connection = api.connect(tenant)
    assert api.deliver(f"/webhooks/github/{tenant}/{connection['id']}", "issues", issue_opened()).status_code == 202
    (delivery,) = api.get("/deliveries", tenant=tenant).get_json()["deliveries"]
    assert (delivery["connection_id"], delivery["signal_count"]) == (connection["id"], 1)


# --- relays --------------------------------------------------------------------------------------------------------


def test_a_trusted_relay_needs_no_signature(api):
    """An unsigned delivery with an operator token and a tenant is accepted."""
    tenant = str(uuid4())
    api.connect(tenant)
    answer = api.deliver("/webhooks/github", "issues", issue_opened(), secret=None, token=ROOT_TOKEN, tenant=tenant)
    assert answer.status_code == 202
    assert len(api.get("/signals", tenant=tenant).get_json()["signals"]) == 1


def test_a_relay_is_checked_like_any_operator(api):
    """A relay needs the permission to write, and a tenant that exists and that it may act for."""

    def relay(**headers):
        return problem(api.deliver("/webhooks/github", "ping", {}, secret=None, **headers))

    assert relay(token=READER_TOKEN, tenant=uuid4()) == (403, "FORBIDDEN")
    assert relay(token=ROOT_TOKEN) == (400, "TENANT_HEADER_REQUIRED")
    assert relay(token=TENANT_TOKEN, tenant=uuid4()) == (403, "FORBIDDEN")
    assert relay(token=ROOT_TOKEN, tenant=uuid4()) == (404, "TENANT_NOT_FOUND")


def test_an_operator_token_proves_nothing_on_a_tenants_url(api):
    """Only the provider's signature counts where the provider delivers."""
    tenant = api.new_tenant()
    answer = api.deliver(f"/webhooks/github/{tenant}", "ping", {}, secret=None, token=ROOT_TOKEN)
    assert problem(answer) == (401, "INVALID_SIGNATURE")


def test_a_foreign_bearer_token_is_left_to_the_vendors_check(api):
    """A bearer token that is not ours leaves the decision to the provider's verifier."""
    refused = api.deliver("/webhooks/github", "ping", {}, secret=None, token="a.vendors.jwt")
    assert problem(refused) == (401, "INVALID_SIGNATURE")
    assert api.deliver("/webhooks/github", "ping", {"zen": "."}, token="a.vendors.jwt").status_code == 202


# --- sizes and rates -----------------------------------------------------------------------------------------------


def test_a_body_past_the_limit_is_413():
    """One byte more than the limit is refused, the limit itself is not."""
    api = make_api(settings=ApiSettings(max_body_bytes=1000))
    tenant = api.new_tenant()
    assert api.deliver(f"/webhooks/github/{tenant}", "ping", b" " * 1000).status_code == 202
    too_long = api.deliver(f"/webhooks/github/{tenant}", "ping", b" " * 1001)
    assert problem(too_long) == (413, "PAYLOAD_TOO_LARGE")
    connect = api.post("/connect/github", tenant=tenant, data=b" " * 1001, content_type="application/json")
    assert problem(connect) == (413, "PAYLOAD_TOO_LARGE")


class BrokenStream:
    """The body stream of an HTTP server that raises its own error for malformed chunks."""

    def read(self, *_sizes):
        raise ValueError("invalid chunk size")


def test_a_body_that_the_server_cannot_read_is_400():
    """Malformed chunks are a 400, whatever error the HTTP server raises for them."""
    api = make_api()
    tenant = api.new_tenant()
    answer = api.client.post(
        f"/webhooks/github/{tenant}",
        environ_overrides={"wsgi.input": BrokenStream(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert problem(answer) == (400, "VALIDATION_ERROR")


def test_the_rate_is_limited_per_tenant_before_anything_is_verified():
    """Past the limit a tenant's URL answers 429 with Retry-After, and other tenants' URLs do not."""
    api = make_api(settings=ApiSettings(webhook_rate_limit="3/day"))
    busy, quiet = api.new_tenant(), api.new_tenant()
    for _ in range(3):
        assert api.deliver(f"/webhooks/github/{busy}", "ping", {}, secret="wrong").status_code == 401
    answer = api.deliver(f"/webhooks/github/{busy}", "ping", {})
    assert problem(answer) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) == answer.get_json()["retry_after"] > 0
    assert api.deliver(f"/webhooks/github/{quiet}", "ping", {}).status_code == 202


def test_without_a_rate_limit_there_is_none():
    """Without a rate limit any number of deliveries is accepted."""
    api = make_api(settings=ApiSettings(webhook_rate_limit=None))
    tenant = api.new_tenant()
    assert {api.deliver(f"/webhooks/github/{tenant}", "ping", {}).status_code for _ in range(10)} == {202}


def test_a_wrong_rate_stops_the_start():
    """A malformed rate raises when the app is created."""
    with pytest.raises(ValueError):
        make_api(settings=ApiSettings(webhook_rate_limit="often"))
