"""One run: everything of a plan, played by the schedule, and judged."""

import logging
import random
import time
from collections.abc import Mapping
from functools import partial
from uuid import UUID

from connectors.adapters.memory import MemoryDatabase
from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import TenantId
from connectors_sandbox import create_sandbox
from tests.simulation.core import Core
from tests.simulation.faults import FAULTS, arm_item
from tests.simulation.mail import Mail
from tests.simulation.oracle import Auditor, Holdings, judge
from tests.simulation.oracle.cost import Cost
from tests.simulation.oracle.order import Order
from tests.simulation.people import DEEDS, People
from tests.simulation.plan import Item, Plan
from tests.simulation.ports.chance import SeededEntropy
from tests.simulation.ports.database import Database
from tests.simulation.ports.queue import TaskQueue
from tests.simulation.ports.time import VendorClock
from tests.simulation.ports.wire import Wire
from tests.simulation.processes import Processes
from tests.simulation.schedule import Finding, Schedule, StuckError
from tests.simulation.system import HOSTS, PUBLIC_URL, VENDORS_URL, Surroundings
from tests.simulation.truth import Truth
from tests.simulation.world import ACCOUNTS
from tests.support import stage

LEFT = frozenset({"subscription_left", "tokens_left"})


class Run:
    """A plan on its way, and what its parts need of each other."""

    def __init__(self, plan: Plan, *, keep_trace: bool = False) -> None:
        self.plan = plan
        self.schedule = schedule = Schedule(plan.seed, stalls=plan.stalls, slow=plan.slow, keep_trace=keep_trace)
        self.mail = Mail(self, plan.seed)
        self.sandbox = create_sandbox(
            VendorClock(schedule),
            auto_consent=True,
            allowed_hosts=HOSTS,
            seed=plan.seed,
            send=self.mail.send,
            vendors={ACCOUNTS[one.kind].mount for one in plan.accounts},
        )
        self.sandbox.core.url = VENDORS_URL
        self.sandbox.app.config["PROPAGATE_EXCEPTIONS"] = True  # the wire reports a bug of the sandbox
        self.wire = Wire(schedule, self.sandbox, plan.seed)
        self.wire.find_owner = self.find_owner
        self.wire.has_circles = any(item.get("damage") == "circle" for item in plan.items)
        self.database = Database(schedule)
        self.around = Surroundings(
            schedule=schedule, database=self.database, wire=self.wire, entropy=SeededEntropy(plan.seed)
        )
        self.processes = Processes(self.around, TaskQueue(schedule, self.database), dict(plan.offsets))
        self.tenants = [TenantId(UUID(int=1000 + number)) for number in range(2)]
        self.accounts = {one.name: ACCOUNTS[one.kind](self.sandbox, one.name) for one in plan.accounts}
        self.people = People(self)
        self.truth = Truth(self)
        self.auditor = Auditor(self)
        self.holdings = Holdings(self)
        self.order, self.cost = Order(self), Cost(self)
        self.wire.hear = self.order.hear
        self.database.listeners += [self.order.look, self.cost.look]
        used = {item["tenant"] for item in plan.items if "tenant" in item}
        self.cores = [Core(self, tenant_id) for number, tenant_id in enumerate(self.tenants) if number in used]
        self.undisturbed: dict[str, MemoryDatabase] = {}
        """What an undisturbed reader found in the end, by account."""
        self.left: list[tuple[str, str, str]] = []
        """What the operator was told that we could not end: event, provider, id."""
        self.cpu_seconds = 0.0

    def connections(self, account: str, tenant: int | None = None) -> list[Connection]:
        """The account's connections, oldest first. No two accounts of a run have the same provider."""
        slug = self.accounts[account].slug
        return [
            one
            for one in self.database.memory.connections.values()
            if one.provider == slug and (tenant is None or one.tenant_id == self.tenants[tenant])
        ]

    def find_owner(self, headers: Mapping[str, str]) -> TenantId | None:
        """The tenant whose access token a request has. The simulation's vault hides nothing."""
        values = {name.lower(): value for name, value in headers.items()}
        token = values.get("authorization", "").rpartition(" ")[2].encode()
        grants = (row.grant for row in self.database.memory.grants.values())
        owners = (one for one in grants if one.token_set is not None and token in one.token_set.ciphertext)
        return next((one.tenant_id for one in owners), None) if token else None

    def play(self) -> list[Finding]:
        """Play it and judge it; what was found."""
        began = time.process_time()
        with _Crashes(self):
            self._set_up()
            try:
                self.schedule.run(self.plan.ends_at)
                self._heal()
                self.schedule.run(self.plan.ends_at + self.plan.settles_for)
            except StuckError as error:
                self.schedule.report("stuck", str(error))
            self.processes.is_over = True
            self.schedule.end()
            judge(self)
        self.cpu_seconds = time.process_time() - began
        return self.schedule.findings

    def _set_up(self) -> None:
        for mount in self.sandbox.worlds:
            stage.REGISTER[mount](self.sandbox)
        for planned in self.plan.accounts:
            dice = random.Random(f"prepare {self.plan.seed} {planned.name}")
            self.accounts[planned.name].prepare(planned.items, dice)
        self.holdings.watch()
        self.truth.begin()
        self.processes.start()
        schedule = self.schedule
        schedule.spawn("mail", self.mail.work)
        schedule.spawn("auditor", self.auditor.work)
        for number, core in enumerate(self.cores):
            schedule.spawn(f"core-{number}", core.work)
        schedule.spawn("hands", self._set_up_by_hand)
        for item in self.plan.items:
            schedule.spawn(
                f"{'fault' if item['do'] in FAULTS else 'people'}:{item['do']}", self._actor(item), at=item["at"]
            )

    def _set_up_by_hand(self) -> None:
        """Once for all tenants: the app's URL at Slack, and a push subscription of Gmail's topic."""
        if "slack" in self.sandbox.worlds:
            while not self.sandbox.slack.save_request_url(stage.SLACK_APP[0], f"{PUBLIC_URL}/webhooks/slack"):
                self.schedule.sleep(5.0, "tries again")
        if "google" in self.sandbox.worlds:
            account = stage.PUSH_ACCOUNT
            self.sandbox.google.add_push_subscription(f"{PUBLIC_URL}/webhooks/gmail", service_account=account)

    def _actor(self, item: Item) -> partial[None]:
        if item["do"] in FAULTS:
            act = partial(FAULTS[item["do"]], self, item)
        else:
            assert item["do"] in DEEDS, item
            act = partial(self.people.do, item)
        return partial(arm_item, self, item, act) if "when" in item else act

    def _heal(self) -> None:
        """From now on nothing goes wrong."""
        self.schedule.traps.clear()
        self.database.heal()
        self.wire.heal()
        self.mail.heal()
        self.processes.heal()


class _Crashes(logging.Handler):
    """Within the block, what the product logs as a bug is a finding."""

    def __init__(self, run: Run) -> None:
        super().__init__(logging.ERROR)
        self._run = run
        self._logger = logging.getLogger("connectors")

    def emit(self, record: logging.LogRecord) -> None:
        """Report it. Or note what we could not end at a vendor: of an erased tenant nothing else tells it."""
        if record.getMessage() in LEFT:
            self._run.left.append((record.getMessage(), record.__dict__["provider"], record.__dict__["subject_id"]))
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            self._run.schedule.report("crash", f"{record.getMessage()}: {type(error).__name__}: {error}")

    def __enter__(self) -> None:
        self._kept = self._logger.level, self._logger.propagate
        self._logger.addHandler(self)
        self._logger.setLevel(logging.ERROR)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._kept
        self._logger.setLevel(level)  # an assignment would leave the cached levels of its children as they are
