"""The streams of a workspace, as `conversations.list` shows them, and the stream of its people, for their names.

Source: docs.slack.dev, `users.list`, `conversations.list`, `conversations.history` (which token reads which
conversations), "Pagination".
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from connectors.domain.model.errors import AccessLostError, InsufficientScopeError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack.endpoints import method_url
from connectors.domain.providers.slack.limits import read_answer
from connectors.domain.providers.slack.oauth import USER_PREFIX
from connectors.domain.providers.slack.options import JOIN_CHANNELS
from connectors.domain.providers.slack.payloads import Channel, ChannelChange, read_channel, read_person
from connectors.domain.providers.slack.position import CURSOR_LIMIT
from connectors.domain.providers.slack.signals import channel_created
from connectors.domain.providers.slack.workspace import Source, read_names, workspace_of
from connectors.domain.providers.toolbox.foreign import read_object, read_text
from connectors.domain.providers.toolbox.structure import read_rows

PEOPLE = "people"
"""The key of the stream of people."""
CHANNEL = "channel:"
"""Before a channel's id: the key of its stream."""
LIST_LIMIT = 200
"""Items per page of channels and people, as Slack advises; the maximum is 1,000."""
NAMES_KEPT = 1000
"""People and channels whose names a connection remembers; of others the id is shown."""
NAMES_LIFETIME = timedelta(days=1)
"""The age of people's names after which they are read again: people join, and rename."""
PEOPLE_NAMES, CHANNEL_NAMES = "people_names", "channel_names"
"""Keys in a connection's metadata."""


def is_bot(context: SyncContext) -> bool:
    """Whether a bot's token reads; else it is a user's."""
    return "bot_user_id" in context.connection.account.metadata


def may(context: SyncContext, scope: str) -> bool:
    """Whether the token that reads was granted the scope. Unknown scopes are tried."""
    granted = context.connection.scopes
    return not granted or scope in granted or (not is_bot(context) and USER_PREFIX + scope in granted)


def discover(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:  # noqa: ARG001
    """One page of `conversations.list`, archived channels included: they can be read as well."""
    if context.connection.account.metadata.get("is_enterprise_install"):
        raise AccessLostError(
            "The app is installed for a whole organization, where nothing can be read yet; webhooks report new events.",
            next_step="Connect again and choose one workspace; each workspace is a connection of its own.",
        )
    found = cursor or {}
    # Without groups:history a private channel's name is useless, and requesting the type would fail the call.
    private = may(context, "groups:read") and may(context, "groups:history")
    response = yield call(
        context,
        "conversations.list",
        types="public_channel,private_channel" if private else "public_channel",
        exclude_archived="false",
        limit=str(LIST_LIMIT),
        cursor=read_text(found.get("page"), CURSOR_LIMIT),
    )
    answer = read_answer(response)
    workspace = workspace_of(context.connection)
    read, others = dict(read_names(found.get("read"))), dict(read_names(found.get("others")))
    streams, signals = [], []
    if cursor is None and may(context, "users:read"):
        streams.append(Stream(key=PEOPLE, name="people", interval=NAMES_LIFETIME))
    for document in map(read_object, read_rows(answer, "channels", "Slack")):
        channel = read_channel(document)
        if channel.id is None:
            continue
        stream = stream_of(context, channel, channel.id)
        names = read if stream.unreadable is None else others
        if len(names) < NAMES_KEPT:
            names[channel.id] = channel.name or channel.id
        streams.append(stream)
        if channel.is_public and channel.created is not None:
            signals.append(channel_created(ChannelChange(channel), Source(payload=document, workspace=workspace)))
    page = next_page(answer)
    # The names of those that we read come first: a workspace may have more channels than names are kept.
    learnt = {CHANNEL_NAMES: first_names({**read, **others})}
    return DiscoveryPage(
        streams=tuple(streams),
        cursor=None if page is None else {"page": page, "read": read, "others": others},
        signals=tuple(signals),
        connection_metadata=learnt if page is None else {},
    )


def stream_of(context: SyncContext, channel: Channel, channel_id: str) -> Stream:
    """The stream of a channel, which says what reading it takes, or why it cannot be read.

    A user's token reads all public channels and the private ones that the user is in; a bot's those that it is in.
    """
    unreadable, joins = None, False
    if not channel.is_member and (is_bot(context) or not channel.is_public):
        joins = channel.is_public and context.app.options[JOIN_CHANNELS]
        if channel.is_archived:
            unreadable = "The channel is archived, and the app is not a member."
        elif not joins:
            unreadable = "The app is not a member of the channel."
        elif not may(context, "channels:join"):
            unreadable = "The app is not a member of the channel, and lacks the scope channels:join."
    return Stream(
        key=CHANNEL + channel_id,
        name=f"#{channel.name or channel_id}",
        families=frozenset({"messages"}),
        data={"name": channel.name or channel_id, "joins": joins},
        unreadable=unreadable,
    )


def read_people(context: SyncContext, window: Window, cursor: Cursor | None) -> Conversation[StreamPage]:
    """One page of `users.list`. There is no history of names."""
    if window.mode is SyncMode.BACKFILL:
        return StreamPage(cursor=None)
    found = cursor or {}
    answer = yield from ask(
        context, "users.list", limit=str(LIST_LIMIT), cursor=read_text(found.get("page"), CURSOR_LIMIT)
    )
    members = read_rows(answer, "members", "Slack")
    people = (person for person in (read_person(read_object(member)) for member in members) if person)
    names = {**read_names(found.get("names")), **{person.id: person.name for person in people}}
    page = next_page(answer)
    if page is not None and len(names) < NAMES_KEPT:
        return StreamPage(cursor={"page": page, "names": names}, items=len(members))
    learnt = {PEOPLE_NAMES: first_names(names)}
    return StreamPage(cursor=None, bookmark={"stream": PEOPLE}, items=len(members), connection_metadata=learnt)


def first_names(names: Mapping[str, str]) -> dict[str, str]:
    """As many names as a connection keeps."""
    return dict(list(names.items())[:NAMES_KEPT])


def ask(context: SyncContext, method: str, **params: str | None) -> Conversation[dict[str, Any]]:
    """The answer of a method that one stream needs.

    Raises:
        AccessLostError: the stream cannot be read, also for want of a scope: others may not need it.
    """
    try:
        response = yield call(context, method, **params)
        return read_answer(response)
    except InsufficientScopeError as error:
        raise AccessLostError(error.message) from error


def call(context: SyncContext, method: str, **params: str | None) -> HttpRequest:
    """A GET of a method; parameters that are None are left out."""
    return HttpRequest(method="GET", url=with_query(method_url(context.app, method), params))


def next_page(answer: Mapping[str, Any]) -> str | None:
    """Slack's cursor for the next page; None if it is empty or missing, which means the last page."""
    return read_text(read_object(answer.get("response_metadata")).get("next_cursor"), CURSOR_LIMIT)
