"""Signatures, tokens and key sets: only a sender with the secret, or the key, is accepted."""

import base64
import hashlib
import hmac
import json
import warnings
from datetime import UTC, datetime, timedelta
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import SigningKeys, is_unknown_key
from connectors.domain.providers.toolbox.jwks import get_key, read_key_set
from connectors.domain.providers.toolbox.jwt import get_bearer_token, read_key_id, verify_times, verify_token
from connectors.domain.providers.toolbox.signatures import hmac_sha256, hmac_sha256_hex, is_made_with

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STAMP = int(NOW.timestamp())
LEEWAY = timedelta(seconds=60)
KEY = b"a secret of at least thirty-two bytes"
BODY = b'{"a": 1}'
OLD, NEW = Secret("old"), Secret("new")


def made(key):
    return b"sha256=" + hmac.new(key, BODY, hashlib.sha256).hexdigest().encode()


def sign(key):
    return b"sha256=" + hmac_sha256_hex(key, BODY)


def test_the_vector_of_rfc_4231():
    """Test case 2: key "Jefe"."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == expected
    assert hmac_sha256_hex(b"Jefe", b"what do ya want for nothing?") == expected.encode()


def test_any_of_several_secrets_will_do():
    """While a secret is replaced, both are valid, as text or as bytes."""
    for secret in (b"old", b"new"):
        assert is_made_with([OLD, NEW], made(secret), sign)
        assert is_made_with([OLD, NEW], made(secret).decode(), sign)


@given(st.text(st.characters(exclude_categories=()), max_size=80) | st.binary(max_size=80))
def test_nothing_else_is_believed(claimed):
    """Any other value is rejected without an error."""
    assert not is_made_with([OLD, NEW], claimed, sign)
    assert not is_made_with([], claimed, sign)


def test_a_flipped_byte_is_noticed():
    """Every byte of a signature counts."""
    right = made(b"old")
    for position in range(len(right)):
        wrong = bytearray(right)
        wrong[position] ^= 1
        assert not is_made_with([OLD], bytes(wrong), sign)


def test_an_empty_secret_proves_nothing():
    """Anybody could sign with an empty secret."""
    assert not is_made_with([Secret("")], made(b""), sign)
    assert not is_made_with([Secret("")], "", bytes)
    assert is_made_with([Secret(""), OLD], made(b"old"), sign)


def test_every_secret_is_tried():
    """The time taken does not tell which one matched."""
    tried = []

    def record(key):
        tried.append(key)
        return sign(key)

    assert is_made_with([OLD, NEW], made(b"old"), record)
    assert tried == [b"old", b"new"]


# --- tokens ----------------------------------------------------------------------------------------------------------


@cache
def private_key(size):
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def jwk(size=2048, **changes):
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key(size).public_key())), "kid": "k1", **changes}


def encode(claims=None, key=KEY, algorithm="HS256", **headers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode({"exp": STAMP + 60} if claims is None else claims, key, algorithm, headers)


def part(document):
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc  "])
def test_the_token_of_a_header(header):
    """The scheme's case and blanks do not matter (RFC 9110 §11.1)."""
    assert get_bearer_token(header) == "abc"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer " + "a" * 8193])
def test_no_token(header):
    """Another scheme, none at all, or more than anybody sends."""
    with pytest.raises(DeliveryRejectedError):
        get_bearer_token(header)


def test_a_signed_token_gives_its_claims():
    """With a shared secret and with a public key."""
    assert verify_token(encode(), KEY, "HS256") == {"exp": STAMP + 60}
    assert verify_token(encode(key=private_key(2048), algorithm="RS256"), jwk(), "RS256") == {"exp": STAMP + 60}


def test_the_token_does_not_choose_how_it_is_checked():
    """Neither `none`, nor another hash, nor a public key used as a secret."""
    head = part(b'{"alg":"HS256","kid":"k1"}') + "." + part(b"{}")
    confused = f"{head}.{part(hmac_sha256(json.dumps(jwk()).encode(), head.encode()))}"
    unsigned = ".".join([part(b'{"alg":"none"}'), part(b"{}"), ""])
    for token, key, algorithm in (
        (unsigned, KEY, "HS256"),
        (encode(algorithm="HS512"), KEY, "HS256"),
        (confused, jwk(), "RS256"),
        (encode(key=b"another secret of thirty-two bytes, too"), KEY, "HS256"),
    ):
        with pytest.raises(DeliveryRejectedError):
            verify_token(token, key, algorithm)


def test_a_weak_public_key_proves_nothing():
    """A key that the library warns of is not a vendor's."""
    with pytest.raises(DeliveryRejectedError):
        verify_token(encode(key=private_key(1024), algorithm="RS256"), jwk(1024), "RS256")


