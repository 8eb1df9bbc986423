"""How the invariants look at a run."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from connectors.domain.flows.connections.authorization import ConnectSettings
from connectors.domain.flows.reading.claims import Claims
from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import ALL_FAMILIES, CoveragePath, Gap, Interval
from connectors.domain.model.signal import Signal
from connectors.domain.model.spans import Spans
from tests.simulation.system import registry
from tests.simulation.truth import Fact

if TYPE_CHECKING:
    from tests.simulation.people import Entry
    from tests.simulation.ports.wire import Exchange
    from tests.simulation.run import Run

LOOKBACK = ConnectSettings().backfill or timedelta()
"""How far before its connection an account is read."""


def working(run: "Run", name: str) -> list[Connection]:
    """The account's active connections to its own user: another user sees other things."""
    return [
        one
        for one in run.connections(name)
        if one.status is ConnectionStatus.ACTIVE and not _may_be_anothers(run, name, one)
    ]


def _may_be_anothers(run: "Run", name: str, connection: Connection) -> bool:
    """Whether another user's consent for this tenant may be the one that the connection has now."""
    tenant = run.tenants.index(connection.tenant_id)
    consents = [one for one in run.people.deeds(name, "connect") if one.item["tenant"] == tenant]
    own = [one.began for one in consents if is_told(one, connection) and one.item.get("user") != "other"]
    return any(
        one.item.get("user") == "other"
        and one.ended >= max(own, default=0.0)
        and (not one.told or is_told(one, connection))  # what was not answered may have happened
        for one in consents
    )


def is_told(entry: "Entry", connection: Connection) -> bool:
    """Whether the consent was answered with that connection."""
    return any(one.id == connection.id for one in entry.told or ())


def deeds_of(run: "Run", entry: "Entry", *what: str) -> "list[Entry]":
    """Such deeds to the same account for the same tenant."""
    tenant = entry.item["tenant"]
    return [one for one in run.people.deeds(entry.item["account"], *what) if one.item["tenant"] == tenant]


def erasures(run: "Run", tenant: int) -> "list[Entry]":
    """Every time that somebody erased the tenant, or tried to."""
    return [one for one in run.people.diary if one.item["do"] == "erase" and one.item["tenant"] == tenant]


def deaths(run: "Run", name: str) -> "list[Entry]":
    """What happened to the account at the vendor after which the consent does not work any more."""
    deadly = run.accounts[name].deadly
    return [
        *run.people.deeds(name, "withdraw", "steal"),
        *(one for one in run.people.deeds(name, "act") if one.item["what"] in deadly),
    ]


def mortal_consents(run: "Run", name: str) -> "list[Entry]":
    """The consents that the vendor may have answered without a refresh token."""
    account = run.accounts[name]
    own = [one for one in run.people.deeds(name, "connect") if one.item.get("user") != "other"]
    found = []
    for deed in run.people.deeds(name, "act"):
        if deed.item["what"] in account.withholding:
            later = [one for one in own if one.ended >= deed.began]
            first = min((one.ended for one in later if one.is_ok), default=None)
            found += [one for one in later if first is None or one.began <= first]
    return found


def forgotten_tokens(run: "Run", mount: str) -> "list[Exchange]":
    """The requests for tokens whose answer nobody can know: whatever the vendor made then, nobody can use or revoke."""
    return [one for one in run.wire.log if one.mount == mount and one.gave_tokens and one.is_forgotten]


