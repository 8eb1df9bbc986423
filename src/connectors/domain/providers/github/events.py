"""The table of webhook events: which become signals, how, and which do not on purpose.

An event is named `issues.opened`, or `push` where GitHub sends no action. What the table does not have is ignored:
GitHub has many more, and a hook may be set to send them all.

Source: docs.github.com, "Webhook events and payloads".
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import epoch_seconds
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.github import payloads, reading, signals

E = TypeVar("E")


@attrs.frozen(kw_only=True)
class Arrival:
    """What a rule may need besides the payload's fields."""

    payload: Mapping[str, Any] = attrs.field(repr=False)
    delivery_id: str
    received_at: datetime


Outcome = SignalDraft | str
"""A signal, or the reason why there is none."""


@attrs.frozen
class Rule(Generic[E]):
    """How one event becomes a signal."""

    shape: type[E]
    kinds: frozenset[SignalKind]
    make: Callable[[E, Arrival], Outcome]


def read_named_event(event: str, action: str | None, arrival: Arrival) -> WebhookEvent | Ignored:
    """What an event says.

    Args:
        event: GitHub's name of it, from the header.
        action: the payload's `action`, None where it has none.
        arrival: the payload and its circumstances.

    Raises:
        UnexpectedResponseError: the table has the event, and the payload is not as documented.
    """
    name = event if action is None else f"{event}.{action}"
    rule = EVENTS.get(name)
    if rule is None:
        return Ignored(name, IGNORED_WITH_REASON.get(name, "not tracked"))
    read = reading.read(arrival.payload, rule.shape, f"{name} payload")
    outcome = rule.make(read, arrival)
    if isinstance(outcome, str):
        return Ignored(name, outcome)
    return WebhookEvent(event=name, signals=(outcome,), account_ids=_account_ids(read))


def _account_ids(read: payloads.RepositoryEvent | payloads.OrganizationEvent) -> tuple[str, ...]:
    owner = read.repository.owner if isinstance(read, payloads.RepositoryEvent) else None
    named = (read.organization, owner)
    return tuple(dict.fromkeys(str(account.id) for account in named if account is not None))


# --- issues ------------------------------------------------------------------------------------------------------


def _issue_opened(event: payloads.IssueEvent, arrival: Arrival) -> Outcome:
    # A transfer into this repository arrives as `opened` too; `changes.old_issue` in the payload tells.
    return signals.issue_created(event.issue, event.repository, _sender(event), arrival.payload)


def _issue_closed(event: payloads.IssueEvent, arrival: Arrival) -> Outcome:
    return signals.issue_closed(event.issue, event.repository, _sender(event), arrival.payload)


def _issue_reopened(event: payloads.IssueEvent, arrival: Arrival) -> Outcome:
    at = event.issue.updated_at
    return signals.issue_signal(
        SignalKind.ISSUE_REOPENED,
        "reopened",
        at,
        f"reopened:{epoch_seconds(at)}",
        event.issue,
        event.repository,
        _sender(event),
        arrival.payload,
    )


def _issue_assigned(event: payloads.IssueEvent, arrival: Arrival) -> Outcome:
    at = event.issue.updated_at
    assignee = _named(event.assignee, "$.assignee")
    return signals.issue_signal(
        SignalKind.ISSUE_ASSIGNED,
        f"assigned to {assignee.login}",
        at,
        f"assigned:{assignee.id}:{epoch_seconds(at)}",
        event.issue,
        event.repository,
        _sender(event),
        arrival.payload,
    )


def _issue_commented(event: payloads.IssueCommentEvent, arrival: Arrival) -> Outcome:
    place = signals.ISSUE if event.issue.pull_request is None else signals.PULL_REQUEST
    actor = _sender(event)
    return signals.commented(place, event.issue.number, event.comment, event.repository, actor, arrival.payload)


# --- pull requests -----------------------------------------------------------------------------------------------


def _pull_opened(event: payloads.PullRequestEvent, arrival: Arrival) -> Outcome:
    return signals.pull_opened(event.pull_request, event.repository, _sender(event), arrival.payload)


