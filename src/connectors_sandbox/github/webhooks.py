"""Repository and organization hooks: registry, signing, delivery log."""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

import attrs
from flask import json

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import Attempt, Outgoing, RetryPolicy

POLICY: Final = RetryPolicy(timeout_seconds=10.0)
"""GitHub allows ten seconds and never retries."""

MAX_HOOKS_PER_EVENT: Final = 20
"""The maximum number of hooks on one repository or organization."""

MAX_PAYLOAD_BYTES: Final = 25 * 1024 * 1024
"""A larger payload is not sent at all."""

HookTarget = Literal["repository", "organization"]


class HookRefusedError(Exception):
    """The hook does not pass validation (422); the message is GitHub's."""


@attrs.define(eq=False)
class Hook:
    """A registered hook."""

    id: int
    target: HookTarget
    target_id: int
    client_id: str | None
    """The id of the OAuth app that created it; None for a hook created on the website."""
    url: str
    content_type: str
    secret: str | None = attrs.field(repr=False)
    insecure_ssl: str
    events: tuple[str, ...]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    log: "list[HookDelivery]" = attrs.field(factory=list, repr=False)

    def wants(self, event: str) -> bool:
        """Whether the hook receives this event."""
        return self.is_active and (event == "ping" or event in self.events or "*" in self.events)


@attrs.define(eq=False)
class HookDelivery:
    """One line of a hook's delivery log: one attempt."""

    id: int
    outgoing: Outgoing
    payload: Mapping[str, Any]
    action: str | None
    repository_id: int | None
    delivered_at: datetime
    status_code: int
    """0 if there was no response."""
    duration_seconds: float
    is_redelivery: bool
    attempt: Attempt | None


