"""What every subscription store does."""

from datetime import timedelta

import attrs

from connectors.domain.model.webhook import SubscriptionStatus
from tests.contracts.unit_of_work import StoreContract
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_sealed, make_subscription


class SubscriptionStoreContract(StoreContract):
    def test_is_inserted_then_replaced(self, unit_of_work):
        """Saving stores every field, saving again replaces it, deleting forgets it; other tenants see nothing."""
        subscription = make_subscription(
            secret=make_sealed(), expires_at=NOW, metadata={"events": ["push"]}, failures=2, checked_at=NOW
        )
        with unit_of_work() as work:
            work.subscriptions.save(subscription)
            assert work.subscriptions.get(TENANT, subscription.id) == subscription
            changed = attrs.evolve(subscription, status=SubscriptionStatus.FAILED, error="no\0pe", secret=None)
            work.subscriptions.save(changed)
            assert work.subscriptions.get(TENANT, subscription.id) == attrs.evolve(changed, error="no\ufffdpe")
            assert work.subscriptions.get(OTHER_TENANT, subscription.id) is None
            work.subscriptions.delete(OTHER_TENANT, subscription.id)
            assert work.subscriptions.list_of_connection(OTHER_TENANT, subscription.connection_id) == []
            assert len(work.subscriptions.list_of_connection(TENANT, subscription.connection_id)) == 1
            work.subscriptions.delete(TENANT, subscription.id)
            assert work.subscriptions.get(TENANT, subscription.id) is None

    def test_candidates(self, unit_of_work):
        """A delivery may be signed with a pending subscription's secret or one's that it names, not an ended one's."""
        pending = make_subscription()
        named = make_subscription(status=SubscriptionStatus.ACTIVE, external_id="7", created_at=NOW.replace(year=2027))
        with unit_of_work() as work:
            for subscription in (
                pending,
                named,
                make_subscription(status=SubscriptionStatus.ACTIVE, external_id="8"),
                make_subscription(status=SubscriptionStatus.ENDED, external_id="7"),
                make_subscription(provider=SLACK),
                make_subscription(tenant_id=OTHER_TENANT, external_id="7"),
            ):
                work.subscriptions.save(subscription)
            assert work.subscriptions.list_candidates(TENANT, GITHUB, "7") == [pending, named]
            assert work.subscriptions.list_candidates(TENANT, GITHUB, None) == [pending]

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
            ):
                work.subscriptions.save(subscription)
            assert work.subscriptions.count_by_status() == {
                (GITHUB, SubscriptionStatus.ACTIVE): 2,
                (SLACK, SubscriptionStatus.ACTIVE): 1,
                (GITHUB, SubscriptionStatus.PENDING): 1,
                (GITHUB, SubscriptionStatus.LAPSED): 1,
            }
            assert work.subscriptions.earliest_expiries() == {GITHUB: NOW}
