"""Coverage against the truth: whatever happens, it claims nothing that was not seen, and in the end all is read."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.database import MemoryDatabase
from connectors.adapters.memory.unit_of_work import MemoryUnitOfWork
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.errors import ConnectorsError, InfrastructureError
from connectors.domain.model.stream_state import StreamStatus
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.sync import JobType
from tests.support.boxes import BoxVendor, boxes
from tests.support.boxes import read_page as read_box
from tests.support.builders import NOW, TENANT
from tests.support.vendor import answer
from tests.support.world import World

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BOX = st.sampled_from("abc")


class Killed(BaseException):
    """The worker's process has ended here."""


class Faults:
    """What happens to the next units of work, counted from now: the number → how it ends."""

    def __init__(self):
        self.planned = {}

    def next(self):
        self.planned = {number - 1: how for number, how in self.planned.items()}
        return self.planned.pop(-1, None)


class FaultyUnitOfWork(MemoryUnitOfWork):
    """Its commit fails, is lost, or is the last thing that its process does."""

    def __init__(self, database, faults):
        super().__init__(database)
        self._faults = faults

    def __exit__(self, kind, error, traceback):
        how = None if kind is not None else self._faults.next()
        if how in {"refused", "killed before"}:
            fault = InfrastructureError("The commit failed.") if how == "refused" else Killed()
            super().__exit__(type(fault), fault, None)
            raise fault
        super().__exit__(kind, error, traceback)
        if how == "ambiguous":
            raise InfrastructureError("Nobody knows whether it was committed.")
        if how == "killed after":
            raise Killed


