"""Our app registrations at the providers, from `POBLYSH_<PROVIDER>_…` and the prefixes that providers share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import attrs

from connectors.adapters.system.sources import MASK, PREFIX, SettingRow, SettingSources, read_setting, shown
from connectors.adapters.system.values import (
    JOBS,
    SECONDS,
    read_base_url,
    read_scopes,
    read_secret,
    read_secrets,
    read_word,
)
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import Option, Provider, Reader
from connectors.domain.providers.toolbox.options import whole_number

_SECRET_WORDS = ("secret", "token", "password", "key")
"""An option with one of these in its name is masked."""

_CLIENT_ID = Reader(read_word, "a client id")
_CLIENT_SECRET = Reader(read_secret, "a client secret")
_SCOPES = Reader(read_scopes, "scopes separated by spaces or commas")
_BASE_URL = Reader(read_base_url, "an https:// URL without query, escapes and dot segments (http only on loopback)")
_WEBHOOK_SECRETS = Reader(read_secrets, "secrets separated by commas, the newest first")
_CONCURRENCY = whole_number(1, 10**9, JOBS)

T = TypeVar("T")


@attrs.frozen
class ProviderSettings:
    """What is set for one provider."""

    app: ProviderApp | None
    """None where neither client id nor client secret is set."""
    sync_interval: timedelta | None
    concurrency: int | None
    rows: tuple[SettingRow, ...]
    known: frozenset[str]
    """Every variable that was or could have been read."""


def read_provider_settings(provider: Provider, sources: SettingSources) -> ProviderSettings:
    """What is set for the provider.

    Each value is looked up under the provider's own prefix, then under the shared ones (`POBLYSH_GOOGLE_…`). Client id
    and secret belong together: both come from the first prefix that has either.

    Raises:
        SettingsError: a value is wrong, or only one of client id and secret is set.
    """
    return _Reader(provider, sources).read()


class _Reader:
    """Reads one provider's variables, and remembers which ones it looked up."""

    def __init__(self, provider: Provider, sources: SettingSources) -> None:
        self._provider = provider
        self._sources = sources
        own = provider.slug.upper().replace("-", "_")
        self._prefixes = tuple(f"{PREFIX}{prefix}_" for prefix in (own, *provider.settings_prefixes))
        self._rows: list[SettingRow] = []
        self._known: set[str] = set()

    def read(self) -> ProviderSettings:
        client_prefix = self._client_prefix()
        only = (client_prefix,) if client_prefix else self._prefixes
        client_id = self._take("CLIENT_ID", _CLIENT_ID, prefixes=only)
        client_secret = self._take("CLIENT_SECRET", _CLIENT_SECRET, prefixes=only, is_secret=True)
        scopes = self._take("SCOPES", _SCOPES)
        webhook_secrets = self._webhook_secrets()
        base_url = self._take("BASE_URL", _BASE_URL)
        options = {name: self._option(name, option) for name, option in self._provider.options.items()}
        sync_interval = self._take("SYNC_INTERVAL_SECONDS", SECONDS)
        concurrency = self._take("CONCURRENCY", _CONCURRENCY)
        app = None
        if client_id is not None and client_secret is not None:
            app = ProviderApp(
                provider=self._provider.slug,
                client_id=client_id,
                client_secret=client_secret,
                scopes=scopes or (),
                webhook_secrets=webhook_secrets,
                base_url=base_url,
                options=options,
            )
        elif client_prefix:
            missing, there = ("CLIENT_SECRET", "CLIENT_ID") if client_id else ("CLIENT_ID", "CLIENT_SECRET")
            raise SettingsError(
                f"{client_prefix}{missing} is not set, expected a value because {client_prefix}{there} is set"
            )
        return ProviderSettings(app, sync_interval, concurrency, tuple(self._rows), frozenset(self._known))

    def _client_prefix(self) -> str | None:
        names = ("CLIENT_ID", "CLIENT_SECRET")
        self._known.update(prefix + name for prefix in self._prefixes for name in names)
        return next(
            (
                prefix
                for prefix in self._prefixes
                if any(self._sources.find(prefix + name) is not None for name in names)
            ),
            None,
        )

    def _webhook_secrets(self) -> tuple[Secret, ...]:
        own_name = self._provider.webhook_secret_option.upper()
        # The general name works for every provider, also where the vendor calls it a signing secret.
        names = (own_name,) if own_name == "WEBHOOK_SECRET" else (own_name, "WEBHOOK_SECRET")
        found = [self._take(name, _WEBHOOK_SECRETS, is_secret=True) for name in names]
        return next((secrets for secrets in found if secrets), ())

    def _option(self, name: str, option: Option[Any]) -> Any:
        is_secret = option.is_secret or any(word in name for word in _SECRET_WORDS)
        return self._take(name.upper(), option.reader, default=option.default, is_secret=is_secret, is_option=True)

    def _take(
        self,
        name: str,
        reader: Reader[T],
        *,
        prefixes: tuple[str, ...] = (),
        default: T | None = None,
        is_secret: bool = False,
        is_option: bool = False,
    ) -> T | None:
        own = self._prefixes[0] + name
        variable, text = next(self._candidates(name, prefixes or self._prefixes), (own, None))
        value = (
            default if text is None else read_setting(variable, text, reader, is_secret=is_secret, is_option=is_option)
        )
        source = self._sources.source_of(variable) if variable == own else f"fallback {variable}"
        self._rows.append(
            SettingRow(name=own, value=MASK if text and is_secret else _shown(value, text), source=source)
        )
        return value

    def _candidates(self, name: str, prefixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        self._known.update(prefix + name for prefix in self._prefixes)
        for prefix in prefixes:
            text = self._sources.find(prefix + name)
            if text is not None:
                yield prefix + name, text


def _shown(value: Any, text: str | None) -> str | None:
    match value:
        case tuple() if all(isinstance(part, str) for part in value):
            return " ".join(value) or None
        case None | bool() | int() | str():
            return shown(value)
    return shown(text)
