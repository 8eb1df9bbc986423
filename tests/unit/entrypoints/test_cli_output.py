"""How commands print what providers sent."""

import json

import pytest

from connectors.entrypoints.cli.output import Output, print_json, show_one, show_rows

PAYLOAD = {"payload": {"id": 2**70}}
"""JSON has integers of any size; the fast encoder has not."""


@pytest.mark.parametrize("output", list(Output))
def test_any_payload_can_be_printed(output, capsys):
    """An integer beyond 64 bits ends no command, in any form of output."""
    show_one(PAYLOAD, output)
    show_rows([PAYLOAD], output, {"id": lambda one: one["payload"]["id"]})
    assert capsys.readouterr().out.count(str(2**70)) == 2


def test_json_holds_the_payload_unchanged(capsys):
    """What is printed reads back as what the provider sent."""
    print_json(PAYLOAD)
    assert json.loads(capsys.readouterr().out) == PAYLOAD
