"""Rules of deliveries and subscriptions."""

from typing import Any

from connectors.adapters.memory.deliveries import MemoryDeliveryLog
from connectors.domain.flows.reading.coverage import Ledger
from connectors.domain.flows.webhooks import missed_deliveries, routing, subscriptions, verification
from connectors.domain.flows.webhooks.inbox import Inbox
from connectors.domain.flows.webhooks.ingest import Acceptance, IngestFlow
from connectors.domain.flows.webhooks.missed_deliveries import MissedDeliveries
from connectors.domain.flows.webhooks.routing import DeliveryRouter
from connectors.domain.flows.webhooks.subscription_maintenance import SubscriptionMaintenance
from connectors.domain.flows.webhooks.subscriptions import Subscriber
from connectors.domain.model.errors import InfrastructureError, UnexpectedResponseError
from connectors.domain.model.secret import SecretContext, SecretPurpose
from connectors.domain.model.sync import JobType
from connectors.domain.model.webhook import Recorded
from tests.simulation.mutants.mutant import Change, Mutant, act, always, deed, fault, nothing
from tests.simulation.mutants.reading import RARE_READS

_accept_delivery = IngestFlow.accept_delivery


def _accepted_anyway(self: Any, request: Any, **options: Any) -> Acceptance:
    try:
        return _accept_delivery(self, request, **options)
    except InfrastructureError:
        return Acceptance(recorded=Recorded.NEW)


def _recorded_again(self: Any, delivery: Any) -> Recorded:
    self._rows.put((delivery.tenant_id, delivery.id), delivery)
    return Recorded.NEW


def _end_stream_only(self: Any, uow: Any, connection: Any, _provider: Any, *, since: Any, reason: str) -> None:
    self._end_stream(uow, connection, since)


def _broken_from_now(self: Any, uow: Any, connection: Any, provider: Any, *, since: Any, reason: str) -> None:
    _note_stream_broken(self, uow, connection, provider, since=self.clock.now(), reason=reason)


_note_stream_broken = Ledger.note_stream_broken


def _own_transaction(self: Any, _uow: Any, connection: Any, event: Any) -> None:
    self.jobs.request(connection.tenant_id, connection.id, JobType.WEBHOOK, target=event.sync_target)


def _unreadable(_reading: Any, _event: Any, _connection: Any) -> Any:
    raise UnexpectedResponseError("It cannot be read.")


def _of_tenant(tenant_id: Any, _subscription_id: Any) -> SecretContext:
    return SecretContext(tenant_id, tenant_id, SecretPurpose.WEBHOOK_SECRET)


_DROPPED = (*RARE_READS, fault(2400, "mail", drop=1, duplicate=0, late=0, seconds=2400))
_HOOKS_VANISH = (*RARE_READS, act(2200, "hooks_vanish"))
_BROKEN = "hooks that vanish, and no read for long"

