"""What surrounds a delivery's payload: the event, its time, person, site and webhooks.

`streams.py` wraps REST objects in the same form, so that push and reading use the same code from here on.

Source: Webhooks (Jira platform).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from connectors.domain.providers.jira.endpoints import host_of
from connectors.domain.providers.jira.limits import CLOUD_PATH
from connectors.domain.providers.jira.payloads import Person, read_id, read_time
from connectors.domain.providers.toolbox.foreign import read_each, read_line, read_object

SELF_SOURCES = ("issue", "comment", "user", "sprint", "version", "project", "worklog")
"""Objects whose `self` link names the site, in the order of trust."""


@attrs.frozen(kw_only=True)
class Envelope:
    """One event as Jira sends it, read from the decoded document."""

    document: Mapping[str, Any] = attrs.field(repr=False)
    event: str
    """`webhookEvent`, or `unknown` if there is no printable one."""
    update: str | None
    """`issue_event_type_name`: what an update of an issue is about."""
    sent_at: datetime | None
    """`timestamp`."""
    user: Person | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Envelope":
        """The envelope in this document."""
        return cls(
            document=document,
            event=read_id(document.get("webhookEvent")) or "unknown",
            update=read_line(document.get("issue_event_type_name")),
            sent_at=read_time(document.get("timestamp")),
            user=Person.read(document.get("user")),
        )

    @property
    def site(self) -> str | None:
        """The site that the first `self` link names: `host:acme.atlassian.net`, or a cloud id if the link has one."""
        for source in SELF_SOURCES:
            link = read_object(self.document.get(source)).get("self")
            if isinstance(link, str) and (host := host_of(link)) is not None:
                through_gateway = CLOUD_PATH.search(link)
                return through_gateway.group(1) if through_gateway else f"host:{host}"
        return None

    @property
    def webhook_ids(self) -> frozenset[str]:
        """The ids of the webhooks that this delivery is for: small numbers, unique only within a site."""
        return frozenset(read_each(self.document.get("matchedWebhookIds"), read_id))

    @property
    def has_webhook_ids(self) -> bool:
        """Whether it names webhooks, readable or not: only deliveries of our webhooks do."""
        return "matchedWebhookIds" in self.document
