"""Drive's change logs: the user's own, and one for each shared drive.

Source: developers.google.com/workspace/drive/api/guides/manage-changes and …/about-changes.
"""

from collections.abc import Mapping
from typing import Any

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.google_drive.oauth import SHARED_DRIVE_SCOPES
from connectors.domain.providers.toolbox.foreign import read_each, read_name, read_text

USER_LOG = "user"
USER_TARGET = "changes"
DRIVE_TARGET = "drive:"

KEY_PREFIX = "log:"

DRIVES_PAGES = 50
"""Pages of shared drives, of 100 each, that get channels; more are read on schedule only."""
LONGEST_ID = 150
"""Characters of a shared drive's id: it is part of a stream's key."""


def key_of(log: str) -> str:
    """The key of a log's stream."""
    return KEY_PREFIX + log


def log_of(key: str) -> str:
    """The log of a stream's key."""
    return key.removeprefix(KEY_PREFIX)


def read_rows(answer: Mapping[str, Any], name: str) -> list[Any]:
    """The rows of a list.

    Raises:
        UnexpectedResponseError: there is no list, which is not the same as an empty one.
    """
    rows = answer.get(name)
    if not isinstance(rows, list):
        raise UnexpectedResponseError(f"Drive's answer has no list of {name}.")
    return rows


def get_start_token(app: ProviderApp, log: str) -> Conversation[str]:
    """A token for all that happens in the log from now on."""
    url = url_of(app, Endpoint.DRIVE) + "/changes/startPageToken"
    parameters = log_parameters(log) | {"includeItemsFromAllDrives": None}
    response = yield HttpRequest(method="GET", url=with_query(url, parameters))
    token = read_text(response.json_object().get("startPageToken"))
    if token is None:
        raise UnexpectedResponseError("Drive gave no start token.")
    return token


def log_parameters(log: str) -> dict[str, str | None]:
    """The query parameters of a log. Without both flags everything in shared drives is invisible."""
    return {
        "supportsAllDrives": "true",
        "includeItemsFromAllDrives": "true",
        "driveId": None if log == USER_LOG else log,
    }


def find_chosen(connection: Connection) -> tuple[str, ...] | None:
    """The shared drives to follow if they are known without listing them: those that the connection's metadata names,
    or none where the scopes allow no list."""
    chosen = connection.metadata.get("shared_drives")
    if isinstance(chosen, list):
        return tuple(dict.fromkeys(read_each(chosen, read_drive_id)))
    return () if SHARED_DRIVE_SCOPES.isdisjoint(connection.scopes) else None


def list_drives(app: ProviderApp, page: str | None) -> Conversation[tuple[dict[str, str], str | None]]:
    """A page of the shared drives' names by id, and the token of the next."""
    parameters = {"pageSize": "100", "fields": "nextPageToken,drives(id,name)", "pageToken": page}
    response = yield HttpRequest(method="GET", url=with_query(url_of(app, Endpoint.DRIVE) + "/drives", parameters))
    answer = response.json_object()
    drives = {}
    for row in read_rows(answer, "drives"):
        drive = read_drive_id(row.get("id")) if isinstance(row, Mapping) else None
        if drive is None:
            raise UnexpectedResponseError("Drive lists a shared drive without an id.")
        drives[drive] = read_name(row.get("name")) or drive
    return drives, read_text(answer.get("nextPageToken"))


def read_drive_id(value: Any) -> str | None:
    """A shared drive's id."""
    drive = read_id(value)
    return None if drive is None or len(drive) > LONGEST_ID or drive == USER_LOG else drive


def find_logs(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The user's log, and those of the shared drives that are chosen, else of all that may be listed."""
    chosen = find_chosen(connection)
    if chosen is not None:
        return (USER_LOG, *chosen)
    logs = {USER_LOG: ""}
    page: str | None = None
    for _ in range(DRIVES_PAGES):
        drives, page = yield from list_drives(app, page)
        logs |= drives
        if page is None:
            break
    return tuple(logs)
