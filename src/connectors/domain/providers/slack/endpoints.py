"""Slack's single host, and the URLs of the Web API."""

from connectors.domain.model.http import origin_of
from connectors.domain.model.oauth import ProviderApp

VENDOR_URL = "https://slack.com"
"""For authorization and the Web API. GovSlack is the same below `https://slack-gov.com`, set as base URL."""


def base_url(app: ProviderApp) -> str:
    """The URL before every path, without a slash at the end."""
    return (app.base_url or VENDOR_URL).rstrip("/")


def authorize_endpoint(app: ProviderApp) -> str:
    """The consent page."""
    return f"{base_url(app)}/oauth/v2/authorize"


def method_url(app: ProviderApp, method: str) -> str:
    """The URL of one Web API method, e.g. `conversations.history`."""
    return f"{base_url(app)}/api/{method}"


def method_of(url: str) -> str | None:
    """The method in a Web API URL, by which Slack counts limits; None for other URLs."""
    path = url.partition("?")[0]
    _, found, method = path.rpartition("/api/")
    return method if found and method else None


def allowed_origins(app: ProviderApp) -> frozenset[str]:
    """The only origin that is called."""
    return frozenset({origin_of(base_url(app))})
