"""What reading any of a repository's lists needs: where to begin, one answer, and the end with its bookmark.

Every list leaves the same bookmark: `since`, an instant of GitHub's clock (all that changed before was read), and the
`etag` of the answer that will be asked for first, where an unchanged answer proves that nothing happened.

Source: docs.github.com, "Using pagination in the REST API", "Best practices for using the REST API".
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.errors import AccessLostError, ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpResponse
from connectors.domain.model.instant import read_instant
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import StreamPage, Window
from connectors.domain.model.sync import Cursor, SyncMode
from connectors.domain.providers.github import numbered, payloads
from connectors.domain.providers.github.endpoints import PAGE_SIZE, Endpoints, get, read_link, read_list
from connectors.domain.providers.github.numbered import Position
from connectors.domain.providers.github.sso import is_partial, sign_on_required
from connectors.domain.providers.toolbox.http_dates import read_http_date
from connectors.domain.providers.toolbox.parking import ItemGuard

SETTLE = timedelta(minutes=2)
"""GitHub's lists lag behind its clock a little: what changed later than that before an answer may be missing from it.
"""

RECENT = timedelta(hours=1)
"""A first run reads what is wanted by itself where that began no earlier; older history is left to a backfill."""

SMALLER_PAGE = 25
"""The page size to try when GitHub gives up on a page: it cuts off what takes longer than ten seconds."""

LONGEST_ETAG = 200
"""Characters. GitHub's have about 70."""

_FIRST = datetime(1970, 1, 1, tzinfo=UTC) + SETTLE
_PAGE_NUMBER = re.compile(r"[?&]page=")


@attrs.define(kw_only=True)
class Rows:
    """One answer of a list, read."""

    response: HttpResponse = attrs.field(repr=False)
    date: datetime
    """GitHub's clock when it answered."""
    settled: datetime
    """What changed before that is in the list by now."""
    is_nothing: bool = False
    """Whether nothing has changed, or the list is switched off: there are no rows, and none were lost."""
    items: int = 0
    signals: list[SignalDraft] = attrs.field(factory=list)
    guard: ItemGuard = attrs.field(factory=ItemGuard)
    times: list[datetime] = attrs.field(factory=list)
    """When each row last changed, as far as it says so."""
    ids: list[int] = attrs.field(factory=list)
    read: list[Any] = attrs.field(factory=list)
    """The rows that could be read."""

    def page(
        self, cursor: Cursor | None, bookmark: Cursor | None = None, read_from: datetime | None = None
    ) -> StreamPage:
        """These rows as a page of their stream."""
        return StreamPage(
            cursor=cursor,
            bookmark=bookmark,
            read_from=read_from,
            signals=tuple(self.signals),
            items=self.items,
            parked=tuple(self.guard.parked),
        )


ReadRow = Callable[["Reading", Any], tuple[Any, Sequence[SignalDraft]]]
"""Reads one row: the object, and its signals. Raises UnexpectedResponseError if it is not as documented."""


