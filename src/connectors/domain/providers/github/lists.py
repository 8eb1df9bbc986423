"""The six lists of one repository, each read page by page.

Every reader takes a cursor (`{}` for the first page) and gives a page of the stream. README.md says in which order each
list is read, and why nothing can be missed between two pages.

Source: docs.github.com, REST reference for issues, comments, pulls, reviews, releases and repository activities.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from connectors.domain.model.http import Conversation
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import StreamPage
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.github import numbered, rows
from connectors.domain.providers.github.pages import SETTLE, Reading, ReadRow, Rows, instant_text, lifetime
from connectors.domain.providers.toolbox.order import DOUBT, has_passed, supported_position
from connectors.domain.providers.toolbox.parking import ItemGuard

REVIEWED_PER_PAGE = 10
"""Pull requests whose reviews are read in one page of ours: one call each. A crash repeats no more than these."""

MAX_REVIEW_PAGES = 30
"""Pages of reviews read of one pull request: one endless pull request must not delay all others."""

MOST_PASSES = 5
"""How often the front of the pull requests is read in one run. What jumps there still later is the next run's."""


# --- lists with `since`: issues, comments ------------------------------------------------------------------------


def read_since(
    segments: tuple[str, ...], read_row: ReadRow, word: str, params: Mapping[str, str], reading: Reading, cursor: Cursor
) -> Conversation[StreamPage]:
    """A page of a list that GitHub sorts by change, oldest first, and cuts at `since` (inclusive).

    The next page is not `page=2` but a new `since`, as far as the page's order supports it: an item that is touched
    meanwhile moves to the end, where it is read later, and nothing before it moves. Where that cannot advance, the rest
    is read from its last page backwards, for the same reason.
    """
    since = read_instant(cursor.get("since")) or reading.begin
    url = cursor.get("url") or reading.url(
        *segments, position=None, sort="updated", direction="asc", since=instant_text(since), **params
    )
    page = yield from reading.read(url, read_row, word, is_first=not cursor)
    if page.is_nothing:
        return reading.end_with_nothing(page)
    if cursor.get("is_backwards"):
        previous = reading.following(page, "prev")
        if previous is not None:
            return page.page({**cursor, "url": previous})
        resume = read_instant(cursor.get("resume"))
        if resume is not None and resume > since:
            return page.page({"since": instant_text(resume)})
        return reading.end(page, since, None)
    position = supported_position(page.times, since, page.settled + SETTLE, SETTLE)
    following = reading.following(page)
    if following is None:
        reached = min(position or since, page.settled)
        is_asked_again = instant_text(reached) == instant_text(since)
        return reading.end(page, reached, reading.etag(page) if is_asked_again else None)
    if position is not None and instant_text(position) != instant_text(since):
        return page.page({"since": instant_text(position)})
    last = reading.following(page, "last")
    if last is None:
        return page.page({"since": instant_text(since), "url": following})
    backwards: dict[str, Any] = {"since": instant_text(since), "url": last, "is_backwards": True}
    if page.times and min(page.times[-1 - DOUBT :]) <= since:
        # A whole page of one second: there is more behind it than what changes just now.
        backwards["resume"] = instant_text(page.settled)
    return page.page(backwards)


# --- lists of the newest first: pull requests and their reviews, releases, pushes --------------------------------


def _front(cursor: Cursor, page: Rows, etag: str | None) -> dict[str, Any]:
    """What the list's front showed, for the bookmark at the end: up to when all was in it, and its etag."""
    if "began" in cursor:
        return {name: cursor[name] for name in ("began", "etag") if name in cursor}
    return {"began": instant_text(page.settled)} | ({} if etag is None else {"etag": etag})


def _ending(reading: Reading, front: Mapping[str, Any]) -> dict[str, Any]:
    return reading.ending(read_instant(front["began"]) or reading.begin, front.get("etag"))


def read_pulls(reading: Reading, cursor: Cursor) -> Conversation[StreamPage]:
    """A page of pull requests, latest change first, or the reviews of some of them.

    A pull request that is touched meanwhile jumps to the front, which is already read: so the front is read again, down
    to what has changed since it was read, until one page suffices.
    """
    if cursor.get("reviews"):
        return (yield from _read_reviews_of_some(reading, cursor))
    low = read_instant(cursor.get("above")) or reading.begin
    url = cursor.get("url") or reading.url("pulls", state="all", sort="updated", direction="desc")
    page = yield from reading.read(url, rows.read_pull, "pull", is_first=not cursor)
    if page.is_nothing:
        return reading.end_with_nothing(page)
    is_front = "url" not in cursor
    etag = reading.etag(page, is_sound=has_passed(page.times, page.settled)) if is_front else cursor.get("etag")
    front = {
        "began": _front(cursor, page, None)["began"],
        "read_at": instant_text(page.date) if is_front else cursor["read_at"],
        "pass": cursor.get("pass", 0) + is_front,
        **({} if etag is None else {"etag": etag}),
    }
    following = None if has_passed(page.times, low) else reading.following(page)
    then: dict[str, Any] | None = None
    if following is not None:
        above = {"above": cursor["above"]} if "above" in cursor else {}
        then = {**front, **above, "url": following}
    elif not is_front and front["pass"] < MOST_PASSES:
        then = {"began": front["began"], "pass": front["pass"], "above": front["read_at"]}
    changed = _changed(page, low)
    if changed:
        return page.page({"reviews": changed, "then": then, "front": front})
    return page.page(then, **({} if then else _ending(reading, front)))


