"""Drive's state: files, shared drives, and a change log per viewer that lists each file once, at its latest change."""

from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.google.channels import Channels
from connectors_sandbox.google.errors import not_found

FOLDER: Final = "application/vnd.google-apps.folder"
DOCUMENT: Final = "application/vnd.google-apps.document"


@attrs.define(eq=False)
class File:
    """A file or folder."""

    id: str
    name: str
    mime_type: str
    owner: str
    """E-mail address."""
    parents: list[str]
    created_at: datetime
    modified_at: datetime
    editor: str
    appeared_at: datetime
    """When Drive got it. Its own times may be any others: apps that import files set them."""
    drive_id: str | None = None
    viewers: dict[str, datetime] = attrs.field(factory=dict)
    """The users it is shared with, and since when."""
    version: int = 1
    is_trashed: bool = False
    is_explicitly_trashed: bool = False
    trashed_at: datetime | None = None
    trasher: str | None = None
    is_deleted: bool = False


@attrs.define(eq=False)
class SharedDrive:
    """A shared drive and its members."""

    id: str
    name: str
    members: set[str]


@attrs.frozen
class Entry:
    """One line of a change log."""

    sequence: int
    at: datetime
    file_id: str | None
    drive_id: str | None = None


class Drive:
    """Everybody's files."""

    def __init__(self, core: SandboxCore, channels: Channels) -> None:
        self._core = core
        self._channels = channels
        self.files: dict[str, File] = {}
        self.drives: dict[str, SharedDrive] = {}
        self.logs: dict[str, dict[str, Entry]] = {}
        """Change logs by e-mail address or shared drive id; each file occurs once."""
        self.sequence = 8_000
        self.listing_epoch = 0
        """Page tokens of listings made before the last increase have expired."""

    # --- visibility ------------------------------------------------------------------------------------------------

    def can_see(self, email: str, file: File) -> bool:
        """Whether this user can see the file."""
        if file.is_deleted:
            return False
        if file.drive_id is not None:
            return email in self.drives[file.drive_id].members
        return email == file.owner or email in file.viewers

    def viewers(self, file: File) -> set[str]:
        """All users who can see it."""
        if file.drive_id is not None:
            return set(self.drives[file.drive_id].members)
        return {file.owner, *file.viewers}

    def get(self, email: str, file_id: str) -> File:
        """The file, for somebody who can see it."""
        file = self.files.get(file_id)
        if file is None or not self.can_see(email, file):
            raise not_found(f"File not found: {file_id}.", "fileId")
        return file

    def drive_of(self, email: str, drive_id: str) -> SharedDrive:
        """The shared drive, for a member."""
        drive = self.drives.get(drive_id)
        if drive is None or email not in drive.members:
            raise not_found(f"Shared drive not found: {drive_id}", "driveId")
        return drive

    def log_of(self, name: str) -> list[Entry]:
        """A log's entries in order."""
        return sorted(self.logs.get(name, {}).values(), key=lambda entry: entry.sequence)

    # --- changes
    # -------------------------------------------------------------------------------------------------------

    def create(
        self,
        *,
        by: str,
        name: str,
        mime_type: str = DOCUMENT,
        parent: str | None = None,
        drive_id: str | None = None,
        age_days: float = 0.0,
        created_at: datetime | None = None,
        modified_at: datetime | None = None,
    ) -> File:
        """A new file; `age_days` makes it look that old, and keeps it out of the logs.

        With times of its own it is imported now, and in the logs. Source: Drive v3 `files.create`, whose `createdTime`
        and `modifiedTime` can be set.
        """
        at = self._core.clock.now() - timedelta(days=age_days)
        identifier = "1" + self._core.random_string(32)
        parents = [parent or drive_id or f"0A{by.partition('@')[0]}"]
        file = File(
            identifier,
            name,
            mime_type,
            by,
            parents,
            created_at or at,
            modified_at or at,
            by,
            appeared_at=at,
            drive_id=drive_id,
        )
        self.files[identifier] = file
        if not age_days:
            self._changed(file)
        return file

    def edit(self, file: File, by: str) -> None:
        """Change the contents."""
        file.modified_at, file.editor = self._later(file.modified_at), by
        self._changed(file)

    def rename(self, file: File, name: str, by: str) -> None:
        """Rename the file, which also changes its modification time."""
        file.name, file.editor, file.modified_at = name, by, self._later(file.modified_at)
        self._changed(file)

    def move(self, file: File, parent: str) -> None:
        """Move the file; its modification time stays."""
        file.parents = [parent]
        self._changed(file)

    def set_trashed(self, file: File, by: str, *, is_trashed: bool, is_explicit: bool = True) -> None:
        """Move into or out of the trash, with everything below."""
        file.is_trashed, file.is_explicitly_trashed = is_trashed, is_trashed and is_explicit
        in_drive = is_trashed and file.drive_id is not None
        file.trashed_at = self._core.clock.now() if in_drive else None
        file.trasher = by if in_drive else None
        self._changed(file)
        for child in [one for one in self.files.values() if file.id in one.parents and not one.is_deleted]:
            self.set_trashed(child, by, is_trashed=is_trashed, is_explicit=False)

    def delete(self, file: File) -> None:
        """Delete for good."""
        lost = self.viewers(file)
        file.is_deleted = True
        self._changed(file, lost)

    def share(self, file: File, email: str) -> None:
        """Share with a user."""
        file.viewers[email] = self._core.clock.now()
        self._changed(file)

    def unshare(self, file: File, email: str) -> None:
        """Stop sharing with a user."""
        lost = self.viewers(file)
        file.viewers.pop(email, None)
        self._changed(file, lost)

    def touch(self, file: File) -> None:
        """Opened, starred or indexed: a change without a visible difference."""
        self._changed(file)

    def add_drive(self, name: str, members: list[str]) -> SharedDrive:
        """A shared drive."""
        drive = SharedDrive("0A" + self._core.random_string(16) + "PVA", name, set(members))
        self.drives[drive.id] = drive
        for member in members:
            self._log(member, None, drive.id)
        return drive

    def join_drive(self, drive: SharedDrive, email: str) -> None:
        """Add a member: only the drive itself gets an entry in their log."""
        drive.members.add(email)
        self._log(email, None, drive.id)

    def leave_drive(self, drive: SharedDrive, email: str) -> None:
        """Remove a member: the drive is removed from their log."""
        drive.members.discard(email)
        self._log(email, None, drive.id)

    def _later(self, than: datetime) -> datetime:
        """Now, a little later if that was the time before. An imported file's time may lie far ahead."""
        now = self._core.clock.now()
        return now if now > than or than > now + timedelta(minutes=1) else than + timedelta(milliseconds=1)

    def _changed(self, file: File, others: set[str] | None = None) -> None:
        file.version += 1
        names = self.viewers(file) | (others or set())
        for name in sorted(names):  # the order of the log must not depend on that of a set
            self._log(name, file.id, file.drive_id)
        if file.drive_id is not None:
            self._log(file.drive_id, file.id, file.drive_id)

    def _log(self, name: str, file_id: str | None, drive_id: str | None) -> None:
        self.sequence += 1
        entry = Entry(self.sequence, self._core.clock.now(), file_id, drive_id)
        self.logs.setdefault(name, {})[file_id or f"drive:{drive_id}"] = entry
        # The channel reports every entry of the log, even those that a list's parameters exclude.
        self._channels.notify(f"changes:{name}", "change")


def user_json(email: str, permission_id: str, name: str, *, is_me: bool) -> dict[str, Any]:
    """A `User`."""
    return {
        "kind": "drive#user",
        "displayName": name,
        "me": is_me,
        "permissionId": permission_id,
        "emailAddress": email,
    }
