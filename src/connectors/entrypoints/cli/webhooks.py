"""`connectors webhooks`."""

import sys
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from uuid import UUID

import click

from connectors.adapters.system.clock import SystemClock
from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import SubscriptionStatus, WebhookRequest
from connectors.domain.providers.contract import VerificationMaterial
from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints.cli.output import Output, output_option, show_rows
from connectors.entrypoints.cli.system import load_settings, open_connectors, tenant_option


@click.group(name="webhooks")
def command() -> None:
    """Renew and maintain subscriptions, manage secrets of single connections, find out why a signature fails."""


@command.command(name="secret")
@tenant_option
@click.argument("connection_id", type=click.UUID)
def secret_command(tenant_id: TenantId, connection_id: UUID) -> None:
    """Make a secret for a webhook that is set up by hand (Zoho Cliq, Jira), and print it and the URL, this once.

    The previous secret stays valid until another one is made.
    """
    with open_connectors() as connectors:
        issued = connectors.webhook_secrets.issue(tenant_id, ConnectionId(connection_id))
    click.echo(f"URL:    {issued.url or 'set POBLYSH_PUBLIC_URL first'}")
    click.echo(f"Secret: {issued.secret.reveal()}")


@command.command(name="url")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.option("--renew", is_flag=True, help="Give it another key; the one before proves nothing any more.")
def url_command(tenant_id: TenantId, connection_id: UUID, *, renew: bool) -> None:
    """Print the URL of a connection's own webhook, to enter at the vendor (Zoho Mail, Zoho Cliq). Keep it secret."""
    with open_connectors() as connectors:
        click.echo(connectors.webhook_secrets.url(tenant_id, ConnectionId(connection_id), renew=renew))


@command.command(name="rekey")
@tenant_option
@click.argument("connection_id", type=click.UUID)
@click.confirmation_option(prompt="Refuse this connection's deliveries until the vendor announces a new secret?")
def rekey_command(tenant_id: TenantId, connection_id: UUID) -> None:
    """Forget a connection's webhook secret, so that the vendor may announce a new one (Zoho Mail)."""
    with open_connectors() as connectors:
        count = connectors.webhook_secrets.forget(tenant_id, ConnectionId(connection_id))
    click.echo(f"Forgot {count} secret{'' if count == 1 else 's'}.")
    click.echo("Save the webhook at the vendor again, with the URL of `connectors webhooks url`.")


@command.command(name="renew")
@click.option(
    "--within-hours",
    type=click.IntRange(1),
    default=48,
    show_default=True,
    help="Renew what expires within so many hours.",
)
@output_option
@click.pass_context
def renew_command(context: click.Context, within_hours: int, output: Output) -> None:
    """Renew the webhook subscriptions of all tenants that expire soon. Exit code 1 if any fails.

    Workers do this by themselves. The command is for services that run without a worker.
    """
    with open_connectors() as connectors:
        renewals = connectors.maintenance.renew_expiring(timedelta(hours=within_hours))
    rows = [
        {
            "tenant_id": one.subscription.tenant_id,
            "connection_id": one.subscription.connection_id,
            "provider": one.subscription.provider,
            "target": one.subscription.target,
            "expires_at": one.subscription.expires_at,
            "error": one.error,
        }
        for one in renewals
    ]
    columns = {name: itemgetter(name) for name in ("connection_id", "provider", "target", "expires_at", "error")}
    show_rows(rows, output, columns, empty="Nothing is due.")
    if any(one.error for one in renewals):
        context.exit(1)


