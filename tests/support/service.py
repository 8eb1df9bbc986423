"""The real service as its user runs it: `connectors serve` in a process of its own, and a client that plays Core."""

import hashlib
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import requests

from connectors.adapters.aesgcm import generate_key
from connectors_sandbox import SandboxServer, create_sandbox

COMMAND = Path(sys.executable).with_name("connectors")
"""The console script of the environment that runs the tests."""
PORTS = (20_000, 29_999)
"""Below those that Linux and macOS give out by themselves."""
START_TIMEOUT = 60
"""Seconds. A start takes two, and on a busy machine several times that."""
STOP_TIMEOUT = 40
TOKEN = "core-operator-token"
READER_TOKEN = "reader-operator-token"
OPERATORS = json.dumps(
    [{"name": "core", "token": TOKEN}, {"name": "reader", "token": READER_TOKEN, "permissions": ["read"]}]
)
APP, APP_SECRET, WEBHOOK_SECRET = "github-app", "github-app-secret", "github-webhook-secret"
VAULT_KEYS = generate_key("test")
CORE_CALLBACK = "http://127.0.0.1:9/core/callback"
"""Nobody listens there: what the browser would open is read, not opened."""


def free_port():
    """A port that was free a moment ago, and that the system gives to nobody who asks for any port."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randint(*PORTS)))
            except OSError:
                continue
            return probe.getsockname()[1]


def clean_environment(**settings):
    """This process's environment without settings of ours and without proxies, and then these."""
    inherited = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("POBLYSH_") and not name.lower().endswith("_proxy")
    }
    return {**inherited, "NO_COLOR": "1", **settings}


def github_settings(sandbox):
    """The settings that make a service use this sandbox for GitHub."""
    return {
        "POBLYSH_GITHUB_CLIENT_ID": APP,
        "POBLYSH_GITHUB_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "POBLYSH_GITHUB_BASE_URL": sandbox.base_url("github"),
    }


@contextmanager
def github_sandbox():
    """A running sandbox with our app, a person and two repositories in it."""
    with SandboxServer(create_sandbox(auto_consent=True)) as server:
        github = server.sandbox.github
        github.add_app(APP, APP_SECRET, callback_url=CORE_CALLBACK, is_expiring=True)
        github.add_user("ada", name="Ada Nowak")
        github.add_repository("ada/lamp")
        github.add_repository("ada/kite")
        yield server


def database_settings(url):
    """The settings of a service on a database that exists already."""
    return {"POBLYSH_DATABASE_URL": url, "POBLYSH_VAULT_KEYS": VAULT_KEYS}


class Service:
    """One `connectors serve`, which can be started again after it has ended."""

    def __init__(self, folder, *, workers=1, options=("--api-only",), **settings):
        self.folder = folder
        self.options = options
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"serve-{self.port}.log"
        self.environment = clean_environment(
            POBLYSH_OPERATOR_TOKENS=OPERATORS,
            POBLYSH_BIND=f"127.0.0.1:{self.port}",
            POBLYSH_PUBLIC_URL=self.url,
            POBLYSH_OAUTH_REDIRECT_URI=CORE_CALLBACK,
            POBLYSH_WORKERS=str(workers),
            POBLYSH_WEBHOOK_RATE_LIMIT="0",
            **settings,
        )
        self.process = None

    @property
    def log(self):
        """All that it has written."""
        return self.log_path.read_text(errors="replace")

    def start(self):
        """Start it, and wait until it is ready."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(COMMAND), "serve", *self.options],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_ready(self):
        """Wait until `/readyz` is content."""
        deadline = time.monotonic() + START_TIMEOUT
        with plain_session() as session:
            # The server's end would wait two seconds for a connection that is kept alive.
            session.headers["Connection"] = "close"
            while time.monotonic() < deadline:
                assert self.process.poll() is None, self.log[-4000:]
                try:
                    if session.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                        return self
                except requests.ConnectionError:
                    pass
                time.sleep(0.05)
        raise AssertionError(f"not ready in time: {self.log[-4000:]}")

    def stop(self, order=signal.SIGTERM):
        """Tell it to end, and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(order)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end: {self.log[-4000:]}") from None

    def kill(self):
        """kill -9 the parent and its workers, all at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT)

    def __enter__(self):
        try:
            return self.start().wait_ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.stop()


def kill_embedded_database(data_dir):
    """kill -9 the embedded database of this data folder: the postmaster and all that it has started."""
    postmaster = int((data_dir / "postgres" / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in (postmaster, *map(int, children)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def plain_session():
    """A session that goes through no proxy."""
    session = requests.Session()
    session.trust_env = False
    return session


class Core:
    """Poblysh Core, acting for one tenant."""

    def __init__(self, url, tenant_id=None, token=TOKEN):
        self.url = url
        self.tenant_id = tenant_id or str(uuid4())
        self.session = plain_session()
        self.session.headers["Connection"] = "close"  # as in wait_ready
        self.headers = {"Authorization": f"Bearer {token}", "X-Tenant-Id": self.tenant_id}

    def call(self, method, path, *, headers=None, **arguments):
        """One request with both headers, or with those that are given."""
        sent = self.headers if headers is None else headers
        return self.session.request(
            method, self.url + path, headers=sent, timeout=30, allow_redirects=False, **arguments
        )

    def get(self, path, **arguments):
        """The JSON that a GET gives; it must succeed."""
        answer = self.call("GET", path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def connect(self, repositories=("ada/lamp",)):
        """Steps 2 and 3 of the guide, with a sandbox that consents at once; the connection."""
        body = {"options": {"repositories": list(repositories)}} if repositories else None
        started = self.call("POST", "/connect/github", json=body)
        assert started.status_code == 200, started.text
        query = self.consent(started.json()["authorize_url"])
        headers = {"Authorization": self.headers["Authorization"]}
        return self.get("/connect/github/callback", headers=headers, params=query)["connection"]

    def consent(self, authorize_url):
        """What the browser is sent back with."""
        landed = self.session.get(authorize_url, timeout=30, allow_redirects=False)
        assert landed.status_code == 302, landed.text
        assert landed.headers["Location"].startswith(CORE_CALLBACK)
        return dict(parse_qsl(urlsplit(landed.headers["Location"]).query))

    def list(self, plural, **filters):
        """All pages of a list."""
        found, cursor = [], {}
        while True:
            page = self.get(f"/{plural}", params={"limit": 100, **filters, **cursor})
            found += page[plural]
            if not page["has_more"]:
                assert page["next_cursor"] is None
                return found
            cursor = {"cursor": page["next_cursor"]}


def send(session, url, event, body, *, delivery_id, content_type="application/json", secret=WEBHOOK_SECRET):
    """One signed delivery as GitHub sends it; the status, or None if there was no whole answer."""
    headers = {
        "Content-Type": content_type,
        "User-Agent": "GitHub-Hookshot/0f1e2d3",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery_id,
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    try:
        return session.post(url, data=body, headers=headers, timeout=30).status_code
    except requests.RequestException:
        return None
