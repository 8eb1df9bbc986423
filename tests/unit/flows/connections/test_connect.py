"""Connecting and disconnecting accounts."""

import logging
import threading
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

from connectors.domain.flows.connections.connect import ConnectFlow
from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.errors import (
    ConnectionNotFoundError,
    InsufficientScopeError,
    ProviderNotConfiguredError,
    ProviderUnavailableError,
    ReauthorizationRequiredError,
    StateUnknownError,
    TenantNotFoundError,
    ValidationError,
    VaultError,
)
from connectors.domain.model.health import Health, health_of
from connectors.domain.model.ids import UNROUTED
from connectors.domain.model.sync import JobType
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.domain.providers.contract import RevocationScope
from tests.support.builders import OTHER_TENANT, TENANT, make_sealed
from tests.support.provider import make_acme
from tests.support.vendor import Vendor, answer
from tests.support.world import World, created

TWO_SITES = [
    {"id": "s-1", "name": "one", "email": "lee@acme.test"},
    {"id": "s-2", "name": "two", "email": "lee@acme.test"},
]


@pytest.fixture
def world():
    return World()


def configured(world, **changes):
    """The world's connect flow with other settings."""
    flow: ConnectFlow = world.connectors.connect
    settings = attrs.evolve(flow.settings, **changes)
    return attrs.evolve(flow, settings=settings, authorizations=attrs.evolve(flow.authorizations, settings=settings))


def query_of(start):
    return {name: values[0] for name, values in parse_qs(urlsplit(start.authorize_url).query).items()}


def requests_of(world):
    with world.uow() as uow:
        return uow.authorization_requests._rows.values()


# --- consent -------------------------------------------------------------------------------------------------------


def test_a_consent_becomes_a_working_connection(world):
    """The tenant is recorded, the account connected, its hook made, and an incremental read and a backfill queued."""
    connection = world.connect(options={"packages": ["x"]})
    assert (connection.status, connection.account.id) == (ConnectionStatus.ACTIVE, "a-1")
    assert connection.metadata == {"packages": ["x"], "hooked": True}
    assert connection.expires_at == world.clock.now() + timedelta(hours=1)
    (subscription,) = world.subscriptions(connection)
    assert (subscription.status, subscription.external_id) == (SubscriptionStatus.ACTIVE, world.hook(connection)["id"])
    assert sorted((one.type, one.since) for one in world.jobs()) == [
        (JobType.BACKFILL, world.clock.now() - timedelta(days=30)),
        (JobType.INCREMENTAL, None),
    ]


def test_only_the_hash_of_a_state_is_stored(world):
    """The state itself is nowhere in the store."""
    state = query_of(world.start())["state"]
    rows = requests_of(world)
    assert state not in repr(rows)
    assert not any(state.encode() in row.state_hash for row in rows)


@pytest.mark.parametrize("state", [None, "", "never-was", "\udcff", "\0"])
def test_a_foreign_state_is_unknown(world, state):
    """A missing, empty, invented or malformed state is unknown, and the vendor gets no request."""
    query = {"code": "c"} if state is None else {"code": "c", "state": state}
    with pytest.raises(StateUnknownError):
        world.finish(query)
    assert world.vendor.log == []


def test_a_state_expires(world):
    """A state is unknown from ten minutes after its issue, and known until then."""
    early, late = (world.vendor.consent(world.start().authorize_url) for _ in range(2))
    world.later(minutes=10, microseconds=-1)
    world.finish(early)
    world.later(microseconds=1)
    with pytest.raises(StateUnknownError):
        world.finish(late)


def test_racing_consents_give_one_connection(world):
    """Two consents of one account at the same time give one connection with one grant that can be opened."""
    queries = [world.vendor.consent(world.start().authorize_url) for _ in range(4)]
    threads = [threading.Thread(target=world.finish, args=(query,)) for query in queries]
    [one.start() for one in threads]
    [one.join() for one in threads]
    (connection,) = world.connectors.queries.list_connections(TENANT).items
    world.end_all()
    assert [one.id for one in world.grants()] == [connection.grant_id]
    (alive,) = [one.access for one in world.vendor.families if not one.dead]
    assert world.tokens(connection).access_token.reveal() == alive


