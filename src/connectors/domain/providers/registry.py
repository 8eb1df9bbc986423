"""Every provider by slug: those of this distribution, and those that others register.

Another distribution adds a provider with an entry point in the group `connectors.providers` that names a `Provider`. An
entry point that fails is skipped, so that the other providers still work.
"""

import re
from collections.abc import Container, Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions

import attrs

from connectors.domain.model.errors import ProviderNotSupportedError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.signal import one_line
from connectors.domain.providers.account_stream import account_streams
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

UNKNOWN = "unknown distribution"
"""What a distribution is called whose metadata cannot be read."""

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


@attrs.frozen
class SkippedPlugin:
    """An entry point of another distribution that could not be loaded as a provider."""

    distribution: str
    entry_point: str
    """As the distribution declares it: `acme = acme_connectors:ACME`."""
    reason: str
    """One line. It may quote the plugin's error, so it is for operators only."""

    def __str__(self) -> str:
        return f"{self.distribution} ({self.entry_point}) is skipped: {self.reason}"


class ProviderRegistry:
    """Providers by slug, in the order they were registered."""

    def __init__(self, providers: Iterable[Provider], skipped: Iterable[SkippedPlugin] = ()) -> None:
        """Register them.

        Args:
            providers: each with a slug of its own.
            skipped: what could not be registered.

        Raises:
            ValueError: two have the same slug.
        """
        self.skipped = tuple(skipped)
        self._providers: dict[str, Provider] = {}
        for provider in providers:
            if provider.slug in self._providers:
                raise ValueError(f"two providers are called {provider.slug}")
            self._providers[provider.slug] = _with_streams(provider)

    def get(self, slug: str) -> Provider:
        """The provider with the slug that a caller gave.

        Raises:
            ProviderNotSupportedError: there is none with this slug.
        """
        provider = self._providers.get(slug)
        if provider is None:
            known = ", ".join(self._providers)
            raise ProviderNotSupportedError("There is no such provider.", next_step=f"The providers here are: {known}.")
        return provider

    def find(self, slug: ProviderSlug) -> Provider | None:
        """The provider of a stored row; None if its distribution is no longer installed."""
        return self._providers.get(slug)

    def get_stored(self, slug: ProviderSlug) -> Provider:
        """The provider of a stored row, where the work needs it.

        Raises:
            ProviderNotSupportedError: its distribution is no longer installed.
        """
        provider = self.find(slug)
        if provider is None:
            raise ProviderNotSupportedError(
                f"The provider {slug} is not installed here.",
                next_step="Install the distribution that it comes from, or end its connections.",
            )
        return provider

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def slugs(self) -> tuple[ProviderSlug, ...]:
        """All slugs."""
        return tuple(provider.slug for provider in self)


def _with_streams(provider: Provider) -> Provider:
    """The provider; one that has the simple form of reading gets the same as streams."""
    if provider.sync is None or provider.streams is not None:
        return provider
    families = frozenset(one.name for one in provider.event_families if one.is_read or one.is_backfilled)
    return attrs.evolve(provider, streams=account_streams(provider.sync, families))


def installed_providers() -> ProviderRegistry:
    """The built-in providers, then those of other installed distributions, which never replace an existing one."""
    providers: dict[str, Provider] = {provider.slug: provider for provider in BUILT_IN}
    skipped = []
    for entry in sorted(_entry_points(), key=lambda one: (_distribution_of(one), one.name)):
        try:
            provider = _load(entry, providers)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - foreign code may raise anything, SystemExit included
            skipped.append(SkippedPlugin(_distribution_of(entry), f"{entry.name} = {entry.value}", _reason_of(error)))
        else:
            providers[provider.slug] = provider
    return ProviderRegistry(providers.values(), skipped)


class _PluginError(Exception):
    """What is wrong with the object that an entry point names."""


def _entry_points() -> list[EntryPoint]:
    """The entry points of all distributions, read one by one: a damaged file must not hide the others."""
    declared = [(distribution, _declared_by(distribution)) for distribution in distributions()]
    if not any(of_one for _, of_one in declared):
        return []  # the usual case; reading the names takes six times as long
    entries: list[EntryPoint] = []
    seen: set[str] = set()
    for distribution, of_one in declared:
        name = _name_of(distribution)
        if name in seen:
            continue  # of two copies on the path only the first can be imported
        if name != UNKNOWN:
            seen.add(name)
        entries += of_one
    return entries


def _declared_by(distribution: Distribution) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=ENTRY_POINT_GROUP))
    except Exception:  # noqa: BLE001 - a damaged file declares nothing
        return []


def _distribution_of(entry: EntryPoint) -> str:
    return UNKNOWN if entry.dist is None else _name_of(entry.dist)


def _name_of(distribution: Distribution) -> str:
    """Its normalized name (the core metadata's, as PEP 503 compares them)."""
    try:
        return re.sub(r"[-_.]+", "-", str(distribution.metadata["Name"])).lower()
    except Exception:  # noqa: BLE001 - damaged metadata
        return UNKNOWN


def _load(entry: EntryPoint, taken: Container[str]) -> Provider:
    provider = entry.load()
    if not isinstance(provider, Provider):
        raise _PluginError(f"it names a {type(provider).__name__}, not a Provider")
    if provider.slug in taken:
        raise _PluginError(f"there is another provider called {provider.slug}")
    return provider


def _reason_of(error: BaseException) -> str:
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - foreign code, again
        message = ""
    if isinstance(error, _PluginError):
        return message
    return one_line(f"{type(error).__name__}: {message}" if message else type(error).__name__)
