"""A delivery whose event cannot be read opens a gap at its owner, at every provider and on every kind of URL."""

import base64
import json

import attrs
import pytest
from tests.support.builders import NOW, TENANT, make_account, make_connection, make_subscription, make_tenant

from connectors.adapters.memory.clock import ManualClock
from connectors.domain.flows.webhooks.verification import Sender
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.webhook import VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import SubscriptionScope
from connectors.domain.providers.registry import BUILT_IN, ProviderRegistry
from connectors.entrypoints.library import Connectors

PROVIDERS = {one.slug: one for one in BUILT_IN}
SITE = "https://acme.atlassian.net"
PUSH = base64.b64encode(b'{"emailAddress": "Lee@acme.com", "historyId": "7"}').decode()

APP = "the app's URL"
TENANTS = "the tenant's URL"
OWN = "the connection's URL"
SUBSCRIPTION = "the subscription"

OWNERS = [
    # slug, what leads to the owner, the owner's account, the body
    ("slack", APP, {"id": "T1"}, {"type": "event_callback", "team_id": "T1", "event": {"type": "message"}}),
    ("slack", TENANTS, {"id": "T1"}, {"type": "event_callback", "team_id": "T1", "event": {"type": "message"}}),
    ("jira", APP, {"id": "cloud-1", "url": SITE}, {"issue": {"self": f"{SITE}/1"}, "matchedWebhookIds": [7]}),
    ("jira", TENANTS, {"id": "cloud-1", "url": SITE}, {"issue": {"self": f"{SITE}/1"}}),
    ("gmail", APP, {"metadata": {"email": "lee@acme.com"}}, {"message": {"data": PUSH}}),
    ("github", SUBSCRIPTION, {"id": "1"}, {}),
    ("github", TENANTS, {"id": "583231"}, {"repository": {"owner": {"id": 583231}}}),
    ("google-drive", SUBSCRIPTION, {"id": "1"}, {}),
    ("google-calendar", SUBSCRIPTION, {"id": "1"}, {}),
    ("zoho-mail", OWN, {"id": "1"}, {}),
    ("zoho-cliq", OWN, {"id": "1"}, {}),
]
"""The two of Google open a channel for each connection, and Zoho's URLs name it: no delivery needs to name an account."""


def test_the_table_has_all_eight():
    """Each provider has a row, and one for the app's URL if it delivers there."""
    assert {slug for slug, *_ in OWNERS} == set(PROVIDERS)
    app_level = {slug for slug, one in PROVIDERS.items() if one.webhooks.url_scope is SubscriptionScope.APP}
    assert {slug for slug, via, *_ in OWNERS if via == APP} == app_level


@pytest.mark.parametrize(("slug", "via", "account", "document"), OWNERS)
def test_an_unread_delivery_opens_a_gap_at_its_owner(slug, via, account, document):
    """Also beside another connection of the same tenant, which gets none."""

    def fail(*arguments):
        raise UnexpectedResponseError("The payload is not as documented.")

    provider = PROVIDERS[slug]
    broken = attrs.evolve(provider, webhooks=attrs.evolve(provider.webhooks, read_event=fail))
    connectors = Connectors.in_memory(registry=ProviderRegistry([broken]), clock=ManualClock(NOW))
    owner = make_connection(provider=slug, account=make_account(**account), metadata={"webhook_ids": ["7"]})
    other = make_connection(provider=slug, account=make_account(url="https://other.atlassian.net"))
    subscription = make_subscription(provider=slug, connection_id=owner.id)
    request = WebhookRequest(
        provider=slug,
        tenant_id=None if via == APP else TENANT,
        connection_id=owner.id if via == OWN else None,
        headers={},
        body=json.dumps(document).encode(),
        received_at=NOW,
    )
    sender = Sender(
        delivery=VerifiedDelivery(request=request, delivery_id="1", via="app"),
        subscription=subscription if via == SUBSCRIPTION else None,
    )
    ingest = connectors.ingest
    with ingest.unit_of_work() as uow:
        uow.tenants.record(make_tenant())
        for one in (owner, other):
            uow.connections.save(one)
        uow.subscriptions.save(subscription)
        reading = ingest.router.read(broken, broken.webhooks, sender, owner if via == OWN else None)
        for outcome in ingest.router.route(uow, reading):
            ingest.inbox.keep(uow, outcome)
        causes = [[gap.cause for gap in uow.coverage.list_gaps(TENANT, one.id, is_open=True)] for one in (owner, other)]
    assert causes == [[GapCause.DELIVERY_FAILED], []]
