"""Callbacks that are repeated, wrong, or at work at the same time."""

import threading
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.flows.connections.authorization import LEASE_LIFETIME, LONGEST_WAIT
from connectors.domain.flows.connections.consents import ABANDONED_AFTER
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import (
    AuthorizationDeniedError,
    BusyError,
    ConnectorsError,
    ForbiddenHostError,
    InfrastructureError,
    InsufficientScopeError,
    ProviderFailedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    StateUnknownError,
    TenantNotFoundError,
    ValidationError,
    VaultError,
)
from connectors.domain.model.oauth import AuthorizationRequest, GrantState
from tests.support.builders import NOW, OTHER_TENANT, TENANT
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import StillClock, World

EXCHANGE = "POST /oauth/token"
REVOKE = "POST /oauth/revoke"
TWO_SITES = [{"id": f"s-{number}", "name": f"site {number}", "email": "lee@acme.test"} for number in (2, 1)]


@pytest.fixture
def world():
    return World()


def consented(world, user="ada", **changes):
    """The redirect's query after a consent."""
    return world.vendor.consent(world.start().authorize_url, user, **changes)


def request_of(world) -> AuthorizationRequest:
    with world.uow() as uow:
        (row,) = uow.authorization_requests._rows.values()
        return row


def told(world, query):
    """What a callback answers, in a form that can be compared."""
    try:
        return [one.id for one in world.finish(query)]
    except ConnectorsError as error:
        return error.code, error.message, error.details, error.next_step


class Killed(BaseException):
    """The process died."""


def fail(world, path, failure, *, times=1):
    """Make the vendor's next answers at the path this one, or the error that it is."""
    pending = [failure] * times

    def before(request):
        if not request.url.endswith(path) or not pending:
            return None
        special = pending.pop()
        if isinstance(special, BaseException):
            raise special
        return special

    world.vendor.before = before


# --- the same again ------------------------------------------------------------------------------------------------


def test_a_repeat_gets_the_same_connections(world):
    """A callback that is repeated gets the first one's connections, in their order, without a second exchange."""
    world.vendor.accounts["lee"] = TWO_SITES
    query = consented(world, "lee")
    first = world.finish(query)
    calls = len(world.vendor.log)
    world.later(minutes=9)
    assert [one.account.id for one in first] == ["s-2", "s-1"]
    assert world.finish(query) == first
    assert world.finish(query, tenant_id=TENANT) == first
    assert (world.vendor.count(EXCHANGE), len(world.vendor.log)) == (1, calls)


def test_a_repeat_shows_the_connections_as_they_are_now(world):
    """What has changed since the first answer is in the second one."""
    query = consented(world)
    (first,) = world.finish(query)
    world.connectors.disconnect.end_connection(TENANT, first.id)
    (again,) = world.finish(query)
    assert (again.id, again.status) == (first.id, ConnectionStatus.REVOKED)


def test_a_repeat_after_the_state_has_expired_is_unknown(world):
    """Ten minutes after the start a finished state is as unknown as any other."""
    query = consented(world)
    world.finish(query)
    world.later(minutes=10)
    with pytest.raises(StateUnknownError):
        world.finish(query)


def test_a_finished_request_has_no_verifier(world):
    """The code verifier is destroyed with the first answer, good or bad."""
    query = consented(world)
    assert request_of(world).code_verifier is not None
    world.finish(query)
    assert request_of(world).code_verifier is None


def test_a_denial_is_final(world):
    """The provider's error is told, printable and short; the repeat, even with a code, is told the same."""
    query = consented(world)
    state = query["state"]
    with pytest.raises(AuthorizationDeniedError) as caught:
        world.finish({"error": "access\n" + "x" * 500, "state": state})
    assert caught.value.details == ({"field": "error", "message": ("access?" + "x" * 500)[:100]},)
    assert request_of(world).code_verifier is None
    for repeat in ({"error": "access_denied", "state": state}, query, {"state": state}):
        with pytest.raises(AuthorizationDeniedError) as again:
            world.finish(repeat)
        assert told(world, repeat)[1:] == (caught.value.message, caught.value.details, caught.value.next_step)
        assert again.value.code == "OAUTH_DENIED"
    assert world.vendor.log == []


@pytest.mark.parametrize("error", ["", " "])
def test_an_empty_error_is_no_denial(world, error):
    """A redirect with a code and an empty `error` connects."""
    assert world.finish({**consented(world), "error": error})


