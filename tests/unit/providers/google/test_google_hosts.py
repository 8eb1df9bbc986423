"""No value that Google, or who speaks in its name, sends makes a provider call another host or another method's path."""

from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st
from tests.support.google import NOW, make_app, make_connection, make_subscription, reply

from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.http import origin_of
from connectors.domain.model.secret import Secret
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.contract import SubscriptionRequest, SyncContext
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_calendar.streams import PARAMETERS_HASH
from connectors.domain.providers.google_drive import GOOGLE_DRIVE
from connectors.domain.providers.google_drive.oauth import READ_SCOPE

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


def printable(value):
    """The value as far as a stream's key may hold it."""
    return "".join(one for one in value if one.isprintable())[:100]


@given(HOSTILE, st.sampled_from(list(SyncMode)))
def test_reading_files_stays_at_google(value, mode):
    """Ids, tokens and cursors of any content end up in a query or a quoted path segment."""
    document = {
        "startPageToken": value,
        "newStartPageToken": value,
        "nextPageToken": value,
        "drives": [{"id": value}],
        "files": [{"id": value}],
        "changes": [{"fileId": value}],
    }
    stream = Stream(key=f"log:{printable(value)}", name="log")
    for metadata in ({"shared_drives": [value]}, {}):
        connection = make_connection(GOOGLE_DRIVE, metadata=metadata, scopes=(READ_SCOPE,))
        context = SyncContext(app=make_app(GOOGLE_DRIVE), connection=connection)
        for bookmark in (None, {"token": value, "listed_at": value}):
            window = Window(mode=mode, low=NOW, high=NOW, floor=NOW, bookmark=bookmark)
            position = {"before": value, "page": value, "passed_page": value, "since": value}
            for cursor in (None, {"page": value}, {"token": value}, {"token": value, "files": position}, position):
                follow(GOOGLE_DRIVE, GOOGLE_DRIVE.streams.discover(context, window, cursor), document)
                follow(GOOGLE_DRIVE, GOOGLE_DRIVE.streams.read_page(context, stream, window, cursor), document)
            for reference in (f"changes:{value}", f"files:{value}"):
                follow(GOOGLE_DRIVE, GOOGLE_DRIVE.streams.read_item(context, stream, window, reference), document)


@given(HOSTILE, st.sampled_from(list(SyncMode)))
def test_reading_streams_stays_at_google(value, mode):
    """The same of discovery, of the pages of a stream and of single things."""
    document = {"items": [{"id": value, "updated": value}], "nextSyncToken": value, "nextPageToken": value, "id": value}
    bookmark = {"token": value, "parameters": PARAMETERS_HASH}
    window = Window(mode=mode, low=NOW, high=NOW, floor=NOW, bookmark=bookmark)
    stream = Stream(key=f"calendar:{printable(value)}", name=value, data={"id": value})
    context = SyncContext(app=make_app(GOOGLE_CALENDAR), connection=make_connection(GOOGLE_CALENDAR))
    streams = GOOGLE_CALENDAR.streams
    for cursor in (None, {"page": value}, {"page": value, "bookmark": bookmark}):
        follow(GOOGLE_CALENDAR, streams.discover(context, window, cursor), document)
        follow(GOOGLE_CALENDAR, streams.read_page(context, stream, window, cursor), document)
    follow(GOOGLE_CALENDAR, streams.read_item(context, stream, window, value), document)


@given(HOSTILE, st.sampled_from(list(SyncMode)))
def test_reading_mail_stays_at_google(value, mode):
    """The same of message ids and page tokens, by history and by the list."""
    document = {
        "historyId": "1",
        "messages": [{"id": value}],
        "history": [{"id": "2", "messagesAdded": [{"message": {"id": value}}]}],
        "nextPageToken": value,
        "id": value,
    }
    window = Window(mode=mode, low=NOW, high=NOW, floor=NOW, bookmark={"history_id": value})
    stream = Stream(key="mailbox", name="mailbox")
    context = SyncContext(app=make_app(GMAIL), connection=make_connection(GMAIL))
    for cursor in (None, {"page": value}, {"page": value, "passed_page": value, "passed": [value], "labels": [value]}):
        follow(GMAIL, GMAIL.streams.read_page(context, stream, window, cursor), document)
    follow(GMAIL, GMAIL.streams.read_item(context, stream, window, value), document)


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
