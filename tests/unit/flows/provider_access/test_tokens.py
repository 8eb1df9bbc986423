"""Refreshes of grants: one at a time, no token used twice, no new token lost."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.provider_access.holding import HOLD_LIFETIME
from connectors.domain.flows.provider_access.token_sets import dump_token_set, load_token_set
from connectors.domain.flows.provider_access.token_sources import ConnectionTokens, GrantTokens
from connectors.domain.flows.provider_access.tokens import LEASE_LIFETIME
from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.errors import (
    ClientRejectedError,
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import GrantState, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind
from tests.support.builders import NOW, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import Family, answer
from tests.support.world import StillClock, World

HOUR = timedelta(hours=1)
SETTLED = LEASE_LIFETIME + HOLD_LIFETIME
"""How long after an attempt nobody can have its answer any more."""


@pytest.fixture
def world():
    return World()


class SleeplessClock(StillClock):
    """A clock that fails the test if a caller polls."""

    def sleep(self, duration):
        raise AssertionError("a caller polled")


def text(token_set):
    return token_set.access_token.reveal()


def silent(request):
    raise ProviderUnavailableError("No answer.", outcome_unknown=True)


def stale(world, **changes):
    """A connection whose tokens have just expired."""
    connection = world.connect(**changes)
    world.later(hours=1)
    world.vendor.log.clear()
    return connection


def fresh(world, connection):
    return world.keeper.fresh_tokens(TENANT, connection.grant_id)


def refreshes(world):
    return world.vendor.count("POST /oauth/token")


def test_a_token_set_survives_its_sealing():
    """A dumped token set loads again with its companions and times."""
    companion = TokenSet(access_token=Secret("c"), refresh_token=Secret("cr"), expires_at=NOW)
    whole = TokenSet(
        access_token=Secret("a"),
        refresh_token=None,
        scopes=("x", "y"),
        refresh_expires_at=NOW + HOUR,
        extra={"dc": "eu"},
        companions={"user": companion},
    )
    loaded = load_token_set(dump_token_set(whole))
    assert dump_token_set(loaded).reveal() == dump_token_set(whole).reveal()
    assert loaded.companions["user"].expires_at == NOW


@pytest.mark.parametrize(("left", "calls"), [(60.001, 0), (60, 1), (0, 1), (-5, 1)])
def test_tokens_are_refreshed_a_minute_early(world, left, calls):
    """A token is fresh while it has more than a minute left."""
    connection = world.connect()
    world.clock.advance(HOUR - timedelta(seconds=left))
    world.vendor.log.clear()
    fresh(world, connection)
    assert refreshes(world) == calls


def test_a_refresh_moves_the_expiry_of_every_connection(world):
    """All connections of the grant show the new expiry."""
    world.vendor.accounts["ada"] *= 1
    world.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
    connections = world.finish(world.vendor.consent(world.start().authorize_url))
    world.later(hours=2)
    assert text(fresh(world, connections[0])) == world.vendor.families[0].access
    assert {world.reload(one).expires_at for one in connections} == {world.clock.now() + HOUR}


def test_sixty_four_callers_make_one_call():
    """The refresh token is sent once, all callers get the new token, and none has to poll for it."""
    world = World(clock=SleeplessClock(NOW))
    connection = stale(world)
    gate, got = threading.Barrier(64), []

    def call():
        gate.wait()
        got.append(text(fresh(world, connection)))

    threads = [threading.Thread(target=call) for _ in range(64)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert (len(got), set(got), refreshes(world)) == (64, {world.vendor.families[0].access}, 1)


def test_nothing_is_locked_during_the_call(world):
    """No transaction is open during the call, so that others can read and write."""
    connection = stale(world)
    seen = []

    def check_unlocked(request):
        thread = threading.Thread(target=lambda: seen.append(world.grant(connection).refresh_attempted_at))
        thread.start()
        thread.join(5)

    world.vendor.before = check_unlocked
    fresh(world, connection)
    assert seen == [world.clock.now()]  # the attempt was recorded before the call


def test_a_crashed_holders_lease_expires(world):
    """A holder that crashed before sending keeps the others waiting no longer than its lease lasts."""
    connection = stale(world)
    with world.uow() as uow:
        now = world.clock.now()
        until = now + LEASE_LIFETIME
        assert uow.grants.claim_refresh(TENANT, connection.grant_id, now=now, until=until, hold=HOLD_LIFETIME)
    begun = world.clock.now()
    assert text(fresh(world, connection)) == world.vendor.families[0].access
    assert LEASE_LIFETIME <= world.clock.now() - begun < 2 * LEASE_LIFETIME


def test_waiting_has_an_end(world):
    """If one lease follows another, a waiting caller gives up with the error of an outage."""
    connection = stale(world)
    with world.uow() as uow:
        now = world.clock.now()
        uow.grants.claim_refresh(TENANT, connection.grant_id, now=now, until=now + HOUR, hold=HOLD_LIFETIME)
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_a_late_holders_write_is_refused(world):
    """A holder whose lease was given to another stores nothing and marks nothing."""
    connection = stale(world)
    taken = []

    def stall(request):
        world.vendor.before = lambda request: None
        world.clock.advance(SETTLED)
        with world.uow() as uow:
            now = world.clock.now()
            claim = uow.grants.claim_refresh
            taken.append(claim(TENANT, connection.grant_id, now=now, until=now + HOUR, hold=HOLD_LIFETIME))

    world.vendor.before = stall
    before = world.grant(connection).version
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    assert taken[0] is not None
    assert world.grant(connection).version == before
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


@attrs.frozen
class SlowVault:
    """A vault that takes this long to open anything."""

    vault: object
    clock: object
    takes: timedelta

    def open(self, sealed, context):
        self.clock.advance(self.takes)
        return self.vault.open(sealed, context)


@pytest.mark.parametrize("takes", [LEASE_LIFETIME, LEASE_LIFETIME * 2])
def test_a_holder_whose_lease_has_expired_sends_nothing(takes):
    """Another process may be refreshing by then, even if the first use of the token was long before."""
    world = World(make_acme(oauth={"reuse_window": HOUR}))
    connection = stale(world)
    lose_answer(world, connection)
    slow = attrs.evolve(world.keeper, vault=SlowVault(world.keeper.vault, world.clock, takes))
    with pytest.raises(ProviderUnavailableError, match="another process"):
        slow.refresh(TENANT, connection.grant_id, seen_version=world.grant(connection).version)
    assert refreshes(world) == 0


def test_a_late_holder_that_was_not_replaced_stores_its_tokens(world):
    """The rotated pair is kept although the lease has expired, if no other process has claimed it."""
    connection = stale(world)
    world.vendor.before = lambda request: world.clock.advance(LEASE_LIFETIME * 3)
    assert text(fresh(world, connection)) == text(world.tokens(connection)) == world.vendor.families[0].access


def lose_answer(world, connection):
    """The vendor rotates the tokens, but its answer is lost."""

    def lose(request):
        world.vendor.before = lambda request: None
        world.vendor(request)
        world.vendor.log.clear()
        silent(request)

    world.vendor.before = lose
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    assert world.grant(connection).refresh_attempted_at is not None


def test_an_unknown_outcome_is_asked_again_once_it_is_settled(world):
    """A used token is not sent again while somebody may have the answer; after that the vendor's word decides."""
    connection = stale(world)
    lose_answer(world, connection)
    world.clock.advance(SETTLED - timedelta(seconds=1))
    with pytest.raises(ProviderUnavailableError, match="not known yet"):
        fresh(world, connection)
    assert (refreshes(world), world.reload(connection).status) == (0, ConnectionStatus.ACTIVE)
    world.later(seconds=1)
    with pytest.raises(ReauthorizationRequiredError):
        fresh(world, connection)
    assert refreshes(world) == 1
    assert world.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert world.reload(connection).status_reason == "A refresh was interrupted, and its tokens are lost."
    assert world.reload(connection).reason_code is ReasonCode.REFRESH_LOST


