"""`connectors openapi`."""

from importlib.metadata import version

import click

from connectors.entrypoints.cli.output import print_json
from connectors.entrypoints.flask.app import document
from connectors.entrypoints.flask.settings import ApiSettings
from connectors.entrypoints.library import Connectors


@click.command(name="openapi")
def command() -> None:
    """Print the OpenAPI document that `GET /openapi.json` serves. It needs neither settings nor a database."""
    with Connectors.in_memory() as connectors:
        print_json(document(connectors, ApiSettings(version=version("poblysh-connectors"))))
