"""The plan: from a seed, who does what when and what goes wrong, as a list that can be read and shortened.

Chance of the plan and chance of the schedule are two: an item less leaves all others as they were.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from tests.simulation.world import ACCOUNTS, SLUGS, kinds_of

Item = Mapping[str, Any]
"""`at` (virtual second), `do` (what), and what that takes. With `when` it waits for a switch point from then on."""

HOUR = 3600.0

PROFILES: Mapping[str, str] = {
    "calm": "Nothing goes wrong: proves that the oracle is quiet then.",
    "people": "Connect, reconnect, disconnect, withdraw, erase: several at once, by two tenants.",
    "vendors": "Outages, refusals, damaged answers, lost requests, odd dates, vanished hooks, late deliveries.",
    "database": "Commits that fail before and after they happened, writes that fail for minutes, a database that is down.",
    "deaths": "Processes that are killed between any two steps, clocks that differ, slow machines.",
    "mixed": "All of it.",
}

WRITES = (
    "grants.record_refreshed",
    "grants.release",
    "grants.record_attempt",
    "grants.claim_refresh",
    "grants.save",
    "grants.delete",
    "subscriptions.save",
    "connections.save",
    "jobs.save",
    "jobs.enqueue",
    "deliveries.record",
    "deliveries.settle",
    "signals.record_all",
    "sync_states.save",
    "schedules.plan",
    "queue.put",
    "limits.reserve_all",
    "coverage.replace_intervals",
    "authorization_requests.consume",
)
"""Parts of the labels of commits."""

ASKS = (
    "token",
    "oauth",
    "hook",
    "revoke",
    "channels",
    "stop",
    "watch",
    "messages",
    "issues",
    "search",
    "changes",
    "events",
    "history",
)
"""Parts of the labels of requests."""

STATUSES = (None, 400, 403, 404, 409, 429, 500, 502, 503)
"""How a vendor may refuse for a while; None: no connection."""

CONSENT_AGAIN = frozenset({"disconnect", "withdraw"})

SETUP_DELAYS = (30.0, 60.0, 4000.0)


@attrs.frozen
class PlannedAccount:
    """An account that the run begins with."""

    name: str
    kind: str
    """One of `ACCOUNTS`."""
    items: int = 0
    """Old items in its main list."""

    @property
    def slug(self) -> str:
        """Its provider."""
        return ACCOUNTS[self.kind].slug


@attrs.frozen(kw_only=True)
class Plan:
    """One run's script."""

    seed: int
    profile: str
    accounts: Sequence[PlannedAccount]
    items: Sequence[Item]
    ends_at: float
    """From that virtual second on nothing goes wrong any more."""
    settles_for: float
    """Seconds after that until the oracle judges."""
    stalls: float = 0.0
    offsets: Mapping[str, float] = attrs.field(factory=dict)
    """Process → by how many seconds its clock is ahead."""


def make_plan(seed: int, *, profile: str | None = None, slugs: Iterable[str] = ()) -> Plan:
    """The plan of a seed.

    Args:
        seed: of everything.
        profile: None for the one whose turn it is.
        slugs: the providers; none: one or two drawn.
    """
    dice = random.Random(f"plan {seed}")
    profile = profile or list(PROFILES)[seed % len(PROFILES)]
    return _Draft(seed, profile, dice).make(list(slugs) or dice.sample(SLUGS, dice.choice((1, 1, 2))))