def test_a_request_that_never_arrived_costs_nothing(world):
    """If the vendor never saw the lost request, the next one works, however long after."""
    connection = stale(world)
    world.vendor.before = silent
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    world.vendor.before = lambda request: None
    world.later(days=3)
    assert text(fresh(world, connection)) == world.vendor.families[0].access
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_an_unknown_outcome_is_looked_at_by_itself(world):
    """Nobody has to use the connection: the schedule asks again as soon as the outcome is settled."""
    connection = stale(world)
    world.vendor.before = silent
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    world.vendor.before = lambda request: None
    world.clock.advance(SETTLED)
    world.tick()
    assert TaskKind.REFRESH in {task.kind for task, _ in world.tasks()}
    world.keeper.refresh_idle(TENANT, connection.grant_id)
    assert world.grant(connection).refresh_attempted_at is None
    assert text(world.tokens(connection)) == world.vendor.families[0].access


def test_looks_at_an_unknown_outcome_become_rarer(world):
    """While the vendor gives no answer, the pauses between two looks grow to an hour, and no look is forgotten."""
    connection = stale(world)
    world.vendor.before = silent
    pauses = []
    for _ in range(8):
        world.keeper.refresh_idle(TENANT, connection.grant_id)
        entry = world.entry(connection.grant_id, TaskKind.REFRESH)
        pauses.append(entry.next_at - world.clock.now())
        world.clock.advance(pauses[-1])
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (SETTLED, HOUR)