@attrs.frozen(kw_only=True)
class Reading:
    """One list of one repository, and the window in which it is read."""

    endpoints: Endpoints
    repository: payloads.ListedRepository
    window: Window

    @property
    def begin(self) -> datetime:
        """What changed from then on has to be read."""
        bookmark, window = self.window.bookmark, self.window
        if bookmark is not None:
            return read_instant(bookmark.get("since")) or window.low.replace(microsecond=0)
        at = window.low if window.mode is SyncMode.BACKFILL else max(window.floor, window.high - RECENT)
        return max(at.replace(microsecond=0), _FIRST) - SETTLE

    def url(self, *segments: str, position: Position | None = None, **params: str | None) -> str:
        """The URL of the page of a list that is next there; of its first page without a position."""
        next_url: str | None = (position or {}).get("url")
        return next_url or self.endpoints.repository_url(
            self.repository.full_name, *segments, **params, **numbered.parameters(position or {})
        )

    def read(
        self, url: str, read_row: ReadRow, word: str, *, is_first: bool = False, guard: ItemGuard | None = None
    ) -> Conversation[Rows]:
        """An answer of the list.

        Args:
            url: where to ask.
            read_row: reads one row. A row that it cannot read is parked.
            word: what a row is called in references: `issue 42`.
            is_first: whether it is the window's first page, which is asked for only if it has changed.
            guard: where to park; None for one of its own.

        Raises:
            AccessLostError: the list is not, or no longer, visible.
        """
        etag = (self.window.bookmark or {}).get("etag") if is_first else None
        response = yield from ask(url, etag)
        high = self.window.high
        date = read_http_date(response.headers.get("date")) or high
        # The earlier of two clocks; where history is read, `high` is not a clock.
        clock = date if self.window.mode is SyncMode.BACKFILL else min(date, high)
        rows = Rows(response=response, date=date, settled=max(clock, _FIRST) - SETTLE, guard=guard or ItemGuard())
        if is_partial(response):
            raise sign_on_required(response)
        if response.status == HTTPStatus.NOT_MODIFIED or is_switched_off(response):
            rows.is_nothing = True
            return rows
        for index, item in enumerate(read_list(response)):
            self._read_row(rows, read_row, f"{word} {identity_of(word, item) or f'[{index}]'}", item)
        return rows

    def _read_row(self, rows: Rows, read_row: ReadRow, reference: str, item: Any) -> None:
        rows.items += 1
        fields = item if isinstance(item, dict) else {}
        if isinstance(fields.get("id"), int):
            rows.ids.append(fields["id"])
        changed_at = read_instant(fields.get("updated_at") or fields.get("timestamp"))
        if changed_at is not None:
            rows.times.append(changed_at)
        try:
            read, drafts = read_row(self, item)
        except UnexpectedResponseError as error:
            created_at = read_instant(fields.get("created_at"))
            between = None if created_at is None or changed_at is None else lifetime(created_at, changed_at)
            rows.guard.park(reference, error.message, between)
        else:
            rows.read.append(read)
            rows.signals += drafts

    def following(self, rows: Rows, rel: str = "next") -> str | None:
        """The URL of the page that GitHub itself says is next; None at the list's end."""
        return read_link(self.endpoints, rows.response, rel)

    def etag(self, rows: Rows, *, is_sound: bool = False) -> str | None:
        """What to ask with next time; None if the same answer could come again after something was added.

        The tag covers the rows and not the links, so what is added behind a full page does not change it: then only
        the list's order makes it sound.
        """
        etag = rows.response.headers.get("etag")
        if etag is None or len(etag) > LONGEST_ETAG or not etag.isprintable():
            return None
        is_whole = rows.items < PAGE_SIZE and self.following(rows) is None
        return etag if is_whole or is_sound else None

    def end(self, rows: Rows, since: datetime, etag: str | None) -> StreamPage:
        """The window's last page. `etag` is of the page that is asked for first from this `since` on."""
        return rows.page(None, **self.ending(since, etag))

    def ending(self, since: datetime, etag: str | None) -> dict[str, Any]:
        """The bookmark, and since when a first run has read the list whole, as `Rows.page` takes them."""
        window = self.window
        if window.mode is SyncMode.BACKFILL:
            return {}
        is_whole = window.bookmark is None and window.floor >= window.high - RECENT
        bookmark = {"since": instant_text(since)} | ({} if etag is None else {"etag": etag})
        return {"bookmark": bookmark, "read_from": window.floor if is_whole else None}

    def end_with_nothing(self, rows: Rows) -> StreamPage:
        """The last page where nothing has changed, or nothing can. What was read so far is still what was read."""
        if self.window.bookmark is not None:
            return rows.page(None, self.window.bookmark)
        # A list that is switched on later shows what it held before, under its old dates.
        return self.end(rows, max(self.window.floor, _FIRST) - SETTLE, None)


def lifetime(created_at: datetime, changed_at: datetime) -> tuple[datetime, datetime]:
    """Between which instants something can have happened to a row."""
    return min(created_at, changed_at), max(created_at, changed_at)


def instant_text(at: datetime) -> str:
    """`2026-01-02T03:04:05Z`: as GitHub writes instants, rounded down to whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def ask(url: str, etag: str | None = None) -> Conversation[HttpResponse]:
    """The page, or a smaller one if GitHub times out; with an etag, 304 if the page has not changed."""
    request = get(url, etag, expects=frozenset({HTTPStatus.CONFLICT, HTTPStatus.GONE}))
    try:
        return (yield request)
    except ProviderUnavailableError:
        full = f"per_page={PAGE_SIZE}"
        # A link's page number counts pages of its own size: those are asked again as they are, later.
        if not url.endswith(full) or _PAGE_NUMBER.search(url):
            raise
    return (yield get(url.replace(full, f"per_page={SMALLER_PAGE}"), expects=request.expects))


def identity_of(word: str, item: Any) -> int | None:
    """What names the row in GitHub's URLs."""
    value = item.get("number" if word in {"issue", "pull"} else "id") if isinstance(item, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def is_switched_off(response: HttpResponse) -> bool:
    """Whether the answer is that there is nothing: an empty repository, or issues that are disabled.

    Raises:
        AccessLostError: it is gone in another sense.
        UnexpectedResponseError: it is a conflict of another kind; what the list holds was not read.
    """
    if response.status not in {HTTPStatus.CONFLICT, HTTPStatus.GONE}:
        return False
    word = "empty" if response.status == HTTPStatus.CONFLICT else "disabled"
    try:
        message = response.json_object().get("message")
    except UnexpectedResponseError:
        message = None
    # The wording is not documented.
    if isinstance(message, str) and word in message.lower():
        return True
    if response.status == HTTPStatus.GONE:
        raise AccessLostError("GitHub answered 410: it is not there, or not visible to this user.")
    raise UnexpectedResponseError("GitHub answered a GET with 409.")
