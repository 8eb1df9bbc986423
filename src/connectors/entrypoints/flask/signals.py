"""A tenant's signals."""

from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import ConnectionId, SignalId
from connectors.domain.model.signal import SignalFilter
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.flask.request_models import SignalsQuery
from connectors.entrypoints.representation.signals import SignalList, SignalView, show_signal


@operation(
    "GET",
    "/signals",
    tag="signals",
    summary="List signals",
    auth=Auth.TENANT,
    permission=Permission.READ,
    query=SignalsQuery,
    answers={HTTPStatus.OK: SignalList},
    errors=("PROVIDER_NOT_SUPPORTED", "CONNECTION_NOT_FOUND"),
)
def list_signals(call: Call) -> Answer:
    """What happened, newest first by when it occurred. Pages are stable while new signals arrive."""
    query: SignalsQuery = call.query
    connectors = call.service.connectors
    where = SignalFilter(
        provider=None if query.provider is None else connectors.queries.provider_to_list(call.tenant, query.provider),
        connection_id=None if query.connection_id is None else ConnectionId(query.connection_id),
        kind=query.kind,
        occurred_after=query.occurred_after,
        occurred_before=query.occurred_before,
    )
    listing = connectors.queries.list_signals(
        call.tenant, where, limit=query.limit, cursor=query.cursor, with_payload=query.include_payload
    )
    return Answer(
        SignalList(
            signals=[show_signal(signal, with_payload=query.include_payload) for signal in listing.items],
            next_cursor=listing.next_cursor,
            has_more=listing.has_more,
        )
    )


@operation(
    "GET",
    "/signals/{signal_id}",
    tag="signals",
    summary="Show a signal",
    auth=Auth.TENANT,
    permission=Permission.READ,
    answers={HTTPStatus.OK: SignalView},
)
def show_one_signal(call: Call) -> Answer:
    """One signal, with its payload."""
    signal = call.service.connectors.queries.get_signal(call.tenant, SignalId(path_id(call, "signal_id")))
    return Answer(show_signal(signal, with_payload=True))


OPERATIONS = (list_signals, show_one_signal)
