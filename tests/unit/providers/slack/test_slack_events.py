"""The table of Slack's events, and what is derived from it."""

import json
from collections import Counter

import pytest
from tests.unit.providers.slack.builders import (
    FIXTURE_NAMES,
    FIXTURES,
    OUR_BOT_USER,
    envelope,
    make_user_connection,
    read,
    read_fixture,
)

from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.events import (
    BOT_EVENTS,
    EVENT_SCOPES,
    IGNORED_ON_PURPOSE,
    LIFECYCLE_EVENTS,
    RULES,
)
from connectors.domain.providers.slack.payloads import POSTED_SUBTYPES, event_name
from connectors.domain.providers.toolbox.rules import subscribed_events


def kinds_shown() -> dict[str, set[str]]:
    """The kinds of the signals in the fixtures, by the row of the table that makes them."""
    shown: dict[str, set[str]] = {}
    for name in FIXTURE_NAMES:
        event = json.loads(read_fixture(name)[1]).get("event", {})
        signals = json.loads((FIXTURES / f"{name}.json").read_text()).get("signals", ())
        shown.setdefault(event_name(event), set()).update(signal["kind"] for signal in signals)
    return shown


@pytest.mark.parametrize("event", RULES)
def test_every_row_has_fixtures_that_show_its_kinds(event):
    """A row makes the kinds that it declares, no others, and a captured delivery shows each."""
    assert kinds_shown().get(event) == {kind.value for kind in RULES[event].kinds}


def test_every_lifecycle_event_has_a_fixture():
    """The events that end a connection have captured deliveries too."""
    assert set(LIFECYCLE_EVENTS) <= set(kinds_shown())


# --- the setup text ------------------------------------------------------------------------------------------------------


def events_of_the_setup_text() -> list[str]:
    (step,) = (line for line in SLACK.webhooks.manual_setup.split("\n4.")[0].split("\n3.")[1:])
    return step.partition(":")[2].strip(" .").replace("\n", " ").replace(", ", " ").split()


def test_the_setup_text_names_every_bot_event():
    """What an operator subscribes to is what the table and the life cycle need, each once."""
    assert events_of_the_setup_text() == [*subscribed_events(RULES), *LIFECYCLE_EVENTS]


@pytest.mark.parametrize("event", RULES)
def test_no_event_of_the_table_is_missing_from_the_setup_text(event):
    """The setup text lists a bot event for every row."""
    assert set(RULES[event].subscribed_as or (event,)) <= set(events_of_the_setup_text())


def test_the_setup_text_has_slacks_names():
    """These are all the bot events that we need: `app_mention` repeats `message.*`."""
    assert set(BOT_EVENTS) == {
        *("message.channels", "message.groups", "reaction_added", "reaction_removed"),
        *("member_joined_channel", "member_left_channel", "team_join"),
        *("channel_created", "channel_archive", "channel_rename", "app_uninstalled", "tokens_revoked"),
    }


def test_every_bot_event_has_the_scopes_that_it_needs():
    """Each event's scopes are known, and asked for by default with a reason that names the event."""
    asked = {scope.name: scope.reason for scope in SLACK.oauth.scopes if scope.default}
    assert set(EVENT_SCOPES) == set(BOT_EVENTS)
    for event, scopes in EVENT_SCOPES.items():
        assert all(f"`{event}`" in asked[scope] for scope in scopes)


# --- families --------------------------------------------------------------------------------------------------------------


def test_each_kind_has_one_family():
    """Every kind belongs to exactly one family."""
    counted = Counter(kind for family in SLACK.families for kind in family.kinds)
    assert set(counted) == SLACK.kinds
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("event", RULES)
def test_each_row_is_found_in_its_own_family(event):
    """A gap that a lost event leaves is recorded for the family that the row names."""
    assert SLACK.family_of(event).name == RULES[event].family


