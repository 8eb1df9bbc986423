"""What happened, from what Jira shows: one function a row of the table in the README.

Webhook bodies and REST objects (wrapped by `sync.py` in the same envelope) go through the same functions, so push and
reading agree on every key. A key names the thing and its change, never the delivery and never the kind: one history
entry is one signal, even where the two paths would judge it differently.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import utc
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject
from connectors.domain.providers.jira.payloads import (
    Categories,
    Change,
    ChangeItem,
    Comment,
    Issue,
    Person,
    Project,
    Thing,
    as_object,
    read_time,
)

STATUS_CATEGORIES = "status_categories"
"""Key in a connection's metadata: status id → category, kept up by the reader."""
DONE = "done"

T = TypeVar("T")

Envelope = Mapping[str, Any]


@attrs.frozen
class Site:
    """Whose events these are, and what is known of it."""

    cloud_id: str
    url: str | None
    categories: Categories = attrs.field(factory=dict)

    @classmethod
    def of(cls, connection: Connection) -> "Site":
        """The site of a connection."""
        url = connection.account.url
        categories = as_object(connection.metadata.get(STATUS_CATEGORIES))
        return cls(connection.account.id, None if url is None else url.rstrip("/"), categories)

    def key(self, rest: str) -> str:
        """A dedupe key of this site."""
        return f"jira:{self.cloud_id}:{rest}"

    def link(self, path: str | None) -> str | None:
        """A page of the site, None where its URL or the page is not known."""
        return None if self.url is None or path is None else f"{self.url}/{path}"


def issue_created(envelope: Envelope, site: Site) -> SignalDraft:
    """`jira:issue_created`."""
    issue = _issue(envelope)
    at = _required(issue.created or _timestamp(envelope), "the time")
    return _issue_draft(
        envelope, site, issue, SignalKind.ISSUE_CREATED, "created", at, f"issue:{issue.id}:created", issue.creator
    )


def issue_deleted(envelope: Envelope, site: Site) -> SignalDraft:
    """`jira:issue_deleted`."""
    issue = _issue(envelope)
    at = _required(_timestamp(envelope), "the time")
    return _issue_draft(envelope, site, issue, SignalKind.ISSUE_DELETED, "deleted", at, f"issue:{issue.id}:deleted")


def issue_changed(envelope: Envelope, site: Site) -> SignalDraft:
    """`jira:issue_updated` with a changelog: one signal, its kind by priority."""
    issue, change = _issue(envelope), _required(Change.read(envelope.get("changelog")), "the changelog")
    kind, words = judge(change, issue, site.categories)
    at = _required(_timestamp(envelope) or change.created, "the time")
    key = f"issue:{issue.id}:change:{change.id}"
    return _issue_draft(envelope, site, issue, kind, words, at, key, change.author)


def comment_created(envelope: Envelope, site: Site) -> SignalDraft:
    """`comment_created`, or an `issue_updated` that carries a new comment."""
    comment = _comment(envelope)
    at = _required(comment.created or _timestamp(envelope), "the time")
    key = f"comment:{comment.id}:created"
    return _comment_draft(envelope, site, comment, SignalKind.ISSUE_COMMENTED, "commented on", at, key, comment.author)


def comment_edited(envelope: Envelope, site: Site) -> SignalDraft:
    """`comment_updated`. Each edit has a key of its own, from the instant that Jira keeps with the comment."""
    comment = _comment(envelope)
    at = _required(comment.updated, "the comment's `updated`")
    key = f"comment:{comment.id}:edited:{epoch_ms(at)}"
    editor = comment.editor or comment.author
    return _comment_draft(
        envelope, site, comment, SignalKind.ISSUE_COMMENT_EDITED, "edited a comment on", at, key, editor
    )


def comment_deleted(envelope: Envelope, site: Site) -> SignalDraft:
    """`comment_deleted`. Whose comment it was says nothing of who deleted it: only `user` would."""
    comment = _comment(envelope)
    at = _required(_timestamp(envelope), "the time")
    key = f"comment:{comment.id}:deleted"
    return _comment_draft(envelope, site, comment, SignalKind.ISSUE_COMMENT_DELETED, "deleted a comment on", at, key)


