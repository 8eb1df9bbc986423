"""Cursors of our own lists."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import ValidationError
from connectors.domain.model.paging import PageRequest, Position, list_fingerprint, read_cursor, write_cursor

FINGERPRINT = list_fingerprint("signals", UUID(int=1), None)
POSITION = Position(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), UUID(int=7))
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


def encode(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@given(st.datetimes(timezones=OFFSETS), st.uuids())
def test_a_cursor_is_read_back(at, identifier):
    """Every position that UTC can express is read back to the microsecond."""
    try:
        position = Position(at, identifier)
    except OverflowError:
        return
    assert read_cursor(write_cursor(position, FINGERPRINT), FINGERPRINT) == position


@given(st.text())
def test_any_text_is_refused(text):
    """A text that is not a cursor is a validation error and no other."""
    with pytest.raises(ValidationError):
        read_cursor(text, FINGERPRINT)


@given(st.lists(JSON, max_size=5) | JSON)
def test_any_document_is_refused(document):
    """Well-formed JSON of another shape is refused too."""
    with pytest.raises(ValidationError):
        read_cursor(encode(document), FINGERPRINT)


@given(JSON, JSON)
def test_the_right_fingerprint_is_not_enough(at, identifier):
    """The instant and the id of a forged cursor are checked too."""
    with pytest.raises(ValidationError):
        read_cursor(encode([1, FINGERPRINT, at, identifier]), FINGERPRINT)


@given(st.integers(min_value=0, max_value=200))
def test_a_cut_cursor_is_refused(length):
    """A part of a cursor is not a cursor."""
    cursor = write_cursor(POSITION, FINGERPRINT)
    if length < len(cursor):
        with pytest.raises(ValidationError):
            read_cursor(cursor[:length], FINGERPRINT)


@pytest.mark.parametrize(
    "at", ["2026-01-02", "2026-01-02T03:04:05", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]
)
def test_instants_without_zone_or_out_of_range_are_refused(at):
    """An instant needs a zone, and UTC must be able to express it."""
    with pytest.raises(ValidationError):
        read_cursor(encode([1, FINGERPRINT, at, str(UUID(int=1))]), FINGERPRINT)


def test_fingerprints_differ_by_every_part():
    """None is not the text "None", and parts are kept apart."""
    parts = [("a", None), ("a", "None"), ("a",), ("aNone",), ("a", "b"), ("ab",), (None, "a")]
    assert len({list_fingerprint(*one) for one in parts}) == len(parts)


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_limits_are_one_to_a_hundred(limit):
    """A page has at least one item and at most a hundred."""
    with pytest.raises(ValueError):
        PageRequest(limit=limit)
