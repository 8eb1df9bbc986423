"""What a queue worker does about tasks that went astray, on procrastinate's own queue in memory."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest
from procrastinate.testing import InMemoryConnector

from connectors.adapters.procrastinate.app import QUEUE, TASK_NAME, TICK_TASK, create_queue_app
from connectors.adapters.procrastinate.worker import LOST_AFTER_CHECKS, QueueWorker
from connectors.domain.model.tasks import TaskKind
from tests.support.builders import TENANT, make_id

SUBJECT = make_id()
ARGUMENTS = {
    TASK_NAME: {"task": "sync", "tenant_id": str(TENANT), "subject_id": str(SUBJECT)},
    TICK_TASK: {"timestamp": 0},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_was_given_to_us_and_got_lost(name):
    """It is given up after a few looks: a task is queued again, a tick makes way for the next one."""
    requeued = []
    worker = QueueWorker("postgresql:///unused", None, lambda *what: requeued.append(what), None)

    async def story():
        app = create_queue_app(InMemoryConnector())
        number = await app.job_manager.register_worker()
        await app.configure_task(name, queue=QUEUE, lock=name).defer_async(**ARGUMENTS[name])
        given = await app.job_manager.fetch_job(queues=[QUEUE], worker_id=number)
        us = SimpleNamespace(worker_id=number)
        looks = [await worker._find_lost(app, us) for _ in range(LOST_AFTER_CHECKS)]
        assert [len(look) for look in looks] == [0] * (LOST_AFTER_CHECKS - 1) + [1]
        await worker._take_over(app, looks[-1][0])
        assert await app.job_manager.list_jobs_async(queue=QUEUE) == []
        with worker._tracked(SimpleNamespace(job=given)):
            assert given.id in worker._running
        assert worker._running == set()

    asyncio.run(story())
    assert requeued == ([(TaskKind.SYNC, TENANT, UUID(int=SUBJECT.int))] if name == TASK_NAME else [])


def test_what_is_worked_on_is_not_lost():
    """However often one looks."""
    worker = QueueWorker("postgresql:///unused", None, None, None)

    async def story():
        app = create_queue_app(InMemoryConnector())
        number = await app.job_manager.register_worker()
        await app.configure_task(TICK_TASK, queue=QUEUE).defer_async(timestamp=0)
        given = await app.job_manager.fetch_job(queues=[QUEUE], worker_id=number)
        with worker._tracked(SimpleNamespace(job=given)):
            for _ in range(LOST_AFTER_CHECKS + 1):
                assert await worker._find_lost(app, SimpleNamespace(worker_id=number)) == []

    asyncio.run(story())
