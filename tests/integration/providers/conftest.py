"""One stage for all tests of this package: each acts for tenants and people of its own."""

import pytest

from tests.integration.conftest import fresh_database
from tests.support.command_line import CommandLine
from tests.support.stage import open_stage


@pytest.fixture(scope="package")
def stage(postgres_engine):
    """The service and its providers."""
    with fresh_database(postgres_engine) as url, open_stage(url) as opened:
        yield opened


@pytest.fixture
def command_line(monkeypatch, capsys, tmp_path):
    """Runs our commands."""
    return CommandLine(monkeypatch, capsys, tmp_path)
