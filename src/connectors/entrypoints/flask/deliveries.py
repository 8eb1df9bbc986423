"""A tenant's webhook deliveries."""

from http import HTTPStatus

from connectors.adapters.system.operators import Permission
from connectors.domain.model.ids import ConnectionId, DeliveryId
from connectors.domain.model.webhook import DeliveryFilter
from connectors.entrypoints.flask.operations import Answer, Auth, Call, operation, path_id
from connectors.entrypoints.flask.request_models import DeliveriesQuery
from connectors.entrypoints.representation.deliveries import DeliveryList, DeliveryView, show_delivery


@operation(
    "GET",
    "/deliveries",
    tag="deliveries",
    summary="List deliveries",
    auth=Auth.TENANT,
    permission=Permission.READ,
    query=DeliveriesQuery,
    answers={HTTPStatus.OK: DeliveryList},
    errors=("PROVIDER_NOT_SUPPORTED", "CONNECTION_NOT_FOUND"),
)
def list_deliveries(call: Call) -> Answer:
    """What providers delivered, newest first, without headers and bodies."""
    query: DeliveriesQuery = call.query
    connectors = call.service.connectors
    connection_id = None if query.connection_id is None else ConnectionId(query.connection_id)
    if connection_id is not None:
        connectors.queries.get_connection(call.tenant, connection_id)
    where = DeliveryFilter(
        provider=None if query.provider is None else connectors.queries.provider_to_list(call.tenant, query.provider),
        connection_id=connection_id,
        status=query.status,
    )
    listing = connectors.queries.list_deliveries(call.tenant, where, limit=query.limit, cursor=query.cursor)
    return Answer(
        DeliveryList(
            deliveries=[show_delivery(delivery, whole=False) for delivery in listing.items],
            next_cursor=listing.next_cursor,
            has_more=listing.has_more,
        )
    )


@operation(
    "GET",
    "/deliveries/{delivery_id}",
    tag="deliveries",
    summary="Show a delivery",
    auth=Auth.TENANT,
    permission=Permission.READ,
    answers={HTTPStatus.OK: DeliveryView},
)
def show_one_delivery(call: Call) -> Answer:
    """One delivery, with its headers (secrets removed) and its body."""
    delivery = call.service.connectors.queries.get_delivery(call.tenant, DeliveryId(path_id(call, "delivery_id")))
    return Answer(show_delivery(delivery, whole=True))


@operation(
    "POST",
    "/deliveries/{delivery_id}/replay",
    tag="deliveries",
    summary="Replay a delivery",
    auth=Auth.TENANT,
    permission=Permission.WRITE,
    answers={HTTPStatus.OK: DeliveryView},
    errors=("PROVIDER_NOT_SUPPORTED",),
)
def replay_delivery(call: Call) -> Answer:
    """The delivery, processed again from its stored bytes. Repeating it changes nothing."""
    delivery = call.service.connectors.ingest.replay(call.tenant, DeliveryId(path_id(call, "delivery_id")))
    return Answer(show_delivery(delivery, whole=False))


OPERATIONS = (list_deliveries, show_one_delivery, replay_delivery)
