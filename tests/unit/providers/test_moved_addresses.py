"""What each provider does when our public URL moves, and what the removal of its subscriptions needs."""

import attrs
import pytest

from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import BUILT_IN

CALLBACK = "https://connectors.example/webhooks/x/1"
TOPIC = "projects/acme/topics/mail"


@attrs.frozen
class Move:
    """How a provider's subscriptions follow our URL."""

    is_made_by_us: bool
    """False: a person enters the URL at the vendor, and so has to change it there."""
    old_goes_first: bool = False
    address: str | None = CALLBACK
    is_shown: bool = False
    """Whether the vendor says where a subscription delivers to, so that it is also compared."""


BY_HAND = Move(is_made_by_us=False)
MOVES = {
    "github": Move(is_made_by_us=True, is_shown=True),
    "slack": BY_HAND,
    "jira": Move(is_made_by_us=True, old_goes_first=True, is_shown=True),
    "google-drive": Move(is_made_by_us=True),
    "google-calendar": Move(is_made_by_us=True),
    # Pub/Sub's push subscription has our URL, and an operator enters it. The watch delivers to a topic, which may move.
    "gmail": Move(is_made_by_us=True, old_goes_first=True, address=TOPIC),
    "zoho-mail": BY_HAND,
    "zoho-cliq": BY_HAND,
}


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda one: one.slug)
def test_how_subscriptions_follow_our_url(provider):
    """Every provider is in the table, and does what it says."""
    move = MOVES[provider.slug]
    subscriptions = provider.webhooks.subscriptions
    assert (subscriptions is not None) == move.is_made_by_us
    if subscriptions is None:
        assert provider.webhooks.manual_setup
        return
    texts = {"pubsub_topic": TOPIC} if "pubsub_topic" in provider.options else {}
    app = ProviderApp(
        provider=provider.slug, client_id="id", client_secret=Secret("s"), options=provider.read_options(texts)
    )
    assert subscriptions.address(app, CALLBACK) == move.address
    assert subscriptions.one_address == move.old_goes_first
    assert (subscriptions.probe is not None) == move.is_shown


def test_without_a_topic_mailboxes_are_not_watched():
    """There is nothing to deliver to."""
    gmail = next(one for one in BUILT_IN if one.slug == "gmail")
    app = ProviderApp(provider=gmail.slug, client_id="id", client_secret=Secret("s"), options=gmail.read_options({}))
    assert gmail.webhooks.subscriptions.address(app, CALLBACK) is None
