"""What happens at the vendors: one module each, all on the sandbox's worlds."""

from tests.simulation.world import github
from tests.simulation.world.account import Account

ACCOUNTS: dict[str, type[Account]] = {one.slug: one for module in (github,) for one in module.ACCOUNTS}
"""Every kind of account, by its provider's slug."""
