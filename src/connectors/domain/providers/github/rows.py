"""From a row of a list to the object and its signals."""

import re
from typing import Any

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.signal import SignalDraft
from connectors.domain.providers.github import payloads, signals
from connectors.domain.providers.github.pages import Reading
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.foreign import read_count

PUSHES = frozenset({"push", "force_push", "pr_merge", "merge_queue_merge", "branch_creation"})
"""Activity types that webhooks call `push`."""

_ON_PULL_REQUEST = re.compile(r"/pull/[0-9]+(?:[#?]|$)")
"""The page of a comment on a pull request. The number's end counts: a repository may be named `pull`."""


def read_issue(reading: Reading, item: Any) -> tuple[payloads.Issue, list[SignalDraft]]:
    """An issue, or a pull request in the list of issues."""
    issue = structure.read(item, payloads.Issue, "GitHub's issue")
    by_author = signals.in_repository(reading.repository, issue.user, item)
    # The list does not say who closed it; the key does not need to know.
    by_nobody = attrs.evolve(by_author, actor=None)
    if issue.pull_request is not None:
        drafts = [by_author.pull_opened(issue)]
        if issue.closed_at is not None:
            drafts.append(by_nobody.pull_ended(issue))
        return issue, drafts
    drafts = [by_author.issue_created(issue)]
    if issue.closed_at is not None:
        drafts.append(by_nobody.issue_closed(issue))
    return issue, drafts


def read_comment(reading: Reading, item: Any) -> tuple[payloads.ListedComment, list[SignalDraft]]:
    """A comment on an issue or a pull request."""
    comment = structure.read(item, payloads.ListedComment, "GitHub's comment")
    where = signals.PULL_REQUEST if _ON_PULL_REQUEST.search(comment.html_url) else signals.ISSUE
    return comment, [_commented(reading, where, comment.issue_url, comment, item)]


def read_review_comment(reading: Reading, item: Any) -> tuple[payloads.ListedComment, list[SignalDraft]]:
    """A comment on a line of a diff."""
    comment = structure.read(item, payloads.ListedComment, "GitHub's review comment")
    return comment, [_commented(reading, signals.DIFF, comment.pull_request_url, comment, item)]


def _commented(
    reading: Reading, where: str, url: str | None, comment: payloads.ListedComment, item: Any
) -> SignalDraft:
    number = read_count((url or "").rpartition("/")[2])
    if number is None:
        raise UnexpectedResponseError("GitHub's comment does not say what it is on")
    return signals.in_repository(reading.repository, comment.user, item).commented(where, number, comment)


def read_pull(reading: Reading, item: Any) -> tuple[payloads.PullRequest, list[SignalDraft]]:
    """A pull request."""
    pull = structure.read(item, payloads.PullRequest, "GitHub's pull request")
    by_author = signals.in_repository(reading.repository, pull.user, item)
    drafts = [by_author.pull_opened(pull)]
    if pull.closed_at is not None:
        drafts.append(attrs.evolve(by_author, actor=None).pull_ended(pull))
    return pull, drafts


def read_review(number: int, reading: Reading, item: Any) -> tuple[payloads.Review, list[SignalDraft]]:
    """A review of the pull request with this number."""
    review = structure.read(item, payloads.Review, "GitHub's review")
    if signals.is_noise(review):
        return review, []
    return review, [signals.in_repository(reading.repository, review.user, item).reviewed(number, review)]


def read_release(reading: Reading, item: Any) -> tuple[payloads.Release, list[SignalDraft]]:
    """A release. Drafts have no signals."""
    release = structure.read(item, payloads.Release, "GitHub's release")
    if release.draft or release.published_at is None:
        return release, []
    return release, [signals.in_repository(reading.repository, release.author, item).released(release)]


def read_activity_entry(reading: Reading, item: Any) -> tuple[payloads.Activity, list[SignalDraft]]:
    """An entry of a repository's activity. Only pushes to branches have signals."""
    entry = structure.read(item, payloads.Activity, "GitHub's activity")
    if entry.activity_type not in PUSHES or not entry.ref.startswith(signals.BRANCHES):
        return entry, []
    by_actor = signals.in_repository(reading.repository, entry.actor, item)
    return entry, [by_actor.pushed(ref=entry.ref, before=entry.before, after=entry.after, at=entry.timestamp)]
