"""The health of a connection, in one word."""

from enum import StrEnum

from connectors.domain.model.connection import Connection, ConnectionStatus


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
            is_well = connection.sync_error is None and connection.webhook_error is None and not may_miss_events
            return Health.HEALTHY if is_well else Health.DEGRADED
