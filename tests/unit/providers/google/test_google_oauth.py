"""Google's OAuth, which the three providers share."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.google import (
    BASE,
    DANA,
    NOW,
    Google,
    converse,
    error_reply,
    make_app,
    reply,
    script,
)

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.contract import AuthorizationParams, RevocationScope
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

PROVIDERS = [GOOGLE_DRIVE, GOOGLE_CALENDAR, GMAIL]
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
METADATA = "https://www.googleapis.com/auth/drive.metadata.readonly"

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.slug)


@each_provider
def test_authorize_url_asks_for_offline_access_and_fresh_consent(provider):
    """Every parameter that a refresh token and S256 depend on is in the URL, and identity is always asked for."""
    params = AuthorizationParams(
        state="st", redirect_uri="https://core.example/cb?a=b", scopes=("s1",), code_challenge="c" * 43
    )
    url = provider.oauth.authorize_url(make_app(provider), params)
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "accounts.google.com", "/o/oauth2/v2/auth")
    assert query == {
        "client_id": "sandbox-google.apps.googleusercontent.com",
        "redirect_uri": "https://core.example/cb?a=b",
        "response_type": "code",
        "scope": "s1 openid email",
        "access_type": "offline",
        "prompt": "consent",
        "state": "st",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }


@each_provider
def test_providers_share_settings_and_what_a_revocation_ends(provider):
    """Each provider falls back to the Google settings, uses PKCE, and revokes all of the user's grants at once."""
    assert provider.settings_prefixes == ("GOOGLE",)
    assert provider.oauth.pkce
    assert provider.oauth.revocation_scope is RevocationScope.ACCOUNT


@each_provider
def test_only_google_and_the_base_url_are_called(provider):
    """Without a base URL only Google's API hosts are allowed, with one only that."""
    assert provider.allowed_origins(make_app(provider)) == {
        "https://oauth2.googleapis.com",
        "https://openidconnect.googleapis.com",
        "https://www.googleapis.com",
        "https://gmail.googleapis.com",
    }
    assert provider.allowed_origins(make_app(provider, base_url="http://127.0.0.1:9/google/")) == {"http://127.0.0.1:9"}


def test_aliases_of_scopes_are_one_scope():
    """`email` is granted under its long name, in any order, and counts as granted."""
    answer = reply({"access_token": "ya29.x", "scope": f"{EMAIL} {METADATA} openid", "expires_in": 3599})
    granted = GOOGLE_DRIVE.oauth.read_tokens(answer, NOW, None).scopes
    required = GOOGLE_DRIVE.oauth.required_scopes(make_app(GOOGLE_DRIVE), (METADATA, "openid", "email", "profile"))
    assert required == {METADATA, EMAIL}
    assert required - set(granted) == set()


def test_an_unticked_permission_is_missed():
    """On the consent page a scope was unticked: it is among the required ones and not among the granted."""
    google = Google.new()
    tokens = google.sign_in(GOOGLE_DRIVE, extra="&sandbox_scopes=openid")
    required = GOOGLE_DRIVE.oauth.required_scopes(make_app(GOOGLE_DRIVE), (METADATA, "openid", "email"))
    assert required - set(tokens.scopes) == {METADATA}


def test_tokens_are_read_with_their_ends():
    """Expiries count from the answer's arrival, the refresh token's too."""
    answer = {
        "access_token": "ya29.x",
        "expires_in": 3920,
        "refresh_token": "1//0g",
        "scope": "openid",
        "refresh_token_expires_in": 604_799,
        "id_token": "a.b.c",
    }
    tokens = GMAIL.oauth.read_tokens(reply(answer), NOW, None)
    assert tokens.expires_at == NOW + timedelta(seconds=3920)
    assert tokens.refresh_expires_at == NOW + timedelta(seconds=604_799)
    assert tokens.refresh_token.reveal() == "1//0g"
    assert "ya29" not in repr(tokens)


