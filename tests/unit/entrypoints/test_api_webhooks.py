"""The webhook URLs: signatures, relays, sizes and rate limits."""

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.errors import TooManyDeliveriesError
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import TenantId
from connectors.domain.providers.registry import BUILT_IN
from connectors.entrypoints.flask import ApiSettings, limiting
from connectors.entrypoints.flask.limiting import DeliveryLimiter
from tests.support.api import READER_TOKEN, ROOT_TOKEN, TENANT_TOKEN, issue_opened, make_api, problem
from tests.support.builders import NOW, make_connection


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


def test_the_url_of_a_mailbox_has_a_key(api):
    """It is shown to who may write, stays the same, and only there a secret may be announced; GitHub has no such URL."""
    tenant = api.new_tenant()
    mailbox = make_connection(tenant_id=TenantId(UUID(tenant)), provider="zoho-mail")
    with api.connectors.ingest.unit_of_work() as uow:
        uow.connections.save(mailbox)
    asked = f"/connections/{mailbox.id}/webhook-url"
    assert problem(api.post(asked, tenant=tenant, token=READER_TOKEN)) == (403, "FORBIDDEN")
    url = api.post(asked, tenant=tenant).get_json()["url"]
    assert api.post(asked, tenant=tenant).get_json()["url"] == url
    path = urlsplit(url).path
    headers = {"X-Hook-Secret": "theirs"}
    keyless = path.rpartition("/")[0]
    assert problem(api.post(keyless, token=None, headers=headers)) == (401, "INVALID_SIGNATURE")
    assert api.post(path, token=None, headers=headers).status_code == 200
    other = api.connect(tenant)
    assert problem(api.post(f"/connections/{other['id']}/webhook-url", tenant=tenant)) == (409, "CONFLICT")


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


def limited(rate="40/minute", github=None, **settings):
    """An API whose clock stands still. Of 40 a minute, one address may send two that prove nothing."""
    clock = ManualClock(NOW)
    return make_api(github, settings=ApiSettings(webhook_rate_limit=rate, **settings), clock=clock), clock


def came_from(address):
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def test_the_rate_of_verified_deliveries_is_limited_per_tenant():
    """Past the limit a tenant's deliveries are answered 429 until the next minute, other tenants' are not."""
    api, clock = limited("3/minute")
    busy, quiet = api.new_tenant(), api.new_tenant()
    for _ in range(3):
        assert api.deliver(f"/webhooks/github/{busy}", "ping", {}).status_code == 202
    answer = api.deliver(f"/webhooks/github/{busy}", "ping", {})
    assert problem(answer) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) == answer.get_json()["retry_after"] > 0
    assert api.deliver(f"/webhooks/github/{quiet}", "ping", {}).status_code == 202
    assert len(api.get("/deliveries", tenant=busy).get_json()["deliveries"]) == 3
    clock.advance(timedelta(seconds=answer.get_json()["retry_after"]))
    assert api.deliver(f"/webhooks/github/{busy}", "ping", {}).status_code == 202


def test_unsigned_posts_do_not_starve_signed_ones():
    """An address whose posts prove nothing is stopped; signed deliveries to the same URL, from elsewhere, are taken."""
    api, clock = limited()
    url = f"/webhooks/github/{api.new_tenant()}"
    answers = [api.deliver(url, "ping", {}, secret=None, **came_from("203.0.113.9")).status_code for _ in range(9)]
    assert answers == [401, 401, *[429] * 7]
    assert api.deliver(url, "ping", {}, **came_from("192.0.2.1")).status_code == 202
    assert api.deliver(url, "ping", {}, **came_from("203.0.113.9")).status_code == 429
    clock.advance(timedelta(minutes=1))
    assert api.deliver(url, "ping", {}, **came_from("203.0.113.9")).status_code == 202


def test_a_flood_from_everywhere_does_not_shut_out_who_has_proven_itself():
    """Past the total unknown addresses wait for the next minute; the vendor's go on, in the next minute too."""
    api, clock = limited()
    url = f"/webhooks/github/{api.new_tenant()}"
    vendor = came_from("192.0.2.1")
    assert api.deliver(url, "ping", {}, **vendor).status_code == 202
    for _ in range(2):
        flood = [api.deliver(url, "ping", {}, secret="x", **came_from(f"198.51.100.{n}")) for n in range(60)]
        assert [one.status_code for one in flood] == [401] * 40 + [429] * 20
        assert api.deliver(url, "ping", {}, **vendor).status_code == 202
        clock.advance(timedelta(minutes=1))


