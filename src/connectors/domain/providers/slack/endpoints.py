"""Where Slack is: its one host, and the methods of the Web API that we call."""

from connectors.domain.model.http import origin_of
from connectors.domain.model.oauth import ProviderApp

VENDOR_URL = "https://slack.com"
"""Authorization and Web API alike. GovSlack is the same below `https://slack-gov.com`, set as base URL."""


def base_url(app: ProviderApp) -> str:
    """The URL that every path hangs on, without a slash at its end."""
    return (app.base_url or VENDOR_URL).rstrip("/")


def authorize_endpoint(app: ProviderApp) -> str:
    """Where the user is asked."""
    return f"{base_url(app)}/oauth/v2/authorize"


def method_url(app: ProviderApp, method: str) -> str:
    """The URL of one Web API method, e.g. `conversations.history`."""
    return f"{base_url(app)}/api/{method}"


def method_of(url: str) -> str | None:
    """The method that a Web API URL names: what Slack's limits are counted by. None if it is no such URL."""
    path = url.partition("?")[0]
    _, found, method = path.rpartition("/api/")
    return method if found and method else None


def allowed_origins(app: ProviderApp) -> frozenset[str]:
    """The one origin that is ever called."""
    return frozenset({origin_of(base_url(app))})
