"""One tree of errors, in three families, by who must act.

`RequestRejectedError`: our caller. `ProviderFailedError`: the provider, or its user. `InfrastructureError`: us. Each
class has a stable `code`, on which clients and operators branch. No message ever holds a token, secret, signature or
body. The table in `entrypoints/representation/problem.py` gives each code its HTTP status.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from connectors.domain.model.limits import LimitScope


class ConnectorsError(Exception):
    """The root of all errors that this library raises on purpose."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(
        self, message: str, *, details: Sequence[Mapping[str, Any]] = (), next_step: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        """One mapping per error where there are several, e.g. `{"field": "limit", "message": "…"}`."""
        self.next_step = next_step
        """What the reader can do about it, as one sentence, if we know."""


def error_text(error: Exception) -> str:
    """The error in words that may be kept and shown. Of a bug, only its type: its message may quote anything."""
    return error.message if isinstance(error, ConnectorsError) else f"internal error: {type(error).__name__}"


def text_with_next_step(error: Exception) -> str:
    """`error_text`, and what the reader can do about it, if we know: where the text is all that is kept."""
    next_step = error.next_step if isinstance(error, ConnectorsError) else None
    return error_text(error) if next_step is None else f"{error_text(error)} {next_step}"


def is_bug(error: Exception) -> bool:
    """Whether nobody foresaw the error, so that its traceback belongs into the log."""
    return not isinstance(error, ConnectorsError)


# --- our caller can fix it -------------------------------------------------------------------------------------


class RequestRejectedError(ConnectorsError):
    """The request cannot be served as it is; sending it again unchanged will not help."""

    code = "VALIDATION_ERROR"


class ValidationError(RequestRejectedError):
    """A value is missing, malformed or unknown; `details` names each."""


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
    """The tenant id is malformed or unknown."""

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
    """The OAuth `state` is unknown, expired or for something else: one answer, no hints."""

    code = "OAUTH_STATE_INVALID"


class AuthorizationDeniedError(RequestRejectedError):
    """The authorization server redirected back with an error, usually because the user declined."""

    code = "OAUTH_DENIED"


class DeliveryRejectedError(RequestRejectedError):
    """A webhook from an unproven sender: signature missing, mismatched or too old, or no secret to check it with."""

    code = "INVALID_SIGNATURE"


class TooManyDeliveriesError(RequestRejectedError):
    """A webhook URL was called more often than its rate limit allows."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds."""


class ConflictError(RequestRejectedError):
    """The request conflicts with the current state."""

    code = "CONFLICT"


# --- the provider, or its user -----------------------------------------------------------------------------------


class ProviderFailedError(ConnectorsError):
    """The provider did not do what was asked, or did not say that it did."""

    code = "PROVIDER_ERROR"

    outcome_unknown: bool = False
    """The request may have reached the provider, and no readable answer came: it may have done what was asked."""


class RateLimitedError(ProviderFailedError):
    """The provider wants us to wait until `retry_at`."""

    code = "PROVIDER_RATE_LIMITED"

    def __init__(
        self, message: str, *, retry_at: datetime, scope: str | None = None, limit_scope: LimitScope = LimitScope.GRANT
    ) -> None:
        super().__init__(message)
        self.retry_at = retry_at
        self.scope = scope
        """The name of the provider package's budget that was exceeded; None for everything in this limit scope."""
        self.limit_scope = limit_scope
        """Whose requests the provider counts together, and who therefore has to wait."""


class ProviderUnavailableError(ProviderFailedError):
    """Timeout, connection failure, 5xx: try again later."""

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class UnexpectedResponseError(ProviderFailedError):
    """A response that the provider's documentation does not explain; a person has to look at it."""

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        next_step: str | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message, details=details, next_step=next_step)
        self.outcome_unknown = outcome_unknown


class ForbiddenHostError(ProviderFailedError):
    """A URL outside the provider's allow-list was about to be called. It was not."""


class ReauthorizationRequiredError(ProviderFailedError):
    """The grant is dead (revoked, expired, rotated away): the user has to connect again."""

    code = "REAUTHORIZATION_REQUIRED"


class InsufficientScopeError(ReauthorizationRequiredError):
    """The user granted less than the call needs: connecting again with all scopes helps, retrying does not."""


class ClientRejectedError(ProviderFailedError):
    """The provider refused *our* client id or secret: an operator's mistake, which no user can fix."""


class AccessLostError(ProviderFailedError):
    """The object is gone or no longer visible to this connection; the connection itself works."""


class RefusedForGoodError(ProviderFailedError):
    """The provider never pushes changes of this object: a settled state, in which it is only read."""


# --- us ------------------------------------------------------------------------------------------------------------


class InfrastructureError(ConnectorsError):
    """Our database or vault failed: retry."""

    code = "SERVICE_UNAVAILABLE"


class BusyError(ConnectorsError):
    """Another call is doing the same at this moment: retry."""

    code = "SERVICE_UNAVAILABLE"


class SettingsError(ConnectorsError):
    """A setting is missing or wrong; the message names the variable, what was found and what is expected."""


class VaultError(InfrastructureError):
    """A sealed secret does not open: wrong key, foreign context or damaged ciphertext."""


class IllegalTransitionError(ConnectorsError):
    """A status cannot change this way: a bug in the caller."""
