"""HTTP as values: the requests of a provider package and their responses, without any I/O."""

import json
from collections.abc import Generator, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.foreign_json import read_json


class Authorization(StrEnum):
    """Whom a request is authorized as. `flows/provider_access/conversations.py` adds the header, a provider package
    never does."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 - a scheme's name
    CLIENT_BASIC = "client_basic"
    """Our client id and secret as HTTP Basic (RFC 6749 §2.3.1)."""
    NONE = "none"


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with lower-case names, the only spelling used inside the domain."""
    return {name.lower(): value for name, value in headers.items()}


@attrs.frozen(kw_only=True)
class HttpRequest:
    """One outbound request."""

    method: str
    url: str = attrs.field(repr=lambda url: repr(url.partition("?")[0]))
    """Absolute, with its query."""
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=lower_names, repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    authorization: Authorization = Authorization.ACCESS_TOKEN
    token_name: str | None = None
    """Which companion of the token set authorizes it (Slack's `user`); None for the token set itself."""
    expects: frozenset[int] = frozenset()
    """Statuses of 400 and above that the provider package reads itself (a 404 that means "already gone")."""


@attrs.frozen(kw_only=True)
class HttpResponse:
    """One response, read completely (within the adapter's size limit)."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=lower_names, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    url: str = attrs.field(default="", repr=False)
    """The URL that answered, after redirects."""

    @property
    def is_refusal(self) -> bool:
        """Whether the vendor has certainly not done what was asked: 4xx, or 503 with `Retry-After` (RFC 9110 §10.2.3).

        Any other failure may come from a gateway after the vendor has acted.
        """
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return "retry-after" in self.headers
        return HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            UnexpectedResponseError: the body is not JSON (a gateway's HTML, cut off, empty).
        """
        try:
            return read_json(self.body)
        except UnexpectedResponseError as error:
            text = f"answered {self.status} with a body that is not JSON"
            raise UnexpectedResponseError(text, outcome_unknown=not self.is_refusal) from error

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            UnexpectedResponseError: not JSON, or JSON of another type.
        """
        document = self.json()
        if not isinstance(document, dict):
            text = f"answered {self.status} with JSON that is not an object"
            raise UnexpectedResponseError(text, outcome_unknown=not self.is_refusal)
        return document

    def json_list(self) -> list[Any]:
        """The body as a JSON array.

        Raises:
            UnexpectedResponseError: not JSON, or JSON of another type.
        """
        document = self.json()
        if not isinstance(document, list):
            text = f"answered {self.status} with JSON that is not an array"
            raise UnexpectedResponseError(text, outcome_unknown=not self.is_refusal)
        return document


T = TypeVar("T")

Conversation = Generator[HttpRequest, HttpResponse, T]
"""Several calls to a provider: a generator that yields requests, is sent the responses, and returns its result."""


def origin_of(url: str) -> str:
    """`https://api.github.com` of any URL there: scheme, host and explicit port, lower-case.

    Raises:
        ValueError: the URL has no scheme or host, or carries user information.
    """
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an absolute URL without user information")
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}"


def with_query(url: str, params: Mapping[str, str | None]) -> str:
    """The URL with these query parameters appended, percent-encoded; those that are None are left out."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    query.extend((name, value) for name, value in params.items() if value is not None)
    return urlunsplit(parts._replace(query=urlencode(query)))


def json_request(method: str, url: str, document: Any, **changes: Any) -> HttpRequest:
    """A request with a JSON body."""
    headers = {"content-type": "application/json", **changes.pop("headers", {})}
    return HttpRequest(method=method, url=url, headers=headers, body=json.dumps(document).encode(), **changes)


def form_request(method: str, url: str, fields: Mapping[str, str], **changes: Any) -> HttpRequest:
    """A request with an `application/x-www-form-urlencoded` body."""
    headers = {"content-type": "application/x-www-form-urlencoded", **changes.pop("headers", {})}
    return HttpRequest(method=method, url=url, headers=headers, body=urlencode(fields).encode(), **changes)
