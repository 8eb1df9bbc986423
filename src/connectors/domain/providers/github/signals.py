"""From GitHub's objects to signals, and their dedupe keys.

Both paths use these functions: `events.py` for webhooks, `rows.py` for the REST API. A key contains only what both
have (the repository's id, a number or id, whole epoch seconds), never the delivery, so that push, redelivery, sync and
backfill agree. Keys use `number` and not `id`: a pull request has another id in the list of issues than in webhooks.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import epoch_seconds
from connectors.domain.model.signal import Actor, Container, SignalDraft, SignalKind, Subject, one_line
from connectors.domain.providers.github.payloads import (
    Account,
    Comment,
    Forkee,
    Issue,
    ListedRepository,
    PullRequest,
    Release,
    Repository,
    Review,
    Team,
)

BRANCHES = "refs/heads/"
"""The prefix of a pushed branch. Pushed tags give no signals; their releases do."""

LONGEST_REF = 512
"""Characters. GitHub allows refs of 255 bytes; a longer one would not fit into a key either."""

NO_COMMIT = "0" * 40
"""Before a branch was created, and after it was deleted."""

ISSUE = "issue"
PULL_REQUEST = "pull request"
DIFF = "diff of pull request"

_K = SignalKind


@attrs.frozen
class Drafter:
    """Makes the signals of one payload, with one method per kind.

    A method raises UnexpectedResponseError if the object lacks the time of what happened to it.
    """

    scope: str
    """Begins every key: the repository's id, or `org:` and the organization's."""
    container: Container
    actor: Actor | None
    payload: Mapping[str, Any] = attrs.field(repr=False)

    def draft(
        self, kind: SignalKind, at: datetime, title: str, subject: Subject, key: str, url: str | None = None
    ) -> SignalDraft:
        """A signal about the subject; without `url` it links to the subject's page. `key` is unique within the
        scope."""
        return SignalDraft(
            kind=kind,
            occurred_at=at,
            title=title,
            url=url or subject.url,
            actor=self.actor,
            subject=subject,
            container=self.container,
            dedupe_key=f"github:{self.scope}:{key}",
            payload=self.payload,
        )

    # --- issues ------------------------------------------------------------------------------------------------------

    def issue(self, kind: SignalKind, issue: Issue, word: str, at: datetime, key: str) -> SignalDraft:
        """A signal about an issue. `word` says what happened, `key` is the last part of the dedupe key."""
        subject = Subject("issue", str(issue.number), one_line(issue.title), issue.html_url)
        title = sentence(f"Issue #{issue.number} {word}", issue.title)
        return self.draft(kind, at, title, subject, f"issue:{issue.number}:{key}")

    def issue_created(self, issue: Issue) -> SignalDraft:
        """`issue_created`."""
        return self.issue(_K.ISSUE_CREATED, issue, "opened", issue.created_at, "created")

    def issue_closed(self, issue: Issue) -> SignalDraft:
        """`issue_closed`."""
        at = present(issue.closed_at, "$.issue.closed_at")
        return self.issue(_K.ISSUE_CLOSED, issue, "closed", at, timed("closed", at))

    def issue_reopened(self, issue: Issue) -> SignalDraft:
        """`issue_reopened`."""
        at = issue.updated_at
        return self.issue(_K.ISSUE_REOPENED, issue, "reopened", at, timed("reopened", at))

    def issue_assigned(self, issue: Issue, assignee: Account) -> SignalDraft:
        """`issue_assigned`."""
        at = issue.updated_at
        key = timed(f"assigned:{assignee.id}", at)
        return self.issue(_K.ISSUE_ASSIGNED, issue, f"assigned to {assignee.login}", at, key)

    # --- pull requests -----------------------------------------------------------------------------------------------

    def pull(self, kind: SignalKind, pull: PullRequest | Issue, word: str, at: datetime, key: str) -> SignalDraft:
        """A signal about a pull request, which may be an item of the list of issues."""
        subject = Subject("pull_request", str(pull.number), one_line(pull.title), pull.html_url)
        title = sentence(f"Pull request #{pull.number} {word}", pull.title)
        return self.draft(kind, at, title, subject, f"pull:{pull.number}:{key}")

    def pull_opened(self, pull: PullRequest | Issue) -> SignalDraft:
        """`pull_request_opened`."""
        return self.pull(_K.PULL_REQUEST_OPENED, pull, "opened", pull.created_at, "opened")

    def pull_ended(self, pull: PullRequest | Issue) -> SignalDraft:
        """`pull_request_merged` or `pull_request_closed`."""
        link = pull.pull_request if isinstance(pull, Issue) else pull
        if link is not None and link.merged_at is not None:
            return self.pull(_K.PULL_REQUEST_MERGED, pull, "merged", link.merged_at, "merged")
        at = present(pull.closed_at, "$.pull_request.closed_at")
        return self.pull(_K.PULL_REQUEST_CLOSED, pull, "closed", at, timed("closed", at))

    def pull_reopened(self, pull: PullRequest) -> SignalDraft:
        """`pull_request_reopened`."""
        at = pull.updated_at
        return self.pull(_K.PULL_REQUEST_REOPENED, pull, "reopened", at, timed("reopened", at))

    def pull_ready(self, pull: PullRequest) -> SignalDraft:
        """`pull_request_ready`."""
        at = pull.updated_at
        return self.pull(_K.PULL_REQUEST_READY, pull, "ready for review", at, timed("ready", at))

    def review_requested(self, pull: PullRequest, reviewer: Account | Team) -> SignalDraft:
        """`review_requested`."""
        name = reviewer.login if isinstance(reviewer, Account) else reviewer.name
        at = pull.updated_at
        key = timed(f"review_requested:{reviewer.id}", at)
        return self.pull(_K.REVIEW_REQUESTED, pull, f"review requested from {one_line(name)}", at, key)

    def reviewed(self, number: int, review: Review) -> SignalDraft:
        """`pull_request_reviewed`, of the pull request with this number."""
        at = present(review.submitted_at, "$.review.submitted_at")
        state = one_line(review.state.lower().replace("_", " "))
        subject = Subject("review", str(review.id), f"Review of pull request #{number}", review.html_url)
        title = sentence(f"{subject.name} ({state})", review.body)
        return self.draft(_K.PULL_REQUEST_REVIEWED, at, title, subject, f"review:{review.id}")

    # --- comments ----------------------------------------------------------------------------------------------------

    def commented(self, on: str, number: int, comment: Comment) -> SignalDraft:
        """`issue_commented`, or `pull_request_commented` for a comment on the pull request or on a line of its diff.

        Args:
            on: `ISSUE`, `PULL_REQUEST` or `DIFF`.
            number: of the issue or pull request.
            comment: the comment.
        """
        kind = _K.ISSUE_COMMENTED if on == ISSUE else _K.PULL_REQUEST_COMMENTED
        # Two lists, each with ids of its own.
        key = f"{'review_comment' if on == DIFF else 'comment'}:{comment.id}:created"
        subject = Subject("comment", str(comment.id), f"Comment on {on} #{number}", comment.html_url)
        return self.draft(kind, comment.created_at, sentence(subject.name, comment.body), subject, key)

    # --- code --------------------------------------------------------------------------------------------------------

    def pushed(
        self, *, ref: str, before: str, after: str, at: datetime, message: str | None = None, url: str | None = None
    ) -> SignalDraft:
        """`code_pushed`. Without `url` it links to the comparison of the two commits, or to a new branch's commit."""
        if max(len(ref), len(before), len(after)) > LONGEST_REF:
            raise UnexpectedResponseError("GitHub's payload is not as documented: a ref or commit id is too long")
        branch = ref.removeprefix(BRANCHES)
        changes = f"commit/{after}" if before == NO_COMMIT else f"compare/{before}...{after}"
        page = self.container.url
        subject = Subject("branch", ref, one_line(branch), f"{page}/tree/{branch}")
        title = sentence(f"Push to {subject.name}", message)
        return self.draft(
            _K.CODE_PUSHED, at, title, subject, f"push:{ref}:{before}:{after}", url or f"{page}/{changes}"
        )

    def released(self, release: Release) -> SignalDraft:
        """`release_published`."""
        at = present(release.published_at, "$.release.published_at")
        name = one_line(release.name or "") or one_line(release.tag_name)
        subject = Subject("release", str(release.id), name, release.html_url)
        title = sentence("Release published", name)
        return self.draft(_K.RELEASE_PUBLISHED, at, title, subject, f"release:{release.id}:published")

    # --- people ------------------------------------------------------------------------------------------------------

    def joined(self, member: Account, at: datetime, delivery_id: str) -> SignalDraft:
        """`member_joined`, in a repository or an organization."""
        subject = Subject("user", str(member.id), member.login, member.html_url)
        # GitHub sends neither an id nor a time: only the delivery's id distinguishes two joinings.
        key = f"member:{member.id}:{delivery_id}"
        return self.draft(_K.MEMBER_JOINED, at, f"{member.login} joined {self.container.name}", subject, key)

    def starred(self, starrer: Account, at: datetime) -> SignalDraft:
        """`repository_starred`."""
        repository = self.container
        subject = Subject("repository", repository.id, repository.name, repository.url)
        title, key = f"{starrer.login} starred {repository.name}", timed(f"star:{starrer.id}", at)
        return self.draft(_K.REPOSITORY_STARRED, at, title, subject, key)

    def forked(self, fork: Forkee) -> SignalDraft:
        """`repository_forked`."""
        subject = Subject("repository", str(fork.id), fork.full_name, fork.html_url)
        title = f"{self.container.name} forked as {fork.full_name}"
        return self.draft(_K.REPOSITORY_FORKED, fork.created_at, title, subject, f"fork:{fork.id}")


