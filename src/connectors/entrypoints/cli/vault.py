"""`connectors vault`."""

import secrets

import click

from connectors.adapters.aesgcm import generate_key


@click.group(name="vault")
def command() -> None:
    """Generate keys for the vault."""


@command.command(name="keygen")
@click.option("--id", "key_id", help="The key's id, which is stored beside every secret that it seals.")
def keygen_command(key_id: str | None) -> None:
    """Print a new key for POBLYSH_VAULT_KEYS.

    To rotate, put it before the present keys, separated by a comma: the first key seals, every key opens.
    """
    try:
        click.echo(generate_key(key_id or f"k{secrets.token_hex(3)}"))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--id") from error
