"""Consent, tokens, identity and revocation, by replying as GitHub would."""

import base64
import hashlib
import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.unit.providers.github.support import NOW, answer, make_app, respond

from connectors.domain.model.errors import (
    ClientRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization
from connectors.domain.model.oauth import ClientAuthentication, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, RevocationScope
from connectors.domain.providers.github import GITHUB, oauth

CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(b"verifier").digest()).rstrip(b"=").decode()
PARAMS = AuthorizationParams(
    state="state-1", redirect_uri="https://core.example/cb", scopes=("repo", "read:org"), code_challenge=CHALLENGE
)
OLD = TokenSet(
    access_token=Secret("old-access"),
    refresh_token=Secret("old-refresh"),
    scopes=("repo",),
    refresh_expires_at=NOW + timedelta(days=30),
)


def read(document, status=200, previous=None, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return oauth.read_tokens(respond(body, status, **headers), NOW, previous)


def test_authorize_url():
    """The consent page gets space-separated scopes and the S256 challenge, and no secret."""
    url = oauth.authorize_url(make_app(), PARAMS)
    assert url.startswith("https://github.com/login/oauth/authorize?")
    assert parse_qs(urlsplit(url).query) == {
        "client_id": ["Ov23client"],
        "redirect_uri": ["https://core.example/cb"],
        "scope": ["repo read:org"],
        "state": ["state-1"],
        "code_challenge": [CHALLENGE],
        "code_challenge_method": ["S256"],
    }
    assert len(CHALLENGE) == 43


def test_hosts_below_a_base_url():
    """An Enterprise Server has everything on one host, and nothing else may be called."""
    app = make_app(base_url="https://git.corp.example/")
    assert oauth.authorize_url(app, PARAMS).startswith("https://git.corp.example/login/oauth/authorize?")
    assert oauth.token_endpoint(app, {}).url == "https://git.corp.example/login/oauth/access_token"
    assert GITHUB.allowed_origins(app) == {"https://git.corp.example"}
    assert GITHUB.allowed_origins(make_app()) == {"https://github.com", "https://api.github.com"}


def test_token_endpoint():
    """JSON is asked for, and the client authenticates in the body."""
    call = oauth.token_endpoint(make_app(), {"state": "x"})
    assert call.url == "https://github.com/login/oauth/access_token"
    assert call.headers["accept"] == "application/json"
    assert call.client_authentication is ClientAuthentication.BODY


def test_tokens_that_do_not_expire():
    """The classic answer: comma-separated scopes, no refresh token, fresh for ever."""
    tokens = read({"access_token": "gho_1", "token_type": "bearer", "scope": "read:org,repo"})
    assert tokens.access_token.reveal() == "gho_1"
    assert tokens.scopes == ("read:org", "repo")
    assert tokens.refresh_token is None
    assert tokens.is_fresh(NOW + timedelta(days=300))


@pytest.mark.parametrize("lifetime", [15897600, 15811200, "15811200", 15811200.0])
def test_tokens_that_expire(lifetime):
    """Both lifetimes are read from the answer, whatever number it gives."""
    tokens = read(
        {
            "access_token": "gho_1",
            "token_type": "Bearer",
            "scope": "repo",
            "expires_in": 28800,
            "refresh_token": "ghr_1",
            "refresh_token_expires_in": lifetime,
        }
    )
    assert tokens.token_type == "bearer"
    assert tokens.expires_at == NOW + timedelta(hours=8)
    assert tokens.refresh_expires_at == NOW + timedelta(seconds=int(lifetime))
    assert tokens.refresh_token.reveal() == "ghr_1"


@pytest.mark.parametrize("odd", [None, "soon", -1, 0, True, [], {}, 1e300, float("nan"), "9" * 400])
def test_an_odd_lifetime_does_not_cost_the_token_pair(odd):
    """A rotation has already ended the old pair: the new one is kept, with an unknown expiry."""
    tokens = read({"access_token": "gho_2", "refresh_token": "ghr_2", "expires_in": odd}, previous=OLD)
    assert tokens.expires_at is None
    assert tokens.refresh_token.reveal() == "ghr_2"
    assert tokens.scopes == ("repo",)


def test_a_used_refresh_token_is_not_kept():
    """An answer without another one is that of an app whose tokens do not expire any more. Omitted scopes stay."""
    tokens = read({"access_token": "gho_2"}, previous=OLD)
    assert tokens.access_token.reveal() == "gho_2"
    assert (tokens.refresh_token, tokens.refresh_expires_at) == (None, None)
    assert tokens.scopes == OLD.scopes


def test_a_github_app_token_has_no_scopes():
    """An empty scope is an answer, not an omission."""
    assert read({"access_token": "ghu_1", "scope": ""}, previous=OLD).scopes == ()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("bad_verification_code", ReauthorizationRequiredError),
        ("bad_refresh_token", ReauthorizationRequiredError),
        ("unverified_user_email", ReauthorizationRequiredError),
        ("incorrect_client_credentials", ClientRejectedError),
        ("redirect_uri_mismatch", ClientRejectedError),
        ("unsupported_grant_type", UnexpectedResponseError),
        ("something_new", UnexpectedResponseError),
        ("Surprise! gho_secret", UnexpectedResponseError),
        (None, UnexpectedResponseError),
        (["bad_refresh_token"], UnexpectedResponseError),
        ({"a": 1}, UnexpectedResponseError),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_token_errors(code, error, status):
    """A failure is recognized by its code, mostly under status 200, and is never quoted."""
    with pytest.raises(error) as caught:
        read({"error": code, "error_description": "gho_secret", "access_token": "gho_x"}, status)
    assert type(caught.value) is error
    assert "gho_" not in caught.value.message


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"<html>Unicorn!</html>", 502, ProviderUnavailableError),
        (b"<html>Unicorn!</html>", 200, UnexpectedResponseError),
        (b"", 200, UnexpectedResponseError),
        (b'{"access_token": "gho_1"', 200, UnexpectedResponseError),
        (b"[]", 200, UnexpectedResponseError),
        (b"{}", 200, UnexpectedResponseError),
        (b'{"access_token": null}', 200, UnexpectedResponseError),
        (b'{"access_token": ""}', 200, UnexpectedResponseError),
        (b'{"access_token": 5}', 200, UnexpectedResponseError),
        (b"Not Found", 404, ClientRejectedError),
        (b"{}", 429, RateLimitedError),
    ],
)
def test_odd_answers(body, status, error):
    """Gateways, truncation and nothing at all become errors, and nothing becomes a token."""
    with pytest.raises(error):
        read(body, status)


