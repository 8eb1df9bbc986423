"""`connectors providers`."""

import click

from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints.cli.output import Output, output_option, print_table, printable, show_one, show_rows
from connectors.entrypoints.cli.system import load_settings
from connectors.entrypoints.representation.providers import WebhookSetupView, show_provider


@click.group(name="providers")
def command() -> None:
    """Show the providers and how to set them up."""


@command.command(name="list")
@output_option
def list_command(output: Output) -> None:
    """List the providers, whether they are configured here, and the plugins that are skipped."""
    settings = load_settings()
    registry = installed_providers()
    rows = [
        show_provider(one, configured=one.slug in settings.apps, public_url=settings.service.public_url)
        for one in registry
    ]
    skipped = [
        {"slug": None, "distribution": one.distribution, "entry_point": one.entry_point, "error": one.reason}
        for one in registry.skipped
    ]
    show_rows(
        rows if output is Output.TABLE else [*rows, *skipped],
        output,
        {
            "provider": lambda one: one.slug,
            "name": lambda one: one.name,
            "configured": lambda one: "yes" if one.configured else "no",
            "webhooks": lambda one: _webhooks(one.webhook),
            "kinds": lambda one: len(one.signal_kinds),
        },
    )
    if output is Output.TABLE:
        for plugin in registry.skipped:
            click.echo(f"\n{printable(str(plugin))}")


def _webhooks(webhook: WebhookSetupView | None) -> str:
    if webhook is None:
        return "none"
    return "automatic" if webhook.automatic else "set up by hand"


@command.command(name="show")
@click.argument("provider")
@output_option
def show_command(provider: str, output: Output) -> None:
    """Show one provider: its scopes and their reasons, its kinds of signals, what to set up by hand."""
    settings = load_settings()
    found = installed_providers().get(provider)
    configured = found.slug in settings.apps
    view = show_provider(found, configured=configured, public_url=settings.service.public_url)
    if output is not Output.TABLE:
        show_one(view, output)
        return
    click.echo(f"{view.name} ({view.slug}): {view.description}\n{view.homepage}\n")
    print_table(
        ["scope", "default", "why"], [[one.name, "yes" if one.default else "no", one.reason] for one in view.scopes]
    )
    click.echo(f"\nSignals: {', '.join(view.signal_kinds)}")
    if view.webhook is not None:
        click.echo(f"\nWebhook URL: {view.webhook.url or 'set POBLYSH_PUBLIC_URL first'}")
        click.echo(view.webhook.manual_setup or "Connecting an account subscribes it; nothing else is needed.")
    if not configured:
        name = found.slug.upper().replace("-", "_")
        click.echo(f"\nNot configured here. Set POBLYSH_{name}_CLIENT_ID and POBLYSH_{name}_CLIENT_SECRET.")
