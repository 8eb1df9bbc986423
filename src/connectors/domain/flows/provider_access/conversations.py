"""Runs conversations with providers: bearer tokens, dead tokens, redirects, retries, rate limits.

The rule for dead tokens: an answer that means "this access token is dead" (`Limits.is_unauthorized`) leads to one
refresh and the request once more. A token that cannot be refreshed, or was refreshed just now, is believed dead only if
the provider's identity call refuses it too. Then the grant's connections need their user.
"""

import base64
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import quote_plus, unquote, urljoin, urlsplit

import attrs

from connectors.domain.flows.provider_access.rate_limits import RESERVE, RateLimiter
from connectors.domain.model.errors import (
    AccessLostError,
    ConnectorsError,
    ForbiddenHostError,
    InsufficientScopeError,
    ProviderFailedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, Conversation, HttpRequest, HttpResponse, origin_of
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.providers.contract import Provider
from connectors.ports.clock import Clock
from connectors.ports.provider_api import ProviderApi

T = TypeVar("T")

RETRY_PAUSES = (timedelta(milliseconds=200), timedelta(seconds=1))
"""Before the second and third try of a GET that failed at the provider: enough for a gateway's hiccup. In a
longer outage the job waits, not a thread."""

REDIRECT_LIMIT = 5
"""Redirects followed for one request; GitHub needs one, for a renamed repository."""

REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)

NOT_ABOUT_THE_TOKEN = (AccessLostError, InsufficientScopeError, UnexpectedResponseError)
"""Errors of an identity call that do not say that the token is dead. They are caught before
ReauthorizationRequiredError, of which a missing scope is one."""


class TokenSource(Protocol):
    """Where a conversation's tokens come from."""

    def current(self) -> TokenSet:
        """A token set that is fresh as far as we know."""
        ...

    def refreshed(self, stale: TokenSet) -> TokenSet | None:
        """Another one, because the provider refused this one; None if there is nothing to refresh it with.

        Raises:
            ReauthorizationRequiredError: there is no other.
        """
        ...

    def mark_dead(self, refused: TokenSet, reason: str) -> bool:
        """Record that this token set is dead. False, and nothing recorded, if there is another one by now."""
        ...


@attrs.frozen
class FixedTokens:
    """A token set that cannot be refreshed: it has just been issued, or it is about to be revoked."""

    token_set: TokenSet

    def current(self) -> TokenSet:
        """The token set."""
        return self.token_set

    def refreshed(self, stale: TokenSet) -> TokenSet:  # noqa: ARG002 - the port's signature
        """Never returns.

        Raises:
            ReauthorizationRequiredError: always.
        """
        raise ReauthorizationRequiredError("The provider refused a token that it has just issued.")

    def mark_dead(self, refused: TokenSet, reason: str) -> bool:  # noqa: ARG002 - the port's signature
        """Record nothing: these tokens are not stored."""
        return True


@attrs.frozen(kw_only=True)
class Converser:
    """Runs conversations with providers."""

    api: ProviderApi
    clock: Clock

    def run(
        self,
        provider: Provider,
        app: ProviderApp,
        conversation: Conversation[T],
        tokens: TokenSource | None = None,
        *,
        limiter: RateLimiter | None = None,
    ) -> T:
        """What the conversation returns.

        Failures are raised inside the conversation, at its `yield`, so that a package can handle one that it expects.

        Args:
            provider: whose limits and allow-list apply.
            app: our registration there.
            conversation: what to run.
            tokens: None for conversations that need no access token.
            limiter: keeps the conversation within the vendor's limits, together with all workers; None for interactive
                calls.

        Raises:
            ForbiddenHostError: it asked for a URL outside the provider's allow-list. Nothing was sent.
            ConnectorsError: an error that the conversation did not handle.
        """
        if limiter is not None:
            limiter.begin()
        exchange = _Exchange(self.api, self.clock, provider, app, tokens, limiter)
        try:
            request = next(conversation)
            while True:
                try:
                    response = exchange.answer(request)
                except ConnectorsError as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
        except UnexpectedResponseError as error:
            # The provider has done something, and the package cannot read what.
            error.outcome_unknown = error.outcome_unknown or exchange.has_changed_something
            raise
        finally:
            conversation.close()


