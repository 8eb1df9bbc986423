"""What every store of authorization requests does."""

from datetime import timedelta

import attrs

from connectors.domain.model.errors import ConnectorsError
from connectors.domain.model.ids import ConnectionId, GrantId
from connectors.domain.model.oauth import AuthorizationOutcome, AuthorizationProblem
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW, OTHER_TENANT, make_authorization_request, make_id

CODE = b"c" * 32
UNTIL = NOW + timedelta(minutes=5)


def take(work, request, *, code_hash=CODE, now=NOW, until=UNTIL):
    return work.authorization_requests.take(request, code_hash=code_hash, now=now, until=until)


def find(work, request, *, now=NOW):
    return work.authorization_requests.find(request.state_hash, now=now)


class AuthorizationRequestStoreContract(StoreContract):
    def issued(self, unit_of_work, **changes):
        request = make_authorization_request(**changes)
        with unit_of_work() as work:
            work.authorization_requests.issue(request)
        return request

    def test_is_found_by_its_state(self, unit_of_work):
        """A request is found as it was issued, of whichever tenant; an unknown one is not."""
        mine = self.issued(unit_of_work, connection_id=ConnectionId(make_id()))
        other = self.issued(unit_of_work, tenant_id=OTHER_TENANT, code_verifier=None)
        with unit_of_work() as work:
            assert [find(work, mine), find(work, other)] == [mine, other]
            assert work.authorization_requests.find(b"unknown", now=NOW) is None

    def test_is_taken_by_one_at_a_time(self, unit_of_work):
        """Who takes it has it until the lease ends; then the next one can."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            taken = take(work, request)
            assert taken == attrs.evolve(request, taken_at=NOW, leased_until=UNTIL, code_hash=CODE)
            assert find(work, request) == taken
            assert take(work, request, now=UNTIL - timedelta(microseconds=1)) is None
            later = UNTIL + timedelta(minutes=5)
            again = take(work, request, now=UNTIL, until=later)
            assert (again.taken_at, again.leased_until, again.expires_at) == (UNTIL, later, request.expires_at)

    def test_one_of_racing_takers_gets_it(self, unit_of_work):
        """Of callbacks that arrive at once, exactly one takes the request."""
        request = self.issued(unit_of_work, code_verifier=None)

        def attempt(number):
            with unit_of_work() as work:
                return take(work, request, code_hash=bytes([number]) * 32)

        (taken,) = [found for found in race(attempt, 6) if found is not None]
        with unit_of_work() as work:
            assert find(work, request) == taken

    def test_one_of_racing_takers_gets_an_expired_lease(self, unit_of_work):
        """When a lease has run out, exactly one of several callbacks takes the request over."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            take(work, request)

        def attempt(_):
            with unit_of_work() as work:
                return take(work, request, now=UNTIL, until=UNTIL + timedelta(minutes=1))

        assert len([found for found in race(attempt, 6) if found is not None]) == 1

    def test_is_for_one_code(self, unit_of_work):
        """Once taken for a code, it cannot be taken for another one or for none, released or not."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            taken = take(work, request)
            work.authorization_requests.release(taken)
            assert take(work, request, code_hash=b"o" * 32) is None
            assert take(work, request, code_hash=None) is None
            assert take(work, request) is not None

    def test_a_release_ends_the_lease(self, unit_of_work):
        """A released request can be taken at once, with its verifier."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            work.authorization_requests.release(take(work, request))
            assert find(work, request) == attrs.evolve(request, taken_at=NOW, code_hash=CODE)
            assert take(work, request, now=NOW + timedelta(seconds=1)).code_verifier == request.code_verifier

    def test_keeps_its_connections(self, unit_of_work):
        """A finished request has its connections in order, no verifier and no lease, and is finished once."""
        request = self.issued(unit_of_work)
        ids = tuple(ConnectionId(make_id()) for _ in range(3))[::-1]
        outcome = AuthorizationOutcome(finished_at=NOW, connection_ids=ids)
        with unit_of_work() as work:
            taken = take(work, request)
            assert work.authorization_requests.finish(taken, outcome)
        with unit_of_work() as work:
            kept = attrs.evolve(taken, leased_until=None, code_verifier=None, outcome=outcome)
            assert find(work, request) == kept
            assert not work.authorization_requests.finish(taken, AuthorizationOutcome(finished_at=NOW))
            assert take(work, request, now=UNTIL) is None
            work.authorization_requests.release(taken)
            assert find(work, request) == kept

    def test_keeps_its_problem(self, unit_of_work):
        """A request that failed has the problem's code, message, details and next step."""
        request = self.issued(unit_of_work)
        problem = AuthorizationProblem(
            code="CONFLICT", message="Nö.", details=({"field": "x", "names": ["a", "b"]},), next_step="Again."
        )
        outcome = AuthorizationOutcome(finished_at=NOW, problem=problem)
        with unit_of_work() as work:
            assert work.authorization_requests.finish(take(work, request, code_hash=None), outcome)
        with unit_of_work() as work:
            assert find(work, request).outcome == outcome

    def test_only_the_last_taker_finishes(self, unit_of_work):
        """After another caller has taken the request over, the former one can neither finish nor release it."""
        request = self.issued(unit_of_work)
        outcome = AuthorizationOutcome(finished_at=UNTIL)
        with unit_of_work() as work:
            former = take(work, request)
            latter = take(work, request, now=UNTIL, until=UNTIL + timedelta(minutes=1))
            assert not work.authorization_requests.finish(former, outcome)
            work.authorization_requests.release(former)
            assert find(work, request) == latter
            assert work.authorization_requests.finish(latter, outcome)

    def test_the_next_taker_finds_the_grant(self, unit_of_work):
        """The grant that a code gave stays on record for whoever takes the request next, and after it is finished."""
        request = self.issued(unit_of_work)
        grant_id = GrantId(make_id())
        with unit_of_work() as work:
            taken = take(work, request)
            assert work.authorization_requests.note_grant(taken, grant_id)
        with unit_of_work() as work:
            assert find(work, request) == attrs.evolve(taken, grant_id=grant_id)
            latter = take(work, request, now=UNTIL, until=UNTIL + timedelta(minutes=1))
            assert latter.grant_id == grant_id
            work.authorization_requests.release(latter)
            assert find(work, request).grant_id == grant_id
            assert work.authorization_requests.finish(latter, AuthorizationOutcome(finished_at=UNTIL))
            assert find(work, request).grant_id == grant_id

    def test_only_the_last_taker_notes_a_grant(self, unit_of_work):
        """Who has not taken the request, has lost it or has finished it records no grant."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            note = work.authorization_requests.note_grant
            assert not note(request, GrantId(make_id()))
            former = take(work, request)
            latter = take(work, request, now=UNTIL, until=UNTIL + timedelta(minutes=1))
            assert not note(former, GrantId(make_id()))
            assert not note(attrs.evolve(latter, tenant_id=OTHER_TENANT), GrantId(make_id()))
            assert find(work, request) == latter
            assert work.authorization_requests.finish(latter, AuthorizationOutcome(finished_at=UNTIL))
            assert not note(latter, GrantId(make_id()))
            assert find(work, request).grant_id is None

    def test_a_late_taker_finishes(self, unit_of_work):
        """Who is slower than its lease can finish as long as nobody else has taken the request."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            taken = take(work, request)
            assert work.authorization_requests.finish(taken, AuthorizationOutcome(finished_at=UNTIL))

    def test_a_request_that_was_not_taken_cannot_be_finished(self, unit_of_work):
        """Without `take` there is nothing to finish."""
        request = self.issued(unit_of_work)
        with unit_of_work() as work:
            assert not work.authorization_requests.finish(request, AuthorizationOutcome(finished_at=NOW))

    def test_expires(self, unit_of_work):
        """At its expiry a request is neither found nor taken, and the sweep deletes it."""
        old, new = self.issued(unit_of_work, expires_at=NOW), self.issued(unit_of_work)
        with unit_of_work() as work:
            assert find(work, old) is None
            assert take(work, old) is None
            assert work.authorization_requests.sweep(now=NOW) == 1
            assert work.authorization_requests.sweep(now=NOW) == 0
            assert find(work, new) == new

    def test_is_kept_as_long_as_its_lease(self, unit_of_work):
        """A request that is taken just before its expiry lives until the lease ends."""
        request = self.issued(unit_of_work, expires_at=NOW + timedelta(seconds=1))
        with unit_of_work() as work:
            assert take(work, request).expires_at == UNTIL
            assert work.authorization_requests.sweep(now=UNTIL - timedelta(seconds=1)) == 0
            assert work.authorization_requests.sweep(now=UNTIL) == 1

    def test_a_rolled_back_take_can_be_repeated(self, unit_of_work):
        """A block that fails after taking leaves the request as it was."""
        request = self.issued(unit_of_work)
        try:
            with unit_of_work() as work:
                take(work, request)
                raise ConnectorsError("the block failed")
        except ConnectorsError:
            pass
        with unit_of_work() as work:
            assert find(work, request) == request
