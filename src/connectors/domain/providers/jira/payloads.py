"""The fields of Jira's objects that we read, and no others.

Webhooks and REST show the same objects, so one set of classes serves both. All of it is foreign data: a reader returns
None (or an empty tuple) for what is missing, of another type or too large, and never raises.

Source: Jira platform webhooks; REST v3 (issues, comments, changelogs).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.instant import from_epoch_seconds, read_instant
from connectors.domain.model.signal import one_line
from connectors.domain.providers.toolbox.foreign import id_reader, read_each, read_line, read_list, read_object

read_id = id_reader(128, characters="A-Za-z0-9:._@-", numbers=True)
"""Ids and keys: issue ids are digits, keys look like `OPS-12`, account ids like `712020:6f1c…`. The same id may be a
number or a text."""
EPOCH_MS_FROM = 100_000_000_000
"""Epoch numbers from here on are milliseconds: as seconds they would be in the year 5138 or later."""
MAX_ITEMS = 1000
"""Changed fields that are read of one history entry; an issue has a few hundred fields at most."""
EXCERPT = 120
"""Characters of a comment that go into a title."""
MAX_NODES = 500
"""Nodes of a rich-text document that are searched for an excerpt."""

Categories = Mapping[str, str]
"""Status id → category key: `new`, `indeterminate`, `done`, `undefined`."""


def read_time(value: Any) -> datetime | None:
    """The instant of an ISO 8601 text or an epoch number (milliseconds, or seconds in bulk changelogs)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return read_instant(value)
    try:
        return from_epoch_seconds(value / 1000 if abs(value) >= EPOCH_MS_FROM else value)
    except (ValueError, OverflowError):
        return None


def excerpt_of(body: Any) -> str | None:
    """The first words of a comment: wiki markup (a string) unchanged, a rich-text document (ADF) as its text."""
    text = read_line(body if isinstance(body, str) else "".join(_adf_texts(body)))
    return None if text is None else one_line(text, EXCERPT)


def _adf_texts(document: Any) -> Iterator[str]:
    """The document's texts in reading order. Iterative, because the sender chooses the depth."""
    stack, looked_at = [document], 0
    while stack and looked_at < MAX_NODES:
        looked_at += 1
        node = read_object(stack.pop())
        text = node.get("text") if node.get("type") == "text" else read_object(node.get("attrs")).get("text")
        if isinstance(text, str):
            yield text
        stack.extend(reversed(read_list(node.get("content"))[:MAX_NODES]))
        if node.get("type") in {"paragraph", "heading", "hardBreak", "listItem"}:
            yield "" if text else " "


@attrs.frozen
class Person:
    """A user. `emailAddress` is usually hidden and never read."""

    id: str
    name: str

    @classmethod
    def read(cls, value: Any) -> "Person | None":
        """The user; None without an id. A documentation example misspells it `accoundId`, which is read too."""
        source = read_object(value)
        account_id = read_id(source.get("accountId")) or read_id(source.get("accoundId"))
        return None if account_id is None else cls(account_id, read_line(source.get("displayName")) or account_id)


@attrs.frozen
class Project:
    """A project; with an id only if the source has one."""

    id: str | None
    key: str
    name: str

    @classmethod
    def read(cls, value: Any) -> "Project | None":
        """The project, or None without a key."""
        source = read_object(value)
        key = read_id(source.get("key"))
        return None if key is None else cls(read_id(source.get("id")), key, read_line(source.get("name")) or key)


@attrs.frozen
class Issue:
    """An issue. Comment events have a shortened one."""

    id: str
    key: str | None
    summary: str | None
    created: datetime | None
    updated: datetime | None
    creator: Person | None
    project: Project | None
    status_id: str | None
    status_category: str | None

    @classmethod
    def read(cls, value: Any) -> "Issue | None":
        """The issue, or None without an id."""
        source = read_object(value)
        issue_id, key, fields = read_id(source.get("id")), read_id(source.get("key")), read_object(source.get("fields"))
        if issue_id is None:
            return None
        status = read_object(fields.get("status"))
        project = Project.read(fields.get("project"))
        if project is None and key is not None and "-" in key:
            prefix = key.rpartition("-")[0]
            project = Project(None, prefix, prefix)
        return cls(
            id=issue_id,
            key=key,
            summary=read_line(fields.get("summary")),
            created=read_time(fields.get("created")),
            updated=read_time(fields.get("updated")),
            creator=Person.read(fields.get("creator")) or Person.read(fields.get("reporter")),
            project=project,
            status_id=read_id(status.get("id")),
            status_category=read_id(read_object(status.get("statusCategory")).get("key")),
        )

    @property
    def label(self) -> str:
        """`OPS-12`, or the id where the key is missing."""
        return self.key or self.id

    @property
    def name(self) -> str:
        """The label, with the summary."""
        return self.label if self.summary is None else f"{self.label} {self.summary}"


@attrs.frozen
class Comment:
    """A comment on an issue."""

    id: str
    author: Person | None
    editor: Person | None
    created: datetime | None
    updated: datetime | None
    excerpt: str | None

    @classmethod
    def read(cls, value: Any) -> "Comment | None":
        """The comment, or None without an id."""
        source = read_object(value)
        comment_id = read_id(source.get("id"))
        if comment_id is None:
            return None
        return cls(
            id=comment_id,
            author=Person.read(source.get("author")),
            editor=Person.read(source.get("updateAuthor")),
            created=read_time(source.get("created")),
            updated=read_time(source.get("updated")),
            excerpt=excerpt_of(source.get("body")),
        )


@attrs.frozen
class ChangeItem:
    """One changed field. The same field may occur twice in one change."""

    field: str
    from_id: str | None
    to_id: str | None
    from_text: str | None
    to_text: str | None

    @classmethod
    def read(cls, value: Any) -> "ChangeItem | None":
        """The change of a field, or None without the field's name. `fieldId` is the untranslated name."""
        source = read_object(value)
        field = read_line(source.get("fieldId")) or read_line(source.get("field"))
        if field is None:
            return None
        return cls(
            field=field,
            from_id=read_id(source.get("from")),
            to_id=read_id(source.get("to")),
            from_text=read_line(source.get("fromString")),
            to_text=read_line(source.get("toString")),
        )


@attrs.frozen
class Change:
    """One entry of an issue's history: what one edit changed."""

    id: str
    items: tuple[ChangeItem, ...]
    author: Person | None
    created: datetime | None

    @classmethod
    def read(cls, value: Any) -> "Change | None":
        """The change, or None without an id or a readable item."""
        source = read_object(value)
        change_id = read_id(source.get("id"))
        items = tuple(read_each(read_list(source.get("items"))[:MAX_ITEMS], ChangeItem.read))
        if change_id is None or not items:
            return None
        return cls(change_id, items, Person.read(source.get("author")), read_time(source.get("created")))


@attrs.frozen
class Thing:
    """A sprint, version or worklog: an id, a name, and what it belongs to."""

    id: str
    name: str
    owner_id: str | None
    started: datetime | None
    author: Person | None

    @classmethod
    def read(cls, value: Any) -> "Thing | None":
        """The thing, or None without an id."""
        source = read_object(value)
        thing_id = read_id(source.get("id"))
        if thing_id is None:
            return None
        return cls(
            id=thing_id,
            name=read_line(source.get("name")) or thing_id,
            owner_id=read_id(source.get("projectId")) or read_id(source.get("issueId")),
            started=read_time(source.get("started")),
            author=Person.read(source.get("author")),
        )
