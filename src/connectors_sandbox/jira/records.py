"""Atlassian's records: accounts, sites, projects, issues with their history and comments, webhooks."""

from datetime import datetime
from typing import Any

import attrs

CATEGORY_NAMES = {"new": "To Do", "indeterminate": "In Progress", "done": "Done", "undefined": "No Category"}


@attrs.frozen
class Status:
    """A workflow status; Jira groups all of them into four categories."""

    id: str
    name: str
    category: str


STATUSES = {
    one.id: one
    for one in (
        Status("10000", "To Do", "new"),
        Status("10001", "In Progress", "indeterminate"),
        Status("10002", "Done", "done"),
        Status("10003", "Won't Do", "done"),
        Status("10004", "In Review", "indeterminate"),
    )
}


@attrs.define(eq=False)
class User:
    """An Atlassian account."""

    account_id: str
    name: str
    time_zone: str = "Etc/UTC"
    site_ids: list[str] = attrs.field(factory=list)
    """The sites that it can open, in the order of `accessible-resources`."""


@attrs.define(eq=False)
class Project:
    """A project of a site."""

    id: str
    key: str
    name: str
    last_number: int = 0
    """Of its issues' keys. A number is never used twice, even when its issue is deleted."""
    is_archived: bool = False
    hidden_from: list[str] = attrs.field(factory=list)
    """The accounts that may not browse it."""

    def shows_to(self, account_id: str) -> bool:
        """Whether this account may browse it."""
        return account_id not in self.hidden_from


@attrs.define(eq=False)
class History:
    """One entry of an issue's changelog."""

    id: str
    author: User
    created: datetime
    items: list[dict[str, Any]]


@attrs.define(eq=False)
class Comment:
    """A comment; its text is plain, and rendered as wiki text or as a document."""

    id: str
    author: User
    text: str
    created: datetime
    updated: datetime
    editor: User


@attrs.define(eq=False)
class Issue:
    """An issue in its current state."""

    id: str
    number: int
    project: Project
    summary: str
    creator: User
    created: datetime
    updated: datetime
    status: Status = STATUSES["10000"]
    priority: str = "Medium"
    assignee: User | None = None
    histories: list[History] = attrs.field(factory=list)
    comments: list[Comment] = attrs.field(factory=list)
    versions: list[tuple[datetime, "Issue"]] = attrs.field(factory=list, repr=False)
    """When it changed, and a copy of it as it was then: a search index that lags has an earlier one than the last."""

    @property
    def key(self) -> str:
        """`OPS-12`."""
        return f"{self.project.key}-{self.number}"

    def keep_version(self, now: datetime) -> None:
        """Remember how it is from now on."""
        comments = [attrs.evolve(comment) for comment in self.comments]
        copy = attrs.evolve(self, histories=list(self.histories), comments=comments, versions=[])
        self.versions.append((now, copy))


@attrs.define(eq=False)
class Hook:
    """A dynamic webhook. Ids are small and repeat across sites."""

    id: int
    client_id: str
    account_id: str
    url: str
    jql: str
    events: tuple[str, ...]
    expires_at: datetime


@attrs.define(eq=False)
class AdminHook:
    """A webhook created by a site's administrator."""

    url: str
    secret: str | None = attrs.field(repr=False)
    events: tuple[str, ...]


@attrs.define(eq=False)
class Site:
    """A Jira site, or the Confluence of one."""

    id: str
    name: str
    is_jira: bool = True
    is_gone: bool = False
    comment_style: str = "comment"
    """`comment` sends `comment_*`, `issue` sends `jira:issue_updated` instead, `both` sends both."""
    body_style: str = "wiki"
    """The form of descriptions and comments in webhooks: `wiki` text or an `adf` document."""
    projects: dict[str, Project] = attrs.field(factory=dict)
    issues: dict[str, Issue] = attrs.field(factory=dict)
    hooks: dict[int, Hook] = attrs.field(factory=dict)
    admin_hooks: list[AdminHook] = attrs.field(factory=list)
    last_hook_id: int = 0
    last_id: int = 10_000
    deliveries: int = 0

    @property
    def url(self) -> str:
        """The site's own address, for links only."""
        return f"https://{self.name}.atlassian.net"

    def next_id(self) -> str:
        """A new id for anything but webhooks."""
        self.last_id += 1
        return str(self.last_id)
