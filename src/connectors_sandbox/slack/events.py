"""The sending side of the Events API: one Request URL per app, `v0` signatures, three retries, and the switch-off."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import Attempt, Outgoing, RetryPolicy
from connectors_sandbox.slack.records import Channel, Install, SlackApp, Team

TIMEOUT_SECONDS: Final = 3.0
RETRY_DELAYS: Final = (timedelta(0), timedelta(minutes=1), timedelta(minutes=5))
FAILURE_WINDOW: Final = timedelta(hours=1)
FAILURE_SHARE: Final = 0.95
BUSY_APP_EVENTS: Final = 1000
"""The number of attempts in an hour from which the switch-off applies."""
SCOPES: Final[Mapping[str, str]] = {
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "member_joined_channel": "channels:read",
    "member_left_channel": "channels:read",
    "channel_created": "channels:read",
    "channel_archive": "channels:read",
    "channel_unarchive": "channels:read",
    "channel_rename": "channels:read",
    "group_archive": "groups:read",
    "group_unarchive": "groups:read",
    "group_rename": "groups:read",
    "team_join": "users:read",
}
"""The scope that an event requires; events not listed require none."""
DEPRECATED_TOKEN: Final = "sandbox-verification-token"  # noqa: S105  Slack still sends one; it proves nothing


def should_retry(attempt: Attempt) -> bool:
    """Anything but 2xx, unless the receiver asked for no retry."""
    return not attempt.is_success and attempt.headers.get("x-slack-no-retry") != "1"


POLICY: Final = RetryPolicy(RETRY_DELAYS, should_retry, TIMEOUT_SECONDS)


class Events:
    """Sends events to apps."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self.copies = 1
        """How often an event is sent, each time with its own id and without retry headers."""
        self.busy_app_events = BUSY_APP_EVENTS

    def notify(
        self, install: Install, name: str, event: dict[str, Any], channel: Channel | None, home: str | None = None
    ) -> None:
        """Send an inner event to one install, if it may see it.

        Args:
            install: the install.
            name: the event's name in subscriptions, `message.channels`.
            event: the inner event.
            channel: where it happened; its messages and reactions are for members only.
            home: the team where it happened, if that is a partner's.
        """
        app = install.app
        if app.request_url is None or not app.is_delivery_on or name not in app.bot_events:
            return
        if SCOPES.get(name, "") not in {"", *install.scopes}:
            return
        if channel is not None and not channel.members & install.users:
            return
        for _ in range(self.copies):
            self._enqueue(app, name, json.dumps(self._envelope(install, event, channel, home)).encode(), install.team)

    def notify_rate_limited(self, app: SlackApp, team: Team) -> None:
        """The notice that this minute's events are not sent."""
        now = int(self._core.clock.now().timestamp())
        outer = {"token": DEPRECATED_TOKEN, "type": "app_rate_limited", "team_id": team.id, "api_app_id": app.app_id}
        self._enqueue(
            app, "app_rate_limited", json.dumps({**outer, "minute_rate_limited": now - now % 60}).encode(), team
        )

    def verify_url(self, app: SlackApp, url: str) -> bool:
        """Send the signed challenge; returns whether it came back within three seconds."""
        challenge = self._core.random_string(52)
        body = json.dumps({"token": DEPRECATED_TOKEN, "challenge": challenge, "type": "url_verification"}).encode()
        attempt = self._core.deliveries.send_now(
            Outgoing("slack", url, "url_verification", body, prepare=self._prepare(app, body, []), policy=POLICY)
        )
        if not attempt.is_success:
            return False
        try:
            answered = json.loads(attempt.body)
        except ValueError:
            answered = attempt.body.decode(errors="replace").strip()
        return bool((answered.get("challenge") if isinstance(answered, dict) else answered) == challenge)

    def _envelope(
        self, install: Install, event: dict[str, Any], channel: Channel | None, home: str | None
    ) -> dict[str, Any]:
        team = install.team
        authorization = {
            "enterprise_id": team.enterprise_id,
            "team_id": None if install.is_organization_wide else team.id,
            "user_id": install.bot_user_id or install.installer,
            "is_bot": install.bot_user_id is not None,
            "is_enterprise_install": install.is_organization_wide,
        }
        return {
            "token": DEPRECATED_TOKEN,
            "team_id": home or team.id,
            "context_team_id": team.id,
            "context_enterprise_id": team.enterprise_id,
            "api_app_id": install.app.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": "Ev0" + self._core.random_string(9, "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"),
            "event_time": int(self._core.clock.now().timestamp()),
            "authorizations": [authorization],
            "is_ext_shared_channel": channel is not None and channel.is_ext_shared,
            "event_context": "4-" + self._core.random_string(40),
        }

    def _enqueue(self, app: SlackApp, name: str, body: bytes, team: Team) -> None:
        if app.request_url is None:
            return
        history: list[Attempt] = []

        def remember(outgoing: Outgoing, attempt: Attempt) -> None:
            del outgoing
            history.append(attempt)
            self._count(app, attempt)

        self._core.deliveries.enqueue(
            Outgoing(
                "slack",
                app.request_url,
                name,
                body,
                prepare=self._prepare(app, body, history),
                policy=POLICY,
                source=f"{app.app_id}:{team.id}",
                on_attempt=remember,
            )
        )

    def _prepare(self, app: SlackApp, body: bytes, history: list[Attempt]) -> "Preparation":
        return Preparation(app, body, history)

    def _count(self, app: SlackApp, attempt: Attempt) -> None:
        """Switch an app off if nearly all its deliveries of an hour failed."""
        app.outcomes.append((attempt.at, attempt.is_success))
        while app.outcomes and app.outcomes[0][0] <= attempt.at - FAILURE_WINDOW:
            app.outcomes.popleft()
        failures = sum(not received for _, received in app.outcomes)
        if len(app.outcomes) >= self.busy_app_events and failures > FAILURE_SHARE * len(app.outcomes):
            app.is_delivery_on = False


class Preparation:
    """Signs an attempt when it is sent, and adds the reason if it is a retry."""

    def __init__(self, app: SlackApp, body: bytes, history: list[Attempt]) -> None:
        self._app, self._body, self._history = app, body, history

    def __call__(self, number: int, now: datetime) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of attempt `number`."""
        stamp = str(int(now.timestamp()))
        digest = hmac.new(self._app.signing_secret.encode(), digestmod=hashlib.sha256)
        digest.update(b"v0:%s:" % stamp.encode())
        digest.update(self._body)
        headers = {
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": "v0=" + digest.hexdigest(),
        }
        if number > 1:
            headers |= {"X-Slack-Retry-Num": str(number - 1), "X-Slack-Retry-Reason": self._reason()}
        return headers, self._body

    def _reason(self) -> str:
        last = self._history[-1] if self._history else None
        if last is None:
            return "unknown_error"
        if last.status is not None:
            return "http_error"
        return {"SSLError": "ssl_error", "ReadTimeout": "http_timeout"}.get(last.error or "", "connection_failed")
