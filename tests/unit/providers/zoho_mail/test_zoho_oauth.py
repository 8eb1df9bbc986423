"""Consent, data centres and tokens, for both Zoho providers: hostile redirects, and the meaning of answers."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from tests.support.zoho import NOW, hold, make_app, make_connection, reply, script

from connectors.domain.model.errors import (
    AccessLostError,
    ClientRejectedError,
    ForbiddenHostError,
    InsufficientScopeError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest, origin_of
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers._zoho import data_centres, oauth
from connectors.domain.providers._zoho.data_centres import DATA_CENTRES
from connectors.domain.providers.contract import AuthorizationParams
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL

BOTH = pytest.mark.parametrize("provider", [ZOHO_MAIL, ZOHO_CLIQ], ids=lambda one: one.slug)
EU_TOKEN_URL = "https://accounts.zoho.eu/oauth/v2/token"
BASE = "http://127.0.0.1:9100/zoho"
OLD = TokenSet(
    access_token=Secret("old"),
    refresh_token=Secret("1000.refresh"),
    scopes=("A.READ",),
    extra={"location": "eu", "api_domain": "https://www.zohoapis.eu"},
)


# --- consent -----------------------------------------------------------------------------------------------------------


@BOTH
def test_authorize_url(provider):
    """Consent begins in the home data centre; scopes are joined by commas, and identity is always among them."""
    params = AuthorizationParams(
        state="s&t", redirect_uri="https://core/cb", scopes=("A.READ",), code_challenge="c" * 43
    )
    parts = urlsplit(provider.oauth.authorize_url(make_app(options={"data_center": "IN"}), params))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://accounts.zoho.in/oauth/v2/auth"
    assert {name: values[0] for name, values in parse_qs(parts.query).items()} == {
        "response_type": "code",
        "client_id": "1000.CLIENT",
        "redirect_uri": "https://core/cb",
        "scope": "A.READ,AaaServer.profile.READ",
        "access_type": "offline",
        "prompt": "consent",
        "state": "s&t",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }


# --- data centres ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("location", DATA_CENTRES)
def test_every_row_of_the_table_is_accepted(provider, location):
    """A redirect that names a row of the table decides where the code is sent, and later the refresh token."""
    accounts = DATA_CENTRES[location].accounts
    for params in (
        {"location": location, "accounts-server": accounts},
        {"accounts-server": accounts + "/"},
        {"location": location, "api_domain": "https://evil.example"},
    ):
        call = provider.oauth.token_endpoint(make_app(), params)
        assert call.url == accounts + "/oauth/v2/token"
        assert origin_of(call.url) in provider.allowed_origins(make_app())


def test_canada_is_not_zoho_ca():
    """The table is fixed: no host is built from a top-level domain."""
    assert DATA_CENTRES["ca"].mail == "https://mail.zohocloud.ca"
    assert "https://mail.zoho.ca" not in ZOHO_MAIL.allowed_origins(make_app())


HOSTILE = [
    {"accounts-server": "https://evil.example"},
    {"accounts-server": "https://accounts.zoho.eu.evil.example", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu@evil.example", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu/../evil", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu?", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu#", "location": "eu"},
    {"accounts-server": "http://accounts.zoho.eu", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu:444", "location": "eu"},
    {"accounts-server": "https://ACCOUNTS.zoho.eu", "location": "eu"},
    {"accounts-server": " https://accounts.zoho.eu", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.ca", "location": "ca"},
    {"accounts-server": "https://accounts.z\u043eho.eu", "location": "eu"},
    {"accounts-server": "//accounts.zoho.eu", "location": "eu"},
    {"accounts-server": "https://169.254.169.254", "location": "eu"},
    {"accounts-server": "http://127.0.0.1:9100/zoho/eu/accounts", "location": "eu"},
    {"accounts-server": "", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.com", "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu", "location": "us"},
    {"accounts-server": "https://accounts.zoho.eu", "location": "EU"},
    {"accounts-server": "https://accounts.zoho.eu", "location": ""},
    {"location": "evil.example"},
    {"location": "../x"},
    {"location": "mars"},
    {"accounts-server": 7, "location": "eu"},
    {"accounts-server": "https://accounts.zoho.eu", "location": ["eu"]},
]


@BOTH
@pytest.mark.parametrize("base_url", [None, BASE])
@pytest.mark.parametrize("params", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_redirect_gets_no_secret(provider, params, base_url):
    """An accounts server that is not the row of its location is refused before anything is sent."""
    if base_url and params.get("accounts-server") == f"{BASE}/eu/accounts":
        params = {**params, "accounts-server": "http://127.0.0.1:9101/zoho/eu/accounts"}
    with pytest.raises(ForbiddenHostError) as caught:
        provider.oauth.token_endpoint(make_app(base_url=base_url), params)
    assert "evil" not in caught.value.message


def test_below_a_base_url_the_rows_are_its_own():
    """With a base URL every row is below it, and Zoho's hosts are not called."""
    app = make_app(base_url=BASE + "/")
    call = oauth.token_endpoint(app, {"location": "eu", "accounts-server": f"{BASE}/eu/accounts"})
    assert call.url == f"{BASE}/eu/accounts/oauth/v2/token"
    assert ZOHO_MAIL.allowed_origins(app) == ZOHO_CLIQ.allowed_origins(app) == {"http://127.0.0.1:9100"}
    with pytest.raises(ForbiddenHostError):
        oauth.token_endpoint(app, {"location": "eu", "accounts-server": "https://accounts.zoho.eu"})


