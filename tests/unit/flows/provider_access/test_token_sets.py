"""Refresh tokens that a consent does not bring."""

from datetime import timedelta

import attrs
import pytest

from connectors.domain.flows.provider_access.token_sets import keep_refresh_token, lacks_refresh_token
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import BUILT_IN
from tests.support.builders import NOW
from tests.support.provider import make_acme

LATER = NOW + timedelta(hours=1)
STEADY = make_acme(oauth={"reuse_window": None})
OLD = TokenSet(access_token=Secret("old"), refresh_token=Secret("kept"), expires_at=NOW, refresh_expires_at=LATER)
NEW = TokenSet(access_token=Secret("new"), expires_at=LATER, scopes=("a",), extra={"x": 1})


def test_what_a_consent_does_not_bring_is_kept():
    """All else is the new consent's."""
    assert keep_refresh_token(STEADY, NEW, OLD) == attrs.evolve(
        NEW, refresh_token=OLD.refresh_token, refresh_expires_at=LATER
    )


@pytest.mark.parametrize(
    ("provider", "new"),
    [
        (STEADY, attrs.evolve(NEW, refresh_token=Secret("its own"))),
        (STEADY, attrs.evolve(NEW, expires_at=None)),
        (make_acme(), NEW),
    ],
    ids=["brought", "does not expire", "rotates"],
)
def test_nothing_else_is_kept(provider, new):
    """A refresh token of its own wins, what does not expire needs none, and families are not mixed."""
    assert keep_refresh_token(provider, new, OLD) == new


def test_what_nobody_has_is_lacking():
    """If the present set has none either, that is told."""
    assert lacks_refresh_token(keep_refresh_token(STEADY, NEW, attrs.evolve(OLD, refresh_token=None)))
    assert not lacks_refresh_token(OLD)
    assert not lacks_refresh_token(attrs.evolve(NEW, expires_at=None))


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda one: one.slug)
def test_whose_refresh_tokens_are_kept(provider):
    """Those of Google and Zoho, which do not rotate; at the other vendors each consent brings its own, or needs none."""
    kept = keep_refresh_token(provider, NEW, OLD).refresh_token
    assert (kept is not None) is provider.slug.startswith(("google", "gmail", "zoho"))
