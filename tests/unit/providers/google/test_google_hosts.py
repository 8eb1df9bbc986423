"""No value that Google, or who speaks in its name, sends makes a provider call another host or another method's path."""

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, make_app, make_connection, make_subscription, reply

from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.http import origin_of
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import SyncMode, SyncPlan
from connectors.domain.providers.contract import SubscriptionRequest, SyncContext
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

HOSTILE = st.sampled_from(
    [
        "..",
        ".",
        "@evil.example/",
        "../../../evil",
        "//evil.example",
        "https://evil.example/",
        "a?b#c",
        "x\r\nHost: evil",
        "%2e%2e/",
        "\\evil",
    ]
) | st.text(min_size=1, max_size=20)
PREFIXES = ("/drive/v3/", "/calendar/v3/", "/gmail/v1/users/me/")


def follow(provider, conversation, document):
    """Every request of the conversation, each answered with the same document."""
    asked = []
    try:
        request = next(conversation)
        for _ in range(20):
            asked.append(request)
            request = conversation.send(reply(document))
    except (StopIteration, ConnectorsError):
        pass
    app = make_app(provider)
    for request in asked:
        assert origin_of(request.url) in provider.allowed_origins(app)
        path = urlsplit(request.url).path
        assert path.startswith(PREFIXES)
        assert ".." not in path.split("/")
    return asked


@given(HOSTILE, st.sampled_from(list(SyncMode)))
def test_reading_stays_at_google(value, mode):
    """Ids, tokens and cursors of any content end up in a query or a quoted path segment."""
    document = {
        "startPageToken": value,
        "newStartPageToken": value,
        "historyId": "1",
        "items": [{"id": value, "updated": value}],
        "drives": [{"id": value}],
        "files": [{"id": value}],
        "messages": [{"id": value}],
        "history": [{"id": "2", "messagesAdded": [{"message": {"id": value}}]}],
        "nextSyncToken": value,
        "id": value,
    }
    cursors = (
        (GOOGLE_DRIVE, {"tokens": {value: value}, "work": [{"pass": "changes", "log": value, "page": value}]}),
        (GOOGLE_CALENDAR, {"calendars": {}, "work": [{"id": value, "token": value, "page": value}]}),
        (GMAIL, {"history_id": "1", "follow": True, "page": value}),
    )
    for provider, cursor in cursors:
        connection = make_connection(provider, metadata={"shared_drives": [value]})
        context = SyncContext(app=make_app(provider), connection=connection)
        plan = SyncPlan(mode=mode, started_at=NOW)
        follow(provider, provider.sync.start(context, plan), document)
        follow(provider, provider.sync.read_page(context, plan, cursor), document)


@given(HOSTILE)
def test_subscribing_stays_at_google(value):
    """Targets and stored ids of any content too."""
    for provider in (GOOGLE_DRIVE, GOOGLE_CALENDAR, GMAIL):
        subscription = make_subscription(
            provider, value, external_id=value, metadata={"resource_id": value, "topic": value}
        )
        request = SubscriptionRequest(subscription=subscription, secret=Secret("s"), callback_url="https://x.example")
        subscriptions, app, connection = provider.webhooks.subscriptions, make_app(provider), make_connection(provider)
        follow(provider, subscriptions.subscribe(app, connection, request), {"startPageToken": value})
        follow(provider, subscriptions.unsubscribe(app, connection, subscription), {})
