"""Which repositories are read: what was chosen, else all that the user can access, at most `MAX_REPOSITORIES`."""

from collections.abc import Mapping
from typing import Any

from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import DiscoveryPage, Stream, Window
from connectors.domain.model.sync import Cursor
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.github import numbered, payloads
from connectors.domain.providers.github.endpoints import endpoints_of, get, read_list
from connectors.domain.providers.github.sso import (
    SingleSignOnError,
    hidden_organization,
    hidden_repository,
    read_hidden,
)
from connectors.domain.providers.github.subscriptions import (
    MAX_REPOSITORIES,
    Chosen,
    chosen_of,
    is_still,
    may_have_hook,
    read_repository,
    repositories_url,
)

NAMED_PER_PAGE = 10
"""Chosen repositories that are asked for in one page: one call each."""

FAMILIES_OF: Mapping[str, frozenset[str]] = {
    # The list of issues shows pull requests too: theirs comes first, because its payloads say more.
    "pulls": frozenset({"pull_requests", "reviews"}),
    "issues": frozenset({"issues"}),
    "comments": frozenset({"comments"}),
    "review_comments": frozenset({"comments"}),
    "releases": frozenset({"releases"}),
    "activity": frozenset({"pushes"}),
}
"""The lists of a repository, and the families to whose completeness each is needed."""

ALL_FAMILIES = frozenset().union(*FAMILIES_OF.values())

MOST_LISTED = 5 * MAX_REPOSITORIES
"""How many are listed: those that are not read are named, so that what was read before is not just forgotten."""

TOO_MANY = f"Only the newest {MAX_REPOSITORIES} repositories are read; choose some."


def discover(context: SyncContext, _: Window, cursor: Cursor | None) -> Conversation[DiscoveryPage]:
    """A page of repositories. See `Streams.discover`."""
    chosen = chosen_of(context.connection)
    at = cursor or {}
    if "names" not in at and (chosen is None or chosen.organizations):
        return (yield from _listed(context, chosen, at))
    names = list(at.get("names", chosen.repositories if chosen is not None else ()))
    streams: list[Stream] = []
    for name in names[:NAMED_PER_PAGE]:
        streams += yield from _named(context, name)
    rest = names[NAMED_PER_PAGE:]
    return DiscoveryPage(streams=tuple(streams), cursor={"names": rest} if rest else None)


def _listed(context: SyncContext, chosen: Chosen | None, cursor: Cursor) -> Conversation[DiscoveryPage]:
    endpoints = endpoints_of(context.app)
    position = cursor.get("position", {})
    response = yield get(repositories_url(endpoints, position))
    items = read_list(response)
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    # How many were listed: bounded, so links that circle end here as well.
    listed = cursor.get("listed", 0)
    streams = [hidden_organization(one, ALL_FAMILIES) for one in read_hidden(response)]
    for item in items:
        repository = read_repository(item)
        if repository is None:
            streams += _unreadable(item)
        elif chosen is None or chosen.has(repository.full_name):
            is_pushed = chosen is not None or may_have_hook(repository) or is_still(repository)
            unreadable = TOO_MANY if listed >= MAX_REPOSITORIES else None
            streams += streams_of(repository, unreadable=unreadable, is_pushed=is_pushed)
            listed += repository.id not in position.get("tail", ())
    following = numbered.next_position(endpoints, position, response, ids, len(items))
    if following is not None and listed <= MOST_LISTED:
        return DiscoveryPage(streams=tuple(streams), cursor={"position": following, "listed": listed})
    names = list(chosen.repositories) if chosen is not None else []
    return DiscoveryPage(streams=tuple(streams), cursor={"names": names} if names else None)


def _named(context: SyncContext, full_name: str) -> Conversation[tuple[Stream, ...]]:
    try:
        response = yield get(endpoints_of(context.app).repository_url(full_name))
    except SingleSignOnError:
        return (hidden_repository(full_name, ALL_FAMILIES),)
    except AccessLostError as error:
        # Without its id it has no streams yet: it is only counted.
        return (Stream(key=f"repository:{full_name}", name=full_name, unreadable=error.message),)
    repository = read_repository(response.json())
    return _unreadable(response.json()) if repository is None else streams_of(repository)


def streams_of(
    repository: payloads.ListedRepository, *, unreadable: str | None = None, is_pushed: bool = True
) -> tuple[Stream, ...]:
    """The streams of a repository."""
    return tuple(
        Stream(
            key=f"{name}:{repository.id}",
            name=f"{name.replace('_', ' ')} of {repository.full_name}",
            families=families,
            data={"full_name": repository.full_name, "html_url": repository.html_url},
            unreadable=unreadable,
            is_pushed=is_pushed,
        )
        for name, families in FAMILIES_OF.items()
    )


def _unreadable(item: Any) -> tuple[Stream, ...]:
    id_ = item.get("id") if isinstance(item, dict) else None
    if not isinstance(id_, int) or isinstance(id_, bool) or not 0 <= id_ < 2**63:
        return ()
    nameless = payloads.ListedRepository(id=id_, full_name=f"repository {id_}", html_url="")
    return streams_of(nameless, unreadable="GitHub's entry of this repository is not as documented.")
