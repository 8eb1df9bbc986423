"""Drive v3: about, files, changes, shared drives, channels."""

from datetime import timedelta
from typing import Any, Final

from flask import request

from connectors_sandbox.google.api import Api, body, flag, stamp
from connectors_sandbox.google.auth import Grant
from connectors_sandbox.google.drive import FOLDER, Drive, Entry, File, user_json
from connectors_sandbox.google.drive_query import parse_query
from connectors_sandbox.google.errors import GoogleError, invalid

READ: Final = ("drive", "drive.readonly", "drive.metadata", "drive.metadata.readonly")
FILE_DEFAULTS: Final = "kind,id,name,mimeType"
CHANGE_DEFAULTS: Final = (
    f"kind,nextPageToken,newStartPageToken,changes(kind,changeType,type,time,removed,fileId,file({FILE_DEFAULTS}))"
)
LIST_DEFAULTS: Final = f"kind,nextPageToken,incompleteSearch,files({FILE_DEFAULTS})"
MAX_PAGE: Final = 1000
DEFAULT_LIFETIME: Final = timedelta(hours=1)
"""The lifetime of a channel that requests none."""


class DriveViews:
    """The views of one world."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.world = api.world

    @property
    def drive(self) -> Drive:
        """The files of the world."""
        return self.world.drive

    def install(self) -> None:
        """Mount the views."""
        route = self.api.route
        route("GET", "/drive/v3/about", self.about, READ)
        route("GET", "/drive/v3/changes/startPageToken", self.start_token, READ)
        route("GET", "/drive/v3/changes", self.list_changes, READ, CHANGE_DEFAULTS)
        route("POST", "/drive/v3/changes/watch", self.watch, READ)
        route("POST", "/drive/v3/channels/stop", self.stop, READ)
        route("GET", "/drive/v3/files", self.list_files, READ, LIST_DEFAULTS)
        route("GET", "/drive/v3/files/<file_id>", self.get_file, READ, FILE_DEFAULTS)
        route("GET", "/drive/v3/drives", self.list_drives, ("drive", "drive.readonly"))

    def about(self, grant: Grant) -> dict[str, Any]:
        """The caller; `fields` is mandatory."""
        if "fields" not in request.args:
            raise GoogleError(400, "required", "The 'fields' parameter is required.", location="fields")
        return {"kind": "drive#about", "user": self._user(grant.email, grant)}

    def start_token(self, grant: Grant) -> dict[str, Any]:
        """The token of the next change."""
        self._log_name(grant)
        return {"kind": "drive#startPageToken", "startPageToken": str(self.drive.sequence + 1)}

    def list_changes(self, grant: Grant) -> dict[str, Any]:
        """The log from a token on, each file in its current state."""
        name = self._log_name(grant)
        token = request.args.get("pageToken")
        if token is None:
            raise GoogleError(400, "required", "Required parameter: pageToken", location="pageToken")
        if not token.isdigit() or int(token) > self.drive.sequence + 1:
            raise invalid("Invalid Value", "pageToken")
        size = self.api.page_size("pageSize", 100, MAX_PAGE)
        entries = [entry for entry in self.drive.log_of(name) if entry.sequence >= int(token)]
        page = entries[:size]
        changes = [change for entry in page if (change := self._change(entry, grant)) is not None]
        document: dict[str, Any] = {"kind": "drive#changeList", "changes": changes}
        if len(entries) > size:
            return {**document, "nextPageToken": str(page[-1].sequence + 1)}
        return {**document, "newStartPageToken": str(self.drive.sequence + 1)}

    def _change(self, entry: Entry, grant: Grant) -> dict[str, Any] | None:
        common = {"kind": "drive#change", "time": stamp(entry.at), "removed": False}
        if entry.file_id is None:
            drive = self.drive.drives[entry.drive_id or ""]
            common |= {"changeType": "drive", "type": "drive", "driveId": drive.id}
            if grant.email not in drive.members:
                return {**common, "removed": True} if flag("includeRemoved", otherwise=True) else None
            return {
                **common,
                "drive": {"kind": "drive#drive", "id": drive.id, "name": drive.name},
            }
        file = self.drive.files[entry.file_id]
        if file.drive_id is not None and not flag("includeItemsFromAllDrives"):
            return None
        change = {**common, "changeType": "file", "type": "file", "fileId": file.id}
        if file.drive_id is not None:
            change["driveId"] = file.drive_id
        if self.drive.can_see(grant.email, file):
            return {**change, "file": self._file(file, grant)}
        return {**change, "removed": True} if flag("includeRemoved", otherwise=True) else None

    def watch(self, grant: Grant) -> Any:
        """Open a channel on the log that the parameters name."""
        if "pageToken" not in request.args:
            raise GoogleError(400, "required", "Required parameter: pageToken", location="pageToken")
        resource = f"changes:{self._log_name(grant)}"
        uri = f"{self.world.core.base_url('google')}/drive/v3/changes?{request.query_string.decode()}&alt=json"
        return self.api.watch(self.world.channels.open(body(), grant, resource, uri, DEFAULT_LIFETIME))

    def stop(self, grant: Grant) -> None:
        """Close a channel."""
        self.world.channels.close(body(), grant)

    def list_files(self, grant: Grant) -> dict[str, Any]:
        """Files that the user can see, of one shared drive or of the user's own corpus.

        A new file may be listed minutes after the log has it.
        Source: reports github.com/googleapis/google-api-go-client/issues/906, bellingcat/auto-archiver/issues/191.
        """
        test = parse_query(request.args.get("q", ""))
        drive_id = request.args.get("driveId")
        if drive_id is not None:
            self.drive.drive_of(grant.email, drive_id)
        found = [
            file
            for file in self.drive.files.values()
            if self.drive.can_see(grant.email, file)
            and self._is_in_corpus(file, grant, drive_id)
            and self.world.core.is_indexed("google", file.appeared_at)
            and test(file)
        ]
        if request.args.get("orderBy", "modifiedTime desc") != "modifiedTime desc":
            raise invalid("The sandbox orders by 'modifiedTime desc' only", "orderBy")
        found.sort(key=lambda file: (file.modified_at, file.id), reverse=True)
        begin = self._listing_offset(request.args.get("pageToken"))
        size = self.api.page_size("pageSize", 100, MAX_PAGE)
        page = found[begin : begin + size]
        document: dict[str, Any] = {
            "kind": "drive#fileList",
            "incompleteSearch": False,
            "files": [self._file(file, grant) for file in page],
        }
        if begin + size < len(found):
            document["nextPageToken"] = f"~!!~{self.drive.listing_epoch}:{begin + size}"
        return document

    def _is_in_corpus(self, file: File, grant: Grant, drive_id: str | None) -> bool:
        """Whether the listing is about this file.

        The corpus `user` has what the user made, opened or was given, not everything in their shared drives.
        Source: Drive v3 `files.list`, `corpora`; report github.com/openclaw/gogcli/issues/147.
        """
        if drive_id is not None:
            return file.drive_id == drive_id
        is_near = file.drive_id is None or file.owner == grant.email or grant.email in file.viewers
        if request.args.get("corpora", "user") == "user" and not is_near:
            return False
        return file.drive_id is None or flag("includeItemsFromAllDrives")

    def _listing_offset(self, token: str | None) -> int:
        if token is None:
            return 0
        epoch, _, offset = token.removeprefix("~!!~").partition(":")
        if epoch != str(self.drive.listing_epoch) or not offset.isdigit():
            raise invalid("Invalid Value", "pageToken")
        return int(offset)

    def get_file(self, grant: Grant, file_id: str) -> dict[str, Any]:
        """One file."""
        return self._file(self.drive.get(grant.email, file_id), grant)

    def list_drives(self, grant: Grant) -> dict[str, Any]:
        """The user's shared drives."""
        mine = [drive for drive in self.drive.drives.values() if grant.email in drive.members]
        drives = [{"kind": "drive#drive", "id": drive.id, "name": drive.name} for drive in mine]
        return {"kind": "drive#driveList", "drives": drives}

    def _log_name(self, grant: Grant) -> str:
        drive_id = request.args.get("driveId")
        if drive_id is None:
            return grant.email
        if not flag("supportsAllDrives"):
            raise invalid("driveId needs supportsAllDrives", "driveId")
        return self.drive.drive_of(grant.email, drive_id).id

    def _user(self, email: str, grant: Grant) -> dict[str, Any]:
        user = self.world.users.get(email)
        name, identifier = (user.name, user.sub[-20:]) if user else (email, email)
        return user_json(email, identifier, name, is_me=email == grant.email)

    def _file(self, file: File, grant: Grant) -> dict[str, Any]:
        link = "drive/folders/{}" if file.mime_type == FOLDER else "file/d/{}/view?usp=drivesdk"
        document: dict[str, Any] = {
            "kind": "drive#file",
            "id": file.id,
            "name": file.name,
            "mimeType": file.mime_type,
            "trashed": file.is_trashed,
            "explicitlyTrashed": file.is_explicitly_trashed,
            "createdTime": stamp(file.created_at),
            "modifiedTime": stamp(file.modified_at),
            "version": str(file.version),
            "webViewLink": "https://drive.google.com/" + link.format(file.id),
            "lastModifyingUser": self._user(file.editor, grant),
            "shared": bool(file.viewers) or file.drive_id is not None,
            "size": "1024",
        }
        if file.drive_id is None:
            document |= {
                "ownedByMe": file.owner == grant.email,
                "owners": [self._user(file.owner, grant)],
            }
        else:
            document["driveId"] = file.drive_id
        # A file shared by others has no parent that the viewer can see.
        if file.drive_id is not None or file.owner == grant.email:
            document["parents"] = file.parents
        if (since := file.viewers.get(grant.email)) is not None:
            document["sharedWithMeTime"] = stamp(since)
        if file.trashed_at is not None:
            document["trashedTime"] = stamp(file.trashed_at)
            document["trashingUser"] = self._user(file.trasher or file.owner, grant)
        return document
