"""Consent, tokens, identity and revocation as Slack does them."""

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest
from tests.unit.providers.slack.builders import NOW, answer, converse, fields_of, make_app

from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpResponse
from connectors.domain.model.oauth import ClientAuthentication, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, RevocationScope
from connectors.domain.providers.slack import SLACK

OAUTH = SLACK.oauth
BOT_ONLY = {
    "ok": True,
    "app_id": "A1",
    "token_type": "bot",
    "access_token": "xoxb-1",
    "scope": "channels:history,channels:read",
    "bot_user_id": "U0BOT",
    "team": {"id": "T1", "name": "Acme"},
    "enterprise": None,
    "is_enterprise_install": False,
    "authed_user": {"id": "U1"},
}
WITH_USER = {
    **BOT_ONLY,
    "authed_user": {"id": "U1", "scope": "channels:read", "access_token": "xoxp-1", "token_type": "user"},
}
ROTATING = {
    **WITH_USER,
    "access_token": "xoxe.xoxb-1-a",
    "refresh_token": "xoxe-1-b",
    "expires_in": 43200,
    "authed_user": {
        **WITH_USER["authed_user"],
        "access_token": "xoxe.xoxp-1-a",
        "refresh_token": "xoxe-1-u",
        "expires_in": 40000,
    },
}
USER_ONLY = {
    "ok": True,
    "app_id": "A1",
    "team": {"id": "T1", "name": "Acme"},
    "enterprise": None,
    "authed_user": {
        "id": "U1",
        "scope": "channels:history,channels:read",
        "access_token": "xoxp-1",
        "token_type": "user",
    },
}
ORGANIZATION = {
    **BOT_ONLY,
    "team": None,
    "enterprise": {"id": "E1", "name": "Acme Org"},
    "is_enterprise_install": True,
}


def tokens_of(document, previous=None, status=200):
    return OAUTH.read_tokens(answer(document, status), NOW, previous)


def authorize(*scopes):
    url = OAUTH.authorize_url(
        make_app(), AuthorizationParams(state="s+1", redirect_uri="https://core.example/cb?x=1", scopes=scopes)
    )
    return url.partition("?")[0], dict(parse_qsl(urlsplit(url).query))


def test_the_authorize_url_has_comma_separated_bot_scopes_and_no_pkce():
    """Only Slack's parameters are sent; without user scopes there is no `user_scope`."""
    where, query = authorize("channels:history", "channels:read")
    assert where == "https://slack.com/oauth/v2/authorize"
    assert query == {
        "client_id": "1.2",
        "scope": "channels:history,channels:read",
        "redirect_uri": "https://core.example/cb?x=1",
        "state": "s+1",
    }
    assert OAUTH.pkce is False


def test_user_scopes_go_into_their_own_parameter_without_our_prefix():
    """`user:` is our prefix, not Slack's; an installation may have only user scopes."""
    _, both = authorize("channels:read", "user:channels:history", "user:users:read")
    assert (both["scope"], both["user_scope"]) == ("channels:read", "channels:history,users:read")
    _, user_only = authorize("user:channels:history")
    assert "scope" not in user_only


def test_a_base_url_moves_every_endpoint():
    """The sandbox and GovSlack are the same below another host."""
    app = make_app(base_url="http://127.0.0.1:9100/slack/")
    assert OAUTH.token_endpoint(app, {}).url == "http://127.0.0.1:9100/slack/api/oauth.v2.access"
    assert SLACK.allowed_origins(app) == {"http://127.0.0.1:9100"}
    assert SLACK.allowed_origins(make_app()) == {"https://slack.com"}


def test_the_token_endpoint_is_called_with_http_basic():
    """Slack prefers HTTP Basic."""
    assert OAUTH.token_endpoint(make_app(), {}).client_authentication is ClientAuthentication.BASIC


def test_a_bot_token_that_never_expires():
    """Without rotation there is neither expiry nor refresh token, nor a companion."""
    tokens = tokens_of(BOT_ONLY)
    assert tokens.access_token.reveal() == "xoxb-1"
    assert (tokens.expires_at, tokens.refresh_token, tokens.companions) == (None, None, {})
    assert tokens.scopes == ("channels:history", "channels:read")
    assert tokens.extra == {
        "app_id": "A1", "team_id": "T1", "team_name": "Acme", "bot_user_id": "U0BOT", "user_id": "U1",
    }  # fmt: skip


def test_bot_and_user_tokens_have_their_own_expiry_and_refresh_token():
    """The user's pair is in `authed_user` and becomes the companion."""
    tokens = tokens_of(ROTATING)
    user = tokens.companions["user"]
    assert (tokens.expires_at, user.expires_at) == (NOW + timedelta(hours=12), NOW + timedelta(seconds=40000))
    assert (tokens.refresh_token.reveal(), user.refresh_token.reveal()) == ("xoxe-1-b", "xoxe-1-u")
    assert tokens.scopes == ("channels:history", "channels:read", "user:channels:read")
    assert "xox" not in repr(tokens)


