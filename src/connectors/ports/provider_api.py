"""The only way out to the providers."""

from typing import Protocol

from connectors.domain.model.http import HttpRequest, HttpResponse


class ProviderApi(Protocol):
    """Sends one request and reads one answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """The answer, whatever its status; redirects are not followed.

        The request is complete: `flows/converse.py` has checked its host and put the authorization on.

        Raises:
            ProviderUnavailableError: no connection, timeout, cut off.
            UnexpectedResponseError: the answer is larger than the limit.
        """
        ...