def test_too_few_scopes_store_nothing(world):
    """A user who grants less than is needed gets no connection and leaves no grant."""
    with pytest.raises(InsufficientScopeError, match="items:read"):
        world.finish(world.vendor.consent(world.start().authorize_url, scope="admin"))
    assert world.grants() == []
    assert world.connectors.queries.list_connections(TENANT).items == ()
    assert world.vendor.count("POST /oauth/revoke") == 1  # nothing will ever use these tokens


def test_an_invalid_code_needs_another_consent(world):
    """A code that the vendor does not accept leaves nothing behind."""
    query = world.vendor.consent(world.start().authorize_url)
    world.vendor.codes.clear()
    with pytest.raises(ReauthorizationRequiredError):
        world.finish(query)
    assert world.grants() == []


def test_connecting_again_updates(world):
    """The same account connected again is the same connection with new tokens, one hook and one set of first reads."""
    first = world.connect(options={"packages": ["x"]})
    old = world.tokens(first).access_token.reveal()
    world.later(hours=5)
    second = world.connect(options={"packages": ["y"]})
    assert (second.id, second.created_at) == (first.id, first.created_at)
    assert second.metadata["packages"] == ["y"]
    assert world.tokens(second).access_token.reveal() != old
    assert (len(world.grants()), len(world.vendor.hooks), len(world.jobs())) == (1, 1, 2)


def test_connecting_again_reactivates(world):
    """A connection whose grant died is active again after another consent."""
    connection = world.connect()
    world.vendor.kill()
    with pytest.raises(ReauthorizationRequiredError):
        world.connectors.connect.refresh(TENANT, connection.id)
    assert world.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED
    again = world.connect()
    assert (again.id, again.status, again.status_reason) == (connection.id, ConnectionStatus.ACTIVE, None)


class Withholding(Vendor):
    """A vendor that gives a refresh token with the first consent only."""

    gives = 1

    def _issue(self, family):
        given = super()._issue(family)
        self.gives -= 1
        if self.gives >= 0:
            return given
        return answer({name: value for name, value in given.json_object().items() if name != "refresh_token"})


def test_a_consent_without_a_refresh_token_keeps_the_present_one():
    """The connection goes on with the new access token, and is refreshed with the old refresh token."""
    world = World(make_acme(oauth={"reuse_window": None}), vendor=Withholding)
    kept = world.tokens(world.connect()).refresh_token.reveal()
    again = world.connect()
    stored = world.tokens(again)
    assert (stored.refresh_token.reveal(), stored.access_token.reveal()) == (kept, world.vendor.families[-1].access)
    assert (again.reason_code, health_of(again)) == (None, Health.HEALTHY)


def test_a_first_consent_without_a_refresh_token_is_told():
    """The connection works and is degraded, until a consent brings one."""
    world = World(vendor=Withholding)
    world.vendor.gives = 0
    mortal = world.connect()
    assert (mortal.status, mortal.reason_code) == (ConnectionStatus.ACTIVE, ReasonCode.NO_REFRESH_TOKEN)
    assert health_of(mortal) is Health.DEGRADED
    world.vendor.gives = 1
    assert world.connect().reason_code is None


def test_a_consent_after_a_lost_key_needs_nothing_of_the_former_one():
    """What cannot be opened is not kept, and does not hinder the consent that mends it."""
    world = World(make_acme(oauth={"reuse_window": None}), vendor=Withholding)
    connection = world.connect()
    with world.uow() as uow:
        uow.grants.save(attrs.evolve(world.grant(connection), token_set=make_sealed("lost")))
    assert world.connect().reason_code is ReasonCode.NO_REFRESH_TOKEN


def test_connecting_again_keeps_concurrent_writes(world, monkeypatch):
    """What a sync run writes to the connection between our read and our write stays."""
    connection = world.connect()
    with world.uow() as uow:
        found = type(uow.connections).find_by_account
        later = attrs.evolve(connection, metadata={**connection.metadata, "chosen": "by a sync run"})
        uow.connections.save(later)
    reads = []

    def find_late(self, *key):
        reads.append(key)
        if len(reads) == 1:
            return connection  # what was there before the sync run wrote
        return found(self, *key)

    monkeypatch.setattr(type(uow.connections), "find_by_account", find_late)
    world.connect()
    assert len(reads) > 1
    assert world.reload(connection).metadata["chosen"] == "by a sync run"


def test_several_accounts_share_one_grant(world):
    """A consent for two accounts gives two connections with one token pair."""
    world.vendor.accounts["lee"] = TWO_SITES
    connections = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    assert [one.account.id for one in connections] == ["s-1", "s-2"]
    assert len({one.grant_id for one in connections}) == len(world.grants()) == 1