def test_machine_clocks_do_not_matter(world):
    """A machine whose clock is minutes off does not send a used token again while another may have the answer."""
    connection = stale(world)
    lose_answer(world, connection)
    for skew in (timedelta(minutes=-30), timedelta(minutes=30)):
        keeper = attrs.evolve(world.keeper, clock=StillClock(world.clock.now() + skew))
        with pytest.raises(ProviderUnavailableError):
            keeper.refresh(TENANT, connection.grant_id, seen_version=world.grant(connection).version)
    assert refreshes(world) == 0


@pytest.mark.parametrize("minutes", [9, 10, 11])
def test_it_is_tried_again_inside_the_reuse_window_and_after_it(minutes):
    """After a lost answer the token is sent again, and where the vendor tolerates that, its answer is stored."""
    world = World(make_acme(oauth={"reuse_window": timedelta(minutes=10)}))
    connection = stale(world)
    lose_answer(world, connection)
    world.later(minutes=minutes)
    world.vendor.before = lambda request: answer({"access_token": "again", "refresh_token": "r", "expires_in": 3600})
    assert text(fresh(world, connection)) == "again"
    assert world.grant(connection).refresh_attempted_at is None
    assert refreshes(world) == 1


@pytest.mark.parametrize("failure", [silent, lambda request: answer(status=503, retry_after="1")])
def test_the_reuse_window_does_not_slide(failure):
    """It begins with the first use: neither another lost answer nor a refusal moves or clears it."""
    world = World(make_acme(oauth={"reuse_window": timedelta(minutes=10)}))
    connection = stale(world)
    lose_answer(world, connection)
    first = world.grant(connection).refresh_attempted_at
    world.later(minutes=9)
    world.vendor.before = failure
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    assert world.grant(connection).refresh_attempted_at == first


class Outage:
    """A database that fails from the vendor's answer on, for as many transactions as it is told."""

    def __init__(self, world, failures, *, after_commit=False):
        self.world, self.left, self.after_commit = world, failures, after_commit
        self.begin_inner = world.keeper.unit_of_work

    def begin(self):
        if not refreshes(self.world) or not self.left:
            return self.begin_inner()
        self.left -= 1
        if not self.after_commit:
            raise InfrastructureError("The database is gone.")
        return self._committed_in_silence()

    @contextmanager
    def _committed_in_silence(self):
        with self.begin_inner() as uow:
            yield uow
        raise InfrastructureError("The answer to the commit was lost.")


@pytest.mark.parametrize(("failures", "after_commit"), [(20, False), (1, True)])
def test_what_the_vendor_gave_outlives_an_outage_of_our_database(world, failures, after_commit):
    """New tokens are kept in the process until they are stored, and stored once."""
    connection = stale(world)
    outage = Outage(world, failures, after_commit=after_commit)
    keeper = attrs.evolve(world.keeper, unit_of_work=outage.begin)
    version = world.grant(connection).version
    assert text(keeper.fresh_tokens(TENANT, connection.grant_id)) == world.vendor.families[0].access
    assert text(world.tokens(connection)) == world.vendor.families[0].access
    assert (world.grant(connection).version, refreshes(world)) == (version + 1, 1)


def test_an_outage_longer_than_the_hold_leaves_the_attempt_on_record(world):
    """The process gives up after a bounded time; the next one knows that the outcome is unknown."""
    connection = stale(world)
    keeper = attrs.evolve(world.keeper, unit_of_work=Outage(world, 1000).begin)
    begun = world.clock.now()
    with pytest.raises(InfrastructureError):
        keeper.fresh_tokens(TENANT, connection.grant_id)
    assert world.clock.now() - begun <= HOLD_LIFETIME
    assert world.grant(connection).refresh_attempted_at is not None
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def without_json(status, body):
    return HttpResponse(status=status, headers={"content-type": "text/html"}, body=body)


