"""Types that several views share."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339, UTC.", examples=["2026-01-02T03:04:05Z"])]
NextCursor = Annotated[
    str | None, Meta(description="Opaque: send it as `cursor`, with the same filters. Null on the last page.")
]
HasMore = Annotated[bool, Meta(description="Whether there is a next page.")]
Slug = Annotated[str, Meta(examples=["github"])]
Count = Annotated[int, Meta(ge=0)]
