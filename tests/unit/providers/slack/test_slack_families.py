"""What Slack's package accounts for together."""

from collections import Counter

import pytest

from connectors.domain.providers.slack import SLACK
from connectors.domain.providers.slack.signals import RULES


def test_each_kind_has_one_family():
    """The families share the kinds out, with none left over."""
    counted = Counter(kind for family in SLACK.families for kind in family.kinds)
    assert set(counted) == SLACK.kinds
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("event", RULES)
def test_each_event_of_the_table_has_a_family(event):
    """A gap that a lost event leaves is looked for somewhere."""
    assert SLACK.family_of(event) is not None


@pytest.mark.parametrize(
    ("event", "family"),
    [
        ("message", "messages"),
        ("message.file_share", "messages"),
        ("message.reply", "replies"),
        ("message.message_changed", "message_changes"),
        ("message.message_deleted", "message_changes"),
        ("app_mention", "messages"),
        ("app_rate_limited", None),
    ],
)
def test_subtypes_of_messages_go_where_their_kinds_are(event, family):
    """What the walk finds whole is kept apart from what only push shows."""
    found = SLACK.family_of(event)
    assert (found and found.name) == family
