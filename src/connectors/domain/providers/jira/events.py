"""The table of events: which become signals, how, and which do not on purpose.

Source: Webhooks (Jira platform).
"""

from collections.abc import Callable, Mapping

from connectors.domain.model.signal import SignalDraft, SignalKind
from connectors.domain.providers.contract import Family
from connectors.domain.providers.jira.payloads import Change, Comment, read_id, read_text
from connectors.domain.providers.jira.signals import (
    Envelope,
    Site,
    comment_created,
    comment_deleted,
    comment_edited,
    issue_changed,
    issue_created,
    issue_deleted,
    project_created,
    sprint_closed,
    sprint_started,
    version_released,
    work_logged,
)

Normalizer = Callable[[Envelope, Site], SignalDraft]

UPDATED = "jira:issue_updated"

TRACKED: Mapping[str, Normalizer] = {
    "jira:issue_created": issue_created,
    UPDATED: issue_changed,
    "jira:issue_deleted": issue_deleted,
    "comment_created": comment_created,
    "comment_updated": comment_edited,
    "comment_deleted": comment_deleted,
    "sprint_started": sprint_started,
    "sprint_closed": sprint_closed,
    "jira:version_released": version_released,
    "worklog_created": work_logged,
    "project_created": project_created,
}
"""Every event that becomes a signal. Issue and version events have a prefix, the others do not."""

COMMENT_UPDATES: Mapping[str, Normalizer] = {
    "issue_commented": comment_created,
    "issue_comment_edited": comment_edited,
    "issue_comment_deleted": comment_deleted,
}
"""`issue_event_type_name` of updates that some sites send for a comment, beside or instead of `comment_*`."""

IGNORED_ON_PURPOSE = frozenset(
    {
        *("issue_property_set", "issue_property_deleted"),
        *("sprint_created", "sprint_updated", "sprint_deleted"),
        *("jira:version_created", "jira:version_moved", "jira:version_updated", "jira:version_merged"),
        *("jira:version_unreleased", "jira:version_deleted"),
        *("worklog_updated", "worklog_deleted", "jira:worklog_updated"),
        *("project_updated", "project_deleted", "project_soft_deleted", "project_restored_deleted"),
        *("project_archived", "project_restored_archived"),
        *("issuelink_created", "issuelink_deleted", "attachment_created", "attachment_deleted"),
        *("board_created", "board_updated", "board_deleted", "board_configuration_changed"),
        *("user_created", "user_updated", "user_deleted"),
    }
)
"""Events that a site can send and that say nothing we keep."""

FAMILIES = (
    Family(
        name="issues",
        kinds=frozenset(
            {
                SignalKind.ISSUE_CREATED,
                SignalKind.ISSUE_UPDATED,
                SignalKind.ISSUE_STATUS_CHANGED,
                SignalKind.ISSUE_ASSIGNED,
                SignalKind.ISSUE_CLOSED,
                SignalKind.ISSUE_REOPENED,
            }
        ),
        events=frozenset({"jira:issue_created", UPDATED}),
    ),
    Family(name="comments", kinds=frozenset({SignalKind.ISSUE_COMMENTED}), events=frozenset({"comment_created"})),
    Family(
        name="comment edits",
        kinds=frozenset({SignalKind.ISSUE_COMMENT_EDITED}),
        events=frozenset({"comment_updated"}),
        is_read=False,  # of several edits between two walks only the last can be seen
        is_backfilled=False,
    ),
    Family(
        name="deletions",
        kinds=frozenset({SignalKind.ISSUE_DELETED, SignalKind.ISSUE_COMMENT_DELETED}),
        events=frozenset({"jira:issue_deleted", "comment_deleted"}),
        is_read=False,
        is_backfilled=False,
    ),
    Family(
        name="sprints",
        kinds=frozenset({SignalKind.SPRINT_STARTED, SignalKind.SPRINT_CLOSED}),
        events=frozenset({"sprint_started", "sprint_closed"}),
        is_read=False,
        is_backfilled=False,
    ),
    Family(
        name="releases",
        kinds=frozenset({SignalKind.RELEASE_PUBLISHED}),
        events=frozenset({"jira:version_released"}),
        is_read=False,
        is_backfilled=False,
    ),
    Family(
        name="worklogs and projects",
        kinds=frozenset({SignalKind.WORK_LOGGED, SignalKind.PROJECT_CREATED}),
        events=frozenset({"worklog_created", "project_created"}),
        is_pushed=False,  # only where an administrator has made a webhook of his own, which nobody can watch over
        is_read=False,
        is_backfilled=False,
    ),
)

KINDS = frozenset[SignalKind]().union(*(family.kinds for family in FAMILIES))


def event_name(envelope: Envelope) -> str:
    """`webhookEvent`, or `unknown` where there is none that can be printed."""
    return read_id(envelope.get("webhookEvent")) or "unknown"


def find_normalizers(envelope: Envelope) -> tuple[Normalizer, ...]:
    """What makes this event's signals; empty for an event that makes none.

    An update may hold a change, a comment, or (a transition with a remark) both.
    """
    name = event_name(envelope)
    if name != UPDATED:
        return (TRACKED[name],) if name in TRACKED else ()
    found: list[Normalizer] = [] if Change.read(envelope.get("changelog")) is None else [issue_changed]
    of_comment = COMMENT_UPDATES.get(read_text(envelope.get("issue_event_type_name")) or "")
    if of_comment is not None and Comment.read(envelope.get("comment")) is not None:
        found.append(of_comment)
    return tuple(found)


def normalize(envelope: Envelope, site: Site) -> tuple[SignalDraft, ...]:
    """The signals of one event on one site.

    Raises:
        UnexpectedResponseError: it lacks what identifies the thing or the moment.
    """
    return tuple(make(envelope, site) for make in find_normalizers(envelope))