@attrs.define
class _Exchange:
    """The state of one conversation: which token it uses, and whether that was refreshed already."""

    api: ProviderApi
    clock: Clock
    provider: Provider
    app: ProviderApp
    tokens: TokenSource | None
    limiter: RateLimiter | None
    token_set: TokenSet | None = None
    was_refreshed: bool = False
    token_error: ProviderUnavailableError | None = None
    """An error about the token and not about the request. It is not worth another try of the request."""
    limiter_refusal: RateLimitedError | None = None
    has_changed_something: bool = False
    """A request that may change something at the provider was answered without a failure."""

    def answer(self, request: HttpRequest) -> HttpResponse:
        if request.method != "GET":
            response = self._attempt(request)
            self.has_changed_something = self.has_changed_something or response.status < HTTPStatus.BAD_REQUEST
            return response
        for pause in RETRY_PAUSES:
            try:
                return self._attempt(request)
            except ProviderUnavailableError as error:
                if error is self.token_error:
                    raise  # e.g. the authorization server's: `TokenKeeper` decides about sending a refresh token again
                self.clock.sleep(pause)
        return self._attempt(request)

    def _attempt(self, request: HttpRequest) -> HttpResponse:
        try:
            return self._ask(request)
        except RateLimitedError as error:
            if self.limiter is not None and error is not self.limiter_refusal:
                self.limiter.record_refusal(error)
            raise

    def _ask(self, request: HttpRequest) -> HttpResponse:
        self._admit(request)
        response = self._follow(request)
        if self._is_token_refused(request, response):
            response = self._ask_again(request)
        limits = self.provider.limits
        expected = response.status in request.expects
        now = self.clock.now()
        if response.status >= HTTPStatus.BAD_REQUEST and not expected:
            failure = limits.read_failure(request, response, now)
            if isinstance(failure, ProviderFailedError):
                failure.outcome_unknown = not response.is_refusal
            raise failure
        throttle = limits.read_throttle(response, now)
        if throttle is not None and throttle.scope != RESERVE:
            raise throttle
        if throttle is not None and self.limiter is not None:
            self.limiter.record_refusal(throttle)  # this answer is valid; the next request would use the reserve
        return response

    def _is_token_refused(self, request: HttpRequest, response: HttpResponse) -> bool:
        return (
            response.status not in request.expects
            and request.authorization is Authorization.ACCESS_TOKEN
            and self.provider.limits.is_unauthorized(response)
        )

    def _ask_again(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request whose access token was refused: with a refreshed one, or with the same one if that is
        proven to work.

        Raises:
            ReauthorizationRequiredError: the token is dead. The grant's connections say so from now on.
            UnexpectedResponseError: the token works, but not for this address.
        """
        renewed = None
        if not self.was_refreshed:
            # Once: a second refusal of a brand-new token is not the token's fault.
            self.was_refreshed = True
            renewed = self._refresh_tokens()
        if renewed is None:
            self._prove_alive()
        else:
            self.token_set = renewed
        response = self._follow(request)
        if not self._is_token_refused(request, response):
            return response
        if renewed is not None:
            self._prove_alive()
        raise UnexpectedResponseError(
            f"{self.provider.name} refuses the access token for this address, and accepts it elsewhere."
        )

    def _prove_alive(self) -> None:
        """Ask the provider whose token this is: one address may refuse a token that works everywhere else.

        Raises:
            ReauthorizationRequiredError: the provider refuses it there too: it is dead. That is recorded.
            RateLimitedError, ProviderUnavailableError: nobody knows.
        """
        assert self.tokens is not None  # noqa: S101 - the token that was refused came from there
        token_set = self._current_tokens()
        converser = Converser(api=self.api, clock=self.clock)
        identify = self.provider.oauth.identify(self.app, token_set)
        try:
            converser.run(self.provider, self.app, identify, FixedTokens(token_set))
        except NOT_ABOUT_THE_TOKEN:
            return
        except ReauthorizationRequiredError as error:
            reason = f"{self.provider.name} does not accept the access token any more."
            if self.tokens.mark_dead(token_set, reason):
                raise ReauthorizationRequiredError(reason, next_step="Connect the account again.") from error
            self.token_set = None  # the next try uses what replaced it
            raise ProviderUnavailableError("The access token was replaced during the request.") from error
        except ProviderUnavailableError as error:
            self.token_error = error
            raise

    def _admit(self, request: HttpRequest) -> None:
        if self.limiter is None:
            return
        try:
            self.limiter.admit(request)
        except RateLimitedError as error:
            self.limiter_refusal = error  # our own: it is already recorded
            raise

    def _follow(self, request: HttpRequest) -> HttpResponse:
        for _ in range(REDIRECT_LIMIT + 1):
            response = self.api.send(self._authorized(request))
            location = response.headers.get("location")
            if response.status not in REDIRECTS or location is None or request.method not in {"GET", "HEAD"}:
                return response
            try:
                request = attrs.evolve(request, url=urljoin(request.url, location))
            except ValueError as error:
                raise ForbiddenHostError(f"{self.provider.name} redirects to a malformed URL.") from error
        raise UnexpectedResponseError(f"{self.provider.name} redirects in circles.")

    def _authorized(self, request: HttpRequest) -> HttpRequest:
        try:
            origin = origin_of(request.url)
        except ValueError as error:
            raise ForbiddenHostError(f"{self.provider.name}'s package asked for a malformed URL.") from error
        if not request.url.isprintable():
            # A redirect may bring control characters, of which some readers of URLs make others than ours does.
            raise ForbiddenHostError(f"{self.provider.name}'s package asked for a malformed URL.")
        if origin not in self.provider.allowed_origins(self.app):
            raise ForbiddenHostError(f"{origin} is not a host of {self.provider.name}.")
        path = unquote(urlsplit(request.url).path)
        base = "" if self.app.base_url is None else urlsplit(self.app.base_url).path.rstrip("/")
        # A foreign id or link must not leave the API's path or the base URL that an operator chose.
        if not {".", ".."}.isdisjoint(path.split("/")) or not f"{path}/".startswith(f"{base}/"):
            raise ForbiddenHostError(f"{self.provider.name}'s package asked for a path outside its API.")
        return attrs.evolve(request, headers={**request.headers, **self._authorization(request)})

    def _authorization(self, request: HttpRequest) -> Mapping[str, str]:
        match request.authorization:
            case Authorization.NONE:
                return {}
            case Authorization.CLIENT_BASIC:
                # RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
                secret = self.app.client_secret.reveal()
                pair = f"{quote_plus(self.app.client_id)}:{quote_plus(secret)}"
                return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
            case Authorization.ACCESS_TOKEN:
                token_set = self._current_tokens()
                if request.token_name is not None:
                    companion = token_set.companions.get(request.token_name)
                    if companion is None:
                        raise ReauthorizationRequiredError(f"The grant holds no {request.token_name} token.")
                    token_set = companion
                return {"authorization": self.provider.authorization_header(token_set.access_token)}

    def _current_tokens(self) -> TokenSet:
        if self.token_set is None:
            if self.tokens is None:
                raise ReauthorizationRequiredError("This conversation was started without a token.")
            try:
                self.token_set = self.tokens.current()
            except ProviderUnavailableError as error:
                self.token_error = error
                raise
        return self.token_set

    def _refresh_tokens(self) -> TokenSet | None:
        stale = self._current_tokens()
        assert self.tokens is not None  # noqa: S101 - the stale ones came from there
        try:
            return self.tokens.refreshed(stale)
        except ProviderUnavailableError as error:
            self.token_error = error
            raise
