"""Deliveries, one for each row of the table, from bytes to signal."""

import json
from pathlib import Path

import pytest
from tests.support.zoho import described, make_connection, receive

from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ, webhooks

ALL = sorted((Path(__file__).parent / "fixtures").glob("*.http"))
METADATA = {"chats": {"CT_read": "Read"}, "bot_chats": ["CT_0"]}


def read(path):
    head, _, body = path.read_bytes().partition(b"\n\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    named = {name.lower().replace("-", "_"): value for name, value in headers.items()}
    return receive(ZOHO_CLIQ, body, make_connection("zoho-cliq", metadata=METADATA), **named)


def as_document(outcome):
    if isinstance(outcome, Ignored):
        return {"event": outcome.event, "ignored": outcome.reason}
    return {
        "event": outcome.event,
        "sync_target": outcome.sync_target,
        "metadata": dict(outcome.connection_metadata),
        "signals": [{**described(one), "derived": one.payload.get("derived")} for one in outcome.signals],
    }


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_fixture(path):
    """The delivery gives exactly what its fixture says, and the answer never posts anything."""
    outcome = read(path)
    assert as_document(outcome) == json.loads(path.with_suffix(".json").read_text())
    assert outcome.reply is not None
    assert (outcome.reply.status, outcome.reply.body) == (200, b"{}")


def test_every_kind_is_shown_by_a_fixture():
    """The provider declares exactly the kinds of its events."""
    outcomes = [read(path) for path in ALL]
    kinds = {draft.kind for one in outcomes if not isinstance(one, Ignored) for draft in one.signals}
    assert kinds == ZOHO_CLIQ.kinds


def test_every_operation_has_a_fixture():
    """Every tracked operation has a fixture."""
    known = {*webhooks.OPERATIONS, *webhooks.MEMBERSHIP, *webhooks.IGNORED_OPERATIONS}
    assert known <= {path.stem.split("__")[1] for path in ALL if "__" in path.stem}


def test_all_shapes_of_one_message_are_one_signal():
    """Zoho's envelope, our script's form and its form-encoded variant name the same message."""
    folder = Path(__file__).parent / "fixtures"
    names = ("participation_handler__message_sent", "deluge__message_sent", "deluge__message_sent__form")
    keys = {read(folder / f"{name}.http").signals[0].dedupe_key for name in names}
    assert len(keys) == 1


def test_a_mention_without_id_is_reported_once():
    """Where the bot listens anyway, the participation handler reports the message."""
    body = {"handler": "mention_handler", "message": {"text": "x", "time": "1773144000703"}, "chat": {"id": "CT_0"}}
    known = make_connection("zoho-cliq", metadata=METADATA)
    assert receive(ZOHO_CLIQ, body, known).signals == ()
    elsewhere = receive(ZOHO_CLIQ, {**body, "chat": {"id": "CT_9"}}, known)
    assert elsewhere.signals[0].payload["derived"] == {"mentioned": True, "low_confidence": True}


def test_bot_chats_follow_the_bot():
    """Being added and removed updates the list of the bot's chats."""
    known = make_connection("zoho-cliq", metadata=METADATA)
    body = {"operation": "added", "chat": {"id": "CT_9"}}
    assert receive(ZOHO_CLIQ, body, known).connection_metadata == {"bot_chats": ["CT_0", "CT_9"]}
    removed = {"operation": "removed", "chat": {"id": "CT_0"}}
    assert receive(ZOHO_CLIQ, removed, known).connection_metadata == {"bot_chats": []}