def sprint_started(envelope: Envelope, site: Site) -> SignalDraft:
    """`sprint_started`."""
    return _thing_draft(envelope, site, "sprint", SignalKind.SPRINT_STARTED, "started")


def sprint_closed(envelope: Envelope, site: Site) -> SignalDraft:
    """`sprint_closed`."""
    return _thing_draft(envelope, site, "sprint", SignalKind.SPRINT_CLOSED, "closed")


def version_released(envelope: Envelope, site: Site) -> SignalDraft:
    """`jira:version_released`."""
    return _thing_draft(envelope, site, "version", SignalKind.RELEASE_PUBLISHED, "released")


def work_logged(envelope: Envelope, site: Site) -> SignalDraft:
    """`worklog_created`: the payload names the issue by id only."""
    worklog = _required(Thing.read(envelope.get("worklog")), "the worklog")
    at = _required(worklog.started or _timestamp(envelope), "the time")
    where = "an issue" if worklog.owner_id is None else f"issue {worklog.owner_id}"
    return SignalDraft(
        kind=SignalKind.WORK_LOGGED,
        occurred_at=utc(at),
        title=f"Work logged on {where}",
        url=None,
        subject=Subject("worklog", worklog.id, f"Work on {where}"),
        dedupe_key=site.key(f"worklog:{worklog.id}:created"),
        payload=envelope,
        actor=_actor(worklog.author or Person.read(envelope.get("user")), site),
    )


def project_created(envelope: Envelope, site: Site) -> SignalDraft:
    """`project_created`."""
    source = as_object(envelope.get("project"))
    project = _required(Project.read(source), "the project")
    project_id = _required(project.id, "the project's id")
    at = _required(_timestamp(envelope), "the time")
    person = Person.read(envelope.get("user")) or Person.read(source.get("projectLead"))
    return SignalDraft(
        kind=SignalKind.PROJECT_CREATED,
        occurred_at=utc(at),
        title=f"Project {project.key} created: {project.name}",
        url=site.link(f"browse/{project.key}"),
        subject=Subject("project", project_id, project.name, site.link(f"browse/{project.key}")),
        dedupe_key=site.key(f"project:{project_id}:created"),
        payload=envelope,
        actor=_actor(person, site),
        container=_container(project, site),
    )


