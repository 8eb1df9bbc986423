"""The fields of Drive's objects that we read, and no others.

Source: Drive v3 reference, resources `files`, `changes` and `drives`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.model.instant import read_instant
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers.toolbox.foreign import read_each, read_object, read_text, read_url

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"

FILE_FIELDS = (
    "id,name,mimeType,parents,trashed,explicitlyTrashed,trashedTime,trashingUser(displayName,emailAddress,permissionId),"
    "createdTime,modifiedTime,version,webViewLink,driveId,ownedByMe,shared,sharedWithMeTime,"
    "owners(displayName,emailAddress,permissionId),lastModifyingUser(displayName,emailAddress,permissionId,me),"
    "md5Checksum,headRevisionId,size,shortcutDetails(targetId,targetMimeType)"
)
"""Drive leaves out nearly everything that is not requested by name."""

CHANGE_FIELDS = (
    "nextPageToken,newStartPageToken,"
    f"changes(changeType,time,removed,fileId,driveId,drive(id,name),file({FILE_FIELDS}))"
)
LIST_FIELDS = f"nextPageToken,incompleteSearch,files({FILE_FIELDS})"


@attrs.frozen(kw_only=True)
class User:
    """A person, as Drive names them; the address may be missing."""

    id: str
    name: str


@attrs.frozen(kw_only=True)
class File:
    """A file or folder as it is now."""

    id: str
    name: str
    mime_type: str
    parents: tuple[str, ...]
    """Sorted. Empty for files that others shared with the user."""
    trashed: bool
    created_at: datetime | None
    modified_at: datetime | None
    modified_time: str
    """As Drive wrote it: part of an update's key."""
    trashed_at: datetime | None
    """Only in shared drives."""
    shared_at: datetime | None
    url: str
    drive_id: str | None
    """The shared drive that it is in."""
    version: str
    last_editor: User | None
    """Who last changed its contents; somebody else may have moved, shared or trashed it."""
    trasher: User | None
    shortcut_target: str | None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.mime_type == FOLDER


def read_file(document: Any) -> File | None:
    """The file, or None without an id."""
    data = read_object(document)
    identifier = read_id(data.get("id"))
    if identifier is None:
        return None
    modified_at = read_instant(data.get("modifiedTime"))
    return File(
        id=identifier,
        name=read_text(data.get("name")) or identifier,
        mime_type=read_text(data.get("mimeType")) or "",
        parents=tuple(sorted(read_each(data.get("parents"), read_id))),
        trashed=data.get("trashed") is True,
        created_at=read_instant(data.get("createdTime")),
        modified_at=modified_at,
        modified_time=str(data.get("modifiedTime")) if modified_at else "",
        trashed_at=read_instant(data.get("trashedTime")),
        shared_at=read_instant(data.get("sharedWithMeTime")),
        url=read_url(data.get("webViewLink")) or file_url(identifier),
        drive_id=read_id(data.get("driveId")),
        version=read_text(data.get("version")) or "",
        last_editor=_read_user(data.get("lastModifyingUser")),
        trasher=_read_user(data.get("trashingUser")),
        shortcut_target=read_id(read_object(data.get("shortcutDetails")).get("targetId")),
    )


def _read_user(value: Any) -> User | None:
    data = read_object(value)
    email = read_id(data.get("emailAddress"))
    identifier = read_id(data.get("permissionId")) or email
    if identifier is None:
        return None
    return User(id=identifier, name=read_text(data.get("displayName")) or email or identifier)


def file_url(identifier: str) -> str:
    """A link that opens any file by its id."""
    return f"https://drive.google.com/open?id={identifier}"


@attrs.frozen(kw_only=True)
class Change:
    """One entry of a change log: which file, when, and its present state. It does not say what happened."""

    file_id: str
    at: datetime
    time: str
    """As Drive wrote it: part of the key of what has no time of its own."""
    removed: bool
    """Deleted, or no longer visible to this account. False for a file that only left this log."""
    file: File | None
    document: Mapping[str, Any] = attrs.field(repr=False)


def read_change(document: Mapping[str, Any]) -> Change | str:
    """The change, or a text saying why it cannot be read."""
    identifier = read_id(document.get("fileId"))
    if identifier is None:
        return "names no file"
    at = read_instant(document.get("time"))
    if at is None:
        return "has no time"
    file = read_file(document.get("file"))
    if file is not None and file.id != identifier:
        file = None
    # With `includeCorpusRemovals` Drive describes a file that left this log and that the account still sees.
    removed = document.get("removed") is True and file is None
    if not removed and file is None:
        return "does not describe its file"
    return Change(file_id=identifier, at=at, time=str(document["time"]), removed=removed, file=file, document=document)
