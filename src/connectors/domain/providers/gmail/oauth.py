"""Gmail's scopes and their reasons, and the identity of the mailbox."""

import attrs

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.errors import AccessLostError
from connectors.domain.model.http import Conversation, HttpRequest
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.providers._google.hosts import Endpoint, url_of
from connectors.domain.providers._google.ids import read_id
from connectors.domain.providers._google.limits import read_refusal
from connectors.domain.providers._google.oauth import google_oauth
from connectors.domain.providers._google.oauth import identify as identify_user
from connectors.domain.providers.contract import Scope

READ_SCOPE = "https://www.googleapis.com/auth/gmail.readonly"
METADATA_SCOPE = "https://www.googleapis.com/auth/gmail.metadata"
SEARCH_SCOPES = frozenset({READ_SCOPE, "https://www.googleapis.com/auth/gmail.modify", "https://mail.google.com/"})
"""With one of these `messages.list` takes a query; the metadata scope refuses it."""


def mailbox_url(app: ProviderApp) -> str:
    """The API of the mailbox that the token is for."""
    return url_of(app, Endpoint.GMAIL) + "/users/me"


def mailbox_of(connection: Connection) -> str:
    """The mailbox's lower-case address, which dedupe keys and push notifications use."""
    return read_id(connection.account.metadata.get("email")) or connection.account.id


def identify(app: ProviderApp, tokens: TokenSet) -> Conversation[tuple[ExternalAccount, ...]]:
    """The Google account, by its `sub`, with the address that Gmail itself uses for its mailbox.

    Raises:
        AccessLostError: the account has no mailbox (its mail service is off).
    """
    accounts = yield from identify_user(app, tokens)
    response = yield HttpRequest(method="GET", url=mailbox_url(app) + "/profile", expects=frozenset({400}))
    if response.status >= 400:  # noqa: PLR2004 - the first status of a failure
        raise AccessLostError("This Google account has no mailbox.", details=read_refusal(response).details)
    address = read_id(response.json_object().get("emailAddress"))
    if address is None:
        return accounts
    account = accounts[0]
    return (attrs.evolve(account, name=address, metadata={**account.metadata, "email": address.lower()}),)


OAUTH = google_oauth(
    (
        Scope(READ_SCOPE, "to list messages by date and read who wrote what about when; bodies are never fetched"),
        Scope(METADATA_SCOPE, "instead of the above, for headers and labels only", default=False),
    ),
    identify,
)
