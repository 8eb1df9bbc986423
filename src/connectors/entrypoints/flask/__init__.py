"""The HTTP API: a thin shell around the flows."""

from connectors.entrypoints.flask.app import create_app
from connectors.entrypoints.flask.settings import ApiSettings

__all__ = ["ApiSettings", "create_app"]
