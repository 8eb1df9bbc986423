"""The settings that only Slack has, and how their texts are read."""

from collections.abc import Mapping
from datetime import timedelta

from connectors.domain.model.errors import SettingsError
from connectors.domain.model.oauth import ProviderApp

DEFAULT_PAGE_SIZE = 200
"""Messages asked for per page. Slack's own advice; apps outside its Marketplace are given 15 whatever they ask."""
LARGEST_PAGE = 999
"""Messages per page at the most (`conversations.history`)."""
DEFAULT_LOOKBACK_DAYS = 7
"""Days. Replies rarely come later; each further day is read again with every walk."""
LONGEST_LOOKBACK_DAYS = 365
YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"", "0", "false", "no", "off"})

OPTIONS: Mapping[str, str] = {
    "app_id": "The app's id (A…): deliveries for other apps are ignored. Unset: not compared.",
    "page_size": f"Messages per page of history, 1 to {LARGEST_PAGE}; default {DEFAULT_PAGE_SIZE}.",
    "thread_lookback_days": (
        "How many days before a walk's window parents of threads are asked for new replies, "
        f"0 to {LONGEST_LOOKBACK_DAYS}; default {DEFAULT_LOOKBACK_DAYS}."
    ),
    "join_public_channels": "true: the bot joins every public channel (needs the scope channels:join); default false.",
}


def page_size(app: ProviderApp) -> int:
    """How many messages to ask for at a time.

    Raises:
        SettingsError: not a whole number in its range.
    """
    return whole_number(app, "page_size", DEFAULT_PAGE_SIZE, 1, LARGEST_PAGE)


def thread_lookback(app: ProviderApp) -> timedelta:
    """How far before the window parents of threads are looked for.

    Raises:
        SettingsError: not a whole number in its range.
    """
    return timedelta(days=whole_number(app, "thread_lookback_days", DEFAULT_LOOKBACK_DAYS, 0, LONGEST_LOOKBACK_DAYS))


def join_public_channels(app: ProviderApp) -> bool:
    """Whether the bot invites itself.

    Raises:
        SettingsError: neither yes nor no.
    """
    text = app.options.get("join_public_channels", "").strip().lower()
    if text in YES or text in NO:
        return text in YES
    raise SettingsError("POBLYSH_SLACK_JOIN_PUBLIC_CHANNELS is neither true nor false.")


def whole_number(app: ProviderApp, name: str, default: int, least: int, most: int) -> int:
    """The option as a number in its range."""
    text = app.options.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= most:  # noqa: PLR2004 - digits
        return int(text)
    raise SettingsError(f"POBLYSH_SLACK_{name.upper()} is {text[:20]!r}, expected a number from {least} to {most}.")