@pytest.mark.parametrize(
    "reply",
    [
        answer(status=500),
        answer(status=503),
        without_json(502, b"<html>"),
        without_json(200, b"<html>"),
        without_json(200, b'{"access_token": "cut'),
        answer({"neither": "tokens nor error"}),
        answer({"access_token": "a\nb", "expires_in": 3600}),
    ],
)
def test_an_unreadable_answer_is_no_answer(world, reply):
    """After a 5xx or an unreadable answer the vendor may have rotated the tokens, so the attempt stays open."""
    connection = stale(world)
    world.vendor.before = lambda request: reply
    with pytest.raises(ProviderFailedError) as caught:
        fresh(world, connection)
    assert caught.value.outcome_unknown
    assert world.grant(connection).refresh_attempted_at is not None
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_a_token_that_does_not_rotate_is_sent_again():
    """Without rotation a lost answer costs nothing."""
    world = World(make_acme(oauth={"reuse_window": None}))
    connection = stale(world)
    world.vendor.before = silent
    with pytest.raises(ProviderUnavailableError):
        fresh(world, connection)
    world.vendor.before = lambda request: None
    world.later(days=1)
    assert text(fresh(world, connection)) == world.vendor.families[0].access


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(status=503, retry_after="1"), ProviderUnavailableError),
        (answer({"error": "weird"}, 400), UnexpectedResponseError),
        (answer({"error": "invalid_client"}, 401), ClientRejectedError),
    ],
)
def test_a_known_failure_keeps_the_connection(world, reply, error):
    """An answered refusal leaves the connection active and the attempt settled, and the next try works."""
    connection = stale(world)
    world.vendor.before = lambda request: reply
    with pytest.raises(error):
        fresh(world, connection)
    assert world.reload(connection).status is ConnectionStatus.ACTIVE
    assert world.grant(connection).refresh_attempted_at is None
    world.vendor.before = lambda request: None
    fresh(world, connection)


def test_our_own_failures_release_the_lease(world):
    """A failure of the vault or the settings before the call does not block the next caller."""
    connection = stale(world)
    app = world.connectors.apps.pop("acme")
    begun = world.clock.now()
    with pytest.raises(ConnectorsError):
        fresh(world, connection)
    world.connectors.apps["acme"] = app
    fresh(world, connection)
    assert world.clock.now() == begun


def test_a_dead_grant_marks_all_its_connections(world):
    """Every connection of the grant says what to do, and no other connection changes."""
    world.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
    world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    connections = world.finish(world.vendor.consent(world.start().authorize_url))
    other = world.connect(user="bob")
    world.later(hours=1)
    world.vendor.families[0].dead = True
    with pytest.raises(ReauthorizationRequiredError):
        fresh(world, connections[0])
    assert {world.reload(one).status for one in connections} == {ConnectionStatus.REAUTHORIZATION_REQUIRED}
    assert world.reload(connections[1]).status_reason == "Acme refused the grant."
    assert world.reload(connections[1]).reason_code is ReasonCode.REFRESH_TOKEN_DEAD
    assert world.reload(other).status is ConnectionStatus.ACTIVE


def test_a_dead_grant_does_not_change_a_disabled_connection(world):
    """A connection that was not active stays as it is."""
    world.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
    one, two = world.finish(world.vendor.consent(world.start().authorize_url))
    with world.uow() as uow:
        disabled = uow.connections.save(attrs.evolve(world.reload(two), status=ConnectionStatus.DISABLED))
    world.later(hours=1)
    world.vendor.families[0].dead = True
    with pytest.raises(ReauthorizationRequiredError):
        fresh(world, one)
    assert world.reload(one).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    assert world.reload(two) == disabled


def test_a_connection_recovers(world, caplog):
    """A refresh that works again makes the connection active and logs it."""
    caplog.set_level("INFO")
    connection = stale(world)
    world.vendor.before = lambda request: answer({"error": "invalid_grant"}, 400)
    with pytest.raises(ReauthorizationRequiredError):
        fresh(world, connection)
    world.vendor.before = lambda request: None
    refreshed = world.connectors.connect.refresh(TENANT, connection.id)
    assert (refreshed.status, refreshed.status_reason) == (ConnectionStatus.ACTIVE, None)
    assert "connection_recovered" in caplog.text


def test_a_failed_refresh_does_not_end_a_new_consent(world):
    """If the user consents again during a refresh, the vendor's refusal of the old token marks nothing."""
    connection = stale(world)

    def reconnect(request):
        world.vendor.before = lambda request: None
        world.connect()
        return answer({"error": "invalid_grant"}, 400)

    world.vendor.before = reconnect
    tokens = ConnectionTokens(world.keeper, TENANT, connection.id)
    assert text(tokens.current()) == world.vendor.families[-1].access
    assert world.reload(connection).status is ConnectionStatus.ACTIVE
    world.end_all()
    assert [family.dead for family in world.vendor.families] == [True, False]


