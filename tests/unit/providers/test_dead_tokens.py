"""Which answers of each vendor mean that an access token is dead, and which do not."""

import json

import attrs
import pytest
from tests.support.builders import NOW

from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.provider_api import MemoryProviderApi
from connectors.domain.flows.provider_access.conversations import Converser
from connectors.domain.model.errors import (
    InsufficientScopeError,
    ProviderFailedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import HttpRequest, HttpResponse
from connectors.domain.model.ids import ProviderSlug
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.providers.registry import installed_providers
from connectors.domain.providers.slack.limits import GRANT_IS_DEAD, TOKEN_EXPIRED, read_answer

GOOGLE = ("google-drive", "google-calendar", "gmail")
ZOHO = ("zoho-mail", "zoho-cliq")


def says(status, document):
    return HttpResponse(status=status, body=document if isinstance(document, bytes) else json.dumps(document).encode())


def google(status, reason):
    return says(status, {"error": {"code": status, "errors": [{"reason": reason, "location": "Authorization"}]}})


DEAD = [
    ("github", says(401, {"message": "Bad credentials"})),
    ("jira", says(401, {"code": 401, "message": "Unauthorized"})),
    ("jira", says(401, b"<html>Unauthorized</html>")),
    *(("slack", says(200, {"ok": False, "error": code})) for code in sorted({TOKEN_EXPIRED, *GRANT_IS_DEAD})),
    ("slack", says(401, b"")),
    *((slug, google(401, "authError")) for slug in GOOGLE),
    *((slug, says(401, b"")) for slug in GOOGLE + ZOHO),
    ("zoho-mail", says(401, {"status": {"code": 401}, "data": {"errorCode": "INVALID_OAUTHTOKEN"}})),
    ("zoho-mail", says(200, {"status": {"code": 401}, "data": {"errorCode": "INVALID_OAUTHTOKEN"}})),
    ("zoho-mail", says(400, {"status": {"code": 400}, "data": {"errorCode": "INVALID_OAUTHTOKEN"}})),
    ("zoho-cliq", says(401, {"code": "oauthtoken_invalid", "message": "Invalid token"})),
    ("zoho-cliq", says(400, {"code": "oauthtoken_expired"})),
    ("zoho-cliq", says(401, {"message": "Request was rejected because of invalid AuthToken."})),
]
LIVING = [
    ("github", says(403, {"message": "Resource not accessible by integration"})),
    ("github", says(404, {"message": "Not Found"})),
    ("jira", says(401, {"code": 401, "message": "Unauthorized; scope does not match"})),
    ("jira", says(403, {})),
    *(
        ("slack", says(200, {"ok": False, "error": code}))
        for code in ("missing_scope", "not_in_channel", "access_denied", "ratelimited", "internal_error")
    ),
    *((slug, google(403, "insufficientPermissions")) for slug in GOOGLE),
    *((slug, google(403, "rateLimitExceeded")) for slug in GOOGLE),
    ("zoho-mail", says(401, {"status": {"code": 401}, "data": {"errorCode": "INVALID_OAUTHSCOPE"}})),
    ("zoho-mail", says(404, {"status": {"code": 404}, "data": {"errorCode": "URL_RULE_NOT_CONFIGURED"}})),
    ("zoho-cliq", says(401, {"code": "oauthtoken_scope_invalid"})),
    ("zoho-cliq", says(400, {"code": "too_many_requests", "message": "Too many requests"})),
]
PROVIDERS = {str(one.slug): one for one in installed_providers()}


def named(rows):
    return [pytest.param(*row, id=f"{row[0]}-{row[1].status}-{number}") for number, row in enumerate(rows)]


def app_of(provider):
    return ProviderApp(
        provider=ProviderSlug(provider.slug),
        client_id="client",
        client_secret=Secret("secret"),
        options=provider.read_options({}),
    )


@attrs.define
class Tokens:
    """Tokens that cannot be refreshed."""

    dead: list = attrs.field(factory=list)

    def current(self):
        return TokenSet(access_token=Secret("token"), extra={"location": "us"})

    def refreshed(self, stale):
        return None

    def mark_dead(self, refused, reason):
        self.dead.append(reason)
        return True


class Vendor:
    """Gives its first answer to the first request, and `proof` to all later ones but those for the same address."""

    def __init__(self, first, proof):
        self.first, self.proof, self.url = first, proof, None

    def __call__(self, request):
        self.url = self.url or request.url
        return self.first if request.url == self.url else self.proof


def ask(slug, answer, proof):
    """Ask something with a token that cannot be refreshed; what was recorded as dead."""
    provider, tokens = PROVIDERS[slug], Tokens()
    app = app_of(provider)
    converser = Converser(api=MemoryProviderApi(Vendor(answer, proof)), clock=ManualClock(NOW))

    def talk():
        yield HttpRequest(method="GET", url=f"{min(provider.allowed_origins(app))}/something")

    with pytest.raises(ProviderFailedError) as caught:
        converser.run(provider, app, talk(), tokens)
    return caught.value, tokens.dead


def test_every_provider_is_in_both_tables():
    """None is forgotten."""
    assert {slug for slug, _ in DEAD} == {slug for slug, _ in LIVING} == set(PROVIDERS)


@pytest.mark.parametrize(("slug", "answer"), named(DEAD))
def test_an_answer_about_a_dead_token_is_believed_with_proof(slug, answer):
    """If the identity call answers the same, the death is recorded."""
    error, dead = ask(slug, answer, answer)
    assert isinstance(error, ReauthorizationRequiredError)
    assert dead == [f"{PROVIDERS[slug].name} does not accept the access token any more."]


@pytest.mark.parametrize(("slug", "answer"), named(DEAD))
def test_an_answer_about_a_dead_token_is_not_believed_against_proof(slug, answer):
    """If the identity call answers otherwise, the error is about the address alone."""
    error, dead = ask(slug, answer, says(200, {"ok": True}))
    assert isinstance(error, UnexpectedResponseError)
    assert dead == []


@pytest.mark.parametrize(("slug", "answer"), named(LIVING))
def test_other_refusals_say_nothing_about_the_token(slug, answer):
    """Limits, scopes and missing permissions are not taken for a dead token, and never lead to a refresh."""
    provider = PROVIDERS[slug]
    assert not provider.limits.is_unauthorized(answer)
    if answer.status >= 400:
        error = provider.limits.read_failure(HttpRequest(method="GET", url="https://x.test/"), answer, NOW)
        assert isinstance(error, InsufficientScopeError) or not isinstance(error, ReauthorizationRequiredError)


@pytest.mark.parametrize("code", sorted({TOKEN_EXPIRED, *GRANT_IS_DEAD}))
def test_slack_says_with_status_200_that_a_token_is_dead(code):
    """What the package reads as a dead token is what the rule for dead tokens looks for."""
    answer = says(200, {"ok": False, "error": code})
    with pytest.raises(ReauthorizationRequiredError):
        read_answer(answer)
    assert PROVIDERS["slack"].limits.is_unauthorized(answer)