def test_a_denial_that_comes_after_the_code_is_refused(world):
    """Once a code has been exchanged, an error with the same state gets StateUnknownError and changes nothing."""
    query = consented(world)
    first = world.finish(query)
    with pytest.raises(StateUnknownError):
        world.finish({"error": "access_denied", "state": query["state"]})
    assert world.finish(query) == first


LASTING = {
    "code refused": ("/oauth/token", lambda: answer({"error": "invalid_grant"}, 400), ReauthorizationRequiredError),
    "code refused strangely": ("/oauth/token", lambda: answer(["no", "tokens"], 400), ProviderFailedError),
    "no account": ("/api/accounts", lambda: answer({"error": "no"}, 404), ProviderFailedError),
    "account unavailable": ("/api/accounts", lambda: answer(status=503), ProviderFailedError),
    "account limited": ("/api/accounts", lambda: answer(status=429, retry_after="60"), ProviderFailedError),
    "account lost": ("/api/accounts", lambda: ProviderUnavailableError("No answer."), ProviderFailedError),
    "a bug": ("/api/accounts", lambda: LookupError("secret"), LookupError),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_lasting_failure_is_repeated(world, case):
    """A callback that failed for good is told the same again, without a second exchange, and no tokens stay alive."""
    path, failure, kind = LASTING[case]
    query = consented(world)
    fail(world, path, failure(), times=9 if path == "/api/accounts" else 1)
    with pytest.raises(kind) as caught:
        world.finish(query)
    assert not isinstance(caught.value, RateLimitedError)
    calls = len(world.vendor.log)
    first = told(world, query)
    world.later(minutes=6)
    assert told(world, query) == first
    if isinstance(caught.value, ConnectorsError):
        assert first == (caught.value.code, caught.value.message, caught.value.details, caught.value.next_step)
    else:
        assert first == ("INTERNAL_ERROR", "internal error: LookupError", (), None)
    assert (world.vendor.count(EXCHANGE), len(world.vendor.log)) == (1, calls)
    assert all(family.dead for family in world.vendor.families)
    assert (world.grants(), request_of(world).code_verifier) == ([], None)


def test_too_few_scopes_are_repeated(world):
    """A user who granted too little is told so again, as an error that asks for another consent."""
    query = consented(world, scope="admin")
    with pytest.raises(InsufficientScopeError, match="items:read"):
        world.finish(query)
    with pytest.raises(ReauthorizationRequiredError, match="items:read"):
        world.finish(query)
    assert (world.vendor.count(EXCHANGE), world.vendor.count(REVOKE)) == (1, 1)


# --- what may be tried again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (lambda: answer(status=503, retry_after="5"), ProviderUnavailableError),
        (lambda: RateLimitedError("Too many calls.", retry_at=NOW), RateLimitedError),
        (lambda: ProviderUnavailableError("No connection."), ProviderUnavailableError),
    ],
)
def test_a_temporary_failure_leaves_the_state_usable(world, failure, kind):
    """When the code could not be exchanged for now, the same callback connects later."""
    query = consented(world)
    fail(world, "/oauth/token", failure())
    with pytest.raises(kind):
        world.finish(query)
    world.later(minutes=2)
    (connection,) = world.finish(query)
    assert connection.status is ConnectionStatus.ACTIVE


def test_a_vault_that_is_down_leaves_the_state_usable(world, monkeypatch):
    """If the code verifier cannot be opened, nothing is sent, and the same callback connects later."""

    def refuse(*_):
        raise VaultError("Down.")

    query = consented(world)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.keeper.vault), "open", refuse)
        with pytest.raises(VaultError):
            world.finish(query)
    assert world.vendor.log == []
    assert world.finish(query)


def test_a_redirect_to_a_foreign_server_leaves_the_state_usable():
    """A redirect that names a host that is not the provider's sends nothing, and the right one connects."""

    def refuse(app, hints):
        if hints.get("server") == "evil":
            raise ForbiddenHostError("Not the provider's.")
        return usual(app, hints)

    acme = make_acme()
    usual = acme.oauth.token_endpoint
    world = World(attrs.evolve(acme, oauth=attrs.evolve(acme.oauth, token_endpoint=refuse)))
    query = consented(world)
    with pytest.raises(ForbiddenHostError):
        world.finish({**query, "server": "evil"})
    assert world.vendor.log == []
    assert world.finish(query)


def test_an_exchange_of_unknown_outcome_is_asked_once_more(world):
    """If the exchange's request may have arrived, the same code is sent once more, at once."""
    query = consented(world)
    fail(world, "/oauth/token", ProviderUnavailableError("No answer.", outcome_unknown=True))
    assert world.finish(query)
    assert world.vendor.count(EXCHANGE) == 2


