"""The functions of the table's rows (`events.py`): from Jira's objects to signals.

Webhook bodies and REST objects (wrapped by `streams.py` in the same envelope) go through the same functions, so push
and reading agree on every key. A key contains the subject and its change, never the delivery and never the kind: one
history entry is one signal. What cannot name the kind must therefore not make the signal (`knows_kind`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import utc
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.event_rule import JiraRule
from connectors.domain.providers.jira.payloads import (
    Categories,
    Change,
    ChangeItem,
    Comment,
    Issue,
    Person,
    Project,
    Thing,
)
from connectors.domain.providers.toolbox.foreign import read_object

STATUS_CATEGORIES = "status_categories"
"""Key in a connection's metadata: status id → category, updated by reading."""
DONE = "done"

T = TypeVar("T")


@attrs.frozen
class Site:
    """The site of the events, and what is known about it."""

    cloud_id: str
    url: str | None
    categories: Categories = attrs.field(factory=dict)

    @classmethod
    def of(cls, connection: Connection) -> "Site":
        """The site of a connection."""
        url = connection.account.url
        categories = read_object(connection.metadata.get(STATUS_CATEGORIES))
        return cls(connection.account.id, None if url is None else url.rstrip("/"), categories)

    def key(self, rest: str) -> str:
        """A dedupe key of this site."""
        return f"jira:{self.cloud_id}:{rest}"

    def link(self, path: str | None) -> str | None:
        """A page of the site, or None if its URL or the page is not known."""
        return None if self.url is None or path is None else f"{self.url}/{path}"


@attrs.frozen(kw_only=True)
class Drafter:
    """Makes the signal of one row from one event on one site."""

    rule: JiraRule[Any]
    envelope: Envelope
    site: Site

    def actor(self, person: Person | None) -> Actor | None:
        """Who did it, with a link to their page on the site."""
        return None if person is None else Actor(person.id, person.name, self.site.link(f"jira/people/{person.id}"))

    def container(self, project: Project | None) -> Container | None:
        """The project that it happened in."""
        if project is None:
            return None
        return Container("project", project.id or project.key, project.name, self.site.link(f"browse/{project.key}"))

    def draft(
        self,
        kind: SignalKind,
        subject: Subject,
        title: str,
        at: datetime | None,
        actor: Actor | None,
        container: Container | None,
        **key: str,
    ) -> SignalDraft:
        """A signal that links to its subject. `key` has the other fields of the row's key besides `id`.

        Raises:
            UnexpectedResponseError: there is no time.
        """
        return SignalDraft(
            kind=kind,
            occurred_at=utc(_required(at, "the time")),
            title=title,
            url=subject.url,
            subject=subject,
            dedupe_key=self.site.key(self.rule.key.format(id=subject.id, **key)),
            payload=self.envelope.document,
            actor=actor,
            container=container,
        )

    def issue(
        self,
        issue: Issue,
        words: str,
        at: datetime | None,
        author: Person | None = None,
        *,
        kind: SignalKind | None = None,
        **key: str,
    ) -> SignalDraft:
        """An issue's signal; `kind` for a row that has several."""
        url = self.site.link(None if issue.key is None else f"browse/{issue.key}")
        summary = "" if issue.summary is None else f": {issue.summary}"
        return self.draft(
            kind or self.rule.kind,
            Subject("issue", issue.id, issue.name, url),
            f"{issue.label} {words}{summary}",
            at,
            self.actor(self.envelope.user or author),
            self.container(issue.project),
            **key,
        )

    def comment(
        self, comment: Comment, verb: str, at: datetime | None, author: Person | None = None, **key: str
    ) -> SignalDraft:
        """A comment's signal. Its issue is shortened, and missing in some deliveries: the comment is enough."""
        issue, actor = self.find_issue(), self.actor(self.envelope.user or author)
        path = None if issue is None or issue.key is None else f"browse/{issue.key}?focusedCommentId={comment.id}"
        label, name = ("an issue", "an issue") if issue is None else (issue.label, issue.name)
        excerpt = "" if comment.excerpt is None else f": {comment.excerpt}"
        return self.draft(
            self.rule.kind,
            Subject("comment", comment.id, name, self.site.link(path)),
            f"{'Somebody' if actor is None else actor.name} {verb} {label}{excerpt}",
            at,
            actor,
            None if issue is None else self.container(issue.project),
            **key,
        )

    def find_issue(self) -> Issue | None:
        """The issue next to the payload."""
        return Issue.read(self.envelope.document.get("issue"))


# --- functions of rows -----------------------------------------------------------------------------------------------


def issue_created(issue: Issue, draft: Drafter) -> SignalDraft:
    """A new issue."""
    return draft.issue(issue, "created", issue.created or draft.envelope.sent_at, issue.creator)


def issue_deleted(issue: Issue, draft: Drafter) -> SignalDraft:
    """A deleted issue. Only `user` says who deleted it."""
    return draft.issue(issue, "deleted", draft.envelope.sent_at)


