"""Deliveries in numbers: each opens an issue of its own, so that each is one signal, and nothing else is."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import NAMESPACE_URL, uuid5

import attrs

from tests.support.api import issue_opened
from tests.support.service import plain_session, send

REPOSITORY_ID = issue_opened()["repository"]["id"]


@attrs.frozen
class Piece:
    """One delivery to be sent."""

    number: int

    @property
    def delivery_id(self):
        return str(uuid5(NAMESPACE_URL, f"delivery {self.number}"))

    @property
    def body(self):
        return json.dumps(issue_opened(self.number)).encode()

    @property
    def dedupe_key(self):
        return f"github:{REPOSITORY_ID}:issue:{self.number}:created"


def pour(urls, pieces, *, clients=4, on_accepted=None, give_up=None):
    """Send the pieces from several clients at once, client i to URL i; those that were answered 202.

    Args:
        urls: webhook URLs; client i uses URL i.
        pieces: each is sent once, in order, by whichever client is free.
        on_accepted: called with the number of acknowledged deliveries after each.
        give_up: an event that ends it early.
    """
    pending, lock, accepted = iter(pieces), threading.Lock(), []

    def work(client):
        with plain_session() as session:
            while give_up is None or not give_up.is_set():
                with lock:
                    piece = next(pending, None)
                if piece is None:
                    return
                url = urls[client % len(urls)]
                if send(session, url, "issues", piece.body, delivery_id=piece.delivery_id) != 202:
                    continue
                with lock:
                    accepted.append(piece)
                    count = len(accepted)
                if on_accepted is not None:
                    on_accepted(count)

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(work, client) for client in range(clients)]:
            future.result()
    return accepted


def assert_kept(core, pieces, *, exactly):
    """Every piece is in the inbox and has its one signal; with `exactly`, there is nothing else.

    What the service has read at the vendor meanwhile is another repository's, and does not count.
    """
    inbox = [one["delivery_id"] for one in core.list("deliveries")]
    keys = [one["dedupe_key"] for one in core.list("signals")]
    keys = [key for key in keys if key.startswith(f"github:{REPOSITORY_ID}:")]
    assert len(inbox) == len(set(inbox))
    assert len(keys) == len(set(keys))
    missing = [piece.number for piece in pieces if piece.delivery_id not in inbox or piece.dedupe_key not in keys]
    assert missing == []
    if exactly:
        assert len(inbox) == len(keys) == len(pieces)
    assert core.list("deliveries", status="failed") == []
