"""Every captured delivery gives the signals in its fixture."""

import json
from datetime import UTC, datetime

import pytest
from tests.unit.providers.slack.builders import (
    FIXTURE_NAMES,
    FIXTURES,
    NOW,
    TEAM,
    envelope,
    make_app,
    make_connection,
    make_request,
    make_user_connection,
    material,
    read,
    read_fixture,
    render,
)

from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.contract import ReadContext
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.payloads import TOMBSTONE

TS = "1777896000.000200"


@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_a_captured_delivery_is_verified_and_becomes_the_signals_beside_it(name):
    """The fixture's own signature holds and its meaning is the expected one."""
    headers, body = read_fixture(name)
    SLACK.webhooks.verify(make_request(body, headers), material(NOW))
    assert render(read(body)) == json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("fixture", "key"),
    [
        ("message__plain", f"C123:{TS}:posted"),
        ("message__reply", "C123:1777896100.000100:posted"),
        ("message__thread_broadcast", "C123:1777896100.000200:posted"),
        ("app_mention__repeats_message", f"C123:{TS}:posted"),
        ("message_changed__edited", f"C123:{TS}:edited:1777896200.000000"),
        ("message_deleted__plain", f"C123:{TS}:deleted"),
        ("reaction_added__message", f"C123:{TS}:reaction:thumbsup:U9:1777896000.000300"),
        ("reaction_removed__message", f"C123:{TS}:unreaction:thumbsup:U9:1777896000.000300"),
        ("member_joined_channel__invited", "C123:member:U9:1777896000.000300"),
        ("member_left_channel__plain", "C123:left:U9:1777896000.000300"),
        ("channel_created__plain", "channel:C777:created"),
        ("channel_archive__plain", "channel:C123:archived:1777896000.000300"),
        ("channel_rename__plain", "channel:C123:renamed:1777896000.000300"),
        ("team_join__plain", "team:member:U77"),
        ("shared_channel__partner_team", f"C123:{TS}:posted"),
    ],
)
def test_the_dedupe_key_is_the_connections_team_and_the_events_identity(fixture, key):
    """Keys are written as the table says, also for an event that happened in a partner's workspace."""
    (draft,) = read(read_fixture(fixture)[1]).signals
    assert draft.dedupe_key == f"slack:{TEAM}:{key}"


def test_the_payload_is_the_whole_event():
    """Nothing that Slack sent is lost."""
    _, body = read_fixture("message__file_share")
    (draft,) = read(body).signals
    assert draft.payload == json.loads(body)["event"]


def test_the_same_message_under_new_event_ids_is_one_signal():
    """Slack has sent one message with several event ids: they are not in the key."""
    event = {"type": "message", "channel": "C1", "user": "U1", "text": "x", "ts": TS}
    keys = {read(envelope(event, event_id=f"Ev{n}")).signals[0].dedupe_key for n in range(11)}
    assert len(keys) == 1


def test_a_message_of_an_unknown_workspace_address_has_no_url():
    """A link is never guessed."""
    event = {"type": "message", "channel": "C1", "user": "U1", "text": "x", "ts": TS}
    (draft,) = read(envelope(event), connection=make_user_connection("U5")).signals
    assert (draft.url, draft.subject.url, draft.container.url) == (None, None, None)


def test_a_parent_that_leaves_a_tombstone_is_deleted():
    """A deleted parent of a thread has the key of any other deletion, whatever its remains are called."""
    before = {"type": "message", "user": "U9", "text": "gone", "ts": TS, "thread_ts": TS}
    event = {"type": "message", "subtype": "message_changed", "channel": "C123", "event_ts": "1777896300.000400"}
    after = {**before, "subtype": TOMBSTONE, "user": "USLACKBOT"}
    (draft,) = read(envelope({**event, "message": after, "previous_message": before})).signals
    assert (draft.kind.value, draft.title) == ("message_deleted", "Deleted: gone")
    assert draft.dedupe_key == f"slack:{TEAM}:C123:{TS}:deleted"


def test_a_changed_notice_is_no_edit():
    """Subtypes that are no messages stay none when they change, as in the history."""
    notice = {"type": "message", "subtype": "channel_topic", "user": "U1", "text": "x", "ts": TS}
    changed = {**notice, "edited": {"user": "U1", "ts": "1777896001.000000"}}
    event = {"type": "message", "subtype": "message_changed", "channel": "C1", "message": changed}
    assert isinstance(read(envelope({**event, "previous_message": notice})), Ignored)


