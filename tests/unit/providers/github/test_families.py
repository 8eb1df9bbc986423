"""What GitHub's package accounts for together."""

from collections import Counter

import pytest

from connectors.domain.providers.github import GITHUB
from connectors.domain.providers.github.events import EVENTS


def test_each_kind_has_one_family():
    """The families share the kinds out, with none left over."""
    counted = Counter(kind for family in GITHUB.families for kind in family.kinds)
    assert set(counted) == GITHUB.kinds
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_belongs_to_the_family_of_its_kinds(event):
    """A gap that a lost event leaves is looked for where its signals would be."""
    family = GITHUB.family_of(event)
    assert family is not None
    assert EVENTS[event].kinds <= family.kinds
