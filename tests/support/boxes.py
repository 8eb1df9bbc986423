"""Acme with boxes: an account of several containers, each a stream of its own, that can be refused one by one."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import attrs

from connectors.domain.model.errors import AccessLostError, ProviderUnavailableError, RateLimitedError
from connectors.domain.model.http import HttpRequest, with_query
from connectors.domain.model.instant import read_instant, rfc3339
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.streams import DISCOVERY, DiscoveryPage, Stream, StreamPage
from connectors.domain.model.sync import SyncMode
from connectors.domain.model.webhook import WebhookEvent
from connectors.domain.providers.contract import Family, Limits, Streams
from connectors.domain.providers.toolbox.parking import ItemGuard
from tests.support.provider import HOST, item_created, make_acme, read_failure, read_throttle
from tests.support.vendor import PAGE_SIZE, Vendor, answer


class BoxVendor(Vendor):
    """Acme's side: boxes of items, in the order in which they were put in."""

    def __init__(self, clock):
        super().__init__(clock)
        self.boxes = {}
        self.closed = {}
        """Box → what its list answers instead: a status."""
        self.broken = {}
        """Item → what its details answer instead: a status."""
        self.hidden = set()
        """Boxes that are not listed."""
        self.unreadable = {}
        """Box → why it is listed as one that cannot be read."""
        self.down = None
        """What every list answers instead: a status."""
        self.circles = set()
        """Boxes whose pages go in a circle."""
        self.shown_from = None
        """Nothing older is shown."""
        self.lost = set()
        """Boxes that do not know their bookmark any more."""

    def put(self, box, *numbers, at=None, **fields):
        """Put items into a box, made now or then."""
        items = self.boxes.setdefault(box, [])
        for number in numbers:
            created_at = rfc3339(at or self.clock.now())
            items.append({"id": f"{box}-{number}", "title": f"{box} {number}", "created_at": created_at, **fields})

    def _answer(self, request, path):
        if path.startswith("/api/box"):
            if self._bearer(request) is None:
                return answer({"error": "unauthorized"}, 401)
            if self.down is not None:
                return answer(status=self.down, retry_after="0")
            query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
            if path == "/api/boxes":
                return self._list(int(query.get("page", 0)))
            box = path.split("/")[3]
            if path.startswith("/api/boxes/"):
                return self._box(box, query)
            return self._item(path.split("/")[3])
        return super()._answer(request, path)

    def _list(self, page):
        names = [name for name in sorted(self.boxes) if name not in self.hidden]
        shown = names[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
        listed = [{"id": name, "unreadable": self.unreadable.get(name)} for name in shown]
        return answer({"boxes": listed, "next": page + 1 if (page + 1) * PAGE_SIZE < len(names) else None})

    def _box(self, box, query):
        if box in self.closed:
            return answer(status=self.closed[box])
        items = self.boxes[box]
        after = int(query["after"])
        if after < 0:
            return answer({"items": [], "end": len(items), "more": False})
        if box in self.lost:
            self.lost.discard(box)
            return answer(status=410)
        if box in self.circles:
            return answer({"items": [], "end": (after + 1) % 3, "more": True})
        shown = items[after : after + PAGE_SIZE]
        if self.shown_from is not None:
            shown = [one for one in shown if read_instant(one["created_at"]) >= self.shown_from]
        end = min(after + PAGE_SIZE, len(items))
        from_at = None if self.shown_from is None else rfc3339(self.shown_from)
        return answer({"items": shown, "end": end, "more": end < len(items), "from": from_at})

    def _item(self, name):
        if name in self.broken:
            return answer(status=self.broken[name])
        found = next((one for items in self.boxes.values() for one in items if one["id"] == name), None)
        return answer(status=404) if found is None else answer(found)


def discover(context, window, cursor):
    page = 0 if cursor is None else cursor["page"]
    response = yield HttpRequest(method="GET", url=with_query(f"{HOST}/api/boxes", {"page": str(page)}))
    document = response.json_object()
    return DiscoveryPage(
        streams=tuple(
            Stream(
                key=f"box:{one['id']}",
                name=f"box {one['id']}",
                families=frozenset({"items"}),
                data={"id": one["id"]},
                unreadable=one["unreadable"],
            )
            for one in document["boxes"]
        ),
        cursor=None if document["next"] is None else {"page": document["next"]},
    )


def read_page(context, stream, window, cursor):
    if window.mode is SyncMode.BACKFILL:
        after = 0 if cursor is None else cursor["after"]
    elif window.bookmark is None:
        after = -1
    else:
        after = window.bookmark["after"] if cursor is None else cursor["after"]
    url = with_query(f"{HOST}/api/boxes/{stream.data['id']}/items", {"after": str(after)})
    response = yield HttpRequest(method="GET", url=url, expects=frozenset({410}))
    if response.status == 410:
        return StreamPage(cursor=None, lost="The box has forgotten where we were.")
    document = response.json_object()
    guard, signals = ItemGuard(), []
    for one in document["items"]:
        if one.get("detailed"):
            at = read_instant(one["created_at"])
            details = yield from guard.read(one["id"], _details(one["id"]), (at, at))
            if details is None:
                continue
        signals.append(item_created(one))
    oldest = read_instant(document.get("from"))
    end = {"after": document["end"]}
    return StreamPage(
        cursor=end if document["more"] else None,
        bookmark=None if document["more"] else end,
        signals=tuple(signals),
        items=len(document["items"]),
        parked=tuple(guard.parked),
        oldest_shown=oldest if window.mode is SyncMode.BACKFILL else None,
    )


def _details(name):
    response = yield HttpRequest(method="GET", url=f"{HOST}/api/boxitem/{name}")
    return response.json_object()


def read_item(context, stream, window, reference):
    response = yield HttpRequest(method="GET", url=f"{HOST}/api/boxitem/{reference}", expects=frozenset({404}))
    if response.status == 404:
        return None
    return StreamPage(cursor=None, signals=(item_created(response.json_object()),), items=1)


def read_box_failure(request, response, now):
    if response.status in {403, 404}:
        return AccessLostError(f"Acme does not show it ({response.status}).")
    if response.status == 429:
        return RateLimitedError(
            "Acme wants us to wait.", retry_at=now + timedelta(seconds=int(response.headers["retry-after"]))
        )
    if response.status >= 500:
        return ProviderUnavailableError(f"Acme answered {response.status}.")
    return read_failure(request, response, now)


def read_event(delivery, context):
    document = json.loads(delivery.request.body)
    accounts = tuple(context.connections and [context.connections[0].account.id])
    target = DISCOVERY if document["box"] is None else f"box:{document['box']}"
    return WebhookEvent(event="box.changed", account_ids=accounts, needs_sync=True, sync_target=target)


IN_BOXES = Family(name="items", kinds=frozenset({SignalKind.ISSUE_CREATED}), is_pushed=False)
STREAMS = Streams(discover=discover, read_page=read_page, read_item=read_item)
BOXES = attrs.evolve(
    make_acme(webhooks={"read_event": read_event}, sync=None, streams=STREAMS, families=(IN_BOXES,)),
    kinds=IN_BOXES.kinds,
    limits=Limits(read_failure=read_box_failure, read_throttle=read_throttle),
)


def boxes(**changes):
    """Acme with boxes, read in another way."""
    return attrs.evolve(BOXES, streams=attrs.evolve(STREAMS, **changes))
