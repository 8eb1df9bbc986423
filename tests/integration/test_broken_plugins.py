"""Distributions whose providers do not work are named and skipped, and everything else goes on."""

import importlib
import json
import shutil
import sys

import pytest
from click.testing import CliRunner

from connectors.domain.providers.registry import BUILT_IN, installed_providers
from connectors.entrypoints.cli.app import cli
from connectors.entrypoints.flask import ApiSettings
from connectors.entrypoints.library import Connectors
from tests.support.api import Api

GOOD = "import attrs\nfrom tests.support.provider import ACME\n"
BROKEN = {
    "missing-module": ("", "nowhere_to_be_found:ACME", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    "missing-attribute": (GOOD, ":BETA", "AttributeError: module 'plugin_missing_attribute' has no attribute 'BETA'"),
    "no-attribute": (GOOD, "", "it names a module, not a Provider"),
    "malformed-value": (GOOD, ": :", "AttributeError: 'NoneType' object has no attribute 'group'"),
    "import-error": ("raise ImportError('no\\nluck')", ":ACME", "ImportError: no luck"),
    "syntax-error": ("def", ":ACME", "SyntaxError: invalid syntax (plugin_syntax_error.py, line 1)"),
    "exits": ("raise SystemExit('bye')", ":ACME", "SystemExit: bye"),
    "base-exception": ("class Odd(BaseException): pass\nraise Odd", ":ACME", "Odd"),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        ":ACME",
        "Mute",
    ),
    "no-provider": ("ACME = 'acme'", ":ACME", "it names a str, not a Provider"),
    "class": (GOOD, ":ACME.__class__", "it names a type, not a Provider"),
    "malformed-slug": (
        GOOD + "ACME = attrs.evolve(ACME, slug='Acme Corp')",
        ":ACME",
        "ValueError: 'Acme Corp' is not a slug: lower-case letters and digits, with single hyphens between them",
    ),
    "old-options": (
        GOOD + "ACME = attrs.evolve(ACME, options={'page_size': 'Items per page'})",
        ":ACME",
        "TypeError: the option page_size is a str, not an Option",
    ),
    "no-oauth": (GOOD + "ACME = attrs.evolve(ACME, oauth=None)", ":ACME", "TypeError: oauth is a NoneType, expected OAuth"),
    "odd-kinds": (
        GOOD + "ACME = attrs.evolve(ACME, kinds=frozenset({'painted'}))",
        ":ACME",
        "TypeError: kinds has a str, expected SignalKind",
    ),
    "odd-reader": (
        GOOD + "from connectors.domain.providers.contract import Option\n"
        "ACME = attrs.evolve(ACME, options={'page_size': Option(int, help='Items')})",
        ":ACME",
        "TypeError: reader is a type, expected Reader",
    ),
    "replaces-github": (GOOD + "ACME = attrs.evolve(ACME, slug='github')", ":ACME", "there is another provider called github"),
}  # fmt: skip


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts distributions on the path, as pip would have."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def put(name, source, value):
        module = f"plugin_{name.replace('-', '_')}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        declared = value if value and not value.startswith(":") else module + value
        (folder / "entry_points.txt").write_text(f"[connectors.providers]\nacme = {declared}\n")
        importlib.invalidate_caches()
        return declared

    yield put
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Settings that are the same on every machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POBLYSH_LOG_FORMAT", "json")


def providers(*arguments):
    """What `connectors providers list` says; logs are on standard error."""
    result = CliRunner().invoke(cli, ["providers", "list", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_skipped(install, name):
    """The registry names distribution, entry point and reason in one line, and has all the others."""
    source, value, reason = BROKEN[name]
    declared = install(name, source, value)
    registry = installed_providers()
    (skipped,) = registry.skipped
    assert (skipped.distribution, skipped.entry_point) == (name, f"acme = {declared}")
    assert skipped.reason == reason
    assert str(skipped).isprintable()
    assert tuple(registry) == BUILT_IN


def test_the_first_of_two_with_one_slug_stays(install):
    """The second distribution is skipped, whichever the disk lists first; its name decides."""
    install("b-acme", GOOD, ":ACME")
    install("a-acme", GOOD, ":ACME")
    registry = installed_providers()
    assert registry.slugs()[len(BUILT_IN) :] == ("acme",)
    assert [one.distribution for one in registry.skipped] == ["b-acme"]
    assert registry.skipped[0].reason == "there is another provider called acme"


def test_of_two_copies_the_first_counts(install, tmp_path, monkeypatch):
    """A distribution that is on the path twice is loaded once, and not called a duplicate of itself."""
    install("acme-connectors", GOOD, ":ACME")
    shutil.copytree(tmp_path, tmp_path / "again")
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    importlib.invalidate_caches()
    registry = installed_providers()
    assert (registry.slugs()[len(BUILT_IN) :], registry.skipped) == (("acme",), ())


def test_a_damaged_file_of_a_stranger_hides_no_plugin(install, tmp_path):
    """Entry points that cannot be read at all are ignored, and those of the others are found."""
    install("acme-connectors", GOOD, ":ACME")
    install("stranger", "", "")
    (tmp_path / "plugin_stranger-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\nnothing\n")
    importlib.invalidate_caches()
    registry = installed_providers()
    assert registry.slugs()[len(BUILT_IN) :] == ("acme",)
    assert registry.skipped == ()


def test_ctrl_c_is_not_an_error_of_the_plugin(install):
    """Whoever interrupts the start means the start."""
    install("slow", "raise KeyboardInterrupt", ":ACME")
    with pytest.raises(KeyboardInterrupt):
        installed_providers()


def test_the_list_of_providers_says_so(install, environment):
    """For people and for programs, and a log line warns of it."""
    install("exits", "raise SystemExit('bye')", ":ACME")
    line = "exits (acme = plugin_exits:ACME) is skipped: SystemExit: bye"
    shown = providers()
    assert shown.stdout.splitlines()[-1] == line
    assert json.loads(shown.stderr)["event"] == line
    rows = json.loads(providers("--output", "json").stdout)
    assert [row["slug"] for row in rows] == [*(one.slug for one in BUILT_IN), None]
    assert rows[-1] == {
        "slug": None,
        "distribution": "exits",
        "entry_point": "acme = plugin_exits:ACME",
        "error": "SystemExit: bye",
    }


def test_the_service_stays_ready(install):
    """`/readyz` names the distribution, not the error, which anybody could read, and answers 200."""
    install("exits", "raise SystemExit('postgresql://me:hunter2@db')", ":ACME")
    api = Api(Connectors.in_memory(), ApiSettings())
    answer = api.get("/readyz", token=None)
    assert answer.status_code == 200
    assert answer.get_json() == {"status": "ready", "checks": {"memory": "ok", "plugins": "skipped: exits"}}
    assert api.get("/providers/github", token=None).status_code == 200


def test_without_plugins_nothing_is_said():
    """The usual answer of `/readyz` has no line about plugins."""
    answer = Api(Connectors.in_memory(), ApiSettings()).get("/readyz", token=None)
    assert answer.get_json()["checks"] == {"memory": "ok"}
