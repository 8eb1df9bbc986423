"""The fields of GitHub's objects that we read, and no others.

Webhooks and REST answers describe the same things with the same names, so one class serves both. `structure.py` of the
toolbox fills them in.

Source: docs.github.com, "Webhook events and payloads" and the REST reference; each class names its own object.
"""

from datetime import datetime

import attrs

# --- people and repositories -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Account:
    """A user, bot or organization."""

    id: int
    login: str
    html_url: str | None = None


@attrs.frozen(kw_only=True)
class Owner:
    """The owner of a repository. Push payloads have little more than the id."""

    id: int


@attrs.frozen(kw_only=True)
class Repository:
    """A repository."""

    id: int
    full_name: str
    html_url: str
    owner: Owner | None = None
    pushed_at: datetime | None = None
    """Epoch seconds in push payloads, text everywhere else."""


@attrs.frozen(kw_only=True)
class ListedRepository:
    """A repository in the list of those that the user can access."""

    id: int
    full_name: str
    html_url: str
    archived: bool = False
    disabled: bool = False
    permissions: "Permissions | None" = None


@attrs.frozen(kw_only=True)
class Permissions:
    """What the user may do in it."""

    admin: bool = False


# --- issues and pull requests ------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PullRequestLink:
    """Present on an issue that is really a pull request."""

    merged_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Issue:
    """An issue, or a pull request in the list of issues."""

    number: int
    title: str
    html_url: str
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    user: Account | None = None
    pull_request: PullRequestLink | None = None


@attrs.frozen(kw_only=True)
class PullRequest:
    """A pull request."""

    number: int
    title: str
    html_url: str
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    user: Account | None = None


@attrs.frozen(kw_only=True)
class PullRequestShort:
    """The short form inside review payloads: it has no `merged`."""

    number: int
    title: str
    html_url: str


@attrs.frozen(kw_only=True)
class Comment:
    """A comment on an issue, a pull request, or a line of a pull request's diff."""

    id: int
    html_url: str
    created_at: datetime
    body: str | None = None
    user: Account | None = None


@attrs.frozen(kw_only=True)
class ListedComment(Comment):
    """A comment in a repository's list: only a URL says what it is on."""

    updated_at: datetime
    issue_url: str | None = None
    pull_request_url: str | None = None


@attrs.frozen(kw_only=True)
class Review:
    """A review of a pull request. `state` is lower-case in webhooks, upper-case in REST."""

    id: int
    state: str
    html_url: str
    submitted_at: datetime | None = None
    """None for the user's own review that is still pending."""
    body: str | None = None
    user: Account | None = None


# --- code --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Release:
    """A release."""

    id: int
    tag_name: str
    html_url: str
    name: str | None = None
    draft: bool = False
    created_at: datetime | None = None
    published_at: datetime | None = None
    author: Account | None = None


@attrs.frozen(kw_only=True)
class HeadCommit:
    """The last commit of a push. Its time is when it was committed, not when it was pushed."""

    message: str
    timestamp: datetime | None = None


@attrs.frozen(kw_only=True)
class Pusher:
    """Who pushed, by git's own account: a name without an id."""

    name: str


@attrs.frozen(kw_only=True)
class Activity:
    """One entry of a repository's activity list."""

    id: int
    before: str
    after: str
    ref: str
    timestamp: datetime
    activity_type: str
    actor: Account | None = None


@attrs.frozen(kw_only=True)
class Forkee:
    """The new repository of a fork."""

    id: int
    full_name: str
    html_url: str
    created_at: datetime


# --- what arrives by webhook -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class RepositoryEvent:
    """The fields of every repository event."""

    repository: Repository
    sender: Account | None = None
    organization: Owner | None = None


@attrs.frozen(kw_only=True)
class IssueEvent(RepositoryEvent):
    """`issues`."""

    issue: Issue
    assignee: Account | None = None


@attrs.frozen(kw_only=True)
class IssueCommentEvent(RepositoryEvent):
    """`issue_comment`."""

    issue: Issue
    comment: Comment


@attrs.frozen(kw_only=True)
class Team:
    """A team that was asked for a review."""

    id: int
    name: str


@attrs.frozen(kw_only=True)
class PullRequestEvent(RepositoryEvent):
    """`pull_request`."""

    pull_request: PullRequest
    requested_reviewer: Account | None = None
    requested_team: Team | None = None


@attrs.frozen(kw_only=True)
class ReviewEvent(RepositoryEvent):
    """`pull_request_review`."""

    pull_request: PullRequestShort
    review: Review


@attrs.frozen(kw_only=True)
class ReviewCommentEvent(RepositoryEvent):
    """`pull_request_review_comment`."""

    pull_request: PullRequestShort
    comment: Comment


@attrs.frozen(kw_only=True)
class PushEvent(RepositoryEvent):
    """`push`."""

    ref: str
    before: str
    after: str
    compare: str | None = None
    deleted: bool = False
    head_commit: HeadCommit | None = None
    pusher: Pusher | None = None


@attrs.frozen(kw_only=True)
class ReleaseEvent(RepositoryEvent):
    """`release`."""

    release: Release


@attrs.frozen(kw_only=True)
class MemberEvent(RepositoryEvent):
    """`member`."""

    member: Account


@attrs.frozen(kw_only=True)
class StarEvent(RepositoryEvent):
    """`star`."""

    sender: Account
    starred_at: datetime


@attrs.frozen(kw_only=True)
class ForkEvent(RepositoryEvent):
    """`fork`."""

    forkee: Forkee


@attrs.frozen(kw_only=True)
class Membership:
    """A user's membership in an organization."""

    user: Account


@attrs.frozen(kw_only=True)
class OrganizationEvent:
    """`organization`, the only tracked event without a repository."""

    organization: Account
    membership: Membership
    sender: Account | None = None
