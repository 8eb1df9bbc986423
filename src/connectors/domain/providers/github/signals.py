"""From GitHub's objects to signals: one function a kind, and the dedupe keys.

Both paths end here: `events.py` comes from webhooks, `streams.py` from the REST API. A key is made of what both can
see (the repository's id, a number or id, whole epoch seconds), never of the delivery, so that push, redelivery, sync
and backfill agree. Keys use `number` and not `id`: the list of issues gives a pull request another id than webhooks.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

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

Payload = Mapping[str, Any]
AnyRepository = Repository | ListedRepository

BRANCHES = "refs/heads/"
"""What a pushed ref starts with if it is a branch; tags are told by their releases."""

LONGEST_REF = 512
"""Characters. GitHub takes refs of 255 bytes; a longer one would not fit into a key either."""

NO_COMMIT = "0" * 40
"""Before a branch was created, and after it was deleted."""


# --- parts -------------------------------------------------------------------------------------------------------


def actor_of(account: Account | None) -> Actor | None:
    """Who did it, or None where GitHub does not say (a deleted account)."""
    return None if account is None else Actor(str(account.id), account.login, account.html_url)


def container_of(repository: AnyRepository) -> Container:
    """The repository as the place where it happened."""
    return Container("repository", str(repository.id), repository.full_name, repository.html_url)


def sentence(head: str, tail: str | None) -> str:
    """`head: tail's first line`, or the head alone if there is no tail."""
    line = one_line(tail or "")
    return f"{head}: {line}" if line else head


def is_noise(review: Review) -> bool:
    """Whether a review is only the shell of inline comments (which are signals themselves), or not submitted yet."""
    state = review.state.lower()
    return state == "pending" or (state == "commented" and not (review.body or "").strip())


def present(instant: datetime | None, field: str) -> datetime:
    """The instant.

    Raises:
        UnexpectedResponseError: it is null, in a state that cannot be without it.
    """
    if instant is None:
        raise UnexpectedResponseError(f"GitHub's payload is not as documented: {field} is null")
    return instant


# --- issues ------------------------------------------------------------------------------------------------------


def issue_signal(
    kind: SignalKind, word: str, at: datetime, key: str, issue: Issue, repository: AnyRepository, actor: Actor | None,
    payload: Payload,
) -> SignalDraft:  # fmt: skip
    """A signal about an issue. `word` says what happened to it, `key` is the key's last part."""
    return SignalDraft(
        kind=kind,
        occurred_at=at,
        title=sentence(f"Issue #{issue.number} {word}", issue.title),
        url=issue.html_url,
        actor=actor,
        subject=Subject("issue", str(issue.number), one_line(issue.title), issue.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:issue:{issue.number}:{key}",
        payload=payload,
    )


def issue_created(issue: Issue, repository: AnyRepository, actor: Actor | None, payload: Payload) -> SignalDraft:
    """`issue_created`."""
    kind = SignalKind.ISSUE_CREATED
    return issue_signal(kind, "opened", issue.created_at, "created", issue, repository, actor, payload)


def issue_closed(issue: Issue, repository: AnyRepository, actor: Actor | None, payload: Payload) -> SignalDraft:
    """`issue_closed`. Raises UnexpectedResponseError if it is not."""
    at = present(issue.closed_at, "$.issue.closed_at")
    key = f"closed:{epoch_seconds(at)}"
    return issue_signal(SignalKind.ISSUE_CLOSED, "closed", at, key, issue, repository, actor, payload)


# --- pull requests -----------------------------------------------------------------------------------------------


def pull_signal(
    kind: SignalKind, word: str, at: datetime, key: str, pull: PullRequest | Issue, repository: AnyRepository,
    actor: Actor | None, payload: Payload,
) -> SignalDraft:  # fmt: skip
    """A signal about a pull request, which may be given by its shell in the list of issues."""
    return SignalDraft(
        kind=kind,
        occurred_at=at,
        title=sentence(f"Pull request #{pull.number} {word}", pull.title),
        url=pull.html_url,
        actor=actor,
        subject=Subject("pull_request", str(pull.number), one_line(pull.title), pull.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:pull:{pull.number}:{key}",
        payload=payload,
    )


def pull_opened(
    pull: PullRequest | Issue, repository: AnyRepository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`pull_request_opened`."""
    kind = SignalKind.PULL_REQUEST_OPENED
    return pull_signal(kind, "opened", pull.created_at, "opened", pull, repository, actor, payload)


def pull_ended(
    pull: PullRequest | Issue, repository: AnyRepository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`pull_request_merged` or `pull_request_closed`. Raises UnexpectedResponseError if it is still open."""
    link = pull.pull_request if isinstance(pull, Issue) else pull
    if link is not None and link.merged_at is not None:
        kind = SignalKind.PULL_REQUEST_MERGED
        return pull_signal(kind, "merged", link.merged_at, "merged", pull, repository, actor, payload)
    at = present(pull.closed_at, "$.pull_request.closed_at")
    key = f"closed:{epoch_seconds(at)}"
    return pull_signal(SignalKind.PULL_REQUEST_CLOSED, "closed", at, key, pull, repository, actor, payload)


def review_requested(
    pull: PullRequest, reviewer: Account | Team, repository: Repository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`review_requested`."""
    name = reviewer.login if isinstance(reviewer, Account) else reviewer.name
    at = pull.updated_at
    key = f"review_requested:{reviewer.id}:{epoch_seconds(at)}"
    word = f"review requested from {one_line(name)}"
    return pull_signal(SignalKind.REVIEW_REQUESTED, word, at, key, pull, repository, actor, payload)


def pull_reviewed(
    number: int, review: Review, repository: AnyRepository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`pull_request_reviewed`."""
    state = one_line(review.state.lower().replace("_", " "))
    return SignalDraft(
        kind=SignalKind.PULL_REQUEST_REVIEWED,
        occurred_at=present(review.submitted_at, "$.review.submitted_at"),
        title=sentence(f"Review of pull request #{number} ({state})", review.body),
        url=review.html_url,
        actor=actor,
        subject=Subject("review", str(review.id), f"Review of pull request #{number}", review.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:review:{review.id}",
        payload=payload,
    )


# --- comments ----------------------------------------------------------------------------------------------------


def commented(
    place: str, number: int, comment: Comment, repository: AnyRepository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`issue_commented`, `pull_request_commented`, or the latter for a comment on a line of the diff.

    Args:
        place: `issue`, `pull request` or `diff of pull request`.
        number: of the issue or pull request.
        comment: the comment.
        repository: where.
        actor: its author.
        payload: what came.
    """
    where = f"{place} #{number}"
    kind = SignalKind.ISSUE_COMMENTED if place == ISSUE else SignalKind.PULL_REQUEST_COMMENTED
    family = "review_comment" if place == DIFF else "comment"
    return SignalDraft(
        kind=kind,
        occurred_at=comment.created_at,
        title=sentence(f"Comment on {where}", comment.body),
        url=comment.html_url,
        actor=actor,
        subject=Subject("comment", str(comment.id), f"Comment on {where}", comment.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:{family}:{comment.id}:created",
        payload=payload,
    )


ISSUE = "issue"
PULL_REQUEST = "pull request"
DIFF = "diff of pull request"


# --- code --------------------------------------------------------------------------------------------------------


def code_pushed(
    *, ref: str, before: str, after: str, at: datetime, message: str | None, url: str | None,
    repository: AnyRepository, actor: Actor | None, payload: Payload,
) -> SignalDraft:  # fmt: skip
    """`code_pushed`. Without a `url` the comparison of the two commits, or the commit that a new branch began with."""
    if max(len(ref), len(before), len(after)) > LONGEST_REF:
        raise UnexpectedResponseError("GitHub's payload is not as documented: a ref or commit id is too long")
    branch = ref.removeprefix(BRANCHES)
    changes = f"commit/{after}" if before == NO_COMMIT else f"compare/{before}...{after}"
    return SignalDraft(
        kind=SignalKind.CODE_PUSHED,
        occurred_at=at,
        title=sentence(f"Push to {one_line(branch)}", message),
        url=url or f"{repository.html_url}/{changes}",
        actor=actor,
        subject=Subject("branch", ref, one_line(branch), f"{repository.html_url}/tree/{branch}"),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:push:{ref}:{before}:{after}",
        payload=payload,
    )


def release_published(
    release: Release, repository: AnyRepository, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`release_published`. Raises UnexpectedResponseError if it is not."""
    name = one_line(release.name or "") or one_line(release.tag_name)
    return SignalDraft(
        kind=SignalKind.RELEASE_PUBLISHED,
        occurred_at=present(release.published_at, "$.release.published_at"),
        title=sentence("Release published", name),
        url=release.html_url,
        actor=actor,
        subject=Subject("release", str(release.id), name, release.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:release:{release.id}:published",
        payload=payload,
    )


# --- people ------------------------------------------------------------------------------------------------------


def member_joined(
    member: Account, place: Container, at: datetime, key: str, actor: Actor | None, payload: Payload
) -> SignalDraft:
    """`member_joined`, in a repository or an organization."""
    return SignalDraft(
        kind=SignalKind.MEMBER_JOINED,
        occurred_at=at,
        title=f"{member.login} joined {place.name}",
        url=member.html_url,
        actor=actor,
        subject=Subject("user", str(member.id), member.login, member.html_url),
        container=place,
        dedupe_key=f"github:{key}",
        payload=payload,
    )


def repository_starred(starrer: Account, at: datetime, repository: Repository, payload: Payload) -> SignalDraft:
    """`repository_starred`."""
    return SignalDraft(
        kind=SignalKind.REPOSITORY_STARRED,
        occurred_at=at,
        title=f"{starrer.login} starred {repository.full_name}",
        url=repository.html_url,
        actor=actor_of(starrer),
        subject=Subject("repository", str(repository.id), repository.full_name, repository.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:star:{starrer.id}:{epoch_seconds(at)}",
        payload=payload,
    )


def repository_forked(forkee: Forkee, repository: Repository, actor: Actor | None, payload: Payload) -> SignalDraft:
    """`repository_forked`."""
    return SignalDraft(
        kind=SignalKind.REPOSITORY_FORKED,
        occurred_at=forkee.created_at,
        title=f"{repository.full_name} forked as {forkee.full_name}",
        url=forkee.html_url,
        actor=actor,
        subject=Subject("repository", str(forkee.id), forkee.full_name, forkee.html_url),
        container=container_of(repository),
        dedupe_key=f"github:{repository.id}:fork:{forkee.id}",
        payload=payload,
    )