def judge(change: Change, issue: Issue, categories: Categories) -> tuple[SignalKind, str]:
    """The kind of a change and what to call it: closed > reopened > status changed > assigned > updated.

    A change is a closing or reopening only when the categories of both statuses are known.
    """
    statuses = [item for item in change.items if item.field == "status"]
    moves = [
        (_category(item.from_id, issue, categories), _category(item.to_id, issue, categories)) for item in statuses
    ]
    if any(old is not None and old != DONE and new == DONE for old, new in moves):
        return SignalKind.ISSUE_CLOSED, "closed"
    if any(old == DONE and new is not None and new != DONE for old, new in moves):
        return SignalKind.ISSUE_REOPENED, "reopened"
    if statuses:
        return SignalKind.ISSUE_STATUS_CHANGED, f"moved to {statuses[-1].to_text or 'another status'}"
    assigned = [item for item in change.items if item.field == "assignee"]
    if assigned:
        return SignalKind.ISSUE_ASSIGNED, _assignment(assigned[-1])
    fields = sorted({item.field for item in change.items})
    return SignalKind.ISSUE_UPDATED, f"updated ({', '.join(fields[:3])}{', …' if len(fields) > 3 else ''})"  # noqa: PLR2004 - as many as a title takes


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since 1970-01-01T00:00Z: the precision that Jira keeps."""
    return round(at.timestamp() * 1000)


def _assignment(item: ChangeItem) -> str:
    if item.to_id is None and item.to_text is None:
        return "unassigned"
    return f"assigned to {item.to_text or item.to_id}"


def _category(status_id: str | None, issue: Issue, categories: Categories) -> str | None:
    """A status's category. The issue's own status speaks only for its own id: REST shows the present one."""
    if status_id is None:
        return None
    if status_id == issue.status_id and issue.status_category is not None:
        return issue.status_category
    known = categories.get(status_id)
    return known if isinstance(known, str) else None


def _issue(envelope: Envelope) -> Issue:
    return _required(Issue.read(envelope.get("issue")), "the issue")


def _comment(envelope: Envelope) -> Comment:
    return _required(Comment.read(envelope.get("comment")), "the comment")


def _timestamp(envelope: Envelope) -> datetime | None:
    return read_time(envelope.get("timestamp"))


def _required(value: T | None, what: str) -> T:
    if value is None:
        raise UnexpectedResponseError(f"Jira's event lacks {what} or it is not readable.")
    return value


def _actor(person: Person | None, site: Site) -> Actor | None:
    return None if person is None else Actor(person.id, person.name, site.link(f"jira/people/{person.id}"))


def _container(project: Project | None, site: Site) -> Container | None:
    if project is None:
        return None
    return Container("project", project.id or project.key, project.name, site.link(f"browse/{project.key}"))


def _issue_draft(
    envelope: Envelope,
    site: Site,
    issue: Issue,
    kind: SignalKind,
    words: str,
    at: datetime,
    key: str,
    author: Person | None = None,
) -> SignalDraft:
    url = site.link(None if issue.key is None else f"browse/{issue.key}")
    summary = "" if issue.summary is None else f": {issue.summary}"
    return SignalDraft(
        kind=kind,
        occurred_at=utc(at),
        title=f"{issue.label} {words}{summary}",
        url=url,
        subject=Subject("issue", issue.id, _issue_name(issue), url),
        dedupe_key=site.key(key),
        payload=envelope,
        actor=_actor(Person.read(envelope.get("user")) or author, site),
        container=_container(issue.project, site),
    )


def _comment_draft(
    envelope: Envelope,
    site: Site,
    comment: Comment,
    kind: SignalKind,
    verb: str,
    at: datetime,
    key: str,
    author: Person | None = None,
) -> SignalDraft:
    """A comment's signal. Its issue is trimmed, and in some deliveries missing: the comment itself is enough."""
    issue = Issue.read(envelope.get("issue"))
    actor = _actor(Person.read(envelope.get("user")) or author, site)
    path = None if issue is None or issue.key is None else f"browse/{issue.key}?focusedCommentId={comment.id}"
    what = "an issue" if issue is None else issue.label
    excerpt = "" if comment.excerpt is None else f": {comment.excerpt}"
    return SignalDraft(
        kind=kind,
        occurred_at=utc(at),
        title=f"{'Somebody' if actor is None else actor.name} {verb} {what}{excerpt}",
        url=site.link(path),
        subject=Subject("comment", comment.id, what if issue is None else _issue_name(issue), site.link(path)),
        dedupe_key=site.key(key),
        payload=envelope,
        actor=actor,
        container=None if issue is None else _container(issue.project, site),
    )


def _issue_name(issue: Issue) -> str:
    return issue.label if issue.summary is None else f"{issue.label} {issue.summary}"


def _thing_draft(envelope: Envelope, site: Site, noun: str, kind: SignalKind, verb: str) -> SignalDraft:
    """A sprint's or version's signal."""
    thing = _required(Thing.read(envelope.get(noun)), f"the {noun}")
    at = _required(_timestamp(envelope), "the time")
    project = Project.read(envelope.get("project"))
    container = _container(project, site)
    if container is None and noun == "version" and thing.owner_id is not None:
        container = Container("project", thing.owner_id, thing.owner_id)
    return SignalDraft(
        kind=kind,
        occurred_at=utc(at),
        title=f"{noun.capitalize()} {verb}: {thing.name}",
        url=None,
        subject=Subject(noun, thing.id, thing.name),
        dedupe_key=site.key(f"{noun}:{thing.id}:{verb}"),
        payload=envelope,
        actor=_actor(Person.read(envelope.get("user")), site),
        container=container,
    )
