"""Settings: what variables mean, where values come from, and the one line that a wrong one gives."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.system import values
from connectors.adapters.system.key_file import resolve_key_ring
from connectors.adapters.system.settings import read_settings
from connectors.adapters.system.values import Bind
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers.contract import Provider

KEYS = f"2026:{base64.b64encode(b'k' * 32).decode()}"


def make_provider(slug: str, **changes: Any) -> Provider:
    """A provider with settings to read, and nothing else."""
    unused: Any = None
    return Provider(
        slug=ProviderSlug(slug),
        name=slug,
        description="",
        homepage="",
        kinds=frozenset(),
        oauth=unused,
        allowed_origins=unused,
        limits=unused,
        **changes,
    )


GITHUB = make_provider("github")
SLACK = make_provider("slack", webhook_secret_option="signing_secret", options={"signing_secret": "the signing secret"})
GMAIL = make_provider("gmail", settings_prefixes=("GOOGLE",), options={"pubsub_topic": "projects/…/topics/…"})
DRIVE = make_provider("google-drive", settings_prefixes=("GOOGLE",))
PROVIDERS = (GITHUB, SLACK, GMAIL, DRIVE)


def read(dotenv=None, **variables):
    """Settings of these variables, which are named without their prefix."""
    with_prefix = {f"POBLYSH_{name}": text for name, text in variables.items()}
    return read_settings(with_prefix, PROVIDERS, dotenv)


def row(settings, name):
    """The row of one variable."""
    return next(row for row in settings.describe() if row.name == name)


def test_nothing_set_gives_the_documented_defaults():
    """With an empty environment every default is the documented one, and no provider is configured."""
    settings = read()
    service = settings.service
    assert service.bind == Bind("127.0.0.1", 8080)
    assert service.database_url is None
    assert service.vault_keys is None
    assert service.public_url is None
    assert service.workers >= 1
    assert service.webhook_max_bytes == 26_214_400
    assert service.oauth_state_lifetime == timedelta(minutes=10)
    assert service.backfill == timedelta(days=30)
    assert service.sync_interval is None
    assert (service.tenant_concurrency, service.provider_concurrency) == (4, None)
    assert (service.worker_concurrency, service.job_time_slice) == (8, timedelta(seconds=10))
    assert (service.delivery_retention, service.job_retention) == (timedelta(days=90), timedelta(days=30))
    assert (service.log_level, service.log_format) == ("info", "auto")
    assert service.data_dir.is_absolute()
    assert settings.apps == {}
    assert settings.unknown == ()


def test_blank_is_unset():
    """A variable of spaces only counts as not there, as compose files write them."""
    assert read(BIND="  ", GITHUB_CLIENT_ID="").service.bind == Bind("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("0.0.0.0:80", Bind("0.0.0.0", 80)),
        ("localhost:0", Bind("localhost", 0)),
        ("[::1]:8080", Bind("::1", 8080)),
        ("[::]:65535", Bind("::", 65535)),
        ("my-host_1.internal:1", Bind("my-host_1.internal", 1)),
    ],
)
def test_bind_takes_host_and_port(text, bind):
    """IPv4, IPv6 in brackets and names are understood, and written back as they were."""
    assert read(BIND=text).service.bind == bind
    assert str(bind) == text


WRONG = [
    ("BIND", "8080", "host:port"),
    ("BIND", ":8080", "host:port"),
    ("BIND", "::1:8080", "host:port"),
    ("BIND", "[::1:8080", "host:port"),
    ("BIND", "[nope]:8080", "host:port"),
    ("BIND", "localhost:65536", "host:port"),
    ("BIND", "localhost:http", "host:port"),
    ("BIND", "localhost:٣", "host:port"),
    ("WORKERS", "0", "from 1 to 1024"),
    ("WORKERS", "-1", "from 1 to 1024"),
    ("WORKERS", "9" * 5000, "from 1 to 1024"),
    ("PUBLIC_URL", "http://example.com", "https://"),
    ("PUBLIC_URL", "example.com", "https://"),
    ("PUBLIC_URL", "https://example.com?x=1", "https://"),
    ("PUBLIC_URL", "https://example.com/#x", "https://"),
    ("PUBLIC_URL", "https://exa mple.com", "https://"),
    ("PUBLIC_URL", "https://example.com:port", "https://"),
    ("OAUTH_REDIRECT_URI", "http://core.example/cb", "{provider}"),
    ("OAUTH_REDIRECT_URI", "https://{provider}.example/cb", "{provider}"),
    ("OAUTH_REDIRECT_URI", "https://core.example/{slug}", "{provider}"),
    ("OAUTH_ALLOWED_REDIRECT_URIS", "https://a.example/cb,,https://b.example/cb", "https://"),
    ("LOG_LEVEL", "loud", "one of debug"),
    ("LOG_FORMAT", "xml", "one of auto"),
    ("BACKFILL_DAYS", "1.5", "whole days"),
    ("OAUTH_STATE_LIFETIME_SECONDS", "10m", "whole seconds"),
    ("OUTBOUND_CA_FILE", "/there/is/no/such/file", "a file with the certificates"),
    ("GITHUB_BASE_URL", "http://ghe.internal", "https://"),
    ("GITHUB_CLIENT_ID", "two words", "a client id"),
]


@pytest.mark.parametrize(("name", "text", "expected"), WRONG)
def test_a_wrong_value_gives_one_line(name, text, expected):
    """The error names the variable, what was found and what is expected, in one line."""
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    message = caught.value.message
    assert message.startswith(f"POBLYSH_{name} is ")
    assert text[:20] in message
    assert expected in message
    assert "\n" not in message
    assert len(message) < 300


SECRETS = [
    ("VAULT_KEYS", "hunter2"),
    ("VAULT_KEYS", "hunter2:hunter2"),
    ("OPERATOR_TOKENS", '["hunter2", 7]'),
    ("OPERATOR_TOKEN", "hunter2 hunter2"),
    ("DATABASE_URL", "mysql://me:hunter2@db/app"),
    ("DATABASE_URL", "postgresql://me:hunter2/x@db/app"),
    ("DATABASE_URL", "postgresql://me:x@db:hunter2/app"),
    ("DATABASE_URL", "postgresql://me:hunter2@[db/app"),
    ("PUBLIC_URL", "https://me:hunter2@example.com"),
    ("GITHUB_WEBHOOK_SECRET", "hunter2,,hunter3"),
]


@pytest.mark.parametrize(("name", "text"), SECRETS)
def test_a_wrong_secret_is_not_repeated(name, text):
    """The line about a secret tells its length at most."""
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    assert caught.value.message.startswith(f"POBLYSH_{name} is ***")
    assert "hunter" not in caught.value.message


@given(text=st.text(st.characters(), min_size=1), name=st.sampled_from(sorted({name for name, *_ in WRONG + SECRETS})))
def test_any_text_is_understood_or_refused_in_one_line(text, name):
    """Whatever a variable holds, the answer is a setting or a SettingsError of one line."""
    try:
        read(**{name: text})
    except SettingsError as error:
        refusal = error.message
    else:
        return
    assert refusal.isprintable()
    assert refusal.startswith("POBLYSH_")


@given(port=st.integers(0, 65535), address=st.ip_addresses())
def test_every_address_can_be_bound(port, address):
    """Any IP address and port is read back from what `Bind` writes."""
    bind = Bind(str(address), port)
    assert values.read_bind(str(bind)) == bind


def test_the_environment_wins_over_the_file():
    """A value in both places is taken from the environment; each row tells its source."""
    settings = read({"POBLYSH_BIND": "127.0.0.1:1", "POBLYSH_WORKERS": "3"}, BIND="127.0.0.1:2")
    assert settings.service.bind.port == 2
    assert settings.service.workers == 3
    assert row(settings, "POBLYSH_BIND").source == "environment"
    assert row(settings, "POBLYSH_WORKERS").source == ".env"
    assert row(settings, "POBLYSH_LOG_LEVEL").source == "default"


def test_operator_tokens_win_over_the_single_one():
    """With both variables only the list counts, as the integration guide says."""
    settings = read(OPERATOR_TOKENS="from-list", OPERATOR_TOKEN="alone")
    assert settings.operators.authenticate("from-list") is not None
    assert settings.operators.authenticate("alone") is None
    assert read(OPERATOR_TOKEN="alone").operators.authenticate("alone").name == "operator"


def test_no_operator_token_is_an_error_where_one_is_needed():
    """Settings without a token load, and say what to set when the operators are asked for."""
    with pytest.raises(SettingsError, match="POBLYSH_OPERATOR_TOKENS is not set"):
        _ = read().operators


def test_a_database_url_keeps_its_password_to_itself():
    """The URL is complete inside the secret, in the scheme SQLAlchemy knows, and masked outside."""
    settings = read(DATABASE_URL="postgres://me:hunter2@db:5432/app?password=hunter2")
    url = settings.service.database_url
    assert url.secret.reveal() == "postgresql://me:hunter2@db:5432/app?password=hunter2"
    assert row(settings, "POBLYSH_DATABASE_URL").value == "postgresql://me:***@db:5432/app"
    assert "hunter2" not in repr(settings)


def test_vault_keys_are_required_with_a_database_url():
    """A shared database without configured keys is refused; with keys, those are used."""
    with pytest.raises(SettingsError, match="POBLYSH_VAULT_KEYS is not set"):
        resolve_key_ring(read(DATABASE_URL="postgresql://db/app").service)
    configured = read(DATABASE_URL="postgresql://db/app", VAULT_KEYS=KEYS)
    assert resolve_key_ring(configured.service).ids == ("2026",)
    assert row(configured, "POBLYSH_VAULT_KEYS").value == "2026:***"


def test_redirect_uris_keep_their_placeholder():
    """`{provider}` stays in the default and in the allowed ones, for the connect flow to fill in."""
    service = read(
        OAUTH_REDIRECT_URI="https://core.example/oauth/{provider}/cb",
        OAUTH_ALLOWED_REDIRECT_URIS="https://b.example/cb?p={provider}, http://localhost:3000/cb",
    ).service
    assert service.oauth_redirect_uri == "https://core.example/oauth/{provider}/cb"
    assert service.oauth_allowed_redirect_uris == ("https://b.example/cb?p={provider}", "http://localhost:3000/cb")
    assert read().service.oauth_redirect_uri is None
    assert not read().service.oauth_allowed_redirect_uris


def test_a_provider_is_read_from_its_variables():
    """Client, scopes, rotating secrets, base URL and options come from the provider's own variables."""
    settings = read(
        GITHUB_CLIENT_ID="Iv1.abc",
        GITHUB_CLIENT_SECRET="hunter2",
        GITHUB_SCOPES="repo, read:user repo",
        GITHUB_WEBHOOK_SECRET="new, old",
        GITHUB_BASE_URL="http://127.0.0.1:9000/github/",
    )
    app = settings.apps["github"]
    assert app.client_id == "Iv1.abc"
    assert app.client_secret.reveal() == "hunter2"
    assert app.scopes == ("repo", "read:user")
    assert [secret.reveal() for secret in app.webhook_secrets] == ["new", "old"]
    assert app.base_url == "http://127.0.0.1:9000/github"
    assert row(settings, "POBLYSH_GITHUB_CLIENT_SECRET").value == "***"
    assert row(settings, "POBLYSH_GITHUB_WEBHOOK_SECRET").value == "***"
    assert row(settings, "POBLYSH_GITHUB_SCOPES").value == "repo read:user"


