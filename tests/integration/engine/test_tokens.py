"""One refresh at a time, whoever asks and whoever dies over it: real processes, real PostgreSQL, rotating vendors.

`ENGINE_TOKEN_KILLS` in the environment makes the kills of the full size (`-m thorough`) as many as an afternoon allows.
"""

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import attrs
import pytest
from sqlalchemy import text

from connectors.domain.flows.provider_access.holding import HOLD_LIFETIME
from connectors.domain.flows.provider_access.tokens import LEASE_LIFETIME
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ProviderUnavailableError, ReauthorizationRequiredError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import GrantState
from connectors.entrypoints.library import Connectors
from connectors_sandbox import SandboxServer, create_sandbox
from connectors_sandbox.faults import Fault, FaultKind
from tests.support.acts import ACTS, fresh_name
from tests.support.service import CORE_CALLBACK, database_settings, plain_session
from tests.support.sizes import at_sizes
from tests.support.stage import provider_settings, register_apps
from tests.support.token_callers import Moment, ask_together, die, revealed

KILLS = int(os.environ.get("ENGINE_TOKEN_KILLS", "200"))
"""For all providers together."""
MAX_WAIT = 120
"""Seconds for one process to start, do its part and end on a busy machine."""
SETTLED = LEASE_LIFETIME + HOLD_LIFETIME
"""How long after an attempt nobody can have its answer any more."""
VENDOR_THINKS = 0.5
"""Seconds that the token endpoint takes, so that everybody is waiting by the time it answers."""
TOKEN_PATHS = {"github": "/login/oauth/access_token", "jira": "/oauth/token", "slack": "/api/oauth.v2.access"}
BOT_AND_USER = "channels:history channels:read team:read users:read user:channels:history user:channels:read"
MOMENTS = (Moment.ANSWERED, Moment.STORING, Moment.RECORDED, Moment.ANSWERED, Moment.STORED, Moment.LEASED)
"""One after the other; most of them between the vendor's answer and our commit."""

pytestmark = pytest.mark.timeout(MAX_WAIT + 3 * KILLS)


@attrs.frozen
class House:
    """Rotating vendors, and our system beside them, to which other processes may be added."""

    server: SandboxServer
    connectors: object
    environment: dict

    @property
    def sandbox(self):
        return self.server.sandbox

    @property
    def keeper(self):
        return self.connectors.connect.keeper

    def settle(self, provider):
        """A tenant and a person of its own, not connected yet."""
        name = fresh_name()
        return Resident(self, provider, name, ACTS[provider].prepare(self.sandbox, name), TenantId(uuid4()))

    def refreshes(self, provider):
        """How often the token endpoint was called, for codes too."""
        return len(self.sandbox.core.requests_to(provider, TOKEN_PATHS[provider], "POST"))


@attrs.frozen
class Resident:
    """Somebody who connects an account."""

    house: House
    provider: str
    name: str
    user: str
    tenant_id: TenantId

    def connect(self):
        """Consent, whether for the first time or again."""
        connect = self.house.connectors.connect
        options = ACTS[self.provider].options(self.name) or None
        started = connect.start_authorization(self.tenant_id, self.provider, options=options)
        with plain_session() as session:
            url = f"{started.authorize_url}&sandbox_user={self.user}"
            location = session.get(url, allow_redirects=False, timeout=30).headers["location"]
        assert location.startswith(CORE_CALLBACK), location
        query = dict(parse_qsl(urlsplit(location).query))
        (connection,) = connect.complete_authorization(self.provider, query)
        return connection

    def grant(self, connection):
        with self.house.keeper.unit_of_work() as uow:
            return uow.grants.get(self.tenant_id, connection.grant_id)

    def stored(self, connection):
        """The access tokens as they are kept."""
        return revealed(self.house.keeper.open(self.grant(connection)))

    def status(self, connection):
        with self.house.keeper.unit_of_work() as uow:
            return uow.connections.get(self.tenant_id, connection.id).status

    def expire(self, connection):
        """Let all access tokens of the grant be past their time; nothing else about them changes."""
        grant, past = self.grant(connection), datetime.now(UTC) - timedelta(minutes=1)
        token_set = self.house.keeper.open(grant)
        companions = {name: attrs.evolve(one, expires_at=past) for name, one in token_set.companions.items()}
        expired = attrs.evolve(token_set, expires_at=past, companions=companions)
        sealed = self.house.keeper.seal(self.tenant_id, grant.id, expired)
        with self.house.keeper.unit_of_work() as uow:
            uow.grants.save(attrs.evolve(grant, token_set=sealed, expires_at=past))

    def fresh(self, connection):
        """The access tokens that a caller gets now."""
        return revealed(self.house.keeper.fresh_tokens(self.tenant_id, connection.grant_id))


