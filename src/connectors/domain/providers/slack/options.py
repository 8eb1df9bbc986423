"""The settings that only Slack has."""

from collections.abc import Mapping
from typing import Any

from connectors.domain.providers.contract import Option
from connectors.domain.providers.toolbox.options import pattern, whole_number, yes_or_no

APP_ID = "app_id"
PAGE_SIZE = "page_size"
LOOKBACK_DAYS = "thread_lookback_days"
JOIN_CHANNELS = "join_public_channels"

OPTIONS: Mapping[str, Option[Any]] = {
    APP_ID: Option(
        pattern("A[A-Z0-9]+", "the letter A, then capitals and digits"),
        help="The app's id; deliveries for other apps are ignored",
    ),
    # Slack advises 200; `conversations.history` takes 999 at the most. Apps outside of the Marketplace get 15.
    PAGE_SIZE: Option(whole_number(1, 999), default=200, help="Messages per page of history"),
    # Replies rarely come after a week; each further day is read again in every sync run.
    LOOKBACK_DAYS: Option(
        whole_number(0, 365, "whole days"),
        default=7,
        help="How long before a sync's time range parents of threads are asked for new replies",
    ),
    JOIN_CHANNELS: Option(
        yes_or_no(),
        default=False,
        help="Whether the bot joins every public channel, which needs the scope channels:join",
    ),
}
