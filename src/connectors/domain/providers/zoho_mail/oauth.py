"""Zoho Mail's scopes and their reasons, and the identity of the mailbox.

Source: zoho.com/mail/help/api/get-all-users-accounts.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.providers._zoho.data_centres import Product, api_url, find_centre
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers._zoho.limits import read_answer
from connectors.domain.providers._zoho.oauth import identify_user, zoho_oauth
from connectors.domain.providers.contract import Scope
from connectors.domain.providers.toolbox.foreign import read_name, read_object, read_objects

NAME = "Zoho Mail"
OWN_MAILBOX = "ZOHO_ACCOUNT"
"""The other types are POP and IMAP accounts that the user reads through Zoho."""
ALIASES_KEPT = 50


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """The user's own mailbox, by its account id, which is neither the ZUID nor an address.

    Raises:
        AccessLostError: the user has no mailbox at Zoho.
    """
    user = yield from identify_user(app, tokens)
    url = find_centre(app, user.location).product(Product.MAIL) + "/api/accounts"
    response = yield HttpRequest(method="GET", url=url)
    entries = read_objects(read_object(read_answer(NAME, response)).get("data"))
    mailbox = next((one for one in entries if one.get("type") == OWN_MAILBOX and read_id(one.get("accountId"))), None)
    account_id = None if mailbox is None else read_id(mailbox.get("accountId"))
    if mailbox is None or account_id is None:
        raise AccessLostError("This Zoho user has no mailbox.")
    address = read_address(mailbox) or user.email
    metadata = {
        **user.to_metadata(),
        # Webhooks name the mailbox by its own ZUID, which is the user's except for shared mailboxes.
        "mailbox_zuid": read_id(mailbox.get("zuid")) or user.zuid,
        "aliases": read_aliases(mailbox),
    }
    if address is not None:
        metadata["email"] = address
    return (ExternalAccount(id=account_id, name=address or user.name, metadata=metadata),)


def read_address(mailbox: Mapping[str, Any]) -> str | None:
    """The mailbox's own address, lower-case."""
    found = read_name(mailbox.get("primaryEmailAddress")) or read_name(mailbox.get("mailboxAddress"))
    return None if found is None else found.lower()


def read_aliases(mailbox: Mapping[str, Any]) -> list[str]:
    """All addresses of the mailbox, lower-case."""
    addresses = (read_name(entry.get("mailId")) for entry in read_objects(mailbox.get("emailAddress")))
    return [address.lower() for address in addresses if address is not None][:ALIASES_KEPT]


def mailbox_url(app: ProviderApp, connection: Connection) -> str:
    """The API of the connection's mailbox, in its data centre."""
    return f"{api_url(app, connection, Product.MAIL)}/api/accounts/{quote(connection.account.id, safe='')}"


OAUTH = zoho_oauth(
    (
        Scope("ZohoMail.messages.READ", "To list messages: who wrote what about when; bodies are never fetched."),
        Scope("ZohoMail.accounts.READ", "To learn the mailbox's id, which every other call names."),
        Scope("ZohoMail.folders.READ", "To tell received from sent mail, and to leave drafts, spam and trash out."),
    ),
    identify,
)