def test_our_own_bot_is_known_by_its_user_or_its_bot_id():
    """Either id alone is enough to leave our own messages out, edits and deletions too."""
    own = make_connection().account.metadata
    for who in ({"user": own["bot_user_id"]}, {"bot_id": own["bot_id"]}):
        message = {"type": "message", "channel": "C1", "text": "x", "ts": TS, **who}
        edit = {**message, "edited": {"user": "U1", "ts": "1777896001.000000"}}
        gone = {"type": "message", "subtype": "message_deleted", "channel": "C1", "deleted_ts": TS, "event_ts": TS}
        for event in (
            message,
            {"type": "message", "subtype": "message_changed", "channel": "C1", "message": edit},
            {**gone, "previous_message": message},
        ):
            assert read(envelope(event)).signals == ()


def test_events_of_another_app_are_ignored_where_the_app_id_is_configured():
    """`api_app_id` must be ours."""
    app = make_app(options={"app_id": "A999"})
    assert isinstance(read(read_fixture("message__plain")[1], app=app), Ignored)
    assert isinstance(read(read_fixture("app_rate_limited__minute")[1], app=app), Ignored)
    ours = make_app(options={"app_id": "A123"})
    assert read(read_fixture("message__plain")[1], app=ours).signals


@pytest.mark.parametrize(
    ("changes", "account"),
    [
        ({}, TEAM),
        ({"authorizations": [{"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": False}]}, "T1"),
        ({"authorizations": [{"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": True}]}, "E1"),
        ({"authorizations": [], "context_team_id": "T2"}, "T2"),
        ({"authorizations": None, "context_team_id": None, "team_id": "T3"}, "T3"),
        ({"authorizations": ["x"], "context_team_id": 7, "team_id": "T3"}, "T3"),
    ],
)
def test_an_event_is_for_the_install_that_sees_it(changes, account):
    """The first authorization names the installation; otherwise the context and the outer team do, in this order."""
    event = {"type": "message", "channel": "C1", "user": "U1", "text": "x", "ts": TS}
    assert read(envelope(event, **changes)).account_ids == (account,)


@pytest.mark.parametrize(
    ("tokens", "ends_bot", "ends_user"),
    [
        ({"oauth": ["U5"], "bot": ["U0"]}, True, True),
        ({"oauth": ["U6"], "bot": []}, False, False),
        ({"oauth": ["U5"]}, False, True),
        ({"bot": ["U0"]}, True, True),
        (None, True, True),
        ({"oauth": "x", "bot": 7}, True, True),
    ],
)
def test_tokens_revoked_ends_the_connections_whose_token_it_names(tokens, ends_bot, ends_user):
    """A user's revoked token ends no bot's connection, and no other user's."""
    body = envelope({"type": "tokens_revoked", "tokens": tokens})
    assert (read(body).lifecycle is not None) is ends_bot
    assert (read(body, connection=make_user_connection("U5")).lifecycle is not None) is ends_user


@pytest.mark.parametrize(
    ("event_time", "at"),
    [
        (1777896000, datetime(2026, 5, 4, 12, 0, 1, tzinfo=UTC)),
        ("1777896000", None),
        (None, None),
        (10**12, None),
        (True, None),
    ],
)
def test_an_uninstallation_says_when_it_was(event_time, at):
    """The end of the second that its outer `event_time` names counts; what is no time of Slack's is none."""
    assert read(envelope({"type": "app_uninstalled"}, event_time=event_time)).at == at


def test_interactivity_sent_to_our_url_is_ignored():
    """Buttons and slash commands are form data and belong elsewhere."""
    body = b"payload=%7B%22type%22%3A%22block_actions%22%7D"
    request = make_request(body, {"Content-Type": "application/x-www-form-urlencoded"})
    delivery = SLACK.webhooks.verify(request, material())
    assert isinstance(SLACK.webhooks.read_event(delivery, ReadContext(app=make_app())), Ignored)


@pytest.mark.parametrize(
    "event", [{"type": "app_uninstalled"}, {"type": "message", "channel": "C1", "user": "U1", "ts": TS}]
)
def test_an_event_of_another_workspace_says_nothing_to_a_connection(event):
    """Neither signals nor an end of the connection, even if the delivery came to the tenant's own URL."""
    outcome = read(envelope(event, authorizations=[{"team_id": "T0OTHER"}]))
    assert (outcome.signals, outcome.lifecycle, outcome.account_ids) == ((), None, ("T0OTHER",))
