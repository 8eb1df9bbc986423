"""The streams of a connection over the API: listed, retried, dismissed."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from string import ascii_letters, digits, punctuation
from urllib.parse import quote
from uuid import uuid4

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.streams import Stream
from connectors.entrypoints.flask import ApiSettings
from tests.support.api import READER_TOKEN, Api, problem
from tests.support.boxes import BOXES, BoxVendor, boxes, discover
from tests.support.builders import NOW, TENANT
from tests.support.world import World

DAY = timedelta(days=1)


class Shop(World):
    """A system in memory with boxes, its API, and one connection."""

    def __init__(self, acme=BOXES, names="abc"):
        super().__init__(acme, vendor=BoxVendor)
        for box in names:
            self.vendor.put(box, 1, 2, at=NOW - DAY)
        self.api = Api(self.connectors, ApiSettings())
        self.connection = self.connect()
        self.path = f"/connections/{self.connection.id}"

    def listed(self, **query):
        answer = self.api.get(f"{self.path}/streams", tenant=TENANT, query_string=query)
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json()

    def stream(self, key):
        (found,) = [one for one in self.listed()["streams"] if one["key"] == key]
        return found

    def post(self, key, action, **request):
        request.setdefault("tenant", TENANT)
        return self.api.post(f"{self.path}/streams/{quote(key, safe='')}/{action}", **request)

    def minute(self):
        """Let a minute pass. A task that is queued already may hold back another one for so long."""
        self.run_for(timedelta(minutes=1))

    def health(self):
        return self.api.get(self.path, tenant=TENANT).get_json()["health"]


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def sick():
    """Box b answers 403 from the beginning."""
    shop = Shop()
    shop.vendor.closed["b"] = 403
    shop.work()
    return shop


def test_before_the_first_read_there_are_none(shop):
    """Of a connection that was never read the list is empty, and nothing is known of discovery."""
    found = shop.listed()
    assert (found["discovery"], found["streams"], found["has_more"]) == (None, [], False)


def test_a_stream_that_is_read(shop):
    """A stream that is read shows what is proven, and wants only what will happen."""
    shop.work()
    one = shop.stream("box:b")
    assert (one["name"], one["families"], one["status"]) == ("box b", ["items"], "ready")
    assert (one["reason"], one["failures"], one["next_try"], one["parked"]) == (None, 0, None, [])
    assert datetime.fromisoformat(one["proven"][0]["from"]) < NOW - DAY
    assert one["wanted"] == [{"from": one["proven"][-1]["to"], "to": None}]
    assert one["read_until"] == one["proven"][-1]["to"]
    listed = shop.listed()
    assert (listed["discovery"]["key"], listed["discovery"]["status"]) == ("discovery", "ready")
    assert (listed["unreadable"], listed["paused_until"], shop.health()) == (0, None, "healthy")


def test_a_stream_that_cannot_be_read(sick):
    """It says why, since when, how often, and when it is tried again; the connection is degraded."""
    one = sick.stream("box:b")
    assert (one["status"], one["reason"]) == ("blocked", "Acme does not show it (403).")
    assert one["failures"] >= 1
    assert datetime.fromisoformat(one["next_try"]) > sick.clock.now()
    assert one["read_until"] is None
    assert one["proven"] == []
    assert sick.health() == "degraded"
    jobs = sick.api.get("/jobs", tenant=TENANT, query_string={"status": "partial"}).get_json()["jobs"]
    assert jobs
    assert {(one["streams"]["total"], one["streams"]["aside"], one["failures"]) for one in jobs} == {(3, 1, 1)}
    assert all("box b" in one["error"] for one in jobs)


def test_what_never_could_be_read_is_counted(shop):
    """Streams that the vendor lists as unreadable have no row; the list says how many they are."""
    shop.vendor.unreadable["c"] = "Nobody was invited."
    shop.work()
    listed = shop.listed()
    assert ([one["key"] for one in listed["streams"]], listed["unreadable"]) == (["box:a", "box:b"], 1)
    assert shop.health() == "healthy"


def test_a_pause_is_shown(shop):
    """While the vendor is down, the list says until when nothing is read, and why."""
    shop.work()
    shop.vendor.down = 503
    shop.run_for(timedelta(minutes=30))
    listed = shop.listed()
    assert datetime.fromisoformat(listed["paused_until"]) > shop.clock.now()
    assert listed["pause_reason"] == "Acme answered 503."


def test_the_list_is_filtered_and_paged(sick):
    """Filters narrow the list; its pages give each stream once, by key; a cursor belongs to its filters."""
    assert [one["key"] for one in sick.listed(status="blocked")["streams"]] == ["box:b"]
    assert sick.listed(family="issues")["streams"] == []
    assert len(sick.listed(family="items", status="ready")["streams"]) == 2
    seen, query = [], {"limit": 1}
    while True:
        page = sick.listed(**query)
        seen += [one["key"] for one in page["streams"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["box:a", "box:b", "box:c"]
    for wrong in ({"status": "ready"}, {"family": "items"}):
        assert problem(sick.api.get(f"{sick.path}/streams", tenant=TENANT, query_string={**query, **wrong})) == (
            400,
            "VALIDATION_ERROR",
        )
    for wrong in ({"status": "lost"}, {"limit": "0"}, {"limit": "101"}, {"family": ""}, {"cursor": "é"}, {"odd": "1"}):
        answer = sick.api.get(f"{sick.path}/streams", tenant=TENANT, query_string=wrong)
        assert problem(answer) == (400, "VALIDATION_ERROR")
        assert {one["field"] for one in answer.get_json()["details"]} == set(wrong)


def test_a_forged_cursor_only_moves_within_the_list(sick):
    """A cursor with another key begins after that one; one that no database can hold is refused."""
    real = sick.listed(limit=1)["next_cursor"]
    mark = urlsafe_b64decode(real + "=" * (-len(real) % 4)).decode().removesuffix("box:a")
    for key, found in (("box:b", ["box:c"]), ("", ["box:a", "box:b", "box:c"]), ("é" * 200, [])):
        forged = urlsafe_b64encode(f"{mark}{key}".encode()).decode().rstrip("=")
        assert [one["key"] for one in sick.listed(cursor=forged)["streams"]] == found
    forged = urlsafe_b64encode(f"{mark}\0".encode()).decode()
    refused = sick.api.get(f"{sick.path}/streams", tenant=TENANT, query_string={"cursor": forged})
    assert problem(refused) == (400, "VALIDATION_ERROR")


@given(cursor=st.text(min_size=1, max_size=60))
def test_any_cursor_is_one_or_refused(cursor):
    """Whatever is sent as a cursor, it is refused as one: 400, never a crash."""
    shop = _shared()
    answer = shop.api.get(f"{shop.path}/streams", tenant=TENANT, query_string={"cursor": cursor})
    assert problem(answer) == (400, "VALIDATION_ERROR")


def test_retry_reads_it_now(sick):
    """A retried stream is read within a minute, whatever it waited for, and its history with it."""
    sick.run_for(timedelta(hours=6))
    assert datetime.fromisoformat(sick.stream("box:b")["next_try"]) > sick.clock.now() + timedelta(minutes=2)
    sick.vendor.closed.clear()
    asked = sick.vendor.count("GET /api/boxes/b/items")
    answer = sick.post("box:b", "retry")
    assert (answer.status_code, answer.get_json()["key"]) == (200, "box:b")
    assert answer.get_json()["next_try"] is None
    sick.minute()
    assert sick.vendor.count("GET /api/boxes/b/items") > asked
    assert (sick.stream("box:b")["status"], sick.health()) == ("ready", "healthy")
    assert {one.dedupe_key for one in sick.signals()} >= {"item:b-1:created", "item:b-2:created"}


def test_retry_of_what_the_vendor_would_refuse_looks_for_it(shop):
    """A stream that is not asked is found again by the discovery that its retry asks for."""
    shop.work()
    shop.minute()
    shop.vendor.unreadable["c"] = "The invitation has ended."
    assert shop.post("discovery", "retry").get_json()["key"] == "discovery"
    shop.minute()
    assert (shop.stream("box:c")["status"], shop.stream("box:c")["reason"]) == (
        "unreadable",
        "The invitation has ended.",
    )
    shop.vendor.unreadable.clear()
    assert shop.post("box:c", "retry").status_code == 200
    shop.minute()
    assert shop.stream("box:c")["status"] == "ready"


def test_dismiss_gives_it_up(sick):
    """A dismissed stream is no gap and does not bound the coverage; it is still tried, and counts again once it can
    be read."""
    shown = sick.api.get(f"{sick.path}/coverage", tenant=TENANT).get_json()
    assert (shown["open_gaps"] > 0, shown["families"][0]["streams_aside"]) == (True, 1)
    answer = sick.post("box:b", "dismiss").get_json()
    assert (answer["key"], answer["is_dismissed"], answer["status"]) == ("box:b", True, "blocked")
    sick.minute()
    (family,) = sick.api.get(f"{sick.path}/coverage", tenant=TENANT).get_json()["families"]
    assert (family["streams_aside"], family["is_complete"], sick.health()) == (0, True, "healthy")
    sick.vendor.closed.clear()
    sick.run_for(timedelta(hours=2))
    assert (sick.stream("box:b")["status"], sick.stream("box:b")["is_dismissed"]) == ("ready", False)


def test_a_parked_item_is_shown_retried_and_dismissed(shop):
    """A thing that cannot be read degrades the connection and is shown with its reason, until it is read or given up."""
    shop.vendor.put("a", 7, 8, at=NOW - DAY, detailed=True)
    shop.vendor.broken = {"a-7": 403, "a-8": 403}
    shop.work()
    one = shop.stream("box:a")
    assert (one["status"], one["parked_count"], shop.health()) == ("ready", 2, "degraded")
    assert [(item["reference"], item["reason"]) for item in one["parked"]] == [
        ("a-7", "Acme does not show it (403)."),
        ("a-8", "Acme does not show it (403)."),
    ]
    assert datetime.fromisoformat(one["parked"][0]["next_try"]) > shop.clock.now()
    del shop.vendor.broken["a-7"]
    assert shop.post("box:a", "retry").status_code == 200
    shop.minute()
    assert [item["reference"] for item in shop.stream("box:a")["parked"]] == ["a-8"]
    assert shop.post("box:a", "dismiss").get_json()["parked"] == []
    shop.minute()
    assert (shop.stream("box:a")["is_dismissed"], shop.health()) == (False, "healthy")


KEYS = st.text(ascii_letters + digits + punctuation + " é日", min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/") and key.strip(".") and not key.startswith(("./", "../")) and key != "discovery"
)


@given(key=KEYS, action=st.sampled_from(["retry", "dismiss"]))
def test_any_key_is_found_by_its_encoded_form(key, action):
    """A key may hold any character; percent-encoded it names its stream, and another key is not found."""
    shop = _shared()
    with shop.uow() as uow:
        (known,) = uow.streams.lock(shop.connection.tenant_id, shop.connection.id, ["box:a"])
        uow.streams.save([attrs.evolve(known, stream=attrs.evolve(known.stream, key=key))])
    found = shop.post(key, action)
    assert (found.status_code, found.get_json()["key"]) == (200, key)
    assert problem(shop.post(f"{key}~", action)) == (404, "NOT_FOUND")


_SHOPS = []


def _shared():
    """One shop for all examples."""
    if not _SHOPS:
        _SHOPS.append(Shop())
        _SHOPS[0].work()
    return _SHOPS[0]


@pytest.mark.parametrize("action", ["retry", "dismiss"])
def test_who_may_do_it(sick, action):
    """Another tenant, a reader, and an unknown stream or connection get their own errors, and change nothing."""
    before = sick.stream("box:b")
    stranger = sick.api.new_tenant()
    assert problem(sick.post("box:b", action, tenant=stranger)) == (404, "CONNECTION_NOT_FOUND")
    assert problem(sick.post("box:b", action, tenant=uuid4())) == (404, "TENANT_NOT_FOUND")
    assert problem(sick.post("box:b", action, token=READER_TOKEN)) == (403, "FORBIDDEN")
    assert problem(sick.post("box:unknown", action)) == (404, "NOT_FOUND")
    assert problem(sick.post("\0", action)) == (404, "NOT_FOUND")
    assert problem(sick.api.post(f"/connections/{uuid4()}/streams/x/{action}", tenant=TENANT)) == (
        404,
        "CONNECTION_NOT_FOUND",
    )
    assert sick.stream("box:b") == before
    for path in (f"/connections/{uuid4()}/streams", f"{sick.path}/streams"):
        assert problem(sick.api.get(path, tenant=stranger)) == (404, "CONNECTION_NOT_FOUND")


def test_metrics_count_streams_and_parked_items(sick):
    """Metrics count the streams of each status, and parked items, and say how long the oldest one is unread."""
    sick.vendor.put("a", 7, detailed=True)
    sick.vendor.broken["a-7"] = 403
    sick.run_for(timedelta(minutes=20))
    families = text_string_to_metric_families(sick.api.get("/metrics", token=None).get_data(as_text=True))
    found = {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}
    assert found["connectors_streams", "acme", "blocked"] == 1
    assert found["connectors_streams", "acme", "ready"] == 3  # discovery is one of them
    assert found["connectors_streams", "acme", "gone"] == 0
    assert found["connectors_parked_items_open", "acme"] == 1
    assert 0 <= found["connectors_stream_longest_unread_seconds", "acme"] <= 20 * 60


def test_a_connection_that_ended(sick):
    """Its streams are still listed, and a retry is a conflict."""
    with sick.uow() as uow:
        uow.connections.save(attrs.evolve(sick.reload(sick.connection), status=ConnectionStatus.REVOKED))
    assert len(sick.listed()["streams"]) == 3
    assert problem(sick.post("box:b", "retry")) == (409, "CONFLICT")


def test_history_of_a_whole_is_its_parts_business():
    """A stream that shows the changes of others wants no history of its own."""

    def find(context, window, cursor):
        page = yield from discover(context, window, cursor)
        parts = tuple(attrs.evolve(one, changes_in="box:all") for one in page.streams if one.key != "box:all")
        whole = Stream(key="box:all", name="all", families=frozenset({"items"}), data={"id": "a"})
        return attrs.evolve(page, streams=(whole, *parts))

    shop = Shop(boxes(discover=find), names="ab")
    shop.work()
    (wanted,) = shop.stream("box:all")["wanted"]
    assert (datetime.fromisoformat(wanted["from"]) >= NOW, wanted["to"]) == (True, None)
