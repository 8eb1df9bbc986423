"""Calls to the providers' APIs."""

import requests

from connectors.adapters.requests.transport import Transport
from connectors.domain.model.http import HttpRequest, HttpResponse


class RequestsProviderApi:
    """A `ProviderApi` on requests. Safe to share between threads."""

    def __init__(self, transport: Transport) -> None:
        """Send through this transport, which may be shared with the token endpoint."""
        self._transport = transport

    def send(self, request: HttpRequest) -> HttpResponse:
        """The response, whatever its status; redirects are not followed.

        Raises:
            ProviderUnavailableError: no connection, timeout, or the response was cut off.
            UnexpectedResponseError: the response is larger than the limit, or cannot be decoded.
        """
        return self._transport.exchange(
            requests.Request(request.method, request.url, headers=dict(request.headers), data=request.body)
        )
