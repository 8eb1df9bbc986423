"""Google Drive: files, and what happens to them."""

from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers._google.hosts import allowed_origins
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.google_drive.limits import LIMITS
from connectors.domain.providers.google_drive.oauth import OAUTH
from connectors.domain.providers.google_drive.signals import FAMILIES, KINDS
from connectors.domain.providers.google_drive.streams import STREAMS
from connectors.domain.providers.google_drive.webhooks import WEBHOOKS

GOOGLE_DRIVE = Provider(
    slug=ProviderSlug("google-drive"),
    name="Google Drive",
    description="Files and folders that are created, edited, moved, shared, trashed or deleted.",
    homepage="https://developers.google.com/workspace/drive/api",
    kinds=KINDS,
    oauth=OAUTH,
    allowed_origins=allowed_origins,
    limits=LIMITS,
    webhooks=WEBHOOKS,
    streams=STREAMS,
    families=FAMILIES,
    settings_prefixes=("GOOGLE",),
)

__all__ = ["GOOGLE_DRIVE"]
