"""The plan: from a seed, who does what when and what goes wrong, as a list that can be read and shortened.

Chance of the plan and chance of the schedule are two: an item less leaves all others as they were.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from email.utils import format_datetime
from typing import Any

import attrs

from tests.simulation.schedule import Schedule
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
    "authorization_requests.finish",
    "authorization_requests.issue",
    "authorization_requests.note_grant",
    "authorization_requests.release",
    "authorization_requests.sweep",
    "authorization_requests.take",
    "connections.save",
    "coverage.open_gap",
    "coverage.prune",
    "coverage.replace_intervals",
    "coverage.save_gap",
    "accounts.add",
    "accounts.save",
    "deliveries.prune",
    "deliveries.record",
    "deliveries.settle",
    "grants.claim_refresh",
    "grants.prune",
    "grants.record_attempt",
    "grants.record_refreshed",
    "grants.release",
    "grants.save",
    "idempotency.sweep",
    "jobs.add_progress",
    "jobs.enqueue",
    "jobs.prune",
    "jobs.save",
    "limits.pause",
    "limits.reserve_all",
    "limits.sweep",
    "parked.prune",
    "parked.save",
    "queue.put",
    "schedules.cancel",
    "schedules.ensure",
    "schedules.plan",
    "signals.record_all",
    "snapshots.save",
    "subscriptions.delete",
    "subscriptions.prune",
    "subscriptions.save",
    "streams.request",
    "streams.save",
    "tenants.erase",
    "tenants.forget_erased",
    "tenants.mark_erased",
    "tenants.record",
)
"""Parts of the labels of commits. `test_levers.py` proves that each occurs, and that none is left out."""

CALLS: Mapping[str, tuple[str, ...]] = {
    "github": ("oauth/authorize", "oauth/access_token", "applications", "/hooks", "v3/user"),
    "google": ("oauth2/v2/auth", "google/token", "google/revoke", "/userinfo", "/certs", "/watch", "/stop"),
    "jira": ("jira/authorize", "oauth/token", "accessible-resources", "/webhook", "/myself"),
    "slack": ("oauth/v2/authorize", "oauth.v2.access", "auth.test", "apps.uninstall"),
    "zoho": ("oauth/v2/auth", "oauth/v2/token", "token/revoke", "oauth/user/info"),
}
"""Parts of the labels of requests that read no list, by mount: consents, tokens, hooks, the browser's too."""

HOOK_CALLS: Mapping[str, str] = {"github": "/hooks", "google": "/watch", "jira": "/webhook"}
"""Parts of the labels of requests that make a hook, by mount."""

TOKEN_CALLS: Mapping[str, str] = {
    "github": "oauth/access_token",
    "google": "google/token",
    "jira": "oauth/token",
    "slack": "oauth.v2.access",
    "zoho": "oauth/v2/token",
}
"""Parts of the labels of requests for tokens, by mount."""

MOST_CONSENTS: Mapping[str, int] = {"github": 10, "zoho": 20}
"""How many consents of a user one app may have, by mount, where that is few."""

PROCESSES = ("api", "worker-1", "worker-2", "ticker")

STATUSES = (None, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503)
"""How a vendor may refuse for a while; None: no connection."""

SINGLE_THINGS: Mapping[str, tuple[str, str, int]] = {
    "github": ("github", "/reviews", 500),
    "gmail": ("google", "/messages/", 403),
    "jira": ("jira", "/comment", 500),
    "slack": ("slack", "conversations.replies", 403),
}
"""By provider: how a single thing of a list may be refused, and nothing else of it."""

WAITS = ("0", "30", "-5", "1.5", "soon", "", "86400", "99999999999")
"""What a vendor may write into `Retry-After`, besides dates."""

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
    slow: Mapping[str, float] = attrs.field(factory=dict)
    """Process → how many seconds each of its steps takes at most, because its machine is slow."""


def make_plan(seed: int, *, profile: str | None = None, slugs: Iterable[str] = ()) -> Plan:
    """The plan of a seed.

    Args:
        seed: of everything.
        profile: None for the one whose turn it is.
        slugs: the providers; none: one or two drawn.
    """
    dice = random.Random(f"plan {seed}")
    profile = profile or list(PROFILES)[seed % len(PROFILES)]
    return _Draft(seed, profile, dice).make(list(slugs) or dice.sample(SLUGS, dice.choice((1, 1, 1, 2))))