def _pull_ended(event: payloads.PullRequestEvent, arrival: Arrival) -> Outcome:
    return signals.pull_ended(event.pull_request, event.repository, _sender(event), arrival.payload)


def _pull_changed(kind: SignalKind, word: str, key: str) -> Callable[[payloads.PullRequestEvent, Arrival], Outcome]:
    def make(event: payloads.PullRequestEvent, arrival: Arrival) -> Outcome:
        pull, at = event.pull_request, event.pull_request.updated_at
        actor = _sender(event)
        whole_key = f"{key}:{epoch_seconds(at)}"
        return signals.pull_signal(kind, word, at, whole_key, pull, event.repository, actor, arrival.payload)

    return make


def _review_requested(event: payloads.PullRequestEvent, arrival: Arrival) -> Outcome:
    reviewer: payloads.Account | payloads.Team
    reviewer = event.requested_reviewer or _named(event.requested_team, "$.requested_reviewer")
    pull, actor = event.pull_request, _sender(event)
    return signals.review_requested(pull, reviewer, event.repository, actor, arrival.payload)


def _reviewed(event: payloads.ReviewEvent, arrival: Arrival) -> Outcome:
    if signals.is_noise(event.review):
        return "the shell of inline comments, which come by themselves"
    number = event.pull_request.number
    return signals.pull_reviewed(number, event.review, event.repository, _sender(event), arrival.payload)


def _diff_commented(event: payloads.ReviewCommentEvent, arrival: Arrival) -> Outcome:
    number, actor = event.pull_request.number, _sender(event)
    return signals.commented(signals.DIFF, number, event.comment, event.repository, actor, arrival.payload)


# --- code --------------------------------------------------------------------------------------------------------


def _pushed(event: payloads.PushEvent, arrival: Arrival) -> Outcome:
    if not event.ref.startswith(signals.BRANCHES):
        return "not a branch"
    if event.deleted or event.after == signals.NO_COMMIT:
        return "a deleted branch"
    head = event.head_commit
    committed_at = None if head is None else head.timestamp
    actor = _sender(event)
    if actor is None and event.pusher is not None:
        actor = Actor(event.pusher.name, event.pusher.name)
    return signals.code_pushed(
        ref=event.ref,
        before=event.before,
        after=event.after,
        at=event.repository.pushed_at or committed_at or arrival.received_at,
        message=None if head is None else head.message,
        url=event.compare,
        repository=event.repository,
        actor=actor,
        payload=arrival.payload,
    )


def _release_published(event: payloads.ReleaseEvent, arrival: Arrival) -> Outcome:
    if event.release.draft:
        return "a draft"
    return signals.release_published(event.release, event.repository, _sender(event), arrival.payload)


# --- people ------------------------------------------------------------------------------------------------------


def _member_added(event: payloads.MemberEvent, arrival: Arrival) -> Outcome:
    # No identity of its own and no time in the body: the delivery's id is all that tells two joinings apart.
    key = f"{event.repository.id}:member:{event.member.id}:{arrival.delivery_id}"
    place = signals.container_of(event.repository)
    return signals.member_joined(event.member, place, arrival.received_at, key, _sender(event), arrival.payload)


def _organization_member_added(event: payloads.OrganizationEvent, arrival: Arrival) -> Outcome:
    organization, user = event.organization, event.membership.user
    key = f"org:{organization.id}:member:{user.id}:{arrival.delivery_id}"
    url = organization.html_url
    if url is None and user.html_url is not None:
        # Here GitHub names the organization without its page; pages of users and organizations are neighbours.
        url = f"{user.html_url.rpartition('/')[0]}/{organization.login}"
    place = Container("organization", str(organization.id), organization.login, url)
    actor = signals.actor_of(event.sender)
    return signals.member_joined(user, place, arrival.received_at, key, actor, arrival.payload)


def _starred(event: payloads.StarEvent, arrival: Arrival) -> Outcome:
    return signals.repository_starred(event.sender, event.starred_at, event.repository, arrival.payload)