def test_a_refresh_keeps_what_its_answer_leaves_out():
    """Google does not rotate: refresh token, its end, and scopes stay as they were."""
    old = TokenSet(
        access_token=Secret("old"),
        refresh_token=Secret("1//keep"),
        scopes=("openid",),
        refresh_expires_at=NOW + timedelta(days=5),
        extra={"a": 1},
    )
    tokens = GMAIL.oauth.read_tokens(reply({"access_token": "ya29.new", "expires_in": 3599}), NOW, old)
    assert tokens.access_token.reveal() == "ya29.new"
    assert tokens.refresh_token.reveal() == "1//keep"
    assert (tokens.scopes, tokens.refresh_expires_at, tokens.extra) == (
        old.scopes,
        old.refresh_expires_at,
        old.extra,
    )


def test_a_refresh_token_that_does_appear_is_kept():
    """If Google ever rotates refresh tokens, the new one is used."""
    old = TokenSet(access_token=Secret("old"), refresh_token=Secret("1//old"))
    tokens = GMAIL.oauth.read_tokens(reply({"access_token": "n", "refresh_token": "1//new"}), NOW, old)
    assert tokens.refresh_token.reveal() == "1//new"


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (400, {"error": "invalid_grant", "error_description": "Bad Request"}, ReauthorizationRequiredError),
        (400, {"error": "invalid_grant", "error_subtype": "invalid_rapt"}, ReauthorizationRequiredError),
        (400, {"error": "admin_policy_enforced"}, ReauthorizationRequiredError),
        (400, {"error": "redirect_uri_mismatch"}, ClientRejectedError),
        (401, {"error": "invalid_client"}, ClientRejectedError),
        (401, {"error": "something_new"}, ClientRejectedError),
        (400, {"error": "unauthorized_client"}, ClientRejectedError),
        (400, {"error": "unsupported_grant_type"}, UnexpectedResponseError),
        (400, {"error": "invalid_request"}, UnexpectedResponseError),
        (400, {"error": {"nested": True}}, UnexpectedResponseError),
        (400, ["what"], UnexpectedResponseError),
        (400, {"error": "temporarily_unavailable"}, ProviderUnavailableError),
        (500, {"error": "internal_failure"}, ProviderUnavailableError),
        (503, None, ProviderUnavailableError),
        (429, {"error": "rate_limit"}, RateLimitedError),
        (200, {"token_type": "Bearer"}, UnexpectedResponseError),
        (200, {"access_token": "with space"}, UnexpectedResponseError),
        (200, {"access_token": 7}, UnexpectedResponseError),
        (200, ["access_token"], UnexpectedResponseError),
    ],
)
def test_refusals_of_the_token_endpoint_name_who_must_act(status, document, expected):
    """Each refusal becomes the error of whoever can fix it, and none quotes the answer's text."""
    with pytest.raises(expected) as caught:
        GMAIL.oauth.read_tokens(reply(document, status=status), NOW, None)
    assert type(caught.value) is expected
    assert "Bad Request" not in str(caught.value)


@pytest.mark.parametrize("seconds", [-1, "x", None, True, 10**30, -1.5, [], 1e400])
def test_a_senseless_lifetime_is_no_lifetime(seconds):
    """What cannot be a number of seconds leaves the end unknown."""
    tokens = GMAIL.oauth.read_tokens(reply({"access_token": "t", "expires_in": seconds}), NOW, None)
    assert tokens.expires_at is None


def test_html_instead_of_json_from_the_token_endpoint_is_unexpected():
    """A gateway's page is no token."""
    with pytest.raises(UnexpectedResponseError):
        GMAIL.oauth.read_tokens(reply(body=b"<html>"), NOW, None)


def test_the_account_is_known_by_its_sub():
    """The stable id keys the account; the address is kept in lower case beside it."""
    answer = script(reply({"sub": "1098", "email": "Dana@X.com", "email_verified": True, "hd": "x.com"}))
    (account,) = converse(
        GOOGLE_DRIVE, GOOGLE_DRIVE.oauth.identify(make_app(GOOGLE_DRIVE), TokenSet(access_token=Secret("t"))), answer
    )
    assert (account.id, account.name) == ("1098", "Dana@X.com")
    assert account.metadata == {"email": "dana@x.com", "email_verified": True, "hosted_domain": "x.com"}
    assert GOOGLE_DRIVE.oauth.grant_key([account]) == "google:1098"
    assert answer.asked[0].url == "https://openidconnect.googleapis.com/v1/userinfo"


