"""What each vendor answers for a target that it never pushes. It is settled: `RefusedForGoodError`, and nothing else is."""

import json

import pytest
from tests.support.builders import NOW, make_connection, make_subscription

from connectors.domain.model.errors import ConnectorsError, RefusedForGoodError
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import SubscriptionRequest
from connectors.domain.providers.registry import BUILT_IN

PROVIDERS = {one.slug: one for one in BUILT_IN}


def google(status, reason):
    return HttpResponse(
        status=status, headers={}, body=json.dumps({"error": {"errors": [{"reason": reason}], "code": status}}).encode()
    )


def github(status, message):
    return HttpResponse(status=status, headers={}, body=json.dumps({"message": message}).encode())


FOR_GOOD = [
    ("google-calendar", "holidays@group.v.calendar.google.com", google(400, "pushNotSupportedForRequestedResource")),
    ("google-drive", "drive:shared", google(400, "pushNotSupportedForRequestedResource")),
    ("github", "repo:octo/attic", github(403, "Repository was archived so is read-only.")),
]
NOT_FOR_GOOD = [
    ("google-calendar", "lee@acme.com", google(404, "notFound")),
    ("google-calendar", "lee@acme.com", google(400, "push.webhookUrlNotHttps")),
    ("github", "repo:octo/hello", github(403, "Resource not accessible by integration")),
    ("gmail", "lee@acme.com", google(400, "failedPrecondition")),
]
NO_SUBSCRIPTIONS = {"slack", "zoho-mail", "zoho-cliq"}
"""There is no call that could be refused."""
ONE_TARGET = {"gmail", "jira"}
"""The mailbox, the site: a vendor that does not push these cannot be told from one that does not do so now."""


def refuse(slug, target, response):
    """The error that subscribing to the target ends with, if the vendor gives this answer."""
    provider = PROVIDERS[slug]
    app = ProviderApp(
        provider=slug, client_id="id", client_secret=Secret("secret"), options=dict(provider.read_options({}))
    )
    request = SubscriptionRequest(
        subscription=make_subscription(provider=slug, target=target),
        secret=Secret("hook-secret"),
        callback_url="https://hooks.example/webhooks",
        expires_at=NOW,
    )
    conversation = provider.webhooks.subscriptions.subscribe(app, make_connection(provider=slug), request)
    asked = next(conversation)
    while asked.method != "POST":
        asked = conversation.send(HttpResponse(status=200, headers={}, body=b'{"startPageToken": "1", "values": []}'))
    with pytest.raises(ConnectorsError) as caught:
        conversation.throw(provider.limits.read_failure(asked, response, NOW))
    return caught.value


def test_the_tables_have_all_eight():
    """Each provider refuses for good in a way that is known, or cannot."""
    assert {slug for slug, *_ in FOR_GOOD} | ONE_TARGET | NO_SUBSCRIPTIONS == set(PROVIDERS)
    assert {slug for slug, one in PROVIDERS.items() if one.webhooks.subscriptions is None} == NO_SUBSCRIPTIONS


@pytest.mark.parametrize(("slug", "target", "response"), FOR_GOOD)
def test_refused_for_good(slug, target, response):
    """The answer is a settled state, and its text says what happens instead."""
    error = refuse(slug, target, response)
    assert isinstance(error, RefusedForGoodError)
    assert "polled" in error.message


@pytest.mark.parametrize(("slug", "target", "response"), NOT_FOR_GOOD)
def test_refused_for_now(slug, target, response):
    """Any other refusal is an error, and is tried again soon."""
    assert not isinstance(refuse(slug, target, response), RefusedForGoodError)
