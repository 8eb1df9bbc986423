"""Each row of the table, from the bytes of a delivery to its signals."""

import hashlib
import hmac
import json
from pathlib import Path

import attrs
import pytest
from tests.support.jira import TENANT, make_connection, make_request, receive

from connectors.domain.model.instant import rfc3339
from connectors.domain.model.signal import SignalKind
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.events import COMMENT_UPDATES, IGNORED_ON_PURPOSE, TRACKED

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.http"))
SECRET = "an admin hook's secret"


def read_fixture(path):
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")), body


def deliver(path, connection):
    headers, body = read_fixture(path)
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    if b"matchedWebhookIds" in body:
        return receive(make_request(body, **named), connection)
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return receive(
        make_request(body, tenant=TENANT, token=None, x_hub_signature=signature, **named), connection, SECRET
    )


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_fixture_gives_its_expected_signals(path):
    """A captured delivery gives exactly the signals that stand beside it."""
    expected = json.loads(path.with_suffix(".expected.json").read_text())
    result = deliver(path, make_connection())
    if isinstance(result, Ignored):
        assert {"ignored": result.event, "reason": result.reason} == expected
        return
    _, body = read_fixture(path)
    assert all(draft.payload == json.loads(body) for draft in result)
    rendered = [
        {
            "kind": draft.kind.value,
            "occurred_at": rfc3339(draft.occurred_at),
            "title": draft.title,
            "url": draft.url,
            "subject": attrs.asdict(draft.subject),
            "actor": draft.actor and attrs.asdict(draft.actor),
            "container": draft.container and attrs.asdict(draft.container),
            "dedupe_key": draft.dedupe_key,
        }
        for draft in result
    ]
    assert {"signals": rendered} == expected


def test_every_row_has_a_fixture():
    """Each tracked event and each kind that the package declares occurs in a fixture."""
    seen = {json.loads(read_fixture(path)[1])["webhookEvent"] for path in FIXTURES}
    assert seen >= set(TRACKED)
    expected = [json.loads(path.with_suffix(".expected.json").read_text()) for path in FIXTURES]
    kinds = {SignalKind(signal["kind"]) for one in expected for signal in one.get("signals", [])}
    assert kinds == JIRA.kinds


def test_tables_do_not_overlap():
    """No event is both tracked and ignored on purpose."""
    assert not set(TRACKED) & IGNORED_ON_PURPOSE
    assert set(COMMENT_UPDATES.values()) <= set(TRACKED.values())


def test_unknown_event_is_told_from_one_ignored_on_purpose():
    """An event that nobody knows is ignored with another reason than one that is known and not tracked."""
    connection = make_connection()
    known = receive(make_request({"webhookEvent": "board_created"}), connection)
    unknown = receive(make_request({"webhookEvent": "teapot_boiled"}), connection)
    assert isinstance(known, Ignored)
    assert isinstance(unknown, Ignored)
    assert known.reason != unknown.reason


def test_both_comment_styles_make_one_signal():
    """`comment_created` and an update that carries the same comment have the same dedupe key."""
    by_name = {path.stem: path for path in FIXTURES}
    connection = make_connection()
    first = deliver(by_name["comment__created"], connection)
    second = deliver(by_name["issue_updated__commented"], connection)
    assert [draft.dedupe_key for draft in first] == [draft.dedupe_key for draft in second]
