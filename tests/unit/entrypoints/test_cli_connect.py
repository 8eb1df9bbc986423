"""`connectors connect`, in memory."""

import json
import re
from urllib.parse import urlencode

import click
import pytest

from tests.support.foreground import Commands


@pytest.fixture
def commands(monkeypatch, capsys):
    """Commands of a tenant that has ada's connection; whoever is asked for the landing address consents as `user`."""
    commands = Commands(monkeypatch, capsys, items=0)
    commands.world.vendor.accounts["bob"] = [{"id": "b-1", "name": "bob", "email": "bob@acme.test"}]
    commands.user = "ada"

    def land(*_, **__):
        url = re.search(r"https://\S+", capsys.readouterr().err)[0]
        return f"https://core.invalid/callback?{urlencode(commands.world.vendor.consent(url, commands.user))}"

    monkeypatch.setattr(click, "prompt", land)
    return commands


def test_a_connection_is_connected_again(commands):
    """With `--connection`, a consent of its account shows that connection."""
    done = commands.mine("connect", "acme", "--connection", commands.connection.id, "-o", "json")
    assert done.code == 0, done.err
    assert [one["id"] for one in json.loads(done.out)] == [str(commands.connection.id)]


def test_another_account_is_refused(commands):
    """With `--connection`, a consent of another account fails and says what to do."""
    commands.user = "bob"
    done = commands.mine("connect", "acme", "--connection", commands.connection.id)
    assert done.code != 0
    assert "consent as ada" in done.err
    assert commands.world.reload(commands.connection) == commands.connection
