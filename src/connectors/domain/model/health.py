"""The health of a connection, in one word."""

from collections.abc import Mapping
from enum import StrEnum

from connectors.domain.model.connection import Connection, ConnectionStatus, ReasonCode


class Health(StrEnum):
    """Whether a connection works, and if not, who can change that."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works, but the last attempt at something failed, or events may be missing. It recovers by itself if it can."""
    NEEDS_USER = "needs_user"
    """The user has to connect the account again."""
    OFF = "off"
    """Ended, or switched off."""


def health_of(connection: Connection, *, may_miss_events: bool = False) -> Health:
    """The connection's health.

    Args:
        connection: the connection.
        may_miss_events: whether something of it cannot be read, its coverage has an open gap, or a subscription does
            not work; False if the caller has not checked.
    """
    match connection.status:
        case ConnectionStatus.REAUTHORIZATION_REQUIRED:
            return Health.NEEDS_USER
        case ConnectionStatus.DISABLED | ConnectionStatus.REVOKED:
            return Health.OFF
        case ConnectionStatus.ACTIVE:
            return Health.DEGRADED if may_miss_events or reason_of(connection) is not None else Health.HEALTHY


_CONNECT_AGAIN = "Connect the account again: POST /connect/{provider}."
_RECOVERS = "Nothing to do: it is tried again by itself. What is wrong is in last_error."
NEXT_STEPS: Mapping[ReasonCode, str] = {
    ReasonCode.REFRESH_TOKEN_DEAD: _CONNECT_AGAIN,
    ReasonCode.REFRESH_LOST: _CONNECT_AGAIN,
    ReasonCode.TOKEN_DEAD: _CONNECT_AGAIN,
    ReasonCode.USER_DISCONNECTED: "Connect the account again if it is wanted: POST /connect/{provider}.",
    ReasonCode.WITHDRAWN_AT_PROVIDER: "Connect the account again if it is wanted: POST /connect/{provider}.",
    ReasonCode.TENANT_ERASED: "Nothing to do: the tenant was erased.",
    ReasonCode.OPERATOR: "Ask the operator of this service to switch the connection on.",
    ReasonCode.BEING_CHECKED: "Nothing to do: the provider is being asked whether the connection has ended.",
    ReasonCode.NO_REFRESH_TOKEN: (
        "Remove this app's access in the account's settings at the provider, then connect again; with Jira, request "
        "the scope offline_access. Otherwise the connection ends when its access token expires."
    ),
    ReasonCode.WEBHOOKS_FAILING: _RECOVERS,
    ReasonCode.STREAMS_ASIDE: _RECOVERS,
}
"""What to do next, for each reason."""


def reason_of(connection: Connection) -> ReasonCode | None:
    """Why the connection is not healthy, for programs; None if it is, as far as it knows itself."""
    if connection.status is not ConnectionStatus.ACTIVE:
        return connection.reason_code
    if connection.suspected_at is not None:
        return ReasonCode.BEING_CHECKED
    if connection.reason_code is not None:
        return connection.reason_code
    if connection.sync_error is not None:
        return ReasonCode.STREAMS_ASIDE
    return None if connection.webhook_error is None else ReasonCode.WEBHOOKS_FAILING


def next_step_of(connection: Connection, reason: ReasonCode | None) -> str | None:
    """What to do about the connection; None if it is well.

    Args:
        connection: the connection.
        reason: why it is not well; a connection that needs its user since before reasons were stored has none.
    """
    if reason is None:
        needs_user = connection.status is ConnectionStatus.REAUTHORIZATION_REQUIRED
        return _CONNECT_AGAIN if needs_user else None
    return NEXT_STEPS[reason]