def test_a_code_whose_tokens_were_lost_is_final(world):
    """If the provider has exchanged the code and its answer was lost, the user has to start again, also on a repeat."""
    query = consented(world)

    def lose(request):
        world.vendor.before = lambda _: None
        world.vendor._answer(request, "/oauth/token")
        raise ProviderUnavailableError("Cut.", outcome_unknown=True)

    world.vendor.before = lose
    with pytest.raises(ReauthorizationRequiredError):
        world.finish(query)
    with pytest.raises(ReauthorizationRequiredError):
        world.finish(query)
    assert world.vendor.count(EXCHANGE) == 2


def test_a_code_is_needed(world):
    """A redirect without a code is a validation error, and the right one still connects."""
    query = consented(world)
    for code in ({}, {"code": ""}):
        with pytest.raises(ValidationError):
            world.finish({"state": query["state"], **code})
    assert world.finish(query)


# --- who may -------------------------------------------------------------------------------------------------------


def wrong_ones(world, query):
    """Callbacks that must be refused, by what is wrong with them."""
    other = attrs.evolve(make_acme(), slug="other")
    world.connectors.providers._providers["other"] = other
    world.connectors.connect.authorizations.apps["other"] = attrs.evolve(world.app, provider="other")
    return {
        "provider": lambda: world.connectors.connect.complete_authorization("other", query),
        "operator": lambda: world.finish(query, may_act_for=lambda tenant: tenant == OTHER_TENANT),
        "tenant": lambda: world.finish(query, tenant_id=OTHER_TENANT),
        "state": lambda: world.finish({**query, "state": query["state"] + "x"}),
    }