def test_connections_are_locked_oldest_first(world, monkeypatch):
    """A consent locks its connections in the order of their age, in whichever order the vendor lists the accounts."""
    for listed in (TWO_SITES[1:], TWO_SITES):
        world.vendor.accounts["lee"] = listed
        world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
        world.clock.advance(timedelta(minutes=1))
    locked = []
    store = type(world.connectors.connect.unit_of_work().connections)
    get = store.get

    def noting(self, tenant_id, connection_id, *, lock=False):
        row = get(self, tenant_id, connection_id, lock=lock)
        if lock and row.account.id not in locked:
            locked.append(row.account.id)
        return row

    monkeypatch.setattr(store, "get", noting)
    world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    assert locked == ["s-2", "s-1"]


def test_a_grant_without_connections_is_ended(world):
    """When another user connects the account, the former user's hook is removed with his own tokens, and then these."""
    first = world.connect()
    world.vendor.accounts["bob"] = [{"id": "a-1", "name": "ada", "email": "bob@acme.test"}]
    world.vendor.log.clear()
    connection = world.connect(user="bob")
    world.end_all()
    assert [one.id for one in world.grants()] == [connection.grant_id]
    assert [family.dead for family in world.vendor.families] == [True, False]
    assert connection.id == first.id
    assert world.hook(connection)["id"] in world.vendor.hooks


def test_what_a_new_consent_replaces_is_revoked(world):
    """However often an account is connected, one token set of it lives, and none after the goodbye."""
    for _ in range(5):
        connection = world.connect()
    assert [family.dead for family in world.vendor.families] == [True] * 4 + [False]
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert all(family.dead for family in world.vendor.families)


def test_a_second_consent_with_the_same_token_ends_nothing():
    """Where the vendor answers with what it gave at the first consent, nothing is revoked."""
    world = World()
    connection = world.connect()
    access, refresh = world.vendor.families[0].access, world.vendor.families[0].refresh
    same = {"access_token": access, "refresh_token": refresh, "expires_in": 3600, "scope": "items:read"}
    world.vendor.before = lambda request: answer(same) if request.url.endswith("/oauth/token") else None
    again = world.connect()
    assert (again.id, again.grant_id) == (connection.id, connection.grant_id)
    assert world.vendor.count("POST /oauth/revoke") == 0
    assert len(world.grants()) == 1


def test_the_nil_tenant_cannot_connect(world):
    """No authorization is started for the nil UUID."""
    with pytest.raises(TenantNotFoundError):
        world.start(UNROUTED)


def test_an_unconfigured_provider_says_what_to_set(world):
    """Without a client id there is no authorization, and the error names the variables."""
    world.connectors.apps.clear()
    with pytest.raises(ProviderNotConfiguredError) as caught:
        world.start()
    assert "POBLYSH_ACME_CLIENT_ID" in caught.value.next_step


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        (None, True),
        ("https://core.invalid/callback/acme", True),
        ("https://app.example/back/acme", True),
        ("https://fixed.example/", True),
        ("https://app.example/back/github", False),
        ("https://app.example/back/{provider}", False),
        ("https://fixed.example", False),
        ("https://fixed.example/?x", False),
        ("https://evil.example/", False),
        ("", False),
    ],
)
def test_redirect_uris_are_allowed_exactly(world, wanted, allowed):
    """Only the configured URI and those of the list are accepted, `{provider}` filled in, to the letter."""
    listed = ("https://app.example/back/{provider}", "https://fixed.example/")
    flow = configured(world, allowed_redirect_uris=listed)
    if allowed:
        start = flow.start_authorization(TENANT, "acme", redirect_uri=wanted)
        assert query_of(start)["redirect_uri"] == (wanted or "https://core.invalid/callback/acme")
        assert flow.complete_authorization("acme", world.vendor.consent(start.authorize_url))
    else:
        with pytest.raises(ValidationError):
            flow.start_authorization(TENANT, "acme", redirect_uri=wanted)


def test_without_a_redirect_uri_nothing_starts(world):
    """If none is configured or requested, the error tells the operator to set it."""
    with pytest.raises(ProviderNotConfiguredError, match="redirect URI"):
        configured(world, redirect_uri=None).start_authorization(TENANT, "acme")


