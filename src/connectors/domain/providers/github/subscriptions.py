"""Hooks on repositories and organizations: made, taken over, checked and removed with the connection's token.

Source: docs.github.com, REST "Repository webhooks" and "Organization webhooks".
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError, ValidationError
from connectors.domain.model.http import Conversation
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import SubscriptionReceipt, SubscriptionRequest, Subscriptions
from connectors.domain.providers.github import numbered, payloads
from connectors.domain.providers.github.deliveries import missed, redeliver
from connectors.domain.providers.github.endpoints import (
    PAGE_SIZE,
    Endpoints,
    endpoints_of,
    get,
    read_link,
    read_list,
    send,
)
from connectors.domain.providers.github.events import EVENTS
from connectors.domain.providers.github.hooks import ORGANIZATION, REPOSITORY, follow, hook_url, hooks_url
from connectors.domain.providers.github.limits import has_too_many_hooks, validation_codes
from connectors.domain.providers.github.numbered import Position
from connectors.domain.providers.toolbox import structure
from connectors.domain.providers.toolbox.rules import subscribed_events

MAX_REPOSITORIES = 1000
"""Repositories that a connection reads and hooks if none are chosen: more would use up the user's quota."""

MAX_REPOSITORY_PAGES = MAX_REPOSITORIES // PAGE_SIZE + 2
"""Pages of the list: two more than needed, because pages overlap."""

MAX_HOOK_PAGES = 10
"""Pages of hooks to search for ours: GitHub allows 20 hooks per event, so this is never the limit."""

REPOSITORY_EVENTS = subscribed_events(
    {event: rule for event, rule in EVENTS.items() if issubclass(rule.payload, payloads.RepositoryEvent)}
)
"""The events of a repository's hook: those of the table that happen in a repository."""

ORGANIZATION_EVENTS = tuple(dict.fromkeys(REPOSITORY_EVENTS + subscribed_events(EVENTS)))
"""The events of an organization's hook: the same for all its repositories, and its own."""


# --- what to subscribe to ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Chosen:
    """The repositories and organizations that a connection is limited to."""

    repositories: tuple[str, ...]
    organizations: tuple[str, ...]

    def has(self, full_name: str) -> bool:
        """Whether the repository `owner/name` is among them. GitHub's names ignore case."""
        name = full_name.lower()
        owner = name.partition("/")[0]
        return name in map(str.lower, self.repositories) or owner in map(str.lower, self.organizations)


def chosen_of(connection: Connection) -> Chosen | None:
    """The choice in the connection's metadata; None if there is none, which means everything.

    Raises:
        ValidationError: an entry is not a name that GitHub allows.
    """
    if not {"repositories", "organizations"} & connection.metadata.keys():
        return None
    return Chosen(
        repositories=_names(connection.metadata, "repositories", REPOSITORY),
        organizations=_names(connection.metadata, "organizations", ORGANIZATION),
    )


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """What was chosen, else every repository that the user may administer, at most `MAX_REPOSITORIES`."""
    chosen = chosen_of(connection)
    if chosen is not None:
        repositories = [f"repo:{name}" for name in chosen.repositories]
        return (*repositories, *(f"org:{name}" for name in chosen.organizations))
    listing = yield from list_repositories(endpoints_of(app))
    return tuple(f"repo:{item.full_name}" for item in listing if may_have_hook(item) and not is_still(item))


def may_have_hook(item: payloads.ListedRepository) -> bool:
    """Whether the user may make a hook in the repository."""
    return item.permissions is not None and item.permissions.admin


def is_still(item: payloads.ListedRepository) -> bool:
    """Whether nothing happens in the repository any more: then it takes no hook, and needs none."""
    return item.archived or item.disabled


def list_repositories(endpoints: Endpoints) -> Conversation[tuple[payloads.ListedRepository, ...]]:
    """The repositories that the user can access, the newest `MAX_REPOSITORIES`; unreadable entries are left out."""
    found: dict[int, payloads.ListedRepository] = {}
    position: Position | None = {}
    pages = 0
    while position is not None and pages < MAX_REPOSITORY_PAGES and len(found) < MAX_REPOSITORIES:
        response = yield get(repositories_url(endpoints, position))
        pages += 1
        items = read_list(response)
        for item in items:
            repository = read_repository(item)
            if repository is not None:
                found[repository.id] = repository
        ids = [item.get("id") for item in items if isinstance(item, dict)]
        position = numbered.next_position(endpoints, position, response, ids, len(items))
    return tuple(found.values())[:MAX_REPOSITORIES]


def repositories_url(endpoints: Endpoints, position: Position) -> str:
    """The URL of a page of the user's repositories. Sorted by creation, which no rename and no push moves."""
    next_url: str | None = position.get("url")
    return next_url or endpoints.api_url(
        "user",
        "repos",
        affiliation="owner,collaborator,organization_member",
        sort="created",
        direction="desc",
        **numbered.parameters(position),
    )