@pytest.mark.parametrize(
    ("event", "family"),
    [
        ("message", "messages"),
        ("message.file_share", "messages"),
        ("message.hologram", "messages"),
        ("message.reply", "replies"),
        ("message.message_changed", "message_changes"),
        ("message.message_deleted", "message_changes"),
        ("app_mention", "messages"),
        ("app_rate_limited", None),
    ],
)
def test_subtypes_of_messages_are_in_the_families_of_their_kinds(event, family):
    """The families separate what reading shows completely from what only push shows."""
    found = SLACK.family_of(event)
    assert (found and found.name) == family


def test_only_posted_messages_are_complete_by_reading():
    """Every other family has events that Slack's API does not show again."""
    assert {family.name for family in SLACK.families if family.is_read or family.is_backfilled} == {"messages"}
    assert all(family.is_pushed for family in SLACK.families)


# --- names -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", sorted(POSTED_SUBTYPES, key=str))
@pytest.mark.parametrize("event_type", ["message", "app_mention"])
def test_every_posted_message_has_a_row(event_type, subtype):
    """What is a message in the history is a message by push too, in a thread or not."""
    event = {"type": event_type, "subtype": subtype, "ts": "1777896000.000200"}
    assert event_name(event) in RULES
    assert event_name({**event, "thread_ts": "1777896000.000100"}) == "message.reply"


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({}, "unknown"),
        ({"type": 7}, "unknown"),
        ({"type": "message"}, "message"),
        ({"type": "message", "ts": "1.000001", "thread_ts": "1.000001"}, "message"),
        ({"type": "message", "subtype": "channel_topic", "thread_ts": "1.000001"}, "message.channel_topic"),
        ({"type": "app_mention", "subtype": "file_share"}, "message.file_share"),
        ({"type": "reaction_added", "subtype": "x"}, "reaction_added"),
    ],
)
def test_an_events_name_is_its_type_and_for_messages_its_subtype(event, name):
    """A parent of a thread is no reply, and only what somebody wrote can be one."""
    assert event_name(event) == name


def test_what_is_ignored_on_purpose_has_a_reason_and_no_row():
    """An event is either in the table or ignored, not both."""
    assert set(IGNORED_ON_PURPOSE).isdisjoint(RULES)
    for event, reason in IGNORED_ON_PURPOSE.items():
        event_type, _, subtype = event.partition(".")
        outcome = read(envelope({"type": event_type, "subtype": subtype, "channel": "C1", "ts": "1777896000.000200"}))
        assert outcome == Ignored(event, reason)


@pytest.mark.parametrize("event", [{}, {"type": "canvas_painted"}, {"type": "message", "subtype": "hologram"}])
def test_an_unknown_event_is_ignored(event):
    """Slack adds events and subtypes at any time; none of them is an error."""
    assert read(envelope(event)).reason == "not tracked"


# --- what there is to read ----------------------------------------------------------------------------------------------


def joined(user: str) -> dict[str, str]:
    return {"type": "member_joined_channel", "user": user, "channel": "C9", "event_ts": "1777896000.000001"}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "channel_created", "channel": {"id": "C9", "created": 1777896000}, "event_ts": "1777896000.000001"},
        {"type": "group_joined", "channel": {"id": "C9"}, "event_ts": "1777896000.000001"},
        joined(OUR_BOT_USER),
    ],
)
def test_a_channel_more_is_looked_for_at_once(event):
    """A new channel, or one that we come into, need not wait for the next discovery."""
    outcome = read(envelope(event))
    assert (outcome.needs_sync, outcome.sync_target) == (True, DISCOVERY)


def test_a_user_who_comes_into_a_channel_looks_for_it():
    """A connection with only a user's token reads that user's private channels."""
    assert read(envelope(joined("U7")), connection=make_user_connection("U7")).sync_target == DISCOVERY


def test_others_who_come_into_a_channel_cause_no_read():
    """Their event is a signal, and says all that there is."""
    outcome = read(envelope(joined("U5")))
    assert (len(outcome.signals), outcome.needs_sync, outcome.sync_target) == (1, False, None)
