"""Push channels of Drive and Calendar."""

from datetime import timedelta
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import (
    DANA,
    NOW,
    Google,
    converse,
    error_reply,
    make_app,
    make_connection,
    make_delivery_request,
    make_subscription,
    query_of,
    reply,
    script,
)

from connectors.domain.model.errors import (
    AccessLostError,
    DeliveryRejectedError,
    RefusedForGoodError,
    UnexpectedResponseError,
)
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookEvent
from connectors.domain.providers._google.channels import LIFETIME, is_of_resource
from connectors.domain.providers.contract import ReadContext, SubscriptionRequest, VerificationMaterial
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

CHANNEL = str(UUID(int=5))
TOKEN = "tök-5ecret"
HEADERS = {
    "X-Goog-Channel-ID": CHANNEL,
    "X-Goog-Channel-Token": TOKEN,
    "X-Goog-Message-Number": "4",
    "X-Goog-Resource-ID": "res",
    "X-Goog-Resource-State": "change",
    "X-Goog-Resource-URI": "https://www.googleapis.com/calendar/v3/calendars/dana%40x.com/events?alt=json",
}
PROVIDERS = [GOOGLE_DRIVE, GOOGLE_CALENDAR]
each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)


def material(*secrets):
    return VerificationMaterial(app=None, secrets=[Secret(one) for one in secrets], now=NOW, via="subscription")


def read(provider, **headers):
    changed = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = make_delivery_request(provider, headers=changed)
    delivery = VerifiedDelivery(request=request, delivery_id="d", via="subscription")
    return provider.webhooks.read_event(delivery, ReadContext(app=None))


def make_request(provider, target, **changes):
    values = {
        "subscription": make_subscription(provider, target),
        "secret": Secret(TOKEN),
        "callback_url": "https://hooks.example/webhooks/x/1",
        "expires_at": NOW + timedelta(days=7),
    }
    return SubscriptionRequest(**{**values, **changes})


@each_provider
def test_hints_name_channel_and_message(provider):
    """The channel finds its secret; channel and number are the delivery's id, the same on every retry."""
    hints = provider.webhooks.read_hints(make_delivery_request(provider, headers=HEADERS))
    assert (hints.subscription_external_id, hints.delivery_id) == (CHANNEL, f"{CHANNEL}:4")


@each_provider
def test_the_channels_token_proves_the_sender(provider):
    """The token that we chose is accepted, also as the second of two while one rotates."""
    request = make_delivery_request(provider, headers=HEADERS)
    assert provider.webhooks.verify(request, material(TOKEN)).delivery_id == f"{CHANNEL}:4"
    assert provider.webhooks.verify(request, material("other", TOKEN)).via == "subscription"
    assert "x-goog-channel-token" in provider.webhooks.secret_headers


@each_provider
@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ({}, ()),
        ({"X-Goog-Channel-Token": None}, (TOKEN,)),
        ({"X-Goog-Channel-Token": ""}, (TOKEN,)),
        ({"X-Goog-Channel-Token": ""}, ("",)),
        ({"X-Goog-Channel-Token": TOKEN[:-1]}, (TOKEN,)),
        ({"X-Goog-Channel-Token": TOKEN + "x"}, (TOKEN,)),
        ({"X-Goog-Channel-Token": "tük-5ecret"}, (TOKEN,)),
        ({"X-Goog-Channel-Token": "\ud800"}, (TOKEN,)),
        ({}, ("another",)),
        ({"X-Goog-Channel-ID": None}, (TOKEN,)),
        ({"X-Goog-Message-Number": None}, (TOKEN,)),
    ],
)
def test_anything_else_is_rejected(provider, headers, secrets):
    """No secret, no token, a changed one, or no channel: never an unchecked accept."""
    changed = {name: value for name, value in {**HEADERS, **headers}.items() if value is not None}
    with pytest.raises(DeliveryRejectedError):
        provider.webhooks.verify(make_delivery_request(provider, headers=changed), material(*secrets))


