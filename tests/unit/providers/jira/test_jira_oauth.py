"""Consent, tokens, identity."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jira import APP, CLOUD, NOW, SITE, hold, replies, reply

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ConnectorsError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.oauth import BodyFormat, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.oauth import authorize_url, grant_key, identify, read_tokens, token_call

PARAMS = AuthorizationParams(
    state="s t&ate", redirect_uri="https://core.example/callback", scopes=("read:jira-work", "offline_access")
)
GOOD = {
    "access_token": "eyJ.access",
    "refresh_token": "eyJ.refresh",
    "expires_in": 3600,
    "token_type": "Bearer",
    "scope": "read:jira-work offline_access",
}
OLD = TokenSet(
    access_token=Secret("old"), refresh_token=Secret("old-refresh"), scopes=("read:jira-work",), extra={"a": 1}
)


def test_authorize_url_has_atlassians_parameters_and_no_challenge():
    """The consent URL carries audience and prompt, space-separated scopes, and no PKCE."""
    url = urlsplit(authorize_url(APP, attrs.evolve(PARAMS, code_challenge="x" * 43)))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://auth.atlassian.com/authorize"
    assert {name: values[0] for name, values in parse_qs(url.query).items()} == {
        "audience": "api.atlassian.com",
        "client_id": APP.client_id,
        "scope": "read:jira-work offline_access",
        "redirect_uri": "https://core.example/callback",
        "state": "s t&ate",
        "response_type": "code",
        "prompt": "consent",
    }
    assert JIRA.oauth.pkce is False


def test_token_call_is_json_with_the_secret_in_the_body():
    """Exchange and refresh go to one URL as JSON."""
    call = token_call(APP, {"dc": "https://evil.example"})
    assert call.url == "https://auth.atlassian.com/oauth/token"
    assert call.body_format is BodyFormat.JSON


def test_base_url_moves_every_endpoint():
    """With a base URL nothing is called elsewhere."""
    app = attrs.evolve(APP, base_url="http://127.0.0.1:9/jira/")
    assert authorize_url(app, PARAMS).startswith("http://127.0.0.1:9/jira/authorize?")
    assert token_call(app, {}).url == "http://127.0.0.1:9/jira/oauth/token"
    assert JIRA.allowed_origins(app) == {"http://127.0.0.1:9"}
    assert JIRA.allowed_origins(APP) == {"https://auth.atlassian.com", "https://api.atlassian.com"}


def test_tokens_are_read():
    """An answer becomes a token set with an instant of expiry."""
    tokens = read_tokens(reply(GOOD), NOW, None)
    assert tokens.access_token.reveal() == "eyJ.access"
    assert tokens.refresh_token is not None
    assert tokens.refresh_token.reveal() == "eyJ.refresh"
    assert tokens.expires_at == NOW + timedelta(hours=1)
    assert tokens.scopes == ("read:jira-work", "offline_access")


def test_refresh_keeps_what_the_answer_omits():
    """A refresh without scope or refresh token keeps the previous ones; a rotated one replaces them."""
    tokens = read_tokens(reply({"access_token": "new", "token_type": "bearer"}), NOW, OLD)
    assert tokens.refresh_token is OLD.refresh_token
    assert tokens.scopes == OLD.scopes
    assert tokens.extra == OLD.extra
    rotated = read_tokens(reply(GOOD), NOW, OLD).refresh_token
    assert rotated is not None
    assert rotated.reveal() == "eyJ.refresh"


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (401, {"error": "access_denied", "error_description": "Unauthorized"}, ClientRejectedError),
        (403, {"error": "access_denied"}, ClientRejectedError),
        (403, {"error": "unauthorized_client", "error_description": "x"}, ReauthorizationRequiredError),
        (403, {"error": "invalid_grant", "error_description": "x"}, ReauthorizationRequiredError),
        (400, {"error": "invalid_grant"}, ReauthorizationRequiredError),
        (200, {"error": "invalid_grant"}, ReauthorizationRequiredError),
        (500, {"error": "invalid_grant"}, ReauthorizationRequiredError),
        (500, {"error": "server_error"}, ProviderUnavailableError),
        (429, b"<html>", RateLimitedError),
        (502, b"<html>", ProviderUnavailableError),
        (403, b"<html>", UnexpectedResponseError),
        (400, {"error": "invalid_request"}, UnexpectedResponseError),
        (401, {}, UnexpectedResponseError),
        (400, {"error": ["invalid_grant"]}, UnexpectedResponseError),
        (200, b"", UnexpectedResponseError),
        (200, [], UnexpectedResponseError),
        (200, {**GOOD, "access_token": None}, UnexpectedResponseError),
        (200, {**GOOD, "access_token": ""}, UnexpectedResponseError),
        (200, {**GOOD, "access_token": "a\r\nb"}, UnexpectedResponseError),
        (200, {**GOOD, "token_type": "mac"}, UnexpectedResponseError),
    ],
)
def test_failures_branch_on_the_error_not_the_status(status, document, error):
    """Each refusal of the token endpoint becomes one kind of error."""
    with pytest.raises(error) as caught:
        read_tokens(reply(document, status), NOW, OLD)
    assert type(caught.value) is error


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "refresh_token", "expires_in", "token_type", "scope", "error"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=2),
    )
)
def test_hostile_token_answers_never_crash(document):
    """Whatever the members contain, the result is a token set or one of our errors."""
    try:
        tokens = read_tokens(reply({**GOOD, **document}), NOW, None)
    except ConnectorsError:
        return
    assert tokens.access_token.reveal()


# --- identity ------------------------------------------------------------------------------------------------------


def make_site(**changes):
    site = {"id": CLOUD, "name": "acme", "url": SITE, "scopes": ["read:jira-work"], "avatarUrl": "https://x"}
    return {**site, **changes}


MYSELF = {"accountId": "712020:lee", "displayName": "Lee", "active": True}
SECOND = "22222222-45db-1bf4-1e99-ef0ff456d421"


def test_each_jira_site_is_an_account():
    """Two sites, a Confluence-only entry and a repeated id give two accounts of one user and one grant."""
    answer, asked = replies(
        [
            make_site(),
            make_site(scopes=["read:confluence-content.all"], id="33333333"),
            make_site(scopes=["read:confluence-content.all"]),
            make_site(id=SECOND, name="beta", url="https://beta.atlassian.net"),
            make_site(),
        ],
        MYSELF,
    )
    accounts = hold(identify(APP, OLD), answer)
    assert [(one.id, one.name, one.url) for one in accounts] == [
        (CLOUD, "acme", SITE),
        (SECOND, "beta", "https://beta.atlassian.net"),
    ]
    assert {one.metadata["account_id"] for one in accounts} == {"712020:lee"}
    assert grant_key(accounts) == "jira:712020:lee"
    assert asked[0].url == "https://api.atlassian.com/oauth/token/accessible-resources"
    assert asked[1].url == f"https://api.atlassian.com/ex/jira/{CLOUD}/rest/api/3/myself"


def test_closed_site_does_not_hide_the_user():
    """If the first site refuses to say who we are, the next is asked."""
    answer, asked = replies([make_site(), make_site(id=SECOND)], reply({}, 403), MYSELF)
    assert len(hold(identify(APP, OLD), answer)) == 2
    assert SECOND in asked[-1].url


@pytest.mark.parametrize(
    "answers",
    [
        [[]],
        [[make_site(scopes=["read:confluence-content.all"])]],
        [[make_site(id="../../evil")]],
        [[make_site(id=None), None, 7, "x", [], make_site(scopes=None)]],
        [[make_site()], reply({}, 404)],
        [[make_site()], {"accountId": None}],
    ],
)
def test_no_site_or_no_user_is_access_lost(answers):
    """Without a readable Jira site, or with none that names the user, there is nothing to connect."""
    answer, _ = replies(*answers)
    with pytest.raises(AccessLostError):
        hold(identify(APP, OLD), answer)


def test_missing_scope_is_said():
    """The gateway's 401 about scopes is not taken for a dead token."""
    text = {"code": 401, "message": "Unauthorized; scope does not match"}
    answer, _ = replies([make_site()], reply(text, 401))
    with pytest.raises(InsufficientScopeError):
        hold(identify(APP, OLD), answer)


def test_site_with_a_strange_url_has_no_link():
    """Only http(s) URLs become links."""
    answer, _ = replies([make_site(url="javascript:alert(1)")], MYSELF)
    assert hold(identify(APP, OLD), answer)[0].url is None


def test_required_scopes_are_of_those_asked():
    """Granular scopes that an operator configured are not compared with classic ones."""
    required = JIRA.oauth.required_scopes
    assert required(APP, ("read:jira-work", "offline_access")) == {"read:jira-work"}
    assert required(APP, ("read:issue-details:jira",)) == frozenset()


def test_there_is_no_revocation():
    """Atlassian has no revocation endpoint, so the provider has no `revoke`."""
    assert JIRA.oauth.revoke is None
    assert JIRA.oauth.reuse_window == timedelta(minutes=10)
    assert JIRA.oauth.idle_lifetime == timedelta(days=90)