class Truth(RuleBasedStateMachine):
    """An account of boxes, what befalls it, and what the service says of it."""

    def __init__(self):
        super().__init__()
        clock, self.database, self.faults = ManualClock(NOW), MemoryDatabase(), Faults()
        self.database.now = clock.now
        self.bugs = set()

        def read_page(context, stream, window, cursor):
            if stream.data["id"] in self.bugs:
                raise KeyError("id")
            return (yield from read_box(context, stream, window, cursor))

        self.world = World(
            boxes(read_page=read_page),
            vendor=BoxVendor,
            clock=clock,
            database=self.database,
            unit_of_work=lambda: FaultyUnitOfWork(self.database, self.faults),
        )
        self.vendor = self.world.vendor
        self.events = {}
        """Dedupe key → box and instant."""
        self.given_up = set()
        """What a person does not want any more."""
        self.numbers = 0
        self.jobs = []
        self.listed_since = {}

    @initialize(names=st.sets(BOX, min_size=1))
    def connect(self, names):
        for name in sorted(names):
            self._put(name, NOW - DAY, count=3)
        self.connection = self.world.connect()

    # --- what happens at the vendor ----------------------------------------------------------------------------------

    def _put(self, box, at, *, count=1, **fields):
        for _ in range(count):
            self.numbers += 1
            self.vendor.put(box, self.numbers, at=at, **fields)
            self.events[f"item:{box}-{self.numbers}:created"] = (box, at)
        self._note_listed()

    def _note_listed(self):
        for box in self.vendor.boxes:
            if box in self.vendor.hidden or box in self.vendor.unreadable:
                self.listed_since.pop(box, None)
            else:
                self.listed_since.setdefault(box, self.world.clock.now())

    @rule(box=BOX, count=st.integers(1, 5), status=st.sampled_from([200, 400, 502]), days=st.integers(1, 20))
    def put(self, box, count, status, days):
        """What is put into a box is new, except the first things: those may have come from elsewhere."""
        now = self.world.clock.now()
        at = now if box in self.vendor.boxes else now - days * DAY
        self._put(box, at, count=count, detailed=status != 200)
        if status != 200:
            self.vendor.broken[f"{box}-{self.numbers}"] = status
        self.world.clock.advance(timedelta(seconds=20))
        self.work()

    @rule(box=BOX, status=st.sampled_from([400, 403, 404, 500, 502]))
    def close(self, box, status):
        self.vendor.closed[box] = status

    @rule(box=BOX)
    def open(self, box):
        self.vendor.closed.pop(box, None)

    @rule(box=BOX, what=st.sampled_from(["hidden", "lost", "bugs"]))
    def spoil(self, box, what):
        (self.bugs if what == "bugs" else getattr(self.vendor, what)).add(box)
        self._note_listed()

    @rule(what=st.sampled_from(["hidden", "lost", "bugs"]))
    def mend(self, what):
        (self.bugs if what == "bugs" else getattr(self.vendor, what)).clear()
        self._note_listed()

    @rule(box=BOX)
    def forbid(self, box):
        self.vendor.unreadable[box] = "The bot is not in it."
        self._note_listed()

    @rule()
    def allow(self):
        self.vendor.unreadable.clear()
        self._note_listed()

    @rule(status=st.sampled_from([None, 429, 503]))
    def fall(self, status):
        self.vendor.down = status

    @rule(path=st.sampled_from(["/api/boxes", "/api/boxitem/", "/api/boxes/a/", None]))
    def limit(self, path):
        """One kind of call is limited, whenever it is made."""

        def limited(request):
            asked = request.url.split("?")[0]
            is_meant = path is not None and (path in asked if path.endswith("/") else asked.endswith(path))
            return answer(status=429, retry_after="30") if is_meant else None

        self.vendor.before = limited

    @rule(data=st.data(), status=st.sampled_from([400, 403, 502]))
    @precondition(lambda self: self.events)
    def break_item(self, data, status):
        name = data.draw(st.sampled_from(sorted(self.events))).split(":")[1]
        self.vendor.broken[name] = status

    @rule()
    def mend_items(self):
        self.vendor.broken.clear()

    @rule()
    def revoke(self):
        self.vendor.kill()

    @rule()
    def reconnect(self):
        self._try(self.world.connect)

    # --- what people do ----------------------------------------------------------------------------------------------

    def _try(self, do, *arguments, **options):
        try:
            return do(*arguments, **options)
        except ConnectorsError:
            return None

    @rule(box=st.one_of(BOX, st.none()))
    def deliver(self, box):
        self._try(self.world.deliver, {"box": box})

    @rule(days=st.integers(1, 40), until=st.one_of(st.none(), st.integers(0, 20)))
    def backfill(self, days, until):
        now = self.world.clock.now()
        job = self._try(
            self.world.connectors.jobs.request,
            TENANT,
            self.connection.id,
            JobType.BACKFILL,
            since=now - days * DAY,
            until=None if until is None else now - until * DAY,
        )
        self.jobs += [job] if job else []

    @rule()
    def sync(self):
        self._try(self.world.connectors.jobs.request, TENANT, self.connection.id, JobType.INCREMENTAL)

    @rule(data=st.data())
    @precondition(lambda self: self.jobs)
    def cancel(self, data):
        self._try(self.world.connectors.jobs.cancel, TENANT, data.draw(st.sampled_from(self.jobs)).id)

    @rule(box=st.one_of(BOX, st.none()))
    def retry(self, box):
        key = "discovery" if box is None else f"box:{box}"
        self._try(self.world.connectors.streams.retry, TENANT, self.connection.id, key)

    @rule(box=BOX)
    def dismiss(self, box):
        row = self.world.stream(self.connection, f"box:{box}")
        parked = {f"item:{one.reference}:created" for one in self.world.parked(self.connection)}
        if self._try(self.world.connectors.streams.dismiss, TENANT, self.connection.id, f"box:{box}") is not None:
            lost = {key for key, (name, _) in self.events.items() if name == box} - self.seen()
            self.given_up |= lost if row.status is not StreamStatus.READY else lost & parked

    # --- time --------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 10, 60, 300, 900, 3600, 6 * 3600]), count=st.integers(1, 4))
    def wait(self, seconds, count):
        for _ in range(count):
            self.world.clock.advance(timedelta(seconds=seconds))
            self.work()

    @rule(number=st.integers(0, 12), how=st.sampled_from(["refused", "ambiguous", "killed before", "killed after"]))
    def fail(self, number, how):
        """One of the next commits fails, while workers are at work."""
        self.faults.planned = {number: how}
        self.work()
        self.faults.planned = {}

    @rule(seconds=st.sampled_from([1, 60, 3600]))
    def slice(self, seconds):
        """A page, and no more."""
        self.world.clock.advance(timedelta(seconds=seconds))
        self._try(self.world.connectors.sync.read, TENANT, self.connection.id, time_slice=timedelta(0))

    def work(self):
        for do in (self.world.tick, self.world.work):
            try:
                do()
            except (Killed, InfrastructureError):
                self.faults.planned = {}

    # --- what must hold ----------------------------------------------------------------------------------------------

    def seen(self):
        with self.world.uow() as uow:
            return {one.dedupe_key for one in uow.signals._rows.values()}

    @invariant()
    def no_claim_is_false(self):
        if not hasattr(self, "connection"):
            return
        discovery = self.world.stream(self.connection, DISCOVERY)
        if discovery is None or discovery.read_until is None:
            return
        (items,) = self.world.coverage(self.connection).values()
        seen = self.seen()
        for key, (box, at) in self.events.items():
            row = self.world.stream(self.connection, f"box:{box}")
            is_known = box in self.listed_since and self.listed_since[box] < discovery.read_until
            is_known = is_known or (row is not None and row.read_until is not None)
            if key in seen or key in self.given_up or not is_known or (row is not None and row.is_dismissed):
                continue
            if not any(one.from_at <= at < one.to_at for one in items.intervals):
                continue
            said = [(gap.from_at, gap.to_at) for gap in items.open_gaps]
            said += [(span.from_at, span.to_at) for span in items.pending]
            assert any(start <= at and (end is None or at < end) for start, end in said), (key, at, row, items)

    def missing(self):
        """What is wanted and was not read. Cancelling a backfill takes back what only it had asked for."""
        wanted = self.world.account(self.connection).requested
        named = {key for key, (_, at) in self.events.items() if any(one.from_at <= at < one.to_at for one in wanted)}
        return named - self.seen() - self.given_up

    def teardown(self):
        if not hasattr(self, "connection"):
            return
        self.faults.planned = {}
        self.vendor.down, self.vendor.before = None, lambda request: None
        for one in (self.bugs, self.vendor.closed, self.vendor.hidden, self.vendor.lost):
            one.clear()
        self.vendor.unreadable.clear()
        self.vendor.broken.clear()
        end = self.world.clock.now() + 30 * HOUR
        while self.world.clock.now() < end:
            self.world.clock.advance(10 * MINUTE)
            self.work()
            if self.world.reload(self.connection).status is not ConnectionStatus.ACTIVE:
                self.world.connect()
            (items,) = self.world.coverage(self.connection).values()
            if not self.missing() and not items.pending and not items.streams_aside:
                break
        self.no_claim_is_false()
        assert not self.missing()
        (items,) = self.world.coverage(self.connection).values()
        assert not items.pending
        assert not items.streams_aside
        assert self.world.reload(self.connection).status is ConnectionStatus.ACTIVE


TestTruth = Truth.TestCase
TestTruth.settings = settings(stateful_step_count=30)