@each_provider
@given(claimed=st.text(max_size=40), channel=st.text(max_size=80), number=st.text(max_size=30))
def test_no_forged_header_is_accepted_or_crashes(provider, claimed, channel, number):
    """Whatever the headers hold, the answer is a rejection unless the token is the right one."""
    headers = {"X-Goog-Channel-ID": channel, "X-Goog-Channel-Token": claimed, "X-Goog-Message-Number": number}
    request = make_delivery_request(provider, headers=headers)
    provider.webhooks.read_hints(request)
    if claimed != TOKEN:
        with pytest.raises(DeliveryRejectedError):
            provider.webhooks.verify(request, material(TOKEN))


@each_provider
def test_a_token_proves_only_its_own_channel(provider):
    """Two channels of a tenant may share a token; which one it is of, the channel's id says."""
    other = make_subscription(provider, "a", number=6)
    request = make_delivery_request(provider, headers=HEADERS)
    with pytest.raises(DeliveryRejectedError):
        provider.webhooks.verify(request, attrs.evolve(material(TOKEN), subscription=other))
    known = attrs.evolve(other, external_id=CHANNEL, metadata={"resource_id": "res"})
    assert provider.webhooks.verify(request, attrs.evolve(material(TOKEN), subscription=known))
    foreign = attrs.evolve(known, metadata={"resource_id": "another"})
    with pytest.raises(DeliveryRejectedError):
        provider.webhooks.verify(request, attrs.evolve(material(TOKEN), subscription=foreign))


@each_provider
def test_the_sync_message_reports_no_change(provider):
    """The first message only says that the channel is open."""
    assert isinstance(read(provider, X_Goog_Resource_State="sync"), Ignored)


@pytest.mark.parametrize(
    ("provider", "state", "target"),
    [
        (GOOGLE_DRIVE, "change", None),
        (GOOGLE_DRIVE, "changed", None),
        (GOOGLE_CALENDAR, "exists", f"calendar:{DANA}"),
        (GOOGLE_CALENDAR, "not_exists", f"calendar:{DANA}"),
    ],
)
def test_a_change_asks_for_a_read(provider, state, target):
    """Nothing is built from headers: the event says which part to read, and that is all."""
    event = read(provider, X_Goog_Resource_State=state)
    assert isinstance(event, WebhookEvent)
    assert (event.needs_sync, event.sync_target, event.signals) == (True, target, ())


@pytest.mark.parametrize(
    ("provider", "state"),
    [(GOOGLE_DRIVE, "exists"), (GOOGLE_CALENDAR, "add"), (GOOGLE_DRIVE, ""), (GOOGLE_CALENDAR, "é")],
)
def test_unknown_states_are_ignored(provider, state):
    """An unknown state, or one of the other API, is only acknowledged."""
    assert isinstance(read(provider, X_Goog_Resource_State=state), Ignored)


@pytest.mark.parametrize(
    "uri", ["", "nonsense", "http://[", "https://x/calendars//events", "https://x/calendars/a/b/events"]
)
def test_an_unreadable_calendar_means_all(uri):
    """When the resource does not name one calendar, all are read."""
    assert read(GOOGLE_CALENDAR, X_Goog_Resource_State="exists", X_Goog_Resource_URI=uri).sync_target is None


def test_calendar_channel_carries_our_id_and_secret():
    """The channel's id is the subscription's, so that the early `sync` message finds its secret."""
    answer = script(
        reply(
            {"id": CHANNEL, "resourceId": "res", "expiration": str(int((NOW + timedelta(days=1)).timestamp()) * 1000)}
        )
    )
    subscriptions = GOOGLE_CALENDAR.webhooks.subscriptions
    target = "c_1#x@group.calendar.google.com"
    conversation = subscriptions.subscribe(
        make_app(GOOGLE_CALENDAR), make_connection(GOOGLE_CALENDAR), make_request(GOOGLE_CALENDAR, target)
    )
    receipt = converse(GOOGLE_CALENDAR, conversation, answer)
    import json

    asked = answer.asked[0]
    assert asked.url.endswith("/calendar/v3/calendars/c_1%23x%40group.calendar.google.com/events/watch")
    assert json.loads(asked.body) == {
        "id": CHANNEL,
        "type": "web_hook",
        "address": "https://hooks.example/webhooks/x/1",
        "token": TOKEN,
        "expiration": str(int((NOW + timedelta(days=7)).timestamp()) * 1000),
    }
    assert receipt.external_id == CHANNEL
    assert receipt.expires_at == NOW + timedelta(days=1)  # what Google grants, not what was asked
    assert receipt.metadata["resource_id"] == "res"


