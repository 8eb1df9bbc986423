"""The settings: the only module that reads the environment."""

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import attrs
import environ
import platformdirs
from dotenv import dotenv_values

from connectors.adapters.aesgcm.keys import KeyRing
from connectors.adapters.system import values
from connectors.adapters.system.operators import OperatorTokens
from connectors.adapters.system.provider_settings import read_provider_settings
from connectors.adapters.system.sources import PREFIX, SettingRow, SettingSources, UnknownVariable, read_setting, shown
from connectors.adapters.system.values import Bind, DatabaseUrl
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.providers.contract import Provider, Reader
from connectors.domain.providers.toolbox.options import choice, whole_number

DOTENV_NAME = ".env"
DEFAULT_DATA_DIR_NAME = "poblysh-connectors"


def _setting(name: str, reader: Reader[Any], *, default: str | None = None, is_secret: bool = False) -> Any:
    """One variable; the default is a text as an operator would write it."""

    def convert(text: str | None) -> Any:
        if text is None:
            return None
        return read_setting(PREFIX + name, text, reader, is_secret=is_secret)

    return environ.var(default=default, converter=convert, name=PREFIX + name, help=reader.expected)


@environ.config(prefix="POBLYSH", frozen=True)
class ServiceSettings:
    """The settings that are not about one provider, in the order of the documentation."""

    operator_tokens: OperatorTokens | None = _setting(
        "OPERATOR_TOKENS",
        Reader(OperatorTokens.parse, "a JSON array or tokens separated by commas"),
        is_secret=True,
    )
    operator_token: OperatorTokens | None = _setting(
        "OPERATOR_TOKEN", Reader(OperatorTokens.single, "one token"), is_secret=True
    )
    """Read only where `operator_tokens` is unset."""
    database_url: DatabaseUrl | None = _setting(
        "DATABASE_URL",
        Reader(values.read_database_url, "postgresql://user:password@host:port/database"),
        is_secret=True,
    )
    """None means the embedded database below the data directory."""
    data_dir: Path = _setting(
        "DATA_DIR",
        Reader(values.read_path, "a directory"),
        default=str(platformdirs.user_data_path(DEFAULT_DATA_DIR_NAME, appauthor=False)),
    )
    vault_keys: KeyRing | None = _setting(
        "VAULT_KEYS",
        Reader(KeyRing.parse, "id:base64(32 bytes), comma-separated, the newest first"),
        is_secret=True,
    )
    bind: Bind = _setting("BIND", values.BIND, default="127.0.0.1:8080")
    workers: int = _setting("WORKERS", whole_number(1, 1024), default=str(values.default_workers()))
    public_url: str | None = _setting(
        "PUBLIC_URL",
        Reader(
            values.read_base_url,
            "the https:// URL that providers reach us at, without query, escapes and dot segments "
            "(http only on loopback)",
        ),
    )
    oauth_redirect_uri: str | None = _setting(
        "OAUTH_REDIRECT_URI",
        Reader(values.read_redirect_uri, "an https:// URL, may contain {provider} (http only on loopback)"),
    )
    oauth_allowed_redirect_uris: tuple[str, ...] | None = _setting(
        "OAUTH_ALLOWED_REDIRECT_URIS",
        Reader(
            values.read_redirect_uris,
            "https:// URLs separated by commas, may contain {provider} (http only on loopback)",
        ),
    )
    """Other redirect URIs that `POST /connect` may ask for."""
    oauth_state_lifetime: timedelta = _setting("OAUTH_STATE_LIFETIME_SECONDS", values.SECONDS, default="600")
    webhook_max_bytes: int = _setting("WEBHOOK_MAX_BYTES", values.BYTES, default="26214400")
    """The largest webhook body. GitHub caps its payloads at 25 MB, the highest cap of the eight providers."""
    webhook_rate_limit: int = _setting(
        "WEBHOOK_RATE_LIMIT",
        whole_number(0, 10**9, "webhooks a minute for one tenant, 0 for no limit,"),
        default="12000",
    )
    """Per minute, in one process: verified ones for one tenant, and unverified ones of all senders. 200 a second is far
    more than a vendor sends to one tenant, and GitHub does not resend what we refuse."""
    trusted_proxy_hops: int = _setting("TRUSTED_PROXY_HOPS", whole_number(0, 16, "proxies"), default="0")
    """How many of the last entries of `X-Forwarded-For` our own proxies have written."""
    outbound_timeout: timedelta = _setting("OUTBOUND_TIMEOUT_SECONDS", values.SECONDS, default="30")
    """The limit for one whole call to a provider."""
    outbound_max_bytes: int = _setting("OUTBOUND_MAX_BYTES", values.BYTES, default="33554432")
    """The largest answer of a provider, decompressed."""
    outbound_ca_file: Path | None = _setting(
        "OUTBOUND_CA_FILE",
        Reader(values.read_certificates, "a file with the certificates (PEM) to trust instead of the bundled ones"),
    )
    """For a GitHub Enterprise Server with a private authority."""
    backfill: timedelta = _setting("BACKFILL_DAYS", values.DAYS, default="30")
    """How far back the first read of a connection goes."""
    sync_interval: timedelta | None = _setting("SYNC_INTERVAL_SECONDS", values.SECONDS)
    """Between two reads of a connection, plus or minus a fifth. Unset: each provider's own, 15 minutes for most."""
    worker_concurrency: int = _setting("WORKER_CONCURRENCY", whole_number(1, 256, values.JOBS), default="8")
    """In one worker process."""
    tenant_concurrency: int = _setting("TENANT_CONCURRENCY", whole_number(1, 10_000, values.JOBS), default="4")
    """Of one tenant, in all workers together."""
    provider_concurrency: int | None = _setting("PROVIDER_CONCURRENCY", whole_number(1, 10_000, values.JOBS))
    """Of one provider, in all workers together. Unset: no limit."""
    job_time_slice: timedelta = _setting("JOB_TURN_SECONDS", values.SECONDS, default="10")
    """How long a job goes on while others wait."""
    delivery_retention: timedelta = _setting("DELIVERY_RETENTION_DAYS", values.DAYS, default="90")
    """How long webhook deliveries are kept; failed ones stay until they are replayed."""
    job_retention: timedelta = _setting("JOB_RETENTION_DAYS", values.DAYS, default="30")
    """How long ended jobs and closed coverage gaps are kept."""
    ending_lifetime: timedelta = _setting("ENDING_HOURS", values.HOURS, default="24")
    """How long it is tried to remove at a vendor what has to go there."""
    metrics_bind: Bind | None = _setting("METRICS_BIND", values.BIND)
    """Where `connectors worker` serves its metrics; the API serves its own at `/metrics`. None: nowhere."""
    log_level: str = _setting("LOG_LEVEL", choice(("debug", "info", "warning", "error", "critical")), default="info")
    log_format: str = _setting("LOG_FORMAT", choice(("auto", "json", "console")), default="auto")


