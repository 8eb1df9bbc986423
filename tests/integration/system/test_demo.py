"""`connectors demo`, as a newcomer runs it."""

import json
import re
import shutil
import time

import click
import pytest

from tests.support.command_line import press_ctrl_c, run_process, start_process
from tests.support.service import plain_session

MEMBERS = {"tenant_id", "connections", "deliveries", "signals_by_provider", "signals_by_kind"}


@pytest.fixture(scope="module")
def folder(short_tmp):
    """A folder for the demo's data that the tests of this file share."""
    folder = short_tmp / "demo"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def run_once(folder, *arguments):
    """The demo's single run, and how many seconds it took."""
    begin = time.monotonic()
    finished = run_process("demo", "--once", "--data-dir", folder / "data", *arguments, environment={}, folder=folder)
    return finished, time.monotonic() - begin


def read_result(finished):
    """The one JSON object, its counts checked."""
    assert (finished.code, finished.err) == (0, "")
    result = json.loads(finished.out)
    assert set(result) >= MEMBERS
    slugs = [one["provider"] for one in result["connections"]]
    assert "github" in slugs
    assert all((one["status"], one["tenant_id"]) == ("active", result["tenant_id"]) for one in result["connections"])
    assert set(result["deliveries"]) == {"accepted", "duplicate", "rejected"}
    assert min(result["deliveries"].values()) > 0
    assert set(result["signals_by_provider"]) <= set(slugs)
    assert sum(result["signals_by_provider"].values()) == sum(result["signals_by_kind"].values()) > 0
    return result


def test_cold_and_warm(folder, record_property, capsys):
    """The first run makes its database, the second finds it; both give one whole JSON object and no secret."""
    cold, cold_seconds = run_once(folder, "--output", "json")
    warm, warm_seconds = run_once(folder, "--output", "json")
    first, second = read_result(cold), read_result(warm)
    assert first["tenant_id"] != second["tenant_id"]
    assert first["signals_by_kind"] == second["signals_by_kind"]
    assert first["deliveries"] == second["deliveries"]
    for finished in (cold, warm):
        assert not re.search(r"gh[opru]_\w{8}|secret|token", finished.out + finished.err, re.IGNORECASE)
    assert not (folder / "data" / "postgres" / "postgres" / "postmaster.pid").exists()
    record_property("cold_seconds", round(cold_seconds, 1))
    record_property("warm_seconds", round(warm_seconds, 1))
    with capsys.disabled():
        click.echo(f"\nconnectors demo --once: cold {cold_seconds:.1f} s, warm {warm_seconds:.1f} s")
    assert cold_seconds < 60


def test_it_stays_up(folder):
    """It says what happened, shows a table of signals, serves the API with Swagger UI until Ctrl-C, and ends cleanly."""
    process = start_process("demo", "--data-dir", folder / "data", environment={}, folder=folder, stdout=-1, stderr=-1)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        text = "".join(said)
        docs = re.search(r"API explorer:\s+(\S+)", text)[1]
        token = re.search(r"Operator token:\s+(\S+)", text)[1]
        tenant = re.search(r"X-Tenant-Id:\s+(\S+)", text)[1]
        with plain_session() as session:
            assert "swagger-ui" in session.get(docs, timeout=30).text
            signals = session.get(
                docs.replace("/docs", "/signals"),
                headers={"Authorization": f"Bearer {token}", "X-Tenant-Id": tenant},
                timeout=30,
            ).json()["signals"]
        assert signals
        press_ctrl_c(process)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert re.search(r"Webhooks: \d+ accepted, \d+ recognised as duplicates, \d+ rejected", out)
    assert re.search(r"^occurred\s+provider\s+kind\s+title\s+actor$", out, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\dZ\s+github\s+issue_created\s+Issue #1 opened: \S", out, re.MULTILINE)
    # Nothing is coloured where nobody looks.
    assert "\x1b" not in out + err
    assert "Traceback" not in err
    assert not (folder / "data" / "postgres" / "postgres" / "postmaster.pid").exists()
