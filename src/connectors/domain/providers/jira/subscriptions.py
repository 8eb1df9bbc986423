"""The dynamic webhook of one site: made, found again, renewed within its 30 days, removed.

There is one for each (app, user, site); Jira allows five. Its filter must name projects, so it is made again when the
visible projects change. Registration answers 200 with errors inside, renewal ignores unknown ids, and an expired
webhook just disappears. So nothing counts until the list shows it.

Connections of one user to one site share the webhook, and each stores its id. So renewal extends it where possible, and
a replaced one is left to lapse: a delivery names every webhook that it matches, and a connection that does not know the
successor yet uses the old id until its own renewal.

Source: REST v3, Webhooks.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import AccessLostError, ProviderFailedError, UnexpectedResponseError
from connectors.domain.model.http import Conversation, json_request
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import SubscriptionReceipt, SubscriptionRequest, Subscriptions
from connectors.domain.providers.jira.endpoints import site_api
from connectors.domain.providers.jira.events import DYNAMIC_EVENTS
from connectors.domain.providers.jira.lists import read_listing
from connectors.domain.providers.jira.payloads import read_id, read_time
from connectors.domain.providers.toolbox.foreign import read_each, read_line, read_list, read_object

LIFETIME = timedelta(days=30)
"""A webhook expires this long after its registration or last renewal."""
TARGET = "site:"
"""Prefix of the site's id in the only target: everything that the user can see there. Jira numbers the webhooks of each
site from one, so only target and number together identify a webhook."""
WEBHOOK_IDS = "webhook_ids"
"""Key in a connection's metadata: ids of its webhook, newest first."""
KEPT_IDS = 8
"""Remembered ids: a delivery of a webhook that was just replaced may be half an hour late."""
ROUNDING = timedelta(minutes=1)
"""By how much two answers for the same expiry may differ."""
MOST_HOOKS = 5
"""Webhooks that Jira allows per app, user and site."""


@attrs.frozen
class Hook:
    """One registered webhook, as in the list."""

    id: str
    url: str | None
    jql: str | None
    events: frozenset[str]
    expires_at: datetime | None

    @classmethod
    def read(cls, value: Any) -> "Hook | None":
        """The webhook, or None without a numeric id. The expiry is a text in examples and a number in the schema."""
        source = read_object(value)
        hook_id, url, jql = read_id(source.get("id")), source.get("url"), source.get("jqlFilter")
        if hook_id is None or not hook_id.isdigit():
            return None
        return cls(
            id=hook_id,
            url=url if isinstance(url, str) else None,
            jql=jql if isinstance(jql, str) else None,
            events=frozenset(item for item in read_list(source.get("events")) if isinstance(item, str)),
            expires_at=read_time(source.get("expirationDate")),
        )

    def covers(self, jql: str) -> bool:
        """Whether it covers all our events and these projects."""
        return self.jql == jql and self.events >= frozenset(DYNAMIC_EVENTS)

    def ends_before(self, at: datetime | None) -> bool:
        """Whether it ends clearly earlier than that, where both are known."""
        return at is not None and self.expires_at is not None and self.expires_at < at - ROUNDING


def targets(app: ProviderApp, connection: Connection) -> Conversation[tuple[str, ...]]:
    """The site, if the user can see a project on it: a filter without projects cannot be registered."""
    projects = yield from read_listing(app, connection, "project/search", limit=1)
    return (TARGET + connection.account.id,) if projects.items else ()


def subscribe(
    app: ProviderApp, connection: Connection, request: SubscriptionRequest
) -> Conversation[SubscriptionReceipt]:
    """The webhook that delivers to this URL: an existing one, or a new one.

    Raises:
        AccessLostError: the user sees no project.
        UnexpectedResponseError: Jira refused the registration; the message says why.
    """
    return (yield from _settle(app, connection, request.callback_url))


