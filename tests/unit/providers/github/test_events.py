"""Deliveries like captured ones, one per event, from bytes to signal."""

import json
from collections import defaultdict
from pathlib import Path

import attrs
import pytest
from tests.unit.providers.github.support import CONTEXT, FIXTURES, NOW, make_delivery, read_fixture

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import rfc3339
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.contract import VerificationMaterial
from connectors.domain.providers.github import GITHUB, webhooks
from connectors.domain.providers.github.events import EVENTS, IGNORED_WITH_REASON

SECRET = Secret("fixture-secret")
ALL = sorted(FIXTURES.glob("*.http"))
CORPORA = Path(__file__).parents[5] / "shared" / "corpora" / "github"
CAPTURED = sorted(CORPORA.glob("*/*payload.json")) if CORPORA.is_dir() else []


def as_document(outcome):
    if isinstance(outcome, Ignored):
        return {"event": outcome.event, "ignored": outcome.reason}
    (draft,) = outcome.signals
    signal = attrs.asdict(draft, filter=lambda field, _: field.name != "payload")
    return {
        "event": outcome.event,
        "account_ids": list(outcome.account_ids),
        "signal": {**signal, "occurred_at": rfc3339(draft.occurred_at)},
    }


def read(path):
    material = VerificationMaterial(app=None, secrets=[SECRET], now=NOW)
    return webhooks.read_event(webhooks.verify(read_fixture(path), material), CONTEXT)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_fixture(path):
    """The delivery is proven genuine and says exactly what is written beside it."""
    assert as_document(read(path)) == json.loads(path.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def kinds_shown():
    """The kinds that the fixtures of each event become."""
    shown = defaultdict(set)
    for outcome in map(read, ALL):
        if isinstance(outcome, WebhookEvent):
            shown[outcome.event] |= {draft.kind for draft in outcome.signals}
    return shown


@pytest.mark.parametrize("event", EVENTS)
def test_every_row_of_the_table_has_a_fixture(event, kinds_shown):
    """The fixtures of an event become each kind of its row, and no other."""
    assert kinds_shown[event] == EVENTS[event].kinds


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_the_family_of_its_kinds(event):
    """A gap left by a lost event is in the family of its signals."""
    family = GITHUB.family_of(event)
    assert family.name == EVENTS[event].family
    assert EVENTS[event].kinds <= family.kinds


@pytest.mark.parametrize("name", IGNORED_WITH_REASON)
def test_what_is_ignored_on_purpose_has_a_fixture(name):
    """An event that is ignored with a reason has no row, and its fixture is ignored for that reason."""
    assert name not in EVENTS
    assert as_document(read(FIXTURES / f"{name.replace('.', '__')}.http")) == {
        "event": name,
        "ignored": IGNORED_WITH_REASON[name],
    }


def test_the_payload_is_kept_whole():
    """A signal carries the delivery's own object, fields unknown to us included."""
    (draft,) = read(FIXTURES / "issues__opened.http").signals
    assert draft.payload["issue"]["labels"] == []
    assert draft.payload["organization"]["login"] == "lighthouse"


def test_the_form_body_says_the_same_as_the_json_body():
    """Both content types give the same signal."""
    as_form, as_json = read(FIXTURES / "push__form.http"), read(FIXTURES / "push.http")
    assert as_form.signals == as_json.signals


@pytest.mark.parametrize(
    ("event", "body", "field"),
    [
        ("issues", b'{"action": "opened", "repository": {"id": 1}}', "$.issue"),
        ("issues", b'{"action": 7}', "$.action"),
        ("push", b'{"ref": 5}', "$.ref"),
        ("fork", b'{"forkee": []}', "$.forkee"),
    ],
)
def test_a_wrong_payload_names_its_field(event, body, field):
    """What cannot be read says where, without quoting it."""
    with pytest.raises(UnexpectedResponseError) as caught:
        webhooks.read_event(make_delivery(body, event), CONTEXT)
    assert field in caught.value.message


def test_a_missing_event_header_is_an_error():
    """Without its name an event is not ignored: a person has to look."""
    with pytest.raises(UnexpectedResponseError):
        webhooks.read_event(make_delivery(b"{}", ""), CONTEXT)


@pytest.mark.skipif(not CAPTURED, reason="the corpora are not beside this checkout")
@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: f"{path.parent.name}/{path.name.partition('.')[0]}")
def test_captured_payload(path):
    """Each payload of GitHub's documentation is read as the table says: a signal for a row, else ignored."""
    body = path.read_bytes()
    action = json.loads(body).get("action")
    name = path.parent.name if action is None else f"{path.parent.name}.{action}"
    outcome = webhooks.read_event(make_delivery(body, path.parent.name), CONTEXT)
    assert outcome.event == name
    if name not in EVENTS or name in DROPPED:
        assert isinstance(outcome, Ignored)
        return
    (draft,) = outcome.signals
    assert draft.kind in EVENTS[name].kinds
    assert draft.dedupe_key.startswith("github:")
    assert draft.title
    assert draft.url
    assert draft.actor
    assert draft.container
    assert draft.container.url
    assert draft.subject.url


DROPPED = {
    "push": "the documented one deletes a tag",
    "pull_request_review.submitted": "the documented one is the empty shell of inline comments",
}
"""Tracked events whose documented example is one of the exceptions."""
