"""What every store of pending authorizations does."""

from connectors.domain.model.errors import ConnectorsError
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW, make_authorization_request


class AuthorizationRequestStoreContract(StoreContract):
    def test_is_consumed_once(self, unit_of_work):
        """The first consumer gets the request as it was, later ones get nothing."""
        request = make_authorization_request()
        with unit_of_work() as work:
            work.authorization_requests.issue(request)
        with unit_of_work() as work:
            assert work.authorization_requests.consume(request.state_hash, now=NOW) == request
            assert work.authorization_requests.consume(request.state_hash, now=NOW) is None
            assert work.authorization_requests.consume(b"unknown", now=NOW) is None

    def test_one_of_racing_consumers_wins(self, unit_of_work):
        """Of redirects that arrive at once, exactly one gets the request."""
        request = make_authorization_request(code_verifier=None)
        with unit_of_work() as work:
            work.authorization_requests.issue(request)

        def consume(_):
            with unit_of_work() as work:
                return work.authorization_requests.consume(request.state_hash, now=NOW)

        assert [found for found in race(consume, 6) if found is not None] == [request]

    def test_expires(self, unit_of_work):
        """At its expiry a request can no longer be consumed, and the sweep drops it."""
        old, new = make_authorization_request(expires_at=NOW), make_authorization_request()
        with unit_of_work() as work:
            work.authorization_requests.issue(old)
            work.authorization_requests.issue(new)
            assert work.authorization_requests.consume(old.state_hash, now=NOW) is None
            assert work.authorization_requests.sweep(now=NOW) == 1
            assert work.authorization_requests.sweep(now=NOW) == 0
            assert work.authorization_requests.consume(new.state_hash, now=NOW) == new

    def test_a_rolled_back_consume_can_be_repeated(self, unit_of_work):
        """A block that fails after consuming gives the request back."""
        request = make_authorization_request()
        with unit_of_work() as work:
            work.authorization_requests.issue(request)
        try:
            with unit_of_work() as work:
                work.authorization_requests.consume(request.state_hash, now=NOW)
                raise ConnectorsError("the exchange failed")
        except ConnectorsError:
            pass
        with unit_of_work() as work:
            assert work.authorization_requests.consume(request.state_hash, now=NOW) == request
