"""What users, Core and operators do, and what they were told."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from connectors.domain.flows.connections.authorization import AuthorizationStart
from connectors.domain.flows.webhooks.subscriptions import webhook_url
from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import ConnectorsError, RequestRejectedError
from connectors.domain.model.ids import TenantId
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.sync import JobType
from connectors.domain.model.webhook import DeliveryFilter, DeliveryStatus
from connectors.domain.providers.contract import SubscriptionScope
from connectors.entrypoints.library import Connectors
from connectors_sandbox.families import RefreshRefusedError
from tests.simulation.processes import ConnectionLostError
from tests.simulation.system import MOVED_URL, Changes
from tests.simulation.world.account import Account

if TYPE_CHECKING:
    from tests.simulation.run import Run

OK = "ok"
LOST = "connection lost"


@attrs.frozen(kw_only=True)
class Entry:
    """One deed, and how it ended for who did it."""

    item: Mapping[str, Any]
    began: float
    ended: float
    outcome: str
    """`ok`, `connection lost`, or the error's name and message."""
    told: Any = None
    """What the answer said."""

    @property
    def is_ok(self) -> bool:
        """Whether it was answered, and well."""
        return self.outcome == OK


@attrs.frozen(kw_only=True)
class Repeat:
    """A callback that came once more, after the first had been answered with connections."""

    item: Mapping[str, Any]
    first: tuple[Connection, ...]
    again: tuple[Connection, ...]
    problem: str = ""
    """Why the second was refused, if it was."""


CHANGES: Mapping[str, Changes] = {
    "nothing": Changes(),
    "short_slices": Changes(time_slice=timedelta(milliseconds=200)),
    "moved_url": Changes(public_url=MOVED_URL),
    "rare_reads": Changes(sync_interval=timedelta(hours=1)),
    "no_url": Changes(public_url=None),
    "one_slot": Changes(slots=1),
    "no_app": Changes(),
}
"""What an operator may change, by name."""


@attrs.define(eq=False)
class People:
    """Everybody outside of the service."""

    run: "Run"
    diary: list[Entry] = attrs.field(factory=list)
    repeats: list[Repeat] = attrs.field(factory=list)

    def do(self, item: Mapping[str, Any]) -> None:
        """One item of the plan, noted in the diary with its outcome."""
        schedule = self.run.schedule
        began, outcome, told = schedule.now, OK, None
        try:
            told = DEEDS[item["do"]](self.run, item)
        except ConnectionLostError:
            outcome = LOST
        except ConnectorsError as error:
            outcome = f"{type(error).__name__}: {error.message}"
        except Exception as error:  # noqa: BLE001 - reported
            outcome = f"{type(error).__name__}: {error}"
            schedule.report("api-crash", f"{item['do']}: {type(error).__name__}: {error}")
        self.diary.append(Entry(item=item, began=began, ended=schedule.now, outcome=outcome, told=told))
        schedule.note("did", item["do"], outcome)

    def deeds(self, account: str, *what: str) -> list[Entry]:
        """What was done to that account."""
        return [one for one in self.diary if one.item.get("account") == account and one.item["do"] in what]


# --- at the vendors ------------------------------------------------------------------------------------------------


def _act(run: "Run", item: Mapping[str, Any]) -> None:
    run.truth.act(item["account"], item["what"], item["dice"])


def _withdraw(run: "Run", item: Mapping[str, Any]) -> None:
    run.accounts[item["account"]].withdraw()


def _steal(run: "Run", item: Mapping[str, Any]) -> None:
    """A thief has read our oldest refresh tokens and the app's secret, and uses them: the vendor may notice."""
    families = run.sandbox.worlds[run.accounts[item["account"]].mount].families
    for family in families.live():
        if family.replaced:
            with suppress(RefreshRefusedError):
                families.renewable(family.client_id, next(iter(family.replaced)))


def _finish(run: "Run", item: Mapping[str, Any]) -> None:
    """What a person sets up by hand, with the URL that the service shows."""
    account = run.accounts[item["account"]]
    found = run.connections(account.name, item["tenant"])
    url = None
    api = run.processes.api
    if found and api.public_url is not None:
        scope = api.providers.get(account.slug).webhooks.url_scope
        url = webhook_url(api.public_url, scope, account.slug, str(found[0].tenant_id), str(found[0].id))
        if scope is SubscriptionScope.CONNECTION:
            with suppress(RequestRejectedError):  # the connection has ended meanwhile
                url = api.webhook_secrets.url(found[0].tenant_id, found[0].id)
    account.finish(url)


