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
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.events import COMMENT_UPDATES, RULES, find_rules

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
    """A captured delivery gives exactly the signals in the file next to it."""
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
    """Each event of the table, and each update that stands for another event, occurs in a fixture."""
    envelopes = [Envelope.read(json.loads(read_fixture(path)[1])) for path in FIXTURES]
    assert {envelope.event for envelope in envelopes} >= set(RULES)
    assert {envelope.update for envelope in envelopes} >= set(COMMENT_UPDATES)


def test_rows_have_the_kinds_of_their_fixtures():
    """The fixtures of a row give all of its kinds and no other."""
    found = {event: set() for event in RULES}
    for path in FIXTURES:
        rules = find_rules(Envelope.read(json.loads(read_fixture(path)[1])))
        signals = json.loads(path.with_suffix(".expected.json").read_text()).get("signals", [])
        left_to_a_read = path.stem == "issue_updated__status_unknown"
        for rule, signal in zip(() if left_to_a_read else rules, signals, strict=True):
            found[next(event for event in RULES if RULES[event] is rule)].add(SignalKind(signal["kind"]))
    assert found == {event: rule.kinds for event, rule in RULES.items()}


def test_only_our_webhook_has_ids():
    """A fixture names webhooks of ours exactly where its event is one that they may ask for."""
    for path in FIXTURES:
        envelope = Envelope.read(json.loads(read_fixture(path)[1]))
        if envelope.event in RULES:
            assert envelope.has_webhook_ids == RULES[envelope.event].is_dynamic


@pytest.mark.parametrize(
    ("event", "update"), [("created", "commented"), ("updated", "comment_edited"), ("deleted", "comment_deleted")]
)
def test_both_comment_styles_make_one_signal(event, update):
    """A comment's event and an update that carries the same comment have the same dedupe key."""
    by_name = {path.stem: path for path in FIXTURES}
    connection = make_connection()
    first = deliver(by_name[f"comment__{event}"], connection)
    second = deliver(by_name[f"issue_updated__{update}"], connection)
    assert [draft.dedupe_key for draft in first] == [draft.dedupe_key for draft in second]