@pytest.mark.parametrize(
    ("api_domain", "location"),
    [
        ("https://www.zohoapis.eu", "eu"),
        ("https://api.zoho.eu", "eu"),
        ("https://api.zoho.com.au", "au"),
        ("https://www.zohoapis.com.au", "au"),
        ("https://www.zohoapis.ca", "ca"),
        ("https://evil-zohoapis.eu", None),
        ("https://zohoapis.eu.evil", None),
        ("https://[", None),
        (None, None),
        (7, None),
    ],
)
def test_api_domain_is_mapped_by_suffix(api_domain, location):
    """`api_domain` only says which row it is."""
    assert data_centres.location_of_api_domain(api_domain) == location


# --- tokens ------------------------------------------------------------------------------------------------------------


def read(document, status=200, previous=None, url=EU_TOKEN_URL, **headers):
    return oauth.read_tokens(reply(document, status, url, **headers), NOW, previous)


def test_an_exchange():
    """The set's data centre is that of the server that answered."""
    tokens = read(
        {"access_token": "a", "refresh_token": "r", "scope": "A.READ B.READ,C.READ", "expires_in": 3600,
         "api_domain": "https://www.zohoapis.eu", "token_type": "Bearer"}
    )  # fmt: skip
    assert (tokens.access_token.reveal(), tokens.refresh_token.reveal()) == ("a", "r")
    assert tokens.scopes == ("A.READ", "B.READ", "C.READ")
    assert tokens.expires_at == NOW + timedelta(hours=1)
    assert tokens.extra == {"location": "eu", "api_domain": "https://www.zohoapis.eu"}


def test_a_refresh_merges():
    """What the answer omits is kept: the refresh token, the scopes, the data centre."""
    tokens = read({"access_token": "new", "expires_in": 3600}, previous=OLD, url="https://elsewhere")
    assert (tokens.refresh_token.reveal(), tokens.scopes, tokens.extra) == ("1000.refresh", OLD.scopes, OLD.extra)
    moved = read({"access_token": "new", "api_domain": "https://www.zohoapis.com"}, previous=OLD)
    assert moved.extra["location"] == "eu"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"expires_in": 3600}, 3600),
        ({"expires_in": 3_600_000}, 3600),
        ({"expires_in": "3600"}, 3600),
        ({"expires_in_sec": 3600, "expires_in": 3_600_000}, 3600),
        ({"expires_in": 10**30}, None),
        ({"expires_in": 10**400}, None),
        ({"expires_in": -1}, None),
        ({"expires_in": True}, None),
        ({"expires_in": None}, None),
        ({}, None),
    ],
)
def test_expiry(fields, seconds):
    """Milliseconds of old answers are recognized by their size; invalid values are no expiry."""
    expires_at = read({"access_token": "a", **fields}).expires_at
    assert expires_at == (None if seconds is None else NOW + timedelta(seconds=seconds))