def test_an_install_with_user_scopes_only_is_the_users_pair():
    """There is no top-level token then."""
    tokens = tokens_of(USER_ONLY)
    assert (tokens.access_token.reveal(), tokens.token_type, tokens.companions) == ("xoxp-1", "user", {})
    assert tokens.scopes == ("user:channels:history", "user:channels:read")


def test_a_refreshed_bot_keeps_the_user_beside_it():
    """Two separate calls: neither touches the other's pair."""
    before = tokens_of(ROTATING)
    after = tokens_of(
        {**BOT_ONLY, "access_token": "xoxe.xoxb-1-c", "refresh_token": "xoxe-1-c", "expires_in": 43200}, before
    )
    assert (after.access_token.reveal(), after.refresh_token.reveal()) == ("xoxe.xoxb-1-c", "xoxe-1-c")
    assert after.companions["user"] is before.companions["user"]
    assert after.scopes == before.scopes


def test_a_refreshed_user_pair_is_read_from_the_top_level():
    """With `token_type` user, as the official rotator reads it."""
    before = tokens_of(ROTATING).companions["user"]
    document = {
        "ok": True,
        "token_type": "user",
        "access_token": "xoxe.xoxp-1-n",
        "refresh_token": "xoxe-1-n",
        "expires_in": 43200,
        "scope": "channels:read",
    }
    after = tokens_of(document, before)
    assert (after.access_token.reveal(), after.token_type) == ("xoxe.xoxp-1-n", "user")
    assert after.scopes == ("user:channels:read",)


def test_a_refresh_never_mistakes_one_kind_of_token_for_the_other():
    """A bot's answer to a user's refresh would hand the connection another identity."""
    before = tokens_of(ROTATING).companions["user"]
    with pytest.raises(UnexpectedResponseError):
        tokens_of(BOT_ONLY, before)


def test_a_refresh_without_a_new_refresh_token_keeps_the_old_one():
    """What the answer omits is kept."""
    before = tokens_of(ROTATING)
    after = tokens_of({"ok": True, "access_token": "xoxe.xoxb-1-d", "token_type": "bot", "expires_in": 43200}, before)
    assert (after.refresh_token.reveal(), after.scopes, after.extra) == ("xoxe-1-b", before.scopes, before.extra)


@pytest.mark.parametrize(
    ("document", "status", "error"),
    [
        ({"ok": False, "error": "invalid_client_id"}, 200, ClientRejectedError),
        ({"ok": False, "error": "bad_client_secret"}, 200, ClientRejectedError),
        ({"ok": False, "error": "bad_redirect_uri"}, 200, ClientRejectedError),
        ({"ok": False, "error": "invalid_team_for_non_distributed_app"}, 200, ClientRejectedError),
        ({"ok": False, "error": "invalid_code"}, 200, ReauthorizationRequiredError),
        ({"ok": False, "error": "code_already_used"}, 200, ReauthorizationRequiredError),
        ({"ok": False, "error": "invalid_refresh_token"}, 200, ReauthorizationRequiredError),
        ({"error": "invalid_grant"}, 400, ReauthorizationRequiredError),
        ({"ok": False, "error": "token_revoked"}, 200, ReauthorizationRequiredError),
        ({"ok": False, "error": "ratelimited"}, 200, RateLimitedError),
        ({"ok": False, "error": "ratelimited"}, 429, RateLimitedError),
        ({"ok": False, "error": "internal_error"}, 200, ProviderUnavailableError),
        ({}, 503, ProviderUnavailableError),
        ({"ok": False, "error": "some_future_error"}, 200, UnexpectedResponseError),
        ({"ok": True}, 200, UnexpectedResponseError),
        ({"ok": True, "access_token": 7}, 200, UnexpectedResponseError),
        ({"ok": True, "access_token": "x\nInjected: 1"}, 200, UnexpectedResponseError),
        ({"ok": "true", "access_token": "xoxb-1"}, 200, UnexpectedResponseError),
        ([], 200, UnexpectedResponseError),
        (None, 200, UnexpectedResponseError),
    ],
)
def test_a_refusal_is_recognized_by_its_body(document, status, error):
    """Slack refuses with status 200; each code says who must act."""
    with pytest.raises(error) as caught:
        tokens_of(document, status=status)
    assert type(caught.value) is error


def test_a_gateways_page_is_not_a_token_answer():
    """HTML under 200 is unexpected, under 502 a passing error."""
    with pytest.raises(UnexpectedResponseError):
        OAUTH.read_tokens(HttpResponse(status=200, body=b"<html>"), NOW, None)
    with pytest.raises(ProviderUnavailableError):
        OAUTH.read_tokens(HttpResponse(status=502, body=b"<html>"), NOW, None)


