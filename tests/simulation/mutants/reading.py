"""Rules of the reading engine."""

from datetime import timedelta
from typing import Any

import attrs

from connectors.adapters.memory.jobs import MemoryJobStore
from connectors.adapters.memory.signals import MemorySignalStore
from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.flows.reading import coverage, jobs, page_commit, run
from connectors.domain.flows.reading.housekeeping import Housekeeping
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.page_commit import PageCommitter
from connectors.domain.flows.reading.run import SyncFlow
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.errors import RateLimitedError
from connectors.entrypoints.task_handler import TaskHandler
from tests.simulation.mutants.mutant import Change, Mutant, act, always, deed, fault, nothing

_commit = PageCommitter.commit
_prove = PageCommitter._prove
_record_all = MemorySignalStore.record_all
_retry_at = SyncFlow._retry_at


@attrs.frozen
class _LateSignals:
    """A unit of work whose signals are kept for a later transaction."""

    inner: Any
    later: list[Any]

    def __enter__(self) -> Any:
        uow = self.inner.__enter__()
        uow.signals = self
        return uow

    def __exit__(self, *raised: object) -> Any:
        return self.inner.__exit__(*raised)

    def record_all(self, signals: Any) -> frozenset[Any]:
        self.later.extend(signals)
        return frozenset(one.id for one in signals)


def _cursor_before_signals(self: Any, sync_run: Any, context: Any, page: Any, job: Any) -> Any:
    later: list[Any] = []
    committer = attrs.evolve(self, unit_of_work=lambda: _LateSignals(self.unit_of_work(), later))
    result = _commit(committer, sync_run, context, page, job)
    if later:
        with self.unit_of_work() as uow:
            uow.signals.record_all(later)
    return result


def _proven_until_now(self: Any, uow: Any, sync_run: Any, connection: Any, job: Any) -> None:
    plan = attrs.evolve(sync_run.plan, started_at=self.clock.now())
    _prove(self, uow, attrs.evolve(sync_run, plan=plan), connection, job)


def _proven_since_connected(self: Any, uow: Any, sync_run: Any, connection: Any, job: Any) -> None:
    _prove(self, uow, attrs.evolve(sync_run, read_until=connection.created_at - timedelta(days=30)), connection, job)


def _proven_although_lost(self: Any, uow: Any, sync_run: Any, connection: Any, job: Any) -> None:
    _prove(self, uow, sync_run, connection, attrs.evolve(job, id=connection.id))


def _record_again(self: Any, signals: Any) -> frozenset[Any]:
    new = set()
    for signal in signals:
        row = attrs.evolve(signal, dedupe_key=str(signal.id))
        self._rows.put((row.tenant_id, row.id), row)
        new.add(row.id)
    return frozenset(new)


def _replace(self: Any, signals: Any) -> frozenset[Any]:
    for signal in signals:
        for former in self._rows.find("dedupe", (signal.tenant_id, signal.provider, signal.dedupe_key)):
            self._rows.remove((former.tenant_id, former.id))
    return _record_all(self, signals)


def _first_draft_only(self: Any, sync_run: Any, context: Any, page: Any, job: Any) -> Any:
    return _commit(self, sync_run, context, attrs.evolve(page, signals=page.signals[:1]), job)


def _at_once(self: Any, limits: Any, error: Any, failures: int, now: Any) -> Any:
    at = _retry_at(self, limits, error, failures, now)
    return at if at is None or isinstance(error, RateLimitedError) else now


def _deaf(self: Any, limits: Any, error: Any, failures: int, now: Any) -> Any:
    at = _retry_at(self, limits, error, failures, now)
    return now + timedelta(seconds=1) if isinstance(error, RateLimitedError) else at


def _days_later(self: Any, limits: Any, error: Any, failures: int, now: Any) -> Any:
    at = _retry_at(self, limits, error, failures, now)
    return now + timedelta(days=3) if isinstance(error, RateLimitedError) else at


def _tick_unguarded(self: Any) -> None:
    self.schedule.tick()


def _last_error(_uow: Any, _run: Any, connection: Any, _job: Any) -> str | None:
    return connection.sync_error


def _without_lock(job: Any, *, is_continued: bool = False) -> Any:
    return attrs.evolve(_sync_task(job, is_continued=is_continued), lock=None)


_sync_task = jobs.sync_task


def _not_widened(_self: Any, _uow: Any, job: Any, _wanted: Any) -> Any:
    return job


def _everything_proven(_intervals: Any, _from_at: Any, _to_at: Any) -> None:
    return None


