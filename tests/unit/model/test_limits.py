"""How requests are distributed within a vendor's limits."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.limits import Budget, LimitState, Reservation, reservation_for
from tests.support.builders import NOW

EPOCH = NOW - timedelta(days=1)
AT_REST = LimitState(EPOCH, EPOCH)
SIXTY = Budget(name="calls", requests=60, per=timedelta(minutes=1), burst=10)
"""One a second, ten at once."""


@given(
    requests=st.integers(1, 50),
    burst=st.integers(1, 50),
    arrivals=st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 13, 61]), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_no_period_has_more_requests_than_allowed(requests, burst, arrivals):
    """In any period of length `per` no more than `requests + burst` are sent, whatever each request costs."""
    per = timedelta(minutes=1)
    state, now, sent = AT_REST, NOW, []
    for pause, wanted in arrivals:
        now += timedelta(seconds=pause)
        cost = min(wanted, burst)  # the burst is at least what one page takes
        reservation = reservation_for(Budget(name="x", requests=requests, per=per, burst=burst, cost=cost), "x")
        at = state.earliest_start(reservation, now)
        state = state.after(reservation, at)
        sent.append((at, cost))
    for begin, _ in sent:
        # Intervals are rounded to the microsecond, which must not count as another request.
        end = begin + per - timedelta(milliseconds=1)
        assert sum(cost for at, cost in sent if begin <= at < end) <= requests + burst


def test_everything_allowed_is_used():
    """A burst is sent at once, then one request per interval, so the limit is used in full."""
    reservation = reservation_for(SIXTY, "x")
    state, sent = AT_REST, []
    for _ in range(70):
        sent.append(state.earliest_start(reservation, NOW))
        state = state.after(reservation, sent[-1])
    assert sent[:10] == [NOW] * 10
    assert sent[10:] == [NOW + timedelta(seconds=n) for n in range(1, 61)]


def test_no_request_is_sent_before_its_pause_ends():
    """A pause delays counted and uncounted requests, and does not change the count."""
    until = NOW + timedelta(hours=1)
    state = LimitState(EPOCH, until)
    for reservation in (reservation_for(SIXTY, "x"), Reservation(key="x")):
        assert state.earliest_start(reservation, NOW) == until
        assert state.earliest_start(reservation, until + timedelta(seconds=1)) == until + timedelta(seconds=1)
    assert state.after(Reservation(key="x"), NOW) == state


def test_a_budget_without_a_number_only_has_a_name():
    """Its reservation takes nothing from the limit."""
    assert reservation_for(Budget(name="secondary"), "x") == Reservation(key="x")
