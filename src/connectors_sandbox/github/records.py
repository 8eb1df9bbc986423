"""The records of the sandbox's GitHub: plain, mutable, identified as GitHub identifies them."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, TypeVar

import attrs

ZERO_SHA: Final = "0" * 40
"""`before` of a new branch and `after` of a deleted one."""

STATES: Final = ("all", "open", "closed")
"""The values of the lists' `state` filter."""

LONGEST_LAG: Final = timedelta(minutes=15)
"""Earlier versions of an item are kept for that long after it changed, for lists that lag."""

AccountKind = Literal["User", "Bot", "Organization"]
T = TypeVar("T")


class Permission(Enum):
    """The permission of a collaborator."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@attrs.define(eq=False)
class Account:
    """A user, bot or organization."""

    id: int
    login: str
    kind: AccountKind
    created_at: datetime
    name: str | None = None
    email: str | None = None
    owners: set[int] = attrs.field(factory=set)
    """User ids, of an organization."""
    members: set[int] = attrs.field(factory=set)
    """User ids including owners, of an organization."""


class Ordering:
    """Ids ordered by creation and by last change, sliced in logarithmic time however many there are."""

    __slots__ = ("created", "updated")

    def __init__(self) -> None:
        self.created: list[int] = []
        self.updated: list[tuple[datetime, int]] = []

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.created)

    def add(self, key: int, updated_at: datetime) -> None:
        """Add an id."""
        insort(self.created, key)
        insort(self.updated, (updated_at, key))

    def discard(self, key: int, updated_at: datetime) -> None:
        """Remove an id whose last change was at `updated_at`; an unknown id is ignored."""
        index = bisect_left(self.created, key)
        if self.created[index : index + 1] == [key]:
            del self.created[index]
        index = bisect_left(self.updated, (updated_at, key))
        if self.updated[index : index + 1] == [(updated_at, key)]:
            del self.updated[index]

    def refill(self, rows: Iterable[tuple[int, datetime]]) -> "Ordering":
        """Replace what it holds by these ids and their last changes: adding one by one would be quadratic."""
        self.updated = sorted((updated_at, key) for key, updated_at in rows)
        self.created = sorted(key for _, key in self.updated)
        return self

    def page(
        self, *, by_updated: bool, is_ascending: bool, since: datetime | None, start: int, stop: int
    ) -> tuple[list[int], int]:
        """The ids at positions start to stop of the requested order, and their total number.

        `since` keeps those that changed at that instant or later.
        """
        first = bisect_left(self.updated, (since, -1)) if since is not None else 0
        if by_updated:
            total = len(self.updated) - first
            rows = _cut(self.updated, first, total, start, stop, is_ascending=is_ascending)
            return [key for _, key in rows], total
        kept = sorted(key for _, key in self.updated[first:]) if first else self.created
        return _cut(kept, 0, len(kept), start, stop, is_ascending=is_ascending), len(kept)


def _cut(rows: Sequence[T], first: int, total: int, start: int, stop: int, *, is_ascending: bool) -> list[T]:
    """Positions start to stop of `rows` from `first` on, counted from either end."""
    start, stop = min(start, total), min(stop, total)
    if is_ascending:
        return list(rows[first + start : first + stop])
    end = first + total
    return list(rows[end - stop : end - start])[::-1]


@attrs.define(eq=False)
class Issue:
    """An issue, or the shell of a pull request."""

    id: int
    number: int
    title: str
    body: str | None
    user_id: int
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    assignee_ids: tuple[int, ...] = ()
    comment_count: int = 0
    pull: "Pull | None" = None
    past: "list[Issue]" = attrs.field(factory=list, repr=False)
    """Its earlier versions, oldest first."""

    def remember(self, now: datetime) -> None:
        """Keep the present version, before a change."""
        pull = None if self.pull is None else attrs.evolve(self.pull, reviews=[])
        self.past = [*_recent(self.past, self.updated_at, now), attrs.evolve(self, pull=pull, past=[])]

    @property
    def state(self) -> Literal["open", "closed"]:
        """As in the API."""
        return "open" if self.closed_at is None else "closed"


@attrs.define(eq=False)
class Pull:
    """The fields that a pull request has in addition to its issue; its `id` differs from the issue's."""

    id: int
    head_ref: str
    head_sha: str
    base_ref: str
    base_sha: str
    is_draft: bool = False
    merged_at: datetime | None = None
    merged_by_id: int | None = None
    merge_sha: str | None = None
    reviewer_ids: tuple[int, ...] = ()
    reviews: "list[Review]" = attrs.field(factory=list)


@attrs.define(eq=False)
class Review:
    """A review of a pull request."""

    id: int
    user_id: int
    state: str
    """In upper case, as in REST; webhooks use lower case."""
    body: str | None
    submitted_at: datetime | None
    """None while pending."""
    commit_id: str


