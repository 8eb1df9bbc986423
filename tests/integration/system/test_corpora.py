"""Real payloads, signed, over HTTP, against the running service."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs
from uuid import NAMESPACE_URL, uuid5

import attrs
import pytest

from tests.support.github_table import NO_TIME, expect
from tests.support.service import plain_session, send

CORPORA = Path(__file__).parents[4] / "shared" / "corpora" / "github"
FIXTURES = Path(__file__).parents[2] / "unit" / "providers" / "github" / "fixtures"
CLIENTS = 8
COMPARED = ("kind", "dedupe_key", "url", "actor", "subject", "container")


@attrs.frozen
class Sample:
    """One payload."""

    name: str
    event: str
    content_type: str
    body: bytes

    @property
    def delivery_id(self):
        """The same whenever and to whomever it is sent."""
        return str(uuid5(NAMESPACE_URL, self.name))

    @property
    def payload(self):
        text = self.body
        if "form" in self.content_type:
            text = parse_qs(text.decode())["payload"][0]
        return json.loads(text)

    @property
    def expected(self):
        return expect(self.event, self.payload, self.delivery_id)


def documented_samples():
    """GitHub's own examples, where they are at hand."""
    if not CORPORA.is_dir():
        pytest.skip("the payloads of shared/corpora are not beside the checkout")
    return [
        Sample(f"{path.parent.name}/{path.name}", path.parent.name, "application/json", path.read_bytes())
        for path in sorted(CORPORA.glob("*/*.json"))
    ]


def own_samples():
    """This repository's."""
    samples = []
    for path in sorted(FIXTURES.glob("*.http")):
        head, _, body = path.read_bytes().partition(b"\n\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        samples.append(Sample(path.name, headers["X-GitHub-Event"], headers["Content-Type"], body))
    return samples


@pytest.fixture(params=[documented_samples, own_samples], ids=["documented", "own"])
def samples(request):
    """All payloads of one source."""
    found = request.param()
    assert len(found) > 30
    return found


def deliver(core, sample, session=None, delivery_id=None):
    url = f"{core.url}/webhooks/github/{core.tenant_id}"
    return send(
        session or core.session,
        url,
        sample.event,
        sample.body,
        delivery_id=delivery_id or sample.delivery_id,
        content_type=sample.content_type,
    )


def test_every_payload_becomes_what_the_table_says(core, samples):
    """Each is answered 202; those of the table are signals with all their members, the others ignored, none failed."""
    connection = core.connect()
    statuses = {sample.name: deliver(core, sample) for sample in samples}
    assert set(statuses.values()) == {202}, statuses

    inbox = {one["delivery_id"]: one for one in core.list("deliveries")}
    found = {one["dedupe_key"]: one for one in core.list("signals", include_payload="true")}
    wanted = {}
    for sample in samples:
        expected = sample.expected
        row = inbox[sample.delivery_id]
        assert row["status"] == ("ignored" if expected is None else "processed"), (sample.name, row)
        if expected is None:
            continue
        assert row["connection_id"] == connection["id"]
        wanted.setdefault(expected["dedupe_key"], sample.name)
        signal = found[expected["dedupe_key"]]
        if wanted[expected["dedupe_key"]] != sample.name:
            continue  # the same happening as an earlier sample's, which won
        assert {name: signal[name] for name in COMPARED} == {name: expected[name] for name in COMPARED}, sample.name
        when = signal["received_at"] if expected["occurred_at"] is NO_TIME else expected["occurred_at"]
        assert signal["occurred_at"] == when, sample.name
        assert all(word in signal["title"] for word in expected["title words"]), (sample.name, signal["title"])
        assert signal["payload"] == sample.payload
        assert (signal["provider"], signal["origin"]) == ("github", "webhook")
    assert set(found) == set(wanted)
    assert len(wanted) > 10
    assert core.list("deliveries", status="failed") == []


def test_duplicates_shuffled_from_many_clients_change_nothing(core, samples):
    """Everything three times, in any order, from eight clients at once, gives the signals of sending it once."""
    core.connect()
    # Twice under one id, as when somebody presses Redeliver; once more under another, as from a second hook. A joining
    # has no identity but its delivery's, so it is not among the latter.
    jobs = [(sample, sample.delivery_id) for sample in samples] * 2
    jobs += [
        (sample, str(uuid5(NAMESPACE_URL, f"second {sample.name}")))
        for sample in samples
        if not (sample.expected and sample.expected["kind"] == "member_joined")
    ]
    random.Random(2).shuffle(jobs)

    def work(share):
        with plain_session() as session:
            return [deliver(core, sample, session, delivery_id) for sample, delivery_id in share]

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = {status for part in pool.map(work, [jobs[i::CLIENTS] for i in range(CLIENTS)]) for status in part}
    assert statuses == {202}
    assert core.list("deliveries", status="failed") == []
    assert len(core.list("deliveries")) == len({delivery_id for _, delivery_id in jobs})
    expected = {one["dedupe_key"]: one["kind"] for sample in samples if (one := sample.expected)}
    found = core.list("signals")
    assert len(found) == len(expected)
    assert {one["dedupe_key"]: one["kind"] for one in found} == expected
