"""The dynamic webhook of one site: made, found again, renewed within its 30 days, removed.

There is one for each (app, user, site): Jira allows five. Its filter must name projects, so it is made anew when the
visible projects change. Registration answers 200 with errors inside, renewal ignores ids it does not know, and an
expired webhook is simply gone: so nothing is believed until the list shows it.

Source: REST v3, Webhooks.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, HttpRequest, json_request, with_query
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import SubscriptionReceipt, SubscriptionRequest, Subscriptions
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.oauth import ACCOUNT_ID
from connectors.domain.providers.jira.payloads import as_list, as_object, read_id, read_text, read_time

LIFETIME = timedelta(days=30)
"""A webhook ends so long after its registration or last renewal."""
TARGET = "site:"
"""Before the site's id: the one target, everything that the user can see there. Jira numbers the webhooks of each site
from one, so that target and number together name one, and not the number alone."""
WEBHOOK_IDS = "webhook_ids"
"""Key in a connection's metadata: ids of its webhook, newest first."""
KEPT_IDS = 5
"""Ids remembered: a delivery of a webhook that was just replaced may be half an hour late."""
PAGE_SIZE = 100
"""Webhooks or projects asked for at a time."""
MAX_PAGES = 200
"""Pages read of one list, against a server that never says that it is the last."""

EVENTS = (
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
    "sprint_started",
    "sprint_closed",
    "jira:version_released",
)
"""All that a dynamic webhook may ask for and that becomes a signal."""