@attrs.define(eq=False)
class Shown:
    """What the service shows of one connection's account."""

    run: "Run"
    connection: Connection
    signals: list[Signal] = attrs.field(init=False)
    """Those of its tenant and provider, or its own where each connection has its own."""
    intervals: list[Interval] = attrs.field(init=False)
    open_gaps: list[Gap] = attrs.field(init=False)
    pending: dict[str, Spans] = attrs.field(init=False)
    """What is wanted and not read yet, by family: said, as a gap is."""

    def __attrs_post_init__(self) -> None:
        memory, wanted = self.run.database.memory, self.connection.id
        tenant_id, provider = self.connection.tenant_id, self.connection.provider
        is_shared = next(one for one in self.run.accounts.values() if one.slug == provider).signals_are_shared
        self.signals = [
            one
            for one in memory.signals.values()
            if one.tenant_id == tenant_id and one.provider == provider and (is_shared or one.connection_id == wanted)
        ]
        self.intervals = [one for rows in memory.intervals.values() for one in rows if one.connection_id == wanted]
        self.open_gaps = [one for one in memory.gaps.values() if one.connection_id == wanted and one.closed_at is None]
        self.pending = {}
        streams = registry().get(provider).streams
        assert streams is not None
        claims = Claims.of(
            streams,
            memory.accounts.get((tenant_id, wanted)),
            memory.streams.find("connection", (tenant_id, wanted)),
            [one for one in memory.parked.find("connection", (tenant_id, wanted)) if one.closed_at is None],
        )
        if claims is None:
            return
        for family in registry().get(provider).event_families:
            if not claims.is_pushed(family):
                self.intervals = [one for one in self.intervals if one.family != family.name]
            self.intervals += claims.intervals(family)
            self.open_gaps += claims.gaps(family)
            self.pending[family.name] = claims.pending(family)

    def missing(self, facts: list[Fact]) -> Iterator[Fact]:
        """The facts of this connection of which there is no signal."""
        titles: dict[str, list[str]] = {}
        for signal in self.signals:
            titles.setdefault(signal.kind, []).append(signal.title)
        texts = {kind: "\n".join(those) for kind, those in titles.items()}
        for fact in filter(self.concerns, facts):
            if fact.event.title not in texts.get(fact.event.kind, ""):
                yield fact

    def concerns(self, fact: Fact) -> bool:
        """Whether it happened in the connection's account: one consent may give a connection to each of several."""
        return fact.event.external_id in {None, self.connection.account.id}

    def other_kind(self, fact: Fact) -> str | None:
        """The kind of the signal that tells of the same instant in the same family, if it is another one."""
        families = self.families(fact.event.kind)
        for one in self.signals:
            if one.occurred_at == fact.event.at and one.kind != fact.event.kind and self.families(one.kind) == families:
                return one.kind
        return None

    def families(self, kind: str) -> list[str]:
        """The families to which the kind belongs."""
        provider = registry().get(self.connection.provider)
        return [family.name for family in provider.event_families if kind in family.kinds]

    def is_promised(self, fact: Fact, name: str) -> bool:
        """Whether it happened since the connection, or within the first backfill's reach before it."""
        created_at = self.connection.created_at
        ahead = max(self.run.plan.offsets.values(), default=0.0)  # by so much the date may be later than the consent
        is_new = fact.since >= self.run.schedule.second_of(created_at) - max(ahead, 0.0)
        if is_new and fact.event.is_traceless:
            return False
        if fact.event.at >= created_at - LOOKBACK:
            return True
        return is_new and not self.run.accounts[name].is_read_by_date and self._is_followed(fact)

    def _is_followed(self, fact: Fact) -> bool:
        """Whether a log was being followed when the fact appeared: what is older than what was asked for is in no list
        that is read for the first time."""
        memory = self.run.database.memory
        rows = memory.streams.find("connection", (self.connection.tenant_id, self.connection.id))
        begins = [one.span.from_at for row in rows for one in row.proven if one.path is CoveragePath.SYNC]
        return bool(begins) and fact.since >= self.run.schedule.second_of(max(begins))

    def claim(self, fact: Fact, *, grace: float) -> Interval | None:
        """An interval that says nothing is missing at the fact's time; a stream that still grows says so `grace` seconds
        late."""
        schedule, families, at = self.run.schedule, self.families(fact.event.kind), fact.event.at
        for one in self.intervals:
            until = schedule.now - grace if one.to_at is None else schedule.second_of(one.to_at)
            if one.family in families and one.from_at <= at and schedule.second_of(at) < until and fact.since < until:
                return one
        return None

    def gap(self, fact: Fact) -> Gap | None:
        """An open gap that says something may be missing when the fact happened, or when it was first shown."""
        families, at, seen_at = self.families(fact.event.kind), fact.event.at, self.run.schedule.instant_of(fact.since)
        for one in self.open_gaps:
            if one.family not in (*families, ALL_FAMILIES):
                continue
            if any(one.from_at <= when and (one.to_at is None or when <= one.to_at) for when in (at, seen_at)):
                return one
        return None