class _Draft:
    """A plan that is being made."""

    def __init__(self, seed: int, profile: str, dice: random.Random) -> None:
        self.seed, self.profile, self.dice = seed, profile, dice
        self.ends_at = 1.75 * HOUR
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
            self.deaths([one.kind for one in accounts])
        if self.profile in {"vendors", "mixed"}:
            self.late_mail()
        if self.profile in {"vendors", "mixed"}:
            self.single_things(accounts)
        if self.profile in {"people", "mixed"}:
            self.rare_consents(accounts)
        dice = self.dice
        is_slow = self.profile in {"people", "deaths", "mixed"}
        return Plan(
            seed=self.seed,
            profile=self.profile,
            accounts=accounts,
            items=sorted(self.items, key=lambda item: item["at"]),
            ends_at=self.ends_at,
            settles_for=1.5 * HOUR,
            stalls=dice.choice((0.0, 0.0, 0.002)) if is_slow else 0.0,
            offsets=self.clocks() if self.profile in {"deaths", "mixed"} else {},
            slow={dice.choice(PROCESSES): dice.choice((0.05, 0.5))} if is_slow and dice.random() < 0.2 else {},
        )

    def clocks(self) -> dict[str, float]:
        """Clocks differ by seconds; now and then one is wrong by minutes."""
        offsets = {name: self.dice.choice((0.0, 0.0, 1.5, -2.0)) for name in PROCESSES}
        if self.dice.random() < 0.2:
            offsets[self.dice.choice(PROCESSES)] = self.dice.choice((-400.0, -90.0, 90.0, 400.0))
        return offsets

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
        connected = dice.uniform(200, 1000)
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
        if self.profile in {"vendors", "mixed"}:
            for what, part in sorted(kind.aimed.items()):
                if dice.random() < 0.5:
                    when = {"label": "ask:", "part": part, "n": dice.randint(1, 4)}
                    self.act(account, what, self.trap_time(), when=when)

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
            change = dice.choice(("nothing", "short_slices", "moved_url", "rare_reads", "no_url", "one_slot", "no_app"))
            if change != "no_app":
                self.add(at, what, change=change)
                return
            self.add(at, what, change=change, account=account.name)
            self.add(at + dice.choice((5, 600, 2400)), what, change="nothing")
            return
        if what == "connect_other":
            what, more["user"] = "connect", "other"
        if what == "connect":
            more.update(dice.choice(({}, {}, {}, {}, {"thinks": dice.choice((30, 550, 700))}, {"reloads": True})))
        self.add(at, what, account=account.name, tenant=tenant, **more)

    def vendor_trouble(self, account: PlannedAccount) -> None:
        dice, kind = self.dice, ACCOUNTS[account.kind]
        calls = CALLS[kind.mount]
        if self.profile == "vendors" and account.slug != "slack" and dice.random() < 0.25:
            self.trouble_of_one_tenant(account)
            return
        for _ in range(dice.randint(1, 3)):
            at, status = self.any_time(), dice.choice(STATUSES)
            self.add(
                at,
                "refuse",
                mount=kind.mount,
                part=dice.choice(["", "", *kind.lists, *kind.lists, dice.choice(calls)]),
                status=status,
                seconds=round(dice.choice((20, 200, 1000, 4000, 9000)) * dice.uniform(0.5, 1.5)),
                **({"retry_after": self.wait(at)} if status in {429, 503} and dice.random() < 0.7 else {}),
            )
        if dice.random() < 0.4:
            self.add(
                self.any_time(),
                "refuse",
                mount=kind.mount,
                part=dice.choice([*kind.lists, *kind.lists, dice.choice(calls)]),
                status=200,
                damage=dice.choice(("cut", "circle", "circle", "slow")),
                seconds=dice.choice((30, 600, 3000)),
            )
        for _ in range(dice.randint(0, 4)):
            how = dice.choice(("before", "after", "after", "cut"))
            part = dice.choice((dice.choice(calls), dice.choice(calls), dice.choice(kind.lists)))
            self.add(self.trap_time(), "lose", part=part, n=dice.randint(1, 3), how=how)

    def trouble_of_one_tenant(self, account: PlannedAccount) -> None:
        """A second tenant, which alone is refused: the first must not feel it."""
        dice, kind = self.dice, ACCOUNTS[account.kind]
        at = dice.uniform(600, 1800)
        self.add(at, "connect", account=account.name, tenant=1)
        if kind.is_set_up_by_hand:
            self.add(at + 60, "finish", account=account.name, tenant=1)
        self.add(
            dice.choice((0.0, at + 300)),
            "refuse",
            mount=kind.mount,
            part=dice.choice(["", *kind.lists]),
            status=dice.choice((403, 404, 500, 502)),
            tenant=1,
            seconds=9000,
        )

    def wait(self, at: float) -> str:
        """A value of `Retry-After`: seconds, a date soon, long past or far ahead, or nonsense."""
        if self.dice.random() < 0.6:
            return self.dice.choice(WAITS)
        ahead = self.dice.choice((-86400, 60, 1200, 10**9))
        return format_datetime(Schedule.instant_of(at + ahead).replace(microsecond=0), usegmt=True)

    def single_things(self, accounts: Sequence[PlannedAccount]) -> None:
        """A message, a thread, the reviews of a pull request, the comments of an issue that cannot be read. Drawn by dice
        of its own. Jira is asked for comments only where an issue has more of them than come with it."""
        dice = random.Random(f"single things {self.seed}")
        for account in accounts:
            if account.slug in SINGLE_THINGS and dice.random() < 0.4:
                mount, part, status = SINGLE_THINGS[account.slug]
                at, seconds = dice.choice((0.0, 1200.0, 2400.0)), dice.choice((1500, 9000))
                self.add(at, "refuse", mount=mount, part=part, status=status, seconds=seconds, single=True)
                if account.slug == "jira":
                    thread = {"account": account.name, "what": "long_thread", "dice": dice.randrange(10**6)}
                    self.add(dice.choice((100.0, at + 100.0, at + seconds)), "act", **thread)

    def rare_consents(self, accounts: Sequence[PlannedAccount]) -> None:
        """What a life of ordinary people meets too rarely: one consent too many, two tenants' consents at once, a thief, an
        end while a hook or a consent is being made. Drawn by dice of its own."""
        dice = random.Random(f"rare consents {self.seed}")
        for account in accounts:
            mount, at = ACCOUNTS[account.kind].mount, dice.uniform(2000, self.ends_at - 1500)
            what = dice.choice(("", "", "", "", "often", "twins", "steal", "end_in_subscribe", "erase_in_consent"))
            if what == "often" and mount in MOST_CONSENTS:
                self.add(at, "connect", account=account.name, tenant=1)
                for number in range(MOST_CONSENTS[mount]):
                    self.add(at + 90 + 30 * number, "connect", account=account.name, tenant=0)
            elif what == "twins":
                self.add(at, "connect", account=account.name, tenant=0)
                self.add(at + dice.choice((0.0, 0.1)), "connect", account=account.name, tenant=1)
            elif what == "steal":
                self.add(at, "steal", account=account.name)
            elif what == "end_in_subscribe" and mount in HOOK_CALLS:
                when = {"label": dice.choice(("ask:POST", "done:POST")), "part": HOOK_CALLS[mount], "n": 1}
                self.add(at, "disconnect", account=account.name, tenant=1, when=when)
                self.add(at, "connect", account=account.name, tenant=1)
            elif what == "erase_in_consent":
                when = {"label": dice.choice(("ask:POST", "done:POST")), "part": TOKEN_CALLS[mount], "n": 1}
                self.add(at, "erase", account=account.name, tenant=1, when=when)
                self.add(at, "connect", account=account.name, tenant=1)

    def trap_time(self) -> float:
        """When a trap is set: before the first consent, or at any time."""
        return self.dice.choice((0.0, self.any_time(0.0)))

    def late_mail(self) -> None:
        dice = self.dice
        if dice.random() < 0.6:
            self.add(
                self.any_time(),
                "mail",
                drop=dice.choice((0, 0, 0.3, 1)),
                duplicate=dice.choice((0, 0.3)),
                late=dice.choice((0, 90, 900)),
                deaf=dice.choice((0, 0, 0.5)),
                seconds=dice.choice((300, 3000)),
            )

    def database_trouble(self) -> None:
        dice = self.dice
        for _ in range(dice.randint(1, 5)):
            how = dice.choice(("before", "after"))
            self.add(self.trap_time(), "commit", write=dice.choice(WRITES), n=dice.choice((1, 1, 2, 3, 10)), how=how)
        if dice.random() < 0.3:
            self.add(self.any_time(), "database_down", seconds=dice.choice((1, 20, 400)))
        if dice.random() < 0.3:
            # In the middle of a transaction: after its first steps, before its last.
            when = {"label": dice.choice(WRITES), "part": "", "n": dice.randint(1, 5)}
            self.add(self.trap_time(), "database_down", seconds=dice.choice((0.5, 20)), when=when)
        if dice.random() < 0.3:
            self.add(self.any_time(), "failing_write", write=dice.choice(WRITES), seconds=dice.choice((5, 300, 3000)))

    def deaths(self, kinds: Sequence[str]) -> None:
        dice = self.dice
        for _ in range(dice.randint(1, 5)):
            label = dice.choice(("ask:", "done:", "commit:", "committed:", ""))
            more: dict[str, Any] = {}
            if label in {"ask:", "done:"}:
                kind = ACCOUNTS[dice.choice(kinds)]
                part, n = dice.choice((dice.choice(CALLS[kind.mount]), dice.choice(kind.lists))), dice.randint(1, 3)
            elif label:
                part, n = dice.choice(WRITES), dice.choice((1, 1, 2, 3, 10))
            else:
                part, n, more["process"] = "", dice.randint(1, 400), dice.choice(PROCESSES)
            if dice.random() < 0.15:
                more["also"] = dice.choice(PROCESSES)
            if dice.random() < 0.15:
                more["again"] = dice.choice((3.0, 3.2, 5.0, 30.0))
            self.add(self.trap_time(), "kill", label=label, part=part, n=n, **more)


def write_script(plan: Plan) -> str:
    """The plan as JSON, one line for each item."""
    head = attrs.asdict(plan, recurse=True)
    items = head.pop("items")
    lines = ",\n".join(f"  {json.dumps(item)}" for item in items)
    return f'{json.dumps(head)[:-1]},\n "items": [\n{lines}\n]}}\n'


def read_script(text: str) -> Plan:
    """The plan that `write_script` wrote. A `why` beside it is for those who read the script."""
    document = json.loads(text)
    document.pop("why", None)
    return Plan(**{**document, "accounts": [PlannedAccount(**one) for one in document["accounts"]]})
