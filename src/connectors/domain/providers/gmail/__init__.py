"""Gmail: messages that arrive, are sent, labeled or deleted."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._google.hosts import allowed_origins
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.gmail.limits import LIMITS
from connectors.domain.providers.gmail.oauth import OAUTH
from connectors.domain.providers.gmail.signals import FAMILIES, KINDS, LABEL_OPTION
from connectors.domain.providers.gmail.sync import SYNC
from connectors.domain.providers.gmail.webhooks import (
    ACCOUNT_OPTION,
    AUDIENCE_OPTION,
    SUBSCRIPTION_OPTION,
    TOPIC_OPTION,
    WEBHOOKS,
)

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
    sync=SYNC,
    families=FAMILIES,
    settings_prefixes=("GOOGLE",),
    options={
        TOPIC_OPTION: "Pub/Sub topic that Gmail publishes to, projects/<project>/topics/<topic>; without it, no push",
        AUDIENCE_OPTION: "audience of the push subscription's token; left out, the webhook URL",
        ACCOUNT_OPTION: "e-mail address of the service account that the push subscription signs as; required for push",
        SUBSCRIPTION_OPTION: "the push subscription, projects/<project>/subscriptions/<name>; others are ignored",
        LABEL_OPTION: "`true` adds signals for labels, read, unread and archived",
    },
)

__all__ = ["GMAIL"]
