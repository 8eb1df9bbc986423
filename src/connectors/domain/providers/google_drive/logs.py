"""Drive's change logs: the user's own, and one for each shared drive.

Source: developers.google.com/workspace/drive/api/guides/manage-changes and …/about-changes.
"""

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.google_drive.oauth import SHARED_DRIVE_SCOPES
from connectors.domain.providers.toolbox.foreign import read_each, read_objects, read_text

USER_LOG = "user"
USER_TARGET = "changes"
DRIVE_TARGET = "drive:"

DRIVES_PAGES = 50
"""Pages of shared drives, of 100 each: more is an error."""


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


def find_logs(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The user's log, and the shared drives chosen in the connection's metadata, else all that it may list."""
    chosen = connection.metadata.get("shared_drives")
    if isinstance(chosen, list):
        return (USER_LOG, *read_each(chosen, read_id))
    if SHARED_DRIVE_SCOPES.isdisjoint(connection.scopes):
        return (USER_LOG,)
    drives: list[str] = []
    page: str | None = None
    for _ in range(DRIVES_PAGES):
        parameters = {"pageSize": "100", "fields": "nextPageToken,drives(id,name)", "pageToken": page}
        response = yield HttpRequest(method="GET", url=with_query(url_of(app, Endpoint.DRIVE) + "/drives", parameters))
        answer = response.json_object()
        drives += [drive for each in read_objects(answer.get("drives")) if (drive := read_id(each.get("id")))]
        page = read_text(answer.get("nextPageToken"))
        if page is None:
            break
    return (USER_LOG, *dict.fromkeys(drives))
