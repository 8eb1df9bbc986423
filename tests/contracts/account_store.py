"""What every store of accounts does."""

import attrs
from hypothesis import given

from connectors.adapters.storable import as_stored
from tests.contracts.stream_rows import CONNECTION, at, full_account_state, make_account_state
from tests.contracts.stream_store import ODD_TEXT
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id


class AccountStoreContract(StoreContract):
    def test_an_account_comes_back_as_it_was(self, unit_of_work):
        """Every field survives being added and being saved, and a save replaces all of them."""
        bare, full = make_account_state(), full_account_state()
        with unit_of_work() as work:
            assert work.accounts.find(TENANT, CONNECTION) is None
            assert work.accounts.add(bare) == bare
            for state in (full, bare, full):
                work.accounts.save(state)
                assert work.accounts.find(TENANT, CONNECTION) == state
                assert work.accounts.find(TENANT, CONNECTION, lock=True) == state

    @given(ODD_TEXT)
    def test_odd_text_comes_back_storable(self, unit_of_work, text):
        """Text comes back with U+FFFD for what cannot be stored."""
        state = attrs.evolve(full_account_state(text), connection_id=make_id())
        with unit_of_work() as work:
            assert work.accounts.add(state) == as_stored(state)
            work.accounts.save(state)
            assert work.accounts.find(TENANT, state.connection_id) == as_stored(state)

    def test_one_that_is_there_stays(self, unit_of_work):
        """Adding a known account returns it and changes nothing; saving an unknown one does nothing."""
        first, second = make_account_state(run=1), full_account_state()
        with unit_of_work() as work:
            work.accounts.save(first)
            assert work.accounts.find(TENANT, CONNECTION) is None
            assert work.accounts.add(first) == first
            assert work.accounts.add(second) == first
            assert work.accounts.find(TENANT, CONNECTION) == first

    def test_an_account_is_its_tenants(self, unit_of_work):
        """Neither another tenant nor another connection finds or changes it."""
        mine = make_account_state()
        others = [make_account_state(tenant_id=OTHER_TENANT, run=2), make_account_state(connection_id=make_id(), run=3)]
        with unit_of_work() as work:
            work.accounts.add(mine)
            for one in others:
                assert work.accounts.find(one.tenant_id, one.connection_id) is None
                work.accounts.save(one)
                assert work.accounts.add(one) == one
            assert work.accounts.find(TENANT, CONNECTION) == mine

    def test_racing_adds_make_one(self, unit_of_work):
        """Of those who add the same account at once, all get the one that was first, locked: no change is lost."""

        def add(number):
            with unit_of_work() as work:
                state = work.accounts.add(make_account_state(last_turn=str(number)))
                work.accounts.save(attrs.evolve(state, run=state.run + 1))
                return state.last_turn

        assert len(set(race(add, 6))) == 1
        with unit_of_work() as work:
            assert work.accounts.find(TENANT, CONNECTION).run == 6

    def test_a_locked_account_waits_for_its_holder(self, unit_of_work):
        """Changes made under the lock are all kept."""
        with unit_of_work() as work:
            work.accounts.add(make_account_state())

        def take(_):
            with unit_of_work() as work:
                state = work.accounts.find(TENANT, CONNECTION, lock=True)
                work.accounts.save(attrs.evolve(state, run=state.run + 1))

        race(take, 6)
        with unit_of_work() as work:
            assert work.accounts.find(TENANT, CONNECTION).run == 6

    def test_running_ones_are_counted(self, unit_of_work):
        """Accounts that are being read are counted, of all tenants, or by tenant, by provider, or by both."""
        with unit_of_work() as work:
            for changes in (
                {},
                {"provider": SLACK},
                {"tenant_id": OTHER_TENANT},
                {"tenant_id": OTHER_TENANT, "running_since": None},
            ):
                work.accounts.add(make_account_state(**{"connection_id": make_id(), "running_since": NOW, **changes}))
            assert work.accounts.count_running() == 3
            assert work.accounts.count_running(tenant_id=TENANT) == 2
            assert work.accounts.count_running(provider=SLACK) == 1
            assert work.accounts.count_running(tenant_id=OTHER_TENANT, provider=GITHUB) == 1
            assert work.accounts.count_running(tenant_id=OTHER_TENANT, provider=SLACK) == 0

    def test_the_last_slot_is_taken_once(self, unit_of_work):
        """Of workers that count and then begin at once, no more get through than there are slots."""
        states = [make_account_state(connection_id=make_id()) for _ in range(6)]
        with unit_of_work() as work:
            for state in states:
                work.accounts.add(state)

        def begin(number):
            with unit_of_work() as work:
                state = work.accounts.find(TENANT, states[number].connection_id, lock=True)
                if work.accounts.count_running() >= 2:
                    return False
                work.accounts.save(attrs.evolve(state, running_since=NOW))
                return True

        assert sum(race(begin, len(states))) == 2

    def test_silent_ones(self, unit_of_work):
        """Of all tenants, those that are being read and have stored nothing since are listed, the longest first."""
        begun = {"running_since": at(-9)}
        silent = [
            make_account_state(connection_id=make_id(), heartbeat_at=at(-7), tenant_id=OTHER_TENANT, **begun),
            make_account_state(connection_id=make_id(), heartbeat_at=at(-6), **begun),
            make_account_state(connection_id=make_id(), running_since=at(-5)),
        ]
        others = [
            make_account_state(connection_id=make_id(), heartbeat_at=NOW, **begun),
            make_account_state(connection_id=make_id(), running_since=NOW),
            make_account_state(connection_id=make_id(), heartbeat_at=at(-8)),
        ]
        with unit_of_work() as work:
            for state in [*others, *silent[::-1]]:
                work.accounts.add(state)
            assert work.accounts.list_silent(before=NOW, limit=9) == silent
            assert work.accounts.list_silent(before=NOW, limit=2) == silent[:2]
            assert work.accounts.list_silent(before=at(-7), limit=9) == []
