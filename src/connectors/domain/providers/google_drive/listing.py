"""Drive's files, by the time of their last edit, the newest first.

A listing continues by `modifiedTime`, not by page token. Google does not document how a token keeps its position, and
when a trashed or edited file leaves the list, everything behind it may move up. Each page asks for what is no newer
than the last files seen, so the pages overlap. The token is followed only where one second fills a page, and then the
previous page is read once more with each page.

Source: developers.google.com/workspace/drive/api/guides/search-files.
"""

from collections.abc import Sequence
from datetime import MAXYEAR, datetime, timedelta
from typing import Any

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.streams import ParkedItem, StreamPage
from connectors.domain.model.sync import Cursor, Observation
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.google_drive.logs import USER_LOG, log_parameters, read_rows
from connectors.domain.providers.google_drive.payloads import LIST_FIELDS, read_file
from connectors.domain.providers.google_drive.signals import observe_file
from connectors.domain.providers.toolbox.foreign import read_object, read_text
from connectors.domain.providers.toolbox.order import DOUBT

FILES_PAGE = 500
"""Files per page. Always sent: without it Drive may return a whole My Drive at once."""
FILES_REFERENCE = "files:"
"""What a parked file's reference begins with; the rest is where in the list it stands."""


def read_files(
    context: SyncContext, log: str, position: Cursor, since: datetime | None = None, *, remembers: bool = False
) -> Conversation[StreamPage]:
    """One page of a log's files; its cursor is the next position.

    Args:
        context: whose files.
        log: whose files of theirs.
        position: where in the list; empty at its beginning.
        since: files that were made or edited since then and are not in the trash; None: all files.
        remembers: whether the files are to be remembered.

    Raises:
        UnexpectedResponseError: Drive did not search everywhere, or refuses a token that has lapsed.
    """
    page = read_text(position.get("page"))
    rows, following = yield from _list_files(context, log, position, since, page)
    # Within one second, files trashed meanwhile may have moved others from this page to the previous one.
    risen: list[Any] = []
    if page is not None:
        passed = read_text(position.get("passed_page"))
        risen, _ = yield from _list_files(context, log, position, since, passed)
    observations: dict[str, Observation] = {}
    parked: dict[str, ParkedItem] = {}
    for row in (*risen, *rows):
        file = read_file(row)
        if file is None:
            reference = FILES_REFERENCE + _standing_of(row, position)
            parked[reference] = ParkedItem(reference=reference, reason="a listed file has no id")
        else:
            observation = observe_file(file, row, remembers=remembers)
            observations[observation.key] = observation
    times = [file.modified_at for file in map(read_file, rows) if file is not None and file.modified_at is not None]
    return StreamPage(
        cursor=None if following is None else _position_after(position, following, times),
        observations=tuple(observations.values()),
        items=len(rows),
        parked=tuple(parked.values()),
    )


def _list_files(
    context: SyncContext, log: str, position: Cursor, since: datetime | None, page: str | None
) -> Conversation[tuple[list[Any], str | None]]:
    """The rows of a page, and the token of the next."""
    conditions = []
    if (before := read_text(position.get("before"))) is not None:
        conditions.append(f"modifiedTime <= '{before}'")
    if since is not None:
        # A file that is uploaded keeps the time of its last edit elsewhere. Seconds: fractions may not be compared.
        at = rfc3339(since.replace(microsecond=0))
        conditions += ["trashed = false", f"(modifiedTime >= '{at}' or createdTime >= '{at}')"]
    url = with_query(
        url_of(context.app, Endpoint.DRIVE) + "/files",
        {
            "q": " and ".join(conditions) or None,
            "orderBy": "modifiedTime desc",
            "pageSize": str(FILES_PAGE),
            "pageToken": page,
            "corpora": "user" if log == USER_LOG else "drive",
            **log_parameters(log),
            "fields": LIST_FIELDS,
        },
    )
    response = yield HttpRequest(method="GET", url=url)
    answer = response.json_object()
    if answer.get("incompleteSearch", False) is not False:
        raise UnexpectedResponseError("Drive did not search all files.")
    return read_rows(answer, "files"), read_text(answer.get("nextPageToken"))


def _position_after(position: Cursor, following: str, times: Sequence[datetime]) -> Cursor:
    """Where a listing continues: at the second of the last files, or by token within that second.

    The latest of the last rows' times is no earlier than the time that the last row is sorted by, even if some of them
    are edited while the page is made.
    """
    before = read_instant(position.get("before"))
    bound = _end_of_second(max(times[-1 - DOUBT :])) if len(times) > DOUBT else None
    if bound is not None and (before is None or bound < before):
        rest = {name: value for name, value in position.items() if name not in {"page", "passed_page"}}
        return {**rest, "before": rfc3339(bound)}
    return {**position, "page": following, "passed_page": position.get("page")}


def _end_of_second(at: datetime) -> datetime | None:
    """The instant rounded up: Google does not document whether a query compares fractions of a second."""
    return at.replace(microsecond=0) + timedelta(seconds=1) if at.year < MAXYEAR else None


def _standing_of(row: Any, position: Cursor) -> str:
    """From where on a listing shows the row."""
    at = read_instant(read_object(row).get("modifiedTime"))
    bound = None if at is None else _end_of_second(at)
    return (read_text(position.get("before")) or "") if bound is None else rfc3339(bound)
