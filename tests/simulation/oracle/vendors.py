"""How the service treats the vendors, and what it leaves there."""

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors.domain.model.connection import Connection, ConnectionStatus
from connectors.domain.model.coverage import GapCause
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from tests.simulation.oracle import causes
from tests.simulation.oracle.holdings import has_living
from tests.simulation.oracle.looks import Shown, forgotten_tokens, working
from tests.simulation.ports.wire import Exchange, shape
from tests.simulation.system import registry

if TYPE_CHECKING:
    from tests.simulation.run import Run

MOST_AN_HOUR = 200
"""Requests of one kind within an hour, for each connection: a list that never ends would need more."""

MOST_REFUSED_AN_HOUR = 60
"""The same that were refused: a vendor that refuses is asked less, not more."""

DOWN = frozenset({None, 429, 500, 502, 503})
"""Statuses of a vendor that is down or limits us."""

SOON_NOTICED, SELDOM, MOST_WHEN_DOWN = 120.0, 15.0, 30
"""Seconds after which it is noticed, seconds between two requests then, and requests besides: hooks, tokens, retries."""

UNPROVEN = frozenset({GrantState.NEW, GrantState.ENDING, GrantState.LEFT})
"""States of grants whose tokens may live on at the vendor, and are nobody's."""

MOST_FAILING, FAILING_SELDOM = 90, 150.0
"""Requests for one list or thing that fails, and the seconds between two more."""

ARRIVES_WITHIN = 5400.0
"""Seconds within which an event is here as long as nothing is wrong with its provider."""


