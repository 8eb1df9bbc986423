"""Drive: files of the user's own, of a colleague who shares them, and of shared drives."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any

from connectors_sandbox import Sandbox
from connectors_sandbox.google.drive import FOLDER, File
from tests.simulation.world.account import Account, Event
from tests.simulation.world.google import EPOCH, FAR_AHEAD, GoogleAccount, choose, some_years_ago, to_millis


class DriveAccount(GoogleAccount):
    """A My Drive, and a shared drive that the connection is told to follow."""

    slug = "google-drive"
    lists = ("/changes", "/files", "/startPageToken")
    resource = "changes:"
    hooks_each = 2
    page_items = 40
    requests_a_minute = 120  # a new log is listed twice and its history once, whatever the size of a page
    signals_are_shared = False

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox, name)
        self.team = ""
        """The id of the shared drive that is followed."""
        self.marks: dict[str, str] = {}
        """By file: the part of its name that stays."""

    @property
    def options(self) -> Mapping[str, Any]:
        return {"shared_drives": [self.team]}

    def prepare(self, items: int, dice: Random) -> None:
        self.team = self.google.add_shared_drive(f"Team {self.name}", [self.user, self.other_user])
        super().prepare(items, dice)

    def add_old(self, age_days: float, dice: Random) -> None:
        file = self._add(by=self.user, age_days=age_days)
        if dice.random() < 0.3:
            file.modified_at += timedelta(days=age_days) * dice.random()

    def events(self) -> list[Event]:
        found = []
        for file in self._seen():
            is_indexed = self.sandbox.core.is_indexed(self.mount, file.appeared_at)
            if file.is_trashed or not is_indexed or not self._is_read(file):
                continue
            created_at, modified_at = to_millis(file.created_at), to_millis(file.modified_at)
            found.append(Event(kind="file_created", title=self.marks[file.id], at=created_at))
            if modified_at > created_at:
                found.append(Event(kind="file_updated", title=self.marks[file.id], at=modified_at))
        return found

    # --- files -------------------------------------------------------------------------------------------------------

    def _seen(self) -> list[File]:
        """The files of this account that the user can see, in or out of the trash."""
        drive = self.google.drive
        return [drive.files[each] for each in self.marks if drive.can_see(self.user, drive.files[each])]

    def _is_read(self, file: File) -> bool:
        """Whether a listing shows it: of the user's own corpus, or of the followed drive."""
        return file.drive_id in {None, self.team} or self.user in {file.owner, *file.viewers}

    def _add(self, **how: Any) -> File:
        mark = self.text()
        file = self.google.drive.create(name=f"{mark} File", **how)
        self.marks[file.id] = mark
        return file

    def _pick(self, dice: Random, *, is_trashed: bool = False, is_mine: bool = False) -> File | None:
        """A file, no folder."""
        return choose(
            dice,
            [
                file
                for file in self._seen()
                if file.is_trashed is is_trashed
                and file.mime_type != FOLDER
                and (not is_mine or (file.owner == self.user and file.drive_id is None))
            ],
        )

    def _folder(self, dice: Random) -> str | None:
        mine = [file for file in self._seen() if file.mime_type == FOLDER and file.owner == self.user]
        folder = choose(dice, [file for file in mine if not file.is_trashed])
        return None if folder is None else folder.id

    # --- every day ---------------------------------------------------------------------------------------------------

    def create(self, dice: Random) -> None:
        self._add(by=self.user, parent=self._folder(dice) if dice.random() < 0.3 else None)

    def create_folder(self, dice: Random) -> None:
        self._add(by=self.user, mime_type=FOLDER)

    def create_in_team(self, dice: Random) -> None:
        """The colleague makes a file in the shared drive, whether or not the user is in it."""
        self._add(by=self.other_user, drive_id=self.team)

    def edit(self, dice: Random) -> None:
        if (file := self._pick(dice)) is not None:
            self.google.drive.edit(file, dice.choice([self.user, self.other_user]))

    def rename(self, dice: Random) -> None:
        if (file := self._pick(dice)) is not None:
            self.google.drive.rename(file, f"{self.marks[file.id]} File {dice.randrange(1000)}", self.user)

    def move(self, dice: Random) -> None:
        file, folder = self._pick(dice, is_mine=True), self._folder(dice)
        if file is not None and folder is not None:
            self.google.drive.move(file, folder)

    def trash(self, dice: Random) -> None:
        if (file := self._pick(dice)) is not None:
            self.google.drive.set_trashed(file, self.user, is_trashed=True)

    def trash_folder(self, dice: Random) -> None:
        if (folder := self._folder(dice)) is not None:
            self.google.drive.set_trashed(self.google.drive.files[folder], self.user, is_trashed=True)

    def restore(self, dice: Random) -> None:
        if (file := self._pick(dice, is_trashed=True)) is not None:
            self.google.drive.set_trashed(file, self.user, is_trashed=False)

    def delete(self, dice: Random) -> None:
        if (file := self._pick(dice, is_trashed=dice.random() < 0.5)) is not None:
            self.google.drive.delete(file)

    def be_given(self, dice: Random) -> None:
        """The colleague shares a file that is some days old."""
        file = self._add(by=self.other_user, age_days=dice.uniform(0.01, 20))
        self.google.drive.share(file, self.user)

    def lose_access(self, dice: Random) -> None:
        """The colleague stops sharing a file."""
        file = choose(dice, [file for file in self._seen() if self.user in file.viewers])
        if file is not None:
            self.google.drive.unshare(file, self.user)

    def share(self, dice: Random) -> None:
        if (file := self._pick(dice, is_mine=True)) is not None:
            self.google.drive.share(file, self.other_user)

    def open_file(self, dice: Random) -> None:
        """A change in the log, and nothing to see."""
        if (file := self._pick(dice)) is not None:
            self.google.drive.touch(file)

    # --- rare --------------------------------------------------------------------------------------------------------

    def _import(self, created_at: datetime | None, modified_at: datetime) -> None:
        self._add(by=self.user, created_at=created_at, modified_at=modified_at)

    def backdate(self, dice: Random) -> None:
        """A file is imported with the times that it had elsewhere, or uploaded with its time on a disk."""
        created_at = some_years_ago(self.now, dice)
        modified_at = created_at + (self.now - created_at) * dice.random()
        self._import(created_at if dice.random() < 0.7 else None, modified_at)

    def date_1970(self, dice: Random) -> None:
        """A file out of an archive that keeps no times."""
        self._import(EPOCH if dice.random() < 0.5 else None, EPOCH)

    def date_2099(self, dice: Random) -> None:
        """A file of a camera whose clock is wrong."""
        self._import(FAR_AHEAD if dice.random() < 0.5 else None, FAR_AHEAD)

    def burst(self, dice: Random) -> None:
        """More files within one instant than a page holds."""
        for _ in range(self.page_items + dice.randint(1, 10)):
            self._add(by=self.user)

    def close_container(self, dice: Random) -> None:
        """The user is no longer in the followed shared drive."""
        if self.user in self.google.drive.drives[self.team].members:
            self.google.leave_shared_drive(self.team, self.user)

    def reopen_container(self, dice: Random) -> None:
        if self.user not in self.google.drive.drives[self.team].members:
            self.google.join_shared_drive(self.team, self.user)

    def new_container(self, dice: Random) -> None:
        """The colleague shares a folder that has files."""
        age_days = dice.uniform(0.01, 60)
        folder = self._add(by=self.other_user, mime_type=FOLDER, age_days=age_days)
        inside = [self._add(by=self.other_user, parent=folder.id, age_days=age_days / 2) for _ in range(3)]
        for file in (folder, *inside):
            self.google.drive.share(file, self.user)

    def join_drive(self, dice: Random) -> None:
        """The user joins another shared drive, which nobody told the connection to follow."""
        drive = self.google.add_shared_drive(f"Drive {self.text()}", [self.other_user])
        for _ in range(2):
            self._add(by=self.other_user, drive_id=drive, age_days=dice.uniform(1, 60))
        self.google.join_shared_drive(drive, self.user)

    def expire_history(self, dice: Random) -> None:
        """Page tokens of listings lapse. Those of the change log never do."""
        self.google.expire_listings()

    def lag_index(self, dice: Random) -> None:
        """New files are listed some minutes after the log has them."""
        self.sandbox.core.index_lags[self.mount] = timedelta(minutes=dice.randint(2, 20))

    def index_catches_up(self, dice: Random) -> None:
        self.sandbox.core.index_lags.pop(self.mount, None)

    usual = {
        "create": (6, create),
        "create_folder": (1, create_folder),
        "create_in_team": (3, create_in_team),
        "edit": (5, edit),
        "rename": (2, rename),
        "move": (2, move),
        "trash": (2, trash),
        "trash_folder": (1, trash_folder),
        "restore": (2, restore),
        "delete": (1, delete),
        "be_given": (2, be_given),
        "lose_access": (1, lose_access),
        "share": (1, share),
        "open_file": (1, open_file),
    }
    odd = {
        **GoogleAccount.shared_levers,
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "burst": burst,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "new_container": new_container,
        "join_drive": join_drive,
        "expire_history": expire_history,
        "lag_index": lag_index,
        "index_catches_up": index_catches_up,
    }


ACCOUNTS: tuple[type[Account], ...] = (DriveAccount,)
