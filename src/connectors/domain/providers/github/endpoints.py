"""GitHub's hosts, and the form of requests to its REST API."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from connectors.domain.model.errors import ForbiddenHostError, ProviderUnavailableError, UnexpectedResponseError
from connectors.domain.model.http import HttpRequest, HttpResponse, json_request, origin_of, with_query
from connectors.domain.model.oauth import ProviderApp

WEB_URL = "https://github.com"
"""Consent page and token endpoint of github.com."""

API_URL = "https://api.github.com"
"""The REST API of github.com."""

ENTERPRISE_API_PATH = "/api/v3"
"""The path of the same API on an Enterprise Server (or the sandbox)."""

API_VERSION = "2022-11-28"
"""The API version that we read. GitHub answers 410 once it is retired; newer ones differ in fields."""

USER_AGENT = "poblysh-connectors"
"""GitHub answers 403 to requests without one."""

API_HEADERS: Mapping[str, str] = {
    "accept": "application/vnd.github+json",
    "x-github-api-version": API_VERSION,
    "user-agent": USER_AGENT,
}
"""The headers of every REST call."""

PAGE_SIZE = 100
"""Items per page: GitHub's maximum, so that a sync run needs the fewest calls."""

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r";\s*rel=\"?(\w+)\"?")


@attrs.frozen(kw_only=True)
class Endpoints:
    """The URLs of one GitHub: github.com, an Enterprise Server, or the sandbox."""

    authorize: str
    token: str
    api: str

    def api_url(self, *segments: str, **params: str | None) -> str:
        """The URL of an API path, each segment percent-encoded, parameters that are None left out.

        Raises:
            ForbiddenHostError: a segment is `.` or `..`, which encoding leaves as it is.
        """
        if not {"", ".", ".."}.isdisjoint(segments):
            raise ForbiddenHostError("GitHub has no such path.")
        path = "/".join(quote(segment, safe="") for segment in segments)
        return with_query(f"{self.api}/{path}", params)

    def repository_url(self, full_name: str, *segments: str, **params: str | None) -> str:
        """The URL of something below the repository `owner/name`."""
        owner, _, name = full_name.partition("/")
        return self.api_url("repos", owner, name, *segments, **params)


def endpoints_of(app: ProviderApp) -> Endpoints:
    """The URLs of this registration's GitHub."""
    web = (app.base_url or WEB_URL).rstrip("/")
    return Endpoints(
        authorize=f"{web}/login/oauth/authorize",
        token=f"{web}/login/oauth/access_token",
        api=API_URL if app.base_url is None else f"{web}{ENTERPRISE_API_PATH}",
    )


def allowed_origins(app: ProviderApp) -> frozenset[str]:
    """The origins that may be called for this registration."""
    endpoints = endpoints_of(app)
    return frozenset({origin_of(endpoints.token), origin_of(endpoints.api)})


def get(url: str, etag: str | None = None, **changes: Any) -> HttpRequest:
    """A GET of the REST API. With an etag: 304 if nothing has changed, which the hourly quota does not count."""
    headers = API_HEADERS if etag is None else {**API_HEADERS, "if-none-match": etag}
    return HttpRequest(method="GET", url=url, headers=headers, **changes)


def send(method: str, url: str, document: Mapping[str, Any] | None = None, **changes: Any) -> HttpRequest:
    """A call of the REST API that changes something, with a JSON body if there is a document."""
    if document is None:
        return HttpRequest(method=method, url=url, headers=API_HEADERS, **changes)
    return json_request(method, url, document, headers=API_HEADERS, **changes)


def read_link(endpoints: Endpoints, response: HttpResponse, rel: str = "next") -> str | None:
    """The URL of the `next` (`prev`, `last`) page, exactly as GitHub sent it; None if there is none.

    The path may have another form than the requested one (`/repositories/1/issues?page=2`); the host must be the same.

    Raises:
        ForbiddenHostError: it leads to another origin than the API's.

    Source: RFC 8288; docs.github.com, "Using pagination in the REST API".
    """
    for url, parameters in _LINK.findall(response.headers.get("link", "")):
        if rel in _REL.findall(parameters):
            if not _is_same_origin(url, endpoints.api):
                raise ForbiddenHostError(f"GitHub's {rel} page is on another host than its API.")
            return str(url)
    return None


def read_list(response: HttpResponse) -> list[Any]:
    """The items of a page of a list.

    Raises:
        ProviderUnavailableError: it is no JSON array. GitHub's lists always are, so the answer was cut off or came
            from a gateway; asking again helps.
    """
    try:
        return response.json_list()
    except UnexpectedResponseError as error:
        raise ProviderUnavailableError(f"GitHub {error.message}.") from error


def _is_same_origin(url: str, api: str) -> bool:
    try:
        return origin_of(url) == origin_of(api)
    except ValueError:
        return False
