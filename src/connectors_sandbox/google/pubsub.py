"""The part of Cloud Pub/Sub that Gmail needs: topics, push subscriptions, signed pushes, redelivery."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import Outgoing, RetryPolicy
from connectors_sandbox.google.keys import KeyRing

PROJECT: Final = "sandbox"
TOPIC: Final = f"projects/{PROJECT}/topics/gmail"
SUBSCRIPTION: Final = f"projects/{PROJECT}/subscriptions/gmail-push"
SERVICE_ACCOUNT: Final = f"push@{PROJECT}.iam.gserviceaccount.com"
ACK_DEADLINE_SECONDS: Final = 10.0
"""Also the push's HTTP timeout."""
TOKEN_LIFETIME: Final = timedelta(hours=1)
POLICY: Final = RetryPolicy(
    tuple(timedelta(seconds=min(600, 10 * 2**n)) for n in range(12)), timeout_seconds=ACK_DEADLINE_SECONDS
)
"""Everything but a success is sent again."""


@attrs.define(eq=False)
class PushSubscription:
    """A push subscription of a topic."""

    name: str
    topic: str
    endpoint: str
    audience: str
    service_account: str
    has_dead_letters: bool = False
    """If set, each push says how often it was tried."""
    falsified_claims: Mapping[str, Any] = attrs.field(factory=dict)
    """Claims to falsify, to test the receiver."""


class PubSub:
    """The project's topics."""

    def __init__(self, core: SandboxCore, keys: KeyRing) -> None:
        self._core = core
        self._keys = keys
        self.topics: set[str] = {TOPIC}
        self.subscriptions: dict[str, PushSubscription] = {}
        self.limits_rate = False
        """Whether a second notification of a mailbox within a second is dropped, as Gmail does."""
        self._published_at: dict[str, datetime] = {}
        self._message_number = 2_070_443_601_311_540

    def publish(self, topic: str, email: str, history_id: int) -> None:
        """Push Gmail's notification about a mailbox to every subscription of the topic."""
        now = self._core.clock.now()
        last = self._published_at.get(email)
        if self.limits_rate and last is not None and now - last < timedelta(seconds=1):
            return
        self._published_at[email] = now
        data = json.dumps({"emailAddress": email, "historyId": history_id}).encode()
        self.push(topic, data)

    def push(self, topic: str, data: bytes) -> list[Outgoing]:
        """Push any data, as anybody with permission to publish can."""
        self._message_number += self._core.random.randint(1, 9)
        message_id, now = str(self._message_number), self._core.clock.now()
        return [
            self._core.deliveries.enqueue(self._outgoing(subscription, message_id, data, now))
            for subscription in self.subscriptions.values()
            if subscription.topic == topic
        ]

    def _outgoing(self, subscription: PushSubscription, message_id: str, data: bytes, at: datetime) -> Outgoing:
        published = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        envelope: dict[str, Any] = {
            "message": {
                "data": base64.b64encode(data).decode(),
                "messageId": message_id,
                "message_id": message_id,
                "publishTime": published,
                "publish_time": published,
            },
            "subscription": subscription.name,
        }

        def prepare(attempt: int, now: datetime) -> tuple[Mapping[str, str], bytes]:
            counted = {**envelope, "deliveryAttempt": attempt} if subscription.has_dead_letters else envelope
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "CloudPubSub-Google",
                "Authorization": f"Bearer {self.sign(subscription, now)}",
            }
            return headers, json.dumps(counted).encode()

        return Outgoing(
            provider="google",
            url=subscription.endpoint,
            event="pubsub.push",
            body=b"",
            prepare=prepare,
            policy=POLICY,
            source=f"subscription:{subscription.name}",
            id=message_id,
        )

    def sign(self, subscription: PushSubscription, now: datetime) -> str:
        """The token sent with a push."""
        claims = {
            "aud": subscription.audience,
            "azp": "113774264463038321964",
            "email": subscription.service_account,
            "email_verified": True,
            "exp": int((now + TOKEN_LIFETIME).timestamp()),
            "iat": int(now.timestamp()),
            "iss": "https://accounts.google.com",
            "sub": "113774264463038321964",
        }
        return self._keys.newest().sign({**claims, **subscription.falsified_claims})
