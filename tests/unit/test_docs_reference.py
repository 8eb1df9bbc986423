"""The reference pages agree with the code."""

import re

import pytest

from connectors.adapters.system.settings import read_settings
from connectors.domain.model.kinds import MEANINGS
from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.registry import BUILT_IN
from tests.support.reference import DOCS, GENERATED, between_marks

ROW = re.compile(r"^\| `(POBLYSH_\w+)` \| (.+) \| (.+) \|$", re.MULTILINE)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_parts_are_up_to_date(name):
    """`python -m tests.support.reference` would change nothing."""
    _, found, _ = between_marks((DOCS / name).read_text())
    assert found == GENERATED[name]()


def test_every_kind_has_a_meaning():
    """Every kind has one sentence that explains it."""
    assert set(MEANINGS) == set(SignalKind)
    assert all(re.fullmatch(r"[A-Z][^.]*\.", text) for text in MEANINGS.values())


def test_every_promise_is_attacked():
    """Each row of docs/reliability.md names its tests, and these exist."""
    page = (DOCS / "reliability.md").read_text()
    rows = re.findall(r"^\| (?!what happened)(?!-)(.*) \|$", page, re.MULTILINE)
    assert len(rows) > 30
    assert all("`test_" in row.rpartition("|")[2] for row in rows)
    tests = "\n".join(path.read_text() for path in (DOCS.parent / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert sorted(name for name in named if f"def {name}(" not in tests) == []


def test_every_setting_is_explained():
    """The page lists exactly the existing settings with their defaults."""
    rows = ROW.findall((DOCS / "settings.md").read_text())
    known = read_settings({}, BUILT_IN).describe()
    assert sorted(name for name, _, _ in rows) == sorted(row.name for row in known)
    defaults = {name: default for name, _, default in rows}
    of_this_machine = {"POBLYSH_DATA_DIR", "POBLYSH_WORKERS"}
    for row in known:
        if row.value is not None and row.name not in of_this_machine:
            assert defaults[row.name] == f"`{row.value}`"
