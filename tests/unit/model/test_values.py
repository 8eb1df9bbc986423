"""Secrets, titles and instants."""

import contextlib
import pprint
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.instant import from_epoch_seconds, optional_utc, read_instant, rfc3339, utc
from connectors.domain.model.secret import Secret
from connectors.domain.model.signal import TITLE_LIMIT, one_line

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())

OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.text(min_size=1))
def test_a_secret_is_never_shown(value):
    """However it is printed, only stars are shown; `reveal` gives its value."""
    secret = Secret(value)
    for shown in (repr(secret), str(secret), f"{secret}", pprint.pformat(secret), f"{[secret]}"):
        assert shown.strip("[]") == "Secret('***')"
    assert secret.reveal() == value


def test_secrets_do_not_compare():
    """Two secrets with one value are not equal, because comparing is for constant-time functions."""
    assert Secret("a") != Secret("a")
    with pytest.raises(TypeError):
        vars(Secret("a"))


@given(st.text(), st.integers(min_value=1, max_value=400))
def test_a_line_is_one_line(text, limit):
    """It is never longer than the limit, and has no line break, NUL or space at its ends."""
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.splitlines() in ([], [line])
    assert "\0" not in line
    assert line == line.strip()


def test_titles_are_cut_with_an_ellipsis():
    """A long first line is cut with an ellipsis, a short one is whole, and blank lines before it are skipped."""
    assert one_line("\n \n  Hello  \nWorld") == "Hello"
    assert one_line("x" * 301) == "x" * (TITLE_LIMIT - 1) + "…"
    assert one_line("x" * 300) == "x" * 300


@given(st.datetimes(timezones=OFFSETS))
def test_an_instant_is_read_back(at):
    """Written and read again, an instant is the same one, in UTC."""
    try:
        moment = utc(at)
    except OverflowError:
        return
    assert moment == at
    assert rfc3339(at).endswith("Z")
    assert read_instant(rfc3339(at)) == moment


@given(ANYTHING)
def test_foreign_instants_never_raise(value):
    """A value that is no instant is read as None."""
    found = read_instant(value)
    assert found is None or found.tzinfo is UTC


@given(ANYTHING)
def test_foreign_epochs_are_instants_or_value_errors(value):
    """Numbers in range are instants, everything else is a ValueError."""
    with contextlib.suppress(ValueError):
        assert from_epoch_seconds(value).tzinfo is UTC


def test_naive_datetimes_are_no_instants():
    """A datetime without a zone is refused and not guessed."""
    with pytest.raises(ValueError):
        utc(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    assert read_instant("2026-01-01T00:00:00") is None
    assert optional_utc(None) is None
    assert utc(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))).hour == 23