THROTTLE = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"error": "invalid_code"}, ReauthorizationRequiredError),
        ({"error": "invalid_grant"}, ReauthorizationRequiredError),
        ({"error": "invalid_client"}, ClientRejectedError),
        ({"error": "invalid_client_secret"}, ClientRejectedError),
        ({"error": "invalid_redirect_uri"}, ClientRejectedError),
        ({"error": "general_error"}, ProviderUnavailableError),
        ({"error": "server_error"}, ProviderUnavailableError),
        (THROTTLE, RateLimitedError),
        ({"error": "access_denied"}, RateLimitedError),
        ({"error": "something_new"}, UnexpectedResponseError),
        ({"error": {"deep": []}}, UnexpectedResponseError),
        ({"error": "invalid_code", "access_token": "a"}, ReauthorizationRequiredError),
        ({}, UnexpectedResponseError),
        ({"access_token": ""}, UnexpectedResponseError),
        ({"access_token": "a b"}, UnexpectedResponseError),
        ({"access_token": ["a"]}, UnexpectedResponseError),
        (b"<html>", UnexpectedResponseError),
        (b"[]", UnexpectedResponseError),
        (b"", UnexpectedResponseError),
    ],
)
def test_token_errors_whatever_the_status(document, error, status):
    """Errors come with 200 as with 400; a throttle is never a dead grant."""
    with pytest.raises(error) as caught:
        read(document, status, previous=OLD)
    assert type(caught.value) is error
    if error is RateLimitedError:
        assert caught.value.retry_at == NOW + timedelta(minutes=10)


def test_statuses_of_the_token_endpoint():
    """5xx is an error on Zoho's side, 429 a throttle that may say when it ends."""
    with pytest.raises(ProviderUnavailableError):
        read(b"<html>", 502)
    with pytest.raises(RateLimitedError) as caught:
        read({}, 429, retry_after="30")
    assert caught.value.retry_at == NOW + timedelta(seconds=30)


def test_an_answer_from_nowhere_is_no_token():
    """A set without a data centre would be sent to the wrong one."""
    with pytest.raises(UnexpectedResponseError):
        read({"access_token": "a"}, url="https://evil.example/oauth/v2/token")


def test_refresh_tokens_never_rotate():
    """A lost answer costs nothing: the refresh token may always be sent again."""
    assert ZOHO_MAIL.oauth.reuse_window is ZOHO_CLIQ.oauth.reuse_window is None


def test_the_header_is_zohos_own():
    """API calls carry Zoho's scheme."""
    assert ZOHO_MAIL.authorization_header(Secret("t")) == "Zoho-oauthtoken t"


# --- identity and revocation -------------------------------------------------------------------------------------------

USER = {"First_Name": "Scott", "Last_Name": "Fisher", "Email": "Scott@zylker.com", "ZUID": 680463218}
MAILBOXES = {
    "status": {"code": 200},
    "data": [
        {"accountId": "1", "type": "IMAP_ACCOUNT"},
        {"accountId": "2560636000000008002", "zuid": 680463218, "type": "ZOHO_ACCOUNT",
         "primaryEmailAddress": "Scott@zylker.com", "emailAddress": [{"mailId": "S@zylker.com"}, 7]},
    ],
}  # fmt: skip


def test_mail_identity():
    """The account is the mailbox's id; the grant is the user's, in the user's data centre."""
    answer, asked = script(reply(USER), reply(MAILBOXES))
    (account,) = hold(ZOHO_MAIL, ZOHO_MAIL.oauth.identify(make_app(), OLD), answer)
    assert [one.url for one in asked] == [
        "https://accounts.zoho.eu/oauth/user/info",
        "https://mail.zoho.eu/api/accounts",
    ]
    assert (account.id, account.name) == ("2560636000000008002", "scott@zylker.com")
    assert account.metadata["aliases"] == ["s@zylker.com"]
    assert ZOHO_MAIL.oauth.grant_key([account]) == "zoho:eu:680463218"


def test_cliq_identity():
    """The account is data centre and ZUID."""
    answer, _ = script(reply(USER))
    (account,) = hold(ZOHO_CLIQ, ZOHO_CLIQ.oauth.identify(make_app("zoho-cliq"), OLD), answer)
    assert account.id == "eu:680463218"
    assert ZOHO_CLIQ.oauth.grant_key([account]) == "zoho:eu:680463218"


@pytest.mark.parametrize("user", [{}, {"ZUID": None}, {"ZUID": ""}, {"ZUID": []}])
def test_a_user_without_id(user):
    """Without a ZUID there is no account."""
    with pytest.raises(AccessLostError):
        hold(ZOHO_CLIQ, ZOHO_CLIQ.oauth.identify(make_app(), OLD), script(reply(user))[0])


