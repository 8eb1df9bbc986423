"""The table of events: which become signals, how, and which are ignored on purpose.

Source: Webhooks (Jira platform).
"""

from collections.abc import Callable, Mapping
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import SignalDraft, SignalKind
from connectors.domain.providers.contract import Family
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.event_rule import JiraRule, P
from connectors.domain.providers.jira.payloads import Change, Comment, Issue, Project, Thing
from connectors.domain.providers.jira.signals import (
    CHANGE_KINDS,
    Drafter,
    Site,
    comment_created,
    comment_deleted,
    comment_edited,
    issue_changed,
    issue_created,
    issue_deleted,
    knows_kind,
    project_created,
    thing_became,
    work_logged,
)
from connectors.domain.providers.toolbox.rules import derive_families, kinds_of, subscribed_events


def _on(
    payload: type[P],
    member: str,
    make: Callable[[P, Drafter], SignalDraft],
    family: str,
    key: str,
    *kinds: SignalKind,
    is_dynamic: bool = True,
) -> JiraRule[P]:
    return JiraRule(
        payload=payload,
        member=member,
        make=make,
        family=family,
        key=key,
        kinds=frozenset(kinds),
        is_dynamic=is_dynamic,
    )


_K = SignalKind
UPDATED = "jira:issue_updated"
PROJECT_CREATED = "project_created"

# fmt: off
RULES: Mapping[str, JiraRule[Any]] = {
    "jira:issue_created": _on(Issue, "issue", issue_created, "issues", "issue:{id}:created", _K.ISSUE_CREATED),
    UPDATED: _on(Change, "changelog", issue_changed, "issues", "issue:{id}:change:{changelog_id}", *CHANGE_KINDS),
    "jira:issue_deleted": _on(Issue, "issue", issue_deleted, "deletions", "issue:{id}:deleted", _K.ISSUE_DELETED),
    "comment_created": _on(
        Comment, "comment", comment_created, "comments", "comment:{id}:created", _K.ISSUE_COMMENTED),
    "comment_updated": _on(
        Comment, "comment", comment_edited, "comment edits", "comment:{id}:edited:{updated_ms}",
        _K.ISSUE_COMMENT_EDITED),
    "comment_deleted": _on(
        Comment, "comment", comment_deleted, "deletions", "comment:{id}:deleted", _K.ISSUE_COMMENT_DELETED),
    "sprint_started": _on(
        Thing, "sprint", thing_became("started"), "sprints", "sprint:{id}:started", _K.SPRINT_STARTED),
    "sprint_closed": _on(
        Thing, "sprint", thing_became("closed"), "sprints", "sprint:{id}:closed", _K.SPRINT_CLOSED),
    "jira:version_released": _on(
        Thing, "version", thing_became("released"), "releases", "version:{id}:released", _K.RELEASE_PUBLISHED),
    "worklog_created": _on(
        Thing, "worklog", work_logged, "worklogs and projects", "worklog:{id}:created", _K.WORK_LOGGED,
        is_dynamic=False),
    PROJECT_CREATED: _on(
        Project, "project", project_created, "worklogs and projects", "project:{id}:created", _K.PROJECT_CREATED,
        is_dynamic=False),
}
# fmt: on
"""Every event that becomes a signal. Only the names of issue and version events have a prefix."""

COMMENT_UPDATES: Mapping[str, str] = {
    "issue_commented": "comment_created",
    "issue_comment_edited": "comment_updated",
    "issue_comment_deleted": "comment_deleted",
}
"""`issue_event_type_name` of an update that contains a comment → the equivalent event. Some sites send such
updates in addition to that event, or instead of it."""

IGNORED_ON_PURPOSE: Mapping[str, str] = {
    **dict.fromkeys(("issue_property_set", "issue_property_deleted"), "data that apps keep for themselves"),
    **dict.fromkeys(("issuelink_created", "issuelink_deleted"), "an update of the linked issues says it"),
    **dict.fromkeys(("attachment_created", "attachment_deleted"), "an update of the issue says it"),
    **dict.fromkeys(
        ("board_created", "board_updated", "board_deleted", "board_configuration_changed"), "a view of issues, not work"
    ),
    "jira:version_moved": "the order of a list",
    "user_updated": "profile data",
    **dict.fromkeys(
        (
            *("sprint_created", "sprint_updated", "sprint_deleted"),
            *("jira:version_created", "jira:version_updated", "jira:version_merged"),
            *("jira:version_unreleased", "jira:version_deleted"),
            *("worklog_updated", "worklog_deleted", "jira:worklog_updated"),
            *("project_updated", "project_deleted", "project_soft_deleted", "project_restored_deleted"),
            *("project_archived", "project_restored_archived"),
            *("user_created", "user_deleted"),
        ),
        "not tracked",
    ),
}
"""Events that a site can send and that do not become signals → why."""

FAMILIES = derive_families(
    RULES,
    Family(name="issues"),
    Family(name="comments"),
    # Reading sees only the last of several edits between two reads.
    Family(name="comment edits", is_read=False, is_backfilled=False),
    Family(name="deletions", is_read=False, is_backfilled=False),
    Family(name="sprints", is_read=False, is_backfilled=False),
    Family(name="releases", is_read=False, is_backfilled=False),
    # Only an administrator's webhook sends them, and we cannot check that there is one.
    Family(name="worklogs and projects", is_pushed=False, is_read=False, is_backfilled=False),
)
KINDS = kinds_of(RULES)
DYNAMIC_EVENTS = subscribed_events({event: rule for event, rule in RULES.items() if rule.is_dynamic})
"""The events of our own webhook."""
ADMIN_EVENTS = subscribed_events({event: rule for event, rule in RULES.items() if not rule.is_dynamic})
"""The events that only an administrator's webhook sends."""


def find_rules(envelope: Envelope) -> tuple[JiraRule[Any], ...]:
    """The rows for this event; empty if it makes no signal.

    An update may hold a change, a comment, or (a transition with a remark) both.
    """
    if envelope.event != UPDATED:
        return (RULES[envelope.event],) if envelope.event in RULES else ()
    events = (UPDATED, COMMENT_UPDATES.get(envelope.update or ""))
    rules = (RULES[event] for event in events if event is not None)
    return tuple(rule for rule in rules if rule.read(envelope.document) is not None)


def why_ignored(envelope: Envelope) -> str:
    """Why an event without a row makes no signal."""
    if envelope.event == UPDATED:
        return "an update without a readable change or comment"
    return IGNORED_ON_PURPOSE.get(envelope.event, "not an event that we know")


def lacks_category(envelope: Envelope, site: Site) -> bool:
    """Whether the event changes a status, and the categories that give the signal its kind are not known here."""
    change, issue = Change.read(envelope.document.get("changelog")), Issue.read(envelope.document.get("issue"))
    return (
        envelope.event == UPDATED
        and change is not None
        and issue is not None
        and not knows_kind(change, issue, site.categories)
    )


def normalize(envelope: Envelope, site: Site) -> tuple[SignalDraft, ...]:
    """The signals of one event on one site.

    Raises:
        UnexpectedResponseError: the id of the subject or the time is missing.
    """
    return tuple(_make(rule, envelope, site) for rule in find_rules(envelope))


def _make(rule: JiraRule[Any], envelope: Envelope, site: Site) -> SignalDraft:
    payload = rule.read(envelope.document)
    if payload is None:
        raise UnexpectedResponseError(f"Jira's event lacks the {rule.member} or it is not readable.")
    draft: SignalDraft = rule.make(payload, Drafter(rule=rule, envelope=envelope, site=site))
    return draft
