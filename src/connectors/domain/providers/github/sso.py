"""Single sign-on: what an organization with SAML hides from a token that was not authorized for it.

A list of the user's is then short, with status 200 and the organizations in a header; what is the organization's own is
refused with 403, with the URL at which the user authorizes the app.
Source: docs.github.com, "Troubleshooting the REST API", "Authenticating to the REST API", header `X-GitHub-SSO`.
"""

import re

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpResponse
from connectors.domain.model.streams import Stream, StreamPage, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.providers.github.endpoints import Endpoints, get

HEADER = "x-github-sso"
ORGANIZATION = "organization:"
REPOSITORY = "repository:"
"""How the keys of streams begin that stand for what is hidden: all of an organization's, or a chosen repository."""

MOST_HIDDEN = 100
"""Organizations that are taken from one answer."""


class SingleSignOnError(AccessLostError):
    """The token is not authorized for the organization."""


_PARTIAL = re.compile(r"\s*partial-results\b", re.IGNORECASE)
_ORGANIZATIONS = re.compile(r"organizations\s*=\s*([0-9, ]{1,4000})", re.ASCII)
_URL = re.compile(r"\burl=(https?://[!-~]{1,500})", re.ASCII)


def is_partial(response: HttpResponse) -> bool:
    """Whether a list leaves out what an organization hides."""
    return _PARTIAL.match(response.headers.get(HEADER, "")) is not None


def read_hidden(response: HttpResponse) -> tuple[str, ...]:
    """The ids of the organizations that a list leaves out; none if it is whole.

    Raises:
        UnexpectedResponseError: it is not whole, and does not say whose part is missing.
    """
    if not is_partial(response):
        return ()
    found = _ORGANIZATIONS.search(response.headers[HEADER])
    ids = re.findall(r"[0-9]{1,19}", found.group(1), re.ASCII) if found else []
    if not ids:
        raise UnexpectedResponseError("GitHub leaves something out of the list and does not say whose it is.")
    return tuple(dict.fromkeys(ids))[:MOST_HIDDEN]


def sign_on_required(response: HttpResponse) -> SingleSignOnError:
    """The error for an answer with the header; its next step has the URL that the header gives."""
    found = _URL.search(response.headers.get(HEADER, ""))
    where = "in GitHub's settings (Applications)" if found is None else f"at {found.group(1)}"
    return SingleSignOnError(
        "An organization asks for single sign-on, and hides what it has.",
        next_step=f"The user authorizes this app for the organization {where}.",
    )


def hidden_organization(organization_id: str, families: frozenset[str]) -> Stream:
    """The stream that stands for the repositories that an organization hides: while it cannot be read, nothing is
    claimed complete."""
    name = f"repositories of organization {organization_id}"
    return Stream(key=f"{ORGANIZATION}{organization_id}", name=name, families=families, is_pushed=False)


def hidden_repository(full_name: str, families: frozenset[str]) -> Stream:
    """The stream that stands for a chosen repository that its organization hides."""
    return Stream(key=f"{REPOSITORY}{full_name}", name=full_name, families=families, is_pushed=False)


def is_hidden(stream: Stream) -> bool:
    """Whether the stream stands for what is hidden."""
    return stream.key.startswith((ORGANIZATION, REPOSITORY))


def read_page(endpoints: Endpoints, stream: Stream, window: Window) -> Conversation[StreamPage]:
    """The stream's only page, once it is not hidden any more: then its repositories have streams of their own.

    Raises:
        AccessLostError: it still is.
    """
    kind, _, name = stream.key.partition(":")
    of_organization = f"{kind}:" == ORGANIZATION
    listed = endpoints.api_url("organizations", name, "repos", per_page="1") if of_organization else None
    response = yield get(listed or endpoints.repository_url(name))
    if is_partial(response):
        raise sign_on_required(response)
    if window.mode is SyncMode.BACKFILL:
        return StreamPage(cursor=None)
    return StreamPage(cursor=None, bookmark={"is_shown": True}, read_from=window.floor)