@attrs.frozen(kw_only=True)
class Settings:
    """Every setting, checked."""

    service: ServiceSettings
    apps: Mapping[ProviderSlug, ProviderApp]
    """Our app registrations; providers that are not configured are missing."""
    sync_intervals: Mapping[ProviderSlug, timedelta]
    """Between two reads, for single providers."""
    provider_concurrency: Mapping[ProviderSlug, int]
    """Jobs at once, for single providers."""
    rows: tuple[SettingRow, ...] = attrs.field(repr=False)
    unknown: tuple[UnknownVariable, ...]
    """Variables with our prefix that nothing reads, to warn about."""

    @property
    def operators(self) -> OperatorTokens:
        """Who may call the API.

        Raises:
            SettingsError: no operator token is set.
        """
        tokens = self.service.operator_tokens or self.service.operator_token
        if tokens is None:
            raise SettingsError(
                "POBLYSH_OPERATOR_TOKENS is not set, expected a JSON array or tokens separated by commas",
                next_step="Set POBLYSH_OPERATOR_TOKENS (or POBLYSH_OPERATOR_TOKEN) to a long random token.",
            )
        return tokens

    def describe(self) -> tuple[SettingRow, ...]:
        """Every effective value with its source, secrets masked."""
        return self.rows


def read_settings(
    environ_variables: Mapping[str, str], providers: Iterable[Provider], dotenv: Mapping[str, str] | None = None
) -> Settings:
    """The settings in these variables.

    Args:
        environ_variables: the process's environment; it wins.
        providers: whose variables to read.
        dotenv: what the `.env` file says.

    Raises:
        SettingsError: a value is wrong; one line names the variable, what was found and what is expected.
    """
    sources = SettingSources(environ_variables, dotenv or {})
    texts = sources.texts()
    if f"{PREFIX}OPERATOR_TOKENS" in texts:
        texts.pop(f"{PREFIX}OPERATOR_TOKEN", None)
    service = environ.to_config(ServiceSettings, texts)
    described = tuple(_service_rows(service, sources))
    of_providers = {provider.slug: read_provider_settings(provider, sources) for provider in providers}
    known = {row.name for row in described}.union(*(one.known for one in of_providers.values()))
    return Settings(
        service=service,
        apps={slug: one.app for slug, one in of_providers.items() if one.app is not None},
        sync_intervals={slug: one.sync_interval for slug, one in of_providers.items() if one.sync_interval is not None},
        provider_concurrency={
            slug: one.concurrency for slug, one in of_providers.items() if one.concurrency is not None
        },
        rows=described + tuple(row for one in of_providers.values() for row in one.rows),
        unknown=sources.unknown(known),
    )


def load_settings(providers: Iterable[Provider], directory: Path | None = None) -> Settings:
    """The settings of this process: its environment over the `.env` file in the directory.

    Args:
        providers: whose variables to read.
        directory: None for the working directory.

    Raises:
        SettingsError: like `read_settings`, or the `.env` file cannot be read.
    """
    return read_settings(os.environ, providers, read_dotenv((directory or Path.cwd()) / DOTENV_NAME))


def read_dotenv(path: Path) -> dict[str, str]:
    """What the `.env` file says; nothing if there is none. `$NAME` in a value is not expanded: secrets contain `$`.

    Raises:
        SettingsError: the file exists and cannot be read.
    """
    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}), expected a text file in UTF-8") from None
    return {name: text for name, text in found.items() if text is not None}


def _service_rows(service: ServiceSettings, sources: SettingSources) -> Iterable[SettingRow]:
    # environ-config turns it into an attrs class, which the type checker cannot see.
    for field in attrs.fields(cast("type[attrs.AttrsInstance]", ServiceSettings)):
        entry = field.metadata["environ_config"]
        value, source = getattr(service, field.name), sources.source_of(entry.name)
        if isinstance(value, timedelta):
            text: str | None = sources.find(entry.name) or entry.default
        else:
            text = shown(value)
        yield SettingRow(name=entry.name, value=text, source=source)