def issue_changed(change: Change, draft: Drafter) -> SignalDraft:
    """One entry of an issue's history: one signal, with the kind of highest priority."""
    issue = _required(draft.find_issue(), "the issue")
    kind, words = judge(change, issue, draft.site.categories)
    at = draft.envelope.sent_at or change.created
    return draft.issue(issue, words, at, change.author, kind=kind, changelog_id=change.id)


def comment_created(comment: Comment, draft: Drafter) -> SignalDraft:
    """A new comment."""
    return draft.comment(comment, "commented on", comment.created or draft.envelope.sent_at, comment.author)


def comment_edited(comment: Comment, draft: Drafter) -> SignalDraft:
    """An edited comment. Each edit has its own key, with the instant that Jira stores with the comment."""
    at = _required(comment.updated, "the comment's `updated`")
    editor = comment.editor or comment.author
    return draft.comment(comment, "edited a comment on", at, editor, updated_ms=str(epoch_ms(at)))


def comment_deleted(comment: Comment, draft: Drafter) -> SignalDraft:
    """A deleted comment. Only `user` says who deleted it, not the comment's author."""
    return draft.comment(comment, "deleted a comment on", draft.envelope.sent_at)


def thing_became(verb: str) -> Callable[[Thing, Drafter], SignalDraft]:
    """The function for a sprint or version that was started, closed or released."""

    def make(thing: Thing, draft: Drafter) -> SignalDraft:
        noun = draft.rule.member
        container = draft.container(Project.read(draft.envelope.document.get("project")))
        if container is None and noun == "version" and thing.owner_id is not None:
            container = Container("project", thing.owner_id, thing.owner_id)
        title = f"{noun.capitalize()} {verb}: {thing.name}"
        subject, actor = Subject(noun, thing.id, thing.name), draft.actor(draft.envelope.user)
        return draft.draft(draft.rule.kind, subject, title, draft.envelope.sent_at, actor, container)

    return make


def work_logged(worklog: Thing, draft: Drafter) -> SignalDraft:
    """Work on an issue, of which the payload has only the id. The worklog's author takes precedence over `user`."""
    where = "an issue" if worklog.owner_id is None else f"issue {worklog.owner_id}"
    subject = Subject("worklog", worklog.id, f"Work on {where}")
    at, actor = worklog.started or draft.envelope.sent_at, draft.actor(worklog.author or draft.envelope.user)
    return draft.draft(draft.rule.kind, subject, f"Work logged on {where}", at, actor, None)


def project_created(project: Project, draft: Drafter) -> SignalDraft:
    """A new project. Without `user`, its lead counts as its creator."""
    project_id = _required(project.id, "the project's id")
    lead = Person.read(read_object(draft.envelope.document.get("project")).get("projectLead"))
    return draft.draft(
        draft.rule.kind,
        Subject("project", project_id, project.name, draft.site.link(f"browse/{project.key}")),
        f"Project {project.key} created: {project.name}",
        draft.envelope.sent_at,
        draft.actor(draft.envelope.user or lead),
        draft.container(project),
    )


# --- what a change is ------------------------------------------------------------------------------------------------

CHANGE_KINDS = (
    SignalKind.ISSUE_CLOSED,
    SignalKind.ISSUE_REOPENED,
    SignalKind.ISSUE_STATUS_CHANGED,
    SignalKind.ISSUE_ASSIGNED,
    SignalKind.ISSUE_UPDATED,
)
"""The possible results of `judge`, by priority."""


def judge(change: Change, issue: Issue, categories: Categories) -> tuple[SignalKind, str]:
    """The kind of a change and its wording: closed > reopened > status changed > assigned > updated.

    A change is a closing or reopening only if the categories of both statuses are known.
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


def knows_kind(change: Change, issue: Issue, categories: Categories) -> bool:
    """Whether the categories are known that decide between a closing, a reopening and another change of the status."""
    return all(
        _category(status_id, issue, categories) is not None
        for item in change.items
        if item.field == "status"
        for status_id in (item.from_id, item.to_id)
    )


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since 1970-01-01T00:00Z: Jira's precision."""
    return round(at.timestamp() * 1000)


def _assignment(item: ChangeItem) -> str:
    if item.to_id is None and item.to_text is None:
        return "unassigned"
    return f"assigned to {item.to_text or item.to_id}"


def _category(status_id: str | None, issue: Issue, categories: Categories) -> str | None:
    """A status's category. The issue's own status is used only for its own id: REST shows the present one."""
    if status_id is None:
        return None
    if status_id == issue.status_id and issue.status_category is not None:
        return issue.status_category
    known = categories.get(status_id)
    return known if isinstance(known, str) else None


def _required(value: T | None, what: str) -> T:
    if value is None:
        raise UnexpectedResponseError(f"Jira's event lacks {what} or it is not readable.")
    return value