@pytest.mark.parametrize("value", [True, "43200 s", -1, 0, 10**400, float("inf"), None, []])
def test_a_lifetime_that_is_none_means_no_expiry(value):
    """Invalid numbers are no error."""
    assert OAUTH.read_tokens(answer({**BOT_ONLY, "expires_in": value}), NOW, None).expires_at is None


WHOAMI = {
    "ok": True,
    "url": "https://acme.slack.com/",
    "team": "Acme",
    "user": "bot",
    "team_id": "T1",
    "user_id": "U0BOT",
    "bot_id": "B1",
    "is_enterprise_install": False,
}


def identify(tokens, whoami=WHOAMI):
    asked = []

    def reply(request):
        asked.append((request.method, request.url))
        return answer(whoami)

    accounts = converse(OAUTH.identify(make_app(), tokens), reply)
    assert asked == [("POST", "https://slack.com/api/auth.test")]
    return accounts


def test_the_account_is_the_workspace():
    """Its id is the team's; the address comes from auth.test; our bot's ids are remembered."""
    (account,) = identify(tokens_of(BOT_ONLY))
    assert account == ExternalAccount(
        id="T1",
        name="Acme",
        url="https://acme.slack.com/",
        metadata={"app_id": "A1", "team_id": "T1", "bot_user_id": "U0BOT", "bot_id": "B1", "user_id": "U1"},
    )
    assert OAUTH.grant_key((account,)) == "slack:T1"


def test_an_organization_wide_install_is_the_organization():
    """`team` is null there."""
    (account,) = identify(tokens_of(ORGANIZATION), {**WHOAMI, "enterprise_id": "E1", "is_enterprise_install": True})
    assert (account.id, account.name) == ("E1", "Acme Org")
    assert account.metadata["is_enterprise_install"] is True


def test_a_user_only_install_has_no_bot_of_its_own():
    """Otherwise the user's messages would count as our bot's and be dropped."""
    (account,) = identify(tokens_of(USER_ONLY), {**WHOAMI, "user_id": "U1", "bot_id": None})
    assert "bot_user_id" not in account.metadata
    assert account.metadata["user_id"] == "U1"


def test_no_workspace_anywhere_is_access_lost():
    """A consent without a workspace gives no connection."""
    tokens = attrs.evolve(tokens_of(BOT_ONLY), extra={})
    with pytest.raises(AccessLostError):
        identify(tokens, {"ok": True})


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        (("channels:history", "channels:read", "users:read"), {"channels:history", "channels:read"}),
        (("channels:read", "user:channels:history"), {"channels:read"}),
        (("user:channels:history", "user:users:read"), {"user:channels:history"}),
        (("groups:history",), set()),
    ],
)
def test_messages_need_their_scopes(asked, needed):
    """Only requested scopes are required."""
    assert OAUTH.required_scopes(make_app(), asked) == needed


def revoke(tokens, replies):
    asked = []

    def reply(request):
        asked.append((request.url.rpartition("/")[2], request.token_name))
        assert 200 in request.expects  # a token that is gone already is not refreshed
        if "uninstall" in request.url:
            assert fields_of(request) == {"client_id": "1.2", "client_secret": "cs-1"}
        return answer(replies[len(asked) - 1])

    converse(OAUTH.revoke(make_app(), tokens), reply)
    return asked


def test_revoking_uninstalls_the_app():
    """Only uninstalling ends events where tokens rotate, so the whole installation is removed."""
    assert revoke(tokens_of(ROTATING), [{"ok": True}]) == [("apps.uninstall", None)]
    assert OAUTH.revocation_scope is RevocationScope.ACCOUNT


@pytest.mark.parametrize("code", ["token_revoked", "account_inactive", "invalid_auth"])
def test_a_token_that_is_gone_already_counts_as_revoked(code):
    """Disconnecting twice is no failure."""
    assert revoke(tokens_of(BOT_ONLY), [{"ok": False, "error": code}]) == [("apps.uninstall", None)]


def test_where_slack_refuses_to_uninstall_every_token_is_revoked():
    """The bot's and the user's, each by itself."""
    refused = {"ok": False, "error": "not_allowed_token_type"}
    asked = revoke(tokens_of(ROTATING), [refused, {"ok": True, "revoked": True}, {"ok": True, "revoked": True}])
    assert asked == [("apps.uninstall", None), ("auth.revoke", None), ("auth.revoke", "user")]
    with pytest.raises(UnexpectedResponseError):
        revoke(tokens_of(BOT_ONLY), [refused, refused])


def test_a_missing_scope_says_which():
    """The details carry Slack's own words."""
    with pytest.raises(InsufficientScopeError) as caught:
        identify(
            TokenSet(access_token=Secret("x")),
            {"ok": False, "error": "missing_scope", "needed": "team:read", "provided": "channels:read"},
        )
    assert caught.value.details == ({"needed": "team:read", "provided": "channels:read"},)
