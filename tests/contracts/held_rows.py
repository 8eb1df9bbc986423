"""How every store lists grants and subscriptions that are ending or left."""

from datetime import timedelta

from connectors.domain.model.ending import Ending
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import SubscriptionStatus
from tests.contracts.unit_of_work import StoreContract
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_grant, make_subscription

MINUTE = timedelta(minutes=1)


class HeldRowsContract(StoreContract):
    def test_grants_that_are_ending_or_left_are_listed(self, unit_of_work):
        """Those of all tenants or of one come the longest first, at most as many as wanted; live and ended ones do not."""
        old = make_grant(state=GrantState.ENDING, ending=Ending(since=NOW, failures=3, error="No."))
        left = make_grant(
            state=GrantState.LEFT, token_set=None, ending=Ending(since=NOW + MINUTE), tenant_id=OTHER_TENANT
        )
        new = make_grant(state=GrantState.ENDING, ending=Ending(since=NOW + 2 * MINUTE), grant_key=None)
        with unit_of_work() as work:
            for grant in (
                new,
                left,
                old,
                make_grant(),
                make_grant(state=GrantState.ENDED, token_set=None, ending=Ending(since=NOW)),
            ):
                work.grants.save(grant)
            assert work.grants.list_held(None, limit=10) == [old, left, new]
            assert work.grants.list_held(None, limit=2) == [old, left]
            assert work.grants.list_held(TENANT, limit=10) == [old, new]

    def test_subscriptions_that_are_ending_or_left_are_listed(self, unit_of_work):
        """Those of all tenants or of one come the longest first, at most as many as wanted; others do not."""
        old = make_subscription(status=SubscriptionStatus.LEFT, ending=Ending(since=NOW, failures=9, error="No."))
        new = make_subscription(status=SubscriptionStatus.ENDING, ending=Ending(since=NOW + MINUTE))
        others = make_subscription(
            status=SubscriptionStatus.ENDING, ending=Ending(since=NOW + 2 * MINUTE), tenant_id=OTHER_TENANT
        )
        with unit_of_work() as work:
            for subscription in (
                others,
                new,
                old,
                make_subscription(status=SubscriptionStatus.ACTIVE),
                make_subscription(status=SubscriptionStatus.ENDED, ending=Ending(since=NOW)),
            ):
                work.subscriptions.save(subscription)
            assert work.subscriptions.list_held(None, limit=10) == [old, new, others]
            assert work.subscriptions.list_held(None, limit=1) == [old]
            assert work.subscriptions.list_held(TENANT, limit=10) == [old, new]