def test_a_refresh_does_not_revive_an_ended_connection(world):
    """A connection that ends during a refresh of its grant stays ended."""
    world.vendor.accounts["ada"] += [{"id": "a-2", "name": "two", "email": "ada@acme.test"}]
    one, two = world.finish(world.vendor.consent(world.start().authorize_url))
    world.later(hours=1)

    def disconnect(request):
        world.vendor.before = lambda request: None
        with world.uow() as uow:
            there = uow.connections.get(TENANT, one.id)
            uow.connections.save(
                attrs.evolve(there.moved_to(ConnectionStatus.REVOKED, at=world.clock.now()), grant_id=None)
            )

    world.vendor.before = disconnect
    fresh(world, two)
    ended = world.reload(one)
    assert (ended.status, ended.grant_id) == (ConnectionStatus.REVOKED, None)


def test_new_tokens_are_kept_whatever_follows(world, monkeypatch):
    """A database that fails after the pair was stored does not remove it."""
    connection = stale(world)
    monkeypatch.setattr(type(world.keeper), "record_working", fail)
    with pytest.raises(InfrastructureError):
        fresh(world, connection)
    assert text(world.tokens(connection)) == world.vendor.families[0].access


def fail(*args):
    raise InfrastructureError("The database is gone.")


def test_a_grant_that_is_gone_needs_another_consent(world):
    """Tokens of a grant that was ended are an error that asks for another consent."""
    connection = world.connect()
    with world.uow() as uow:
        ended = attrs.evolve(world.grant(connection), state=GrantState.ENDED, token_set=None)
        uow.grants.save(ended)
    tokens = GrantTokens(world.keeper, TENANT, connection.grant_id)
    for ask in (tokens.current, lambda: tokens.refreshed(TokenSet(access_token=Secret("x")))):
        with pytest.raises(ReauthorizationRequiredError):
            ask()


def test_a_token_that_was_already_refreshed_is_not_refreshed_again(world):
    """A caller with an old token gets the stored one."""
    connection = world.connect()
    old = world.tokens(connection)
    world.keeper.refresh(TENANT, connection.grant_id, seen_version=1)
    world.vendor.log.clear()
    newer = GrantTokens(world.keeper, TENANT, connection.grant_id).refreshed(old)
    assert (text(newer), refreshes(world)) == (world.vendor.families[0].access, 0)


# --- companions ----------------------------------------------------------------------------------------------------


class Pairs:
    """A token endpoint that issues two pairs and refreshes each by its own refresh token."""

    def __init__(self, world):
        self.world = world
        self.refused, self.dead = set(), set()
        self.sent = []

    def __call__(self, request):
        if not request.url.endswith("/token"):
            return None
        body = request.body.decode()
        if "grant_type=authorization_code" in body:
            return answer({**self.pair("bot", 1, 3600), "companions": {"user": self.pair("user", 1, 7200)}})
        name = "user" if "refresh_token=user" in body else "bot"
        self.sent.append(name)
        if name in self.dead:
            return answer({"error": "invalid_grant"}, 400)
        if name in self.refused:
            return answer(status=503, retry_after="1")
        return answer(self.pair(name, len(self.sent) + 1, 10_000))

    def pair(self, name, number, lifetime):
        if number == 1:
            family = Family("ada", "items:read", access=f"{name}-1")
            self.world.vendor.families.append(family)
        return {
            "access_token": f"{name}-{number}",
            "refresh_token": f"{name}r-{number}",
            "expires_in": lifetime,
            "scope": "items:read",
        }


@pytest.fixture
def paired():
    world = World(make_acme(oauth={"token_names": ("user",)}))
    world.vendor.before = world.pairs = Pairs(world)
    return world


def test_companions_are_refreshed_when_they_are_stale(paired):
    """Each pair is refreshed by its own token, and only when it has expired."""
    connection = paired.connect()
    paired.later(hours=1)
    first = fresh(paired, connection)
    assert (text(first), text(first.companions["user"]), paired.pairs.sent) == ("bot-2", "user-1", ["bot"])
    paired.later(hours=1)
    second = fresh(paired, connection)
    assert (text(second), text(second.companions["user"])) == ("bot-2", "user-3")
    assert paired.pairs.sent == ["bot", "user"]


