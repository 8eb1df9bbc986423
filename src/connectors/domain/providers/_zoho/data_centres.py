"""Zoho's data centres: a fixed table of the only hosts that our secrets are sent to.

The redirect names the accounts server of the user's data centre, but anybody can make such a link. The name is accepted
only if it is in this table, in the row of the redirect's location. No host is ever built from a name: Canada is
`zohocloud.ca`, and `zoho.ca` belongs to somebody else.

Source: zoho.com/accounts/protocol/oauth/multi-dc, `GET /oauth/serverinfo`.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import ForbiddenHostError
from connectors.domain.model.http import origin_of
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Option
from connectors.domain.providers.toolbox.options import choice

HOME_OPTION = "data_center"


class Product(StrEnum):
    """A product with hosts of its own in every data centre."""

    MAIL = "mail"
    CLIQ = "cliq"


@attrs.frozen
class DataCentre:
    """One row: base URLs without a slash at the end."""

    location: str
    accounts: str
    api_domain: str
    """The data centre's name in token answers. We call nothing there."""
    mail: str | None
    cliq: str | None
    """None if no source confirms a host."""

    def product(self, product: Product) -> str:
        """The product's base URL here.

        Raises:
            ForbiddenHostError: none is known.
        """
        found = self.mail if product is Product.MAIL else self.cliq
        if found is None:
            raise ForbiddenHostError(f"No host of Zoho {product.title()} is known in the data centre {self.location}.")
        return found


def _row(location: str, domain: str, api: str, *, has_cliq: bool = True) -> DataCentre:
    return DataCentre(
        location,
        f"https://accounts.{domain}",
        f"https://www.{api}",
        f"https://mail.{domain}",
        f"https://cliq.{domain}" if has_cliq else None,
    )


DATA_CENTRES: Mapping[str, DataCentre] = {
    row.location: row
    for row in (
        _row("us", "zoho.com", "zohoapis.com"),
        _row("eu", "zoho.eu", "zohoapis.eu"),
        _row("in", "zoho.in", "zohoapis.in"),
        _row("au", "zoho.com.au", "zohoapis.com.au"),
        _row("jp", "zoho.jp", "zohoapis.jp"),
        _row("ca", "zohocloud.ca", "zohoapis.ca"),
        _row("sa", "zoho.sa", "zohoapis.sa"),
        _row("cn", "zoho.com.cn", "zohoapis.com.cn"),
        _row("uk", "zoho.uk", "zohoapis.uk"),
        # No page of Zoho names a Cliq host in the Emirates.
        _row("ae", "zoho.ae", "zohoapis.ae", has_cliq=False),
    )
}
"""By location, as redirects name it."""

OPTIONS: Mapping[str, Option[Any]] = {
    HOME_OPTION: Option(choice(DATA_CENTRES), default="us", help="The data centre where the client is registered")
}

TOKEN_PATH = "/oauth/v2/token"  # noqa: S105 - a path
SANDBOX_TOKEN_URL = re.compile(r".*/([a-z]{2})/accounts" + re.escape(TOKEN_PATH))


def find_centre(app: ProviderApp, location: Any) -> DataCentre:
    """The row of a location, below the operator's base URL if there is one.

    Raises:
        ForbiddenHostError: no row has this location.
    """
    row = DATA_CENTRES.get(location) if isinstance(location, str) else None
    if row is None:
        raise ForbiddenHostError("Zoho named a data centre that is not in our table.")
    if app.base_url is None:
        return row
    base = f"{app.base_url.rstrip('/')}/{row.location}"
    return DataCentre(row.location, f"{base}/accounts", row.api_domain, f"{base}/mail", f"{base}/cliq")


def home_centre(app: ProviderApp) -> DataCentre:
    """The data centre where the client is registered: consent begins there, and Zoho redirects the user to theirs."""
    return find_centre(app, app.options[HOME_OPTION])


def centre_of_params(app: ProviderApp, params: Mapping[str, Any]) -> DataCentre:
    """The data centre named in a redirect's query, or in a token set's `extra` (its `location`).

    If a redirect names none, it is the home data centre: a client without Multi DC has no users elsewhere.

    Raises:
        ForbiddenHostError: the accounts server or the location is not in the table, or they are not in one row.
    """
    location, server = params.get("location"), params.get("accounts-server")
    if location is None and server is None:
        return home_centre(app)
    rows = [find_centre(app, name) for name in DATA_CENTRES]
    found = [
        row
        for row in rows
        if location in (None, row.location)
        and (server is None or (isinstance(server, str) and server.removesuffix("/") == row.accounts))
    ]
    if not found:
        raise ForbiddenHostError("The redirect names an accounts server that is not Zoho's, or of another location.")
    return found[0]


def location_of_answer(url: str, api_domain: Any) -> str | None:
    """The location of the token endpoint that answered, else that of the `api_domain` in the answer, else None."""
    row = next((row for row in DATA_CENTRES.values() if url == row.accounts + TOKEN_PATH), None)
    if row is not None:
        return row.location
    below_base = SANDBOX_TOKEN_URL.fullmatch(url)
    if below_base is not None and below_base[1] in DATA_CENTRES:
        return below_base[1]
    return location_of_api_domain(api_domain)


def location_of_api_domain(api_domain: Any) -> str | None:
    """The location of an `api_domain`: Zoho's pages show both `www.zohoapis.eu` and `api.zoho.eu`."""
    try:
        host = urlsplit(api_domain).hostname if isinstance(api_domain, str) else None
    except ValueError:
        return None
    for row in DATA_CENTRES.values() if host else ():
        for suffix in (row.api_domain.removeprefix("https://www."), row.accounts.removeprefix("https://accounts.")):
            if host is not None and (host == suffix or host.endswith(f".{suffix}")):
                return row.location
    return None


def location_of(connection: Connection) -> str:
    """The connection's data centre, as stored by `identify`.

    Raises:
        ForbiddenHostError: it has none, or an unknown one.
    """
    location = connection.account.metadata.get("location")
    if not isinstance(location, str) or location not in DATA_CENTRES:
        raise ForbiddenHostError("The connection has no data centre that is in our table.")
    return location


def api_url(app: ProviderApp, connection: Connection, product: Product) -> str:
    """The base URL of the product for this connection, without a slash at the end."""
    return find_centre(app, location_of(connection)).product(product)


def allowed_origins(product: Product) -> Callable[[ProviderApp], frozenset[str]]:
    """The hosts that may be called: the accounts servers and the product's hosts."""

    def origins(app: ProviderApp) -> frozenset[str]:
        if app.base_url is not None:
            return frozenset({origin_of(app.base_url)})
        rows = DATA_CENTRES.values()
        served = (row.mail if product is Product.MAIL else row.cliq for row in rows)
        return frozenset({row.accounts for row in rows} | {url for url in served if url is not None})

    return origins
