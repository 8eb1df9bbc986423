"""What the documentation shows works."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from tests.support.service import database_settings

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+)\.py\n")


def blocks_of(page):
    """The Python in a page."""
    return BLOCK.findall((ROOT / page).read_text())


@pytest.fixture
def embedding(tmp_path, monkeypatch):
    """The files of `docs/embedding.md`, importable."""
    names = []
    for block in blocks_of("docs/embedding.md"):
        name = FILE_NAME.match(block)[1]
        (tmp_path / f"{name}.py").write_text(block)
        names.append(name)
    monkeypatch.syspath_prepend(tmp_path)
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_the_embedding_service_passes_its_tests(embedding):
    """The example's own tests are green."""
    modules = [importlib.import_module(name) for name in embedding if name.startswith("test_")]
    found = [getattr(module, name) for module in modules for name in dir(module) if name.startswith("test_")]
    assert len(found) >= len(modules) > 0
    for test in found:
        test()


def test_the_embedding_service_runs_in_production(embedding, monkeypatch, own_database):
    """With settings it works on PostgreSQL, and answers its users' mistakes with our codes."""
    settings = database_settings(own_database) | {
        "POBLYSH_GITHUB_CLIENT_ID": "id",
        "POBLYSH_GITHUB_CLIENT_SECRET": "secret",
        "POBLYSH_OAUTH_REDIRECT_URI": "https://example.com/github/callback",
    }
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    served = importlib.import_module("serve")
    with served.connectors:
        client = served.app.test_client()
        workspace = "6ff2cf5e-3a34-4cd4-97ec-3d5b94d2d5b3"
        unknown = client.get(f"/workspaces/{workspace}/merged")
        assert (unknown.status_code, unknown.json["code"]) == (400, "TENANT_NOT_FOUND")
        started = client.get(f"/workspaces/{workspace}/github/connect")
        assert started.location.startswith("https://github.com/login/oauth/authorize?")
        assert client.get(f"/workspaces/{workspace}/merged").json == {"titles": [], "next_cursor": None}


def test_the_readme_compiles():
    """README's Python is Python, and names what there is."""
    (snippet,) = blocks_of("README.md")
    compile(snippet, "README.md", "exec")
    names = re.search(r"^from connectors import (.+)$", snippet, re.MULTILINE)[1].split(", ")
    package = importlib.import_module("connectors")
    assert all(hasattr(package, name) for name in names)


@pytest.mark.parametrize(
    "page", sorted(str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
)
def test_links_lead_somewhere(page):
    """Every relative link of a page names a file that exists."""
    path = ROOT / page
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
