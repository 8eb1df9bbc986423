"""What every connection store does."""

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus, ReasonCode
from connectors.domain.model.errors import ConnectionNotFoundError
from connectors.domain.model.paging import PageRequest
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_account, make_connection, make_id


class ConnectionStoreContract(StoreContract):
    def test_comes_back_as_it_was(self, unit_of_work):
        """Every field survives, instants to the microsecond."""
        account = make_account(url="https://acme.example", metadata={"email": "Lee@acme.example", "n": [1, None]})
        connection = make_connection(
            account=account,
            scopes=("repo", "user"),
            expires_at=NOW,
            metadata={"repositories": ["a"]},
            sync_error="x",
            webhook_error="y",
            end_error="z",
        )
        with unit_of_work() as work:
            assert work.connections.save(connection) == connection
        with unit_of_work() as work:
            assert work.connections.get(TENANT, connection.id, lock=True) == connection
            assert work.connections.find_by_account(TENANT, GITHUB, account.id) == connection

    def test_the_same_account_is_the_same_connection(self, unit_of_work):
        """A second connection to one account updates the first and keeps its id and creation."""
        first = make_connection()
        second = make_connection(account=attrs.evolve(first.account, name="renamed"), created_at=NOW.replace(year=2027))
        with unit_of_work() as work:
            work.connections.save(first)
            stored = work.connections.save(second)
        assert stored == attrs.evolve(second, id=first.id, created_at=first.created_at)
        with unit_of_work() as work:
            assert work.connections.list_all() == [stored]

    def test_an_account_taken_over_wins(self, unit_of_work):
        """Saved with an account that another of the tenant's connections has, that other one is updated."""
        first, second = make_connection(), make_connection()
        with unit_of_work() as work:
            work.connections.save(first)
            work.connections.save(second)
            moved = work.connections.save(attrs.evolve(second, account=first.account))
            assert moved.id == first.id
            changed = work.connections.save(attrs.evolve(second, account=make_account(id="fresh")))
            assert (changed.id, changed.account.id) == (second.id, "fresh")

    def test_racing_connects_make_one_connection(self, unit_of_work):
        """Two processes that connect one account at once end with one connection."""
        account = make_account()

        def connect(_):
            with unit_of_work() as work:
                return work.connections.save(make_connection(account=account)).id

        assert len(set(race(connect, 4))) == 1

    def test_others_tenants_connections_are_unknown(self, unit_of_work):
        """With another tenant's id a connection cannot be seen, found, listed or overwritten."""
        connection = make_connection()
        with unit_of_work() as work:
            work.connections.save(connection)
            work.connections.save(make_connection(id=connection.id, tenant_id=OTHER_TENANT, account=connection.account))
            assert work.connections.get(TENANT, connection.id) == connection
        with unit_of_work() as work:
            assert work.connections.find_by_account(OTHER_TENANT, SLACK, connection.account.id) is None
            assert len(work.connections.list_page(OTHER_TENANT, PageRequest()).items) == 1
            mine = work.connections.save(make_connection())
            with pytest.raises(ConnectionNotFoundError):
                work.connections.get(OTHER_TENANT, mine.id)
            assert work.connections.list_by_grant(OTHER_TENANT, mine.grant_id) == []

    def test_finds_accounts_across_tenants(self, unit_of_work):
        """`list_by_accounts` goes by id, by the host of the URL and by lower-case email, in every tenant."""
        by_id = make_connection(account=make_account(id="T1"))
        by_host = make_connection(account=make_account(url="https://Acme.Example:8443/x"), tenant_id=OTHER_TENANT)
        by_email = make_connection(account=make_account(metadata={"email": "Lee@Acme.example"}))
        other = make_connection(provider=SLACK, account=make_account(id="T1"))
        with unit_of_work() as work:
            for connection in (by_id, by_host, by_email, other, make_connection()):
                work.connections.save(connection)
            names = ["T1", "host:acme.example", "email:lee@acme.example", "email:nobody", "host:"]
            found = work.connections.list_by_accounts(GITHUB, names)
            assert {connection.id for connection in found} == {by_id.id, by_host.id, by_email.id}
            assert work.connections.list_by_accounts(GITHUB, []) == []

    def test_lists_oldest_first(self, unit_of_work):
        """The plain lists are in order of creation and narrow by provider, status and grant."""
        grant = make_id()
        old = make_connection(created_at=NOW.replace(year=2020), grant_id=grant)
        new = make_connection(created_at=NOW.replace(year=2030), grant_id=grant, status=ConnectionStatus.DISABLED)
        with unit_of_work() as work:
            work.connections.save(new)
            work.connections.save(old)
            work.connections.save(make_connection(provider=SLACK))
            assert work.connections.list_of_provider(TENANT, GITHUB) == [old, new]
            assert work.connections.list_of_provider(TENANT, GITHUB, ConnectionStatus.ACTIVE) == [old]
            assert work.connections.list_by_grant(TENANT, grant) == [old, new]
            assert work.connections.list_all(status=ConnectionStatus.DISABLED) == [new]

    def test_what_is_known_of_its_end_is_kept(self, unit_of_work):
        """Why it ended, since when it is suspected and when its user consented are stored; a consent is the creation
        where nothing else is said."""
        later = NOW.replace(year=2030)
        told = make_connection(reason_code=ReasonCode.TOKEN_DEAD, suspected_at=later, consented_at=later)
        plain = make_connection()
        with unit_of_work() as work:
            for one in (told, plain):
                assert work.connections.save(one) == one
                assert work.connections.get(TENANT, one.id) == one
        assert (plain.consented_at, plain.suspected_at, plain.reason_code) == (plain.created_at, None, None)

    def test_pages_newest_first(self, unit_of_work):
        """Pages are in descending order of (created_at, id), without gap or repetition, whatever is added in front."""
        with unit_of_work() as work:
            saved = [work.connections.save(make_connection()) for _ in range(5)]
            first = work.connections.list_page(TENANT, PageRequest(limit=2))
            work.connections.save(make_connection(created_at=NOW.replace(year=2030)))
            second = work.connections.list_page(TENANT, PageRequest(limit=3, after=first.next), provider=GITHUB)
            assert [*first.items, *second.items] == saved[::-1]
            assert second.next is None
            none = work.connections.list_page(TENANT, PageRequest(), status=ConnectionStatus.REVOKED)
            assert (none.items, none.next) == ((), None)

    def test_counts(self, unit_of_work):
        """Connections of all tenants are counted by provider and status."""
        with unit_of_work() as work:
            assert work.connections.count_by_status() == {}
            for changes in ({}, {"tenant_id": OTHER_TENANT}, {"provider": SLACK}, {"status": ConnectionStatus.REVOKED}):
                work.connections.save(make_connection(**changes))
            assert work.connections.count_by_status() == {
                (GITHUB, ConnectionStatus.ACTIVE): 2,
                (SLACK, ConnectionStatus.ACTIVE): 1,
                (GITHUB, ConnectionStatus.REVOKED): 1,
            }
