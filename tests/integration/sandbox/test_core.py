"""The sandbox's shared parts: clock, deliveries with retries, control endpoints, a process of its own."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import requests

from connectors_sandbox import SandboxClock, SandboxServer, create_sandbox
from connectors_sandbox.delivery import Outgoing, RetryPolicy

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def sandbox():
    return create_sandbox(SandboxClock(NOW))


@pytest.fixture
def server(sandbox):
    with SandboxServer(sandbox) as server:
        yield server


def test_clock_stands_still_until_moved():
    """A clock with a start moves only by advance, and wants an aware instant."""
    clock = SandboxClock(NOW)
    assert clock.now() == clock.now() == NOW
    assert clock.advance(timedelta(hours=1)) == NOW + timedelta(hours=1)
    with pytest.raises(ValueError, match="aware"):
        SandboxClock(NOW.replace(tzinfo=None))


def test_retries_follow_the_policy_on_the_sandbox_clock(sandbox, server):
    """A failed delivery is tried again when its delay is over, prepared afresh, and then no more."""
    prepared = []

    def prepare(number, now):
        prepared.append((number, now))
        return {"X-Retry": str(number)}, b"{}"

    policy = RetryPolicy(delays=(timedelta(minutes=1), timedelta(minutes=5)))
    outgoing = Outgoing("slack", f"{server.url}/nowhere", "event", b"", prepare=prepare, policy=policy)
    sandbox.deliveries.enqueue(outgoing)
    for minutes in (0, 0, 1, 4, 1, 60):
        sandbox.clock.advance(timedelta(minutes=minutes))
        sandbox.deliver_pending()
    assert [attempt.status for attempt in outgoing.attempts] == [404, 404, 404]
    assert prepared == [(1, NOW), (2, NOW + timedelta(minutes=1)), (3, NOW + timedelta(minutes=6))]
    assert sandbox.deliveries.pending() == 0


def test_foreign_hosts_are_not_delivered_to(sandbox):
    """Nothing leaves loopback unless allowed."""
    outgoing = sandbox.deliveries.enqueue(Outgoing("github", "http://hooks.example.test/", "ping", b"{}"))
    sandbox.deliver_pending()
    assert outgoing.last_attempt.status is None
    assert "does not deliver" in outgoing.last_attempt.error


def test_background_thread_delivers(sandbox):
    """With deliver=True webhooks go out by themselves."""
    with SandboxServer(sandbox, deliver=True) as server:
        outgoing = sandbox.deliveries.enqueue(Outgoing("github", f"{server.url}/_sandbox/deliver", "ping", b""))
        for _ in range(200):
            if outgoing.attempts:
                break
            requests.get(f"{server.url}/_sandbox/state")
    assert outgoing.last_attempt.status == 200


def test_control_endpoints_drive_a_world(server):
    """What Python can do to a world, JSON can: actions, faults, the clock, the log, the page."""
    control = f"{server.url}/_sandbox"

    def post(path: str, /, **body) -> requests.Response:
        return requests.post(f"{control}/{path}", json=body)

    assert post("github/add_user", login="octo").json()["result"]["login"] == "octo"
    post("github/add_app", client_id="cid", client_secret="hush-hush")
    post("github/add_repository", full_name="octo/hello")
    assert post("github/open_issue", full_name="octo/hello", title="Hi", by="octo").json()["result"]["number"] == 1
    assert post("github/open_issue", full_name="octo/none", title="Hi", by="octo").status_code == 400
    assert post("github/open_issue", nonsense=1).status_code == 400
    assert post("github/__init__").status_code == 404
    assert post("faults", provider="github", path="/api/*", status=503, times=1).status_code == 200
    assert requests.get(f"{server.base_url('github')}/api/v3/user").status_code == 503
    assert requests.get(f"{server.base_url('github')}/api/v3/users/octo").json()["login"] == "octo"
    assert post("faults", kind="nonsense", provider="github").status_code == 400
    assert requests.delete(f"{control}/faults").json() == {"faults": []}
    assert post("clock", seconds=3600).json() == {"now": "2026-11-22T13:00:00Z"}
    assert post("clock", seconds="soon").status_code == 400
    assert post("disorder", drop=0.5).json()["drop"] == 0.5
    assert requests.get(f"{control}/deliveries").json() == {"deliveries": []}
    assert post("deliveries/none/redeliver").status_code == 404
    state, page = requests.get(f"{control}/state"), requests.get(f"{control}/")
    assert state.json()["providers"]["github"]["users"] == ["octo"]
    assert "octo/hello" in page.text
    assert "hush-hush" not in state.text + page.text


def test_it_runs_as_a_process():
    """`python -m connectors_sandbox` prints its URL first and serves there."""
    command = [sys.executable, "-m", "connectors_sandbox", "--auto-consent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert requests.get(f"{url}/_sandbox/state").json()["auto_consent"] is True
        finally:
            process.terminate()


def test_the_sandbox_imports_nothing_of_the_service():
    """With all its modules imported, the process has no module of `connectors`."""
    program = """
import importlib, pkgutil, sys
import connectors_sandbox

for module in pkgutil.walk_packages(connectors_sandbox.__path__, "connectors_sandbox."):
    importlib.import_module(module.name)
print(sum(name.startswith("connectors_sandbox.") for name in sys.modules))
print([name for name in sys.modules if name.partition(".")[0] == "connectors"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    count, ours = done.stdout.splitlines()
    assert int(count) > 50
    assert ours == "[]"
