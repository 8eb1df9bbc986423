"""Drive's scopes and their reasons."""

from connectors.domain.providers._google.oauth import google_oauth
from connectors.domain.providers.contract import Scope

METADATA_SCOPE = "https://www.googleapis.com/auth/drive.metadata.readonly"
READ_SCOPE = "https://www.googleapis.com/auth/drive.readonly"
SHARED_DRIVE_SCOPES = frozenset({READ_SCOPE, "https://www.googleapis.com/auth/drive"})
"""The scope for `drives.list`; the metadata scope cannot enumerate shared drives."""

OAUTH = google_oauth(
    (
        Scope(METADATA_SCOPE, "to read names, locations and times of files and their changes, never their contents"),
        Scope(READ_SCOPE, "to find shared drives by itself and follow each one's own change log", default=False),
    )
)
