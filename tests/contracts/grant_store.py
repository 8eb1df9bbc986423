"""What every grant store does, leases above all."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ending import Ending
from connectors.domain.model.errors import ConflictError
from connectors.domain.model.ids import GrantId
from connectors.domain.model.oauth import GrantState
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import (
    GITHUB,
    NOW,
    OTHER_TENANT,
    SLACK,
    TENANT,
    make_connection,
    make_grant,
    make_id,
    make_sealed,
)

UNTIL = NOW + timedelta(seconds=30)
HOLD = timedelta(seconds=60)
MICROSECOND = timedelta(microseconds=1)
NOT_LIVE = [state for state in GrantState if state is not GrantState.LIVE]
GONE = (GrantState.ENDED, GrantState.LEFT)


class GrantStoreContract(StoreContract):
    @pytest.mark.parametrize("state", GrantState)
    def test_comes_back_as_it_was(self, unit_of_work, state):
        """Every field survives an insert and a replacement, with or without a key, tokens and an ending."""
        ending = Ending(since=NOW, failures=3, error="It was refused.")
        full = make_grant(state=state, refresh_expires_at=NOW, refresh_attempted_at=NOW, ending=ending)
        full = attrs.evolve(full, refresh_sent_at=UNTIL)
        bare = make_grant(id=full.id, state=state, grant_key=None, token_set=None, expires_at=None)
        for grant in (full, bare, full):
            with unit_of_work() as work:
                work.grants.save(grant)
            with unit_of_work() as work:
                assert work.grants.get(TENANT, grant.id) == grant
                assert work.grants.get(TENANT, grant.id, lock=True) == grant

    def test_a_replacement_keeps_the_creation(self, unit_of_work):
        """A grant's `created_at` is the first one's, whatever is saved later."""
        grant = make_grant()
        with unit_of_work() as work:
            work.grants.save(grant)
            work.grants.save(attrs.evolve(grant, created_at=UNTIL, updated_at=UNTIL))
            assert work.grants.get(TENANT, grant.id) == attrs.evolve(grant, updated_at=UNTIL)

    def test_is_its_tenants(self, unit_of_work):
        """Another tenant neither finds nor leases it."""
        grant = make_grant()
        with unit_of_work() as work:
            work.grants.save(grant)
            assert work.grants.get(OTHER_TENANT, grant.id) is None
            assert work.grants.find_live(OTHER_TENANT, GITHUB, grant.grant_key) is None
            assert work.grants.claim_refresh(OTHER_TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD) is None
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            assert not work.grants.record_attempt(OTHER_TENANT, lease, now=NOW)
            assert _refreshed(work, lease, tenant_id=OTHER_TENANT) is None
            work.grants.release(OTHER_TENANT, lease, attempt_settled=True)
            assert work.grants.record_attempt(TENANT, lease, now=NOW)

    def test_the_live_one_of_a_key_is_found(self, unit_of_work):
        """Of all grants of one consent, only the tenant's live one at this provider is found."""
        live = make_grant(grant_key="shared")
        others = [make_grant(grant_key="shared", state=state) for state in NOT_LIVE]
        others += [make_grant(grant_key="other"), make_grant(grant_key="shared", provider=SLACK)]
        with unit_of_work() as work:
            for grant in [*others, make_grant(grant_key="shared", tenant_id=OTHER_TENANT)]:
                work.grants.save(grant)
            assert work.grants.find_live(TENANT, GITHUB, "shared") is None
            work.grants.save(live)
            assert work.grants.find_live(TENANT, GITHUB, "shared") == live
            work.grants.save(attrs.evolve(live, state=GrantState.ENDING, ending=Ending(since=NOW)))
            assert work.grants.find_live(TENANT, GITHUB, "shared") is None

    @pytest.mark.parametrize("former", [None, *NOT_LIVE])
    def test_a_consent_has_one_live_grant(self, unit_of_work, former):
        """A second live grant of one key is refused, new or made live, and the first one stays."""
        first, second = make_grant(grant_key="shared"), make_grant(grant_key="shared")
        with unit_of_work() as work:
            work.grants.save(first)
            if former is not None:
                work.grants.save(attrs.evolve(second, state=former))
        with pytest.raises(ConflictError), unit_of_work() as work:
            work.grants.save(second)
        with unit_of_work() as work:
            work.grants.save(first)
            assert work.grants.find_live(TENANT, GITHUB, "shared") == first
            kept = None if former is None else attrs.evolve(second, state=former)
            assert work.grants.get(TENANT, second.id) == kept

    def test_a_replaced_grant_makes_room(self, unit_of_work):
        """Once the former grant of a consent is ending, a new one can be live."""
        former, successor = make_grant(grant_key="shared"), make_grant(grant_key="shared", state=GrantState.NEW)
        with unit_of_work() as work:
            work.grants.save(former)
            work.grants.save(successor)
            work.grants.save(attrs.evolve(former, state=GrantState.ENDING, ending=Ending(since=NOW)))
            work.grants.save(attrs.evolve(successor, state=GrantState.LIVE))
            assert work.grants.find_live(TENANT, GITHUB, "shared").id == successor.id

    def test_of_racing_consents_one_is_live(self, unit_of_work):
        """Of consents that become live under one key at once, exactly one does, and the others learn it."""

        def consent(_):
            grant = make_grant(grant_key="shared")
            try:
                with unit_of_work() as work:
                    work.grants.save(grant)
            except ConflictError:
                return None
            return grant

        (live,) = [grant for grant in race(consent, 6) if grant is not None]
        with unit_of_work() as work:
            assert work.grants.find_live(TENANT, GITHUB, "shared") == live

    def test_a_newer_version_ends_the_lease(self, unit_of_work):
        """Whoever refreshes a pair that was replaced can store nothing, and another may refresh the new one."""
        first = make_grant()
        with unit_of_work() as work:
            work.grants.save(first)
            lease = work.grants.claim_refresh(TENANT, first.id, now=NOW, until=UNTIL, hold=HOLD)
            work.grants.record_attempt(TENANT, lease, now=NOW)
            second = attrs.evolve(first, version=2, token_set=make_sealed("new"))
            work.grants.save(second)
            assert work.grants.get(TENANT, first.id) == second
            assert not work.grants.record_attempt(TENANT, lease, now=NOW)
            assert _refreshed(work, lease) is None
            work.grants.release(TENANT, lease, attempt_settled=True)
            assert work.grants.get(TENANT, first.id) == second
            next_lease = work.grants.claim_refresh(TENANT, first.id, now=NOW, until=UNTIL, hold=HOLD)
            assert next_lease.fencing_token > lease.fencing_token

    def test_the_same_version_keeps_the_lease(self, unit_of_work):
        """A grant that begins to end under a refresh stays leased, and gets the pair that the vendor answers."""
        grant = make_grant()
        with unit_of_work() as work:
            work.grants.save(grant)
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            assert work.grants.record_attempt(TENANT, lease, now=NOW)
            attempted = work.grants.get(TENANT, grant.id)
            ending = attrs.evolve(attempted, state=GrantState.ENDING, ending=Ending(since=NOW))
            work.grants.save(ending)
            assert work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD) is None
            stored = _refreshed(work, lease)
            assert stored == attrs.evolve(
                ending,
                token_set=make_sealed("rotated"),
                version=2,
                expires_at=UNTIL,
                refresh_attempted_at=None,
                refresh_sent_at=None,
            )
            assert work.grants.get(TENANT, grant.id) == stored

    def test_only_what_may_have_to_be_used_is_leased(self, unit_of_work):
        """Live grants and those that are ending can be refreshed; new ones and those that are over cannot."""
        with unit_of_work() as work:
            leased = set()
            for state in GrantState:
                work.grants.save(grant := make_grant(state=state))
                if work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD) is not None:
                    leased.add(state)
            assert leased == {GrantState.LIVE, GrantState.ENDING}

    @pytest.mark.parametrize("state", GONE)
    def test_nothing_is_written_into_what_is_over(self, unit_of_work, state):
        """A pair that arrives after its grant has ended is not stored: the secret stays destroyed."""
        grant = make_grant()
        with unit_of_work() as work:
            work.grants.save(grant)
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            over = attrs.evolve(grant, state=state, token_set=None, ending=Ending(since=NOW))
            work.grants.save(over)
            assert not work.grants.record_attempt(TENANT, lease, now=NOW)
            assert _refreshed(work, lease) is None
            work.grants.release(TENANT, lease, attempt_settled=True)
            assert work.grants.get(TENANT, grant.id) == over

    def test_one_of_many_claims_wins(self, unit_of_work):
        """Of callers that want to refresh at once, exactly one gets the lease."""
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())

        def claim(_):
            with unit_of_work() as work:
                return work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)

        assert sum(lease is not None for lease in race(claim, 6)) == 1

    def test_a_lease_lapses_by_time(self, unit_of_work):
        """At its end another may claim, and the late holder can write nothing any more."""
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())
            first = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            early = UNTIL - timedelta(microseconds=1)
            assert work.grants.claim_refresh(TENANT, grant.id, now=early, until=UNTIL, hold=HOLD) is None
            assert not work.grants.record_attempt(TENANT, first, now=UNTIL)
            until = UNTIL + timedelta(seconds=30)
            second = work.grants.claim_refresh(TENANT, grant.id, now=UNTIL, until=until, hold=HOLD)
            assert second.fencing_token > first.fencing_token
            assert _refreshed(work, first) is None
            work.grants.release(TENANT, first, attempt_settled=True)
            assert work.grants.record_attempt(TENANT, second, now=UNTIL)
            assert work.grants.get(TENANT, grant.id).refresh_attempted_at == UNTIL

    def test_a_lapsed_lease_that_nobody_took_still_writes(self, unit_of_work):
        """A slow answer with the rotated pair is stored as long as nobody else began to refresh."""
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            assert _refreshed(work, lease, at=UNTIL + timedelta(seconds=5)) is not None

    def test_storing_the_rotated_pair_ends_the_lease(self, unit_of_work):
        """The new pair, its expiry and the next version are stored once, and the attempt is cleared."""
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            assert work.grants.record_attempt(TENANT, lease, now=NOW)
            stored = _refreshed(work, lease)
            assert stored == attrs.evolve(
                grant, token_set=make_sealed("rotated"), version=2, expires_at=UNTIL, updated_at=NOW
            )
            assert _refreshed(work, lease) is None
            assert work.grants.get(TENANT, grant.id) == stored
            assert work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD) is not None

    def test_release_keeps_an_unknown_attempt(self, unit_of_work):
        """A release whose outcome is unknown leaves the first and last sending on record; a settled one clears both."""
        later = NOW + timedelta(seconds=5)
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())
            for now, settled, first, last in (
                (NOW, False, NOW, NOW),
                (later, False, NOW, later),
                (later, True, *2 * [None]),
            ):
                lease = work.grants.claim_refresh(TENANT, grant.id, now=now, until=UNTIL, hold=HOLD)
                work.grants.record_attempt(TENANT, lease, now=now)
                work.grants.release(TENANT, lease, attempt_settled=settled)
                stored = work.grants.get(TENANT, grant.id)
                assert (stored.refresh_attempted_at, stored.refresh_sent_at) == (first, last)

    def test_a_lease_that_was_not_released_is_held_longer(self, unit_of_work):
        """While its attempt is open, nobody else may claim for as long as its holder may try to store new tokens."""
        with unit_of_work() as work:
            work.grants.save(grant := make_grant())
            first = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            work.grants.record_attempt(TENANT, first, now=NOW)
            held, late = UNTIL + HOLD, UNTIL + HOLD + timedelta(seconds=30)
            early = held - timedelta(microseconds=1)
            assert work.grants.claim_refresh(TENANT, grant.id, now=early, until=late, hold=HOLD) is None
            assert work.grants.claim_refresh(TENANT, grant.id, now=held, until=late, hold=HOLD) is not None

    def test_who_lives_on_a_consent(self, unit_of_work):
        """Another live grant of the consent, anywhere, counts while a connection that is active or disabled uses it."""
        mine = make_grant(grant_key="shared")
        twin = make_grant(grant_key="shared", tenant_id=OTHER_TENANT, provider=SLACK)
        user = make_connection(grant_id=twin.id, tenant_id=OTHER_TENANT)
        with unit_of_work() as work:
            work.grants.save(mine)
            work.connections.save(make_connection(grant_id=mine.id))
            assert not work.grants.is_lived_on("shared", besides=mine.id)
            assert work.grants.is_lived_on("shared", besides=GrantId(make_id()))
            work.grants.save(twin)
            assert not work.grants.is_lived_on("shared", besides=mine.id)
            # Somebody else's connection does not use this grant, though it names the same id.
            work.connections.save(make_connection(grant_id=twin.id))
            assert not work.grants.is_lived_on("shared", besides=mine.id)
            living = set()
            for status in ConnectionStatus:
                work.connections.save(attrs.evolve(user, status=status))
                if work.grants.is_lived_on("shared", besides=mine.id):
                    living.add(status)
            assert living == {ConnectionStatus.ACTIVE, ConnectionStatus.DISABLED}
            work.connections.save(user)
            assert not work.grants.is_lived_on("other", besides=mine.id)
            for state in NOT_LIVE:
                work.grants.save(attrs.evolve(twin, state=state))
                assert not work.grants.is_lived_on("shared", besides=mine.id)

    def test_what_is_over_is_dropped(self, unit_of_work):
        """Grants that ended or were left before an instant go, of all tenants, no more at once than asked for."""
        old, new = {"updated_at": NOW - MICROSECOND}, {"updated_at": NOW}
        kept = [make_grant(state=state, **new) for state in GONE]
        kept += [make_grant(state=state, **old) for state in GrantState if state not in GONE]
        dropped = [make_grant(state=GrantState.ENDED, **old), make_grant(state=GrantState.LEFT, **old)]
        dropped += [make_grant(state=GrantState.ENDED, tenant_id=OTHER_TENANT, **old)]
        with unit_of_work() as work:
            for grant in [*kept, *dropped]:
                work.grants.save(grant)
            assert work.grants.prune(ended_before=NOW, limit=2) == 2
            assert work.grants.prune(ended_before=NOW, limit=2) == 1
            assert work.grants.prune(ended_before=NOW, limit=2) == 0
            assert [work.grants.get(one.tenant_id, one.id) for one in kept] == kept
            assert [work.grants.get(one.tenant_id, one.id) for one in dropped] == [None] * 3

    def test_counts_by_state(self, unit_of_work):
        """Grants are counted across tenants by provider and state; ended ones are not."""
        with unit_of_work() as work:
            assert work.grants.count_by_state() == {}
            for changes in (
                *({"state": state} for state in GrantState),
                {"tenant_id": OTHER_TENANT},
                {"state": GrantState.LEFT, "provider": SLACK},
            ):
                work.grants.save(make_grant(**changes))
            assert work.grants.count_by_state() == {
                (GITHUB, GrantState.NEW): 1,
                (GITHUB, GrantState.LIVE): 2,
                (GITHUB, GrantState.ENDING): 1,
                (GITHUB, GrantState.LEFT): 1,
                (SLACK, GrantState.LEFT): 1,
            }

    def test_the_oldest_that_is_ending(self, unit_of_work):
        """It is known since when the oldest grant of all tenants has been ending; those that are over do not count."""
        ending = {"state": GrantState.ENDING}
        with unit_of_work() as work:
            for state in GONE:
                work.grants.save(make_grant(state=state, ending=Ending(since=NOW - HOLD)))
            assert work.grants.oldest_ending() is None
            work.grants.save(make_grant(**ending, ending=Ending(since=UNTIL)))
            work.grants.save(make_grant(**ending, ending=Ending(since=NOW), tenant_id=OTHER_TENANT))
            assert work.grants.oldest_ending() == NOW


def _refreshed(work, lease, at=NOW, tenant_id=TENANT):
    return work.grants.record_refreshed(
        tenant_id, lease, make_sealed("rotated"), expires_at=UNTIL, refresh_expires_at=None, at=at
    )
