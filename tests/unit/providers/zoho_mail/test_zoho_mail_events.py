"""Deliveries, one for each row of the table, from bytes to signal."""

import json
from pathlib import Path

import pytest
from tests.support.zoho import described, make_connection, receive

from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.zoho_mail import ZOHO_MAIL, webhooks

ALL = sorted((Path(__file__).parent / "fixtures").glob("*.http"))
FOLDERS = {"30": {"name": "Spam", "kind": "spam"}, "8991246000000208014": {"name": "Inbox", "kind": "received"}}


def read(path):
    head, _, body = path.read_bytes().partition(b"\n\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    connection = make_connection(metadata={"folders": FOLDERS})
    named = {name.lower().replace("-", "_"): value for name, value in headers.items()}
    return receive(ZOHO_MAIL, body, connection, **named)


def as_document(outcome):
    if isinstance(outcome, Ignored):
        return {"event": outcome.event, "ignored": outcome.reason}
    signals = [described(draft) for draft in outcome.signals]
    return {"event": outcome.event, "needs_sync": outcome.needs_sync, "signals": signals}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_fixture(path):
    """The delivery gives exactly what its fixture says."""
    assert as_document(read(path)) == json.loads(path.with_suffix(".json").read_text())


def test_the_text_of_the_mail_is_not_kept():
    """A signal carries the provider's object without the body of the mail."""
    (draft,) = read(Path(__file__).parent / "fixtures" / "mail.http").signals
    assert "html" not in draft.payload
    assert draft.payload["IntegIdList"] == "3597307697596728727,"


def test_mail_of_another_mailbox_is_refused():
    """A URL that was entered in the wrong mailbox is an error, and gives no signal."""
    body = {"zuid": 1, "messageIdString": "5", "receivedTime": 1773133199131}
    with pytest.raises(webhooks.UnexpectedResponseError, match="another mailbox"):
        receive(ZOHO_MAIL, body, make_connection())
