"""GitHub's accounts of the simulation, without its schedule."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from connectors.adapters.memory import MemoryDatabase
from connectors.adapters.memory.clock import ManualClock
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.ids import ProviderSlug, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobStatus, JobType
from connectors.entrypoints.library import Connectors
from connectors_sandbox import SandboxClock, create_sandbox
from tests.simulation.world.github import GitHubAccount
from tests.simulation.wsgi import call_wsgi
from tests.support.service import CORE_CALLBACK
from tests.support.stage import GITHUB_APP, register_apps

START = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
TENANT = TenantId(UUID(int=1))
LISTS = ("lag_index", "short_pages", "use_up_quota")
"""Levers that disturb reading."""


def account(seed, items=20):
    sandbox = create_sandbox(
        SandboxClock(START), auto_consent=True, allowed_hosts=["connectors.invalid"], seed=seed,
        send=lambda outgoing, prepared, timeout: prepared,
    )  # fmt: skip
    register_apps(sandbox)
    made = GitHubAccount(sandbox, "n0")
    made.prepare(items, Random(seed))
    return made


def live(made, seed, deeds, *, without=()):
    """That many deeds, a minute or so apart."""
    dice = Random(f"deeds {seed}")
    names = sorted({*made.usual, *made.odd} - {*without})
    for _ in range(deeds):
        made.sandbox.clock.advance(timedelta(seconds=dice.choice((0, 1, 20, 90))))
        made.do(dice.choice(names), Random(dice.random()))
    return made


def read_all(made):
    """The signals of a first read and of a backfill from the beginning, by a service that nothing disturbs."""
    sandbox = made.sandbox

    def respond(request):
        answer = call_wsgi(sandbox.app, request.method, request.url, dict(request.headers), request.body)
        return HttpResponse(status=answer.status, headers=answer.headers, body=answer.body, url=request.url)

    client_id, secret = GITHUB_APP
    app = ProviderApp(
        provider=ProviderSlug("github"),
        client_id=client_id,
        client_secret=Secret(secret),
        base_url="http://localhost/github",
    )
    clock = ManualClock(sandbox.clock.now())
    database = MemoryDatabase(clock.now)
    with Connectors.in_memory(
        respond=respond,
        apps={app.provider: app},
        clock=clock,
        database=database,
        redirect_uri=CORE_CALLBACK,
        public_url=None,
    ) as connectors:
        started = connectors.connect.start_authorization(TENANT, "github", options=made.options)
        consent = call_wsgi(sandbox.app, "GET", f"{started.authorize_url}&sandbox_user={made.user}", {})
        query = dict(parse_qsl(urlsplit(consent.headers["location"]).query))
        (connection,) = connectors.connect.complete_authorization("github", query)
        for kind in (JobType.INCREMENTAL, JobType.BACKFILL):
            connectors.jobs.request(TENANT, connection.id, kind)
        while connectors.run_pending():
            clock.advance(timedelta(seconds=1))
    assert {(job.status, job.error) for job in database.jobs.values()} == {(JobStatus.SUCCEEDED, None)}
    return database.signals.values()


def missing(made, signals):
    titles = defaultdict(list)
    for signal in signals:
        titles[signal.kind, signal.occurred_at].append(signal.title)
    return [event for event in made.events() if not any(event.title in one for one in titles[event.kind, event.at])]


@pytest.mark.parametrize("seed", range(3))
def test_deeds_are_possible_in_any_order_and_the_same_in_every_run(seed):
    """Two hundred deeds of both kinds never fail, and leave the same world in two runs."""
    one, other = (live(account(seed), seed, 200) for _ in range(2))
    assert one.sandbox.github.describe() == other.sandbox.github.describe()
    assert one.events() == other.events()
    assert (one.hooks(), one.tokens(), one.options) == (other.hooks(), other.tokens(), other.options)


@pytest.mark.parametrize(("seed", "items"), [(1, 0), (2, 130), (3, 20), (4, 20)])
def test_an_undisturbed_reader_shows_every_event(seed, items):
    """Reading everything gives a signal for each event whose date has come, in every kind of account."""
    made = live(account(seed, items), seed, 120, without=LISTS)
    now = made.sandbox.clock.now()
    assert [event for event in missing(made, read_all(made)) if event.at <= now] == []
