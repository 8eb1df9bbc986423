"""Push channels: registry, headers, numbering with gaps, retries only on four statuses."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import LOOPBACK_HOSTS, Attempt, Outgoing, RetryPolicy
from connectors_sandbox.google.auth import Grant
from connectors_sandbox.google.errors import GoogleError, invalid, not_found

MAX_LIFETIME: Final = timedelta(days=7)
MAX_ID: Final = 64
MAX_TOKEN: Final = 256
RETRIED: Final = frozenset({500, 502, 503, 504})
"""Any other status that is not a success loses the message."""


def should_retry(attempt: Attempt) -> bool:
    """Google's rule; no response at all counts as a gateway's failure."""
    return attempt.status is None or attempt.status in RETRIED


POLICY: Final = RetryPolicy(tuple(timedelta(seconds=2**n) for n in range(8)), should_retry)


@attrs.define(eq=False)
class Channel:
    """An open channel."""

    id: str
    address: str
    token: str | None = attrs.field(repr=False)
    email: str
    client_id: str
    resource: str
    """The watched resource, in the sandbox's own form."""
    resource_id: str
    resource_uri: str
    expires_at: datetime
    is_stopped: bool = False
    number: int = 0

    def to_json(self) -> dict[str, Any]:
        """The response to `watch`."""
        document = {
            "kind": "api#channel",
            "id": self.id,
            "resourceId": self.resource_id,
            "resourceUri": self.resource_uri,
            "expiration": str(int(self.expires_at.timestamp()) * 1000),
        }
        return document if self.token is None else {**document, "token": self.token}


class Channels:
    """All channels of the project, including closed ones: an id is never free again."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.all: dict[str, Channel] = {}
        self.burst = 1
        """Notifications per change; real edits often cause two or more."""

    def open(
        self, body: Mapping[str, Any], grant: Grant, resource: str, uri: str, default_lifetime: timedelta
    ) -> tuple[Channel, Outgoing]:
        """A new channel and its `sync` message, which is not sent yet."""
        identifier, address, token = body.get("id"), body.get("address"), body.get("token")
        if not isinstance(identifier, str) or not 0 < len(identifier) <= MAX_ID:
            raise invalid("Invalid value for: channel id")
        if body.get("type") not in {"web_hook", "webhook"}:
            raise GoogleError(400, "push.channelTypeNotSupported", "Channel type not supported")
        if not isinstance(address, str) or not _is_deliverable(address):
            raise GoogleError(400, "push.webhookUrlNotHttps", "WebHook callback must be HTTPS")
        if token is not None and (not isinstance(token, str) or len(token) > MAX_TOKEN):
            raise invalid("Invalid value for: token")
        if identifier in self.all:
            raise GoogleError(400, "channelIdNotUnique", f"Channel id {identifier} not unique")
        channel = Channel(
            id=identifier,
            address=address,
            token=token,
            email=grant.email,
            client_id=grant.client_id,
            resource=resource,
            resource_id=self._core.random_string(27),
            resource_uri=uri,
            expires_at=self._expiry(body, default_lifetime),
        )
        self.all[identifier] = channel
        return channel, self._message(channel, "sync")

    def _expiry(self, body: Mapping[str, Any], default_lifetime: timedelta) -> datetime:
        now = self._core.clock.now()
        params = body.get("params")
        ttl = params.get("ttl") if isinstance(params, dict) else None
        asked = now + default_lifetime
        try:
            if body.get("expiration") is not None:
                asked = now + (int(body["expiration"]) / 1000 - now.timestamp()) * timedelta(seconds=1)
            elif ttl is not None:
                asked = now + timedelta(seconds=int(ttl))
        except (ValueError, TypeError, OverflowError) as error:
            raise invalid("Invalid value for: expiration") from error
        if asked <= now:
            raise invalid("Invalid value for: expiration")
        return min(asked, now + MAX_LIFETIME)

    def close(self, body: Mapping[str, Any], grant: Grant) -> None:
        """Stop a channel, for the user and client that opened it."""
        channel = self.all.get(str(body.get("id")))
        if channel is None or channel.resource_id != body.get("resourceId") or not self.is_live(channel):
            raise not_found(f"Channel '{body.get('id')}' not found for project 'sandbox'")
        if (channel.email, channel.client_id) != (grant.email, grant.client_id):
            raise not_found(f"Channel '{channel.id}' not found for project 'sandbox'")
        channel.is_stopped = True

    def is_live(self, channel: Channel) -> bool:
        """Whether it is still active."""
        return not channel.is_stopped and channel.expires_at > self._core.clock.now()

    def live(self) -> list[Channel]:
        """The active channels."""
        return [channel for channel in self.all.values() if self.is_live(channel)]

    def drop(self, email: str) -> None:
        """Forget the user's channels without a word: nothing more is sent, and `stop` does not know them."""
        for channel in self.live():
            if channel.email == email:
                channel.is_stopped = True

    def notify(self, resource: str, state: str) -> None:
        """Notify every channel of the resource."""
        for channel in self.live():
            if channel.resource == resource:
                for _ in range(self.burst):
                    self._core.deliveries.enqueue(self._message(channel, state))

    def _message(self, channel: Channel, state: str) -> Outgoing:
        # The first number is 1; after that the numbers only grow.
        channel.number += 1 if channel.number == 0 else self._core.random.randint(1, 3)
        headers = {
            "Content-Type": "application/json; utf-8",
            "X-Goog-Channel-ID": channel.id,
            "X-Goog-Channel-Expiration": format_datetime(channel.expires_at, usegmt=True),
            "X-Goog-Resource-ID": channel.resource_id,
            "X-Goog-Resource-URI": channel.resource_uri,
            "X-Goog-Resource-State": state,
            "X-Goog-Message-Number": str(channel.number),
        }
        if channel.token is not None:
            headers["X-Goog-Channel-Token"] = channel.token
        return Outgoing(
            provider="google",
            url=channel.address,
            event=f"{channel.resource.partition(':')[0]}.{state}",
            body=b"",
            headers=headers,
            policy=POLICY,
            source=f"channel:{channel.id}",
        )


def _is_deliverable(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)
