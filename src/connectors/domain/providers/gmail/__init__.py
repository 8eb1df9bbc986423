"""Gmail: messages that arrive, are sent, labeled or deleted."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._google.hosts import allowed_origins
from connectors.domain.providers.contract import Option, Provider
from connectors.domain.providers.gmail.limits import LIMITS
from connectors.domain.providers.gmail.oauth import OAUTH
from connectors.domain.providers.gmail.signals import FAMILIES, KINDS, LABEL_OPTION
from connectors.domain.providers.gmail.streams import STREAMS
from connectors.domain.providers.gmail.webhooks import (
    ACCOUNT_OPTION,
    AUDIENCE_OPTION,
    SUBSCRIPTION_OPTION,
    TOPIC_OPTION,
    WEBHOOKS,
)
from connectors.domain.providers.toolbox.options import pattern, text_of, yes_or_no

RESOURCE = "projects/[a-zA-Z0-9.:_-]+/{}/[a-zA-Z][a-zA-Z0-9._~%+-]*"
"""A name in Pub/Sub. Source: docs.cloud.google.com/pubsub/docs/pubsub-basics, "Resource names"."""

GMAIL = Provider(
    slug=ProviderSlug("gmail"),
    name="Gmail",
    description="Messages that are received, sent, trashed, marked as spam or deleted. Bodies are never read.",
    homepage="https://developers.google.com/workspace/gmail/api",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins,
    limits=LIMITS,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
    settings_prefixes=("GOOGLE",),
    options={
        TOPIC_OPTION: Option(
            pattern(RESOURCE.format("topics"), "projects/<project>/topics/<topic>"),
            help="The Pub/Sub topic that Gmail publishes to; without it, no push",
        ),
        AUDIENCE_OPTION: Option(
            text_of("printable text"),
            help="The audience of the push subscription's token; unset, the webhook URL",
        ),
        ACCOUNT_OPTION: Option(
            pattern(r"[!-?A-~]+@[!-?A-~]+", "an e-mail address"),
            help="The service account that the push subscription signs as; required for push",
        ),
        SUBSCRIPTION_OPTION: Option(
            pattern(RESOURCE.format("subscriptions"), "projects/<project>/subscriptions/<name>"),
            help="The push subscription; pushes of others are ignored",
        ),
        LABEL_OPTION: Option(
            yes_or_no(), default=False, help="Whether to add signals for labels, read, unread and archived"
        ),
    },
)

__all__ = ["GMAIL"]
