"""Authorization requests: starts them, hands each to one callback at a time, and keeps how they ended."""

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import (
    AuthorizationDeniedError,
    BusyError,
    ConflictError,
    ConnectorsError,
    InfrastructureError,
    ProviderFailedError,
    ProviderNotConfiguredError,
    ReauthorizationRequiredError,
    StateUnknownError,
    TenantNotFoundError,
    ValidationError,
    error_text,
)
from connectors.domain.model.ids import UNROUTED, ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.oauth import (
    AuthorizationOutcome,
    AuthorizationProblem,
    AuthorizationRequest,
    CodeExchange,
    ProviderApp,
)
from connectors.domain.model.secret import Secret, SecretContext, SecretPurpose
from connectors.domain.model.tenant import Tenant
from connectors.domain.providers.contract import AuthorizationParams, Provider
from connectors.domain.providers.registry import ProviderRegistry
from connectors.ports.clock import Clock
from connectors.ports.entropy import Entropy
from connectors.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from connectors.ports.vault import Vault

CONNECT_AGAIN = "Start again with POST /connect/{provider}."

LEASE_LIFETIME = timedelta(minutes=5)
"""Longer than a callback can take until its connections are stored: two calls to the token endpoint and two that ask
whose tokens these are, each 70 s at most with the usual timeouts. Exchanged a second time, the code would end what the
first exchange gave (RFC 6749 §4.1.2)."""

LONGEST_WAIT = timedelta(seconds=10)
"""How long a callback waits for another one that has the same state."""

POLL_INTERVAL = timedelta(milliseconds=100)
"""How often it checks whether the other one is done."""

log = logging.getLogger(__name__)

_ERRORS: Mapping[str, type[ConnectorsError]] = {
    kind.code: kind
    for kind in (
        AuthorizationDeniedError,
        ConflictError,
        ProviderFailedError,
        ReauthorizationRequiredError,
        ValidationError,
        ConnectorsError,
    )
}
"""How the recorded problem of a code is raised again; any other as a `ProviderFailedError`."""


@attrs.frozen(kw_only=True)
class ConnectSettings:
    """What an operator sets about connecting."""

    redirect_uri: str | None = None
    """Core's callback, with `{provider}` where the slug goes."""
    allowed_redirect_uris: tuple[str, ...] = ()
    """What a caller may ask for instead, to the letter."""
    state_lifetime: timedelta = timedelta(minutes=10)
    """As long as most vendors keep a code valid."""
    backfill: timedelta | None = timedelta(days=30)
    """How far back the first backfill goes; None for none."""


@attrs.frozen(kw_only=True)
class AuthorizationStart:
    """Where to send the user."""

    authorize_url: str = attrs.field(repr=False)
    state_expires_at: datetime


