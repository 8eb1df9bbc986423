"""The six lists of one repository that are read, each page by page.

Every reader takes a position (JSON, `{}` at the beginning) and gives a `Part` with the next one, or None at the end.
README.md says in which order each list is read, and why nothing can be missed between two pages.

Source: docs.github.com, REST reference for issues, comments, pulls, reviews, releases and repository activities;
"Using pagination in the REST API"; "Best practices for using the REST API".
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpResponse
from connectors.domain.model.instant import read_instant
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import SkippedItem
from connectors.domain.providers.github import payloads, signals
from connectors.domain.providers.github.endpoints import Endpoints, read_link
from connectors.domain.providers.github.numbered import Position
from connectors.domain.providers.github.pages import (
    ListContext,
    Part,
    Stream,
    ask,
    instant_text,
    is_before,
    next_position,
    optional_text,
    read_items,
    reference_of,
)
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.foreign import read_count

REVIEWED_PER_PAGE = 10
"""Pull requests whose reviews are read in one page of ours: one call each. A crash repeats no more than these."""

MAX_REVIEW_PAGES = 30
"""Pages of reviews read of one pull request: one endless pull request must not delay all others."""

PUSHES = frozenset({"push", "force_push", "pr_merge", "merge_queue_merge", "branch_creation"})
"""Activity types that webhooks call `push`."""

_ON_PULL_REQUEST = re.compile(r"/pull/[0-9]+(?:[#?]|$)")
"""The page of a comment on a pull request. The number's end counts: a repository may be named `pull`."""


# --- lists with `since`: issues, comments ------------------------------------------------------------------------


class Dated(Protocol):
    """An item that says when it last changed."""

    @property
    def updated_at(self) -> datetime: ...  # noqa: D102 - its name says it


def _since_stream(
    segments: tuple[str, ...],
    read_item: Callable[[ListContext, Any], tuple[Dated, list[SignalDraft]]],
    **params: str,
) -> Stream:
    """A reader of a list that GitHub sorts by change and cuts at `since` (inclusive).

    The next page is not `page=2` but a new `since`, the last change that was seen: an item that is touched meanwhile
    moves to the end, where it is read later, and nothing before it moves. Only where a whole page changed in
    the same second that cannot advance; then the rest is read from its last page backwards, for the same reason.
    """

    def read(list_context: ListContext, position: Position) -> Conversation[Part]:
        since = read_instant(position.get("since")) or list_context.since
        url = position.get("url") or list_context.url(
            *segments, sort="updated", direction="asc", since=optional_text(since), **params
        )
        response = yield from ask(url)
        part = Part()
        latest: datetime | None = None
        for dated, drafts in read_items(list_context, part, response, "/".join(segments), read_item):
            part.signals += drafts
            latest = dated.updated_at if latest is None else max(latest, dated.updated_at)
        part.position = _after(list_context.endpoints, response, position, since, latest)
        return part

    return read


def _after(
    endpoints: Endpoints, response: HttpResponse, position: Position, since: datetime | None, latest: datetime | None
) -> Position | None:
    if position.get("backwards"):
        resume = read_instant(position.get("resume")) or latest
        previous = read_link(endpoints, response, "prev")
        if previous is not None:
            return {**position, "url": previous, "resume": optional_text(resume)}
        if resume is None:
            return None
        # Items touched while we read backwards are behind the end that we began at.
        return {"since": instant_text(resume if since is None or resume > since else since + timedelta(seconds=1))}
    following = read_link(endpoints, response)
    if following is None:
        return None
    if latest is not None and (since is None or int(latest.timestamp()) > int(since.timestamp())):
        return {"since": instant_text(latest)}
    last = read_link(endpoints, response, "last")
    if last is None:
        return {**position, "url": following}
    return {"since": optional_text(since), "url": last, "backwards": True}


def _read_issue(list_context: ListContext, item: Any) -> tuple[Dated, list[SignalDraft]]:
    issue = structure.read(item, payloads.Issue, "GitHub's issue")
    by_author = signals.in_repository(list_context.repository, issue.user, item)
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


def _read_comment(list_context: ListContext, item: Any) -> tuple[Dated, list[SignalDraft]]:
    comment = structure.read(item, payloads.ListedComment, "GitHub's comment")
    where = signals.PULL_REQUEST if _ON_PULL_REQUEST.search(comment.html_url) else signals.ISSUE
    return comment, [_commented(list_context, where, comment.issue_url, comment, item)]


def _read_review_comment(list_context: ListContext, item: Any) -> tuple[Dated, list[SignalDraft]]:
    comment = structure.read(item, payloads.ListedComment, "GitHub's review comment")
    return comment, [_commented(list_context, signals.DIFF, comment.pull_request_url, comment, item)]


def _commented(
    list_context: ListContext, where: str, url: str | None, comment: payloads.ListedComment, item: Any
) -> SignalDraft:
    number = read_count((url or "").rpartition("/")[2])
    if number is None:
        raise UnexpectedResponseError("GitHub's comment does not say what it is on")
    by_author = signals.in_repository(list_context.repository, comment.user, item)
    return by_author.commented(where, number, comment)


# --- pull requests and their reviews -----------------------------------------------------------------------------


