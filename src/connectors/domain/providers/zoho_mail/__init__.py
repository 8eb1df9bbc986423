"""Zoho Mail: received and sent mail. Start with README.md."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._zoho.data_centres import OPTIONS, Product, allowed_origins
from connectors.domain.providers._zoho.oauth import authorization_header
from connectors.domain.providers.contract import Option, Provider
from connectors.domain.providers.toolbox.options import yes_or_no
from connectors.domain.providers.zoho_mail.limits import LIMITS
from connectors.domain.providers.zoho_mail.oauth import NAME, OAUTH
from connectors.domain.providers.zoho_mail.signals import CHANGES_OPTION, FAMILIES, KINDS
from connectors.domain.providers.zoho_mail.streams import STREAMS
from connectors.domain.providers.zoho_mail.webhooks import WEBHOOKS

__all__ = ["ZOHO_MAIL"]

ZOHO_MAIL = Provider(
    slug=ProviderSlug("zoho-mail"),
    name=NAME,
    description="Mail that is received and sent. Bodies are never read.",
    homepage="https://www.zoho.com/mail",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins(Product.MAIL),
    limits=LIMITS,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
    authorization_header=authorization_header,
    settings_prefixes=("ZOHO",),
    options={
        **OPTIONS,
        CHANGES_OPTION: Option(
            yes_or_no(),
            default=False,
            help="Whether to add signals for mail that was read, trashed or marked as spam in the last two days",
        ),
    },
)
