"""The only way to call the providers."""

from typing import Protocol

from connectors.domain.model.http import HttpRequest, HttpResponse


class ProviderApi(Protocol):
    """Sends one request and reads one answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """The response, whatever its status; redirects are not followed.

        The request is complete: `flows/provider_access/conversations.py` has checked its host and added the
        authorization.

        Raises:
            ProviderUnavailableError: no connection, timeout, or the response was cut off.
            UnexpectedResponseError: the response is larger than the limit.
        """
        ...
