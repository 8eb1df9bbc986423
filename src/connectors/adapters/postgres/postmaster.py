"""The contents of `postmaster.pid`, and whether they are true."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import attrs

_LINES = 8
"""Lines of a full `postmaster.pid`: pid, folder, start time, port, socket folder, address, shared memory, status."""
_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
"""The signals that stop a server (PostgreSQL, "Shutting Down the Server")."""


@attrs.frozen
class Postmaster:
    """The server process of one cluster, as its pid file describes it."""

    pid: int
    socket_folder: Path
    socket_path: Path
    status: str

    @property
    def is_ready(self) -> bool:
        """Whether it reports that it accepts connections."""
        return self.status == "ready"

    def is_running(self) -> bool:
        """Whether the process exists and is a PostgreSQL server: after a crash its pid may belong to any process."""
        with contextlib.suppress(ChildProcessError, OSError):
            # If we started it: an ended child keeps its pid until its parent waits for it.
            os.waitpid(self.pid, os.WNOHANG)
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _command_name(self.pid).startswith("postgres")

    def accepts(self) -> bool:
        """Whether something listens on its socket."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(str(self.socket_path))
            except OSError:
                return False
        return True

    def signal_stop(self, mode: str) -> None:
        """Stop it: `fast` ends its sessions and writes everything, `immediate` requires recovery at the next start."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, _STOP_SIGNALS[mode])


def read_postmaster(folder: Path) -> Postmaster | None:
    """The server of this cluster; None without a pid file. A half-written file gives a server that is not ready."""
    try:
        lines = (folder / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (_LINES - len(lines))
    try:
        pid = abs(int(lines[0]))
    except ValueError:
        return None
    sockets = Path(lines[4].strip() or folder)
    return Postmaster(pid, sockets, sockets / f".s.PGSQL.{lines[3].strip() or '5432'}", lines[7].strip())


def _command_name(pid: int) -> str:
    """The process's name; empty if it has ended (even if nobody has waited for it)."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            text = stat.read_text(errors="replace")
        except OSError:
            return ""
        name, _, rest = text.partition("(")[2].rpartition(")")
        return "" if rest.strip().startswith("Z") else name
    result = subprocess.run(  # noqa: S603 - no shell, and the argument is a number
        ["/bin/ps", "-o", "ucomm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return result.stdout.strip()