def test_drive_channel_watches_from_a_token():
    """The start token is fetched first; a shared drive's channel names its drive in both calls."""
    answer = script(reply({"startPageToken": "77"}), reply({"resourceId": "res", "expiration": 1767225600000}))
    subscriptions = GOOGLE_DRIVE.webhooks.subscriptions
    conversation = subscriptions.subscribe(
        make_app(GOOGLE_DRIVE), make_connection(GOOGLE_DRIVE), make_request(GOOGLE_DRIVE, "drive:0ADr")
    )
    receipt = converse(GOOGLE_DRIVE, conversation, answer)
    assert query_of(answer.asked[0])["driveId"] == "0ADr"
    assert query_of(answer.asked[1]) == {
        "pageToken": "77",
        "includeRemoved": "true",
        "supportsAllDrives": "true",
        "includeItemsFromAllDrives": "true",
        "driveId": "0ADr",
    }
    assert receipt.metadata == {"log": "0ADr", "resource_id": "res"}


def test_without_an_asked_expiry_a_week_is_asked_for():
    """Without an explicit lifetime Drive would give an hour."""
    answer = script(reply({}))
    request = make_request(GOOGLE_CALENDAR, DANA, expires_at=None)
    subscriptions = GOOGLE_CALENDAR.webhooks.subscriptions
    converse(
        GOOGLE_CALENDAR,
        subscriptions.subscribe(make_app(GOOGLE_CALENDAR), make_connection(GOOGLE_CALENDAR), request),
        answer,
    )
    assert b'"params": {"ttl": "604800"}' in answer.asked[0].body


def test_a_channel_whose_answer_was_lost_is_taken_over():
    """Asked again with the same id, Google refuses: the channel is there, for a lifetime at the most."""
    subscriptions = GOOGLE_CALENDAR.webhooks.subscriptions
    conversation = subscriptions.subscribe(
        make_app(GOOGLE_CALENDAR), make_connection(GOOGLE_CALENDAR), make_request(GOOGLE_CALENDAR, DANA)
    )
    receipt = converse(GOOGLE_CALENDAR, conversation, script(error_reply(400, "channelIdNotUnique")))
    assert (receipt.external_id, receipt.expires_at) == (CHANNEL, NOW + LIFETIME)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error_reply(400, "pushNotSupportedForRequestedResource"), RefusedForGoodError),
        (error_reply(404, "notFound"), AccessLostError),
        (error_reply(400, "push.webhookUrlNotHttps"), UnexpectedResponseError),
    ],
)
def test_a_refused_channel_says_why(response, expected):
    """A calendar that never pushes and one that is gone are told apart from our own mistakes."""
    subscriptions = GOOGLE_CALENDAR.webhooks.subscriptions
    conversation = subscriptions.subscribe(
        make_app(GOOGLE_CALENDAR), make_connection(GOOGLE_CALENDAR), make_request(GOOGLE_CALENDAR, DANA)
    )
    with pytest.raises(expected) as caught:
        converse(GOOGLE_CALENDAR, conversation, script(response))
    assert caught.value.details[0]["reason"]


@each_provider
@pytest.mark.parametrize("status", [204, 404])
def test_stopping_a_channel_that_is_gone_is_success(provider, status):
    """204 and 404 both mean that the channel is closed."""
    subscription = make_subscription(provider, "t", external_id=CHANNEL, metadata={"resource_id": "res"})
    answer = script(reply(body=b"", status=status))
    subscriptions = provider.webhooks.subscriptions
    converse(provider, subscriptions.unsubscribe(make_app(provider), make_connection(provider), subscription), answer)
    assert answer.asked[0].url.endswith("/channels/stop")
    assert b'"resourceId": "res"' in answer.asked[0].body