def _from_first_page(self: Any, sync_run: Any, job: Any, on_page: Any) -> Any:
    return _read_pages(self, sync_run, attrs.evolve(job, cursor=None), on_page)


_read_pages = SyncFlow._read_pages
_run_conversation = ProviderSession.run


def _never_alike(_self: Any, _job: Any) -> None:
    return None


RARE_READS = (deed(2000, "interval", minutes=600),)
"""From then on, nothing is read but what deliveries ask for."""

_HISTORY_EXPIRES = (
    fault(2400, "mail", drop=1, duplicate=0, late=0, seconds=4700),
    *RARE_READS,
    act(5000, "expire_history"),
    fault(5000, "refuse", mount="google", part="/events", status=503, seconds=9000),
    deed(5001, "sync"),
)


MUTANTS = (
    Mutant(
        name="cursor-before-signals",
        rule="A page's cursor is committed together with its signals.",
        changes=(Change(PageCommitter, "commit", _cursor_before_signals),),
        breaks={"silently-missing", "false-claim"},
        profile="calm",
        slugs=("google-drive",),
        aimed=tuple(
            fault(at, "commit", write="signals.record_all", n=1, how="before") for at in (2500, 3500, 4500, 5500)
        ),
        why="commits that fail",
    ),
    Mutant(
        name="run-unfenced",
        rule="A run that was cancelled or taken over commits nothing more.",
        changes=(Change(PageCommitter, "_require_ours", nothing),),
        breaks={"answer-undone"},
        profile="calm",
        slugs=("jira",),
        aimed=(
            deed(4000, "backfill", days=30),
            deed(4000, "cancel", when={"label": "done:", "part": "/search/jql", "n": 1}),
        ),
        why="a job that is cancelled while it reads",
    ),
    Mutant(
        name="proven-until-the-end",
        rule="A run proves what happened until it began, not until it ended.",
        changes=(Change(PageCommitter, "_prove", _proven_until_now),),
        breaks={"false-claim"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(
            fault(1900, "mail", drop=1, duplicate=0, late=0, seconds=5200),
            deed(2000, "interval", minutes=60),
            *(
                act(at, "create", when={"label": "done:", "part": "/changes", "n": 1})
                for at in (2000, 2001, 2002, 2003, 2004)
            ),
            deed(2010, "sync"),
        ),
        why="things that happen while a list is read, and then a long pause",
    ),
    Mutant(
        name="proven-before-the-cursor",
        rule="An incremental run proves nothing before its cursor.",
        changes=(Change(PageCommitter, "_prove", _proven_since_connected),),
        breaks={"false-claim"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(fault(0, "refuse", mount="google", part="/files", status=503, seconds=9000),),
        why="a list of old things that is refused, while the list of changes is not",
    ),
    Mutant(
        name="lost-history-unsaid",
        rule="Lost history leaves a gap and asks for a backfill.",
        changes=(Change(PageCommitter, "_note_lost_history", nothing),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=_HISTORY_EXPIRES,
        why="history that expires before it was read",
    ),
    Mutant(
        name="no-next-read",
        rule="Each read plans the next one.",
        changes=(Change(Scheduler, "plan_sync", nothing),),
        breaks={"silently-missing", "false-claim", "failure-unsaid"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(fault(1900, "mail", drop=1, duplicate=0, late=0, seconds=9900),),
        why="deliveries that never come",
    ),
    Mutant(
        name="no-requeue-no-rescue",
        rule="A job that has met an error of our database goes on.",
        changes=(
            Change(TaskHandler, "_requeue_with_retries", nothing),
            Change(Housekeeping, "_rescue_one", always(False)),
        ),
        breaks={"job-stuck"},
        profile="database",
        slugs=("slack",),
    ),
    Mutant(
        name="no-rescue",
        rule="Jobs that have lost their task are queued again.",
        changes=(Change(Housekeeping, "_rescue_one", always(False)),),
        breaks={"job-stuck"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            deed(2500, "sync"),
            fault(2500, "database_down", seconds=900, when={"label": "done:", "part": "conversations", "n": 1}),
        ),
        why="a database that is down for longer than workers try",
    ),
    Mutant(
        name="no-backoff",
        rule="After each failure in a row a job waits longer.",
        changes=(Change(SyncFlow, "_retry_at", _at_once),),
        breaks={"backfill-given-up"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="conversations", status=503, seconds=240),
            deed(2501, "backfill", days=2),
        ),
        why="a vendor that is away for a minute",
    ),
    Mutant(
        name="no-retry-after",
        rule="A job that a vendor limits waits until the vendor allows more.",
        changes=(Change(SyncFlow, "_retry_at", _deaf),),
        breaks={"job-spins"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="", status=429, retry_after="900", seconds=900),
            deed(2510, "sync"),
        ),
        why="a vendor that limits us for a quarter of an hour",
    ),
    Mutant(
        name="sent-away-for-days",
        rule="A job that a vendor limits goes on as soon as the vendor allows more.",
        changes=(Change(SyncFlow, "_retry_at", _days_later),),
        breaks={"job-postponed"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="", status=429, retry_after="900", seconds=900),
            deed(2510, "sync"),
        ),
        why="a vendor that limits us for a quarter of an hour",
    ),
    Mutant(
        name="tick-unguarded",
        rule="The ticker goes on after an error of our database.",
        changes=(Change(TaskHandler, "_tick", _tick_unguarded),),
        breaks={"actor-crashed"},
        profile="database",
        slugs=("slack",),
    ),
    Mutant(
        name="failures-unbounded",
        rule="A job that only fails ends.",
        changes=(Change(run, "MOST_FAILURES", 10**6), Change(SyncFlow, "_retry_at", _at_once)),
        breaks={"job-spins"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="", status=500, seconds=300),
            deed(2510, "sync"),
        ),
        why="a vendor that fails for minutes",
    ),
    Mutant(
        name="signals-twice",
        rule="Of the same event, one signal is stored.",
        changes=(Change(MemorySignalStore, "record_all", _record_again),),
        breaks={"twice"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="signals-replaced",
        rule="The first signal of an event stays.",
        changes=(Change(MemorySignalStore, "record_all", _replace),),
        breaks={"signal-gone"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="first-item-only",
        rule="All signals of a page are stored.",
        changes=(Change(PageCommitter, "commit", _first_draft_only),),
        breaks={"reader-blind"},
        profile="calm",
        slugs=("slack",),
    ),
    Mutant(
        name="error-stays",
        rule="A read that succeeds takes the error of an earlier one away.",
        changes=(Change(page_commit, "_remaining_error", _last_error),),
        breaks={"degraded-for-ever"},
        profile="calm",
        slugs=("slack",),
        aimed=(fault(2500, "refuse", mount="slack", part="", status=500, seconds=60), deed(2510, "sync")),
        why="a vendor that is away for a minute",
    ),
    Mutant(
        name="not-widened",
        rule="A queued job is widened to all that later requests ask for.",
        changes=(Change(SyncJobs, "_widened", _not_widened),),
        breaks={"answer-undone"},
        profile="calm",
        slugs=("slack",),
        aimed=tuple(deed(at, "backfill", days=days) for at in (4000, 5000, 6000) for days in (0.1, 0.2, 0.5, 1, 2, 30)),
        why="backfills that are asked for at the same time",
    ),
    Mutant(
        name="jobs-alike",
        rule="Of jobs that ask for the same, one waits.",
        changes=(Change(MemoryJobStore, "_queued_like", nothing),),
        breaks={"growth"},
        profile="calm",
        slugs=("jira",),
        aimed=tuple(deed(4000, "sync") for _ in range(310)),
        why="hundreds of requests at once",
    ),
    Mutant(
        name="no-sweep",
        rule="What has expired is deleted.",
        changes=(Change(Housekeeping, "_sweep", nothing),),
        breaks={"growth"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2400, "refuse", mount="slack", part="oauth/v2/authorize", status=503, seconds=1000),
            *(deed(2500 + 10 * number, "connect") for number in range(70)),
        ),
        why="users who never come back from the vendor",
    ),
    Mutant(
        name="gaps-closed-by-any-read",
        rule="A gap is closed when what it is about was read.",
        changes=(Change(coverage, "_unproven_from", nothing),),
        breaks={"silently-missing", "false-claim"},
        profile="calm",
        slugs=("jira",),
        aimed=(*RARE_READS, act(2200, "hooks_vanish"), deed(9000, "backfill", days=0.01)),
        why="a stream of deliveries that breaks, and no read for long",
    ),
    Mutant(
        name="job-lost-unhandled",
        rule="A run whose job is not its own any more ends quietly.",
        changes=(Change(run, "JobLostError", type("OtherError", (Exception,), {})),),
        breaks={"crash"},
        profile="calm",
        slugs=("jira",),
        aimed=(
            deed(4000, "backfill", days=30),
            deed(4000, "cancel", when={"label": "done:", "part": "/search/jql", "n": 1}),
        ),
        why="a job that is cancelled while it reads",
    ),
)