def read_repository(item: Any) -> payloads.ListedRepository | None:
    """A repository of a list; None if its name cannot be requested."""
    try:
        repository = structure.read(item, payloads.ListedRepository, "GitHub's repository")
    except UnexpectedResponseError:
        return None
    return repository if REPOSITORY.fullmatch(repository.full_name) else None


# --- one hook ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Hook:
    """A hook as GitHub describes it; its secret is masked."""

    id: int
    active: bool = True
    config: "HookConfig"


@attrs.frozen(kw_only=True)
class HookConfig:
    """Where a hook delivers to."""

    url: str | None = None


def subscribe(app: ProviderApp, _: Connection, wanted: SubscriptionRequest) -> Conversation[SubscriptionReceipt]:
    """Our hook on the target: a new one, or the existing one with the new secret."""
    endpoints = endpoints_of(app)
    target = wanted.subscription.target
    url = hooks_url(endpoints, target)
    document = _hook_document(wanted)
    request = send("POST", url, {"name": "web", **document}, expects=_REFUSALS)
    response = yield from follow(request)
    if response.status == HTTPStatus.NOT_FOUND:
        raise AccessLostError(
            f"GitHub lets this user make no webhook on {target}.",
            next_step="The user must administer the repository (or own the organization), and the connection needs "
            "the scope `repo` or `admin:repo_hook` (for organizations `admin:org_hook`).",
        )
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        # Usually "already exists": an earlier attempt whose answer was lost, or a repository connected twice.
        ours = yield from _find_hook(endpoints, url, wanted.callback_url)
        if ours is None and has_too_many_hooks(response):
            raise UnexpectedResponseError(
                f"GitHub allows no more webhooks on {target}: it has as many as one event may have.",
                next_step="Remove one that is not needed in its settings, under Webhooks.",
            )
        if ours is None:
            raise UnexpectedResponseError(f"GitHub refused a webhook on {target}: {validation_codes(response)}.")
        response = yield from follow(send("PATCH", f"{url}/{ours.id}", document))
    hook = structure.read(response.json(), Hook, "GitHub's hook")
    return SubscriptionReceipt(external_id=str(hook.id), metadata={"events": document["events"]})


def unsubscribe(app: ProviderApp, _: Connection, subscription: Subscription) -> Conversation[None]:
    """Remove the hook. It may be gone already."""
    url = hook_url(endpoints_of(app), subscription)
    if url is not None:
        yield from follow(send("DELETE", url, expects=frozenset({HTTPStatus.NOT_FOUND})))


def probe(app: ProviderApp, _: Connection, subscription: Subscription) -> Conversation[bool]:
    """Whether the hook exists, delivers to its address and is active.

    GitHub disables hooks when an organization restricts the app.
    """
    url = hook_url(endpoints_of(app), subscription)
    if url is None:
        return False
    response = yield get(url, expects=frozenset({HTTPStatus.NOT_FOUND}))
    if response.status == HTTPStatus.NOT_FOUND:
        return False
    hook = structure.read(response.json(), Hook, "GitHub's hook")
    return hook.active and subscription.address in {None, hook.config.url}


_REFUSALS = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


def _hook_document(wanted: SubscriptionRequest) -> dict[str, Any]:
    is_organization = wanted.subscription.target.startswith("org:")
    return {
        "active": True,
        "events": list(ORGANIZATION_EVENTS if is_organization else REPOSITORY_EVENTS),
        "config": {
            "url": wanted.callback_url,
            "content_type": "json",  # the default is a form
            "secret": wanted.secret.reveal(),
            "insecure_ssl": "0",  # a string, and it means: check certificates
        },
    }


def _find_hook(endpoints: Endpoints, listed_at: str, callback_url: str) -> Conversation[Hook | None]:
    url: str | None = f"{listed_at}?per_page={PAGE_SIZE}"
    for _ in range(MAX_HOOK_PAGES):
        if url is None:
            return None
        response = yield get(url)
        for item in read_list(response):
            try:
                hook = structure.read(item, Hook, "GitHub's hook")
            except UnexpectedResponseError:
                continue  # somebody else's, of a kind without a URL
            if hook.config.url == callback_url:
                return hook
        url = read_link(endpoints, response)
    return None


def _names(metadata: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    listed = metadata.get(key) or ()
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise ValidationError(f"`{key}` must be a list of names.", details=[{"field": key, "message": "not a list"}])
    for name in listed:
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise ValidationError(
                f"`{key}` has an entry that is no name at GitHub.", details=[{"field": key, "message": "not a name"}]
            )
    return tuple(dict.fromkeys(listed))


SUBSCRIPTIONS = Subscriptions(
    targets=targets,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    probe=probe,
    missed=missed,
    redeliver=redeliver,
    remove_at="Settings > Webhooks of the repository or organization",
)
"""Hooks do not expire, so there is no renewal and no lifetime."""