def in_repository(repository: Repository | ListedRepository, by: Account | None, payload: Mapping[str, Any]) -> Drafter:
    """The drafter for this repository; `by` is None if GitHub does not say who did it."""
    container = Container("repository", str(repository.id), repository.full_name, repository.html_url)
    return Drafter(container.id, container, actor_of(by), payload)


def in_organization(organization: Account, member: Account, by: Account | None, payload: Mapping[str, Any]) -> Drafter:
    """The drafter for this organization and member."""
    url = organization.html_url
    if url is None and member.html_url is not None:
        # GitHub sends no URL of the organization here; it has the same form as the member's.
        url = f"{member.html_url.rpartition('/')[0]}/{organization.login}"
    container = Container("organization", str(organization.id), organization.login, url)
    return Drafter(f"org:{container.id}", container, actor_of(by), payload)


def actor_of(account: Account | None) -> Actor | None:
    """Who did it; None if GitHub does not say (a deleted account)."""
    return None if account is None else Actor(str(account.id), account.login, account.html_url)


def sentence(head: str, tail: str | None) -> str:
    """`head: tail's first line`, or the head alone if there is no tail."""
    line = one_line(tail or "")
    return f"{head}: {line}" if line else head


def timed(key: str, at: datetime) -> str:
    """The key of something that can happen repeatedly to one thing."""
    return f"{key}:{epoch_seconds(at)}"


def is_noise(review: Review) -> bool:
    """Whether a review only wraps inline comments (which have their own signals), or is not submitted yet."""
    state = review.state.lower()
    return state == "pending" or (state == "commented" and not (review.body or "").strip())


def present(instant: datetime | None, field: str) -> datetime:
    """The instant.

    Raises:
        UnexpectedResponseError: it is null, in a state that requires it.
    """
    if instant is None:
        raise UnexpectedResponseError(f"GitHub's payload is not as documented: {field} is null")
    return instant