def _forked(event: payloads.ForkEvent, arrival: Arrival) -> Outcome:
    return signals.repository_forked(event.forkee, event.repository, _sender(event), arrival.payload)


# --- the table ---------------------------------------------------------------------------------------------------


def _sender(event: payloads.RepositoryEvent) -> Actor | None:
    return signals.actor_of(event.sender)


T = TypeVar("T")


def _named(who: T | None, field: str) -> T:
    if who is None:
        raise UnexpectedResponseError(f"GitHub's payload is not as documented: {field} is missing")
    return who


def _rule(shape: type[E], make: Callable[[E, Arrival], Outcome], *kinds: SignalKind) -> Rule[Any]:
    return Rule(shape, frozenset(kinds), make)


_K = SignalKind

EVENTS: Mapping[str, Rule[Any]] = {
    "issues.opened": _rule(payloads.IssueEvent, _issue_opened, _K.ISSUE_CREATED),
    "issues.closed": _rule(payloads.IssueEvent, _issue_closed, _K.ISSUE_CLOSED),
    "issues.reopened": _rule(payloads.IssueEvent, _issue_reopened, _K.ISSUE_REOPENED),
    "issues.assigned": _rule(payloads.IssueEvent, _issue_assigned, _K.ISSUE_ASSIGNED),
    "issue_comment.created": _rule(
        payloads.IssueCommentEvent, _issue_commented, _K.ISSUE_COMMENTED, _K.PULL_REQUEST_COMMENTED
    ),
    "pull_request.opened": _rule(payloads.PullRequestEvent, _pull_opened, _K.PULL_REQUEST_OPENED),
    "pull_request.closed": _rule(
        payloads.PullRequestEvent, _pull_ended, _K.PULL_REQUEST_CLOSED, _K.PULL_REQUEST_MERGED
    ),
    "pull_request.reopened": _rule(
        payloads.PullRequestEvent,
        _pull_changed(_K.PULL_REQUEST_REOPENED, "reopened", "reopened"),
        _K.PULL_REQUEST_REOPENED,
    ),
    "pull_request.ready_for_review": _rule(
        payloads.PullRequestEvent,
        _pull_changed(_K.PULL_REQUEST_READY, "ready for review", "ready"),
        _K.PULL_REQUEST_READY,
    ),
    "pull_request.review_requested": _rule(payloads.PullRequestEvent, _review_requested, _K.REVIEW_REQUESTED),
    "pull_request_review.submitted": _rule(payloads.ReviewEvent, _reviewed, _K.PULL_REQUEST_REVIEWED),
    "pull_request_review_comment.created": _rule(
        payloads.ReviewCommentEvent, _diff_commented, _K.PULL_REQUEST_COMMENTED
    ),
    "push": _rule(payloads.PushEvent, _pushed, _K.CODE_PUSHED),
    "release.published": _rule(payloads.ReleaseEvent, _release_published, _K.RELEASE_PUBLISHED),
    "member.added": _rule(payloads.MemberEvent, _member_added, _K.MEMBER_JOINED),
    "organization.member_added": _rule(payloads.OrganizationEvent, _organization_member_added, _K.MEMBER_JOINED),
    "star.created": _rule(payloads.StarEvent, _starred, _K.REPOSITORY_STARRED),
    "fork": _rule(payloads.ForkEvent, _forked, _K.REPOSITORY_FORKED),
}
"""Event and action → its rule. Everything else is ignored."""

IGNORED_WITH_REASON: Mapping[str, str] = {
    "ping": "GitHub's greeting when a hook is made",
    "release.created": "only `published` counts: one release sends several events",
    "release.released": "only `published` counts: one release sends several events",
    "release.prereleased": "only `published` counts: one release sends several events",
    "issues.transferred": "the repository that it went to tells of it",
}
"""Events whose neighbours are tracked, so that a reader of the inbox may wonder."""

KINDS: frozenset[SignalKind] = frozenset(kind for rule in EVENTS.values() for kind in rule.kinds)
"""Every kind that GitHub's events become. Sync adds none."""
