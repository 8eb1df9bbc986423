"""What holds for every provider package, whoever wrote it."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import connectors.domain.providers as packages
from connectors.domain.model.http import origin_of
from connectors.domain.model.kinds import MEANINGS
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import AuthorizationParams
from connectors.domain.providers.registry import BUILT_IN, installed_providers

PACKAGES = Path(packages.__file__).parent
PROVIDERS = {provider.slug: provider for provider in BUILT_IN}
OURS = ["github", "slack", "jira", "google-drive", "google-calendar", "gmail", "zoho-cliq", "zoho-mail"]
SET_UP_BY_HAND = {"slack", "jira", "gmail", "zoho-cliq", "zoho-mail"}
"""Jira and Gmail subscribe automatically, once the app is shared and a topic is configured."""
FORBIDDEN = {
    *("requests", "requests_oauthlib", "oauthlib", "urllib3", "httpx", "aiohttp", "http", "socket", "ssl", "asyncio"),
    *("flask", "werkzeug", "click", "rich", "sqlalchemy", "psycopg", "alembic", "procrastinate"),
    *("os", "subprocess", "pathlib", "shutil", "tempfile", "threading", "time", "random", "secrets", "uuid", "logging"),
}
"""Input and output, randomness, the clock and threads: a provider package uses none of them."""
HARMLESS = {"http.HTTPStatus"}
BASE = "https://vendor.internal.example:8443/base"
SHARED = {"google_drive": "_google", "google_calendar": "_google", "gmail": "_google"} | dict.fromkeys(
    ("zoho_cliq", "zoho_mail"), "_zoho"
)

by_slug = pytest.mark.parametrize("slug", PROVIDERS)


def package_of(slug):
    """The provider package's folder."""
    return PACKAGES / slug.replace("-", "_")


def app_of(slug, **changes):
    """A registration at the provider."""
    options = PROVIDERS[slug].read_options({})
    return ProviderApp(
        provider=PROVIDERS[slug].slug, client_id="client", client_secret=Secret("secret"), options=options, **changes
    )


def test_all_eight_are_here():
    """The slugs are those that Core knows; other distributions only add to them."""
    assert list(PROVIDERS) == OURS
    assert installed_providers().slugs()[: len(OURS)] == tuple(OURS)


# --- documentation -----------------------------------------------------------------------------------------------------


@by_slug
def test_names(slug):
    """Every provider has a name, a description and a homepage."""
    provider = PROVIDERS[slug]
    assert provider.name[0].isupper()
    assert provider.description.endswith(".")
    assert provider.homepage.startswith("https://")


@by_slug
def test_what_is_left_can_be_removed_by_a_person(slug):
    """Every provider says where tokens and webhooks can be removed that we could not end."""
    provider = PROVIDERS[slug]
    assert "https://" in provider.oauth.remove_at
    made = provider.webhooks.subscriptions
    assert made is None or len(made.remove_at) > 20


@by_slug
def test_scopes(slug):
    """Each scope is listed once and has a reason; at least one is requested by default."""
    scopes = PROVIDERS[slug].oauth.scopes
    assert len({scope.name for scope in scopes}) == len(scopes)
    assert all(len(scope.reason) > 10 for scope in scopes)
    assert any(scope.default for scope in scopes)


@by_slug
def test_kinds(slug):
    """Every kind that is declared is in the vocabulary, and every kind that the package's code names is declared."""
    provider = PROVIDERS[slug]
    assert provider.kinds
    assert provider.kinds <= set(MEANINGS)
    assert named_kinds(package_of(slug)) <= provider.kinds


def named_kinds(folder):
    """The kinds in a provider package's code: it cannot emit others."""
    return {
        SignalKind[node.attr]
        for path in folder.glob("*.py")
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in SignalKind.__members__
    }


FAMILIES = {
    "github": {
        "issues": "webhook sync backfill",
        "issue_changes": "webhook",
        "pull_requests": "webhook sync backfill",
        "pull_request_changes": "webhook",
        "comments": "webhook sync backfill",
        "reviews": "webhook sync backfill",
        "pushes": "webhook sync backfill",
        "releases": "webhook sync backfill",
        "members": "webhook",
        "stars": "webhook",
        "forks": "webhook",
    },
    "slack": {
        "replies": "webhook",
        "message_changes": "webhook",
        "messages": "webhook sync backfill",
        "reactions": "webhook",
        "members": "webhook",
        "channels": "webhook",
    },
    "jira": {
        "issues": "webhook sync backfill",
        "comments": "webhook sync backfill",
        "comment edits": "webhook",
        "deletions": "webhook",
        "sprints": "webhook",
        "releases": "webhook",
        "worklogs and projects": "",
    },
    "google-drive": {
        "files": "webhook sync backfill",
        "file_changes": "webhook sync",
    },
    "google-calendar": {
        "calendar_events": "webhook sync backfill",
        "calendar_cancellations": "webhook sync",
    },
    "gmail": {
        "messages": "webhook sync backfill",
        "message_changes": "webhook sync",
    },
    "zoho-cliq": {
        "messages": "webhook sync backfill",
        "edits and deletions": "webhook",
        "threads": "webhook",
    },
    "zoho-mail": {
        "received mail": "webhook sync backfill",
        "sent mail": "sync backfill",
        "changes of mail": "",
    },
}
"""Which paths show all of a family. Names are stored with coverage, so renaming a family would lose its coverage."""