def test_a_companions_failure_does_not_cost_the_other_pair(paired):
    """What one call returned is stored before the next one can fail."""
    connection = paired.connect()
    paired.later(hours=2)
    paired.pairs.refused.add("user")
    with pytest.raises(ProviderFailedError):
        fresh(paired, connection)
    assert text(paired.tokens(connection)) == "bot-2"
    paired.pairs.refused.clear()
    renewed = fresh(paired, connection)
    assert (text(renewed), text(renewed.companions["user"])) == ("bot-2", "user-4")


def test_a_dead_companion_does_not_end_the_connection(paired):
    """It is forgotten, and the set's own pair lives on."""
    connection = paired.connect()
    paired.later(hours=2)
    paired.pairs.dead.add("user")
    renewed = fresh(paired, connection)
    assert (text(renewed), dict(renewed.companions)) == ("bot-2", {})
    assert paired.reload(connection).status is ConnectionStatus.ACTIVE
    fresh(paired, connection)
    assert paired.pairs.sent == ["bot", "user"]


def test_a_refused_token_is_refreshed_although_a_companion_is_stale(paired):
    """The pair that was refused is the one that is renewed."""
    connection = paired.connect()
    paired.later(hours=1)
    stale_set = fresh(paired, connection)
    paired.later(hours=1)
    renewed = GrantTokens(paired.keeper, TENANT, connection.grant_id).refreshed(stale_set)
    assert (text(renewed), text(renewed.companions["user"])) == ("bot-4", "user-3")
    assert paired.pairs.sent == ["bot", "user", "bot"]


# --- dead access tokens ------------------------------------------------------------------------------------------------


@pytest.fixture
def lasting():
    """A world whose tokens do not expire and cannot be refreshed."""
    world = World()
    world.vendor.expiring = False
    return world


def read(world, connection):
    world.later(minutes=1)
    world.connectors.jobs.request(TENANT, connection.id, JobType.INCREMENTAL)
    world.work()
    return world.reload(connection)


def test_a_dead_token_that_cannot_be_refreshed_needs_its_user(lasting):
    """Whoever meets the refusal records it, and connecting again heals it."""
    connection = lasting.connect()
    lasting.work()
    lasting.vendor.kill()
    dead = read(lasting, connection)
    assert (dead.status, dead.reason_code, dead.status_reason) == (
        ConnectionStatus.REAUTHORIZATION_REQUIRED,
        ReasonCode.TOKEN_DEAD,
        "Acme does not accept the access token any more.",
    )
    assert lasting.connect().status is ConnectionStatus.ACTIVE


def test_a_refresh_on_request_records_a_dead_token(lasting):
    """`POST …/refresh` and the connection say the same."""
    connection = lasting.connect()
    lasting.vendor.kill()
    with pytest.raises(ReauthorizationRequiredError):
        lasting.connectors.connect.refresh(TENANT, connection.id)
    assert lasting.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED


def test_a_token_that_was_ended_early_is_refreshed(world):
    """It is not believed fresh because its time is not over."""
    connection = world.connect()
    world.work()
    world.vendor.families[0].access = "another"
    assert read(world, connection).status is ConnectionStatus.ACTIVE
    assert refreshes(world) == 2  # with the exchange


@pytest.mark.parametrize("expiring", [True, False])
def test_an_address_that_refuses_every_token_costs_its_stream_only(expiring):
    """The connection stays active, says what is wrong, and asks identity instead of believing it dead."""
    world = World()
    world.vendor.expiring = expiring
    connection = world.connect()
    world.work()
    world.vendor.before = lambda request: answer(status=401) if "/api/items" in request.url else None
    failing = read(world, connection)
    assert failing.status is ConnectionStatus.ACTIVE
    assert "accepts it elsewhere" in failing.sync_error
    world.vendor.before = lambda request: None
    world.run_for(HOUR, step=timedelta(minutes=5))
    assert world.reload(connection).sync_error is None


def test_the_refusal_of_a_replaced_token_marks_nothing(lasting):
    """A consent that came between the refusal and its record has tokens that nobody refused."""
    connection = lasting.connect()
    refused = lasting.tokens(connection)
    connection = lasting.connect()
    assert not lasting.keeper.mark_dead(TENANT, connection.grant_id, refused, "refused")
    assert lasting.reload(connection).status is ConnectionStatus.ACTIVE
    assert lasting.keeper.mark_dead(TENANT, connection.grant_id, lasting.tokens(connection), "refused")
    assert lasting.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
