"""What a caller may choose for a connection: the API reads it, and connections show it as their metadata."""

from typing import Annotated

import attrs
from msgspec import Meta

from connectors.domain.model.schedule import LONGEST_INTERVAL, SHORTEST_INTERVAL

MAX_ITEMS = 100
"""Scopes, repositories or organizations in one request: more than a person chooses by hand."""
MAX_TEXT = 2048
"""Characters of one text, as long as the longest URLs that browsers and vendors reliably take."""

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=MAX_ITEMS)]
SyncInterval = Annotated[
    int,
    Meta(
        ge=int(SHORTEST_INTERVAL.total_seconds()),
        le=int(LONGEST_INTERVAL.total_seconds()),
        description="Seconds between two reads, give or take a fifth.",
    ),
]


@attrs.frozen(kw_only=True)
class ConnectOptions:
    """What the connection covers, where the provider lets one choose, and how often it is read."""

    repositories: Annotated[Texts, Meta(description="`owner/name` each (GitHub).")] | None = None
    organizations: Annotated[Texts, Meta(description="Names (GitHub).")] | None = None
    calendars: Annotated[Texts, Meta(description="Ids (Google Calendar).")] | None = None
    shared_drives: Annotated[Texts, Meta(description="Ids (Google Drive).")] | None = None
    sync_interval_seconds: SyncInterval | None = None
