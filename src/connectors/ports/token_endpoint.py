"""The authorization server's token endpoint (RFC 6749 §3.2)."""

from collections.abc import Callable
from typing import Protocol

from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import CodeExchange, ProviderApp, TokenEndpointCall, TokenSet
from connectors.domain.model.secret import Secret

TokenReader = Callable[[HttpResponse], TokenSet]
"""The provider package's reader of the response. It raises what `OAuth.read_tokens` documents."""


class TokenEndpoint(Protocol):
    """Exchanges codes and refresh tokens for token sets."""

    def exchange_code(
        self, app: ProviderApp, call: TokenEndpointCall, exchange: CodeExchange, read: TokenReader
    ) -> TokenSet:
        """The tokens for an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).

        Raises:
            ProviderUnavailableError: no connection, timeout, or the response was cut off.
            ProviderFailedError: whatever `read` raised.
        """
        ...

    def refresh(self, app: ProviderApp, call: TokenEndpointCall, refresh_token: Secret, read: TokenReader) -> TokenSet:
        """The tokens for a refresh token (RFC 6749 §6). Raises like `exchange_code`."""
        ...