def is_polite(run: "Run") -> None:
    """No vendor is flooded, and a vendor that refuses is asked less, not more."""
    sent = [one for one in run.wire.log if one.by.startswith(("api", "worker", "ticker"))]
    refused = [one for one in sent if one.was_refused]
    answered = [one for one in sent if not one.was_refused]
    for mount in sorted({one.mount for one in run.accounts.values()}):
        names = [name for name, one in run.accounts.items() if one.mount == mount]
        connections = sum(max(len(run.connections(name)), 1) for name in names)
        a_minute = max(run.accounts[name].requests_a_minute for name in names)
        for exchanges, seconds, most, words in (
            (answered, 60, a_minute, f"more than {a_minute} within a minute"),
            (answered, 3600, max(MOST_AN_HOUR, a_minute) * connections, "more in an hour than any list has pages"),
            (refused, 3600, MOST_REFUSED_AN_HOUR * connections, f"more than {MOST_REFUSED_AN_HOUR} refused in an hour"),
        ):
            counts = Counter(
                (one.method, shape(one.path), int(one.at // seconds)) for one in exchanges if one.mount == mount
            )
            for method, path in sorted({(method, path) for (method, path, _), n in counts.items() if n > most}):
                run.schedule.report("busy", f"{method} {path}: {words}", mount)
        _meets_limits_rarely(run, mount)
        _asks_less_who_is_down(run, mount, [one for one in refused if one.mount == mount], connections)


def asks_less_what_fails(run: "Run") -> None:
    """A list or a thing that is refused while all else can be read is soon read only now and then."""
    asked: dict[tuple[str, TenantId | None, str], list[float]] = {}
    for turn in run.cost.turns:
        for one in run.cost.requests(turn):
            if one.failing is not None:
                asked.setdefault((one.mount, one.owner, one.failing), []).append(one.at)
    # A machine whose clock is ahead finds pauses over that have just begun.
    ahead = max(run.plan.offsets.values(), default=0.0) / SELDOM
    for (mount, _, _), times in sorted(asked.items(), key=str):
        if len(times) > MOST_FAILING + ahead + (times[-1] - times[0]) / FAILING_SELDOM:
            run.schedule.report("busy", "what fails is asked again and again", mount)


def _asks_less_who_is_down(run: "Run", mount: str, refused: list[Exchange], connections: int) -> None:
    """A vendor that refuses everything is soon asked only now and then, whether everything can be read or nothing."""
    for item in run.plan.items:
        if item["do"] != "refuse" or item["mount"] != mount or item["part"] or item["status"] not in DOWN:
            continue
        begin = item["at"] + SOON_NOTICED
        end = min(item["at"] + item["seconds"], run.plan.ends_at)
        number = sum(begin <= one.at <= end for one in refused)
        if number > (MOST_WHEN_DOWN + (end - begin) / SELDOM) * connections:
            text = f"a vendor that is down is asked more than every {SELDOM:.0f} seconds"
            run.schedule.report("busy", text, mount)


def _meets_limits_rarely(run: "Run", mount: str) -> None:
    limited = Counter(
        int(one.at // 3600)
        for one in run.wire.log
        if one.mount == mount and one.status == HTTPStatus.TOO_MANY_REQUESTS and not one.was_refused
    )
    most = max(one.limited_an_hour for one in run.accounts.values() if one.mount == mount)
    if max(limited.values(), default=0) > most:
        run.schedule.report("busy", f"limited more than {most} times within an hour", mount)


def leaves_nothing_behind(run: "Run") -> None:
    """What lives at the vendor belongs to a connection that lives here, or is on record as something that has to go or
    that we could not end."""
    for name, account in run.accounts.items():
        if account.is_out_of_reach:
            continue
        every = run.connections(name)
        living = [one for one in every if one.status is not ConnectionStatus.REVOKED]
        told_hooks, told_tokens = _told_hooks(run, account.slug), _told_tokens(run, account.slug)
        unheard = len(forgotten_tokens(run, account.mount))
        hooks, tokens, why = account.hooks(), account.tokens(), _consents(run, name)
        of_hooks, of_tokens = causes.of_hooks(run, name), causes.of_tokens(run, account.mount)
        users = [one for one in living if _uses_tokens(run, account.mount, one)]
        if not users and tokens > unheard + told_tokens:
            text = f"a token lives without a connection{why}{of_tokens}{_ending(every)}"
            run.schedule.report("token-left", text, account.slug)
        if not living:
            if hooks > told_hooks:
                text = f"a hook lives without a connection{why}{of_hooks}{causes.of_making(run, name)}"
                run.schedule.report("hook-left", text, account.slug)
            continue
        active = [one for one in living if one.status is ConnectionStatus.ACTIVE]
        # A vendor that asks for a pause of a day may not be asked for its hooks, either.
        is_hidden = run.wire.is_told_to_wait(account.mount) or (not account.lists_hooks and _have_vanished(run, name))
        if active and hooks == 0 and not is_hidden and _believes_in_hooks(run, {one.id for one in active}):
            run.schedule.report("hook-missing", "a subscription is active here and unknown there", account.slug)
        if users and account.has_own_tokens and tokens > len(users) + unheard + told_tokens:
            run.schedule.report("token-extra", f"more tokens live than connections{why}{of_tokens}", account.slug)
        if hooks > len(_subscriptions(run, {one.id for one in living})) + told_hooks:
            run.schedule.report("hook-extra", f"more hooks live than subscriptions here{why}{of_hooks}", account.slug)


def _uses_tokens(run: "Run", mount: str, connection: Connection) -> bool:
    """Whether it lives on tokens. Those of a connection that needs its user are dead, but for a vendor's mistake."""
    return connection.status is not ConnectionStatus.REAUTHORIZATION_REQUIRED or has_living(run, mount, connection)


def _consents(run: "Run", name: str) -> str:
    """What is odd about the account's consents, for those who read the finding."""
    consents = run.people.deeds(name, "connect")
    given = Counter((one.item["tenant"], one.item.get("user")) for one in consents)
    words = ["given again"] * any(number > 1 for number in given.values())
    words += ["not answered"] * any(not one.is_ok for one in consents)
    return f" (a consent was {' and one '.join(words)})" if words else ""


def _ending(connections: list[Connection]) -> str:
    """How the last of these connections ended, for those who read the finding."""
    last = max(connections, key=lambda one: one.updated_at, default=None)
    return "" if last is None else f", the last connection: {last.status_reason}"


def _subscriptions(run: "Run", ids: set[ConnectionId]) -> list[Subscription]:
    """Those of these connections that the vendor may have."""
    return [one for one in run.database.memory.subscriptions.values() if one.connection_id in ids and one.is_wanted]


def _believes_in_hooks(run: "Run", ids: set[ConnectionId]) -> bool:
    now = run.schedule.instant()
    return any(one.works_at(now) and one.external_id is not None for one in _subscriptions(run, ids))


def _have_vanished(run: "Run", name: str) -> bool:
    """Whether the vendor has dropped hooks of the account."""
    return any(entry.item["what"] == "hooks_vanish" for entry in run.people.deeds(name, "act"))


def _told_tokens(run: "Run", provider: str) -> int:
    """How many token sets are on record as about to go, or as left."""
    grants = (row.grant for row in run.database.memory.grants.values())
    number = sum(one.provider == provider and one.state in UNPROVEN for one in grants)
    return number + _told_of_erased(run, "tokens_left", provider)


def _told_hooks(run: "Run", provider: str) -> int:
    """How many hooks are on record as about to go, or as left."""
    states = {SubscriptionStatus.ENDING, SubscriptionStatus.LEFT}
    rows = run.database.memory.subscriptions.values()
    number = sum(one.provider == provider and one.status in states for one in rows)
    return number + _told_of_erased(run, "subscription_left", provider)


def _told_of_erased(run: "Run", what: str, provider: str) -> int:
    """How much the operator was told of that is on record no more."""
    memory = run.database.memory
    present = {str(key[1]) for table in (memory.grants, memory.subscriptions) for key, _ in table.items()}
    return sum((event, slug) == (what, provider) and one not in present for event, slug, one in set(run.left))


def reuses_no_token(run: "Run") -> None:
    """A refresh token that the vendor has replaced is not sent again later than the vendor tolerates: it looks stolen.

    Unless nobody can have what it was replaced by: whatever the vendor revokes then is lost in any case.
    """
    windows = {one.slug: registry().get(one.slug).oauth.reuse_window for one in run.accounts.values()}
    used_at: dict[str, float] = {}
    for one in run.wire.log:
        window = windows.get(one.mount)
        if one.refresh_token is None or window is None:
            continue
        first = used_at.get(one.refresh_token)
        if first is not None and one.at > first + window.total_seconds():
            run.schedule.report("token-reused", "a refresh token was sent again that was replaced long ago", one.mount)
            return
        if one.gave_tokens and not one.is_forgotten:
            used_at.setdefault(one.refresh_token, one.at)


def leaves_neighbours_unharmed(run: "Run") -> None:
    """While something is refused to another provider, to another tenant, or a single other thing, events arrive in time."""
    if run.plan.profile not in {"calm", "vendors"}:
        return
    refusals = [item for item in run.plan.items if item["do"] == "refuse" and not item.get("single")]
    is_lost = any(item["do"] in {"lose", "mail"} for item in run.plan.items)
    for name, account in run.accounts.items():
        has_odd = any(item.get("account") == name and item.get("what") in account.odd for item in run.plan.items)
        if is_lost or has_odd:
            continue
        troubled = {item.get("tenant") for item in refusals if item["mount"] == account.mount}
        for connection in working(run, name):
            if not troubled.isdisjoint({None, run.tenants.index(connection.tenant_id)}):
                continue
            shown = Shown(run, connection)
            began = run.schedule.second_of(connection.created_at)
            items = [gap for gap in shown.open_gaps if gap.cause is GapCause.ITEM_UNREADABLE]
            for fact in shown.missing(run.truth.facts(name)):
                if any(gap.from_at <= fact.event.at and (not gap.to_at or fact.event.at <= gap.to_at) for gap in items):
                    continue  # it may be the thing that is refused
                if shown.is_promised(fact, name) and max(fact.since, began) + ARRIVES_WITHIN < run.schedule.now:
                    note = f", {fact.event.note}" if fact.event.note else ""
                    text = f"{fact.event.kind} is not there after {ARRIVES_WITHIN:.0f} seconds{note}"
                    run.schedule.report("neighbour-harmed", text, account.slug)
                    return