def test_the_verifier_matches_the_challenge(world):
    """The vendor checks PKCE, and each authorization has its own verifier, stored sealed."""
    start = world.start()
    query = query_of(start)
    assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
    assert query_of(world.start())["code_challenge"] != query["code_challenge"]
    world.finish(world.vendor.consent(start.authorize_url))
    form = parse_qs(next(one for one in world.vendor.requests if one.url.endswith("/token")).body.decode())
    assert len(form["code_verifier"][0]) == 43


def test_a_provider_without_pkce_gets_no_challenge():
    """Without PKCE no challenge is sent and no verifier stored."""
    world = World(make_acme(oauth={"pkce": False}))
    start = world.start()
    assert "code_challenge" not in query_of(start)
    world.finish(world.vendor.consent(start.authorize_url))
    assert b"code_verifier" not in world.vendor.requests[0].body


def test_no_secret_is_ever_shown(world, caplog):
    """No log line and no repr of the whole process contains a token, secret, code or state."""
    caplog.set_level(logging.DEBUG)
    start = world.start()
    query = world.vendor.consent(start.authorize_url)
    (connection,) = world.finish(query)
    seen = [start, connection, world.grants(), world.tokens(connection), world.subscriptions(connection), world.app]
    secrets = {query["state"], query["code"], world.hook(connection)["secret"], "acme-secret"}
    secrets |= {world.vendor.families[0].access, world.vendor.families[0].refresh}
    acceptance = world.deliver(created(), secret=world.hook(connection)["secret"], hook=world.hook(connection)["id"])
    seen += [acceptance, world.deliveries(), world.signals(), world.request(created())]
    world.connectors.connect.refresh(TENANT, connection.id)
    secrets |= {world.vendor.families[0].access, world.vendor.families[0].refresh}
    assert world.connectors.run_pending() == len(world.jobs()) == 2
    world.vendor.before = lambda request: answer(status=503) if request.url.endswith("/revoke") else None
    seen += [world.connectors.disconnect.end_connection(TENANT, connection.id), world.vendor.requests, world.connectors]
    with pytest.raises(StateUnknownError) as caught:
        world.finish({**query, "code": "another"})
    seen += requests_of(world)
    shown = caplog.text + repr([vars(one) for one in caplog.records]) + repr(seen) + repr(caught.value)
    assert [secret for secret in secrets if secret in shown] == []


# --- disconnecting -------------------------------------------------------------------------------------------------


def test_disconnecting_ends_everything(world):
    """The hook is removed before the tokens are revoked, then all secrets here are destroyed; the signals stay."""
    connection = world.connect()
    hook = world.hook(connection)
    world.deliver(created(), secret=hook["secret"], hook=hook["id"])
    world.vendor.log.clear()
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert world.vendor.log == [f"DELETE /api/hooks/{hook['id']}", "POST /oauth/revoke"]
    assert (ended.status, ended.last_error) == (ConnectionStatus.REVOKED, None)
    assert world.grants() == []
    assert [(one.status, one.secret) for one in world.subscriptions(connection)] == [(SubscriptionStatus.ENDED, None)]
    assert len(world.signals()) == 1
    assert world.vendor.families[0].dead


def test_disconnecting_twice_is_harmless(world):
    """The second time the vendor gets no request, and the first errors can still be read."""
    connection = world.connect()
    world.vendor.before = lambda request: answer(status=503)
    first = world.connectors.disconnect.end_connection(TENANT, connection.id)
    calls = len(world.vendor.log)
    assert world.connectors.disconnect.end_connection(TENANT, connection.id) == first
    assert len(world.vendor.log) == calls
    assert "box:ada: " in first.last_error


@pytest.mark.parametrize("down", ["silent", 503, 429])
def test_a_vendor_that_is_down_is_asked_for_a_day(world, down):
    """The connection has ended at once. What the vendor refuses is tried again, the hook before the tokens."""
    connection = world.connect()

    def refuse(request):
        if down == "silent":
            raise ProviderUnavailableError("No answer.", outcome_unknown=True)
        return answer(status=down)

    world.vendor.before = refuse
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert ended.status is ConnectionStatus.REVOKED
    assert "box:ada:" in ended.last_error
    assert len(world.grants()) == 1
    world.clock.advance(timedelta(hours=12))
    world.vendor.before = lambda request: None
    world.vendor.log.clear()
    world.end_all()
    assert [one for one in world.vendor.log if "hooks" in one or "revoke" in one] == [
        f"DELETE /api/hooks/{world.subscriptions(connection)[0].external_id}",
        "POST /oauth/revoke",
    ]
    assert (world.grants(), world.vendor.hooks, world.reload(connection).last_error) == ([], {}, None)


