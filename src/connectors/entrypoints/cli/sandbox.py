"""`connectors sandbox`."""

import threading

import click

from connectors_sandbox.server import SandboxServer


@click.command(name="sandbox")
@click.option("--port", default=9100, show_default=True, help="The port it listens on; 0 picks a free one.")
def command(port: int) -> None:
    """Simulate the providers on loopback until Ctrl-C, to develop against them without an app at any provider."""
    try:
        with SandboxServer(port=port, deliver=True) as server:
            click.echo(f"The sandbox listens on {server.url}; its control page is {server.url}/_sandbox")
            for provider in server.sandbox.worlds:
                click.echo(f"  {provider}: {server.base_url(provider)}")
            threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("Stopped.")