def test_cliq_has_no_known_host_in_the_emirates():
    """A data centre without a confirmed host is refused instead of guessed."""
    tokens = attrs.evolve(OLD, extra={"location": "ae"})
    with pytest.raises(ForbiddenHostError):
        hold(ZOHO_CLIQ, ZOHO_CLIQ.oauth.identify(make_app(), tokens), script(reply(USER))[0])


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([reply({"status": "success"})], 1),
        ([reply({}, 400), reply({"status": "success"})], 2),
        ([reply({}, 404), reply({}, 400)], 2),
        ([reply(b"<html>", 200), reply({})], 2),
    ],
)
def test_revocation(answers, calls):
    """The older endpoint is called, then the newer; a token that neither knows is gone. It is never in a URL."""
    answer, asked = script(*answers)
    hold(ZOHO_MAIL, ZOHO_MAIL.oauth.revoke(make_app(), OLD), answer)
    assert len(asked) == calls
    assert asked[0].url == "https://accounts.zoho.eu/oauth/v2/token/revoke"
    assert asked[0].authorization is Authorization.NONE
    assert all("1000.refresh" not in one.url and b"1000.refresh" in one.body for one in asked)


def test_a_connection_without_data_centre_calls_nobody():
    """Without a data centre in the metadata no call is made."""
    broken = make_connection(account=attrs.evolve(make_connection().account, metadata={"location": "evil.example"}))
    with pytest.raises(ForbiddenHostError):
        data_centres.api_url(make_app(), broken, data_centres.Product.MAIL)


# --- refusals ----------------------------------------------------------------------------------------------------------

REQUEST = HttpRequest(method="GET", url="https://mail.zoho.eu/api/accounts")


def mail_error(code, more="", status=401):
    return {"status": {"code": status, "description": "x"}, "data": {"errorCode": code, "moreInfo": more}}


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (401, mail_error("INVALID_OAUTHTOKEN"), ReauthorizationRequiredError),
        (401, b"", ReauthorizationRequiredError),
        (401, {"code": "oauthtoken_invalid", "message": "x"}, ReauthorizationRequiredError),
        (401, mail_error("INVALID_OAUTHSCOPE"), InsufficientScopeError),
        (403, {"code": "oauthtoken_scope_invalid", "message": "x"}, InsufficientScopeError),
        (404, mail_error("URL_RULE_NOT_CONFIGURED"), InsufficientScopeError),
        (403, {"message": "does not have enough permission"}, AccessLostError),
        (404, mail_error("X", "Account id 5 is invalid"), AccessLostError),
        (404, {"code": "chat_not_found"}, AccessLostError),
        (400, {"message": "We couldn't process your request due to a technical error"}, AccessLostError),
        (404, b"<html>another site</html>", UnexpectedResponseError),
        (500, mail_error("INTERNAL"), ProviderUnavailableError),
        (502, b"<html>", ProviderUnavailableError),
        (429, b"", RateLimitedError),
        (429, {"error": {"code": "rate_limit_exceeded"}}, RateLimitedError),
        (400, {"message": "You have exceeded the URL throttle limits."}, RateLimitedError),
        (400, mail_error("X", "Too many requests"), RateLimitedError),
        (405, {"code": "INVALID_METHOD"}, UnexpectedResponseError),
        (418, [], UnexpectedResponseError),
    ],
)
def test_refusals(status, document, error):
    """Status and body together say what is wrong; Zoho's words are never repeated."""
    found = ZOHO_MAIL.limits.read_failure(REQUEST, reply(document, status), NOW)
    assert type(found) is error
    assert "technical" not in found.message


def test_a_refusal_under_200():
    """Mail may report a failing status only in its body."""
    limits = ZOHO_MAIL.limits
    assert limits.is_unauthorized(reply(mail_error("INVALID_OAUTHTOKEN")))
    assert not limits.is_unauthorized(reply(mail_error("INVALID_OAUTHSCOPE")))
    assert not limits.is_unauthorized(reply({"status": {"code": 200}, "data": []}))
    throttled = reply(mail_error("X", "throttle", 429))
    assert limits.read_throttle(throttled, NOW).retry_at == NOW + timedelta(minutes=15)
    assert limits.read_throttle(reply({"status": {"code": 200}, "data": []}), NOW) is None


@BOTH
def test_no_description_of_the_setup_lacks_its_url(provider):
    """The manual setup text contains the URL."""
    assert "{webhook_url}" in provider.webhooks.manual_setup
    assert provider.webhooks.success_status == 200