def _changed(page: Rows, low: datetime) -> list[list[Any]]:
    """The pull requests that may have changed since `low`, with their times.

    One that shows an earlier time than one behind it stands where its own time does not belong; and at the end of a
    page that leaves open whether the list has been read down to `low`, nothing is behind that could tell.
    """
    is_open = not has_passed(page.times, low)
    changed: list[list[Any]] = []
    behind = page.read[-1].updated_at if page.read else low
    for pull in reversed(page.read):
        if is_open or pull.updated_at >= low or pull.updated_at < behind:
            changed.append([pull.number, rfc3339(pull.created_at), rfc3339(pull.updated_at)])
        behind = max(behind, pull.updated_at)
    return changed[::-1]


def _read_reviews_of_some(reading: Reading, cursor: Cursor) -> Conversation[StreamPage]:
    guard, signals, items = ItemGuard(), list[SignalDraft](), 0
    for number, created_at, updated_at in cursor["reviews"][:REVIEWED_PER_PAGE]:
        instants = read_instant(created_at), read_instant(updated_at)
        between = lifetime(instants[0], instants[1]) if instants[0] and instants[1] else None
        found = yield from guard.read(f"pull {number}", read_reviews(reading, number, between), between)
        if found is not None:
            signals += found.signals
            items += found.items
            guard.parked += found.parked
    rest = cursor["reviews"][REVIEWED_PER_PAGE:]
    then = {**cursor, "reviews": rest} if rest else cursor.get("then")
    ending = {} if then else _ending(reading, cursor["front"])
    return StreamPage(cursor=then, signals=tuple(signals), items=items, parked=tuple(guard.parked), **ending)


def read_reviews(
    reading: Reading, number: int, between: tuple[datetime, datetime] | None = None
) -> Conversation[StreamPage]:
    """All reviews of one pull request. If one of them cannot be read, the pull request is parked."""
    guard, signals, items = ItemGuard(), list[SignalDraft](), 0
    url: str | None = reading.url("pulls", str(number), "reviews")
    for _ in range(MAX_REVIEW_PAGES):
        if url is None:
            break
        page = yield from reading.read(url, partial(rows.read_review, number), "review", guard=guard)
        signals += page.signals
        items += page.items
        url = reading.following(page)
    reason = f"Only its first {MAX_REVIEW_PAGES} pages of reviews are read." if url is not None else None
    if guard.parked:
        reason = guard.parked[0].reason
    parked = ItemGuard()
    if reason is not None:
        parked.park(f"pull {number}", reason, between)
    return StreamPage(cursor=None, signals=tuple(signals), items=items, parked=tuple(parked.parked))


def read_releases(reading: Reading, cursor: Cursor) -> Conversation[StreamPage]:
    """A page of releases, newest first. An incremental run ends with the first page on which nothing is recent."""
    position = cursor.get("position", {})
    page = yield from reading.read(
        reading.url("releases", position=position), rows.read_release, "release", is_first=not cursor
    )
    if page.is_nothing:
        return reading.end_with_nothing(page)
    # `created_at` is the tagged commit's, so single older items do not end the list: the whole page must be older.
    times = [at for release in page.read for at in (release.created_at, release.published_at) if at is not None]
    is_old = bool(times) and max(times) < reading.begin
    has_ended = is_old and reading.window.mode is SyncMode.INCREMENTAL
    following = numbered.next_position(
        reading.endpoints, position, page.response, page.ids, page.items, has_ended=has_ended
    )
    front = _front(cursor, page, reading.etag(page, is_sound=True))
    return page.page({"position": following, **front}) if following else page.page(None, **_ending(reading, front))


def read_activity(reading: Reading, cursor: Cursor) -> Conversation[StreamPage]:
    """A page of the repository's activity, newest first. Its links are cursors: new entries move nothing."""
    url = cursor.get("url") or reading.url("activity", direction="desc")
    page = yield from reading.read(url, rows.read_activity_entry, "entry", is_first=not cursor)
    if page.is_nothing:
        return reading.end_with_nothing(page)
    following = None if has_passed(page.times, reading.begin) else reading.following(page)
    front = _front(cursor, page, reading.etag(page, is_sound=has_passed(page.times, page.settled)))
    return page.page({"url": following, **front}) if following else page.page(None, **_ending(reading, front))
