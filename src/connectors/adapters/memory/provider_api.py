"""The providers, simulated by a function: for tests and for embedding without a network."""

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import attrs

from connectors.domain.model.errors import ProviderUnavailableError
from connectors.domain.model.http import Authorization, HttpRequest, HttpResponse
from connectors.domain.model.oauth import (
    BodyFormat,
    ClientAuthentication,
    CodeExchange,
    ProviderApp,
    TokenEndpointCall,
    TokenSet,
)
from connectors.domain.model.secret import Secret
from connectors.ports.token_endpoint import TokenReader

Responder = Callable[[HttpRequest], HttpResponse]


def no_network(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a responder's signature
    """Never answers.

    Raises:
        ProviderUnavailableError: always.
    """
    raise ProviderUnavailableError("There is no network: pass a `respond` function that simulates the provider.")


@attrs.frozen
class MemoryProviderApi:
    """Passes every request to `respond`."""

    respond: Responder = no_network

    def send(self, request: HttpRequest) -> HttpResponse:
        """The response of `respond`."""
        return self.respond(request)


@attrs.frozen
class MemoryTokenEndpoint:
    """Token requests in the form of RFC 6749, passed to `respond`."""

    respond: Responder = no_network

    def exchange_code(
        self, app: ProviderApp, call: TokenEndpointCall, exchange: CodeExchange, read: TokenReader
    ) -> TokenSet:
        """What `read` returns for the response to the code."""
        fields = {
            "grant_type": "authorization_code",
            "code": exchange.code.reveal(),
            "redirect_uri": exchange.redirect_uri,
        }
        if exchange.code_verifier is not None:
            fields["code_verifier"] = exchange.code_verifier.reveal()
        return read(self.respond(_token_request(app, call, fields)))

    def refresh(self, app: ProviderApp, call: TokenEndpointCall, refresh_token: Secret, read: TokenReader) -> TokenSet:
        """What `read` returns for the response to the refresh token."""
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        return read(self.respond(_token_request(app, call, fields)))


def _token_request(app: ProviderApp, call: TokenEndpointCall, fields: Mapping[str, str]) -> HttpRequest:
    sent = dict(fields)
    authorization = Authorization.CLIENT_BASIC
    if call.client_authentication is ClientAuthentication.BODY:
        authorization = Authorization.NONE
        sent |= {"client_id": app.client_id, "client_secret": app.client_secret.reveal()}
    if call.body_format is BodyFormat.JSON:
        body, content_type = json.dumps(sent), "application/json"
    else:
        body, content_type = urlencode(sent), "application/x-www-form-urlencoded"
    return HttpRequest(
        method="POST",
        url=call.url,
        headers={**call.headers, "content-type": content_type},
        body=body.encode(),
        authorization=authorization,
    )
