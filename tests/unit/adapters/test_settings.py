"""Settings: what variables mean, where values come from, and the one-line error for a wrong one."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.system import values
from connectors.adapters.system.key_file import resolve_key_ring
from connectors.adapters.system.settings import read_settings
from connectors.adapters.system.values import Bind
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.providers.contract import Option, Provider, Reader
from connectors.domain.providers.registry import BUILT_IN
from connectors.domain.providers.toolbox.options import text_of, whole_number
from tests.support.provider import ACME

KEYS = f"2026:{base64.b64encode(b'k' * 32).decode()}"


def make_provider(slug: str, **changes: Any) -> Provider:
    """A provider with settings to read."""
    return attrs.evolve(ACME, **{"slug": ProviderSlug(slug), "name": slug, "options": {}, **changes})


GITHUB = make_provider("github")
SLACK = make_provider(
    "slack",
    webhook_secret_option="signing_secret",
    options={"page_size": Option(whole_number(1, 999), default=200, help="Messages per page")},
)
GMAIL = make_provider(
    "gmail", settings_prefixes=("GOOGLE",), options={"pubsub_topic": Option(text_of("a topic"), help="The topic")}
)
DRIVE = make_provider("google-drive", settings_prefixes=("GOOGLE",))


def refuse(text):
    """Another distribution's reader, whose error repeats the value."""
    raise ValueError(f"{text} is wrong")


VAULTED = make_provider(
    "vaulted",
    options={
        "api_token": Option(Reader(refuse, "a token"), help="Whose name says that it is a secret"),
        "pin": Option(Reader(refuse, "a number"), help="Which says so itself", is_secret=True),
        "colour": Option(Reader({"red": 1, "blue": 2}.__getitem__, "red or\nblue"), default=1, help="The colour"),
    },
)
PROVIDERS = (GITHUB, SLACK, GMAIL, DRIVE, VAULTED)


def read(dotenv=None, **variables):
    """The settings of these variables, given without their prefix."""
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
    assert service.ending_lifetime == timedelta(hours=24)
    assert (service.log_level, service.log_format) == ("info", "auto")
    assert service.data_dir.is_absolute()
    assert settings.apps == {}
    assert settings.unknown == ()


def test_blank_is_unset():
    """A variable of spaces only counts as not set, because compose files write such ones."""
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
    ("PUBLIC_URL", "https://example.com/a/../b", "https://"),
    ("PUBLIC_URL", "https://example.com/%2e", "https://"),
    ("PUBLIC_URL", "https://exa mple.com", "https://"),
    ("PUBLIC_URL", "https://example.com:port", "https://"),
    ("OAUTH_REDIRECT_URI", "http://core.example/cb", "{provider}"),
    ("OAUTH_REDIRECT_URI", "https://{provider}.example/cb", "{provider}"),
    ("OAUTH_REDIRECT_URI", "https://core.example/{slug}", "{provider}"),
    ("OAUTH_ALLOWED_REDIRECT_URIS", "https://a.example/cb,,https://b.example/cb", "https://"),
    ("LOG_LEVEL", "loud", "one of debug"),
    ("LOG_FORMAT", "xml", "one of auto"),
    ("BACKFILL_DAYS", "1.5", "whole days"),
    ("ENDING_HOURS", "0", "whole hours from 1 to 720"),
    ("ENDING_HOURS", "721", "whole hours from 1 to 720"),
    ("OAUTH_STATE_LIFETIME_SECONDS", "10m", "whole seconds"),
    ("OUTBOUND_CA_FILE", "/there/is/no/such/file", "a file with the certificates"),
    ("GITHUB_BASE_URL", "http://ghe.internal", "https://"),
    ("GITHUB_CLIENT_ID", "two words", "a client id"),
    ("GITHUB_SCOPES", 'repo "quoted"', "scopes separated"),
    ("GITHUB_SCOPES", ",", "scopes separated"),
    ("GITHUB_BASE_URL", "https://ghe.internal/a/../b", "without query, escapes and dot segments"),
    ("GITHUB_BASE_URL", "https://ghe.internal/a%20b", "without query, escapes and dot segments"),
    ("GITHUB_BASE_URL", "https://ghe..internal", "https://"),
    ("BIND", "bücher:80", "host:port"),
    ("DATA_DIR", "~nobody-of-that-name/data", "a directory"),
    ("OUTBOUND_CA_FILE", __file__, "a file with the certificates"),
    ("SLACK_PAGE_SIZE", "abc", "a whole number from 1 to 999"),
    ("SLACK_PAGE_SIZE", "0", "a whole number from 1 to 999"),
    ("GMAIL_PUBSUB_TOPIC", "a\tb", "a topic"),
]


