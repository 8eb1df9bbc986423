"""What every grant store does, leases above all."""

from datetime import timedelta

import attrs

from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, TENANT, make_grant, make_sealed

UNTIL = NOW + timedelta(seconds=30)
HOLD = timedelta(seconds=60)


class GrantStoreContract(StoreContract):
    def test_comes_back_as_it_was(self, unit_of_work):
        """Every field survives; other tenants do not see it."""
        grant = make_grant(refresh_expires_at=NOW)
        with unit_of_work() as work:
            assert work.grants.save(grant) == grant
        with unit_of_work() as work:
            assert work.grants.get(TENANT, grant.id) == grant
            assert work.grants.find_by_key(TENANT, GITHUB, grant.grant_key, lock=True) == grant
            assert work.grants.get(OTHER_TENANT, grant.id) is None
            assert work.grants.find_by_key(OTHER_TENANT, GITHUB, grant.grant_key) is None
            assert work.grants.claim_refresh(OTHER_TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD) is None
            assert not work.grants.delete(OTHER_TENANT, grant.id)

    def test_a_second_consent_replaces_the_pair(self, unit_of_work):
        """Under the same key the id stays, the version grows, and lease and attempt are forgotten."""
        first = make_grant()
        with unit_of_work() as work:
            work.grants.save(first)
            lease = work.grants.claim_refresh(TENANT, first.id, now=NOW, until=UNTIL, hold=HOLD)
            work.grants.record_attempt(TENANT, lease, now=NOW)
            second = make_grant(grant_key=first.grant_key, token_set=make_sealed("new"))
            stored = work.grants.save(second)
            assert stored == attrs.evolve(second, id=first.id, version=2)
            assert not work.grants.record_attempt(TENANT, lease, now=NOW)
            assert _refreshed(work, lease) is None
            assert work.grants.claim_refresh(TENANT, first.id, now=NOW, until=UNTIL, hold=HOLD) is not None

    def test_one_of_many_claims_wins(self, unit_of_work):
        """Of callers that want to refresh at once, exactly one gets the lease."""
        with unit_of_work() as work:
            grant = work.grants.save(make_grant())

        def claim(_):
            with unit_of_work() as work:
                return work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)

        assert sum(lease is not None for lease in race(claim, 6)) == 1

    def test_a_lease_lapses_by_time(self, unit_of_work):
        """At its end another may claim, and the late holder can write nothing any more."""
        with unit_of_work() as work:
            grant = work.grants.save(make_grant())
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
            grant = work.grants.save(make_grant())
            lease = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            assert _refreshed(work, lease, at=UNTIL + timedelta(seconds=5)) is not None

    def test_storing_the_rotated_pair_ends_the_lease(self, unit_of_work):
        """The new pair, its expiry and the next version are stored once, and the attempt is cleared."""
        with unit_of_work() as work:
            grant = work.grants.save(make_grant())
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
            grant = work.grants.save(make_grant())
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
            grant = work.grants.save(make_grant())
            first = work.grants.claim_refresh(TENANT, grant.id, now=NOW, until=UNTIL, hold=HOLD)
            work.grants.record_attempt(TENANT, first, now=NOW)
            held, late = UNTIL + HOLD, UNTIL + HOLD + timedelta(seconds=30)
            early = held - timedelta(microseconds=1)
            assert work.grants.claim_refresh(TENANT, grant.id, now=early, until=late, hold=HOLD) is None
            assert work.grants.claim_refresh(TENANT, grant.id, now=held, until=late, hold=HOLD) is not None

    def test_counts_and_deletes(self, unit_of_work):
        """A consent's grants are counted across tenants, and a deleted grant is gone."""
        with unit_of_work() as work:
            grant = work.grants.save(make_grant(grant_key="shared"))
            work.grants.save(make_grant(grant_key="shared", tenant_id=OTHER_TENANT))
            assert work.grants.count_by_key("shared") == 2
            assert work.grants.delete(TENANT, grant.id)
            assert not work.grants.delete(TENANT, grant.id)
            assert work.grants.count_by_key("shared") == 1


def _refreshed(work, lease, at=NOW):
    return work.grants.record_refreshed(
        TENANT, lease, make_sealed("rotated"), expires_at=UNTIL, refresh_expires_at=None, at=at
    )
