"""GitHub: issues, pull requests, pushes and releases of github.com and Enterprise Server. Start with README.md."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.github.endpoints import allowed_origins
from connectors.domain.providers.github.events import FAMILIES, KINDS
from connectors.domain.providers.github.limits import LIMITS
from connectors.domain.providers.github.oauth import OAUTH
from connectors.domain.providers.github.streams import STREAMS
from connectors.domain.providers.github.webhooks import WEBHOOKS

__all__ = ["GITHUB"]

GITHUB = Provider(
    slug=ProviderSlug("github"),
    name="GitHub",
    description="Issues, pull requests, reviews, pushes and releases of the repositories you choose.",
    homepage="https://github.com",
    kinds=KINDS,
    oauth=OAUTH,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    limits=LIMITS,
    families=FAMILIES,
    allowed_origins=allowed_origins,
)
