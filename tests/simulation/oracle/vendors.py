"""How the service treats the vendors, and what it leaves there."""

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.webhook import Subscription, SubscriptionStatus
from tests.simulation.oracle.looks import Shown, working
from tests.simulation.ports.wire import shape
from tests.simulation.system import registry

if TYPE_CHECKING:
    from tests.simulation.run import Run

MOST_A_MINUTE = 60
"""Requests of one kind within a minute."""

MOST_REFUSED_AN_HOUR = 120
"""Requests to one vendor within an hour of which each was refused."""

MOST_LIMITED_AN_HOUR = 6
"""Requests within an hour that a vendor answers with 429 of its own: whoever knows its limits rarely meets them."""

ARRIVES_WITHIN = 5400.0
"""Seconds within which an event is here as long as nothing is wrong with its provider."""


def is_polite(run: "Run") -> None:
    """No vendor is flooded, and a vendor that refuses is asked less, not more."""
    a_minute: Counter[tuple[str, str, str, int]] = Counter()
    refused: Counter[tuple[str, int]] = Counter()
    limited: Counter[tuple[str, int]] = Counter()
    for one in run.wire.log:
        if not one.by.startswith(("api", "worker", "ticker")):
            continue
        a_minute[one.mount, one.method, shape(one.path), int(one.at // 60)] += 1
        refused[one.mount, int(one.at // 3600)] += one.was_refused
        limited[one.mount, int(one.at // 3600)] += one.status == HTTPStatus.TOO_MANY_REQUESTS and not one.was_refused
    for (mount, method, path), number in sorted(_most(a_minute).items()):
        if number > MOST_A_MINUTE:
            run.schedule.report("busy", f"{method} {path}: more than {MOST_A_MINUTE} within a minute", mount)
    for (mount,), number in sorted(_most(refused).items()):
        if number > MOST_REFUSED_AN_HOUR:
            run.schedule.report("busy", f"more than {MOST_REFUSED_AN_HOUR} refused requests within an hour", mount)

    for (mount,), number in sorted(_most(limited).items()):
        if number > MOST_LIMITED_AN_HOUR:
            run.schedule.report("busy", f"limited more than {MOST_LIMITED_AN_HOUR} times within an hour", mount)


def _most(counts: Counter) -> dict[tuple, int]:
    most: dict[tuple, int] = {}
    for (*what, _), number in counts.items():
        most[tuple(what)] = max(most.get(tuple(what), 0), number)
    return most


def leaves_nothing_behind(run: "Run") -> None:
    """What lives at the vendor belongs to a connection that lives here, or the connection's error says that it stays."""
    for name, account in run.accounts.items():
        if account.is_out_of_reach:
            continue
        every = run.connections(name)
        living = [one for one in every if one.status is not ConnectionStatus.REVOKED]
        is_told = any(one.end_error for one in every)
        hooks, tokens, why = account.hooks(), account.tokens(), _consents(run, name)
        if not living:
            if hooks and not is_told:
                run.schedule.report("hook-left", f"a hook lives without a connection{why}", account.slug)
            if tokens and not is_told and not _was_refused_by_browser(run, name):
                run.schedule.report("token-left", f"a token lives without a connection{why}", account.slug)
            continue
        active = [one for one in living if one.status is ConnectionStatus.ACTIVE]
        if active and hooks == 0 and _believes_in_hooks(run, {one.id for one in active}):
            run.schedule.report("hook-missing", "a subscription is active here and unknown there", account.slug)
        if account.has_own_tokens and tokens > len(living) and not is_told:
            run.schedule.report("token-extra", f"more tokens live than connections{why}", account.slug)
        if hooks > len(_subscriptions(run, {one.id for one in living})) and not is_told:
            run.schedule.report("hook-extra", f"more hooks live than subscriptions here{why}", account.slug)


def _consents(run: "Run", name: str) -> str:
    """What is odd about the account's consents, for those who read the finding."""
    consents = run.people.deeds(name, "connect")
    given = Counter((one.item["tenant"], one.item.get("user")) for one in consents)
    words = ["given again"] * any(number > 1 for number in given.values())
    words += ["not answered"] * any(not one.is_ok for one in consents)
    return f" (a consent was {' and one '.join(words)})" if words else ""


def _subscriptions(run: "Run", ids: set[ConnectionId]) -> list[Subscription]:
    """Those of these connections that the vendor may have."""
    return [
        one
        for one in run.database.memory.subscriptions.values()
        if one.connection_id in ids and one.status is not SubscriptionStatus.ENDED
    ]


def _believes_in_hooks(run: "Run", ids: set[ConnectionId]) -> bool:
    now = run.schedule.instant()
    return any(one.works_at(now) and one.external_id is not None for one in _subscriptions(run, ids))


def _was_refused_by_browser(run: "Run", name: str) -> bool:
    """Whether a consent was given whose code never came to us: its grant is the user's to take back."""
    return any(entry.is_ok and not entry.told for entry in run.people.deeds(name, "connect"))


def reuses_no_token(run: "Run") -> None:
    """A refresh token that the vendor has replaced is not sent again later than the vendor tolerates: it looks stolen."""
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
        if one.status == HTTPStatus.OK:
            used_at.setdefault(one.refresh_token, one.at)


def leaves_neighbours_unharmed(run: "Run") -> None:
    """While another provider is in trouble, events of a provider without any arrive in time."""
    if run.plan.profile not in {"calm", "vendors"}:
        return
    troubled = {item["mount"] for item in run.plan.items if item["do"] == "refuse"}
    is_lost = any(item["do"] in {"lose", "mail"} for item in run.plan.items)
    for name, account in run.accounts.items():
        has_odd = any(item.get("account") == name and item.get("what") in account.odd for item in run.plan.items)
        if account.mount in troubled or is_lost or has_odd:
            continue
        for connection in working(run, name):
            shown = Shown(run, connection)
            began = run.schedule.second_of(connection.created_at)
            for fact in shown.missing(run.truth.facts(name)):
                if max(fact.since, began) + ARRIVES_WITHIN < run.schedule.now:
                    text = f"{fact.event.kind} is not there after {ARRIVES_WITHIN:.0f} seconds"
                    run.schedule.report("neighbour-harmed", text, account.slug)
                    return
