"""The embedded server: whatever happens to it or to us, it works or says one clear line."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from connectors.adapters.postgres import create_engine
from connectors.adapters.postgres.embedded import start_embedded
from connectors.adapters.postgres.postmaster import read_postmaster
from connectors.domain.model.errors import SettingsError

USER_PROGRAM = """
import sys
from pathlib import Path
from connectors.adapters.postgres.embedded import start_embedded
server = start_embedded(Path(sys.argv[1]))
print("up", flush=True)
sys.stdin.readline()
server.stop()
print("left", flush=True)
"""


@pytest.fixture(scope="module")
def _cluster():
    with tempfile.TemporaryDirectory(prefix="poblysh-test-") as folder:
        path = Path(folder)
        start_embedded(path).stop()
        yield path


@pytest.fixture
def data_dir(_cluster):
    """A data folder with a stopped cluster."""
    yield _cluster
    server = read_postmaster(_cluster / "postgres")
    assert server is None or not server.is_running(), "a server was left running"


@pytest.fixture
def empty_dir():
    """A new data folder."""
    with tempfile.TemporaryDirectory(prefix="poblysh-test-") as folder:
        yield Path(folder)


def run(url, sql):
    """Run statements on a server, each committed; the last one's first value, if it has one."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(sql))
            return result.scalar() if result.returns_rows else None
    finally:
        engine.dispose()


def wait_until(condition):
    """Wait for what another process does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def other_process(data_dir):
    """Another process that uses the server until it is told to leave."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER_PROGRAM, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    return process


def is_up(data_dir):
    """Whether the folder's server runs."""
    server = read_postmaster(data_dir / "postgres")
    return server is not None and server.is_running()


def test_starts_stops_and_starts_again(data_dir):
    """What was written is there after a clean stop, and the stop can be repeated."""
    with start_embedded(data_dir) as server:
        run(server.url, "CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS a")
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert run(server.url, f"SHOW {name}") == "on"
    assert not is_up(data_dir)
    server.stop()
    with start_embedded(data_dir) as server:
        assert run(server.url, "SELECT a FROM kept") == 1


def test_survives_the_death_of_the_server(data_dir):
    """After kill -9 of the postmaster a start recovers what was committed."""
    server = start_embedded(data_dir)
    run(server.url, "CREATE TABLE IF NOT EXISTS acknowledged AS SELECT 42 AS a")
    os.kill(read_postmaster(data_dir / "postgres").pid, signal.SIGKILL)
    wait_until(lambda: not is_up(data_dir))
    with start_embedded(data_dir) as second:
        assert run(second.url, "SELECT a FROM acknowledged") == 42
        server.stop()
        assert run(second.url, "SELECT a FROM acknowledged") == 42


def test_survives_the_death_of_its_users(data_dir):
    """After kill -9 of every user the next one takes the running server over, and stops it when it leaves."""
    process = other_process(data_dir)
    pid = read_postmaster(data_dir / "postgres").pid
    process.kill()
    process.communicate()
    with start_embedded(data_dir) as server:
        assert read_postmaster(data_dir / "postgres").pid == pid
        assert run(server.url, "SELECT 1") == 1
    wait_until(lambda: not is_up(data_dir))


def test_the_last_one_out_stops_it(data_dir):
    """Two processes share one server, which lives until both have left, in whatever order."""
    process = other_process(data_dir)
    server = start_embedded(data_dir)
    process.communicate("\n")
    assert run(server.url, "SELECT 1") == 1
    second = other_process(data_dir)
    server.stop()
    assert is_up(data_dir)
    second.communicate("\n")
    assert not is_up(data_dir)


def test_processes_that_start_at_once_share_one(empty_dir):
    """Of several first starts at once one makes the cluster, and all use it."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USER_PROGRAM, str(empty_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["up\n"] * 3
    for process in processes:
        process.communicate("\n")
    assert not is_up(empty_dir)


def test_a_pid_file_that_names_somebody_else(data_dir):
    """A stale pid file whose number is another process's by now does not stop a start."""
    with start_embedded(data_dir):
        lines = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with start_embedded(data_dir) as server:
        assert run(server.url, "SELECT 1") == 1


def test_a_forked_child_does_not_stop_it(data_dir):
    """A child of a fork that ends leaves the server to its parent."""
    with start_embedded(data_dir) as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert run(server.url, "SELECT 1") == 1


def test_a_long_path(empty_dir):
    """A folder whose path is too long for a socket works too."""
    folder = empty_dir / ("long" * 20) / ("longer" * 10)
    with start_embedded(folder) as server:
        assert run(server.url, "SELECT 1") == 1


def test_a_folder_of_another_version(empty_dir):
    """A cluster of another PostgreSQL is refused in one line that names folder and remedy."""
    (empty_dir / "postgres").mkdir()
    (empty_dir / "postgres" / "PG_VERSION").write_text("16\n")
    _refused(empty_dir, "PostgreSQL '16'", "POBLYSH_DATA_DIR")


def test_a_folder_with_something_else(empty_dir):
    """A folder that holds other files is left alone."""
    (empty_dir / "postgres").mkdir()
    (empty_dir / "postgres" / "thesis.txt").write_text("x")
    _refused(empty_dir, "not a database", "POBLYSH_DATA_DIR")
    assert (empty_dir / "postgres" / "thesis.txt").exists()


def test_a_file_where_the_folder_should_be(empty_dir):
    """A data folder that is a file is refused in one line."""
    (empty_dir / "data").write_text("x")
    _refused(empty_dir / "data", "cannot be used", "POBLYSH_DATA_DIR")


def test_a_read_only_folder(empty_dir):
    """A folder that may not be written is refused in one line."""
    if os.geteuid() == 0:
        # Root may write anywhere, except where nobody can.
        _refused(Path("/proc/poblysh"), "cannot be used", "POBLYSH_DATABASE_URL")
        return
    empty_dir.chmod(0o500)
    _refused(empty_dir, "cannot be used", "let this user write there")


def test_a_full_disk(empty_dir):
    """A full disk is reported in one line, and no half-made cluster is left."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(empty_dir)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        _refused(empty_dir, "No space left", "free disk space")
        assert not (empty_dir / "postgres").exists()
    finally:
        subprocess.run(["umount", str(empty_dir)], check=True)


def _refused(folder, *words):
    with pytest.raises(SettingsError) as caught:
        start_embedded(folder)
    assert "\n" not in caught.value.message
    for word in (str(folder), *words):
        assert word in caught.value.message
