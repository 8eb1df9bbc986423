"""Jira's JSON: version 2 in webhooks (text bodies, the site's own links), version 3 in REST."""

from datetime import datetime
from typing import Any

from connectors_sandbox.jira.records import (
    CATEGORY_NAMES,
    Comment,
    History,
    Issue,
    Project,
    Site,
    Status,
    User,
)


def show_time(at: datetime) -> str:
    """`2024-04-05T10:00:00.000+0000`: milliseconds, and a UTC offset without a colon."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+0000"


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since 1970."""
    return int(at.timestamp()) * 1000 + at.microsecond // 1000


def show_document(text: str) -> dict[str, Any]:
    """The text as an Atlassian document."""
    paragraphs = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in text.splitlines() if line
    ]
    return {"type": "doc", "version": 1, "content": paragraphs}


def show_user(site: Site, user: User) -> dict[str, Any]:
    """A person; without e-mail address, as privacy settings usually have it."""
    return {
        "self": f"{site.url}/rest/api/2/user?accountId={user.account_id.replace(':', '%3A')}",
        "accountId": user.account_id,
        "displayName": user.name,
        "active": True,
        "timeZone": user.time_zone,
        "accountType": "atlassian",
    }


def show_status(site: Site, status: Status) -> dict[str, Any]:
    """A status with its category."""
    category = {"key": status.category, "name": CATEGORY_NAMES[status.category]}
    return {
        "self": f"{site.url}/rest/api/2/status/{status.id}",
        "id": status.id,
        "name": status.name,
        "statusCategory": category,
    }


def show_project(site: Site, project: Project) -> dict[str, Any]:
    """A project."""
    return {
        "self": f"{site.url}/rest/api/2/project/{project.id}",
        "id": project.id,
        "key": project.key,
        "name": project.name,
        "projectTypeKey": "software",
    }


def show_fields(site: Site, issue: Issue, version: int = 3) -> dict[str, Any]:
    """All fields of an issue."""
    return {
        "summary": issue.summary,
        "description": show_document(issue.summary) if version == 3 or site.body_style == "adf" else issue.summary,  # noqa: PLR2004  REST v3
        "issuetype": {"id": "10100", "name": "Task", "subtask": False},
        "project": show_project(site, issue.project),
        "priority": {"id": "3", "name": issue.priority},
        "status": show_status(site, issue.status),
        "assignee": None if issue.assignee is None else show_user(site, issue.assignee),
        "creator": show_user(site, issue.creator),
        "reporter": show_user(site, issue.creator),
        "created": show_time(issue.created),
        "updated": show_time(issue.updated),
        "resolutiondate": None,
        "labels": [],
    }


def show_issue(site: Site, issue: Issue, fields: dict[str, Any], version: int = 3) -> dict[str, Any]:
    """An issue with these fields."""
    return {
        "id": issue.id,
        "key": issue.key,
        "self": f"{site.url}/rest/api/{version}/issue/{issue.id}",
        "fields": fields,
    }


def show_comment(site: Site, issue: Issue, comment: Comment, version: int = 3) -> dict[str, Any]:
    """A comment: always a document in REST v3, text or document in webhooks."""
    is_document = version == 3 or site.body_style == "adf"  # noqa: PLR2004  REST v3
    return {
        "self": f"{site.url}/rest/api/{version}/issue/{issue.id}/comment/{comment.id}",
        "id": comment.id,
        "author": show_user(site, comment.author),
        "updateAuthor": show_user(site, comment.editor),
        "body": show_document(comment.text) if is_document else comment.text,
        "created": show_time(comment.created),
        "updated": show_time(comment.updated),
        "jsdPublic": True,
    }


def show_history(site: Site, history: History, *, with_epoch: bool = False) -> dict[str, Any]:
    """A history entry; the bulk call may give its time as a number."""
    return {
        "id": history.id,
        "author": show_user(site, history.author),
        "created": epoch_ms(history.created) if with_epoch else show_time(history.created),
        "items": history.items,
    }
