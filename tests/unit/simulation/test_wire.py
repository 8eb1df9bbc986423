"""The network of the simulation: loss, damage, refusals, labels."""

import json

import attrs
import pytest

from connectors.domain.model.errors import ProviderUnavailableError
from tests.simulation.ports.wire import Refusal, Wire, shape
from tests.simulation.schedule import Schedule, Trap


@attrs.define
class Vendor:
    """A vendor with a list of pages, each of which names the next one."""

    calls: list[str] = attrs.field(factory=list)
    worlds: dict[str, object] = attrs.field(factory=dict)

    def app(self, environ, start_response):
        self.calls.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        given = environ["wsgi.input"].read() + environ["QUERY_STRING"].encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"given": given.decode(), "number": len(self.calls)}).encode()]


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def schedule():
    return Schedule(1, keep_trace=True)


@pytest.fixture
def wire(schedule, vendor):
    return Wire(schedule, vendor, 1)


def play(schedule, work):
    schedule.spawn("one", work, process="worker-1.1")
    schedule.run(1000.0)
    assert schedule.findings == []


def ask(wire, url="http://localhost/acme/items", method="GET", body=None):
    return json.loads(wire.exchange(method, url, {}, body).body)["number"]


@pytest.mark.parametrize(("how", "calls"), [("before", 0), ("after", 1)])
def test_a_request_or_its_answer_is_lost(schedule, wire, vendor, how, calls):
    """Who asks sees the same; the vendor has acted or not. The next request arrives."""

    def lose(actor, _label):
        actor.next_request = how

    def work():
        with pytest.raises(ProviderUnavailableError):
            ask(wire)
        assert len(vendor.calls) == calls
        ask(wire)

    schedule.arm(Trap(lambda _, label: label == "ask:GET acme/items", 1, lose))
    play(schedule, work)


def test_an_answer_is_cut(schedule, wire):
    """Half of it arrives, which is no JSON."""

    def cut(actor, _label):
        actor.next_request = "cut"

    def work():
        with pytest.raises(json.JSONDecodeError):
            ask(wire)

    schedule.arm(Trap(lambda _, label: label.startswith("ask:"), 1, cut))
    play(schedule, work)


def test_a_refusal_ends(schedule, wire, vendor):
    """One URL is refused for so long, with its Retry-After; others are not."""
    wire.refusals.append(Refusal(mount="acme", part="/items", until=60.0, status=503, retry_after="-5"))

    def work():
        answer = wire.exchange("GET", "http://localhost/acme/items", {})
        assert (answer.status, answer.headers["retry-after"]) == (503, "-5")
        assert ask(wire, "http://localhost/acme/others") == 1
        schedule.sleep(100.0)
        assert ask(wire) == 2

    play(schedule, work)
    assert [one.was_refused for one in wire.log] == [True, False, False]


def test_a_bug_of_the_sandbox_is_a_finding(schedule, wire, monkeypatch):
    """It is told, and no outage hides it."""

    def app(_vendor, _environ, _start_response):
        raise ZeroDivisionError

    monkeypatch.setattr(Vendor, "app", app)

    def work():
        with pytest.raises(ProviderUnavailableError):
            ask(wire)

    schedule.spawn("one", work)
    schedule.run(1000.0)
    assert [one.invariant for one in schedule.findings] == ["sandbox-error"]


def test_no_connection(schedule, wire, vendor):
    """A vendor that is not there has not acted."""
    wire.refusals.append(Refusal(mount="acme", part="", until=60.0, status=None))

    def work():
        with pytest.raises(ProviderUnavailableError):
            ask(wire)

    play(schedule, work)
    assert vendor.calls == []


@pytest.mark.parametrize(
    ("method", "pages"),
    [
        ("GET", [("?size=2", None), ("?size=2&page=2", None), ("?size=2&page=3", None)]),
        ("POST", [("", b'{"q": "x"}'), ("", b'{"q": "x", "nextPageToken": "2"}')]),
    ],
)
def test_pages_run_in_a_circle(schedule, wire, method, pages):
    """Each further page of the list is its first one again, however pages are asked for; other lists are not."""
    wire.refusals.append(Refusal(mount="acme", part="/items", until=60.0, status=200, damage="circle"))

    def work():
        numbers = [ask(wire, f"http://localhost/acme/items{query}", method, body) for query, body in pages]
        assert set(numbers) == {1}
        assert ask(wire, "http://localhost/acme/items?size=3") > 1

    play(schedule, work)


def test_a_slow_vendor_answers_late(schedule, wire):
    """The answer is whole."""
    wire.refusals.append(Refusal(mount="acme", part="", until=60.0, status=200, damage="slow"))

    def work():
        assert ask(wire) == 1
        assert schedule.now > 3.0

    play(schedule, work)


def test_labels_have_no_ids():
    """Numbers, addresses, uuids and random names are left out; versions, words and names of methods stay."""
    for path, label in (
        ("/slack/api/conversations.history", "slack/api/conversations.history"),
        ("/slack/api/oauth.v2.access", "slack/api/oauth.v2.access"),
        ("/jira/ex/jira/1324a887-45db-1bf4-1e99-ef0ff456d421/rest/api/3/search", "jira/ex/jira/*/rest/api/3/search"),
        ("/google/calendar/v3/calendars/n0@acme.example/events", "google/calendar/v3/calendars/*/events"),
        ("/github/login/oauth/access_token", "github/login/oauth/access_token"),
        ("/zoho/eu/cliq/api/v2/chats/CT_12_x/messages", "zoho/eu/cliq/api/v2/chats/*/messages"),
    ):
        assert shape(path) == label
