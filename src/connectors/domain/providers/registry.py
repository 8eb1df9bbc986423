"""Every provider by slug: those of this distribution, and those that others register.

Another distribution adds a provider with an entry point in the group `connectors.providers` that names a `Provider`.
"""

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from connectors.domain.model.errors import ProviderNotSupportedError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers.contract import Provider
from connectors.domain.providers.github import GITHUB
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL

ENTRY_POINT_GROUP = "connectors.providers"

BUILT_IN: tuple[Provider, ...] = (
    GITHUB,
    SLACK,
    JIRA,
    GOOGLE_DRIVE,
    GOOGLE_CALENDAR,
    GMAIL,
    ZOHO_CLIQ,
    ZOHO_MAIL,
)


class ProviderRegistry:
    """Providers by slug, in the order they were registered."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        """Keep them.

        Args:
            providers: each with a slug of its own.

        Raises:
            ValueError: two have the same slug.
        """
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            if provider.slug in self._providers:
                raise ValueError(f"two providers are called {provider.slug}")
            self._providers[provider.slug] = provider

    def get(self, slug: str) -> Provider:
        """The provider with this slug.

        Raises:
            ProviderNotSupportedError: there is none.
        """
        provider = self._providers.get(slug)
        if provider is None:
            known = ", ".join(self._providers)
            raise ProviderNotSupportedError("There is no such provider.", next_step=f"The providers here are: {known}.")
        return provider

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def slugs(self) -> tuple[ProviderSlug, ...]:
        """All slugs."""
        return tuple(provider.slug for provider in self)


def installed_providers() -> ProviderRegistry:
    """The built-in providers and those of other installed distributions."""
    others = (entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP))
    return ProviderRegistry([*BUILT_IN, *others])