def read_pulls(list_context: ListContext, position: Position) -> Conversation[Part]:
    """A page of pull requests, latest change first, or the reviews of some of them.

    There is no `since`, so the sync run stops at the first change before it. A pull request that is touched meanwhile
    jumps to the front, which is already read: so the front is read again, down to what it was at the beginning, until
    one page suffices.
    """
    if position.get("reviews"):
        return (yield from _read_reviews(list_context, position))
    above = read_instant(position.get("above"))
    pages = int(position.get("pages", 0)) + 1
    response = yield from ask(
        position.get("url") or list_context.url("pulls", state="all", sort="updated", direction="desc")
    )
    part = Part()
    changed: list[int] = []
    top = read_instant(position.get("top"))
    has_ended = False
    for pull, drafts in read_items(list_context, part, response, "pulls", _read_pull):
        if is_before(pull.updated_at, list_context.since) or (above is not None and pull.updated_at <= above):
            has_ended = True
            break
        top = top or pull.updated_at
        part.signals += drafts
        changed.append(pull.number)
    following = None if has_ended else read_link(list_context.endpoints, response)
    then: Position | None = None
    if following is not None:
        then = {"url": following, "above": optional_text(above), "top": optional_text(top), "pages": pages}
    elif pages > 1 and top is not None:
        then = {"above": instant_text(top)}
    part.position = {"reviews": changed, "then": then} if changed else then
    return part


def _read_pull(list_context: ListContext, item: Any) -> tuple[payloads.PullRequest, list[SignalDraft]]:
    pull = structure.read(item, payloads.PullRequest, "GitHub's pull request")
    by_author = signals.in_repository(list_context.repository, pull.user, item)
    drafts = [by_author.pull_opened(pull)]
    if pull.closed_at is not None:
        drafts.append(attrs.evolve(by_author, actor=None).pull_ended(pull))
    return pull, drafts


def _read_reviews(list_context: ListContext, position: Position) -> Conversation[Part]:
    part = Part()
    numbers = list(position["reviews"])
    for number in numbers[:REVIEWED_PER_PAGE]:
        try:
            yield from _read_reviews_of(list_context, number, part)
        except AccessLostError as error:
            part.skipped.append(
                SkippedItem(reference=reference_of(list_context, "pulls", number), reason=error.message)
            )
    rest = numbers[REVIEWED_PER_PAGE:]
    part.position = {**position, "reviews": rest} if rest else position.get("then")
    return part


def _read_reviews_of(list_context: ListContext, number: int, part: Part) -> Conversation[None]:
    def read_review(list_context: ListContext, item: Any) -> tuple[payloads.Review, list[SignalDraft]]:
        review = structure.read(item, payloads.Review, "GitHub's review")
        if signals.is_noise(review):
            return review, []
        by_author = signals.in_repository(list_context.repository, review.user, item)
        return review, [by_author.reviewed(number, review)]

    url: str | None = list_context.url("pulls", str(number), "reviews")
    for _ in range(MAX_REVIEW_PAGES):
        if url is None:
            return
        response = yield from ask(url)
        for _, drafts in read_items(list_context, part, response, f"pulls/{number}/reviews", read_review):
            part.signals += drafts
        url = read_link(list_context.endpoints, response)
    if url is not None:
        reason = f"only its first {MAX_REVIEW_PAGES} pages of reviews are read"
        part.skipped.append(SkippedItem(reference=reference_of(list_context, "pulls", number), reason=reason))


# --- releases and pushes -----------------------------------------------------------------------------------------


def read_releases(list_context: ListContext, position: Position) -> Conversation[Part]:
    """A page of releases, newest first. The sync run ends with the first page on which nothing is recent."""
    response = yield from ask(list_context.page_url(position, "releases"))
    part = Part()
    is_recent = False
    for release, drafts in read_items(list_context, part, response, "releases", _read_release):
        part.signals += drafts
        times = [at for at in (release.created_at, release.published_at) if at is not None]
        # `created_at` is the tagged commit's, so a single older item does not end the list: the whole page must be
        # older.
        is_recent = is_recent or any(not is_before(at, list_context.since) for at in times)
    part.position = next_position(list_context, part, position, response, has_ended=not is_recent)
    return part


def _read_release(list_context: ListContext, item: Any) -> tuple[payloads.Release, list[SignalDraft]]:
    release = structure.read(item, payloads.Release, "GitHub's release")
    if release.draft or release.published_at is None:
        return release, []
    return release, [signals.in_repository(list_context.repository, release.author, item).released(release)]


def read_activity(list_context: ListContext, position: Position) -> Conversation[Part]:
    """A page of the repository's activity, newest first. Its links are cursors: new entries move nothing."""
    response = yield from ask(position.get("url") or list_context.url("activity", direction="desc"))
    part = Part()
    following = read_link(list_context.endpoints, response)
    for activity, drafts in read_items(list_context, part, response, "activity", _read_activity_entry):
        if is_before(activity.timestamp, list_context.since):
            following = None
            break
        part.signals += drafts
    part.position = None if following is None else {"url": following}
    return part


def _read_activity_entry(list_context: ListContext, item: Any) -> tuple[payloads.Activity, list[SignalDraft]]:
    entry = structure.read(item, payloads.Activity, "GitHub's activity")
    if entry.activity_type not in PUSHES or not entry.ref.startswith(signals.BRANCHES):
        return entry, []
    by_actor = signals.in_repository(list_context.repository, entry.actor, item)
    return entry, [by_actor.pushed(ref=entry.ref, before=entry.before, after=entry.after, at=entry.timestamp)]


STREAMS: Mapping[str, Stream] = {
    "pulls": read_pulls,
    "issues": _since_stream(("issues",), _read_issue, state="all"),
    "comments": _since_stream(("issues", "comments"), _read_comment),
    "review_comments": _since_stream(("pulls", "comments"), _read_review_comment),
    "releases": read_releases,
    "activity": read_activity,
}
"""In reading order. Pull requests come before issues: the same signals, with the fuller payload."""