@attrs.frozen(kw_only=True)
class Authorizations:
    """Starts authorization requests, and decides what each callback may do with one."""

    unit_of_work: UnitOfWorkFactory
    vault: Vault
    clock: Clock
    entropy: Entropy
    providers: ProviderRegistry
    apps: Mapping[ProviderSlug, ProviderApp]
    settings: ConnectSettings

    # --- starting ------------------------------------------------------------------------------------------------

    def start(
        self,
        tenant_id: TenantId,
        provider_slug: str,
        *,
        redirect_uri: str | None,
        scopes: Sequence[str] | None,
        options: Mapping[str, Any] | None,
        connection_id: ConnectionId | None,
    ) -> AuthorizationStart:
        """See `ConnectFlow.start_authorization`."""
        if tenant_id == UNROUTED:
            raise TenantNotFoundError("The nil UUID is not a tenant.")
        provider, app = self.get_provider(provider_slug)
        target = self._redirect_uri(provider, redirect_uri)
        state = self.entropy.token()
        verifier = Secret(self.entropy.token()) if provider.oauth.pkce else None
        requested_scopes = tuple(scopes) if scopes else app.scopes or default_scopes(provider)
        with self.unit_of_work() as uow:
            # By the database's clock, which judges the expiry.
            now = uow.now()
            if connection_id is not None:
                _require_provider(uow.connections.get(tenant_id, connection_id), provider)
            verifier_id = self.entropy.uuid7(now)
            context = _verifier_context(tenant_id, verifier_id)
            request = AuthorizationRequest(
                state_hash=hash_state(state),
                tenant_id=tenant_id,
                provider=provider.slug,
                redirect_uri=target,
                scopes=requested_scopes,
                verifier_id=verifier_id,
                code_verifier=None if verifier is None else self.vault.seal(verifier, context),
                options=dict(options or {}),
                connection_id=connection_id,
                created_at=now,
                expires_at=now + self.settings.state_lifetime,
            )
            uow.tenants.record(Tenant(id=tenant_id, created_at=now))
            uow.authorization_requests.issue(request)
        params = AuthorizationParams(
            state=state,
            redirect_uri=target,
            scopes=requested_scopes,
            code_challenge=None if verifier is None else s256_challenge(verifier),
        )
        return AuthorizationStart(
            authorize_url=provider.oauth.authorize_url(app, params), state_expires_at=request.expires_at
        )

    def get_provider(self, slug: str) -> tuple[Provider, ProviderApp]:
        """The provider with this slug, and our registration there.

        Raises:
            ProviderNotSupportedError: there is no such provider.
            ProviderNotConfiguredError: its client id or secret is not set here.
        """
        provider = self.providers.get(slug)
        app = self.apps.get(provider.slug)
        if app is None:
            name = provider.slug.upper().replace("-", "_")
            raise ProviderNotConfiguredError(
                f"{provider.name} is not configured here.",
                next_step=f"Set POBLYSH_{name}_CLIENT_ID and POBLYSH_{name}_CLIENT_SECRET.",
            )
        return provider, app

    def _redirect_uri(self, provider: Provider, wanted: str | None) -> str:
        configured = self.settings.redirect_uri
        if configured is not None:
            configured = configured.replace("{provider}", provider.slug)
        if wanted is None or wanted == configured:
            if configured is None:
                raise ProviderNotConfiguredError(
                    "There is no redirect URI.", next_step="Set POBLYSH_OAUTH_REDIRECT_URI."
                )
            return configured
        allowed = {uri.replace("{provider}", provider.slug) for uri in self.settings.allowed_redirect_uris}
        if wanted not in allowed:
            raise ValidationError(
                "This redirect URI is not allowed.",
                details=[{"field": "redirect_uri", "message": "is not one of the allowed redirect URIs"}],
                next_step="Add it to POBLYSH_OAUTH_ALLOWED_REDIRECT_URIS.",
            )
        return wanted

    # --- taking --------------------------------------------------------------------------------------------------

    def take(
        self,
        provider: Provider,
        query: Mapping[str, str],
        *,
        tenant_id: TenantId | None,
        may_act_for: Callable[[TenantId], bool],
    ) -> AuthorizationRequest:
        """The request of the redirect's state: taken for the caller, or finished, with its outcome.

        While another callback has it, this one waits. No database connection is held meanwhile. A refused redirect
        leaves the request as it was.

        Raises:
            StateUnknownError: `state` is missing, unknown, expired, or not for this provider, tenant, caller or code.
            ValidationError: there is neither a `code` nor an `error`.
            BusyError: another callback does not end.
        """
        give_up_at = self.clock.now() + LONGEST_WAIT
        while True:
            with self.unit_of_work() as uow:
                now = uow.now()
                request = _find(uow, query.get("state"), now)
                if request.provider != provider.slug or not may_act_for(request.tenant_id):
                    raise _state_unknown()
                if tenant_id is not None and request.tenant_id != tenant_id:
                    raise _state_unknown()
                taken = _take(uow, request, query, now)
            if taken is not None:
                return taken
            if self.clock.now() >= give_up_at:
                raise BusyError("Another callback with this state is still at work.")
            self.clock.sleep(POLL_INTERVAL)

    def open_exchange(self, request: AuthorizationRequest, query: Mapping[str, str]) -> CodeExchange:
        """The parameters of the redirect, ready for the token endpoint.

        Raises:
            VaultError: the code verifier cannot be opened.
        """
        verifier = None
        if request.code_verifier is not None:
            context = _verifier_context(request.tenant_id, request.verifier_id)
            verifier = self.vault.open(request.code_verifier, context)
        return CodeExchange(code=Secret(query["code"]), redirect_uri=request.redirect_uri, code_verifier=verifier)

    # --- ending --------------------------------------------------------------------------------------------------

    def release(self, request: AuthorizationRequest) -> None:
        """Let the next callback with the same code take the request. If the database fails, its lease runs out."""
        try:
            with self.unit_of_work() as uow:
                uow.authorization_requests.release(request)
        except InfrastructureError as error:
            log.warning("authorization_not_released", extra={"reason": error.message})

    def finish(self, uow: UnitOfWork, request: AuthorizationRequest, connections: Sequence[Connection]) -> bool:
        """Record that the request gave these connections; False if another callback has taken it meanwhile."""
        ids = tuple(one.id for one in connections)
        outcome = AuthorizationOutcome(finished_at=uow.now(), connection_ids=ids)
        return uow.authorization_requests.finish(request, outcome)

    def fail(self, request: AuthorizationRequest, error: Exception) -> bool:
        """Record that the request failed for good; False if another callback has taken it meanwhile."""
        with self.unit_of_work() as uow:
            now = uow.now()
            if uow.authorization_requests.finish(request, _failed(error, now)):
                return True
            # Gone with its tenant, it is nobody's.
            return uow.authorization_requests.find(request.state_hash, now=now) is None

    def repeat(self, request: AuthorizationRequest, outcome: AuthorizationOutcome) -> tuple[Connection, ...]:
        """What the first callback answered: its connections, as they are now.

        Raises:
            ConnectorsError: the first callback's problem.
        """
        problem = outcome.problem
        if problem is not None:
            kind = _ERRORS.get(problem.code, ProviderFailedError)
            raise kind(problem.message, details=problem.details, next_step=problem.next_step)
        with self.unit_of_work() as uow:
            return tuple(uow.connections.get(request.tenant_id, one) for one in outcome.connection_ids)


