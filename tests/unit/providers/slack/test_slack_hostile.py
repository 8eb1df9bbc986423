"""Foreign data of any form becomes an error of ours, an ignored event or a signal, never anything else."""

import contextlib
import copy
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.slack.builders import FIXTURES, NOW, answer, converse, make_app, read
from tests.unit.providers.slack.reading import context_of

from connectors.domain.model.errors import ConnectorsError, UnexpectedResponseError
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.streams import DiscoveryPage, Stream, StreamPage, Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.model.webhook import Ignored, WebhookEvent
from connectors.domain.providers.slack import SLACK

BODIES = {path.stem: path.read_bytes().partition(b"\n\n")[2] for path in sorted(FIXTURES.glob("*.http"))}
ODD = [None, 7, "\0", "é\ud800" * 5000, [[]], {"id": None}, "9" * 12 + ".000001"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["message", "U1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def paths(value, prefix=()):
    """The position of every member of a JSON document."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*prefix, name)
            yield from paths(member, (*prefix, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield (*prefix, index)
            yield from paths(member, (*prefix, index))


def changed(document, path, value):
    """The document with one member replaced, or removed where the value is `...`."""
    document = copy.deepcopy(document)
    target = document
    for step in path[:-1]:
        target = target[step]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return document


def assert_understood_or_refused(body):
    try:
        outcome = read(body)
    except UnexpectedResponseError:
        return  # kept as failed, acknowledged, replayable
    assert isinstance(outcome, Ignored | WebhookEvent)
    for draft in getattr(outcome, "signals", ()):
        assert draft.title
        assert len(draft.title) <= 300
        assert len(draft.dedupe_key) < 600
        assert "\0" not in draft.title + draft.dedupe_key + draft.subject.id


@pytest.mark.parametrize("name", BODIES)
def test_every_field_may_be_missing_null_of_another_type_or_huge(name):
    """One field at a time, in every captured delivery."""
    document = json.loads(BODIES[name])
    inner = [
        path for path in paths(document) if path[0] == "event" or name in {"message__plain", "app_rate_limited__minute"}
    ]
    for path in inner:
        for value in (..., *ODD):
            assert_understood_or_refused(json.dumps(changed(document, path, value)).encode())


@given(st.binary(max_size=200))
def test_any_bytes_under_a_good_signature_are_refused_or_ignored(body):
    """The sender is Slack, but its body may be anything."""
    assert_understood_or_refused(body)


@given(event=JSON, outer=st.dictionaries(st.sampled_from(["type", "team_id", "authorizations", "challenge"]), JSON))
def test_any_json_under_a_good_signature_is_refused_or_ignored(event, outer):
    """An inner event of any form never causes another error."""
    assert_understood_or_refused(
        json.dumps({"type": "event_callback", "team_id": "T1", "event": event} | outer).encode()
    )


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff\xfe", b'{"event_time":' + b"9" * 5000 + b"}"]
)
def test_deep_and_broken_json_is_an_unexpected_delivery(body):
    """It is stored as failed, not answered with an error."""
    with pytest.raises(UnexpectedResponseError):
        read(body)


@given(JSON)
def test_any_token_answer_gives_tokens_or_an_error_of_ours(document):
    """The token reader raises nothing else."""
    with contextlib.suppress(ConnectorsError):
        SLACK.oauth.read_tokens(answer(document), NOW, None)


@given(JSON, st.dictionaries(st.sampled_from(["access_token", "scope", "expires_in", "team", "authed_user"]), JSON))
def test_any_token_answer_that_is_ok_gives_tokens_or_an_error_of_ours(team, parts):
    """`ok` alone proves nothing."""
    document = {"ok": True, "access_token": "xoxb-1", "enterprise": team, **parts}
    with contextlib.suppress(ConnectorsError):
        tokens = SLACK.oauth.read_tokens(answer(document), NOW, None)
        converse(SLACK.oauth.identify(make_app(), tokens), lambda request: answer({"ok": True, "url": team}))


@given(
    JSON,
    st.sampled_from(["members", "channels", "messages"]),
    st.sampled_from(["people", "channels", "messages", "threads"]),
    st.sampled_from(SyncMode),
)
def test_any_page_gives_a_page_or_an_error_of_ours(content, name, what, mode):
    """Whatever a list holds, the run has a next cursor, an end or a reason."""
    window = Window(mode=mode, low=NOW - timedelta(days=9), high=NOW, floor=NOW, bookmark={})
    document = {"ok": True, name: content if isinstance(content, list) else [content], "response_metadata": content}
    cursor = {"threads": [["1777000001.000000", None]]} if what == "threads" else {}
    stream = Stream(key="people" if what == "people" else "channel:C1", name="x")
    conversation = SLACK.streams.read_page(context_of(), stream, window, cursor)
    if what == "channels":
        conversation = SLACK.streams.discover(context_of(), window, cursor)
    with contextlib.suppress(ConnectorsError):
        page = converse(conversation, lambda request: answer(document))
        assert isinstance(page, StreamPage | DiscoveryPage)
        json.dumps(page.cursor)


@given(JSON, st.sampled_from(["C1/1777000001.000000", "C1/1777000001.000000..1777000002.000000"]) | st.text())
def test_any_parked_thing_gives_a_page_or_an_error_of_ours(content, reference):
    """Also under a reference of another version."""
    window = Window(mode=SyncMode.INCREMENTAL, low=NOW - timedelta(days=9), high=NOW, floor=NOW)
    document = {"ok": True, "messages": content if isinstance(content, list) else [content]}
    with contextlib.suppress(ConnectorsError):
        stream = Stream(key="channel:C1", name="x")
        page = converse(SLACK.streams.read_item(context_of(), stream, window, reference), lambda _: answer(document))
        assert page is None or page.cursor is None


@given(st.binary(max_size=100), st.integers(100, 599))
def test_limits_read_any_answer(body, status):
    """These functions get every answer, of any form."""
    response = HttpResponse(status=status, body=body, headers={"Retry-After": body.decode("latin-1")})
    request_url = "https://slack.com/api/x"
    assert isinstance(
        SLACK.limits.read_failure(HttpRequest(method="GET", url=request_url), response, NOW), ConnectorsError
    )
    SLACK.limits.read_throttle(response, NOW)
    SLACK.limits.is_unauthorized(response)
