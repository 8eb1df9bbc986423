"""A sync run through a connection's repositories: its start, its next page, and what it leaves for the next one.

The cursor of a sync run under way is a `_SyncRun`; of a finished one, what the next incremental sync run needs of it:

- `mark`: this sync run began then, by the earlier of two clocks, ours and GitHub's. The next one looks at all that
  changed since, two minutes earlier to be safe.
- `floor`: nothing that happened earlier is ever emitted. Between floor and mark everything about an item that changed
  is emitted again; the dedupe keys absorb it, and what one sync run missed because an item moved is found by the next.
- `behind`: lists that could not be read (access lost for a while), with the instant they were read up to.
- `known`: the repositories of this sync run, to notice those that go missing.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import attrs

from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.sync import Cursor, SkippedItem, SyncMode, SyncPage, SyncPlan
from connectors.domain.providers.contract import Sync, SyncContext
from connectors.domain.providers.github import payloads
from connectors.domain.providers.github.endpoints import Endpoints, endpoints_of, get
from connectors.domain.providers.github.numbered import Position
from connectors.domain.providers.github.pages import ListContext, Part, Window
from connectors.domain.providers.github.streams import STREAMS
from connectors.domain.providers.github.subscriptions import (
    MAX_REPOSITORIES,
    Chosen,
    Listing,
    chosen_of,
    list_repositories,
    read_repository,
)
from connectors.domain.providers.toolbox.http_dates import read_http_date

VERSION = 1
"""Of the cursor's format. A stored cursor of another version is replaced by a new baseline, and the gap is reported."""

OVERLAP = timedelta(minutes=2)
"""How much earlier than the mark the next sync run begins: GitHub's lists lag behind its clock a little."""

MOST_BEHIND = 2000
"""Invisible lists and repositories that a cursor remembers, the latest ones: repositories come and go for years, and a
cursor is written with every page."""

_NAMES = tuple(STREAMS)


@attrs.frozen(kw_only=True)
class _SyncRun:
    """A sync run under way, as its cursor holds it."""

    mark: datetime
    floor: datetime | None
    since: datetime | None
    repositories: tuple[tuple[int, str, str], ...]
    """Still to read, the current one first: id, full name, page."""
    stream: str = _NAMES[0]
    position: Position = attrs.field(factory=dict)
    resume: Mapping[str, str | None] = attrs.field(factory=dict)
    """From when to read what earlier sync runs left behind, by `repository:list` or `repository:*`."""
    behind: Mapping[str, str | None] = attrs.field(factory=dict)
    known: tuple[int, ...] = ()
    gap: str | None = None

    def since_of(self, repository_id: int, stream: str) -> datetime | None:
        """From when on this list is read."""
        for key in (f"{repository_id}:{stream}", f"{repository_id}:*"):
            if key in self.resume:
                return read_instant(self.resume[key])
        return self.since

    def after(self, position: Position | None) -> "_SyncRun":
        """The sync run at this position of the current list, or at the beginning of what follows it."""
        if position is not None:
            return attrs.evolve(self, position=position, gap=None)
        following = _NAMES.index(self.stream) + 1
        if following < len(_NAMES):
            return attrs.evolve(self, stream=_NAMES[following], position={}, gap=None)
        return attrs.evolve(self, repositories=self.repositories[1:], stream=_NAMES[0], position={}, gap=None)

    def cursor(self) -> Cursor:
        """The sync run as JSON; once nothing is left to read, only what the next sync run needs."""
        kept = {
            "version": VERSION,
            "mark": rfc3339(self.mark),
            "floor": _text(self.floor),
            "behind": dict(self.behind),
            "known": list(self.known),
        }
        if not self.repositories:
            return kept
        return {
            **kept,
            "since": _text(self.since),
            "repositories": [list(repository) for repository in self.repositories],
            "stream": self.stream,
            "position": dict(self.position),
            "resume": dict(self.resume),
            "gap": self.gap,
        }


def start(context: SyncContext, plan: SyncPlan) -> Conversation[Cursor]:
    """The first cursor: the repositories to read, fixed for the sync run. See `Sync.start`."""
    listing = yield from _list(context, plan)
    repositories = tuple((item.id, item.full_name, item.html_url) for item in listing.repositories)
    # Whole seconds, as GitHub's own times: what happens later in this second must not count as older.
    mark = min(filter(None, (plan.started_at, plan.until, listing.answered_at))).replace(microsecond=0)
    gap = f"Only the first {MAX_REPOSITORIES} repositories are read; choose some." if listing.is_cut else None
    known = tuple(repository[0] for repository in repositories)
    if plan.mode is SyncMode.BACKFILL:
        sync_run = _SyncRun(
            mark=mark, floor=plan.since, since=plan.since, repositories=repositories, known=known, gap=gap
        )
        return _with_gap(sync_run)
    last = plan.last_cursor
    last_mark = read_instant(last.get("mark")) if last is not None and last.get("version") == VERSION else None
    if last is None or last_mark is None:
        # A baseline: from here on. Nothing is read, and nothing older is ever emitted.
        lost = "The stored cursor could not be read: what happened since is not covered." if last else None
        return _with_gap(_SyncRun(mark=mark, floor=mark, since=mark, repositories=(), known=known, gap=lost))
    resume: dict[str, str | None] = dict(last.get("behind", {}))
    missing = set(last.get("known", ())) - set(known)
    resume.update({f"{id_}:*": rfc3339(last_mark) for id_ in sorted(missing) if f"{id_}:*" not in resume})
    present = {str(id_) for id_ in known}
    behind = {key: at for key, at in resume.items() if key.partition(":")[0] not in present}
    sync_run = _SyncRun(
        mark=mark,
        floor=read_instant(last.get("floor")),
        since=last_mark - OVERLAP,
        repositories=repositories,
        resume=resume,
        behind=dict(list(behind.items())[-MOST_BEHIND:]),
        known=known,
        gap=gap,
    )
    return _with_gap(sync_run)


