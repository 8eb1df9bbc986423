"""Where Google's endpoints are: its own hosts, or below the operator's base URL (the sandbox)."""

from enum import StrEnum

from connectors.domain.model.http import origin_of
from connectors.domain.model.oauth import ProviderApp


class Endpoint(StrEnum):
    """The endpoints that we call; each value is the path below a base URL."""

    AUTHORIZE = "/o/oauth2/v2/auth"
    TOKEN = "/token"  # noqa: S105 - a path
    REVOKE = "/revoke"
    USERINFO = "/v1/userinfo"
    CERTS = "/oauth2/v3/certs"
    DRIVE = "/drive/v3"
    CALENDAR = "/calendar/v3"
    GMAIL = "/gmail/v1"


HOSTS = {
    Endpoint.AUTHORIZE: "https://accounts.google.com",
    Endpoint.TOKEN: "https://oauth2.googleapis.com",
    Endpoint.REVOKE: "https://oauth2.googleapis.com",
    Endpoint.USERINFO: "https://openidconnect.googleapis.com",
    Endpoint.CERTS: "https://www.googleapis.com",
    Endpoint.DRIVE: "https://www.googleapis.com",
    Endpoint.CALENDAR: "https://www.googleapis.com",
    Endpoint.GMAIL: "https://gmail.googleapis.com",
}
"""Google's host of each endpoint, from its OpenID and API discovery documents."""


def url_of(app: ProviderApp, endpoint: Endpoint) -> str:
    """The endpoint's absolute URL, without a slash at the end."""
    host = HOSTS[endpoint] if app.base_url is None else app.base_url.rstrip("/")
    return host + endpoint


def allowed_origins(app: ProviderApp) -> frozenset[str]:
    """The hosts that this service calls. Only the browser opens the consent page."""
    called = (endpoint for endpoint in Endpoint if endpoint is not Endpoint.AUTHORIZE)
    return frozenset(origin_of(url_of(app, endpoint)) for endpoint in called)