@by_slug
def test_families(slug):
    """Each kind is in exactly one family, and the families have the names that are stored."""
    provider = PROVIDERS[slug]
    counted = Counter(kind for family in provider.families for kind in family.kinds)
    assert set(counted) == provider.kinds
    assert set(counted.values()) == {1}
    assert {family.name: " ".join(shown_by(family)) for family in provider.families} == FAMILIES[slug]


def shown_by(family):
    """The paths that show all of a family."""
    paths = {"webhook": family.is_pushed, "sync": family.is_read, "backfill": family.is_backfilled}
    return [path for path, shows in paths.items() if shows]


# --- hosts -------------------------------------------------------------------------------------------------------------


@by_slug
def test_hosts(slug):
    """Only the vendor's https hosts are called, by name and on the default port; with a base URL, only that."""
    origins = PROVIDERS[slug].allowed_origins(app_of(slug))
    assert origins
    assert all(re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+", origin) for origin in origins)
    assert PROVIDERS[slug].allowed_origins(app_of(slug, base_url=BASE)) == {origin_of(BASE)}


@by_slug
@pytest.mark.parametrize("base", [None, BASE, f"{BASE}/"])
def test_authorize_url(slug, base):
    """The user is sent to the vendor, with our state and redirect URI and without a secret."""
    provider, app = PROVIDERS[slug], app_of(slug, base_url=base)
    params = AuthorizationParams(
        state="st&te=/?", redirect_uri="https://core.example/cb?a=1&b=2", scopes=("a", "b"), code_challenge="c" * 43
    )
    url = provider.oauth.authorize_url(app, params)
    assert url.startswith("https://" if base is None else f"{BASE}/")
    assert "//" not in url.removeprefix("https://").partition("?")[0]
    assert "st%26te%3D%2F%3F" in url
    assert "https%3A%2F%2Fcore.example%2Fcb%3Fa%3D1%26b%3D2" in url
    assert app.client_secret.reveal() not in url


@by_slug
def test_token_endpoint(slug):
    """Code and secret go to a host of the allow-list, below the base URL where there is one."""
    provider = PROVIDERS[slug]
    for base in (None, BASE, f"{BASE}/"):
        app = app_of(slug, base_url=base)
        url = provider.oauth.token_endpoint(app, {}).url
        assert origin_of(url) in provider.allowed_origins(app)
        assert base is None or url.startswith(f"{BASE}/")


# --- webhooks ------------------------------------------------------------------------------------------------------------


@by_slug
def test_manual_setup(slug):
    """Without subscriptions there is a manual setup text with the URL; with them only if a person still has to do
    something."""
    webhooks = PROVIDERS[slug].webhooks
    assert (webhooks.manual_setup is not None) == (slug in SET_UP_BY_HAND)
    assert webhooks.subscriptions is not None or webhooks.manual_setup is not None
    assert webhooks.manual_setup is None or "{webhook_url}" in webhooks.manual_setup


@by_slug
def test_proofs_are_not_stored(slug):
    """The headers that prove a delivery are dropped before it is stored."""
    secret = PROVIDERS[slug].webhooks.secret_headers
    assert secret
    assert all(name == name.lower() for name in secret)


# --- imports -------------------------------------------------------------------------------------------------------------


@cache
def nodes_of(path):
    """All nodes of a module's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text())))


def imported_by(path):
    """Every module that a module imports, with the imported names."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_package_has_side_effects():
    """No module of a provider package can open a socket, read the clock, use randomness or touch a file."""
    offences = {str(path.relative_to(PACKAGES)): side_effects_of(path) for path in sorted(PACKAGES.rglob("*.py"))}
    assert {path: found for path, found in offences.items() if found} == {}


def side_effects_of(path):
    imported = set(imported_by(path)) - HARMLESS
    if path.name == "registry.py":
        imported.discard("importlib.metadata.entry_points")
    found = {name for name in imported if name.partition(".")[0] in FORBIDDEN}
    found |= {node.attr for node in nodes_of(path) if isinstance(node, ast.Attribute)} & {"utcnow", "today", "urandom"}
    return found | ({"datetime.now"} if "datetime.now(" in path.read_text() else set())


@by_slug
def test_packages_do_not_import_each_other(slug):
    """A provider package can be read, and deleted, alone: it imports only what its vendor's packages, or all, share."""
    home = f"connectors.domain.providers.{package_of(slug).name}"
    family = f"connectors.domain.providers.{SHARED.get(package_of(slug).name, package_of(slug).name)}"
    toolbox = "connectors.domain.providers.toolbox."
    for path in package_of(slug).rglob("*.py"):
        for name in imported_by(path):
            if name.startswith("connectors.domain.providers.") and "providers.contract" not in name:
                assert name.startswith((home, family, toolbox)), (path.name, name)
