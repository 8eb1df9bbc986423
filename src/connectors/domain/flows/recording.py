"""From a package's draft to a kept signal: the one place where the paths (webhook, sync, backfill) meet."""

from datetime import datetime

from connectors.domain.model.connection import Connection
from connectors.domain.model.ids import SignalId
from connectors.domain.model.signal import Origin, Signal, SignalDraft


def make_signal(
    draft: SignalDraft, connection: Connection, signal_id: SignalId, *, received_at: datetime, origin: Origin
) -> Signal:
    """The draft as a signal of this connection."""
    return Signal(
        id=signal_id,
        tenant_id=connection.tenant_id,
        connection_id=connection.id,
        provider=connection.provider,
        kind=draft.kind,
        occurred_at=draft.occurred_at,
        received_at=received_at,
        title=draft.title,
        url=draft.url,
        actor=draft.actor,
        subject=draft.subject,
        container=draft.container,
        dedupe_key=draft.dedupe_key,
        origin=origin,
        payload=draft.payload,
    )
