"""What is derived from a table of event rules."""

import pytest

from connectors.domain.model.signal import SignalKind
from connectors.domain.providers.contract import Family
from connectors.domain.providers.toolbox.rules import (
    EventRule,
    derive_families,
    derive_families_by_kind,
    kinds_of,
    subscribed_events,
)


def rule(family, *kinds, **changes):
    return EventRule(family=family, kinds=frozenset(kinds), payload=dict, make=list, **changes)


CREATED, CLOSED, POSTED = SignalKind.ISSUE_CREATED, SignalKind.ISSUE_CLOSED, SignalKind.MESSAGE_POSTED
RULES = {
    "issue.opened": rule("issues", CREATED),
    "message": rule("messages", POSTED, subscribed_as=("message.channels", "message.groups")),
    "issue.closed": rule("issues", CLOSED),
}


def test_each_event_is_subscribed_to_once():
    """The names are those of the table in its order, without actions, or those that a row gives."""
    assert subscribed_events(RULES) == ("issue", "message.channels", "message.groups")


def test_all_kinds_of_the_table():
    """The kinds are those of all rows."""
    assert kinds_of(RULES) == {CREATED, CLOSED, POSTED}


def test_families_get_the_kinds_and_events_of_their_rows():
    """What a family has of its own stays, and the families keep their order and flags."""
    messages = Family(name="messages", events=frozenset({"joined"}), is_read=False)
    assert derive_families(RULES, messages, Family(name="issues")) == (
        Family(name="messages", kinds=frozenset({POSTED}), events=frozenset({"joined", "message"}), is_read=False),
        Family(name="issues", kinds=frozenset({CREATED, CLOSED}), events=frozenset({"issue.opened", "issue.closed"})),
    )


def test_families_by_kind():
    """Where changes are found by reading, the kinds have the families, and some have events."""
    by_kind = {CREATED: "issues", CLOSED: "issues", POSTED: "messages"}
    families = derive_families_by_kind(
        by_kind, Family(name="issues"), Family(name="messages"), events={"message": POSTED}
    )
    assert families == (
        Family(name="issues", kinds=frozenset({CREATED, CLOSED})),
        Family(name="messages", kinds=frozenset({POSTED}), events=frozenset({"message"})),
    )


def test_a_family_that_is_not_listed():
    """A row of an unknown family is an error that names the family."""
    with pytest.raises(ValueError, match="not listed: messages"):
        derive_families(RULES, Family(name="issues"))


def test_a_family_without_kinds():
    """A family without rows is an error that names the family."""
    with pytest.raises(ValueError, match="without kinds: stars"):
        derive_families(RULES, Family(name="issues"), Family(name="messages"), Family(name="stars"))


def test_an_event_of_a_kind_without_family():
    """An event with a kind outside of the table is an error."""
    with pytest.raises(KeyError):
        derive_families_by_kind({CREATED: "issues"}, Family(name="issues"), events={"message": POSTED})
