"""`connectors openapi`."""

import click

from connectors.entrypoints.cli.output import print_json
from connectors.entrypoints.openapi import installed_document


@click.command(name="openapi")
def command() -> None:
    """Print the OpenAPI document that `GET /openapi.json` serves. It needs neither settings nor a database."""
    print_json(installed_document())