@pytest.mark.parametrize(("name", "text", "expected"), WRONG)
def test_a_wrong_value_gives_one_line(name, text, expected):
    """The error names the variable, what was found and what is expected, in one line."""
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    message = caught.value.message
    assert message.startswith(f"POBLYSH_{name} is ")
    assert repr(text[:20])[:-1] in message
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
    ("DATABASE_URL", "postgresql:me:hunter2@db/app"),
    ("DATABASE_URL", "postgresql://me:hunter2%zz@db/app"),
    ("DATABASE_URL", "postgresql://me@db/app?password=hunter2&nonsense=1"),
    ("PUBLIC_URL", "https://me:hunter2@example.com"),
    ("GITHUB_WEBHOOK_SECRET", "hunter2,,hunter3"),
    ("GITHUB_WEBHOOK_SECRET", "hunter2\udcff"),
    ("GITHUB_CLIENT_SECRET", "hunter2\udcff"),
    ("VAULTED_API_TOKEN", "hunter2"),
    ("VAULTED_PIN", "hunter2"),
]


@pytest.mark.parametrize(("name", "text"), SECRETS)
def test_a_wrong_secret_is_not_repeated(name, text):
    """The line about a secret contains its length at most."""
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    assert caught.value.message.startswith(f"POBLYSH_{name} is ***")
    assert "hunter" not in caught.value.message


NAMES = sorted(row.name for row in read_settings({}, BUILT_IN).describe())
HOSTILE = st.one_of(
    st.text(st.characters(), min_size=1),
    st.sampled_from(["~nobody-of-that-name/x", "0", "-1", "9" * 6000, "[" * 50_000, ",", "\udcff", "é", "yes", "mars"]),
    st.sampled_from(["https://", "http://localhost/", "postgresql:", "postgresql://", "projects/"]).flatmap(
        lambda start: st.text(st.characters(codec="ascii"), max_size=20).map(lambda rest: start + rest)
    ),
)


@given(text=HOSTILE, name=st.sampled_from(NAMES))
def test_any_text_is_understood_or_refused_in_one_line(text, name):
    """Whatever a variable holds, the result is settings that can be printed, or a SettingsError of one line."""
    try:
        shown = [row.value or "" for row in read_settings({name: text}, BUILT_IN).describe()]
    except SettingsError as error:
        shown = [error.message]
    assert all(one.isprintable() for one in shown)
    assert len(shown) > 1 or shown[0].startswith("POBLYSH_")


@given(port=st.integers(0, 65535), address=st.ip_addresses())
def test_every_address_can_be_bound(port, address):
    """Any IP address and port is read back from what `Bind` writes."""
    bind = Bind(str(address), port)
    assert values.read_bind(str(bind)) == bind


def test_the_environment_wins_over_the_file():
    """A value in both places is taken from the environment; each row names its source."""
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


def test_a_database_url_is_masked():
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


