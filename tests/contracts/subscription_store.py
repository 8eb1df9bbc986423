"""What every subscription store does."""

from datetime import timedelta

import attrs

from connectors.domain.model.ending import Ending
from connectors.domain.model.ids import GrantId
from connectors.domain.model.webhook import SubscriptionStatus
from tests.contracts.unit_of_work import StoreContract
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_sealed, make_subscription

LATER = NOW + timedelta(microseconds=1)
GONE = (SubscriptionStatus.ENDED, SubscriptionStatus.LEFT)


class SubscriptionStoreContract(StoreContract):
    def test_is_inserted_then_replaced(self, unit_of_work):
        """Saving stores every field, saving again replaces it, deleting forgets it; other tenants see nothing."""
        subscription = make_subscription(
            secret=make_sealed(),
            expires_at=NOW,
            metadata={"events": ["push"]},
            failures=2,
            checked_at=NOW,
            grant_id=GrantId(make_id()),
            called_until=LATER,
            ending=Ending(since=NOW, failures=3, error="It was refused."),
            address="https://x.example",
        )
        with unit_of_work() as work:
            work.subscriptions.save(subscription)
            assert work.subscriptions.get(TENANT, subscription.id) == subscription
            changed = attrs.evolve(
                make_subscription(id=subscription.id, connection_id=subscription.connection_id),
                status=SubscriptionStatus.FAILED,
                error="no\0pe",
            )
            work.subscriptions.save(changed)
            assert work.subscriptions.get(TENANT, subscription.id) == attrs.evolve(changed, error="no\ufffdpe")
            assert work.subscriptions.get(OTHER_TENANT, subscription.id) is None
            work.subscriptions.delete(OTHER_TENANT, subscription.id)
            assert work.subscriptions.list_of_connection(OTHER_TENANT, subscription.connection_id) == []
            assert len(work.subscriptions.list_of_connection(TENANT, subscription.connection_id)) == 1
            work.subscriptions.delete(TENANT, subscription.id)
            assert work.subscriptions.get(TENANT, subscription.id) is None

    def test_candidates(self, unit_of_work):
        """A delivery may be signed with a pending subscription's secret or one's that it names, if it is not over.

        One that is ending still delivers; if it was never named, it is found like a pending one.
        """
        pending = make_subscription()
        named = [
            make_subscription(status=status, external_id="7", created_at=NOW + timedelta(days=1 + days))
            for days, status in enumerate(SubscriptionStatus)
            if status not in GONE
        ]
        unnamed = make_subscription(status=SubscriptionStatus.ENDING, created_at=NOW + timedelta(days=99))
        others = [status for status in SubscriptionStatus if status not in {pending.status, unnamed.status}]
        with unit_of_work() as work:
            for subscription in (
                pending,
                *named,
                unnamed,
                make_subscription(status=SubscriptionStatus.ACTIVE, external_id="8"),
                make_subscription(status=SubscriptionStatus.ENDING, external_id="8"),
                *(make_subscription(status=status, external_id="7") for status in GONE),
                *(make_subscription(status=status) for status in others),
                make_subscription(provider=SLACK),
                make_subscription(tenant_id=OTHER_TENANT, external_id="7"),
            ):
                work.subscriptions.save(subscription)
            assert work.subscriptions.list_candidates(TENANT, GITHUB, "7") == [pending, *named, unnamed]
            named_pending = [one for one in named if one.status is SubscriptionStatus.PENDING]
            assert work.subscriptions.list_candidates(TENANT, GITHUB, None) == [pending, *named_pending, unnamed]

    def test_those_that_a_grant_has_made(self, unit_of_work):
        """A grant's subscriptions are listed whatever their status, oldest first, of whichever connection."""
        grant_id = GrantId(make_id())
        mine = [
            make_subscription(status=status, grant_id=grant_id, created_at=NOW + timedelta(days=days))
            for days, status in enumerate(SubscriptionStatus)
        ]
        others = [
            make_subscription(),
            make_subscription(grant_id=GrantId(make_id())),
            make_subscription(grant_id=grant_id, tenant_id=OTHER_TENANT),
        ]
        with unit_of_work() as work:
            for subscription in [*others, *mine[::-1]]:
                work.subscriptions.save(subscription)
            assert work.subscriptions.list_of_grant(TENANT, grant_id) == mine
            moved = attrs.evolve(mine[0], grant_id=GrantId(make_id()))
            work.subscriptions.save(moved)
            assert work.subscriptions.list_of_grant(TENANT, grant_id) == mine[1:]
            assert work.subscriptions.list_of_grant(TENANT, moved.grant_id) == [moved]

    def test_what_is_over_is_dropped(self, unit_of_work):
        """Those that ended or were left before an instant go, of all tenants, no more at once than asked for."""
        old = {"updated_at": NOW}
        kept = [make_subscription(status=status, updated_at=LATER) for status in GONE]
        kept += [make_subscription(status=status, **old) for status in SubscriptionStatus if status not in GONE]
        dropped = [make_subscription(status=status, **old) for status in GONE]
        dropped += [make_subscription(status=SubscriptionStatus.ENDED, tenant_id=OTHER_TENANT, **old)]
        with unit_of_work() as work:
            for one in [*kept, *dropped]:
                work.subscriptions.save(one)
            assert work.subscriptions.prune(ended_before=LATER, limit=2) == 2
            assert work.subscriptions.prune(ended_before=LATER, limit=2) == 1
            assert work.subscriptions.prune(ended_before=LATER, limit=2) == 0
            assert [work.subscriptions.get(one.tenant_id, one.id) for one in kept] == kept
            assert [work.subscriptions.get(one.tenant_id, one.id) for one in dropped] == [None] * 3

    def test_the_oldest_that_is_ending(self, unit_of_work):
        """It is known since when the oldest of all tenants has been ending; those that are over do not count."""
        ending = {"status": SubscriptionStatus.ENDING}
        with unit_of_work() as work:
            for status in GONE:
                work.subscriptions.save(make_subscription(status=status, ending=Ending(since=NOW)))
            assert work.subscriptions.oldest_ending() is None
            work.subscriptions.save(make_subscription(**ending, ending=Ending(since=LATER + timedelta(days=1))))
            work.subscriptions.save(make_subscription(**ending, ending=Ending(since=LATER), tenant_id=OTHER_TENANT))
            assert work.subscriptions.oldest_ending() == LATER

    def test_expiring(self, unit_of_work):
        """Active ones that expire before an instant are listed, soonest first, across tenants."""
        soon = make_subscription(status=SubscriptionStatus.ACTIVE, expires_at=NOW)
        later = make_subscription(
            status=SubscriptionStatus.ACTIVE, expires_at=NOW + timedelta(microseconds=1), tenant_id=OTHER_TENANT
        )
        with unit_of_work() as work:
            for subscription in (later, soon, make_subscription(expires_at=NOW), make_subscription()):
                work.subscriptions.save(subscription)
            assert work.subscriptions.list_expiring(before=NOW + timedelta(microseconds=1)) == [soon]
            assert work.subscriptions.list_expiring(before=NOW + timedelta(days=1)) == [soon, later]

    def test_counts_and_first_expiries(self, unit_of_work):
        """What lives is counted by provider and status; of the active ones each provider's first end is known."""
        active = {"status": SubscriptionStatus.ACTIVE}
        with unit_of_work() as work:
            for subscription in (
                make_subscription(**active, expires_at=NOW + timedelta(days=2)),
                make_subscription(**active, expires_at=NOW, tenant_id=OTHER_TENANT),
                make_subscription(**active, provider=SLACK),
                make_subscription(expires_at=NOW - timedelta(days=1)),
                make_subscription(status=SubscriptionStatus.LAPSED, expires_at=NOW - timedelta(days=1)),
                make_subscription(status=SubscriptionStatus.ENDED, expires_at=NOW - timedelta(days=1)),
                make_subscription(status=SubscriptionStatus.ENDING, expires_at=NOW - timedelta(days=1)),
                make_subscription(status=SubscriptionStatus.LEFT, expires_at=NOW - timedelta(days=1)),
            ):
                work.subscriptions.save(subscription)
            assert work.subscriptions.count_by_status() == {
                (GITHUB, SubscriptionStatus.ACTIVE): 2,
                (SLACK, SubscriptionStatus.ACTIVE): 1,
                (GITHUB, SubscriptionStatus.PENDING): 1,
                (GITHUB, SubscriptionStatus.LAPSED): 1,
                (GITHUB, SubscriptionStatus.ENDING): 1,
                (GITHUB, SubscriptionStatus.LEFT): 1,
            }
            assert work.subscriptions.earliest_expiries() == {GITHUB: NOW}