@attrs.define(eq=False)
class Comment:
    """A comment on an issue or pull request; with `path`, on a line of a diff."""

    id: int
    number: int
    user_id: int
    body: str
    created_at: datetime
    updated_at: datetime
    path: str | None = None
    commit_id: str = ""
    review_id: int | None = None
    past: "list[Comment]" = attrs.field(factory=list, repr=False)
    """Its earlier versions, oldest first."""

    def remember(self, now: datetime) -> None:
        """Keep the present version, before a change."""
        self.past = [*_recent(self.past, self.updated_at, now), attrs.evolve(self, past=[])]


V = TypeVar("V", Issue, Comment)


def _recent(versions: list[V], replaced_at: datetime, now: datetime) -> list[V]:
    """The versions that a lagging list may still show, of those that were replaced until then."""
    if not versions:
        return []
    ends = [*(one.updated_at for one in versions[1:]), replaced_at]
    return [one for one, end in zip(versions, ends, strict=True) if one.updated_at != end and end >= now - LONGEST_LAG]


def versions_shown(items: Mapping[int, V], is_indexed: Callable[[datetime], bool]) -> dict[int, V]:
    """Each item in its latest version that is indexed; without those that have none yet."""
    shown: dict[int, V] = {}
    for key, item in items.items():
        version: V | None = item
        earlier = list(item.past)
        while version is not None and not is_indexed(version.updated_at):
            version = earlier.pop() if earlier else None
        if version is not None:
            shown[key] = version
    return shown


@attrs.define(eq=False)
class Release:
    """A release."""

    id: int
    tag: str
    name: str | None
    body: str | None
    author_id: int
    is_draft: bool
    is_prerelease: bool
    created_at: datetime
    """The date of the commit that it was made from."""
    published_at: datetime | None
    changed_at: datetime
    """When it was made or published here; never shown."""


@attrs.frozen
class Activity:
    """A change of a ref."""

    id: int
    before: str
    after: str
    ref: str
    timestamp: datetime
    activity_type: str
    actor_id: int


@attrs.frozen
class IssueEvent:
    """A change of an issue's state."""

    id: int
    event: str
    actor_id: int
    created_at: datetime
    number: int
    assignee_id: int | None = None
    commit_id: str | None = None


@attrs.define(eq=False)
class Repository:
    """A repository and its contents."""

    id: int
    owner: Account
    name: str
    is_private: bool
    created_at: datetime
    updated_at: datetime
    pushed_at: datetime
    description: str | None = None
    default_branch: str = "main"
    has_issues: bool = True
    is_archived: bool = False
    fork_of: int | None = None
    collaborators: dict[int, Permission] = attrs.field(factory=dict, repr=False)
    branches: dict[str, str] = attrs.field(factory=dict, repr=False)
    issues: dict[int, Issue] = attrs.field(factory=dict, repr=False)
    issue_orders: dict[str, Ordering] = attrs.field(factory=lambda: {name: Ordering() for name in STATES}, repr=False)
    """Issues and pull requests together: all, open, closed."""
    pull_orders: dict[str, Ordering] = attrs.field(factory=lambda: {name: Ordering() for name in STATES}, repr=False)
    comments: dict[int, Comment] = attrs.field(factory=dict, repr=False)
    comment_order: Ordering = attrs.field(factory=Ordering, repr=False)
    comments_by_number: dict[int, list[int]] = attrs.field(factory=dict, repr=False)
    review_comments: dict[int, Comment] = attrs.field(factory=dict, repr=False)
    review_comment_order: Ordering = attrs.field(factory=Ordering, repr=False)
    releases: list[Release] = attrs.field(factory=list, repr=False)
    activity: list[Activity] = attrs.field(factory=list, repr=False)
    events: list[IssueEvent] = attrs.field(factory=list, repr=False)
    stars: dict[int, datetime] = attrs.field(factory=dict, repr=False)
    last_number: int = 0

    @property
    def full_name(self) -> str:
        """As in `octo/hello`."""
        return f"{self.owner.login}/{self.name}"

    def add_to_orders(self, issue: Issue) -> None:
        """Add an issue or pull request to the orders, or move it to where its new state belongs; call
        `remove_from_orders` first."""
        self.issues[issue.number] = issue
        for orders in self._orders_of(issue):
            orders["all"].add(issue.number, issue.updated_at)
            orders[issue.state].add(issue.number, issue.updated_at)

    def remove_from_orders(self, issue: Issue) -> None:
        """Remove an issue from the orders before it changes."""
        for orders in self._orders_of(issue):
            orders["all"].discard(issue.number, issue.updated_at)
            orders[issue.state].discard(issue.number, issue.updated_at)

    def _orders_of(self, issue: Issue) -> tuple[dict[str, Ordering], ...]:
        return (self.issue_orders,) if issue.pull is None else (self.issue_orders, self.pull_orders)