def test_options_are_read_at_the_start():
    """A registration has the value of every option, from its text or the default, which the rows show too."""
    client = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s"}
    assert read(**client).apps["slack"].options == {"page_size": 200}
    assert row(read(), "POBLYSH_SLACK_PAGE_SIZE").value == "200"
    settings = read(**client, SLACK_PAGE_SIZE="50")
    assert settings.apps["slack"].options == {"page_size": 50}
    assert row(settings, "POBLYSH_SLACK_PAGE_SIZE").value == "50"


def test_a_wrong_option_stops_a_provider_that_is_not_configured():
    """It is an error at once, and not only when the client id is added."""
    with pytest.raises(SettingsError, match=r"^POBLYSH_SLACK_PAGE_SIZE is '0', expected a whole number from 1 to 999$"):
        read(SLACK_PAGE_SIZE="0")


def test_a_wrong_shared_option_is_named_as_it_is_set():
    """The line names the family's variable, where the value was found."""
    with pytest.raises(SettingsError, match=r"^POBLYSH_ZOHO_DATA_CENTER is 'mars', expected one of us, eu, in, au, jp"):
        read_settings({"POBLYSH_ZOHO_DATA_CENTER": "mars"}, BUILT_IN)


def test_a_reader_of_another_distribution_that_fails_stops_the_start_in_one_line():
    """Whatever error a foreign reader raises, the line names the variable."""
    assert row(read(VAULTED_COLOUR="blue"), "POBLYSH_VAULTED_COLOUR").value == "2"
    with pytest.raises(SettingsError) as caught:
        read(VAULTED_COLOUR="pink")
    assert caught.value.message == (
        "POBLYSH_VAULTED_COLOUR is 'pink' (its reader failed: KeyError), expected red or blue"
    )


@pytest.mark.parametrize("name", ["client_id", "signing_secret", "Page", "a-b", ""])
def test_an_option_cannot_have_the_name_of_another_setting(name):
    """Names that every provider has, or that make no variable, are refused when the provider is made."""
    with pytest.raises(ValueError, match="name of an option"):
        make_provider("x", webhook_secret_option="signing_secret", options={name: Option(text_of("text"), help="")})


@pytest.mark.parametrize("slug", ["", "Acme", "acme_corp", "-acme", "acme-", "a--b", "a/b", "é", None])
def test_a_malformed_slug_is_refused(slug):
    """A slug is part of URLs and of setting names."""
    with pytest.raises(ValueError, match="not a slug"):
        make_provider(slug)


def test_client_id_and_secret_are_never_mixed():
    """A provider with a client id of its own does not borrow the family's secret."""
    with pytest.raises(SettingsError, match="POBLYSH_GMAIL_CLIENT_SECRET is not set"):
        read(GMAIL_CLIENT_ID="own", GOOGLE_CLIENT_ID="shared", GOOGLE_CLIENT_SECRET="hunter2")
    own = read(GMAIL_CLIENT_ID="own", GMAIL_CLIENT_SECRET="x", GOOGLE_CLIENT_ID="shared", GOOGLE_CLIENT_SECRET="y")
    assert own.apps["gmail"].client_id == "own"
    assert own.apps["google-drive"].client_id == "shared"


def test_a_vendors_own_name_of_the_webhook_secret_is_accepted():
    """Slack's is its signing secret; the general name works as well."""
    client = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "s"}
    signing = read(**client, SLACK_SIGNING_SECRET="sign").apps["slack"]
    general = read(**client, SLACK_WEBHOOK_SECRET="sign").apps["slack"]
    for app in (signing, general):
        assert [secret.reveal() for secret in app.webhook_secrets] == ["sign"]
        assert app.options == {"page_size": 200}


def test_a_provider_that_is_not_configured_is_missing():
    """Without client id and secret there is no registration."""
    assert "google-drive" not in read().apps


def test_unknown_variables_are_collected_with_the_nearest_name():
    """A misspelt variable is reported with the likely name; variables of others are ignored."""
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
    """Names that merely look local do not count."""
    assert values.is_loopback(host) is expected