def read_page(context: SyncContext, plan: SyncPlan, cursor: Cursor) -> Conversation[SyncPage]:
    """One page of one list. See `Sync.read_page`."""
    sync_run = _read_cursor(cursor)
    if not sync_run.repositories:
        return SyncPage(cursor=sync_run.cursor(), done=True, gap=sync_run.gap)
    id_, full_name, html_url = sync_run.repositories[0]
    list_context = ListContext(
        endpoints=endpoints_of(context.app),
        repository=payloads.ListedRepository(id=id_, full_name=full_name, html_url=html_url),
        since=sync_run.since_of(id_, sync_run.stream),
        window=Window(floor=sync_run.floor, upper=plan.until or plan.started_at),
    )
    following = sync_run
    try:
        part = yield from STREAMS[sync_run.stream](list_context, sync_run.position)
    except AccessLostError as error:
        # One list of one repository is switched off or invisible for now. The next sync run continues it from here.
        part = Part(skipped=[SkippedItem(reference=f"{full_name}/{sync_run.stream}", reason=error.message)])
        behind = {**sync_run.behind, f"{id_}:{sync_run.stream}": _text(list_context.since)}
        following = attrs.evolve(sync_run, behind=behind)
    following = following.after(part.position)
    return SyncPage(
        cursor=following.cursor(),
        done=not following.repositories,
        signals=tuple(part.signals),
        items=part.items,
        skipped=tuple(part.skipped),
        gap=sync_run.gap,
    )


# --- which repositories ------------------------------------------------------------------------------------------


def _list(context: SyncContext, plan: SyncPlan) -> Conversation[Listing]:
    """The plan's target, else what the connection chose, else all."""
    endpoints = endpoints_of(context.app)
    chosen = chosen_of(context.connection)
    if plan.target is not None:
        kind, _, name = plan.target.partition(":")
        names = (name or kind,)
        chosen = Chosen(repositories=() if kind == "org" else names, organizations=names if kind == "org" else ())
    if chosen is None:
        return (yield from list_repositories(endpoints))
    if chosen.organizations:
        listing = yield from list_repositories(endpoints)
        found = [item for item in listing.repositories if chosen.has(item.full_name)]
    else:
        listing, found = Listing(repositories=(), answered_at=None), []
    have = {item.full_name.lower() for item in found}
    missing = [name for name in chosen.repositories if name.lower() not in have]
    answered_at = listing.answered_at
    for name in missing:
        repository, at = yield from _find_repository(endpoints, name)
        answered_at = answered_at or at
        if repository is not None:
            found.append(repository)
    return Listing(repositories=_unique(found), answered_at=answered_at, is_cut=listing.is_cut)


def _find_repository(
    endpoints: Endpoints, full_name: str
) -> Conversation[tuple[payloads.ListedRepository | None, datetime | None]]:
    try:
        response = yield get(endpoints.repository_url(full_name))
    except AccessLostError:
        return None, None
    return read_repository(response.json()), read_http_date(response.headers.get("date"))


def _unique(repositories: Iterable[payloads.ListedRepository]) -> tuple[payloads.ListedRepository, ...]:
    # A chosen name may be an old one of a repository that is chosen by its new name too.
    return tuple({item.id: item for item in repositories}.values())


# --- cursors -----------------------------------------------------------------------------------------------------


def _with_gap(sync_run: _SyncRun) -> Cursor:
    """The first cursor. A sync run without repositories also has to report its gap."""
    return {**sync_run.cursor(), "gap": sync_run.gap}


def _read_cursor(cursor: Cursor) -> _SyncRun:
    """The sync run that a cursor of ours holds."""
    mark = read_instant(cursor.get("mark"))
    if mark is None:
        raise ValueError("not a cursor of this package")
    stream = cursor.get("stream", _NAMES[0])
    return _SyncRun(
        mark=mark,
        floor=read_instant(cursor.get("floor")),
        since=read_instant(cursor.get("since")),
        repositories=tuple((int(id_), str(name), str(url)) for id_, name, url in cursor.get("repositories", ())),
        stream=stream if stream in STREAMS else _NAMES[0],
        position=cursor.get("position", {}),
        resume=cursor.get("resume", {}),
        behind=cursor.get("behind", {}),
        known=tuple(cursor.get("known", ())),
        gap=cursor.get("gap"),
    )


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


SYNC = Sync(start=start, read_page=read_page)
