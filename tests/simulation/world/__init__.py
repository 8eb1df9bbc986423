"""What happens at the vendors: one module each, all on the sandbox's worlds."""

from tests.simulation.world import github, gmail, google_calendar, google_drive, jira, slack, zoho_cliq, zoho_mail
from tests.simulation.world.account import Account

MODULES = (github, gmail, google_calendar, google_drive, jira, slack, zoho_cliq, zoho_mail)

ACCOUNTS: dict[str, type[Account]] = {one.__name__: one for module in MODULES for one in module.ACCOUNTS}
"""Every kind of account, by its name."""

SLUGS = sorted({one.slug for one in ACCOUNTS.values()})
"""The providers."""


def kinds_of(slug: str) -> list[str]:
    """The names of the provider's kinds of account."""
    return [name for name, one in ACCOUNTS.items() if one.slug == slug]
