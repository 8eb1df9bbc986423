"""Counts what lies between a request and its answer: calls of our functions, their files, and moves between files.

Run as `python -m tests.support.count_paths`, from the project's folder. The provider is GitHub, the system is in memory.
Adapters are not counted: production has others.
"""

import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs
import click

import connectors
from connectors.domain.model.ids import JobId, TenantId
from connectors.domain.model.sync import JobStatus
from tests.support.api import ROOT_TOKEN, issue_opened, make_api

OURS = str(Path(connectors.__file__).parent)
ADAPTERS = str(Path(OURS) / "adapters")


@attrs.frozen
class Count:
    """One path."""

    calls: int
    """Of functions and methods, lambdas and comprehensions left out; of a generator each time that it goes on."""
    files: int
    moves: int
    """Calls into another file than the call before."""


def count(action):
    """What is called while the action runs, in this thread."""
    called = []

    def note(frame, event, _):
        code = frame.f_code
        is_ours = code.co_filename.startswith(OURS) and not code.co_filename.startswith(ADAPTERS)
        if event == "call" and is_ours and not code.co_name.startswith("<"):
            called.append(code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return Count(len(called), len(set(called)), sum(one != other for one, other in pairwise(called)))


class Paths:
    """A tenant of an API in memory, and what it may ask for."""

    def __init__(self):
        self.api = make_api()
        self.tenant = self.api.new_tenant()
        self.headers = {"Authorization": f"Bearer {ROOT_TOKEN}", "X-Tenant-Id": self.tenant}
        self.api.connect(self.tenant)
        self.api.connectors.run_pending()
        self.number = 0

    def webhook(self):
        """A signed delivery that becomes one signal."""
        self.number += 1
        path, event = f"/webhooks/github/{self.tenant}", issue_opened(self.number)
        return lambda: self.expect(202, self.api.deliver(path, "issues", event, check=False))

    def callback(self):
        """The redirect after a consent."""
        started = self.api.client.post("/connect/github", headers=self.headers).get_json()
        query = {"code": "c0de", "state": parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]}
        path = "/connect/github/callback"
        return lambda: self.expect(200, self.api.client.get(path, headers=self.headers, query_string=query))

    def sync_job(self):
        """A sync job of one page."""
        self.api.connectors.run_pending()
        (connection,) = self.api.client.get("/connections", headers=self.headers).get_json()["connections"]
        asked = self.api.client.post(f"/connections/{connection['id']}/sync", headers=self.headers).get_json()
        tenant_id, job_id = TenantId(UUID(self.tenant)), JobId(UUID(asked["job"]["id"]))

        def run():
            job = self.api.connectors.sync.run(tenant_id, job_id)
            assert (job.status, job.progress.pages) == (JobStatus.SUCCEEDED, 1), job

        return run

    def signals(self):
        """A page of signals."""
        return lambda: self.expect(200, self.api.client.get("/signals", headers=self.headers))

    def expect(self, status, answer):
        assert answer.status_code == status, answer.get_json()


def count_all():
    """The counts by path. What happens only the first time, such as imports, is left out."""
    paths = Paths()
    prepare = {
        "webhook": paths.webhook,
        "OAuth callback": paths.callback,
        "sync job": paths.sync_job,
        "GET /signals": paths.signals,
    }
    for one in prepare.values():
        one()()
    return {name: count(one()) for name, one in prepare.items()}


def main():
    click.echo(f"{'path':15} {'calls':>6} {'files':>6} {'moves':>6}")
    for name, one in count_all().items():
        click.echo(f"{name:15} {one.calls:6} {one.files:6} {one.moves:6}")


if __name__ == "__main__":
    main()
