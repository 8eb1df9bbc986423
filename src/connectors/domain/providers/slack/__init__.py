"""Slack: OAuth v2, the Events API over HTTP, the Web API. Start with README.md."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.slack.endpoints import allowed_origins
from connectors.domain.providers.slack.events import FAMILIES, KINDS
from connectors.domain.providers.slack.limits import LIMITS
from connectors.domain.providers.slack.oauth import OAUTH
from connectors.domain.providers.slack.options import OPTIONS
from connectors.domain.providers.slack.streams import STREAMS
from connectors.domain.providers.slack.webhooks import WEBHOOKS

SLACK = Provider(
    slug=ProviderSlug("slack"),
    name="Slack",
    description="Messages, threads, reactions, members and channels of a workspace.",
    homepage="https://slack.com",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins,
    limits=LIMITS,
    families=FAMILIES,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    options=OPTIONS,
    webhook_secret_option="signing_secret",  # noqa: S106 - a setting's name
)