@pytest.fixture
def house(own_database):
    with SandboxServer(create_sandbox(auto_consent=True)) as server:
        register_apps(server.sandbox)
        environment = {
            **database_settings(own_database),
            **provider_settings(server),
            "POBLYSH_OAUTH_REDIRECT_URI": CORE_CALLBACK,
            "POBLYSH_SLACK_SCOPES": BOT_AND_USER,
        }
        with Connectors.from_settings(environment) as connectors:
            yield House(server, connectors, environment)


@pytest.fixture(scope="module")
def processes():
    """Starts processes that inherit no thread, lock or connection of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "connectors.entrypoints.production"])
    return context


def lease_lapses(engine, connection):
    """What the dead holder's lease does within minutes: nobody waits for it here."""
    with engine.begin() as database:
        query = "UPDATE grants SET leased_until = now() - interval '111 seconds' WHERE id = :id AND leased_until IS NOT NULL"
        return database.execute(text(query), {"id": connection.grant_id}).rowcount


def pass_by(engine, connection, time):
    """The grant's open attempt, as old as if that much time had passed."""
    with engine.begin() as database:
        query = """
            UPDATE grants SET refresh_attempted_at = refresh_attempted_at - :time, refresh_sent_at = refresh_sent_at - :time
            WHERE id = :id
        """
        database.execute(text(query), {"time": time, "id": connection.grant_id})


def assert_no_token_was_reused(sandbox):
    """The vendors saw no refresh token a second time, and nobody's family is dead."""
    assert sandbox.github.families.reused == []
    assert sandbox.slack.families.reused == []
    assert [one for one in sandbox.jira.families.all if one.ending] == []


@pytest.mark.parametrize(("provider", "pairs"), [("github", 1), ("jira", 1), ("slack", 2)])
@at_sizes(("process_count", "callers"), small=(2, 16), full=(4, 64))
def test_many_processes_with_many_callers_each(house, processes, provider, pairs, process_count, callers):
    """However many processes and threads ask at once, each refresh token goes out once, and all get the same new tokens."""
    resident = house.settle(provider)
    connection = resident.connect()
    before = resident.stored(connection)
    resident.expire(connection)
    house.sandbox.clock.advance(timedelta(hours=13))
    asked = house.refreshes(provider)
    house.sandbox.faults.add(
        Fault(provider=provider, path=TOKEN_PATHS[provider], kind=FaultKind.DELAY, seconds=VENDOR_THINKS)
    )

    everybody, answers = processes.Barrier(process_count), processes.Queue()
    arguments = (house.environment, resident.tenant_id, connection.grant_id, callers, everybody, answers)
    crowd = [processes.Process(target=ask_together, args=arguments) for _ in range(process_count)]
    for one in crowd:
        one.start()
    got = [answers.get(timeout=MAX_WAIT) for _ in crowd]
    for one in crowd:
        one.join(MAX_WAIT)

    assert [one.exitcode for one in crowd] == [0] * process_count
    assert [error for one in got for error in one.errors] == []
    assert house.refreshes(provider) - asked == pairs
    tokens = [caller for one in got for caller in one.tokens]
    assert len(tokens) == process_count * callers
    assert set(tokens) == {resident.stored(connection)}
    assert len(before) == pairs
    assert not set(before) & set(tokens[0])
    assert_no_token_was_reused(house.sandbox)


