"""The sync run's pages of people (for their names) and of channels (to read, and new ones as signals).

Source: docs.slack.dev, `users.list`, `conversations.list`, "Pagination".
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, InsufficientScopeError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.slack.endpoints import method_url
from connectors.domain.providers.slack.limits import StaleCursorError, read_answer
from connectors.domain.providers.slack.oauth import USER_PREFIX
from connectors.domain.providers.slack.options import JOIN_CHANNELS
from connectors.domain.providers.slack.payloads import ChannelChange, read_channel, read_person
from connectors.domain.providers.slack.signals import channel_created
from connectors.domain.providers.slack.sync_run import CURSOR_LIMIT, Phase, Stop, SyncRun, is_within, page_at
from connectors.domain.providers.slack.workspace import Source, workspace_of
from connectors.domain.providers.toolbox.foreign import read_list, read_object, read_text

LIST_LIMIT = 200
"""Items per page of channels and people, as Slack advises; the maximum is 1,000."""
NAMES_KEPT = 1000
"""People and channels whose names a connection remembers; of others the id is shown."""
NAMES_LIFETIME = timedelta(days=1)
"""The age of people's names after which an incremental sync run reads them again: people join, and rename."""
PEOPLE_NAMES, PEOPLE_READ_AT, CHANNEL_NAMES = "people_names", "people_read_at", "channel_names"
"""Keys in a connection's metadata."""


def wants_people(context: SyncContext, plan: SyncPlan) -> bool:
    """Whether to read names: with every backfill, and otherwise once a day; only if the token may."""
    if not may(context, "users:read"):
        return False
    read_at = read_instant(context.connection.metadata.get(PEOPLE_READ_AT))
    return plan.mode is SyncMode.BACKFILL or read_at is None or plan.started_at - read_at >= NAMES_LIFETIME


def may(context: SyncContext, scope: str) -> bool:
    """Whether the connection was granted the scope, of its bot or its user. Unknown scopes are tried."""
    granted = context.connection.scopes
    return not granted or scope in granted or USER_PREFIX + scope in granted


def read_people(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of `users.list`. Names are optional: without them the sync run goes on."""
    response = yield call(context, "users.list", limit=str(LIST_LIMIT), cursor=sync_run.page)
    try:
        answer = read_answer(response)
    except StaleCursorError:
        if sync_run.page is None:
            raise
        return page_at(plan, attrs.evolve(sync_run, page=None))
    except (InsufficientScopeError, AccessLostError, UnexpectedResponseError) as error:
        skipped = SkippedItem(reference="users.list", reason=error.message)
        return page_at(plan, attrs.evolve(sync_run, phase=Phase.CHANNELS, page=None, names={}), skipped=(skipped,))
    members = read_list(answer.get("members"))
    people = (person for person in (read_person(read_object(member)) for member in members) if person)
    names = {**sync_run.names, **{person.id: person.name for person in people}}
    page = next_page(answer)
    if page is not None and len(names) < NAMES_KEPT:
        return page_at(plan, attrs.evolve(sync_run, page=page, names=names), items=len(members))
    forward = attrs.evolve(sync_run, phase=Phase.CHANNELS, page=None, names={})
    learnt = {PEOPLE_NAMES: first_names(names), PEOPLE_READ_AT: rfc3339(plan.started_at)}
    return page_at(plan, forward, items=len(members), metadata=learnt)


def read_channels(context: SyncContext, plan: SyncPlan, sync_run: SyncRun) -> Conversation[SyncPage]:
    """One page of `conversations.list`: new channels become signals, those we are in join the queue."""
    # Without groups:history a private channel's name is useless, and requesting the type would fail the call.
    private = may(context, "groups:read") and may(context, "groups:history")
    response = yield call(
        context,
        "conversations.list",
        types="public_channel,private_channel" if private else "public_channel",
        exclude_archived="true",
        limit=str(LIST_LIMIT),
        cursor=sync_run.page,
    )
    try:
        answer = read_answer(response)
    except StaleCursorError:
        if sync_run.page is None:
            raise
        return page_at(plan, attrs.evolve(sync_run, page=None, queue=(), names={}))
    workspace, joins = workspace_of(context.connection), context.app.options[JOIN_CHANNELS]
    documents = [read_object(entry) for entry in read_list(answer.get("channels"))]
    names, queue = dict(sync_run.names), list(sync_run.queue)
    queued = {stop.id for stop in queue}
    signals: list[SignalDraft] = []
    skipped: list[SkippedItem] = []
    for document in documents:
        channel = read_channel(document)
        if channel.id is None:
            skipped.append(SkippedItem(reference="conversations.list", reason="a channel without an id"))
            continue
        if len(names) < NAMES_KEPT:
            names[channel.id] = channel.name or channel.id
        if channel.is_public and channel.created is not None and is_within(sync_run, channel.created):
            signals.append(channel_created(ChannelChange(channel), Source(payload=document, workspace=workspace)))
        if not channel.is_member and not (joins and channel.is_public):
            skipped.append(SkippedItem(reference=channel.id, reason="the app is not a member of the channel"))
        elif channel.id not in queued:
            queued.add(channel.id)
            queue.append(Stop(channel.id, channel.name or "", join=not channel.is_member))
    forward = attrs.evolve(sync_run, page=next_page(answer), queue=tuple(queue), names=names)
    metadata: dict[str, Any] = {}
    if forward.page is None:
        forward = attrs.evolve(forward, phase=Phase.MESSAGES, names={})
        # Those that we read come first: a workspace may have more channels than names are kept.
        metadata = {CHANNEL_NAMES: first_names({**{stop.id: stop.name or stop.id for stop in queue}, **names})}
    return page_at(
        plan, forward, signals=tuple(signals), skipped=tuple(skipped), items=len(documents), metadata=metadata
    )


def first_names(names: Mapping[str, str]) -> dict[str, str]:
    """As many names as a connection keeps."""
    return dict(list(names.items())[:NAMES_KEPT])


def call(context: SyncContext, method: str, **params: str | None) -> HttpRequest:
    """A GET of a method; parameters that are None are left out."""
    return HttpRequest(method="GET", url=with_query(method_url(context.app, method), params))


def next_page(answer: Mapping[str, Any]) -> str | None:
    """Slack's cursor for the next page; None if it is empty or missing, which means the last page."""
    return read_text(read_object(answer.get("response_metadata")).get("next_cursor"), CURSOR_LIMIT)