class HookRegistry:
    """Every hook; the world's lock guards it."""

    def __init__(self, core: SandboxCore, next_id: Callable[[], int]) -> None:
        self._core = core
        self._next_id = next_id
        self.hooks: dict[int, Hook] = {}

    def of(self, target: HookTarget, target_id: int) -> list[Hook]:
        """The hooks of one repository or organization, oldest first."""
        return [hook for hook in self.hooks.values() if (hook.target, hook.target_id) == (target, target_id)]

    def create(self, target: HookTarget, target_id: int, client_id: str | None, body: Mapping[str, Any]) -> Hook:
        """A hook from a request's body, with GitHub's defaults.

        Raises:
            HookRefusedError: it exists already, has no URL, or there are too many.
        """
        config = body.get("config")
        url = config.get("url") if isinstance(config, Mapping) else None
        if not isinstance(config, Mapping) or not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise HookRefusedError("config.url must be a valid URL")
        events = _events(body.get("events"))
        kind = _content_type(config)
        siblings = self.of(target, target_id)
        if any((hook.url, hook.content_type) == (url, kind) and set(hook.events) & set(events) for hook in siblings):
            raise HookRefusedError(f"Hook already exists on this {target}")
        for event in events:
            if sum(event in hook.events for hook in siblings) >= MAX_HOOKS_PER_EVENT:
                raise HookRefusedError(f'The "{event}" event cannot have more than {MAX_HOOKS_PER_EVENT} hooks')
        now = self._core.clock.now()
        secret = config.get("secret")
        hook = Hook(
            id=self._next_id(),
            target=target,
            target_id=target_id,
            client_id=client_id,
            url=url,
            content_type=kind,
            secret=str(secret) if secret else None,
            insecure_ssl=str(config.get("insecure_ssl", "0")),
            events=events,
            is_active=body.get("active", True) is True,
            created_at=now,
            updated_at=now,
        )
        self.hooks[hook.id] = hook
        return hook

    def update(self, hook: Hook, body: Mapping[str, Any]) -> None:
        """Change what the body names; a new config replaces the old one, including its secret."""
        config = body.get("config")
        if isinstance(config, Mapping):
            hook.url = str(config.get("url", hook.url))
            hook.content_type = _content_type(config)
            secret = config.get("secret")
            hook.secret = str(secret) if secret else None
            hook.insecure_ssl = str(config.get("insecure_ssl", "0"))
        events = set(_events(body["events"])) if "events" in body else set(hook.events)
        events |= set(body.get("add_events") or ())
        events -= set(body.get("remove_events") or ())
        hook.events = tuple(sorted(events))
        hook.is_active = body.get("active", hook.is_active) is True
        hook.updated_at = self._core.clock.now()

    def emit(self, event: str, hooks: Iterable[Hook], payload: Callable[[], Mapping[str, Any]]) -> list[Outgoing]:
        """Queue an event for every hook that wants it; each delivery has its own GUID."""
        takers = [hook for hook in hooks if hook.wants(event)]
        if not takers:
            return []
        rendered = payload()
        return [outgoing for hook in takers if (outgoing := self._queue(hook, event, rendered)) is not None]

    def redeliver(self, line: HookDelivery) -> Outgoing:
        """Queue a logged delivery again, with the same GUID."""
        return self._core.deliveries.redeliver(line.outgoing)

    def _queue(self, hook: Hook, event: str, payload: Mapping[str, Any]) -> Outgoing | None:
        body = json.dumps(payload, separators=(",", ":"), sort_keys=False).encode()
        if hook.content_type == "form":
            body = urlencode({"payload": body}).encode()
        if len(body) > MAX_PAYLOAD_BYTES:
            return None
        repository = payload.get("repository")
        repository_id = repository.get("id") if isinstance(repository, Mapping) else None

        def log(outgoing: Outgoing, attempt: Attempt | None) -> None:
            line = HookDelivery(
                id=self._next_id(),
                outgoing=outgoing,
                payload=payload,
                action=payload.get("action"),
                repository_id=repository_id,
                delivered_at=self._core.clock.now(),
                status_code=(attempt.status if attempt else None) or 0,
                duration_seconds=round(attempt.duration.total_seconds(), 2) if attempt else 0.0,
                is_redelivery=outgoing.is_redelivery,
                attempt=attempt,
            )
            hook.log.insert(0, line)

        outgoing = Outgoing(
            provider="github",
            url=hook.url,
            event=event,
            body=body,
            policy=POLICY,
            source=f"hook:{hook.id}",
            on_attempt=log,
            id=self._core.deliveries.new_id(),
        )
        outgoing.prepare = self._signer(hook, outgoing)
        self._core.deliveries.enqueue(outgoing)
        if outgoing.is_dropped:
            # Lost in transit: GitHub's log shows the failure, and it can be delivered again.
            log(outgoing, None)
        return outgoing

    def _signer(self, hook: Hook, outgoing: Outgoing) -> Callable[[int, datetime], tuple[dict[str, str], bytes]]:
        guid, event, body = outgoing.id, outgoing.event, outgoing.body

        def prepare(_number: int, _now: datetime) -> tuple[dict[str, str], bytes]:
            is_form = hook.content_type == "form"
            headers = {
                "Accept": "*/*",
                "Content-Type": "application/x-www-form-urlencoded" if is_form else "application/json",
                "User-Agent": f"GitHub-Hookshot/{hook.id:07x}",
                "X-GitHub-Delivery": guid,
                "X-GitHub-Event": event,
                "X-GitHub-Hook-ID": str(hook.id),
                "X-GitHub-Hook-Installation-Target-ID": str(hook.target_id),
                "X-GitHub-Hook-Installation-Target-Type": hook.target,
            }
            return headers | signature_headers(hook.secret, body), body

        return prepare


def signature_headers(secret: str | None, body: bytes) -> dict[str, str]:
    """Both signature headers over the bytes that are sent; none without a secret."""
    if secret is None:
        return {}
    key = secret.encode()
    return {
        "X-Hub-Signature": "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
    }


def _events(wanted: Any) -> tuple[str, ...]:
    if wanted is None:
        return ("push",)
    if not isinstance(wanted, list | tuple) or not all(isinstance(one, str) for one in wanted) or not wanted:
        raise HookRefusedError("events must be a list of event names")
    return tuple(dict.fromkeys(wanted))


def _content_type(config: Mapping[str, Any]) -> str:
    kind = config.get("content_type", "form")
    if kind not in ("form", "json"):
        raise HookRefusedError("config.content_type must be form or json")
    return str(kind)
