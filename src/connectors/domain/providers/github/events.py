"""The table of webhook events: which become signals, how, and which are ignored on purpose.

An event is named `issues.opened`, or `push` where GitHub sends no action. Events outside of the table are ignored:
GitHub has many more, and a hook may be set to send them all.

Source: docs.github.com, "Webhook events and payloads".
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import Actor, SignalDraft, SignalKind
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.contract import Family
from connectors.domain.providers.github import signals
from connectors.domain.providers.github.payloads import (
    ForkEvent,
    IssueCommentEvent,
    IssueEvent,
    MemberEvent,
    OrganizationEvent,
    PullRequestEvent,
    PushEvent,
    ReleaseEvent,
    RepositoryEvent,
    ReviewCommentEvent,
    ReviewEvent,
    StarEvent,
)
from connectors.domain.providers.github.signals import Drafter
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.rules import EventRule, Rules, derive_families, kinds_of

E = TypeVar("E", bound=RepositoryEvent | OrganizationEvent)
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Arrival:
    """A payload, and what else a rule may need."""

    payload: Mapping[str, Any] = attrs.field(repr=False)
    delivery_id: str
    received_at: datetime


Outcome = SignalDraft | str
"""A signal, or the reason why there is none."""


def read_named_event(event: str, action: str | None, arrival: Arrival) -> WebhookEvent | Ignored:
    """The signals of an event.

    Args:
        event: GitHub's name for it, from the header.
        action: the payload's `action`; None if it has none.
        arrival: the payload, and when and how it came.

    Raises:
        UnexpectedResponseError: the table has the event, and the payload is not as documented.
    """
    name = event if action is None else f"{event}.{action}"
    rule = EVENTS.get(name)
    if rule is None:
        return Ignored(name, IGNORED_WITH_REASON.get(name, "not tracked"))
    read = structure.read(arrival.payload, rule.payload, f"GitHub's {name} payload")
    outcome = rule.make(read, _drafter(read, arrival), arrival)
    if isinstance(outcome, str):
        return Ignored(name, outcome)
    return WebhookEvent(event=name, signals=(outcome,), account_ids=_account_ids(read))


def _drafter(read: RepositoryEvent | OrganizationEvent, arrival: Arrival) -> Drafter:
    if isinstance(read, RepositoryEvent):
        return signals.in_repository(read.repository, read.sender, arrival.payload)
    return signals.in_organization(read.organization, read.membership.user, read.sender, arrival.payload)


def _account_ids(read: RepositoryEvent | OrganizationEvent) -> tuple[str, ...]:
    owner = read.repository.owner if isinstance(read, RepositoryEvent) else None
    named = (read.organization, owner)
    return tuple(dict.fromkeys(str(account.id) for account in named if account is not None))


# --- rules that need more than an expression ---------------------------------------------------------------------


def _reviewed(event: ReviewEvent, draft: Drafter, _: Arrival) -> Outcome:
    if signals.is_noise(event.review):
        return "the shell of inline comments, which come by themselves"
    return draft.reviewed(event.pull_request.number, event.review)


def _pushed(event: PushEvent, draft: Drafter, arrival: Arrival) -> Outcome:
    if not event.ref.startswith(signals.BRANCHES):
        return "not a branch"
    if event.deleted or event.after == signals.NO_COMMIT:
        return "a deleted branch"
    if draft.actor is None and event.pusher is not None:
        draft = attrs.evolve(draft, actor=Actor(event.pusher.name, event.pusher.name))
    head = event.head_commit
    committed_at = None if head is None else head.timestamp
    return draft.pushed(
        ref=event.ref,
        before=event.before,
        after=event.after,
        at=event.repository.pushed_at or committed_at or arrival.received_at,
        message=None if head is None else head.message,
        url=event.compare,
    )


def _named(who: T | None, field: str) -> T:
    if who is None:
        raise UnexpectedResponseError(f"GitHub's payload is not as documented: {field} is missing")
    return who


# --- the table ---------------------------------------------------------------------------------------------------


def _rule(
    family: str, kinds: set[SignalKind], payload: type[E], make: Callable[[E, Drafter, Arrival], Outcome]
) -> EventRule[Any]:
    return EventRule(family=family, kinds=frozenset(kinds), payload=payload, make=make)


_K = SignalKind

EVENTS: Rules = {
    # A transfer into this repository arrives as `opened` too; the payload then has `changes.old_issue`.
    "issues.opened": _rule(
        "issues", {_K.ISSUE_CREATED}, IssueEvent, lambda event, draft, _: draft.issue_created(event.issue)
    ),
    "issues.closed": _rule(
        "issue_changes", {_K.ISSUE_CLOSED}, IssueEvent, lambda event, draft, _: draft.issue_closed(event.issue)
    ),
    "issues.reopened": _rule(
        "issue_changes", {_K.ISSUE_REOPENED}, IssueEvent, lambda event, draft, _: draft.issue_reopened(event.issue)
    ),
    "issues.assigned": _rule(
        "issue_changes",
        {_K.ISSUE_ASSIGNED},
        IssueEvent,
        lambda event, draft, _: draft.issue_assigned(event.issue, _named(event.assignee, "$.assignee")),
    ),
    "issue_comment.created": _rule(
        "comments",
        {_K.ISSUE_COMMENTED, _K.PULL_REQUEST_COMMENTED},
        IssueCommentEvent,
        lambda event, draft, _: draft.commented(
            signals.PULL_REQUEST if event.issue.pull_request else signals.ISSUE, event.issue.number, event.comment
        ),
    ),
    "pull_request.opened": _rule(
        "pull_requests",
        {_K.PULL_REQUEST_OPENED},
        PullRequestEvent,
        lambda event, draft, _: draft.pull_opened(event.pull_request),
    ),
    "pull_request.closed": _rule(
        "pull_request_changes",
        {_K.PULL_REQUEST_CLOSED, _K.PULL_REQUEST_MERGED},
        PullRequestEvent,
        lambda event, draft, _: draft.pull_ended(event.pull_request),
    ),
    "pull_request.reopened": _rule(
        "pull_request_changes",
        {_K.PULL_REQUEST_REOPENED},
        PullRequestEvent,
        lambda event, draft, _: draft.pull_reopened(event.pull_request),
    ),
    "pull_request.ready_for_review": _rule(
        "pull_request_changes",
        {_K.PULL_REQUEST_READY},
        PullRequestEvent,
        lambda event, draft, _: draft.pull_ready(event.pull_request),
    ),
    "pull_request.review_requested": _rule(
        "pull_request_changes",
        {_K.REVIEW_REQUESTED},
        PullRequestEvent,
        lambda event, draft, _: draft.review_requested(
            event.pull_request, event.requested_reviewer or _named(event.requested_team, "$.requested_reviewer")
        ),
    ),
    "pull_request_review.submitted": _rule("reviews", {_K.PULL_REQUEST_REVIEWED}, ReviewEvent, _reviewed),
    "pull_request_review_comment.created": _rule(
        "comments",
        {_K.PULL_REQUEST_COMMENTED},
        ReviewCommentEvent,
        lambda event, draft, _: draft.commented(signals.DIFF, event.pull_request.number, event.comment),
    ),
    "push": _rule("pushes", {_K.CODE_PUSHED}, PushEvent, _pushed),
    "release.published": _rule(
        "releases",
        {_K.RELEASE_PUBLISHED},
        ReleaseEvent,
        lambda event, draft, _: "a draft" if event.release.draft else draft.released(event.release),
    ),
    "member.added": _rule(
        "members",
        {_K.MEMBER_JOINED},
        MemberEvent,
        lambda event, draft, arrival: draft.joined(event.member, arrival.received_at, arrival.delivery_id),
    ),
    "organization.member_added": _rule(
        "members",
        {_K.MEMBER_JOINED},
        OrganizationEvent,
        lambda event, draft, arrival: draft.joined(event.membership.user, arrival.received_at, arrival.delivery_id),
    ),
    "star.created": _rule(
        "stars",
        {_K.REPOSITORY_STARRED},
        StarEvent,
        lambda event, draft, _: draft.starred(event.sender, event.starred_at),
    ),
    "fork": _rule("forks", {_K.REPOSITORY_FORKED}, ForkEvent, lambda event, draft, _: draft.forked(event.forkee)),
}
"""Event and action → its rule. `make` takes the payload, its drafter and its arrival, and returns an `Outcome`.
Everything else is ignored."""

IGNORED_WITH_REASON: Mapping[str, str] = {
    "ping": "GitHub's greeting when a hook is made",
    "release.created": "only `published` counts: one release sends several events",
    "release.released": "only `published` counts: one release sends several events",
    "release.prereleased": "only `published` counts: one release sends several events",
    "issues.transferred": "the new repository's hook reports it",
}
"""Ignored events that belong to tracked ones, with the reason: operators see them in the list of deliveries."""

KINDS = kinds_of(EVENTS)
"""Every kind of GitHub's events. Sync adds none."""


def _only_pushed(name: str) -> Family:
    return Family(name=name, is_read=False, is_backfilled=False)


FAMILIES = derive_families(
    EVENTS,
    Family(name="issues"),
    _only_pushed("issue_changes"),
    Family(name="pull_requests"),
    _only_pushed("pull_request_changes"),
    Family(name="comments"),
    Family(name="reviews"),
    Family(name="pushes"),
    Family(name="releases"),
    _only_pushed("members"),
    _only_pushed("stars"),
    _only_pushed("forks"),
)
"""Reading shows all of a family only where a list keeps it for ever. Lists show only the last closing of an issue that
was closed twice, and no times of stars and members. See README.md, "What only push shows".
"""
