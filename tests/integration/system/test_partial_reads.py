"""One list of a repository that cannot be read, as an operator meets it: commands as processes, API and metrics, on a
real database, reading the sandbox."""

import json
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.entrypoints.flask import ApiSettings
from connectors_sandbox.faults import Fault
from tests.support.api import Api, problem
from tests.support.command_line import run_process
from tests.support.engine import open_rig


@pytest.fixture
def folder():
    """A folder with a short path."""
    path = Path(tempfile.mkdtemp(prefix="poblysh-partial-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def rig(folder, own_database):
    """A database, and a sandbox with a repository whose list of comments answers 502."""
    with open_rig(folder, own_database, POBLYSH_LOG_LEVEL="warning") as rig:
        rig.github.open_issue("ada/lamp", "An issue", by="ada")
        rig.server.sandbox.faults.add(
            Fault(provider="github", path="*/repos/ada/lamp/issues/comments*", status=502, html=True)
        )
        yield rig


def test_one_sick_list(rig, folder):
    """`sync` reads all else, exits 3 and names the list; the API, the metrics and the commands show the same; after a
    retry of the mended list everything is well."""
    connection = rig.connect("ada/lamp")
    settings = {name: value for name, value in rig.environment.items() if name.startswith("POBLYSH_")}

    def run(*arguments):
        return run_process(*arguments, "-t", connection.tenant_id, environment=settings, folder=folder)

    api = Api(rig.connectors, ApiSettings())
    path = f"/connections/{connection.id}"

    def get(below="", **query):
        return api.get(f"{path}{below}", tenant=connection.tenant_id, query_string=query).get_json()

    done = run("sync", "-o", "json")
    assert done.code == 3, done.err
    (row,) = json.loads(done.out)
    assert (row["status"], row["streams"]["aside"]) == ("partial", 1)
    assert row["streams"]["done"] == row["streams"]["total"] - 1 > 1

    (blocked,) = get("/streams", status="blocked")["streams"]
    assert blocked["key"].startswith("comments:")
    assert "502" in blocked["reason"]
    assert f"  {blocked['key']} ({blocked['name']}): " in done.err
    assert (get()["health"], "502" in get()["last_error"]) == ("degraded", True)
    gaps = {gap["stream"] for family in get("/coverage")["families"] for gap in family["gaps"]}
    assert gaps == {blocked["key"]}
    seen, query = [], {"limit": 2}
    while query:
        page = get("/streams", **query)
        seen += [one["key"] for one in page["streams"]]
        query = {**query, "cursor": page["next_cursor"]} if page["has_more"] else None
    assert seen == sorted(set(seen))
    assert len(seen) == row["streams"]["total"]

    scraped = api.get("/metrics", token=None).get_data(as_text=True)
    samples = {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(scraped)
        for one in family.samples
    }
    assert samples["connectors_streams", "github", "blocked"] == 1
    assert samples["connectors_parked_items_open", "github"] == 0
    assert samples["connectors_stream_longest_unread_seconds", "github"] < 600

    listed = run("connections", "streams", connection.id, "--status", "blocked", "-o", "json")
    assert [one["key"] for one in json.loads(listed.out)] == [blocked["key"]]
    unknown = api.post(f"{path}/streams/{quote('no/such:#@%', safe='')}/retry", tenant=connection.tenant_id)
    assert problem(unknown) == (404, "NOT_FOUND")
    assert problem(api.post(f"{path}/streams/%00/dismiss", tenant=connection.tenant_id)) == (404, "NOT_FOUND")

    rig.server.sandbox.faults.clear()
    assert run("connections", "retry", connection.id, blocked["key"]).code == 0
    done = run("sync", "-o", "json")
    assert done.code == 0, done.err
    assert (get("/streams", status="blocked")["streams"], get()["last_error"]) == ([], None)
