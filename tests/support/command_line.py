"""Runs our commands as a shell would: in this process, or in a process of their own where a test needs one."""

import io
import logging
import os
import signal
import subprocess
import sys

import attrs

from connectors.entrypoints.cli import main, watch
from tests.support.service import COMMAND, clean_environment

TIMEOUT = 90


@attrs.frozen
class Finished:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands in this process, each with its own environment."""

    def __init__(self, monkeypatch, capsys, folder):
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._folder = folder

    def run(self, *arguments, environment=None, given=""):
        """Exit code and output of `connectors` with these arguments."""
        # Each command configures the logs for the standard error that it finds.
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        with self._monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("POBLYSH_")]:
                patch.delenv(name)
            for name, text in {"NO_COLOR": "1", **(environment or {})}.items():
                patch.setenv(name, text)
            patch.chdir(self._folder)
            patch.setattr(watch, "POLL_INTERVAL", 0.02)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            patch.setattr(sys, "argv", ["connectors", *map(str, arguments)])
            self._capsys.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
            finally:
                root.handlers[:], root.level = handlers, level
        captured = self._capsys.readouterr()
        return Finished(code, captured.out, captured.err)


def run_process(*arguments, environment, folder, given=b""):
    """Exit code and output of `connectors` as a process of its own."""
    finished = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        env=clean_environment(**environment),
        cwd=folder,
        input=given,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Finished(finished.returncode, finished.stdout.decode(), finished.stderr.decode())


def start_process(*arguments, environment, folder, **options):
    """`connectors` as a process that keeps running."""
    return subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        env=clean_environment(**environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        **options,
    )


def press_ctrl_c(process):
    """Send SIGINT to the whole process group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)
