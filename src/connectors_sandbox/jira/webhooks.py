"""Webhooks: registration rules, and deliveries signed the way Jira signs them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import Attempt, Outgoing, RetryPolicy
from connectors_sandbox.jira import jql
from connectors_sandbox.jira.authorization import OAuthApp
from connectors_sandbox.jira.records import AdminHook, Hook, Issue, Site

LIFETIME: Final = timedelta(days=30)
MAX_HOOKS: Final = 5
"""The maximum number of webhooks per app, user and site."""
JWT_LIFETIME: Final = timedelta(minutes=3)

ALLOWED_EVENTS: Final = frozenset(
    {
        *("jira:issue_created", "jira:issue_updated", "jira:issue_deleted"),
        *("comment_created", "comment_updated", "comment_deleted"),
        *("issue_property_set", "issue_property_deleted"),
        *("sprint_created", "sprint_updated", "sprint_closed", "sprint_deleted", "sprint_started"),
        *("jira:version_released", "jira:version_unreleased", "jira:version_created", "jira:version_moved"),
        *("jira:version_updated", "jira:version_merged", "jira:version_deleted"),
    }
)
"""The events that a dynamic webhook may request; projects and worklogs are for administrators' webhooks."""


def should_retry(attempt: Attempt) -> bool:
    """Jira retries after these statuses and when there was no response; other errors lose the delivery."""
    return attempt.status is None or attempt.status in {408, 409, 425, 429} or attempt.status >= 500  # noqa: PLR2004


POLICY: Final = RetryPolicy(
    delays=tuple(timedelta(minutes=minutes) for minutes in (5, 8, 10, 12, 15)), should_retry=should_retry
)


def make_hook(site: Site, app: OAuthApp, account_id: str, wanted: Any, url: str, now: datetime) -> Hook | str:
    """The new webhook, or why there is none; the response's status is 200 either way."""
    live = live_hooks(site, now)
    mine = [one for one in live if (one.client_id, one.account_id) == (app.client_id, account_id)]
    if len(mine) >= MAX_HOOKS:
        return "A maximum of 5 webhooks per user per app is allowed."
    if not isinstance(wanted, dict) or not isinstance(wanted.get("jqlFilter"), str):
        return "The jqlFilter is required."
    events = wanted.get("events")
    if not isinstance(events, list) or not events or not ALLOWED_EVENTS.issuperset(map(str, events)):
        return "The events are not supported."
    try:
        jql.check_hook_filter(wanted["jqlFilter"])
    except jql.JqlError as error:
        return str(error)
    site.last_hook_id += 1
    hook = Hook(site.last_hook_id, app.client_id, account_id, url, wanted["jqlFilter"], tuple(events), now + LIFETIME)
    site.hooks[hook.id] = hook
    return hook


def live_hooks(site: Site, now: datetime) -> list[Hook]:
    """The webhooks that have not silently expired."""
    return [hook for hook in site.hooks.values() if hook.expires_at > now]


def fits(hook: Hook, event: str, issue: Issue | None) -> bool:
    """Whether the webhook wants this event, and its user may see the issue."""
    if event not in hook.events:
        return False
    return issue is None or (
        issue.project.shows_to(hook.account_id) and jql.matches(jql.parse(hook.jql), issue, "Etc/UTC")
    )


def sign_jwt(app: OAuthApp, account_id: str, jti: str, now: datetime) -> str:
    """The bearer token of a delivery: HS256 with the client secret; it says nothing about the body."""
    stamp = int(now.timestamp())
    claims = {
        "iss": app.client_id,
        "sub": account_id,
        "iat": stamp,
        "exp": stamp + int(JWT_LIFETIME.total_seconds()),
        "jti": jti,
        "context": {},
    }
    head = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{head}.{_part(hmac.new(app.client_secret.encode(), head.encode(), hashlib.sha256).digest())}"


def sign_body(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def send_dynamic(
    core: SandboxCore, site: Site, app: OAuthApp, url: str, account_id: str, payload: Mapping[str, Any]
) -> Outgoing:
    """Queue one delivery of the app's webhooks."""

    def authorize(now: datetime, body: bytes) -> dict[str, str]:
        del body
        return {"Authorization": f"Bearer {sign_jwt(app, account_id, core.random_string(16), now)}"}

    return _send(core, site, url, account_id, payload, authorize)


def send_admin(core: SandboxCore, site: Site, hook: AdminHook, account_id: str, payload: Mapping[str, Any]) -> Outgoing:
    """Queue one delivery of an administrator's webhook."""

    def authorize(now: datetime, body: bytes) -> dict[str, str]:
        del now
        return {} if hook.secret is None else {"X-Hub-Signature": sign_body(hook.secret, body)}

    return _send(core, site, hook.url, account_id, payload, authorize)


def _send(
    core: SandboxCore,
    site: Site,
    url: str,
    account_id: str,
    payload: Mapping[str, Any],
    authorize: Callable[[datetime, bytes], dict[str, str]],
) -> Outgoing:
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    site.deliveries += 1
    identifier = hashlib.sha256(f"{site.id}{site.deliveries}".encode()).hexdigest()[:32]

    def prepare(number: int, now: datetime) -> tuple[Mapping[str, str], bytes]:
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "User-Agent": "Atlassian Webhook HTTP Client",
            "X-Atlassian-Webhook-Identifier": identifier,
            "X-Atlassian-Webhook-Flow": "Primary",
            **authorize(now, body),
        }
        if number > 1:
            headers["X-Atlassian-Webhook-Retry"] = str(number - 1)
        return headers, body

    joint = "&" if "?" in url else "?"
    target = f"{url}{joint}{urlencode({'triggeredByUser': account_id})}"
    outgoing = Outgoing("jira", target, str(payload["webhookEvent"]), body, prepare=prepare, policy=POLICY)
    return core.deliveries.enqueue(outgoing)


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
