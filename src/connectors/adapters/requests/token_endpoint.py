"""Calls to token endpoints, built by requests-oauthlib and sent by our transport.

requests-oauthlib knows which parameters a grant needs (RFC 6749 §4.1.3 and §6, RFC 7636 §4.5) and where the client's
authentication goes. Its parsing of the response is not used: vendors send errors with status 200, other shapes, and
fewer scopes than requested, and only the provider package can read that.
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from connectors.adapters.requests.transport import Transport
from connectors.domain.model.http import HttpResponse
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

_STAND_IN = b'{"access_token": "read by the provider package"}'
"""What oauthlib parses instead of the response, which was read before."""


class RequestsTokenEndpoint:
    """A `TokenEndpoint` on requests-oauthlib. Safe to share between threads: each call has its own session."""

    def __init__(self, transport: Transport) -> None:
        """Send through this transport, which may be shared with the provider API."""
        self._transport = transport

    def exchange_code(
        self, app: ProviderApp, call: TokenEndpointCall, exchange: CodeExchange, read: TokenReader
    ) -> TokenSet:
        """The tokens for an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).

        Raises:
            ProviderUnavailableError: no connection, timeout, or the response was cut off.
            UnexpectedResponseError: the response is larger than the limit.
            ProviderFailedError: whatever `read` raised.
        """
        session = _TokenSession(self._transport, app, call, read, redirect_uri=exchange.redirect_uri)
        verifier: dict[str, Any] = {"code_verifier": exchange.code_verifier.reveal()} if exchange.code_verifier else {}
        in_body = call.client_authentication is ClientAuthentication.BODY
        session.fetch_token(
            session.secure_url,
            code=exchange.code.reveal(),
            auth=None if in_body else _basic(app),
            include_client_id=in_body,
            client_secret=app.client_secret.reveal() if in_body else None,
            headers=_headers(call),
            **verifier,
        )
        return session.result

    def refresh(self, app: ProviderApp, call: TokenEndpointCall, refresh_token: Secret, read: TokenReader) -> TokenSet:
        """The tokens for a refresh token (RFC 6749 §6). Raises like `exchange_code`."""
        session = _TokenSession(self._transport, app, call, read)
        in_body = call.client_authentication is ClientAuthentication.BODY
        # Unlike `fetch_token`, this method takes the client's authentication as ordinary parameters.
        client: dict[str, Any] = (
            {"client_id": app.client_id, "client_secret": app.client_secret.reveal()} if in_body else {}
        )
        session.refresh_token(
            session.secure_url,
            refresh_token=refresh_token.reveal(),
            auth=None if in_body else _basic(app),
            headers=_headers(call),
            **client,
        )
        return session.result


class _TokenSession(OAuth2Session):
    """One token request. The library builds it, the transport sends it, the provider package reads the response."""

    def __init__(
        self,
        transport: Transport,
        app: ProviderApp,
        call: TokenEndpointCall,
        read: TokenReader,
        redirect_uri: str | None = None,
    ) -> None:
        super().__init__(client_id=app.client_id, redirect_uri=redirect_uri)
        self._transport = transport
        self._call = call
        self._read = read
        self._answer: HttpResponse | None = None
        self._result: TokenSet | None = None
        self.register_compliance_hook("access_token_response", self._pass_to_provider)
        self.register_compliance_hook("refresh_token_response", self._pass_to_provider)

    @property
    def secure_url(self) -> str:
        """The URL in a form that passes oauthlib's check for https.

        Its only other way to allow a sandbox on loopback is an environment variable for the whole process. The request
        goes to the real URL, for which the transport insists on https except on this machine.
        """
        return urlunsplit(urlsplit(self._call.url)._replace(scheme="https"))

    @property
    def result(self) -> TokenSet:
        """What the provider package returned."""
        return cast("TokenSet", self._result)

    def request(  # type: ignore[override]  # only `fetch_token` and `refresh_token` call it, with these arguments
        self,
        method: str,
        url: str,  # noqa: ARG002 - the secure form; the real one is sent
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **sending: Any,
    ) -> requests.Response:
        """Send the request that the library has built, and return a stand-in response.

        Of the other arguments only `auth` matters: timeouts, proxies and certificates are up to the transport.
        """
        as_json = self._call.body_format is BodyFormat.JSON
        # Unlike in the request hooks, the parameters of both grants have the same form here.
        request = requests.Request(
            method,
            self._call.url,
            headers=dict(headers or {}),
            data=None if as_json else dict(data or {}),
            json=dict(data or {}) if as_json else None,
            auth=sending.get("auth"),
        )
        self._answer = self._transport.exchange(request)
        return _stand_in()

    def _pass_to_provider(self, response: requests.Response) -> requests.Response:
        if self._answer is not None:
            self._result = self._read(self._answer)
        return response


def _stand_in() -> requests.Response:
    """A response that satisfies the library. The library logs the response's request, so that one is empty."""
    response = requests.Response()
    response.status_code = 200
    response._content = _STAND_IN  # noqa: SLF001 - a Response has no other way to be made with a body
    response.encoding = "utf-8"
    response.request = requests.PreparedRequest()
    return response


def _basic(app: ProviderApp) -> HTTPBasicAuth:
    """The client as HTTP Basic. As bytes, because requests would encode a str as Latin-1."""
    return HTTPBasicAuth(app.client_id.encode(), app.client_secret.reveal_bytes())


def _headers(call: TokenEndpointCall) -> dict[str, str]:
    """The provider package's headers override ours, whatever their case."""
    content_type = "application/json" if call.body_format is BodyFormat.JSON else "application/x-www-form-urlencoded"
    given = {name.lower(): value for name, value in call.headers.items()}
    return {"accept": "application/json", "content-type": content_type, **given}
