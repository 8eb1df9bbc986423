"""Zoho Cliq: messages of channels, and what happens to them. Start with README.md."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._zoho.data_centres import OPTIONS, Product, allowed_origins
from connectors.domain.providers._zoho.oauth import authorization_header
from connectors.domain.providers.contract import Option, Provider
from connectors.domain.providers.toolbox.options import several, text_of, yes_or_no
from connectors.domain.providers.zoho_cliq.discovery import DIRECT_OPTION
from connectors.domain.providers.zoho_cliq.limits import LIMITS
from connectors.domain.providers.zoho_cliq.oauth import NAME, OAUTH
from connectors.domain.providers.zoho_cliq.signals import BOT_OPTION, KINDS
from connectors.domain.providers.zoho_cliq.streams import STREAMS
from connectors.domain.providers.zoho_cliq.verification import PUBLIC_KEY_OPTION, PUBLIC_KEYS
from connectors.domain.providers.zoho_cliq.webhooks import FAMILIES, WEBHOOKS

__all__ = ["ZOHO_CLIQ"]

ZOHO_CLIQ = Provider(
    slug=ProviderSlug("zoho-cliq"),
    name=NAME,
    description="Messages of the channels that the user has joined; edits and deletions where a bot listens.",
    homepage="https://www.zoho.com/cliq",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins(Product.CLIQ),
    limits=LIMITS,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
    authorization_header=authorization_header,
    settings_prefixes=("ZOHO",),
    options={
        **OPTIONS,
        PUBLIC_KEY_OPTION: Option(
            PUBLIC_KEYS,
            default=(),
            help="The public key of the webhook bot; two while one is replaced",
        ),
        BOT_OPTION: Option(
            several(text_of("an id"), "ids"), default=(), help="The ids of bots whose own messages are left out"
        ),
        DIRECT_OPTION: Option(
            yes_or_no(),
            default=False,
            help="Whether to read direct messages and group chats of the connected user, too",
        ),
    },
)
