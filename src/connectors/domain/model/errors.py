"""One tree of errors, in three families: who must act.

`RequestRejectedError`: our caller. `ProviderFailedError`: the other side (or its user). `InfrastructureError`: we.
Each class has a stable `code`, which is what clients and operators branch on. No message ever holds a token,
secret, signature or body. The table in `entrypoints/flask/problems.py` turns them into answers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from connectors.domain.model.limits import LimitScope


class ConnectorsError(Exception):
    """The root of what this library raises on purpose."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self, message: str, *, details: Sequence[Mapping[str, Any]] = (), next_step: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        """One mapping per fault where there are several, e.g. `{"field": "limit", "message": "…"}`."""
        self.next_step = next_step
        """What the reader can do about it, as one sentence, where we know."""


# --- our caller can mend it ------------------------------------------------------------------------------------


class RequestRejectedError(ConnectorsError):
    """The request cannot be served as it is; sending it again unchanged will not help."""

    code = "VALIDATION_ERROR"


class ValidationError(RequestRejectedError):
    """A value is missing, malformed or not known; `details` names each."""


class UnauthorizedError(RequestRejectedError):
    """No operator token, or one that is not ours."""

    code = "UNAUTHORIZED"


class ForbiddenError(RequestRejectedError):
    """A valid operator token that lacks the permission or the tenant."""

    code = "FORBIDDEN"


class TenantHeaderRequiredError(RequestRejectedError):
    """`X-Tenant-Id` is missing."""

    code = "TENANT_HEADER_REQUIRED"


class TenantNotFoundError(RequestRejectedError):
    """The tenant id is malformed or not known here."""

    code = "TENANT_NOT_FOUND"


class ConnectionNotFoundError(RequestRejectedError):
    """The tenant has no such connection."""

    code = "CONNECTION_NOT_FOUND"


class NotFoundError(RequestRejectedError):
    """No such signal, delivery, job or path."""

    code = "NOT_FOUND"


class ProviderNotSupportedError(RequestRejectedError):
    """No provider has this slug."""

    code = "PROVIDER_NOT_SUPPORTED"


class ProviderNotConfiguredError(RequestRejectedError):
    """The provider exists, but its client id or secret is not set here."""

    code = "PROVIDER_NOT_CONFIGURED"


class StateUnknownError(RequestRejectedError):
    """The OAuth `state` is unknown, used, expired or for something else: one answer, no hints."""

    code = "OAUTH_STATE_INVALID"


class AuthorizationDeniedError(RequestRejectedError):
    """The authorization server answered the redirect with an error, usually because the user said no."""

    code = "OAUTH_DENIED"


class DeliveryRejectedError(RequestRejectedError):
    """A webhook whose sender is not proven: signature missing, mismatched, too old, or no secret to check with."""

    code = "INVALID_SIGNATURE"


class ConflictError(RequestRejectedError):
    """The request contradicts the present state."""

    code = "CONFLICT"


# --- the provider, or its user -----------------------------------------------------------------------------------


class ProviderFailedError(ConnectorsError):
    """The provider did not do what was asked."""

    code = "PROVIDER_ERROR"


class RateLimitedError(ProviderFailedError):
    """The provider wants us to wait until `retry_at`."""

    code = "PROVIDER_RATE_LIMITED"

    def __init__(
        self, message: str, *, retry_at: datetime, scope: str | None = None, limit_scope: LimitScope = LimitScope.GRANT
    ) -> None:
        super().__init__(message)
        self.retry_at = retry_at
        self.scope = scope
        """What is limited: the name of one of the package's budgets, None for all that this reach may ask."""
        self.limit_scope = limit_scope
        """Whose requests the provider counted together, and who therefore has to wait."""


class ProviderUnavailableError(ProviderFailedError):
    """Timeout, connection failure, 5xx: try again later."""

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown
        """The request went out and no answer came: the provider may have done what was asked."""


class UnexpectedResponseError(ProviderFailedError):
    """An answer that the provider's documentation does not explain; a person has to look."""


class ForbiddenHostError(ProviderFailedError):
    """A URL outside the provider's allow-list was about to be called. It was not."""


class ReauthorizationRequiredError(ProviderFailedError):
    """The grant is dead (revoked, expired, rotated away): the user has to connect again."""

    code = "REAUTHORIZATION_REQUIRED"


class InsufficientScopeError(ReauthorizationRequiredError):
    """The user granted less than the call needs: connecting again with all scopes helps, retrying does not."""


class ClientRejectedError(ProviderFailedError):
    """The provider refused *our* client id or secret: an operator's mistake, no user can mend it."""


class AccessLostError(ProviderFailedError):
    """The thing is gone or no longer visible to this connection; the connection itself is well."""


# --- we ------------------------------------------------------------------------------------------------------------


class InfrastructureError(ConnectorsError):
    """Our database or vault failed: retry."""

    code = "SERVICE_UNAVAILABLE"


class SettingsError(ConnectorsError):
    """A setting is missing or wrong; the message names the variable, what was found and what is expected."""


class VaultError(InfrastructureError):
    """A sealed secret does not open: wrong key, foreign context or damaged ciphertext."""


class IllegalTransitionError(ConnectorsError):
    """A status cannot change this way: a bug in the caller."""