@attrs.frozen
class Hook:
    """One registered webhook, as the list shows it."""

    id: str
    url: str | None
    jql: str | None
    events: frozenset[str]
    expires_at: datetime | None

    @classmethod
    def read(cls, value: Any) -> "Hook | None":
        """The webhook, or None without a numeric id. The expiry is a text in examples and a number in the schema."""
        source = as_object(value)
        hook_id, url, jql = read_id(source.get("id")), source.get("url"), source.get("jqlFilter")
        if hook_id is None or not hook_id.isdigit():
            return None
        return cls(
            id=hook_id,
            url=url if isinstance(url, str) else None,
            jql=jql if isinstance(jql, str) else None,
            events=frozenset(item for item in as_list(source.get("events")) if isinstance(item, str)),
            expires_at=read_time(source.get("expirationDate")),
        )

    def covers(self, jql: str) -> bool:
        """Whether it still says all that we want to hear."""
        return self.jql == jql and self.events >= frozenset(EVENTS)


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The site, once the user can see a project on it: a filter over no project cannot be registered."""
    projects = yield from list_values(app, connection, "project/search", limit=1)
    return (TARGET + connection.account.id,) if projects else ()


def subscribe(
    app: ProviderApp, connection: Connection, request: SubscriptionRequest
) -> Conversation[SubscriptionReceipt]:
    """The webhook that delivers to this URL: the one that is there, or a new one.

    Raises:
        AccessLostError: the user sees no project.
        UnexpectedResponseError: Jira refused the registration; the message says why.
    """
    return (yield from _settle(app, connection, request.callback_url, preferred=None))


def renew(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[SubscriptionReceipt]:
    """The webhook with 30 more days, or its successor where it is gone or the visible projects have changed.

    Raises: as `subscribe`.
    """
    url = subscription.metadata.get("url")
    if not isinstance(url, str):
        raise UnexpectedResponseError("The subscription does not say which URL it delivers to; make it anew.")
    return (yield from _settle(app, connection, url, preferred=subscription.external_id))


def unsubscribe(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[None]:
    """Remove the webhook. Jira ignores ids that are not there."""
    if subscription.external_id is not None:
        yield from _delete(app, connection, [subscription.external_id])


def probe(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[bool]:
    """Whether the list still has it."""
    hooks = yield from list_hooks(app, connection)
    return any(hook.id == subscription.external_id for hook in hooks)


def shared_key(connection: Connection) -> str:
    """Connections of one user to one site share one webhook, in however many tenants."""
    return f"{connection.account.id}:{connection.account.metadata.get(ACCOUNT_ID, '')}"


def list_hooks(app: ProviderApp, connection: Connection) -> Conversation[tuple[Hook, ...]]:
    """The webhooks that this app and user have on the site."""
    values = yield from list_values(app, connection, "webhook")
    found = (Hook.read(value) for value in values)
    return tuple(hook for hook in found if hook is not None)


def list_values(
    app: ProviderApp, connection: Connection, path: str, *, limit: int | None = None, **params: str
) -> Conversation[tuple[Any, ...]]:
    """The items of a list that pages by offset, or the first `limit` of them."""
    values: list[Any] = []
    for _ in range(MAX_PAGES):
        size = PAGE_SIZE if limit is None else limit
        url = with_query(
            site_api(app, connection.account.id, path),
            {"startAt": str(len(values)), "maxResults": str(size), **params},
        )
        response = yield HttpRequest(method="GET", url=url, headers={"accept": "application/json"})
        page = response.json_object()
        found = as_list(page.get("values"))
        values.extend(found)
        if not found or page.get("isLast") is True or (limit is not None and len(values) >= limit):
            break
    return tuple(values)


def visible_projects(app: ProviderApp, connection: Connection) -> Conversation[tuple[int, ...]]:
    """The ids of every project that the user can see, ascending."""
    values = yield from list_values(app, connection, "project/search", orderBy="key")
    found = (read_id(as_object(value).get("id")) for value in values)
    return tuple(sorted({int(item) for item in found if item is not None and item.isdigit()}))


def _settle(
    app: ProviderApp, connection: Connection, url: str, preferred: str | None
) -> Conversation[SubscriptionReceipt]:
    """One webhook for this URL that covers what is visible: the new one is there before the old ones go."""
    hooks = yield from list_hooks(app, connection)
    ours = sorted((hook for hook in hooks if hook.url == url or hook.id == preferred), key=lambda hook: int(hook.id))
    projects = yield from visible_projects(app, connection)
    if not projects:
        raise AccessLostError(
            "The connected user sees no project on this site.",
            next_step="Ask the site's administrator to let the user browse a project.",
        )
    jql = f"project in ({', '.join(map(str, projects))})"
    fitting = [hook for hook in ours if hook.url == url and hook.covers(jql)]
    kept = next((hook.id for hook in fitting if hook.id == preferred), fitting[0].id if fitting else None)
    if kept is None:
        kept = yield from _register(app, connection, url, jql)
    else:
        body = {"webhookIds": [int(kept)]}
        yield json_request("PUT", site_api(app, connection.account.id, "webhook/refresh"), body)
    # Renewal says nothing of ids that it does not know, and registration nothing of the expiry: only the list does.
    present = {hook.id: hook for hook in (yield from list_hooks(app, connection))}
    if kept not in present:
        raise UnexpectedResponseError("Jira does not list the webhook that it has just confirmed.")
    spare = [hook.id for hook in ours if hook.id != kept and hook.id in present]
    if spare:
        yield from _delete(app, connection, spare)
    return _receipt(connection, present[kept], url)


def _receipt(connection: Connection, hook: Hook, url: str) -> SubscriptionReceipt:
    before = [
        item for item in map(read_id, as_list(connection.metadata.get(WEBHOOK_IDS))) if item not in {None, hook.id}
    ]
    return SubscriptionReceipt(
        external_id=hook.id,
        expires_at=hook.expires_at,
        metadata={"url": url, "jql": hook.jql},
        connection_metadata={WEBHOOK_IDS: [hook.id, *before][:KEPT_IDS]},
    )


def _register(app: ProviderApp, connection: Connection, url: str, jql: str) -> Conversation[str]:
    """The new webhook's id. An answer of 200 may hold an error in its place."""
    document = {"url": url, "webhooks": [{"events": list(EVENTS), "jqlFilter": jql}]}
    response = yield json_request("POST", site_api(app, connection.account.id, "webhook"), document)
    results = as_list(response.json_object().get("webhookRegistrationResult"))
    result: Mapping[str, Any] = as_object(results[0]) if results else {}
    hook_id = read_id(result.get("createdWebhookId"))
    if hook_id is None or not hook_id.isdigit():
        reasons = [text for text in map(read_text, as_list(result.get("errors"))) if text]
        why = "; ".join(reasons[:3]) or "no reason was given"
        raise UnexpectedResponseError(
            f"Jira did not register the webhook: {why}",
            next_step="Look at the webhooks that this app already has on the site (five at most, with one URL).",
        )
    return hook_id


def _delete(app: ProviderApp, connection: Connection, ids: list[str]) -> Conversation[None]:
    yield json_request(
        "DELETE",
        site_api(app, connection.account.id, "webhook"),
        {"webhookIds": [int(item) for item in ids if item.isdigit()]},
        expects=frozenset({HTTPStatus.NOT_FOUND}),
    )


SUBSCRIPTIONS = Subscriptions(
    targets=targets,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    renew=renew,
    probe=probe,
    lifetime=LIFETIME,
    shared_key=shared_key,
)
