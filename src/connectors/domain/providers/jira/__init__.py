"""Jira Cloud: issues, their history, comments, sprints and releases. Start with README.md."""

from connectors.domain.providers.contract import Limits, Provider
from connectors.domain.providers.jira.endpoints import SLUG, allowed_origins
from connectors.domain.providers.jira.events import FAMILIES, KINDS
from connectors.domain.providers.jira.limits import (
    budgets,
    is_unauthorized,
    read_failure,
    read_throttle,
)
from connectors.domain.providers.jira.oauth import OAUTH
from connectors.domain.providers.jira.streams import STREAMS
from connectors.domain.providers.jira.webhooks import WEBHOOKS

JIRA = Provider(
    slug=SLUG,
    name="Jira",
    description="Issues, their history and comments, sprints and releases of Jira Cloud sites.",
    homepage="https://www.atlassian.com/software/jira",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins,
    limits=Limits(
        read_failure=read_failure,
        read_throttle=read_throttle,
        is_unauthorized=is_unauthorized,
        budgets=budgets,
    ),
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
)

__all__ = ["JIRA"]
