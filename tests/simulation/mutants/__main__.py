"""Plays all mutants, or those that are named, and prints them as a table: `python -m tests.simulation.mutants`."""

import sys

import click

from tests.simulation.mutants import MUTANTS, UNBROKEN, UNSEEN, notice


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([one.name for one in MUTANTS]))
def main(names: tuple[str, ...]) -> None:
    """Print how each mutant is noticed. Exits with 1 if one is not."""
    is_each_noticed = True
    click.echo(
        "| mutant | rule that is left out | seeds of | seeds until noticed | by | CPU s |\n|---|---|---|---|---|---|"
    )
    for one in MUTANTS:
        if names and one.name not in names:
            continue
        found = notice(one)
        is_each_noticed &= found is not None
        seeds = f"{one.profile}, {', '.join(one.slugs)}{f'; with {one.why}' if one.why else ''}"
        how = (
            "not noticed | | "
            if found is None
            else (
                f"{found.seed + 1} | {', '.join(sorted({kind[0] for kind in found.kinds}))} | {found.cpu_seconds:.1f}"
            )
        )
        click.echo(f"| `{one.name}` | {one.rule} | {seeds} | {how} |")
    if not names:
        for title, reasons in (("rule that is not noticed", UNSEEN), ("invariant that nothing breaks", UNBROKEN)):
            click.echo(f"\n| {title} | why |\n|---|---|")
            click.echo("\n".join(f"| {name} | {why} |" for name, why in reasons.items()))
    sys.exit(0 if is_each_noticed else 1)


if __name__ == "__main__":
    main()
