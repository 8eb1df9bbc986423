"""What the Events API adds to an event: the installation that it is for, the app, the delivery.

Source: docs.slack.dev, "The Events API".
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.instant import from_epoch_seconds
from connectors.domain.providers.slack.payloads import TYPE_LIMIT, event_name, read_id, read_ts
from connectors.domain.providers.toolbox.foreign import read_list, read_object, read_text

EVENT_CALLBACK = "event_callback"
"""The outer type of a delivery with an event."""


@attrs.frozen(kw_only=True)
class Envelope:
    """What the Events API adds to an event."""

    type: str | None
    event: Mapping[str, Any] = attrs.field(repr=False)
    event_id: str | None = None
    event_time: Any = None
    api_app_id: str | None = None
    account_id: str | None = None
    """The installation that the event is for: a workspace's id, or an organization's if installed organization-wide."""
    challenge: str | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The inner event's name, or the outer type if there is no event."""
        return event_name(self.event) if self.type == EVENT_CALLBACK else self.type or "unknown"

    @property
    def fallback_ts(self) -> str | None:
        """The outer `event_time` as a `ts`, for events that carry no `event_ts`. The same on every retry."""
        at = self.event_time
        return read_ts(str(at)) if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 10**11 else None

    @property
    def at(self) -> datetime | None:
        """When the event happened at the latest, by Slack's clock, which counts whole seconds; None if it does not
        say."""
        try:
            return from_epoch_seconds(self.event_time) + timedelta(seconds=1)
        except (ValueError, OverflowError):
            return None


def read_envelope(document: Mapping[str, Any]) -> Envelope:
    """The envelope in a delivery's decoded body."""
    return Envelope(
        type=read_text(document.get("type"), TYPE_LIMIT),
        event=read_object(document.get("event")),
        event_id=read_id(document.get("event_id")),
        event_time=document.get("event_time"),
        api_app_id=read_id(document.get("api_app_id")),
        account_id=read_account_id(document),
        challenge=read_text(document.get("challenge"), 4000),
    )


def read_account_id(document: Mapping[str, Any]) -> str | None:
    """The installation that sees the event. The outer `team_id` is where it *happened*, which in a channel shared with
    a partner can be the partner's workspace, so it comes last.
    """
    first = read_object(next(iter(read_list(document.get("authorizations"))), None))
    enterprise_wide = first.get("is_enterprise_install") is True
    claims = (
        first.get("enterprise_id") if enterprise_wide else first.get("team_id"),
        document.get("context_team_id"),
        document.get("team_id"),
        document.get("context_enterprise_id"),
        document.get("enterprise_id"),
    )
    return next((found for found in map(read_id, claims) if found), None)