@pytest.mark.parametrize("key", [{}, {"kty": "RSA"}, {"kty": []}, {"kty": "RSA", "n": 5, "e": None}])
def test_a_key_that_is_none_proves_nothing(key):
    """A broken key set leads to a rejection."""
    with pytest.raises(DeliveryRejectedError):
        verify_token(encode(key=private_key(2048), algorithm="RS256"), key, "RS256")


NESTED = ".".join([part(b"[" * 5000), part(b"{}"), "x"])


@given(
    st.text(st.characters(exclude_categories=()), max_size=60)
    | st.sampled_from([NESTED, "a.b.c", "..", "\ud800.\ud800.x"])
)
def test_any_text_is_refused_as_a_token(token):
    """The only result is a rejection."""
    for check in (lambda: verify_token(token, KEY, "HS256"), lambda: read_key_id(token, "RS256")):
        with pytest.raises(DeliveryRejectedError):
            check()


def test_the_key_that_a_token_names():
    """A token of another algorithm is rejected before its key id is used, so that it cannot make us fetch keys."""
    assert read_key_id(encode(key=private_key(2048), algorithm="RS256", kid="k1"), "RS256") == "k1"
    assert read_key_id(encode(key=private_key(2048), algorithm="RS256"), "RS256") is None
    with pytest.raises(DeliveryRejectedError):
        read_key_id(encode(kid="k1"), "RS256")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": STAMP - 59},
        {"exp": STAMP + 0.5},
        {"exp": STAMP + 60, "iat": STAMP + 60, "nbf": STAMP - 9000},
    ],
)
def test_a_token_of_now_is_valid(claims):
    """The tolerance is how far the two clocks may differ."""
    verify_times(claims, NOW, LEEWAY)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [None, "soon", True, [], {}, 0, -1, 10**400, float("nan"), float("inf"), float("-inf")]
)
def test_a_time_that_is_none_is_refused(name, value):
    """A time that cannot be a date is rejected."""
    with pytest.raises(DeliveryRejectedError):
        verify_times({"exp": STAMP + 60, name: value}, NOW, LEEWAY)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": STAMP - 60},
        {"exp": STAMP + 600, "nbf": STAMP + 61},
        {"exp": STAMP + 600, "iat": STAMP + 61},
    ],
)
def test_a_token_of_another_time_is_refused(claims):
    """Expired, not valid yet, or without an end."""
    with pytest.raises(DeliveryRejectedError):
        verify_times(claims, NOW, LEEWAY)


# --- key sets --------------------------------------------------------------------------------------------------------


def answer(*keys, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=200, headers=named, body=json.dumps({"keys": list(keys)}).encode())


DATE = "Wed, 04 Mar 2026 05:06:07 GMT"


@pytest.mark.parametrize(
    ("headers", "expires_at"),
    [
        ({"date": DATE, "cache_control": "public, max-age=3600"}, NOW + timedelta(hours=1)),
        ({"date": DATE, "cache_control": "max-age=3600", "age": "600"}, NOW + timedelta(minutes=50)),
        ({"date": DATE, "cache_control": "max-age=3600", "age": "-600"}, NOW + timedelta(hours=1)),
        ({"expires": "Wed, 04 Mar 2026 06:06:07 GMT"}, NOW + timedelta(hours=1)),
        ({"date": DATE, "cache_control": "max-age=" + "9" * 5000}, datetime(1970, 1, 1, tzinfo=UTC)),
        ({}, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_keys_are_good_for_as_long_as_the_answer(headers, expires_at):
    """Its headers say how long it may be cached; if they do not, it may not."""
    keys = read_key_set(answer(jwk(), "noise", {"kid": 5}, {"kid": ""}, **headers))
    assert keys == SigningKeys(keys={"k1": jwk()}, expires_at=expires_at)


@pytest.mark.parametrize("body", [b"{}", b'{"keys": 5}', b'{"keys": []}', b'{"keys": [{}]}', b"[]", b"x"])
def test_a_set_without_keys_is_an_error(body):
    """An empty set would refuse every delivery until it expires."""
    with pytest.raises(UnexpectedResponseError):
        read_key_set(HttpResponse(status=200, body=body))


def test_a_key_that_is_not_there_may_be_in_a_newer_set():
    """Vendors rotate their keys: the caller fetches the set again, once."""
    keys = SigningKeys(keys={"k1": jwk(), "k2": "noise"}, expires_at=NOW)
    assert get_key(keys, "k1") == jwk()
    for known, name in ((keys, "k3"), (keys, "k2"), (keys, None), (None, "k1")):
        with pytest.raises(DeliveryRejectedError) as caught:
            get_key(known, name)
        assert is_unknown_key(caught.value)