def renew(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[SubscriptionReceipt]:
    """The webhook with 30 more days, or its successor if it is gone or the visible projects have changed.

    Raises: as `subscribe`.
    """
    if subscription.address is None:
        raise UnexpectedResponseError("The subscription does not say which URL it delivers to; make it again.")
    return (yield from _settle(app, connection, subscription.address))


def unsubscribe(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[None]:
    """Remove the webhook, and those that were left to lapse. Jira ignores unknown ids.

    The list has only webhooks of this app and user, so those with our URL are ours.

    Raises:
        AccessLostError: the site is closed. Its webhooks are there again if it is opened again.
    """
    hooks = yield from list_hooks(app, connection)
    ids = {hook.id for hook in hooks if subscription.address is not None and hook.url == subscription.address}
    if subscription.external_id is not None:
        ids.add(subscription.external_id)
    if ids:
        yield from _delete(app, connection, sorted(ids))


def probe(app: ProviderApp, connection: Connection, subscription: Subscription) -> Conversation[bool]:
    """Whether the list still has it, with the expiry that it was given and the URL that it was made for.

    The caller checks whether the time is over: a provider package has no clock.
    """
    hooks = yield from list_hooks(app, connection)
    hook = next((one for one in hooks if one.id == subscription.external_id), None)
    if hook is None or hook.ends_before(subscription.expires_at) or hook.ends_before(subscription.updated_at):
        return False
    return hook.url is None or subscription.address in {None, hook.url}


def list_hooks(app: ProviderApp, connection: Connection) -> Conversation[tuple[Hook, ...]]:
    """The webhooks that this app and user have on the site, oldest first."""
    listing = yield from read_listing(app, connection, "webhook")
    found = (Hook.read(value) for value in listing.items)
    return tuple(sorted((hook for hook in found if hook is not None), key=lambda hook: int(hook.id)))


def visible_projects(app: ProviderApp, connection: Connection) -> Conversation[tuple[int, ...]]:
    """The ids of every project that the user can see, ascending."""
    listing = yield from read_listing(app, connection, "project/search", orderBy="key")
    found = (read_id(read_object(value).get("id")) for value in listing.items)
    return tuple(sorted({int(item) for item in found if item is not None and item.isdigit()}))


def _settle(app: ProviderApp, connection: Connection, url: str) -> Conversation[SubscriptionReceipt]:
    """One webhook for this URL that covers what is visible and has just been renewed.

    Of several that fit, the oldest is taken, so that connections agree on one.
    """
    hooks = yield from list_hooks(app, connection)
    projects = yield from visible_projects(app, connection)
    if not projects:
        raise AccessLostError(
            "The connected user sees no project on this site.",
            next_step="Ask the site's administrator to let the user browse a project.",
        )
    jql = f"project in ({', '.join(map(str, projects))})"
    ours = [hook for hook in hooks if hook.url == url]
    spare = [hook.id for hook in ours]
    fitting = next((hook.id for hook in ours if hook.covers(jql)), None)
    kept = None if fitting is None else (yield from _refresh(app, connection, fitting))
    if kept is None:
        # A webhook that fits and could not be extended has ended, so it is removed first.
        spare.sort(key=lambda hook_id: hook_id != fitting)
        removed = spare[: max(len(hooks) - MOST_HOOKS + 1, 0)]
        yield from _delete(app, connection, removed)
        kept = yield from _register(app, connection, url, jql)
        spare = [hook_id for hook_id in spare if hook_id not in removed]
    spare = [hook_id for hook_id in spare if hook_id != kept]
    # Registration does not return the expiry: only the list has it.
    listed = yield from list_hooks(app, connection)
    present = {hook.id: hook for hook in listed}
    if kept not in present:
        raise UnexpectedResponseError("Jira does not list the webhook that it has just confirmed.")
    # One of Jira's five is left free, for the next successor.
    removed = spare[: max(len(spare) - MOST_HOOKS + 2, 0)]
    yield from _delete(app, connection, [hook_id for hook_id in removed if hook_id in present])
    others = [hook.id for hook in listed if hook.url == url and hook.id not in {kept, *removed}]
    return _receipt(connection, present[kept], others)


def _refresh(app: ProviderApp, connection: Connection, hook_id: str) -> Conversation[str | None]:
    """The extended webhook; None if it was not extended, which only the list shows: renewal ignores unknown ids."""
    url, body = site_api(app, connection.account.id, "webhook/refresh"), {"webhookIds": [int(hook_id)]}
    response = yield json_request("PUT", url, body)
    until = read_time(response.json_object().get("expirationDate"))
    hooks = yield from list_hooks(app, connection)
    return next((hook.id for hook in hooks if hook.id == hook_id and not hook.ends_before(until)), None)


def _receipt(connection: Connection, hook: Hook, others: list[str]) -> SubscriptionReceipt:
    ids = dict.fromkeys([hook.id, *others, *read_each(connection.metadata.get(WEBHOOK_IDS), read_id)])
    return SubscriptionReceipt(
        external_id=hook.id,
        expires_at=hook.expires_at,
        metadata={"jql": hook.jql},
        connection_metadata={WEBHOOK_IDS: list(ids)[:KEPT_IDS]},
    )


def _register(app: ProviderApp, connection: Connection, url: str, jql: str) -> Conversation[str]:
    """The new webhook's id. An answer of 200 may contain an error instead."""
    document = {"url": url, "webhooks": [{"events": list(DYNAMIC_EVENTS), "jqlFilter": jql}]}
    response = yield json_request("POST", site_api(app, connection.account.id, "webhook"), document)
    results = read_list(response.json_object().get("webhookRegistrationResult"))
    result: Mapping[str, Any] = read_object(results[0]) if results else {}
    hook_id = read_id(result.get("createdWebhookId"))
    if hook_id is None or not hook_id.isdigit():
        reasons = [text for text in map(read_line, read_list(result.get("errors"))) if text]
        if not reasons:
            raise UnexpectedResponseError("Jira did not say whether it registered the webhook.")
        raise ProviderFailedError(
            f"Jira did not register the webhook: {'; '.join(reasons[:3])}",
            next_step="Look at the webhooks that this app already has on the site (five at most, with one URL).",
        )
    return hook_id


def _delete(app: ProviderApp, connection: Connection, ids: list[str]) -> Conversation[None]:
    if not ids:
        return
    yield json_request(
        "DELETE",
        site_api(app, connection.account.id, "webhook"),
        {"webhookIds": [int(item) for item in ids if item.isdigit()]},
    )


SUBSCRIPTIONS = Subscriptions(
    targets=targets,
    subscribe=subscribe,
    unsubscribe=unsubscribe,
    renew=renew,
    probe=probe,
    lifetime=LIFETIME,
    is_one_per_user=True,
    # No page lists what an app has registered.
    remove_at="It ends by itself within 30 days; the app can be removed at https://id.atlassian.com/manage-profile/apps",
    one_address=True,
)