@pytest.mark.parametrize("provider", ["github", "jira"])
@at_sizes(("kills",), small=(len(MOMENTS),), full=(KILLS // 2,))
def test_killed_over_a_refresh(house, processes, own_engine, provider, kills):
    """kill -9 between the vendor's answer and our commit: a token is sent again while the vendor bears it, or once
    nobody can have its successor, and only the vendor's word ends a connection."""
    resident = house.settle(provider)
    connection = resident.connect()
    for number in range(kills):
        moment = MOMENTS[number % len(MOMENTS)]
        resident.expire(connection)
        asked = house.refreshes(provider)
        victim = processes.Process(
            target=die, args=(house.environment, resident.tenant_id, connection.grant_id, moment)
        )
        victim.start()
        victim.join(MAX_WAIT)
        assert victim.exitcode == -signal.SIGKILL
        sent = int(moment in {Moment.ANSWERED, Moment.STORING, Moment.STORED})
        assert house.refreshes(provider) - asked == sent
        # What is committed has ended the lease with it.
        assert lease_lapses(own_engine, connection) == int(moment is not Moment.STORED)

        is_unknown = moment in {Moment.RECORDED, Moment.ANSWERED, Moment.STORING}
        if provider == "github" and is_unknown:
            with pytest.raises(ProviderUnavailableError):
                resident.fresh(connection)
            assert resident.status(connection) is ConnectionStatus.ACTIVE
            assert house.refreshes(provider) - asked == sent
            pass_by(own_engine, connection, SETTLED)
            if moment is Moment.RECORDED:
                resident.fresh(connection)
                continue
            with pytest.raises(ReauthorizationRequiredError):
                resident.fresh(connection)
            assert resident.status(connection) is ConnectionStatus.REAUTHORIZATION_REQUIRED
            assert house.refreshes(provider) - asked == sent + 1
            former, connection = connection, resident.connect()
            assert connection.id == former.id
            assert connection.grant_id != former.grant_id
            # What the lost refresh brought may live, so its end waits until nobody can have it any more.
            assert resident.grant(former).state in {GrantState.ENDING, GrantState.LEFT}
        else:
            resident.fresh(connection)
            assert house.refreshes(provider) - asked == sent + int(moment is not Moment.STORED)
        assert resident.status(connection) is ConnectionStatus.ACTIVE
        assert resident.grant(connection).refresh_attempted_at is None
        (access,) = resident.stored(connection)
        assert is_alive(house.sandbox, provider, access)
    lost = sum(MOMENTS[number % len(MOMENTS)] in {Moment.ANSWERED, Moment.STORING} for number in range(kills))
    # Only tokens were sent again whose successors died with a process: by a caller, and when their grant was ended.
    assert len(set(house.sandbox.github.families.reused)) == (lost if provider == "github" else 0)
    assert [one for one in house.sandbox.jira.families.all if one.ending] == []


def test_found_too_late(house, processes, own_engine):
    """When the vendor no longer bears a second use, a token whose successor died with a process needs its user."""
    resident = house.settle("jira")
    connection = resident.connect()
    resident.expire(connection)
    kill(processes, resident, connection, Moment.ANSWERED)
    lease_lapses(own_engine, connection)
    later = timedelta(minutes=10, seconds=1)
    house.sandbox.clock.advance(later)
    pass_by(own_engine, connection, later)
    asked = house.refreshes("jira")
    with pytest.raises(ReauthorizationRequiredError):
        resident.fresh(connection)
    assert house.refreshes("jira") == asked + 1
    assert resident.status(connection) is ConnectionStatus.REAUTHORIZATION_REQUIRED
    resident.connect()
    assert resident.status(connection) is ConnectionStatus.ACTIVE


def kill(processes, resident, connection, moment):
    """A process refreshes the grant and is killed over it."""
    arguments = (resident.house.environment, resident.tenant_id, connection.grant_id, moment)
    victim = processes.Process(target=die, args=arguments)
    victim.start()
    victim.join(MAX_WAIT)
    assert victim.exitcode == -signal.SIGKILL


def is_alive(sandbox, provider, access):
    """Whether the vendor takes this access token."""
    find = {"github": sandbox.github.auth.find_live, "jira": sandbox.jira.auth.find_access}[provider]
    return find(access) is not None