@each_provider
def test_a_channel_without_known_resource_is_not_closed(provider):
    """Google stops only what is named in full: nothing is sent, and nobody may believe that it is closed."""
    subscription = make_subscription(provider, "t", external_id=CHANNEL)
    unsubscribe = provider.webhooks.subscriptions.unsubscribe
    with pytest.raises(UnexpectedResponseError, match="which resource"):
        converse(provider, unsubscribe(make_app(provider), make_connection(provider), subscription), script())


@each_provider
def test_a_delivery_names_the_resource(provider):
    """So a channel can be closed even if the answer that made it was lost."""
    webhooks = provider.webhooks
    named = webhooks.verify(make_delivery_request(provider, headers=HEADERS), material(TOKEN))
    metadata = webhooks.read_subscription_metadata(named)
    assert metadata == {"resource_id": "res"}
    subscription = make_subscription(provider, "t", external_id=CHANNEL, metadata=metadata)
    asked = script(reply(status=204, body=b""))
    converse(
        provider, webhooks.subscriptions.unsubscribe(make_app(provider), make_connection(provider), subscription), asked
    )
    assert asked.asked[0].url.endswith("/channels/stop")
    bare = {name: value for name, value in HEADERS.items() if name.lower() != "x-goog-resource-id"}
    unnamed = webhooks.verify(make_delivery_request(provider, headers=bare), material(TOKEN))
    assert webhooks.read_subscription_metadata(unnamed) == {}


def test_resources_are_compared_as_far_as_known():
    """Another resource's id under our channel is rejected; while ours is unknown, any is accepted."""
    request = make_delivery_request(GOOGLE_DRIVE, headers=HEADERS)
    known = make_subscription(GOOGLE_DRIVE, "changes", metadata={"resource_id": "res"})
    assert is_of_resource(request, known)
    assert is_of_resource(request, attrs.evolve(known, metadata={}))
    assert not is_of_resource(request, attrs.evolve(known, metadata={"resource_id": "other"}))


def test_targets_are_the_logs_that_are_read():
    """Drive: the user's log, and shared drives that were chosen or may be listed."""
    targets = GOOGLE_DRIVE.webhooks.subscriptions.targets
    app = make_app(GOOGLE_DRIVE)
    assert converse(GOOGLE_DRIVE, targets(app, make_connection(GOOGLE_DRIVE)), script()) == ("changes",)
    chosen = make_connection(GOOGLE_DRIVE, metadata={"shared_drives": ["0A", 7, None, "0A2"]})
    assert converse(GOOGLE_DRIVE, targets(app, chosen), script()) == ("changes", "drive:0A", "drive:0A2")
    google = Google.new()
    drive = google.world.add_shared_drive("Team", [DANA])
    driver = google.connect(GOOGLE_DRIVE, scopes=("https://www.googleapis.com/auth/drive.readonly",))
    assert driver.run(targets(driver.app, driver.connection)) == ("changes", f"drive:{drive}")


def test_calendar_targets_are_the_calendars_that_can_be_read():
    """Free-busy calendars have no details, and deleted ones are gone."""
    entries = [
        {"id": "a", "accessRole": "reader"},
        {"id": "b", "accessRole": "freeBusyReader"},
        {"id": "c", "deleted": True},
        {"summary": "no id"},
        "text",
    ]
    answer = script(reply({"items": entries, "nextPageToken": "2"}), reply({"items": [{"id": "d"}]}))
    targets = GOOGLE_CALENDAR.webhooks.subscriptions.targets
    found = converse(GOOGLE_CALENDAR, targets(make_app(GOOGLE_CALENDAR), make_connection(GOOGLE_CALENDAR)), answer)
    assert found == ("a", "d")
    assert query_of(answer.asked[1])["pageToken"] == "2"