# --- with the service ----------------------------------------------------------------------------------------------


def start_authorization(api: Connectors, tenant: TenantId, account: Account) -> AuthorizationStart:
    """The beginning of the account's consent."""
    scopes = list(account.scopes) or None
    return api.connect.start_authorization(tenant, account.slug, scopes=scopes, options=account.options)


def _connect(run: "Run", item: Mapping[str, Any]) -> tuple[Connection, ...] | None:
    account, tenant = run.accounts[item["account"]], run.tenants[item["tenant"]]
    user = account.other_user if item.get("user") == "other" else account.user
    started = run.processes.call(
        "api:connect",
        lambda api: api.connect.start_authorization(
            tenant, account.slug, scopes=account.scopes, options=account.options
        ),
    )
    answer = run.wire.exchange("GET", f"{started.authorize_url}&sandbox_user={user}", {})
    location = answer.headers.get("location")
    if location is None:
        return None  # the browser shows an error, and the user gives up
    query = dict(parse_qsl(urlsplit(location).query))
    run.schedule.sleep(item.get("thinks", 0.0), "thinks")
    told = run.processes.call("api:callback", lambda api: api.connect.complete_authorization(account.slug, query))
    if item.get("reloads"):
        try:
            again = run.processes.call(
                "api:callback", lambda api: api.connect.complete_authorization(account.slug, query)
            )
            run.people.repeats.append(Repeat(item=item, first=told, again=again))
        except RequestRejectedError as error:
            run.people.repeats.append(Repeat(item=item, first=told, again=(), problem=error.message))
    return told


def _each(name: str, work: Callable[[Connectors, Connection, Mapping[str, Any]], Any]) -> Callable[..., Any]:
    """A deed on the account's oldest connection of the tenant; nothing if there is none."""

    def deed(run: "Run", item: Mapping[str, Any]) -> Any:
        found = run.connections(item["account"], item["tenant"])
        if not found:
            return None
        return run.processes.call(f"api:{name}", lambda api: work(api, found[0], item))

    return deed


def _cancel(api: Connectors, connection: Connection, _item: Mapping[str, Any]) -> Any:
    waiting = api.jobs.unfinished(connection.tenant_id, connection.id)
    return [api.jobs.cancel(one.tenant_id, one.id) for one in waiting[:1]]


def _replay(api: Connectors, connection: Connection, _item: Mapping[str, Any]) -> Any:
    with api.sync.unit_of_work() as uow:
        where = DeliveryFilter(provider=connection.provider)
        found = uow.deliveries.list_page(connection.tenant_id, PageRequest(limit=20), where).items
    failed = [one for one in found if one.status is DeliveryStatus.FAILED] or found[:1]
    return [api.ingest.replay(one.tenant_id, one.id) for one in failed]


def _backfill(api: Connectors, connection: Connection, item: Mapping[str, Any]) -> Any:
    days = timedelta(days=item["days"])
    return api.jobs.request(connection.tenant_id, connection.id, JobType.BACKFILL, lookback=days)


def _interval(api: Connectors, connection: Connection, item: Mapping[str, Any]) -> Any:
    minutes = timedelta(minutes=item["minutes"])
    return api.connection_settings.set_sync_interval(connection.tenant_id, connection.id, minutes)


def _erase(run: "Run", item: Mapping[str, Any]) -> None:
    run.processes.call("api:erase", lambda api: api.tenants.erase(run.tenants[item["tenant"]]))


def _restart(run: "Run", item: Mapping[str, Any]) -> None:
    changes = CHANGES[item["change"]]
    if item["change"] == "no_app":
        changes = attrs.evolve(changes, without=frozenset({run.accounts[item["account"]].slug}))
    run.processes.restart(changes)


DEEDS: Mapping[str, Callable[..., Any]] = {
    "act": _act,
    "withdraw": _withdraw,
    "steal": _steal,
    "finish": _finish,
    "connect": _connect,
    "disconnect": _each("disconnect", lambda api, one, _: api.disconnect.end_connection(one.tenant_id, one.id)),
    "refresh": _each("refresh", lambda api, one, _: api.connect.refresh(one.tenant_id, one.id)),
    "sync": _each("sync", lambda api, one, _: api.jobs.request(one.tenant_id, one.id, JobType.INCREMENTAL)),
    "backfill": _each("backfill", _backfill),
    "interval": _each("interval", _interval),
    "cancel": _each("cancel", _cancel),
    "replay": _each("replay", _replay),
    "erase": _erase,
    "restart": _restart,
}
"""What an item of the plan may ask of people, by its `do`."""