@pytest.mark.parametrize("wrong", ["provider", "operator", "tenant", "state"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_wrong_callback_changes_nothing(world, wrong, finished):
    """Before and after the right callback, a wrong one is refused, asks nobody anything, and does not use the state up."""
    query = consented(world)
    first = world.finish(query) if finished else None
    before, calls = request_of(world), len(world.vendor.log)
    with pytest.raises(StateUnknownError):
        wrong_ones(world, query)[wrong]()
    assert (request_of(world), len(world.vendor.log)) == (before, calls)
    (connection,) = world.finish(query)
    assert first in (None, (connection,))
    assert world.vendor.count(EXCHANGE) == 1


def test_another_code_is_refused(world):
    """After the first code, another one with the same state is refused, and the first one still gets its connections."""
    query = consented(world)
    first = world.finish(query)
    for code in ("another", query["code"] + "x", ""):
        with pytest.raises(StateUnknownError):
            world.finish({**query, "code": code})
    assert world.finish(query) == first


# --- two at once ---------------------------------------------------------------------------------------------------


def test_racing_callbacks_give_one_answer():
    """Of sixteen callbacks with one state, one exchanges the code, and all get its connection."""
    world = World(clock=StillClock())
    query = consented(world)
    gate, results = threading.Barrier(16), []

    def call():
        gate.wait()
        results.append(tuple(one.id for one in world.finish(query)))

    threads = [threading.Thread(target=call) for _ in range(16)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    assert (len(results), len(set(results))) == (16, 1)
    assert world.vendor.count(EXCHANGE) == 1


def test_a_callback_waits_no_longer_than_ten_seconds(world):
    """While the first one is still at work, the second gives up after ten seconds, holding no database meanwhile."""
    query = consented(world)
    began = world.clock.now()
    refused = []

    def exchange_slowly(request):
        if not refused and request.url.endswith("/oauth/token"):
            with pytest.raises(BusyError) as caught:
                world.finish(query)
            refused.append((caught.value.code, world.clock.now() - began))

    world.vendor.before = exchange_slowly
    first = world.finish(query)
    assert refused == [("SERVICE_UNAVAILABLE", LONGEST_WAIT)]
    assert world.finish(query) == first
    assert world.vendor.count(EXCHANGE) == 1


def die_in_exchange(world, query):
    fail(world, "/oauth/token", Killed())
    with pytest.raises(Killed):
        world.finish(query)


def test_after_a_crash_the_code_is_exchanged_once_more(world):
    """If the first one's process died, the next callback after its lease exchanges the code."""
    query = consented(world)
    die_in_exchange(world, query)
    with pytest.raises(BusyError):
        world.finish(query)
    assert world.vendor.count(EXCHANGE) == 1
    world.later(seconds=(LEASE_LIFETIME - LONGEST_WAIT).total_seconds())
    assert world.finish(query)
    assert world.vendor.count(EXCHANGE) == 2


def test_after_a_crash_only_the_same_code_is_accepted(world):
    """If the first one's process died, another code is refused, and the first code still works."""
    query = consented(world)
    die_in_exchange(world, query)
    world.clock.advance(LEASE_LIFETIME)
    with pytest.raises(StateUnknownError):
        world.finish({**query, "code": consented(world)["code"]})
    assert world.finish(query)


def test_a_state_lives_as_long_as_its_first_callback(world):
    """A callback in the state's last second finishes after its expiry, and its repeat gets the same."""
    query = consented(world)
    world.later(minutes=10, seconds=-1)

    def exchange_slowly(request):
        if request.url.endswith("/oauth/token"):
            world.later(seconds=60)
            world.tick()

    world.vendor.before = exchange_slowly
    first = world.finish(query)
    assert [one.id for one in world.finish(query)] == [one.id for one in first]


def test_who_is_overtaken_answers_what_the_other_one_did(world):
    """A callback that was slower than its lease stores nothing more, and answers the other's connections."""
    query = consented(world)
    other = []

    def be_slow(request):
        if request.url.endswith("/api/accounts") and not other:
            other.append(None)
            world.clock.advance(LEASE_LIFETIME)
            other[0] = world.finish(query)

    world.vendor.before = be_slow
    assert [one.id for one in world.finish(query)] == [one.id for one in other[0]]
    # The other one went on with the tokens that the first had kept.
    assert world.vendor.count(EXCHANGE) == 1
    assert [family.dead for family in world.vendor.families] == [False]
    (connection,) = world.finish(query)
    assert world.tokens(connection).access_token.reveal() == world.vendor.families[0].access


def test_who_is_overtaken_and_fails_answers_what_the_other_one_did(world):
    """A callback whose late exchange fails answers the connections of the one that has taken over."""
    query = consented(world)
    other = []

    def be_slow(request):
        if request.url.endswith("/oauth/token") and not other:
            other.append(None)
            world.clock.advance(LEASE_LIFETIME)
            other[0] = world.finish(query)

    world.vendor.before = be_slow
    assert [one.id for one in world.finish(query)] == [one.id for one in other[0]]
    assert world.vendor.count(EXCHANGE) == 2


def test_a_commit_of_unknown_outcome_is_no_second_exchange(world, monkeypatch):
    """If the connections were stored and the database said otherwise, the repeat gets them."""
    query = consented(world)
    authorizations = type(world.connectors.connect.authorizations)
    finish, failures = authorizations.finish, []

    class Unsure:
        def __init__(self, inner):
            self.inner = inner

        def __enter__(self):
            return self.inner.__enter__()

        def __exit__(self, *error):
            self.inner.__exit__(*error)
            if failures.pop() if failures else False:
                raise InfrastructureError("The connection broke during the commit.")

    def note(self, *args):
        failures.append(True)
        return finish(self, *args)

    monkeypatch.setattr(authorizations, "finish", note)
    connect = attrs.evolve(world.connectors.connect, unit_of_work=lambda: Unsure(world.uow()))
    with pytest.raises(InfrastructureError):
        connect.complete_authorization("acme", query)
    (connection,) = world.finish(query)
    assert (connection.status, world.vendor.count(EXCHANGE)) == (ConnectionStatus.ACTIVE, 1)
    assert not world.vendor.families[0].dead


def test_a_database_that_fails_before_the_claim_costs_no_consent(world):
    """If our database fails while the account is asked for, the repeat goes on with the tokens that are on record."""
    query = consented(world)
    fail(world, "/api/accounts", InfrastructureError("The database is down."))
    with pytest.raises(InfrastructureError):
        world.finish(query)
    (connection,) = world.finish(query)
    assert (connection.status, world.vendor.count(EXCHANGE)) == (ConnectionStatus.ACTIVE, 1)
    assert [family.dead for family in world.vendor.families] == [False]


def test_tokens_that_nobody_claims_are_ended(world):
    """If the process dies after the exchange and nobody comes back, a worker revokes what the code gave."""
    query = consented(world)
    fail(world, "/api/accounts", InfrastructureError("The process is about to die."))
    with pytest.raises(InfrastructureError):
        world.finish(query)
    (kept,) = world.grants()
    assert kept.state is GrantState.NEW
    world.clock.advance(ABANDONED_AFTER)
    world.tick()
    world.work()
    assert (world.grants(), [family.dead for family in world.vendor.families]) == ([], [True])


def test_a_store_that_fails_is_told_at_once(world, monkeypatch):
    """If our database fails while the connections are stored, the repeat does not wait, and needs no second exchange."""
    query = consented(world)

    def refuse(*_):
        raise InfrastructureError("The database is down.")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.connectors.connect.authorizations), "finish", refuse)
        with pytest.raises(InfrastructureError):
            world.finish(query)
    began = world.clock.now()
    (connection,) = world.finish(query)
    assert (world.clock.now(), world.vendor.count(EXCHANGE)) == (began, 1)
    assert [one.id for one in world.grants()] == [connection.grant_id]


def test_a_release_that_fails_hides_no_error(world, monkeypatch):
    """If the database fails, too, the provider's error is told, and the state is usable when the lease has run out."""
    query = consented(world)

    def refuse(*_):
        raise InfrastructureError("The database is down.")

    with world.uow() as uow:
        store = type(uow.authorization_requests)
    fail(world, "/oauth/token", ProviderUnavailableError("No connection."))
    with monkeypatch.context() as patch:
        patch.setattr(store, "release", refuse)
        with pytest.raises(ProviderUnavailableError):
            world.finish(query)
    world.clock.advance(LEASE_LIFETIME)
    assert world.finish(query)


def test_a_consent_of_a_tenant_that_is_erased_meanwhile(world):
    """If the tenant is erased while its callback is at work, it is not found, and the new tokens are revoked."""
    query = consented(world)

    def erase(request):
        if request.url.endswith("/api/accounts"):
            world.vendor.before = lambda _: None
            world.connectors.tenants.erase(TENANT)

    world.vendor.before = erase
    with pytest.raises(TenantNotFoundError):
        world.finish(query)
    assert [family.dead for family in world.vendor.families] == [True]
    with pytest.raises(StateUnknownError):
        world.finish(query)


def test_the_wait_is_by_short_looks(world):
    """The waiting callback looks every tenth of a second."""
    query = consented(world)
    die_in_exchange(world, query)
    slept = []
    sleep = world.clock.sleep
    world.clock.sleep = lambda duration: slept.append(duration) or sleep(duration)
    with pytest.raises(BusyError):
        world.finish(query)
    assert set(slept) == {timedelta(seconds=0.1)}


# --- whatever comes ------------------------------------------------------------------------------------------------

TROUBLE = {
    "token endpoint down": ("/oauth/token", lambda: ProviderUnavailableError("No connection.")),
    "exchange lost": ("/oauth/token", lambda: ProviderUnavailableError("Cut.", outcome_unknown=True)),
    "killed in the exchange": ("/oauth/token", Killed),
    "code refused": ("/oauth/token", lambda: answer({"error": "invalid_grant"}, 400)),
    "account refused": ("/api/accounts", lambda: answer({}, 404)),
    "killed after the exchange": ("/api/accounts", Killed),
    "database down after the exchange": ("/api/accounts", lambda: InfrastructureError("Down.")),
}
CALLBACKS = {
    "right": {},
    "other code": {"code": "other"},
    "no code": {"code": ""},
    "denied": {"code": "", "error": "access_denied"},
    "denied, and a code": {"error": "access_denied"},
}
TEMPORARY = (BusyError, InfrastructureError, RateLimitedError, ProviderUnavailableError)
REFUSED = (StateUnknownError, ValidationError)


@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(list(CALLBACKS)),
            st.sampled_from(list(TROUBLE)),
            st.integers(min_value=1, max_value=400),
        ),
        max_size=12,
    )
)
def test_every_final_answer_to_one_state_is_the_same(steps):
    """Whatever callbacks come, and whatever fails, one code is exchanged at most once, and one final answer is given."""
    world = World()
    query = consented(world)
    world.vendor.codes["other"] = world.vendor.codes[query["code"]]
    finals = set()
    for step in steps:
        if isinstance(step, int):
            world.later(seconds=step)
            world.tick()
        elif step in TROUBLE:
            path, failure = TROUBLE[step]
            fail(world, path, failure())
        else:
            try:
                finals.add(tuple(one.id for one in world.finish({**query, **CALLBACKS[step]})))
            except (Killed, *TEMPORARY, *REFUSED):
                pass
            except ConnectorsError as error:
                finals.add((error.code, error.message, repr(error.details), error.next_step))
    assert len(finals) <= 1
    assert len(world.vendor.families) <= 1
    alive = [
        one for one in finals if one and one[0] not in {"OAUTH_DENIED", "REAUTHORIZATION_REQUIRED", "PROVIDER_ERROR"}
    ]
    assert len(world.connectors.queries.list_connections(TENANT).items) == len(alive)
