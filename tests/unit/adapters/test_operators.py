"""Operator tokens: who is recognised, what they may do, and which settings are refused."""

import hashlib
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.system.operators import Operator, OperatorTokens, Permission

TENANT = UUID(int=7)


def test_a_comma_list_gives_operators_who_may_do_everything():
    """Each token of the list is an operator of its own with all permissions for all tenants."""
    tokens = OperatorTokens.parse("alpha-token, beta-token")
    alpha, beta = tokens.authenticate("alpha-token"), tokens.authenticate("beta-token")
    assert alpha == Operator(name="operator-1")
    assert beta.name == "operator-2"
    assert all(beta.may(permission) for permission in Permission)
    assert beta.may_act_for(TENANT)


def test_an_object_narrows_what_its_operator_may_do():
    """Name, permissions and tenants are those of the entry."""
    tokens = OperatorTokens.parse(
        json.dumps([{"name": "reports", "token": "r,1", "permissions": ["read"], "tenants": [str(TENANT)]}])
    )
    operator = tokens.authenticate("r,1")
    assert operator.name == "reports"
    assert operator.may(Permission.READ)
    assert not operator.may(Permission.WRITE)
    assert not operator.may(Permission.ADMIN)
    assert operator.may_act_for(TENANT)
    assert not operator.may_act_for(UUID(int=8))


def test_a_hash_stands_for_its_token():
    """With `token_sha256` the token itself is not in the settings, and still authenticates."""
    digest = hashlib.sha256(b"the-token").hexdigest()
    tokens = OperatorTokens.parse(json.dumps([{"token_sha256": digest.upper()}]))
    assert tokens.authenticate("the-token") is not None
    assert tokens.authenticate(digest) is None


@given(presented=st.text(st.characters()))
def test_nothing_but_the_token_authenticates(presented):
    """No other text is recognised, not even lone surrogates or NULs."""
    if presented != "alpha-token":
        assert OperatorTokens.parse("alpha-token").authenticate(presented) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (",", "the token of entry 1"),
        ("a,,b", "the token of entry 2"),
        ("[]", "no token"),
        ("[", "looks like JSON"),
        ("[" * 100_000, "looks like JSON"),
        ('{"token": "hush-hush"}', "not an array"),
        ("[7]", "entry 1 is neither"),
        ("[null]", "entry 1 is neither"),
        ('["hush-hush", {}]', "entry 2 must have one of"),
        ('[{"token": "hush-hush", "token_sha256": "00"}]', "must have one of"),
        ('[{"token": ""}]', "the token of entry 1"),
        ('[{"token": "hush hush"}]', "the token of entry 1"),
        ('[{"token": "hush-hüsh"}]', "the token of entry 1"),
        ('[{"token": 1}]', "the token of entry 1"),
        ('[{"token_sha256": "hush-hush"}]', "64 hexadecimal"),
        ('[{"token_sha256": null}]', "64 hexadecimal"),
        ('[{"token": "hush-hush", "permission": ["read"]}]', "members other than"),
        ('[{"token": "hush-hush", "permissions": []}]', "permissions of entry 1"),
        ('[{"token": "hush-hush", "permissions": "read"}]', "permissions of entry 1"),
        ('[{"token": "hush-hush", "permissions": [["read"]]}]', "permissions of entry 1"),
        ('[{"token": "hush-hush", "permissions": ["root"]}]', "permissions of entry 1"),
        ('[{"token": "hush-hush", "tenants": []}]', "tenants of entry 1"),
        ('[{"token": "hush-hush", "tenants": null}]', "tenants of entry 1"),
        ('[{"token": "hush-hush", "tenants": [7]}]', "tenants of entry 1"),
        ('[{"token": "hush-hush", "name": "\\u0007"}]', "the name of entry 1"),
        ('[{"token": "hush-hush", "name": 1}]', "the name of entry 1"),
        ('["hush-hush", "hush-hush"]', "same token"),
        ('[{"token": "hush-hush", "name": "a"}, {"token": "b", "name": "a"}]', "same name"),
    ],
)
def test_a_wrong_entry_is_named_without_its_token(text, reason):
    """The error says which entry is wrong and how, and repeats no token."""
    with pytest.raises(ValueError) as caught:
        OperatorTokens.parse(text)
    assert reason in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_single_token_is_taken_whole():
    """The fallback variable is one token, commas included."""
    operator = OperatorTokens.single("one,token").authenticate("one,token")
    assert operator.name == "operator"


def test_tokens_cannot_be_printed():
    """Neither str nor repr has a token or its digest."""
    tokens = OperatorTokens.parse("hush-hush")
    for text in (str(tokens), repr(tokens), repr(tokens.operators)):
        assert "hush" not in text
        assert hashlib.sha256(b"hush-hush").hexdigest()[:8] not in text
