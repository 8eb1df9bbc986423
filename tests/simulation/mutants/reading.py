"""Rules of the reading engine."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from connectors.adapters.memory.jobs import MemoryJobStore
from connectors.adapters.memory.signals import MemorySignalStore
from connectors.domain.flows.reading import coverage, failures, jobs, page_commit, receipts, transitions
from connectors.domain.flows.reading.agenda import Agenda, Kind
from connectors.domain.flows.reading.claims import Claims
from connectors.domain.flows.reading.failures import Failures
from connectors.domain.flows.reading.housekeeping import Housekeeping
from connectors.domain.flows.reading.jobs import SyncJobs
from connectors.domain.flows.reading.page_commit import PageCommitter
from connectors.domain.flows.reading.receipts import Receipts
from connectors.domain.flows.reading.schedule import Scheduler
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.spans import EPOCH, FAR, Span, common, union
from connectors.domain.model.stream_state import CircleGuard, ClosedBy, ProvenSpan
from connectors.domain.model.streams import StreamPage, Window
from connectors.domain.providers.github import lists as github_lists
from connectors.domain.providers.jira.position import Position
from connectors.entrypoints.task_handler import TaskHandler
from tests.simulation.mutants.mutant import Change, Mutant, act, always, deed, fault, nothing

NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# --- pages ----------------------------------------------------------------------------------------------------------

_commit = PageCommitter.commit
_check = PageCommitter._check
_park = PageCommitter._park
_record_all = MemorySignalStore.record_all
_after_page = transitions.after_page


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


def _position_before_signals(self: Any, held: Any, work: Any, page: Any) -> Any:
    later: list[Any] = []
    committer = attrs.evolve(self, unit_of_work=lambda: _LateSignals(self.unit_of_work(), later))
    result = _commit(committer, held, work, page)
    if later:
        with self.unit_of_work() as uow:
            uow.signals.record_all(later)
    return result


def _first_draft_only(self: Any, held: Any, work: Any, page: Any) -> Any:
    return _commit(self, held, work, attrs.evolve(page, signals=page.signals[:1]))


def _no_parking(self: Any, held: Any, state: Any, work: Any, page: Any) -> None:
    _check(self, held, state, work, page)
    if page.parked:
        raise UnexpectedResponseError(page.parked[0].reason)


def _closed_by_a_run(self: Any, uow: Any, state: Any, work: Any, page: Any, now: Any) -> Any:
    items = _park(self, uow, state, work, page, now)
    for one in uow.parked.list_open(state.tenant_id, state.connection_id):
        if one.stream_key == state.key and not page.parked and page.cursor is None and one.opened_at < now:
            closed = attrs.evolve(one, closed_at=now, closed_by=ClosedBy.READ)
            uow.parked.save(closed)
            items.append(closed)
    return items


def _flush_forgotten(_self: Any, held: Any) -> None:
    held.quiet.clear()


def _emits_by_date(self: Any, at: Any, *, is_log: bool = False) -> bool:
    del is_log
    return bool(self.floor <= at and (self.until is None or at <= self.until))


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


# --- failures -------------------------------------------------------------------------------------------------------

_set_aside = transitions.set_aside
_set_aside_stream = Failures.set_aside


def _refusal_is_empty(self: Any, held: Any, work: Any, error: Any) -> Any:
    if not isinstance(error, AccessLostError) or work.item is not None or work.kind is Kind.DISCOVERY:
        return _set_aside_stream(self, held, work, error)
    page = StreamPage(cursor=None, bookmark=work.window.bookmark or {})
    held.agenda.states[work.key] = state = _after_page(
        held.agenda.states[work.key], work, page, held.now(), rounds=held.streams.rounds, has_news=False
    )
    with self.unit_of_work() as uow:
        uow.streams.save([state])
    return None


def _given_up(state: Any, mode: Any, reason: str, now: Any) -> Any:
    changed = _set_aside(state, mode, reason, now)
    if changed.reading(mode).failures < 5:
        return changed
    return changed.with_reading(mode, attrs.evolve(changed.reading(mode), next_at=NEVER))


def _all_outages_are_the_streams(self: Any, held: Any, work: Any, error: Any) -> None:
    _set_aside_stream(self, held, work, error)


def _refused_uncounted(state: Any, _mode: Any, _reason: str, now: Any) -> Any:
    return attrs.evolve(state, served_at=now)


_limited = Failures.limited


def limited_for_a_second(self: Any, held: Any, work: Any, error: Any) -> Any:
    """Wait a second, whatever the vendor names."""
    error.retry_at = held.now() + timedelta(seconds=1)
    held.agenda.account = attrs.evolve(held.agenda.account, limits=0)
    return _limited(self, held, work, error)


def _limited_for_days(self: Any, held: Any, work: Any, error: Any) -> Any:
    error.retry_at = held.now() + timedelta(days=3)
    return _limited(self, held, work, error)


def _came_round(self: Any, _cursor: Any) -> Any:
    return self


# --- what is next ---------------------------------------------------------------------------------------------------

_history = Agenda.history


def _history_since_found(self: Any, state: Any) -> Any:
    first = min(one.found_at for one in self.states.values())
    if state.found_at - first < timedelta(minutes=10):
        return _history(self, state)
    return common(_history(self, state), [Span(state.found_at)])


# --- coverage -------------------------------------------------------------------------------------------------------


def _union_of_streams(self: Any, family: Any, paths: Any) -> Any:
    discovered = self._discovered()
    if discovered is None or not paths:
        return ()
    found = union(span for one in self._streams_of(family) for span in self.agenda.proven(one, paths))
    return common(found, [Span(EPOCH, discovered.to_at)])


def _discovered_for_ever(self: Any) -> Any:
    return Span(self._floor(), FAR) if self.agenda.states else None


# --- jobs -----------------------------------------------------------------------------------------------------------


def _unchanged(account: Any, _job: Any) -> Any:
    return account


def _requests_forgotten(account: Any, ended: Any) -> Any:
    ids = {job.id for job in ended}
    kept = [one for one in account.requests if one.job_id is None or one.job_id not in ids]
    return attrs.evolve(account, requests=tuple(kept))


def _tick_unguarded(self: Any) -> None:
    self.schedule.tick()


def _last_error(self: Any, held: Any, claims: Any, now: Any) -> str | None:
    found: str | None = _summary(self, held, claims, now)
    return found or held.session.connection.sync_error


_summary = Receipts._summary


def _not_widened(_self: Any, _uow: Any, job: Any, _wanted: Any) -> Any:
    return job


def _last_time(self: Any, issues: Any, _asked_after: Any) -> Any:
    latest = max((one.updated for one in issues if one.updated), default=None)
    found = 0 if latest is None else int(latest.timestamp()) * 1000
    return found if found > self.since_ms else None


RARE_READS = (deed(2000, "interval", minutes=600),)
"""From then on, nothing is read but what deliveries ask for."""

_ONE_MESSAGE = (fault(1100, "refuse", mount="google", part="/messages/", status=403, seconds=9000, single=True),)


def _last_proof(_proven: Any, span: Any, path: Any) -> Any:
    return (ProvenSpan(span, path),)


MUTANTS = (
    Mutant(
        name="only-the-last-proof",
        rule="What was proven of a stream stays proven.",
        changes=(Change(transitions, "with_proof", _last_proof),),
        breaks={"read-back"},
        profile="calm",
        slugs=("google-drive",),
    ),
    Mutant(
        name="newest-time-trusted",
        rule="A position goes only as far as the order of its page bears out.",
        changes=(Change(Position, "_supported", _last_time),),
        breaks={"row-passed"},
        profile="calm",
        slugs=("jira",),
        aimed=(
            act(900, "short_pages"),
            *(act(at, "burst") for at in (950, 960, 970)),
            *(
                act(at, "edit_in_answer", when={"label": "ask:", "part": "/search/jql", "n": 1})
                for at in range(1000, 6000, 500)
            ),
        ),
        why="issues that change while a search makes its answer",
    ),
    Mutant(
        name="first-page-only",
        rule="A list of the newest first is read down to where all is old.",
        changes=(Change(github_lists, "has_passed", always(True)),),
        breaks={"row-passed"},
        profile="calm",
        slugs=("github",),
        aimed=(act(100, "short_pages"),),
        why="lists of several pages",
    ),
    Mutant(
        name="quiet-runs-one-by-one",
        rule="Runs that bring nothing are stored together.",
        changes=(Change(page_commit, "MOST_QUIET", 1),),
        breaks={"costly"},
        profile="calm",
        slugs=("github",),
    ),
    Mutant(
        name="no-pause-after-failures",
        rule="What fails rests before it is tried again.",
        changes=(Change(transitions, "pause_after", always(timedelta(seconds=2))),),
        breaks={"busy"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(1500, "refuse", mount="github", part="/releases", status=403, seconds=900),),
        why="a list that is refused for a quarter of an hour",
    ),
    Mutant(
        name="position-before-signals",
        rule="A page's position is committed together with its signals.",
        changes=(Change(PageCommitter, "commit", _position_before_signals),),
        breaks={"silently-missing", "false-claim"},
        profile="calm",
        slugs=("google-drive",),
        aimed=tuple(
            fault(at, "commit", write="signals.record_all", n=1, how="before") for at in (2500, 3500, 4500, 5500)
        ),
        why="commits that fail",
    ),
    Mutant(
        name="one-thing-blocks-all",
        rule="A thing that cannot be read is parked, and the others of its page are read.",
        changes=(Change(PageCommitter, "_check", _no_parking),),
        breaks={"neighbour-harmed"},
        profile="calm",
        slugs=("gmail",),
        aimed=_ONE_MESSAGE,
        why="a message that is refused",
    ),
    Mutant(
        name="parked-closed-by-any-run",
        rule="What is parked stays so until it is read itself.",
        changes=(Change(PageCommitter, "_park", _closed_by_a_run),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("gmail",),
        aimed=_ONE_MESSAGE,
        why="a message that is refused",
    ),
    Mutant(
        name="parked-not-subtracted",
        rule="What is parked is not claimed.",
        changes=(Change(Claims, "_parked_of", always([])),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("gmail",),
        aimed=_ONE_MESSAGE,
        why="a message that is refused",
    ),
    Mutant(
        name="refusal-is-empty",
        rule="A page that was refused was not read.",
        changes=(Change(Failures, "set_aside", _refusal_is_empty),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=(
            fault(1900, "mail", drop=1, duplicate=0, late=0, seconds=9000),
            fault(2000, "refuse", mount="google", part="/events", status=403, seconds=9000),
        ),
        why="lists that are refused",
    ),
    Mutant(
        name="claims-are-united",
        rule="A family is read as far as every one of its streams; of one that fails, a gap says so besides.",
        changes=(Change(Claims, "_common_proof", _union_of_streams), Change(Claims, "aside", always([]))),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=(
            fault(1100, "mail", drop=1, duplicate=0, late=0, seconds=9000),
            fault(1100, "refuse", mount="google", part="n0-team", status=403, seconds=9000),
            *(act(1300 + 50 * number, "create") for number in range(12)),
        ),
        why="a calendar that is refused",
    ),
    Mutant(
        name="claims-beyond-discovery",
        rule="What happened after the last discovery is not claimed; of one that fails, a gap says so besides.",
        changes=(Change(Claims, "_discovered", _discovered_for_ever), Change(Claims, "aside", always([]))),
        breaks={"false-claim"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=(
            fault(1500, "mail", drop=1, duplicate=0, late=0, seconds=9000),
            fault(1600, "refuse", mount="google", part="/calendarList", status=403, seconds=9000),
            *(act(at, what) for at in (1700, 1800) for what in ("new_container", "create", "create", "create")),
        ),
        why="calendars that are new while the list of calendars is refused",
    ),
    Mutant(
        name="late-streams-without-history",
        rule="Of streams that are found later, history is read, too.",
        changes=(Change(Agenda, "history", _history_since_found),),
        breaks={"silently-missing"},
        profile="calm",
        slugs=("github",),
        aimed=(act(3500, "invite_late"),),
        why="a repository that can be read later",
    ),
    Mutant(
        name="given-up",
        rule="What fails is tried again, for ever.",
        changes=(Change(failures, "set_aside", _given_up),),
        breaks={"failure-hidden", "silently-missing", "degraded-for-ever", "job-stuck"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(2000, "refuse", mount="github", part="/releases", status=403, seconds=9000),),
        why="a list that is refused for an hour",
    ),
    Mutant(
        name="circle-unguarded",
        rule="Pages that go in a circle are noticed.",
        changes=(Change(CircleGuard, "after", _came_round),),
        breaks={"busy", "stuck"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=(
            fault(1500, "refuse", mount="google", part="/events", status=200, damage="circle", seconds=9000),
            act(1600, "burst"),
            act(1700, "burst"),
        ),
        why="page tokens that run in a circle",
    ),
    Mutant(
        name="no-least-wait",
        rule="After a limit there is a least wait, which grows, whatever the vendor names.",
        changes=(
            Change(failures, "SHORTEST_LIMIT", timedelta(0)),
            Change(failures, "LONGEST_LIMIT", timedelta(0)),
        ),
        breaks={"busy", "stuck"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="conversations", status=429, retry_after="0", seconds=1500),
            deed(2510, "sync"),
        ),
        why="a vendor that names no wait",
    ),
    Mutant(
        name="outage-blamed-on-streams",
        rule="When the vendor is down, no stream is to blame.",
        changes=(Change(Failures, "unavailable", _all_outages_are_the_streams),),
        breaks={"busy", "not-recovered", "silently-missing"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(2000, "refuse", mount="github", part="", status=503, seconds=9000),),
        why="a vendor that is down for an hour",
    ),
    Mutant(
        name="sick-lists-are-an-outage",
        rule="Lists that fail again and again while others can be read are no outage.",
        changes=(Change(failures, "MOST_SUSPECTED", 10**6),),
        breaks={"neighbour-harmed", "not-recovered"},
        profile="calm",
        slugs=("github",),
        aimed=tuple(
            fault(1500, "refuse", mount="github", part=part, status=502, seconds=9000)
            for part in ("/releases", "/activity", "/pulls/comments")
        ),
        why="some lists that fail",
    ),
    Mutant(
        name="probe-of-the-sick",
        rule="A vendor that seems to be down is probed by a stream that has not failed.",
        changes=(Change(Agenda, "_probe", nothing),),
        breaks={"neighbour-harmed"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(1500, "refuse", mount="github", part="/pulls/comments", status=502, seconds=9000),),
        why="a list that fails in several repositories",
    ),
    Mutant(
        name="requests-unheard",
        rule="A stream that a delivery names is read.",
        changes=(Change(Agenda, "_is_asked", always(False)),),
        breaks={"silently-missing", "false-claim", "job-stuck"},
        profile="calm",
        slugs=("google-calendar",),
        aimed=RARE_READS,
        why="no read but what deliveries ask for",
    ),
    Mutant(
        name="quiet-runs-forgotten",
        rule="Runs that bring nothing are stored, too.",
        changes=(Change(PageCommitter, "flush", _flush_forgotten),),
        breaks={"not-recovered", "busy", "stuck"},
        profile="calm",
        slugs=("google-calendar",),
    ),
    Mutant(
        name="refused-by-us-uncounted",
        rule="A page that our database refuses again and again counts as failed.",
        changes=(Change(failures, "refused", _refused_uncounted),),
        breaks={"busy", "stuck"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(fault(1100, "failing_write", write="signals.record_all", seconds=5000),),
        why="signals that cannot be stored",
    ),
    Mutant(
        name="cancelled-still-wanted",
        rule="What only a cancelled backfill asked for is not wanted any more.",
        changes=(Change(jobs, "_without_request", _unchanged),),
        breaks={"left-over"},
        profile="calm",
        slugs=("jira",),
        aimed=(
            deed(4000, "backfill", days=300),
            deed(4000, "cancel", when={"label": "done:", "part": "/search/jql", "n": 1}),
        ),
        why="a backfill that is cancelled while it reads",
    ),
    Mutant(
        name="finished-is-forgotten",
        rule="What a backfill asked for is wanted after it has ended.",
        changes=(Change(receipts, "_without_jobs", _requests_forgotten),),
        breaks={"silently-missing", "degraded-for-ever"},
        profile="calm",
        slugs=("github",),
        aimed=(fault(0, "refuse", mount="github", part="/issues", status=403, seconds=9000),),
        why="lists that are refused during the first backfill",
    ),
    Mutant(
        name="log-by-date",
        rule="What a log shows is new, however it is dated.",
        changes=(Change(Window, "emits", _emits_by_date),),
        breaks={"silently-missing", "false-claim"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(act(3000, "date_1970"), act(4000, "backdate"), act(4500, "date_1970")),
        why="files with old dates",
    ),
    Mutant(
        name="no-next-read",
        rule="Each read plans the next one.",
        changes=(Change(Scheduler, "plan_sync", nothing),),
        breaks={"silently-missing", "false-claim", "failure-unsaid", "not-recovered"},
        profile="calm",
        slugs=("google-drive",),
        aimed=(fault(1900, "mail", drop=1, duplicate=0, late=0, seconds=9900),),
        why="deliveries that never come",
    ),
    Mutant(
        name="no-wake",
        rule="What waits is read when its pause ends.",
        changes=(Change(Receipts, "wake", nothing), Change(Housekeeping, "_rescue", nothing)),
        breaks={"job-stuck", "failure-hidden", "silently-missing", "not-recovered"},
        profile="calm",
        slugs=("slack",),
        aimed=(fault(2500, "refuse", mount="slack", part="", status=503, seconds=900), deed(2510, "sync")),
        why="a vendor that is away for a quarter of an hour",
    ),
    Mutant(
        name="no-rescue",
        rule="Connections that have lost their task are queued again.",
        changes=(Change(Housekeeping, "_rescue", nothing),),
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
        name="sent-away-for-days",
        rule="A connection that a vendor limits is read as soon as the vendor allows more.",
        changes=(Change(Failures, "limited", _limited_for_days),),
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
        changes=(Change(Receipts, "_summary", _last_error),),
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
        aimed=(*RARE_READS, act(2200, "hooks_vanish"), deed(6000, "backfill", days=0.01)),
        why="a stream of deliveries that breaks, and no read for long",
    ),
)