def test_what_cannot_be_taken_counts_as_unproven():
    """Unknown tenants and bodies that are too long count like a wrong signature."""
    api, _ = limited(max_body_bytes=10)
    unknown = f"/webhooks/github/{uuid4()}"
    assert api.deliver(unknown, "ping", {}).status_code == 404
    assert api.deliver(f"/webhooks/github/{api.new_tenant()}", "ping", b" " * 11).status_code == 413
    assert api.deliver(unknown, "ping", {}).status_code == 429


def test_a_relay_is_not_stopped_by_unsigned_posts():
    """An operator's token proves the sender before anything is counted for its address."""
    api, _ = limited()
    tenant = api.new_tenant()
    for _ in range(3):
        api.deliver(f"/webhooks/github/{tenant}", "ping", {}, secret=None)
    assert api.deliver("/webhooks/github", "ping", {}, secret=None, token=ROOT_TOKEN, tenant=tenant).status_code == 202


def test_behind_a_proxy_clients_are_told_apart():
    """The entry that our own proxy wrote counts, not what the client wrote before it."""
    api, _ = limited(trusted_proxy_hops=1)
    url = f"/webhooks/github/{api.new_tenant()}"

    def post(client, **changes):
        headers = {"X-Forwarded-For": f"{uuid4()}, {client}"}
        return api.deliver(url, "ping", {}, headers=headers, **changes, **came_from("10.0.0.1")).status_code

    assert [post("203.0.113.9", secret=None) for _ in range(4)] == [401, 401, 429, 429]
    assert post("192.0.2.1") == 202


def publish_keys(request):
    """A vendor that signs with a key, which no unsigned post has."""
    return HttpResponse(status=200, headers={}, body=b'{"keys": [{"kid": "k1"}]}')


URLS = {
    "slack": "/webhooks/slack",
    "jira": "/webhooks/jira",
    "gmail": "/webhooks/gmail",
    "github": "/webhooks/github/{tenant}",
    "google-drive": "/webhooks/google-drive/{tenant}",
    "google-calendar": "/webhooks/google-calendar/{tenant}",
    "zoho-mail": "/webhooks/zoho-mail/{tenant}/{connection}",
    "zoho-cliq": "/webhooks/zoho-cliq/{tenant}/{connection}",
}


def test_the_table_of_urls_has_all_eight():
    """Each provider's own URL is in it."""
    assert set(URLS) == {one.slug for one in BUILT_IN}


@pytest.mark.parametrize("slug", URLS)
def test_whose_posts_prove_nothing_is_stopped_alone(slug):
    """At every provider's URL the flooding address gets 429 while others are still verified."""
    api, _ = limited(github=publish_keys)
    tenant = TenantId(UUID(api.new_tenant()))
    connection = make_connection(tenant_id=tenant, provider=slug)
    with api.connectors.ingest.unit_of_work() as uow:
        uow.connections.save(connection)
    url = URLS[slug].format(tenant=tenant, connection=connection.id)
    flood = [api.post(url, token=None, data=b"{}", **came_from("203.0.113.9")).status_code for _ in range(4)]
    assert flood[2:] == [429, 429]
    assert 429 not in flood[:2]
    assert api.post(url, token=None, data=b"{}", **came_from("192.0.2.1")).status_code != 429


def test_memory_is_bounded(monkeypatch):
    """However many addresses come, no more than the bound are remembered, and the total still counts all of them."""
    monkeypatch.setattr(limiting, "MAX_ADDRESSES", 10)
    limiter = DeliveryLimiter("100/minute", ManualClock(NOW))
    for number in range(100):
        limiter.admit(f"stranger-{number}")
        limiter.count_unverified(f"stranger-{number}")
        limiter.count_verified(f"friend-{number}", "github", [uuid4()])
    assert (len(limiter._unverified), len(limiter._proven)) == (10, 10)
    with pytest.raises(TooManyDeliveriesError):
        limiter.admit("another")
    limiter.admit("friend-0")


def test_without_a_rate_limit_there_is_none():
    """Without a rate limit any number of deliveries is accepted, and any number of unsigned posts is verified."""
    api = make_api(settings=ApiSettings(webhook_rate_limit=None))
    tenant = api.new_tenant()
    for secret, expected in (("wrong", 401), ("webhook-secret", 202)):
        answers = {api.deliver(f"/webhooks/github/{tenant}", "ping", {}, secret=secret).status_code for _ in range(10)}
        assert answers == {expected}


def test_a_wrong_rate_stops_the_start():
    """A malformed rate raises when the app is created."""
    with pytest.raises(ValueError):
        make_api(settings=ApiSettings(webhook_rate_limit="often"))
