"""Hostile payloads: whatever a field contains, there are three possible outcomes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.github.support import CONTEXT, FIXTURES, make_delivery, read_fixture

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.github import webhooks

EXAMPLES = [
    (path.stem.partition("__")[0], json.loads(read_fixture(path).body))
    for path in sorted(FIXTURES.glob("*.http"))
    if "form" not in path.stem
]
HOSTILE = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**40,
    "",
    "x" * 100_000,
    "\0",
    "5",
    "0001-01-01T00:00:00+23:59",
    [],
    [[]],
    {},
]
ABSENT = object()


def paths_of(value, prefix=()):
    """Every position in the document."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from paths_of(child, (*prefix, key))


def changed(document, path, replacement):
    """The document with one value changed or removed."""
    if not path:
        return document if replacement is ABSENT else replacement
    copy = dict(document) if isinstance(document, dict) else list(document)
    if len(path) == 1 and replacement is ABSENT:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], replacement)
    return copy


def read(body, event, **headers):
    """The outcome; anything but the three is raised."""
    try:
        outcome = webhooks.read_event(make_delivery(body, event, **headers), CONTEXT)
    except UnexpectedResponseError as error:
        return error
    assert isinstance(outcome, WebhookEvent | Ignored)
    if isinstance(outcome, WebhookEvent):
        for draft in outcome.signals:
            assert "\0" not in draft.dedupe_key + draft.title
            assert len(draft.dedupe_key) < 2000
    return outcome


@given(example=st.sampled_from(EXAMPLES), data=st.data(), replacement=st.sampled_from([ABSENT, *HOSTILE]))
def test_any_field_missing_or_wrong(example, data, replacement):
    """One field missing, null, of another type or huge is a signal, an ignored event or a named error."""
    event, document = example
    path = data.draw(st.sampled_from(list(paths_of(document))))
    read(json.dumps(changed(document, path, replacement)).encode(), event)


@given(event=st.sampled_from([event for event, _ in EXAMPLES]), body=st.binary(max_size=200))
def test_any_bytes(event, body):
    """A body need not be JSON."""
    read(body, event)
    read(body, event, **{"content-type": "application/x-www-form-urlencoded"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"action":' * 100_000,
        b'{"action": ' + b"9" * 10_000 + b"}",
        b'{"action": "\xff"}',
        '{"action": "opened"}'.encode("utf-16"),
    ],
    ids=range(9),
)
def test_broken_bodies(body):
    """Empty, cut, deep, huge or in no known encoding: an error that says so."""
    assert isinstance(read(body, "issues"), UnexpectedResponseError)


@pytest.mark.parametrize("body", [b'{"action": NaN}', b'{"action": "\\ud800"}', b"\xef\xbb\xbf{}"])
def test_odd_bodies(body):
    """Invalid numbers, half a character and a byte order mark are no error: the event is just not tracked."""
    assert isinstance(read(body, "issues"), Ignored)


@pytest.mark.parametrize(
    "body", [b"", b"payload", b"payload=%7B", b"payload=%ff", b"a=b&c=d", b"\xff=1", b"p=" + b"&" * 9999]
)
def test_broken_forms(body):
    """A form without a readable `payload` is an error too."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert isinstance(read(body, "issues", **headers), UnexpectedResponseError)


def test_text_that_cannot_be_stored_is_cleaned():
    """NUL is removed from titles and names; the payload keeps the original."""
    event, document = next(
        example for example in EXAMPLES if example[0] == "issues" and example[1]["action"] == "opened"
    )
    outcome = read(json.dumps(changed(document, ("issue", "title"), "a\0b")).encode(), event)
    (draft,) = outcome.signals
    assert draft.subject.name == "ab"


@given(names=st.text(max_size=300))
def test_unknown_events(names):
    """Unknown event names are ignored, and cut."""
    outcome = read(json.dumps({"action": names}).encode(), "x" + names)
    assert isinstance(outcome, Ignored | UnexpectedResponseError)
    if isinstance(outcome, Ignored):
        assert "\0" not in outcome.event
        assert len(outcome.event) <= 2 * webhooks.LONGEST_NAME + 1
