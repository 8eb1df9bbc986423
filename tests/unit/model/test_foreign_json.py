"""The decoder of foreign JSON, and the document of a webhook request."""

import json
import math
from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.foreign_json import read_form_member, read_json, read_json_object
from connectors.domain.model.webhook import FORM, VerifiedDelivery, WebhookRequest
from tests.support.builders import GITHUB, NOW, TENANT

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


def make_request(body, content_type="application/json"):
    return WebhookRequest(
        provider=GITHUB, tenant_id=TENANT, headers={"Content-Type": content_type}, body=body, received_at=NOW
    )


@given(JSON)
def test_json_is_read_back_unchanged(value):
    """Everything that JSON can express is read, lone surrogates and NUL included."""
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_bytes_are_json_or_the_one_error(body):
    """No bytes raise any other error."""
    try:
        value = read_json(body)
    except UnexpectedResponseError:
        return
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":01}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b"<html>",
    ],
    ids=range(11),
)
def test_what_is_not_json_is_one_error(body):
    """Cut off, not UTF-8, too deep, or a number with thousands of digits: one error, without the body in it."""
    with pytest.raises(UnexpectedResponseError, match=r"^The body is not JSON\.$"):
        read_json(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_json_are_null(number):
    """Infinite numbers and NaN are read as null, and the rest of the document is kept."""
    assert read_json(f'{{"a": {number}, "b": [1.5, 1e3]}}') == {"a": None, "b": [1.5, 1000.0]}


def test_the_last_of_two_equal_names_counts():
    """Every reader of a delivery gets the same member."""
    assert read_json(b'{"a": 1, "a": 2}') == {"a": 2}


def test_large_numbers_are_exact():
    """Ids beyond 2^53 keep their last digits."""
    assert read_json(str(2**64 + 1)) == 2**64 + 1


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"a"', b"NaN"])
def test_json_of_another_type_is_not_an_object(body):
    """JSON of another type is an error of its own."""
    with pytest.raises(UnexpectedResponseError, match=r"^The body is JSON, but not an object\.$"):
        read_json_object(body)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (b"payload=%7B%22a%22%3A1%7D", '{"a":1}'),
        (b"%7B%22a%22%3A1%7D", '{"a":1}'),
        (b"a=", "a"),
        (b"", ""),
        (b"a=b+c", "b c"),
    ],
)
def test_a_form_has_one_text(form, text):
    """It is the value, or the name if there is no value."""
    assert read_form_member(form) == text


@pytest.mark.parametrize("form", [b"a=b&c=d", b"&" * 9999, b"\xff=1", b"a=%ff"])
def test_another_form_is_an_error(form):
    """A form with several members, or bytes that are not UTF-8, is an error."""
    with pytest.raises(UnexpectedResponseError):
        read_form_member(form)


def test_a_request_has_one_document():
    """Every reader gets the same object, also from the verified delivery."""
    request = make_request(b'{"a": 1}')
    delivery = VerifiedDelivery(request=request, delivery_id="1", via="app")
    assert request.document == {"a": 1}
    assert request.document is request.document is delivery.document


def test_a_missing_document_is_an_error_every_time():
    """The error is raised again, and does not contain the body."""
    request = make_request(b'{"a": "secret')
    for _ in range(2):
        with pytest.raises(UnexpectedResponseError) as caught:
            _ = request.document
        assert caught.value.__cause__ is None
        assert "secret" not in str(caught.value)


def test_a_changed_request_has_its_own_document():
    """A copy with another body does not keep the decoded document."""
    request = make_request(b'{"a": 1}')
    assert request.document == {"a": 1}
    assert attrs.evolve(request, body=b'{"a": 2}').document == {"a": 2}
    assert request == make_request(b'{"a": 1}')


def test_a_document_is_not_shown():
    """The decoded document is not part of the repr."""
    request = make_request(b'{"a": "confidential"}')
    assert request.document["a"] not in repr(request)


def test_a_form_may_carry_the_document():
    """The content type identifies a form, whatever its parameters and case."""
    assert make_request(b"payload=%7B%22a%22%3A1%7D", f"{FORM.upper()}; charset=utf-8").document == {"a": 1}
    with pytest.raises(UnexpectedResponseError):
        _ = make_request(b"payload=%7B%22a%22%3A1%7D").document


def test_a_content_type_does_not_change_what_json_means():
    """Signatures do not cover it, so it must not turn signed JSON into a form with another meaning."""
    body = b'{"a": "x=%7B%22b%22%3A%22", "c": 1}'
    assert make_request(body, FORM).document == {"a": "x=%7B%22b%22%3A%22", "c": 1}


@given(st.binary(max_size=100), st.sampled_from(["application/json", FORM, "", "\0"]))
def test_every_request_has_a_document_or_the_one_error(body, content_type):
    """No bytes with any content type raise another error."""
    with suppress(UnexpectedResponseError):
        assert isinstance(make_request(body, content_type).document, dict)


@given(st.floats())
def test_every_float_that_is_read_is_finite(number):
    """A float is read as a finite number or as null."""
    read = read_json(json.dumps(number))
    assert read is None or math.isfinite(read)
