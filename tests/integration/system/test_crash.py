"""kill -9 while deliveries pour in: what was acknowledged is there."""

import threading

import pytest

from tests.support.service import Core, Service, database_settings, github_settings, kill_embedded_database
from tests.support.sizes import at_sizes
from tests.support.traffic import Piece, assert_kept, pour


@pytest.fixture(params=["postgres", "embedded"])
def victim(request, short_tmp, sandbox_server):
    """A service to be killed, and how to kill what belongs to it."""
    settings = github_settings(sandbox_server)
    folder = short_tmp / f"victim-{request.param}"
    if request.param == "postgres":
        service = Service(folder, workers=2, **settings, **database_settings(request.getfixturevalue("own_database")))
        kill = service.kill
    else:
        data_dir = folder / "data"
        service = Service(folder, workers=2, **settings, POBLYSH_DATA_DIR=str(data_dir))

        def kill():
            # The database first: the service must not get to write anything after it.
            kill_embedded_database(data_dir)
            service.kill()

    with service:
        yield service, kill


@at_sizes(("deliveries", "kills"), small=(80, (30,)), full=(200, (60, 90, 20, 120)))
def test_what_was_acknowledged_survives(victim, deliveries, kills):
    """After kill -9 of everything, each delivery answered 202 is there with its signal; sent again, nothing doubles.

    So many deliveries are sent in one round. Each round has its kill, after so many of them were acknowledged.
    """
    service, kill = victim
    core = Core(service.url)
    core.connect()
    url = f"{service.url}/webhooks/github/{core.tenant_id}"
    accepted, sent = [], []
    for number, kill_after in enumerate(kills):
        pieces = [Piece(deliveries * number + one) for one in range(1, deliveries + 1)]
        enough, dead = threading.Event(), threading.Event()

        def watch(count, enough=enough, kill_after=kill_after):
            if count >= kill_after:
                enough.set()

        def strike(enough=enough, dead=dead):
            enough.wait(60)
            kill()
            dead.set()

        killer = threading.Thread(target=strike)
        killer.start()
        got = pour([url], pieces, on_accepted=watch, give_up=dead)
        killer.join()
        assert kill_after <= len(got) < deliveries
        accepted += got
        sent += pieces
        service.start().wait_ready()
        assert_kept(core, accepted, exactly=False)
    assert len(pour([url], sent)) == len(sent)
    assert_kept(core, sent, exactly=True)
    (connection,) = core.list("connections")
    # The key of the vault has survived as well: the tokens open.
    assert core.call("POST", f"/connections/{connection['id']}/refresh").status_code == 200
