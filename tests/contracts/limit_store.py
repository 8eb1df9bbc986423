"""What every store of the vendors' limits does."""

from datetime import timedelta

from connectors.domain.model.limits import Budget, Reservation, reservation_for
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW

NONE = timedelta(0)
SECOND = timedelta(seconds=1)
ONE_A_SECOND = Budget(name="calls", requests=60)
THREE_AT_ONCE = Budget(name="calls", requests=60, burst=3)


def reserve_all(unit_of_work, *reservations, now=NOW, max_wait=NONE):
    with unit_of_work() as work:
        return work.limits.reserve_all(reservations, now=now, max_wait=max_wait)


def of(budget, key="k"):
    return reservation_for(budget, key)


class LimitStoreContract(StoreContract):
    def test_what_is_free_goes_at_once(self, unit_of_work):
        """A request that counts against nothing, or against a budget at rest, goes now."""
        assert reserve_all(unit_of_work) == NOW
        assert reserve_all(unit_of_work, of(ONE_A_SECOND), Reservation(key="only pauses")) == NOW

    def test_requests_go_out_one_after_another(self, unit_of_work):
        """A request that is waited for takes the next free instant; one that is not waited for takes none."""
        one = of(ONE_A_SECOND)
        assert reserve_all(unit_of_work, one) == NOW
        assert reserve_all(unit_of_work, one) == NOW + SECOND
        assert reserve_all(unit_of_work, one) == NOW + SECOND
        assert reserve_all(unit_of_work, one, max_wait=SECOND) == NOW + SECOND
        assert reserve_all(unit_of_work, one, max_wait=SECOND) == NOW + 2 * SECOND
        assert reserve_all(unit_of_work, one, now=NOW + 2 * SECOND) == NOW + 2 * SECOND

    def test_a_burst_goes_out_after_a_rest(self, unit_of_work):
        """So many may go at once, then one for each that has grown back."""
        one = of(THREE_AT_ONCE)
        assert [reserve_all(unit_of_work, one) for _ in range(4)] == [NOW, NOW, NOW, NOW + SECOND]
        assert reserve_all(unit_of_work, one, now=NOW + SECOND) == NOW + SECOND
        rested = NOW + timedelta(hours=1)
        assert [reserve_all(unit_of_work, one, now=rested) for _ in range(4)] == [
            rested,
            rested,
            rested,
            rested + SECOND,
        ]

    def test_costly_requests_count_for_more(self, unit_of_work):
        """What counts fivefold keeps the next one away five times as long."""
        reserve_all(unit_of_work, of(Budget(name="points", requests=60, cost=5)))
        assert reserve_all(unit_of_work, of(ONE_A_SECOND)) == NOW + 5 * SECOND

    def test_all_or_nothing(self, unit_of_work):
        """A request goes when its last budget lets it; if that is too late, it takes nothing of the others."""
        full, free = of(ONE_A_SECOND, "full"), of(ONE_A_SECOND, "free")
        reserve_all(unit_of_work, full)
        assert reserve_all(unit_of_work, free, full) == NOW + SECOND
        assert reserve_all(unit_of_work, free) == NOW
        assert reserve_all(unit_of_work, free, full, max_wait=SECOND) == NOW + SECOND
        assert reserve_all(unit_of_work, free) == reserve_all(unit_of_work, full) == NOW + 2 * SECOND

    def test_pauses_hold_everything_back(self, unit_of_work):
        """Until a pause ends nothing goes that counts against its key, whether anything is counted there or not."""
        until = NOW + timedelta(minutes=1)
        with unit_of_work() as work:
            work.limits.pause("k", until=until)
        for one in (of(THREE_AT_ONCE), Reservation(key="k")):
            assert reserve_all(unit_of_work, one) == until
            assert reserve_all(unit_of_work, one, now=until) == until
        assert reserve_all(unit_of_work, of(ONE_A_SECOND, "free"), Reservation(key="k")) == until
        assert reserve_all(unit_of_work, of(ONE_A_SECOND, "free")) == NOW

    def test_a_pause_is_never_shortened(self, unit_of_work):
        """Of many pauses the longest holds, in whichever order they come; what was spent stays spent."""
        reserve_all(unit_of_work, of(ONE_A_SECOND))
        with unit_of_work() as work:
            for seconds in (5, 9, 7):
                work.limits.pause("k", until=NOW + seconds * SECOND)
        assert reserve_all(unit_of_work, Reservation(key="k")) == NOW + 9 * SECOND
        with unit_of_work() as work:
            work.limits.pause("other", until=NOW - SECOND)
        assert reserve_all(unit_of_work, Reservation(key="other")) == NOW

    def test_what_was_taken_is_given_back_by_a_rollback(self, unit_of_work):
        """A block that fails has spent nothing and paused nobody."""
        try:
            with unit_of_work() as work:
                work.limits.reserve_all([of(ONE_A_SECOND)], now=NOW, max_wait=NONE)
                work.limits.pause("k", until=NOW + SECOND)
                raise LookupError
        except LookupError:
            pass
        assert reserve_all(unit_of_work, of(ONE_A_SECOND)) == NOW

    def test_racing_workers_share_a_budget(self, unit_of_work):
        """Together they send the burst at once and no more; everybody else gets an instant of their own."""

        roomy = Budget(name="roomy", requests=60, burst=99)

        def send(number):
            reservations = [of(THREE_AT_ONCE), of(roomy, "roomy")]
            return reserve_all(unit_of_work, *reservations[:: 1 if number % 2 else -1], max_wait=timedelta(minutes=1))

        instants = sorted(race(send, 8))
        assert instants == [NOW] * 3 + [NOW + n * SECOND for n in range(1, 6)]

    def test_sweeping(self, unit_of_work):
        """Budgets that are whole again and not paused are forgotten, the others not."""
        reserve_all(unit_of_work, of(ONE_A_SECOND, "whole"))
        reserve_all(unit_of_work, of(Budget(name="day", requests=1, per=timedelta(days=1)), "spent"))
        with unit_of_work() as work:
            work.limits.pause("paused", until=NOW + timedelta(days=1))
            assert work.limits.sweep(now=NOW + timedelta(minutes=1)) == 1
            assert work.limits.sweep(now=NOW + timedelta(minutes=1)) == 0
        assert reserve_all(unit_of_work, of(ONE_A_SECOND, "spent")) == NOW + timedelta(days=1)
        assert reserve_all(unit_of_work, Reservation(key="paused")) == NOW + timedelta(days=1)
