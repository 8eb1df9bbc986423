"""Cliq's scopes and their reasons, and the identity of the user.

Source: zoho.com/cliq/help/restapi/v2, zoho.com/accounts/protocol/oauth.
"""

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.http import Conversation
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.providers._zoho.data_centres import Product, api_url, find_centre
from connectors.domain.providers._zoho.oauth import identify_user, zoho_oauth
from connectors.domain.providers.contract import Scope

NAME = "Zoho Cliq"
MESSAGES_SCOPE = "ZohoCliq.Messages.READ"


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """The user, by data centre and ZUID: Cliq shows users the chats that they are in.

    Raises:
        ForbiddenHostError: no host of Cliq is known in the user's data centre.
    """
    user = yield from identify_user(app, tokens)
    find_centre(app, user.location).product(Product.CLIQ)
    return (
        ExternalAccount(id=f"{user.location}:{user.zuid}", name=user.email or user.name, metadata=user.to_metadata()),
    )


def cliq_url(app: ProviderApp, connection: Connection) -> str:
    """The REST API in the connection's data centre."""
    return api_url(app, connection, Product.CLIQ) + "/api/v2"


OAUTH = zoho_oauth(
    (
        Scope("ZohoCliq.Channels.READ", "To list the channels that the user has joined, with their names."),
        Scope("ZohoCliq.Chats.READ", "To learn which chats have new messages, so that idle ones are not read."),
        Scope(MESSAGES_SCOPE, "To read the messages of those chats."),
    ),
    identify,
)
