"""The providers, simulated by a function: for tests and for embedding without a network."""

import base64
import json
from collections.abc import Callable
from urllib.parse import urlencode

import attrs

from connectors.domain.model.errors import ProviderUnavailableError
from connectors.domain.model.http import Authorization, HttpRequest, HttpResponse, lower_names
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
    """Token requests, passed to `respond` as `RequestsTokenEndpoint` puts them on the wire."""

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


_ORDER = ("grant_type", "client_id", "code_verifier", "client_secret", "code", "redirect_uri", "refresh_token")
"""The parameters as requests-oauthlib orders them."""


def _token_request(app: ProviderApp, call: TokenEndpointCall, fields: dict[str, str]) -> HttpRequest:
    headers = {"accept": "application/json"}
    if call.client_authentication is ClientAuthentication.BODY:
        authorization = Authorization.NONE
        fields |= {"client_id": app.client_id, "client_secret": app.client_secret.reveal()}
    else:
        authorization = Authorization.CLIENT_BASIC
        # Without the form-encoding of RFC 6749 §2.3.1, which requests leaves out, too.
        pair = app.client_id.encode() + b":" + app.client_secret.reveal_bytes()
        headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
    sent = {name: fields[name] for name in _ORDER if name in fields}
    if call.body_format is BodyFormat.JSON:
        body, headers["content-type"] = json.dumps(sent), "application/json"
    else:
        body, headers["content-type"] = urlencode(sent), "application/x-www-form-urlencoded"
    return HttpRequest(
        method="POST",
        url=call.url,
        headers=headers | lower_names(call.headers),
        body=body.encode(),
        authorization=authorization,
    )
