"""What a fresh process imports: each part of the package by itself, and no more than it needs."""

import subprocess
import sys

import pytest

LATE = ("dependency_injector", "flask", "procrastinate", "psycopg", "requests", "sqlalchemy", "yaml")
"""Distributions that only running systems need; some of them take a tenth of a second."""

PROGRAM = f"""
import sys
import {{module}}
print(*sorted(set({LATE!r}) & set(sys.modules)))
"""


@pytest.mark.parametrize("module", ["connectors", "connectors.entrypoints.cli"])
def test_nothing_that_only_a_running_system_needs_is_imported_early(module):
    """The library and the command line are imported without the distributions that only a running system needs."""
    program = PROGRAM.format(module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