MUTANTS = (
    Mutant(
        name="accepted-without-storing",
        rule="A delivery that could not be stored is refused, so that the vendor sends it again.",
        changes=(Change(IngestFlow, "accept_delivery", _accepted_anyway),),
        breaks={"delivery-lost"},
        profile="database",
        slugs=("slack",),
    ),
    Mutant(
        name="deliveries-twice",
        rule="Of a delivery that comes twice, one is stored.",
        changes=(Change(MemoryDeliveryLog, "record", _recorded_again),),
        breaks={"twice"},
        profile="vendors",
        slugs=("slack",),
    ),
    Mutant(
        name="routed-to-nobody",
        rule="A delivery is for the connection whose subscription it names.",
        changes=(Change(DeliveryRouter, "_connections", always(())),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=RARE_READS,
        why="no read for long",
    ),
    Mutant(
        name="delivery-unread",
        rule="A provider package reads what its vendor sends.",
        changes=(Change(routing, "_finish", _unreadable),),
        breaks={"delivery-failed"},
        profile="calm",
        slugs=("jira",),
    ),
    Mutant(
        name="failed-delivery-unsaid",
        rule="A delivery that cannot be read leaves a gap.",
        changes=(Change(routing, "_finish", _unreadable), Change(Inbox, "_open_gaps", nothing)),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=RARE_READS,
        why="no read for long; that deliveries cannot be read is a part of the mutant, for no lever makes such",
    ),
    Mutant(
        name="broken-stream-unsaid",
        rule="A stream of deliveries that was broken leaves a gap.",
        changes=(Change(Ledger, "note_stream_broken", _end_stream_only),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=_HOOKS_VANISH,
        why=_BROKEN,
    ),
    Mutant(
        name="broken-stream-proves",
        rule="A broken stream of deliveries proves nothing.",
        changes=(Change(Ledger, "note_stream_broken", nothing),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=_HOOKS_VANISH,
        why=_BROKEN,
    ),
    Mutant(
        name="broken-from-now",
        rule="A stream counts as broken since it was last seen whole.",
        changes=(Change(Ledger, "note_stream_broken", _broken_from_now),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=_HOOKS_VANISH,
        why=_BROKEN,
    ),
    Mutant(
        name="no-probe",
        rule="The vendor is asked whether it still has a subscription.",
        changes=(Change(SubscriptionMaintenance, "_check_at_vendor", nothing),),
        breaks={"hook-missing", "false-claim", "silently-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=_HOOKS_VANISH,
        why=_BROKEN,
    ),
    Mutant(
        name="no-new-subscription",
        rule="What is not subscribed any more is subscribed again.",
        changes=(Change(SubscriptionMaintenance, "_subscribe_missing", nothing),),
        breaks={"degraded-for-ever", "hook-missing"},
        profile="calm",
        slugs=("jira",),
        aimed=(act(2200, "hooks_vanish"),),
        why="hooks that vanish",
    ),
    Mutant(
        name="predecessors-stay",
        rule="A subscription that works ends those before it.",
        changes=(
            Change(subscriptions, "end_predecessors", nothing),
            Change(verification, "end_predecessors", nothing),
        ),
        breaks={"degraded-for-ever"},
        profile="calm",
        slugs=("jira",),
        aimed=(act(2200, "hooks_vanish"),),
        why="hooks that vanish",
    ),
    Mutant(
        name="not-unsubscribed",
        rule="A disconnect ends the subscriptions at the vendor.",
        changes=(Change(Subscriber, "remove", nothing),),
        breaks={"hook-left"},
        profile="calm",
        slugs=("github",),
        aimed=(deed(4000, "disconnect"),),
        why="a disconnect",
    ),
    Mutant(
        name="no-missed-deliveries",
        rule="Deliveries that the vendor's log shows as failed are asked for again.",
        changes=(Change(MissedDeliveries, "recover", nothing),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("github",),
        aimed=_DROPPED,
        why="deliveries that never come, and no read for long",
    ),
    Mutant(
        name="recovered-without-arriving",
        rule="A missed delivery counts as recovered when it has arrived.",
        changes=(Change(missed_deliveries, "_has_arrived", always(True)),),
        breaks={"false-claim", "silently-missing"},
        profile="calm",
        slugs=("github",),
        aimed=_DROPPED,
        why="deliveries that never come, and no read for long",
    ),
    Mutant(
        name="signals-before-connection",
        rule="A delivery locks the connection that it changes before it writes signals, as reads do.",
        changes=(Change(Inbox, "_lock_changed", nothing),),
        breaks={"lock-order"},
        profile="calm",
        slugs=("zoho-cliq",),
    ),
    Mutant(
        name="job-beside-delivery",
        rule="What follows from a delivery is stored in its transaction.",
        changes=(Change(Inbox, "_enqueue", _own_transaction),),
        breaks={"nested-transaction"},
        profile="calm",
        slugs=("google-drive",),
    ),
    Mutant(
        name="webhook-secret-of-another",
        rule="A webhook secret is opened for the subscription that it was sealed for.",
        changes=(Change(verification, "subscription_context", _of_tenant),),
        breaks={"webhook-crash"},
        profile="calm",
        slugs=("google-drive",),
    ),
)
