"""Atlassian's endpoints: on its own hosts, or below one base URL (a sandbox)."""

import re
from urllib.parse import quote, urlsplit

from connectors.domain.model.http import origin_of
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp

SLUG = ProviderSlug("jira")

AUTHORIZATION_HOST = "https://auth.atlassian.com"
"""Consent and tokens."""
API_HOST = "https://api.atlassian.com"
"""REST. Our tokens are refused on `https://<site>.atlassian.net`; that host is for links only."""

CLOUD_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
"""A site's id that may be put into a path. Atlassian's are UUIDs; `.` and `/` are not allowed."""
MAX_SITE_URL = 500
"""Characters; a host name has at most 253."""


def authorize_endpoint(app: ProviderApp) -> str:
    """The authorization endpoint."""
    return f"{_base(app, AUTHORIZATION_HOST)}/authorize"


def token_endpoint(app: ProviderApp) -> str:
    """The token endpoint, for codes and refresh tokens alike."""
    return f"{_base(app, AUTHORIZATION_HOST)}/oauth/token"


def sites_endpoint(app: ProviderApp) -> str:
    """The URL of the list of sites that a grant covers."""
    return f"{_base(app, API_HOST)}/oauth/token/accessible-resources"


def site_api(app: ProviderApp, cloud_id: str, path: str) -> str:
    """A REST v3 URL of one site: `path` is what follows `/rest/api/3/`."""
    return f"{_base(app, API_HOST)}/ex/jira/{quote(cloud_id, safe='')}/rest/api/3/{path}"


def allowed_origins(app: ProviderApp) -> frozenset[str]:
    """Every origin that may be called."""
    if app.base_url is not None:
        return frozenset({origin_of(app.base_url)})
    return frozenset({AUTHORIZATION_HOST, API_HOST})


def host_of(url: str | None) -> str | None:
    """The lower-case host, with its port if one is written, of an http(s) URL; None for anything else."""
    if url is None or len(url) > MAX_SITE_URL:
        return None
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"https", "http"} and bool(parts.hostname) and "@" not in parts.netloc
        return parts.netloc.lower() if is_web else None
    except ValueError:
        return None


def _base(app: ProviderApp, host: str) -> str:
    return host if app.base_url is None else app.base_url.rstrip("/")
