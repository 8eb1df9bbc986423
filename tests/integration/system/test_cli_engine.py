"""`backfill`, `sync` and `signals tail` as processes, on a real database, reading the sandbox."""

import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from connectors.domain.model.sync import JobStatus, JobType
from connectors_sandbox.faults import Fault, FaultKind
from tests.support.command_line import press_ctrl_c, run_process, start_process
from tests.support.engine import open_rig
from tests.support.service import COMMAND, clean_environment

ISSUES = 800
"""Eight pages of GitHub's."""
MAX_WAIT = 60
"""Seconds. A busy machine needs several of them to start a process."""


@pytest.fixture
def folder():
    """A folder with a short path."""
    path = Path(tempfile.mkdtemp(prefix="poblysh-cli-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def rig(folder, own_database):
    """A database and a sandbox with a repository full of issues, whose answers take a while."""
    with open_rig(folder, own_database, POBLYSH_LOG_LEVEL="warning") as rig:
        for number in range(ISSUES):
            rig.github.open_issue("ada/lamp", f"Issue {number}", by="ada")
        yield rig


@pytest.fixture
def settings(rig):
    """The rig's, for commands."""
    return {name: value for name, value in rig.environment.items() if name.startswith("POBLYSH_")}


def slow(rig, seconds):
    """Let the sandbox take its time from now on."""
    rig.server.sandbox.faults.add(Fault(provider="github", kind=FaultKind.DELAY, seconds=seconds))


def backfills(rig, connection):
    """The connection's backfills, the newest first."""
    return [job for job in rig.jobs(connection) if job.type is JobType.BACKFILL]


def test_ctrl_c_loses_nothing(rig, settings, folder):
    """Ctrl-C ends a backfill after the page in work with exit code 130; the command that it names goes on from there,
    and no page is read twice."""
    connection = rig.connect("ada/lamp")
    slow(rig, 0.2)
    arguments = ("backfill", "--tenant", connection.tenant_id, "--connection", connection.id, "--days", "90")
    process = start_process(*arguments, environment=settings, folder=folder, stdout=-1, stderr=-1)
    rig.until(lambda: any(job.progress.pages >= 3 for job in backfills(rig, connection)), MAX_WAIT)
    pressed_at = time.monotonic()
    press_ctrl_c(process)
    out, err = process.communicate(timeout=MAX_WAIT)
    assert (process.returncode, out) == (130, ""), err
    assert time.monotonic() - pressed_at < 20
    assert "Traceback" not in err
    (stopped,) = backfills(rig, connection)
    assert stopped.status is JobStatus.QUEUED
    again = re.search(r"`connectors (backfill .+)` continues", err)[1].split()

    done = run_process(*again, "-o", "json", environment=settings, folder=folder)
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert shown["job"] == str(stopped.id)
    assert len([kind for kind in rig.kinds(connection) if kind == "issue_created"]) == ISSUES
    pages = [path for path in rig.requests if "/repos/ada/lamp/issues?" in path and "page=" in path]
    assert len(pages) == len(set(pages))


def test_a_terminal_shows_progress(rig, settings, folder):
    """In a terminal, counts and rate change in one line, and the result goes to standard output."""
    connection = rig.connect("ada/lamp")
    slow(rig, 0.1)
    parent, child = pty.openpty()
    environment = clean_environment(**settings) | {"TERM": "xterm", "COLUMNS": "110", "LINES": "20"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [str(COMMAND), "backfill", "-t", str(connection.tenant_id), "--days", "90", "-o", "jsonl"],
        env=environment,
        cwd=folder,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        text=True,
        start_new_session=True,
    )
    os.close(child)
    drawn = []
    reader = threading.Thread(target=_read_all, args=(parent, drawn))
    reader.start()
    out, _ = process.communicate(timeout=MAX_WAIT)
    reader.join(MAX_WAIT)
    os.close(parent)
    text = b"".join(drawn).decode()
    assert process.returncode == 0, text
    assert json.loads(out)["status"] == "succeeded"
    assert "items/s" in text
    assert "reading" in text
    assert re.search(r"[1-9][\d,]* items, [1-9][\d,]* items/s", text)


def _read_all(terminal, drawn):
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # nobody has the other end any more
            return
        if not piece:
            return
        drawn.append(piece)


def test_tail_follows(rig, settings, folder):
    """`signals tail` prints every signal once while a backfill brings them, and Ctrl-C ends it with exit code 0."""
    connection = rig.connect("ada/lamp")
    # It begins before anything has arrived: from then on it must not miss one.
    tail = start_process(
        *("signals", "tail", "-t", connection.tenant_id, "-o", "jsonl", "--interval", "100ms"),
        *("--since", "2020-01-01T00:00:00Z"),
        environment=settings,
        folder=folder,
        stdout=-1,
        stderr=-1,
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(tail.stdout.readline, "")))
    reader.start()
    try:
        done = run_process("backfill", "-t", connection.tenant_id, "--days", "90", environment=settings, folder=folder)
        assert done.code == 0, done.err
        expected = len(rig.keys(connection))
        rig.until(lambda: len(lines) >= expected or tail.poll() is not None, MAX_WAIT)
        press_ctrl_c(tail)
        assert tail.wait(MAX_WAIT) == 0
    finally:
        tail.kill()  # it would go on for ever, and so would whoever reads it
        reader.join(MAX_WAIT)
    assert sorted(json.loads(line)["dedupe_key"] for line in lines) == rig.keys(connection)
    assert tail.stderr.read() == "Stopped.\n"
    tail.stderr.close()
    tail.stdout.close()


def test_a_reader_that_leaves_ends_the_tail(rig, settings, folder):
    """`signals tail | head -n 2` ends without a word on standard error."""
    connection = rig.connect("ada/lamp")
    assert run_process("sync", "-t", connection.tenant_id, environment=settings, folder=folder).code == 0
    tail = f"timeout {MAX_WAIT} '{COMMAND}' signals tail -t {connection.tenant_id} --since 2020-01-01T00:00:00Z --interval 100ms"
    backfill = f"'{COMMAND}' backfill -t {connection.tenant_id} --days 90 -o json > /dev/null 2>&1"
    finished = subprocess.run(
        ["bash", "-c", f"{backfill}; {tail} | head -n 2"],
        env=clean_environment(**settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=MAX_WAIT,
        check=True,
    )
    assert len(finished.stdout.splitlines()) == 2
    assert finished.stderr == ""
