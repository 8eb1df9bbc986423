"""Signals: what happened, in one vocabulary across all providers."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import ConnectionId, ProviderSlug, SignalId, TenantId
from connectors.domain.model.instant import utc

TITLE_LIMIT = 300
"""Characters. A title is one line in a list; the whole text is in the payload."""


class SignalKind(StrEnum):
    """The closed vocabulary: noun_verb, one word per thing, for all providers."""

    ISSUE_CREATED = "issue_created"
    ISSUE_UPDATED = "issue_updated"
    ISSUE_STATUS_CHANGED = "issue_status_changed"
    ISSUE_ASSIGNED = "issue_assigned"
    ISSUE_CLOSED = "issue_closed"
    ISSUE_REOPENED = "issue_reopened"
    ISSUE_DELETED = "issue_deleted"
    ISSUE_COMMENTED = "issue_commented"
    ISSUE_COMMENT_EDITED = "issue_comment_edited"
    ISSUE_COMMENT_DELETED = "issue_comment_deleted"

    PULL_REQUEST_OPENED = "pull_request_opened"
    PULL_REQUEST_READY = "pull_request_ready"
    PULL_REQUEST_REVIEWED = "pull_request_reviewed"
    PULL_REQUEST_COMMENTED = "pull_request_commented"
    PULL_REQUEST_CLOSED = "pull_request_closed"
    PULL_REQUEST_MERGED = "pull_request_merged"
    PULL_REQUEST_REOPENED = "pull_request_reopened"
    REVIEW_REQUESTED = "review_requested"
    CODE_PUSHED = "code_pushed"
    RELEASE_PUBLISHED = "release_published"
    REPOSITORY_STARRED = "repository_starred"
    REPOSITORY_FORKED = "repository_forked"

    PROJECT_CREATED = "project_created"
    SPRINT_STARTED = "sprint_started"
    SPRINT_CLOSED = "sprint_closed"
    WORK_LOGGED = "work_logged"

    MEMBER_JOINED = "member_joined"
    MEMBER_LEFT = "member_left"

    MESSAGE_POSTED = "message_posted"
    MESSAGE_REPLIED = "message_replied"
    MESSAGE_EDITED = "message_edited"
    MESSAGE_DELETED = "message_deleted"
    REACTION_ADDED = "reaction_added"
    REACTION_REMOVED = "reaction_removed"
    CHANNEL_CREATED = "channel_created"
    CHANNEL_ARCHIVED = "channel_archived"
    CHANNEL_RENAMED = "channel_renamed"
    THREAD_CLOSED = "thread_closed"
    THREAD_REOPENED = "thread_reopened"

    FILE_CREATED = "file_created"
    FILE_UPDATED = "file_updated"
    FILE_RENAMED = "file_renamed"
    FILE_MOVED = "file_moved"
    FILE_SHARED = "file_shared"
    FILE_TRASHED = "file_trashed"
    FILE_RESTORED = "file_restored"
    FILE_DELETED = "file_deleted"

    CALENDAR_EVENT_CREATED = "calendar_event_created"
    CALENDAR_EVENT_UPDATED = "calendar_event_updated"
    CALENDAR_EVENT_CANCELLED = "calendar_event_cancelled"

    EMAIL_RECEIVED = "email_received"
    EMAIL_SENT = "email_sent"
    EMAIL_READ = "email_read"
    EMAIL_UNREAD = "email_unread"
    EMAIL_LABELED = "email_labeled"
    EMAIL_UNLABELED = "email_unlabeled"
    EMAIL_ARCHIVED = "email_archived"
    EMAIL_MARKED_SPAM = "email_marked_spam"
    EMAIL_TRASHED = "email_trashed"
    EMAIL_DELETED = "email_deleted"


class Origin(StrEnum):
    """Which path found a signal first."""

    WEBHOOK = "webhook"
    SYNC = "sync"
    BACKFILL = "backfill"


@attrs.frozen
class Actor:
    """Who did it."""

    id: str
    name: str
    url: str | None = None


@attrs.frozen
class Subject:
    """What it was done to: `Subject("issue", "42", "Crash on start", "https://…")`."""

    type: str
    id: str
    name: str
    url: str | None = None


@attrs.frozen
class Container:
    """Where it happened: a repository, a channel, a project, a calendar, a mailbox."""

    type: str
    id: str
    name: str
    url: str | None = None


def one_line(text: str, limit: int = TITLE_LIMIT) -> str:
    """The text's first non-empty line, cut to `limit` characters, for titles and names. NUL is dropped."""
    line = next((line for line in text.replace("\0", "").splitlines() if line.strip()), "").strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


@attrs.frozen(kw_only=True)
class SignalDraft:
    """A signal as a provider package makes it from provider data: no ids, no owner, no clock."""

    kind: SignalKind
    occurred_at: datetime = attrs.field(converter=utc)
    title: str = attrs.field(converter=one_line, validator=attrs.validators.min_len(1))
    url: str | None
    subject: Subject
    dedupe_key: str = attrs.field(validator=attrs.validators.min_len(1))
    """Made from the event's own identity, never from the delivery: every path to the same event gives the same key."""
    payload: Mapping[str, Any] = attrs.field(repr=False)
    """The provider's own object, complete."""
    actor: Actor | None = None
    container: Container | None = None


@attrs.frozen(kw_only=True)
class Signal:
    """Something that happened, stored once, whichever path found it."""

    id: SignalId
    """UUIDv7: ids of later signals sort later."""
    tenant_id: TenantId
    connection_id: ConnectionId
    provider: ProviderSlug
    kind: SignalKind
    occurred_at: datetime = attrs.field(converter=utc)
    received_at: datetime = attrs.field(converter=utc)
    title: str
    url: str | None
    actor: Actor | None
    subject: Subject
    container: Container | None
    dedupe_key: str
    origin: Origin
    payload: Mapping[str, Any] | None = attrs.field(repr=False)
    """The provider's own object, complete; None in a list requested without payloads."""

    @classmethod
    def from_draft(
        cls, draft: SignalDraft, owner: Connection, signal_id: SignalId, *, received_at: datetime, origin: Origin
    ) -> "Signal":
        """The draft as a signal of this connection."""
        return cls(
            id=signal_id,
            tenant_id=owner.tenant_id,
            connection_id=owner.id,
            provider=owner.provider,
            kind=draft.kind,
            occurred_at=draft.occurred_at,
            received_at=received_at,
            title=draft.title,
            url=draft.url,
            actor=draft.actor,
            subject=draft.subject,
            container=draft.container,
            dedupe_key=draft.dedupe_key,
            origin=origin,
            payload=draft.payload,
        )


@attrs.frozen(kw_only=True)
class SignalFilter:
    """The filters of `GET /signals`. The tenant is not among them: it always applies."""

    provider: ProviderSlug | None = None
    connection_id: ConnectionId | None = None
    kind: SignalKind | None = None
    occurred_after: datetime | None = None
    """Exclusive."""
    occurred_before: datetime | None = None
    """Exclusive."""