def test_shared_variables_are_the_fallback():
    """What a provider does not set itself is taken from its family, and the row says from which variable."""
    settings = read(
        GOOGLE_CLIENT_ID="shared-id", GOOGLE_CLIENT_SECRET="shared", GMAIL_PUBSUB_TOPIC="projects/p/topics/t"
    )
    assert settings.apps["google-drive"].client_id == "shared-id"
    assert settings.apps["gmail"].options == {"pubsub_topic": "projects/p/topics/t"}
    assert row(settings, "POBLYSH_GMAIL_CLIENT_ID").source == "fallback POBLYSH_GOOGLE_CLIENT_ID"
    assert settings.unknown == ()


def test_client_id_and_secret_are_never_mixed():
    """A provider with a client id of its own does not borrow the family's secret."""
    with pytest.raises(SettingsError, match="POBLYSH_GMAIL_CLIENT_SECRET is not set"):
        read(GMAIL_CLIENT_ID="own", GOOGLE_CLIENT_ID="shared", GOOGLE_CLIENT_SECRET="hunter2")
    own = read(GMAIL_CLIENT_ID="own", GMAIL_CLIENT_SECRET="x", GOOGLE_CLIENT_ID="shared", GOOGLE_CLIENT_SECRET="y")
    assert own.apps["gmail"].client_id == "own"
    assert own.apps["google-drive"].client_id == "shared"