class _Draft:
    """A plan that is being made."""

    def __init__(self, seed: int, profile: str, dice: random.Random) -> None:
        self.seed, self.profile, self.dice = seed, profile, dice
        self.ends_at = 2 * HOUR
        self.items: list[Item] = []

    def make(self, slugs: list[str]) -> Plan:
        accounts = []
        for number, slug in enumerate(slugs):
            kind = self.dice.choice(kinds_of(slug))
            pages = self.dice.choice((0, 0.2, 0.2, 1.3, 2.2))
            account = PlannedAccount(f"n{number}", kind, round(pages * ACCOUNTS[kind].page_items))
            accounts.append(account)
            self.live(account)
            if self.profile in {"people", "mixed", "database", "deaths"}:
                self.people(account)
            if self.profile in {"vendors", "mixed"}:
                self.vendor_trouble(account)
        if self.profile in {"database", "mixed"}:
            self.database_trouble()
        if self.profile in {"deaths", "mixed"}:
            self.deaths()
        if self.profile in {"vendors", "mixed"}:
            self.late_mail()
        dice = self.dice
        is_slow = self.profile in {"people", "deaths", "mixed"}
        return Plan(
            seed=self.seed,
            profile=self.profile,
            accounts=accounts,
            items=sorted(self.items, key=lambda item: item["at"]),
            ends_at=self.ends_at,
            settles_for=1.25 * HOUR,
            stalls=dice.choice((0.0, 0.0, 0.002)) if is_slow else 0.0,
            offsets={"worker-1": dice.choice((0.0, 1.5)), "worker-2": dice.choice((0.0, -2.0))}
            if self.profile in {"deaths", "mixed"}
            else {},
        )

    def add(self, at: float, do: str, **more: Any) -> None:
        self.items.append({"at": round(at, 1), "do": do, **more})

    def any_time(self, begin: float = 600.0) -> float:
        return self.dice.uniform(begin, self.ends_at)

    def act(self, account: PlannedAccount, what: str, at: float, **more: Any) -> None:
        self.add(at, "act", account=account.name, what=what, dice=self.dice.randrange(10**6), **more)

    def live(self, account: PlannedAccount) -> None:
        """An ordinary life at the vendor, and the first consent."""
        dice, kind = self.dice, ACCOUNTS[account.kind]
        usual = sorted(kind.usual)
        weights = [kind.usual[name][0] for name in usual]
        for _ in range(dice.randint(8, 22)):
            self.act(account, dice.choices(usual, weights)[0], self.any_time(0.0))
        connected = dice.uniform(300, 1800)
        self.add(connected, "connect", account=account.name, tenant=0)
        if kind.is_set_up_by_hand:
            late = dice.choice(SETUP_DELAYS)
            if self.profile == "calm" and account.slug == "slack":
                # At once: what a bot that is invited later has not read is a fault of its own.
                when = {"label": "done:POST", "part": "oauth.v2.access", "n": 1}
                self.add(connected, "finish", account=account.name, tenant=0, when=when)
            else:
                self.add(
                    connected + min(late, 60.0) if self.profile == "calm" else connected + late,
                    "finish",
                    account=account.name,
                    tenant=0,
                )
        if self.profile in {"people", "vendors", "mixed"}:
            for what in dice.sample(sorted(kind.odd), min(len(kind.odd), dice.choice((0, 1, 2, 3)))):
                self.act(account, what, self.any_time())
        if self.profile in {"vendors", "mixed"} and dice.random() < 0.5:
            # While one of its lists is being read: after the answer, before the next page is asked for.
            when = {"label": "done:", "part": dice.choice(kind.lists), "n": dice.randint(1, 4)}
            self.act(account, dice.choices(usual, weights)[0], self.any_time(), when=when)

    def people(self, account: PlannedAccount) -> None:
        """What people do, partly at the same time."""
        dice = self.dice
        is_busy = self.profile in {"people", "mixed"}
        deeds = ["refresh", "refresh", "sync", "backfill", "connect"]
        if is_busy:
            deeds += [
                "interval",
                "connect",
                "connect_other",
                "disconnect",
                "disconnect",
                "withdraw",
                "cancel",
                "replay",
                "restart",
            ]
            if dice.random() < 0.15:
                deeds.append("erase")
        for _ in range(dice.randint(3, 8) if is_busy else dice.randint(1, 3)):
            what, at = dice.choice(deeds), self.any_time(2000)
            tenant = dice.choice((0, 0, 1)) if is_busy else 0
            self.deed(what, account, tenant, at)
            if what in CONSENT_AGAIN and dice.random() < 0.7:
                self.deed("connect", account, tenant, at + dice.choice((1, 5, 60, 900)))
            if dice.random() < 0.35:
                company = dice.choice(("refresh", "connect", "disconnect" if is_busy else "sync", "sync"))
                self.deed(company, account, tenant, at + dice.choice((0.0, 0.1, 0.3, 1.0)))

    def deed(self, what: str, account: PlannedAccount, tenant: int, at: float) -> None:
        dice = self.dice
        more: dict[str, Any] = {}
        if what == "backfill":
            more["days"] = dice.choice((0.1, 2, 30))
        elif what == "interval":
            more["minutes"] = dice.choice((2, 5, 60))
        elif what == "restart":
            self.add(at, what, change=dice.choice(("nothing", "short_slices", "moved_url", "rare_reads")))
            return
        if what == "connect_other":
            what, more["user"] = "connect", "other"
        self.add(at, what, account=account.name, tenant=tenant, **more)

    def vendor_trouble(self, account: PlannedAccount) -> None:
        dice, kind = self.dice, ACCOUNTS[account.kind]
        for _ in range(dice.randint(1, 3)):
            status = dice.choice(STATUSES)
            self.add(
                self.any_time(),
                "refuse",
                mount=kind.mount,
                part=dice.choice(["", "", *kind.lists]),
                status=status,
                seconds=round(dice.choice((20, 200, 1000, 4000, 9000)) * dice.uniform(0.5, 1.5)),
                **(
                    {"retry_after": dice.choice(("0", "30", "-5", "soon", "86400"))}
                    if status in {429, 503} and dice.random() < 0.6
                    else {}
                ),
            )
        if dice.random() < 0.3:
            seconds = dice.choice((30, 600))
            damage = dice.choice(("cut", "circle"))
            self.add(
                self.any_time(),
                "refuse",
                mount=kind.mount,
                part=dice.choice(kind.lists),
                status=200,
                damage=damage,
                seconds=seconds,
            )
        for _ in range(dice.randint(0, 3)):
            how = dice.choice(("before", "after", "after", "cut"))
            self.add(self.any_time(), "lose", part=dice.choice(ASKS), n=dice.randint(1, 3), how=how)

    def late_mail(self) -> None:
        dice = self.dice
        if dice.random() < 0.6:
            self.add(
                self.any_time(),
                "mail",
                drop=dice.choice((0, 0, 0.3, 1)),
                duplicate=dice.choice((0, 0.3)),
                late=dice.choice((0, 90, 900)),
                seconds=dice.choice((300, 3000)),
            )

    def database_trouble(self) -> None:
        dice = self.dice
        for _ in range(dice.randint(1, 5)):
            self.add(
                self.any_time(),
                "commit",
                write=dice.choice(WRITES),
                n=dice.randint(1, 3),
                how=dice.choice(("before", "after")),
            )
        if dice.random() < 0.3:
            self.add(self.any_time(), "database_down", seconds=dice.choice((1, 20, 400)))
        if dice.random() < 0.3:
            self.add(self.any_time(), "failing_write", write=dice.choice(WRITES), seconds=dice.choice((5, 300, 3000)))

    def deaths(self) -> None:
        dice = self.dice
        for _ in range(dice.randint(1, 5)):
            kind = dice.choice(("ask:", "done:", "commit:", "committed:"))
            part = dice.choice(ASKS if kind in {"ask:", "done:"} else WRITES)
            self.add(self.any_time(), "kill", label=kind, part=part, n=dice.randint(1, 3))


def write_script(plan: Plan) -> str:
    """The plan as JSON, one line for each item."""
    head = attrs.asdict(plan, recurse=True)
    items = head.pop("items")
    lines = ",\n".join(f"  {json.dumps(item)}" for item in items)
    return f'{json.dumps(head)[:-1]},\n "items": [\n{lines}\n]}}\n'


def read_script(text: str) -> Plan:
    """The plan that `write_script` wrote."""
    document = json.loads(text)
    return Plan(**{**document, "accounts": [PlannedAccount(**one) for one in document["accounts"]]})
