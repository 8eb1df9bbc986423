"""The HTTP API's OpenAPI document, without an API that runs."""

from importlib.metadata import version

from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints.flask.app import document


def installed_document() -> dict[str, object]:
    """The document that `GET /openapi.json` serves, for the installed providers."""
    return document(installed_providers(), version=version("poblysh-connectors"))
