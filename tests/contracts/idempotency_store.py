"""What every store of answers under idempotency keys does."""

from datetime import timedelta

import attrs

from connectors.domain.model.idempotency import MAX_KEY_LENGTH
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_answer, make_id


class IdempotencyStoreContract(StoreContract):
    def test_the_first_answer_stays(self, unit_of_work):
        """Under a key the first answer is kept, and returned to whoever comes with another one."""
        first = make_answer(key="é" * MAX_KEY_LENGTH)
        second = make_answer(key=first.key, fingerprint="other", job_ids=(make_id(),))
        with unit_of_work() as work:
            assert work.idempotency.find(TENANT, first.key) is None
            assert work.idempotency.record(first) == first
        with unit_of_work() as work:
            assert work.idempotency.record(second) == first
            assert work.idempotency.find(TENANT, first.key) == first

    def test_a_key_is_its_tenants(self, unit_of_work):
        """Another tenant's same key is another key."""
        mine = make_answer()
        others = attrs.evolve(mine, tenant_id=OTHER_TENANT, job_ids=())
        with unit_of_work() as work:
            work.idempotency.record(mine)
            assert work.idempotency.find(OTHER_TENANT, mine.key) is None
            assert work.idempotency.record(others) == others
            assert work.idempotency.find(TENANT, mine.key) == mine

    def test_one_of_racing_requests_wins(self, unit_of_work):
        """Of requests under one key at once one does the work, the others get its answer."""
        done = []

        def ask(number):
            with unit_of_work() as work:
                answered = work.idempotency.find(TENANT, "same")
                if answered is None:
                    done.append(number)
                    answered = work.idempotency.record(make_answer(key="same"))
                return answered.job_ids

        assert len(set(race(ask, 6))) == len(done) == 1

    def test_a_failed_request_can_be_repeated(self, unit_of_work):
        """A block that fails leaves no answer under its key."""
        answer = make_answer()
        try:
            with unit_of_work() as work:
                work.idempotency.record(answer)
                raise LookupError
        except LookupError:
            pass
        with unit_of_work() as work:
            assert work.idempotency.find(TENANT, answer.key) is None

    def test_sweeping(self, unit_of_work):
        """Answers of any tenant that are older than an instant are dropped."""
        recent = make_answer()
        with unit_of_work() as work:
            work.idempotency.record(recent)
            for tenant_id in (TENANT, OTHER_TENANT):
                work.idempotency.record(make_answer(tenant_id=tenant_id, created_at=NOW - timedelta(microseconds=1)))
            assert [work.idempotency.sweep(created_before=NOW) for _ in range(2)] == [2, 0]
            assert work.idempotency.find(TENANT, recent.key) == recent