def test_identity():
    """The account is known by its id, and shown by its login."""
    body = b'{"id": 101, "login": "ada", "html_url": "https://github.com/ada", "name": null, "type": "User"}'
    (account,), (request,) = answer(oauth.identify(make_app(), OLD), respond(body))
    assert (account.id, account.name, account.url) == ("101", "ada", "https://github.com/ada")
    assert account.metadata == {"type": "User"}
    assert request.url == "https://api.github.com/user"
    assert request.headers["user-agent"]
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert oauth.grant_key([account]) == "github:101"


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id": "101", "login": "ada"}', b'{"id": true, "login": "ada"}'])
def test_an_identity_that_is_none(body):
    """A connection is never made to an incomplete account."""
    with pytest.raises(UnexpectedResponseError):
        answer(oauth.identify(make_app(), OLD), respond(body))


@pytest.mark.parametrize("status", [204, 404, 422])
def test_revocation(status):
    """One token is revoked with the client's credentials; "already gone" is success."""
    result, (request,) = answer(oauth.revoke(make_app(), OLD), respond(status=status))
    assert result is None
    assert (request.method, request.url) == ("DELETE", "https://api.github.com/applications/Ov23client/token")
    assert request.authorization is Authorization.CLIENT_BASIC
    assert json.loads(request.body) == {"access_token": "old-access"}
    assert {404, 422} <= request.expects
    assert "old-access" not in repr(request)
    assert GITHUB.oauth.revocation_scope is RevocationScope.GRANT


def test_scopes():
    """The defaults are `repo read:org`, each scope has its reason, and only `repo` is indispensable."""
    assert [scope.name for scope in oauth.SCOPES if scope.default] == ["repo", "read:org"]
    assert all(scope.reason for scope in oauth.SCOPES)
    assert oauth.required_scopes(make_app(), ("repo", "read:org")) == {"repo"}
    assert oauth.required_scopes(make_app(), ("public_repo",)) == frozenset()
