"""`python -m connectors_sandbox --port N`: a sandbox in its own process."""

import threading

import click

from connectors_sandbox.app import create_sandbox
from connectors_sandbox.server import SandboxServer


@click.command()
@click.option("--port", default=0, show_default="a free one", help="Port on 127.0.0.1.")
@click.option("--auto-consent", is_flag=True, help="Answer authorize requests without showing the consent page.")
@click.option("--allow-host", multiple=True, help="A host, besides loopback, that webhooks may be delivered to.")
@click.option("--seed", default=0, show_default=True, help="Seed of tokens, faults and disorder.")
def main(port: int, auto_consent: bool, allow_host: tuple[str, ...], seed: int) -> None:  # noqa: FBT001  click passes them
    """Serve the simulated providers on loopback until interrupted; the first line printed is the URL."""
    sandbox = create_sandbox(auto_consent=auto_consent, allowed_hosts=allow_host, seed=seed)
    with SandboxServer(sandbox, port=port, deliver=True) as server:
        click.echo(server.url)
        click.echo(f"Open {server.url}/_sandbox to see what happens; Ctrl-C stops it.", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


if __name__ == "__main__":
    main()