@command.command(name="maintain")
@tenant_option
@click.option("--connection", "connection_id", type=click.UUID, required=True, help="Whose subscriptions.")
@output_option
@click.pass_context
def maintain_command(context: click.Context, tenant_id: TenantId, connection_id: UUID, output: Output) -> None:
    """Maintain a connection's subscriptions now: probe, renew, and make missing ones. Exit code 1 if any still fails.

    Workers do this by themselves.
    """
    with open_connectors() as connectors:
        present = connectors.maintenance.maintain(tenant_id, ConnectionId(connection_id))
        error = connectors.queries.get_connection(tenant_id, ConnectionId(connection_id)).webhook_error
    rows = [
        {"id": one.id, "target": one.target, "status": one.status, "expires_at": one.expires_at, "error": one.error}
        for one in present
        if one.status is not SubscriptionStatus.ENDED
    ]
    columns = {name: itemgetter(name) for name in ("target", "status", "expires_at", "error")}
    show_rows(rows, output, columns, empty="It has no subscriptions: see `connectors providers show`.")
    if error is not None:
        click.echo(f"Events may be missing: {error}", err=True)
    working = {SubscriptionStatus.ACTIVE, SubscriptionStatus.REFUSED}
    if error is not None or any(one["status"] not in working for one in rows):
        click.echo("Workers retry failing ones, less and less often. The error says what is missing.", err=True)
        context.exit(1)


@command.command(name="verify")
@click.argument("provider")
@click.option("--header", "-H", "headers", multiple=True, help="`Name: value`, as it came. Repeatable.")
@click.option(
    "--body",
    "-d",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="A file with the exact body; standard input if left out.",
)
@click.option(
    "--http",
    "http_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with headers, a blank line and the exact body, instead of --header and --body.",
)
@click.option(
    "--secret",
    envvar="WEBHOOK_SECRET",
    help="The secret to check with, better given as WEBHOOK_SECRET in the environment; else the configured ones.",
)
@click.pass_context
def verify_command(
    context: click.Context,
    provider: str,
    headers: tuple[str, ...],
    body: Path,
    http_file: Path | None,
    secret: str | None,
) -> None:
    """Check the signature of one delivery, and say why it fails. Exit code 1 if it does."""
    webhooks = installed_providers().get(provider).webhooks
    if webhooks is None:
        raise click.UsageError(f"{provider} sends no webhooks.")
    settings = load_settings()
    app = next((app for slug, app in settings.apps.items() if slug == provider), None)
    if http_file is not None:
        lines, content = _read_http(http_file.read_bytes())
    else:
        lines = headers
        content = sys.stdin.buffer.read() if str(body) == "-" else body.read_bytes()
    now = SystemClock().now()
    request = WebhookRequest(
        provider=installed_providers().get(provider).slug,
        tenant_id=None,
        headers=dict(_header(line) for line in lines),
        body=content,
        received_at=now,
    )
    secrets = (Secret(secret),) if secret else app.webhook_secrets if app else ()
    click.echo(f"Body: {len(content)} bytes. Secrets to try: {len(secrets)}.")
    try:
        delivery = webhooks.verify(request, VerificationMaterial(app=app, secrets=secrets, now=now))
    except DeliveryRejectedError as error:
        click.echo(f"Refused: {error.message}")
        for hint in _hints(content, secrets):
            click.echo(f"  {hint}")
        context.exit(1)
    click.echo(f"The signature is good. Delivery id: {delivery.delivery_id}")


def _read_http(text: bytes) -> tuple[tuple[str, ...], bytes]:
    for separator in (b"\r\n\r\n", b"\n\n"):
        head, found, content = text.partition(separator)
        if found:
            return tuple(head.decode("latin-1").splitlines()), content
    raise click.UsageError("The file has no blank line between headers and body.")


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"expected `Name: value`, found {line!r}", param_hint="--header")
    return name.strip(), value.strip()


def _hints(content: bytes, secrets: tuple[Secret, ...]) -> list[str]:
    """The usual mistakes that can be seen in the input."""
    hints = []
    if not secrets:
        hints.append("No secret is configured here; give one with --secret or WEBHOOK_SECRET.")
    if content.endswith(b"\n"):
        hints.append("The body ends with a line break: editors add one, and the signature does not cover it.")
    if b"\r\n" in content:
        hints.append("The body has CRLF line breaks: was it copied through a tool that changes them?")
    if any(secret.reveal() != secret.reveal().strip() for secret in secrets):
        hints.append("The secret begins or ends with white space.")
    return hints