def test_a_vendors_own_name_of_the_webhook_secret_is_taken():
    """Slack's is its signing secret; the general name works as well."""
    client = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s"}
    signing = read(**client, SLACK_SIGNING_SECRET="sign").apps["slack"]
    general = read(**client, SLACK_WEBHOOK_SECRET="sign").apps["slack"]
    for app in (signing, general):
        assert [secret.reveal() for secret in app.webhook_secrets] == ["sign"]
        assert app.options == {}


def test_a_provider_that_is_not_configured_is_missing():
    """Without client id and secret there is no registration."""
    assert "google-drive" not in read().apps


def test_unknown_variables_are_collected_with_the_nearest_name():
    """A misspelt variable is reported with what was probably meant; others' variables are not ours."""
    settings = read({"OTHER": "x", "POBLYSH_XYZZY": "1"}, GITHUB_CLIENT_IDD="x")
    assert [(one.name, one.suggestion) for one in settings.unknown] == [
        ("POBLYSH_GITHUB_CLIENT_IDD", "POBLYSH_GITHUB_CLIENT_ID"),
        ("POBLYSH_XYZZY", None),
    ]
    assert "did you mean POBLYSH_GITHUB_CLIENT_ID?" in str(settings.unknown[0])


def test_no_secret_is_in_the_settings_repr_or_rows():
    """Neither printing the settings nor describing them shows a secret."""
    settings = read(
        OPERATOR_TOKENS="hunter2",
        VAULT_KEYS=KEYS,
        DATABASE_URL="postgresql://a:hunter2@db/x",
        GITHUB_CLIENT_ID="id",
        GITHUB_CLIENT_SECRET="hunter2",
        GITHUB_WEBHOOK_SECRET="hunter2",
    )
    for text in (repr(settings), repr(settings.describe())):
        assert "hunter2" not in text
        assert KEYS.partition(":")[2] not in text


def test_a_path_is_made_absolute():
    """`~` is the home directory, and a relative path starts here."""
    assert read(DATA_DIR="~/poblysh").service.data_dir == Path.home() / "poblysh"
    assert read(DATA_DIR="here").service.data_dir == Path.cwd() / "here"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.8.9.1", True), ("::1", True), ("localhost.example.com", False), ("10.0.0.1", False)],
)
def test_only_this_machine_is_loopback(host, expected):
    """Names that merely look local are not."""
    assert values.is_loopback(host) is expected