def default_scopes(provider: Provider) -> tuple[str, ...]:
    """The scopes that are requested when neither caller nor settings name others."""
    return tuple(scope.name for scope in provider.oauth.scopes if scope.default)


def hash_state(state: str) -> bytes:
    """SHA-256 of an OAuth `state` or `code`: all of it that is ever stored."""
    return hashlib.sha256(state.encode(errors="replace")).digest()


def s256_challenge(verifier: Secret) -> str:
    """The S256 code challenge of a verifier: base64url of its SHA-256, unpadded (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.reveal_bytes()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _find(uow: UnitOfWork, state: str | None, now: datetime) -> AuthorizationRequest:
    request = uow.authorization_requests.find(hash_state(state), now=now) if state else None
    if request is None:
        raise _state_unknown()
    return request


def _take(
    uow: UnitOfWork, request: AuthorizationRequest, query: Mapping[str, str], now: datetime
) -> AuthorizationRequest | None:
    """The request, taken or finished; None while another callback has it."""
    code, error = query.get("code"), query.get("error", "").strip()
    if request.code_hash is not None and not hmac.compare_digest(request.code_hash, hash_state(code or "")):
        raise _state_unknown()
    if request.outcome is not None:
        return request
    if not code and not error:
        raise ValidationError("The redirect brought no code.", details=[{"field": "code", "message": "is required"}])
    code_hash = hash_state(code) if code else None
    taken = uow.authorization_requests.take(request, code_hash=code_hash, now=now, until=now + LEASE_LIFETIME)
    if taken is None or not error:
        return taken
    outcome = _failed(
        AuthorizationDeniedError(
            "The authorization was not granted.",
            details=[{"field": "error", "message": _printable(error)}],
            next_step=CONNECT_AGAIN,
        ),
        now,
    )
    uow.authorization_requests.finish(taken, outcome)
    return attrs.evolve(taken, outcome=outcome)


def _state_unknown() -> StateUnknownError:
    return StateUnknownError(
        "This state is not known: it has expired, is not for this callback, or never was.", next_step=CONNECT_AGAIN
    )


def _require_provider(connection: Connection, provider: Provider) -> None:
    if connection.provider != provider.slug:
        raise ConflictError(
            f"This connection is not one of {provider.name}.",
            details=[{"field": "connection_id", "message": f"is a connection of {connection.provider}"}],
        )


def _failed(error: Exception, at: datetime) -> AuthorizationOutcome:
    problem = AuthorizationProblem(code=ConnectorsError.code, message=error_text(error))
    if isinstance(error, ConnectorsError):
        problem = attrs.evolve(problem, code=error.code, details=error.details, next_step=error.next_step)
    return AuthorizationOutcome(finished_at=at, problem=problem)


def _verifier_context(tenant_id: TenantId, verifier_id: UUID) -> SecretContext:
    return SecretContext(tenant_id, verifier_id, SecretPurpose.CODE_VERIFIER)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)[:100]