@pytest.mark.parametrize("document", [{}, {"sub": 7}, {"sub": ""}, {"sub": "x" * 2000}, {"sub": None}])
def test_an_account_without_sub_is_no_account(document):
    """Nothing else replaces the stable id."""
    conversation = GOOGLE_DRIVE.oauth.identify(make_app(GOOGLE_DRIVE), TokenSet(access_token=Secret("t")))
    with pytest.raises(AccessLostError):
        converse(GOOGLE_DRIVE, conversation, script(reply(document)))


def test_gmail_routes_by_the_address_of_its_profile():
    """The mailbox's own address, in lower case, is what pushes will name."""
    answer = script(reply({"sub": "1", "email": "alias@x.com"}), reply({"emailAddress": "Dana@X.com"}))
    (account,) = converse(GMAIL, GMAIL.oauth.identify(make_app(GMAIL), TokenSet(access_token=Secret("t"))), answer)
    assert account.metadata["email"] == "dana@x.com"
    assert answer.asked[1].url == "https://gmail.googleapis.com/gmail/v1/users/me/profile"


def test_an_account_without_mailbox_cannot_be_connected():
    """An account without mail service is refused, instead of becoming a connection that never works."""
    answer = script(reply({"sub": "1"}), error_reply(400, "failedPrecondition"))
    with pytest.raises(AccessLostError):
        converse(GMAIL, GMAIL.oauth.identify(make_app(GMAIL), TokenSet(access_token=Secret("t"))), answer)


@pytest.mark.parametrize("status", [200, 400])
def test_revoking_what_is_gone_is_success(status):
    """The refresh token is revoked without a bearer; 400 means that it was invalid already."""
    answer = script(reply({}, status=status))
    tokens = TokenSet(access_token=Secret("a"), refresh_token=Secret("r&="))
    converse(GMAIL, GMAIL.oauth.revoke(make_app(GMAIL), tokens), answer)
    request = answer.asked[0]
    assert (request.url, request.body) == ("https://oauth2.googleapis.com/revoke", b"token=r%26%3D")
    assert request.authorization is Authorization.NONE


def test_revocation_ends_the_users_other_products_at_the_sandbox():
    """The sandbox behaves as Google does: revoking one product's token ends the other's."""
    google = Google.new()
    drive = google.sign_in(GOOGLE_DRIVE)
    mail = google.sign_in(GMAIL)
    assert drive.refresh_token is not None
    converse(GMAIL, GMAIL.oauth.revoke(make_app(GMAIL, base_url=BASE), mail), google.send)
    google.token = drive.access_token.reveal()
    conversation = GOOGLE_DRIVE.oauth.identify(make_app(GOOGLE_DRIVE, base_url=BASE), drive)
    with pytest.raises(ReauthorizationRequiredError):
        converse(GOOGLE_DRIVE, conversation, google.send)


def test_nobody_logs_in_twice_by_one_name():
    """Two consents of one user are one grant key; another user's is another."""
    google = Google.new()
    keys = [google.connect(GOOGLE_CALENDAR, email).connection.account.id for email in (DANA, DANA, "lee@y.com")]
    assert keys[0] == keys[1] != keys[2]


def test_base_url_carries_every_endpoint():
    """With a base URL no endpoint is at Google's hosts."""
    app = make_app(GMAIL, base_url=BASE + "/")
    params = AuthorizationParams(state="s", redirect_uri="https://c", scopes=())
    assert GMAIL.oauth.authorize_url(app, params).startswith(BASE + "/o/oauth2/v2/auth?")
    assert GMAIL.oauth.token_endpoint(app, {}).url == BASE + "/token"
    assert next(GMAIL.oauth.revoke(app, TokenSet(access_token=Secret("a")))).url == BASE + "/revoke"
