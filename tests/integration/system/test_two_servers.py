"""Two services share one database, and the work."""

import contextlib

import pytest

from tests.support.service import Core, Service, database_settings, github_settings
from tests.support.sizes import at_sizes
from tests.support.traffic import Piece, assert_kept, pour


@pytest.fixture(params=["postgres", "embedded"])
def pair(request, short_tmp, sandbox_server):
    """Two running services on one database, started at the same moment."""
    folder = short_tmp / f"pair-{request.param}"
    settings = github_settings(sandbox_server)
    if request.param == "postgres":
        settings |= database_settings(request.getfixturevalue("own_database"))
    else:
        settings["POBLYSH_DATA_DIR"] = str(folder / "data")
    services = [Service(folder / name, **settings) for name in ("one", "two")]
    with contextlib.ExitStack() as stack:
        for service in services:
            stack.callback(service.__exit__)
            service.start()
        for service in services:
            service.wait_ready()
        yield services


@at_sizes(("deliveries",), small=(40,), full=(150,))
def test_they_share_the_work(pair, deliveries):
    """What one is told the other knows; the same deliveries poured into both are kept once; one may leave."""
    first, second = pair
    core, elsewhere = Core(first.url), None
    started = core.call("POST", "/connect/github", json={"options": {"repositories": ["ada/lamp"]}}).json()
    elsewhere = Core(second.url, core.tenant_id)
    query = elsewhere.consent(started["authorize_url"])
    connection = elsewhere.get("/connect/github/callback", params=query)["connection"]
    assert core.get(f"/connections/{connection['id']}")["status"] == "active"

    pieces = [Piece(number) for number in range(1, deliveries + 1)]
    urls = [f"{one.url}/webhooks/github/{core.tenant_id}" for one in pair]
    # Everything twice, neighbours apart, so that both often work on the same delivery at the same moment.
    doubled = [piece for pair_of in zip(pieces, pieces, strict=True) for piece in pair_of]
    assert len(pour(urls, doubled)) == 2 * deliveries
    assert_kept(core, pieces, exactly=True)
    assert_kept(elsewhere, pieces, exactly=True)

    # Cursors of one are good for the other.
    page = core.get("/signals", params={"limit": 10})
    onwards = elsewhere.get("/signals", params={"limit": 10, "cursor": page["next_cursor"]})
    assert not {one["id"] for one in page["signals"]} & {one["id"] for one in onwards["signals"]}

    assert first.stop() == 0
    more = [Piece(deliveries + 1)]
    assert pour(urls[1:], more) == more
    assert_kept(elsewhere, pieces + more, exactly=True)