@pytest.mark.parametrize("down", ["silent", 503, 401, 429])
def test_a_failing_vendor_does_not_keep_secrets_here(world, down):
    """Whatever the vendor does, the secrets are destroyed after a day, and the errors are on the connection."""
    connection = world.connect()

    def refuse(request):
        if down == "silent":
            raise ProviderUnavailableError("No answer.", outcome_unknown=True)
        return answer(status=down)

    world.vendor.before = refuse
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    world.end_all()
    ended = world.reload(connection)
    assert ended.status is ConnectionStatus.REVOKED
    assert "box:ada:" in ended.last_error
    assert world.grants() == []
    assert all(one.secret is None for one in world.subscriptions(connection))


def test_a_grant_that_cannot_be_opened_can_be_disconnected(world, monkeypatch):
    """A lost vault key does not prevent the deletion of what it sealed."""
    connection = world.connect()

    def refuse(sealed, context):
        raise VaultError("The key is gone.")

    monkeypatch.setattr(type(world.keeper.vault), "open", lambda self, sealed, context: refuse(sealed, context))
    ended = world.connectors.disconnect.end_connection(TENANT, connection.id)
    assert len(world.grants()) == 1  # an operator may still add the key
    world.end_all()
    assert (ended.status, world.grants()) == (ConnectionStatus.REVOKED, [])


def test_a_shared_grant_is_revoked_with_its_last_connection(world):
    """While another connection uses the grant it is neither revoked nor deleted."""
    world.vendor.accounts["lee"] = TWO_SITES
    one, two = world.finish(world.vendor.consent(world.start().authorize_url, "lee"))
    world.connectors.disconnect.end_connection(TENANT, one.id)
    assert world.vendor.count("POST /oauth/revoke") == 0
    assert world.connectors.connect.refresh(TENANT, two.id).status is ConnectionStatus.ACTIVE
    world.connectors.disconnect.end_connection(TENANT, two.id)
    assert (world.vendor.count("POST /oauth/revoke"), world.grants()) == (1, [])


@pytest.mark.parametrize(("limit_scope", "revoked"), [(RevocationScope.ACCOUNT, 0), (RevocationScope.GRANT, 1)])
def test_a_revocation_that_affects_other_tenants_waits(limit_scope, revoked):
    """Where a revocation ends all of a user's grants, only the last tenant's disconnect revokes."""
    world = World(make_acme(oauth={"revocation_scope": limit_scope}))
    mine, theirs = world.connect(TENANT), world.connect(OTHER_TENANT)
    world.connectors.disconnect.end_connection(TENANT, mine.id)
    assert world.vendor.count("POST /oauth/revoke") == revoked
    world.connectors.disconnect.end_connection(OTHER_TENANT, theirs.id)
    assert world.vendor.count("POST /oauth/revoke") == revoked + 1


def test_connections_of_other_tenants_cannot_be_changed(world):
    """Another tenant's connection is not found, for refreshing and for disconnecting."""
    connection = world.connect()
    for verb in (world.connectors.connect.refresh, world.connectors.disconnect.end_connection):
        with pytest.raises(ConnectionNotFoundError):
            verb(OTHER_TENANT, connection.id)
    assert world.reload(connection).status is ConnectionStatus.ACTIVE


def test_a_token_without_expiry_is_checked_instead(world):
    """Refreshing a connection whose tokens never expire checks them with the vendor, and a refusal ends it."""
    world.vendor.expiring = False
    connection = world.connect()
    world.vendor.log.clear()
    world.connectors.connect.refresh(TENANT, connection.id)
    assert world.vendor.log == ["GET /api/accounts"]
    world.vendor.kill()
    with pytest.raises(ReauthorizationRequiredError):
        world.connectors.connect.refresh(TENANT, connection.id)
    assert world.reload(connection).status is ConnectionStatus.REAUTHORIZATION_REQUIRED


def test_a_disconnected_connection_cannot_be_refreshed(world):
    """It has no tokens, so the error asks for another consent."""
    connection = world.connect()
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    with pytest.raises(ReauthorizationRequiredError):
        world.connectors.connect.refresh(TENANT, connection.id)
