"""The HTTP API: requests in, one call of a flow, answers out."""

from connectors.entrypoints.flask.app import create_app
from connectors.entrypoints.flask.settings import ApiSettings

__all__ = ["ApiSettings", "create_app"]
