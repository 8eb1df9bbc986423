"""Conversations with providers: which hosts they call, with which token, and how often they retry."""

import base64
import contextlib
from datetime import timedelta

import attrs
import pytest

from connectors.adapters.memory import MemoryDatabase, memory_unit_of_work
from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.provider_api import MemoryProviderApi
from connectors.domain.flows.provider_access.conversations import RETRY_PAUSES, Converser, FixedTokens
from connectors.domain.flows.provider_access.rate_limits import RateLimiter
from connectors.domain.model.errors import (
    ForbiddenHostError,
    ProviderUnavailableError,
    RateLimitedError,
    ReauthorizationRequiredError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest, HttpResponse
from connectors.domain.model.limits import LimitScope
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.model.secret import Secret
from connectors.ports.telemetry import NullTelemetry
from tests.support.builders import NOW
from tests.support.provider import ACME, HOST, SLUG
from tests.support.vendor import answer

TOKENS = TokenSet(access_token=Secret("old"), companions={"user": TokenSet(access_token=Secret("user-token"))})
NEW = TokenSet(access_token=Secret("new"))
APP = ProviderApp(provider=SLUG, client_id="id:with colon", client_secret=Secret("s/e"))


class RefreshableTokens:
    """Tokens that can be refreshed once, unless `renewed` is None."""

    def __init__(self, failure=None, renewed=NEW):
        self.failure = failure
        self.renewed = renewed
        self.stored = TOKENS
        self.refreshes = 0
        self.dead = []

    def current(self):
        return self.stored

    def refreshed(self, stale):
        self.refreshes += 1
        if self.failure is not None:
            raise self.failure
        self.stored = self.renewed or self.stored
        return self.renewed

    def mark_dead(self, refused, reason):
        if refused.access_token.reveal() != self.stored.access_token.reveal():
            return False
        self.dead.append(refused.access_token.reveal())
        return True


class Line:
    """A connection to a vendor that answers from a script."""

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []
        self.clock = ManualClock(NOW)

    def __call__(self, request):
        self.requests.append(request)
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def run(self, conversation, tokens=None, **options):
        converser = Converser(api=MemoryProviderApi(self), clock=self.clock)
        return converser.run(ACME, APP, conversation, tokens or FixedTokens(TOKENS), **options)

    def ask(self, tokens=None, **changes):
        return self.run(once(**changes), tokens)

    @property
    def authorizations(self):
        return [one.headers.get("authorization") for one in self.requests]

    def limiter(self):
        """A worker's rate limiter for this vendor."""
        return RateLimiter(
            unit_of_work=memory_unit_of_work(MemoryDatabase(self.clock.now)),
            clock=self.clock,
            telemetry=NullTelemetry(),
            provider=ACME,
            subjects=dict.fromkeys(LimitScope, "acme"),
        )


def once(**changes):
    response = yield HttpRequest(**{"method": "GET", "url": f"{HOST}/x", **changes})
    return response


def moved(location, status=302):
    return HttpResponse(status=status, headers={"Location": location})


OK = answer({"ok": True})
ELSEWHERE = [
    "https://evil.test/",
    "https://acme.test.evil.test/",
    "https://evil.test/acme.test",
    "https://acme.test@evil.test/",
    "https://acme.test:secret@evil.test/",
    "https://user@acme.test/",
    "https://acme.test:8443/",
    "http://acme.test/",
    "ftp://acme.test/",
    "file:///etc/passwd",
    "//evil.test/x",
    "///evil.test/x",
    "\\\\evil.test\\x",
    "https://acme.test./",
    "https://\u0430cme.test/",  # a Cyrillic a
    "https://acme.test\\@evil.test/",
    "https://acme.test\\.evil.test/",
    "https://acme.test\t.evil.test/",
    "https://evil.test#@acme.test/",
    "https://evil.test?@acme.test/",
    "https://[::1]/",
    "https://[acme.test/",
    "https://127.0.0.1/",
    "https:///x",
    "gopher:acme.test",
    "",
    "/x",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_other_host_is_ever_called(url):
    """A URL outside the allow-list is refused before anything is sent."""
    line = Line(OK)
    with pytest.raises(ForbiddenHostError):
        line.ask(url=url)
    assert line.requests == []


@pytest.mark.parametrize(
    "url", [one for one in ELSEWHERE if one not in {"", "/x", "///evil.test/x", "\\\\evil.test\\x"}]
)
def test_no_redirect_leads_elsewhere(url):
    """A redirect outside the allow-list is not followed, and no token is sent there."""
    line = Line(moved(url), OK)
    with contextlib.suppress(ForbiddenHostError, UnexpectedResponseError):
        line.ask()
    assert [one.url for one in line.requests][:1] == [f"{HOST}/x"]
    assert all(one.url.startswith(f"{HOST}/") for one in line.requests)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/y", f"{HOST}/y"),
        ("y?a=1", f"{HOST}/y?a=1"),
        ("https://ACME.test/y", "https://ACME.test/y"),
        ("//acme.test/y", f"{HOST}/y"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_within_the_provider_are_followed(location, target, status):
    """A relative or absolute redirect is followed with the same token."""
    line = Line(moved(location, status), OK)
    assert line.ask().json() == {"ok": True}
    assert line.requests[1].url == target
    assert line.authorizations == ["Bearer old", "Bearer old"]


@pytest.mark.parametrize("path", ["/a/../b", "/..", "/./a", "/%2e%2e/a", "/a/%2E./b"])
def test_no_path_has_dot_segments(path):
    """A plain or encoded dot segment is refused, because it would leave the intended path."""
    line = Line(OK)
    with pytest.raises(ForbiddenHostError):
        line.ask(url=HOST + path)
    assert line.requests == []


@pytest.mark.parametrize(
    ("path", "is_sent"), [("/acme/api", True), ("/acme", True), ("/acmes/api", False), ("/", False)]
)
def test_a_base_url_is_not_left(path, is_sent):
    """Where the base URL has a path, neither a package nor a redirect gets outside it."""
    acme = attrs.evolve(ACME, allowed_origins=lambda app: frozenset({HOST}))
    app = attrs.evolve(APP, base_url=f"{HOST}/acme")
    line = Line(OK)
    converser = Converser(api=MemoryProviderApi(line), clock=line.clock)
    with contextlib.nullcontext() if is_sent else pytest.raises(ForbiddenHostError):
        converser.run(acme, app, once(url=HOST + path), FixedTokens(TOKENS))
    assert len(line.requests) == is_sent


@pytest.mark.parametrize("location", ["x\0y", "/a\r\nb", "/a\tb", "https://acme.test/\x7f"])
def test_no_control_character_is_sent(location):
    """A redirect to a URL with a control character is not followed."""
    line = Line(moved(location), OK)
    with contextlib.suppress(ForbiddenHostError):
        line.ask()
    assert all(one.url.isprintable() for one in line.requests)


def test_redirects_in_circles_end():
    """Five redirects are followed, the sixth is an error."""
    line = Line(moved("/x"))
    with pytest.raises(UnexpectedResponseError, match="circles"):
        line.ask()
    assert len(line.requests) == 6


def test_a_post_is_not_redirected():
    """A request that changes something is not sent elsewhere, and the package gets the redirect as the answer."""
    line = Line(moved("/y", 307), OK)
    assert line.ask(method="POST").status == 307


@pytest.mark.parametrize("failure", [answer(status=503), ProviderUnavailableError("cut")])
@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("POST", 1), ("DELETE", 1), ("PUT", 1)])
def test_only_get_is_tried_again(method, tries, failure):
    """A GET that fails at the provider is sent three times, any other request once."""
    line = Line(failure)
    with pytest.raises(ProviderUnavailableError):
        line.ask(method=method)
    assert len(line.requests) == tries
    assert line.clock.now() - NOW == (sum(RETRY_PAUSES, timedelta()) if method == "GET" else timedelta())


def test_a_short_failure_is_not_noticed():
    """The answer of the second try is returned."""
    assert Line(answer(status=502), OK).ask().status == 200


@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_refusals_are_not_tried_again(status):
    """The provider's refusal is raised at once."""
    line = Line(answer(status=status))
    with pytest.raises((UnexpectedResponseError, RateLimitedError)):
        line.ask()
    assert len(line.requests) == 1


def test_expected_statuses_are_answers():
    """A status that the package expects is returned."""
    assert Line(answer(status=404)).ask(expects=frozenset({404})).status == 404


def test_a_401_refreshes_the_token_once():
    """The request is sent again with the new token, and so are all later ones."""

    def talk():
        yield from once()
        yield from once()

    line, tokens = Line(answer(status=401), OK), RefreshableTokens()
    line.run(talk(), tokens)
    assert line.authorizations == ["Bearer old", "Bearer new", "Bearer new"]


def test_a_refreshed_token_that_is_refused_everywhere_is_dead():
    """It is not refreshed again in the same conversation, and recorded as dead."""

    def talk():
        for _ in range(3):
            with pytest.raises(ReauthorizationRequiredError, match="does not accept the access token any more"):
                yield from once()

    line, tokens = Line(answer(status=401)), RefreshableTokens()
    line.run(talk(), tokens)
    assert (tokens.refreshes, set(tokens.dead)) == (1, {"new"})


class OneAddress(Line):
    """A vendor that refuses every token at one address, and takes it everywhere else."""

    def __call__(self, request):
        self.requests.append(request)
        if request.url == f"{HOST}/x":
            return answer(status=401)
        return answer([{"id": "a-1", "name": "ada", "email": "ada@acme.test"}])


@pytest.mark.parametrize("renewed", [None, NEW])
def test_one_address_that_refuses_a_token_does_not_end_it(renewed):
    """A token with which the identity call works lives: the error is about this address alone."""
    line, tokens = OneAddress(OK), RefreshableTokens(renewed=renewed)
    with pytest.raises(UnexpectedResponseError, match="accepts it elsewhere"):
        line.ask(tokens)
    assert tokens.dead == []
    assert [one.url for one in line.requests].count(f"{HOST}/x") == 2


def test_a_single_401_is_not_noticed():
    """A token that cannot be refreshed, and that the identity call accepts, is sent once more."""
    accounts = answer([{"id": "a-1", "name": "ada", "email": "ada@acme.test"}])
    line, tokens = Line(answer(status=401), accounts, OK), RefreshableTokens(renewed=None)
    assert line.ask(tokens) == OK
    assert tokens.dead == []


def test_a_dead_token_that_cannot_be_refreshed_is_recorded():
    """If the identity call refuses it, too, it is dead."""
    line, tokens = Line(answer(status=401)), RefreshableTokens(renewed=None)
    with pytest.raises(ReauthorizationRequiredError) as caught:
        line.ask(tokens)
    assert (tokens.dead, len(line.requests)) == (["old"], 2)
    assert caught.value.next_step == "Connect the account again."


@pytest.mark.parametrize(
    ("proof", "error"),
    [
        (answer(status=503), ProviderUnavailableError),
        (answer(status=429), RateLimitedError),
        (ProviderUnavailableError("No answer."), ProviderUnavailableError),
    ],
)
def test_a_death_without_proof_is_not_believed(proof, error):
    """While the identity call has no answer, nobody knows whether the token lives, and nothing is recorded."""
    line, tokens = Line(answer(status=401), proof), RefreshableTokens(renewed=None)
    with pytest.raises(error):
        line.ask(tokens)
    assert tokens.dead == []
    assert len([one for one in line.requests if one.url == f"{HOST}/x"]) == 1


def test_a_token_that_was_replaced_meanwhile_is_not_dead():
    """What replaced it is used instead."""
    line, tokens = Line(answer(status=401), answer(status=401), OK), RefreshableTokens(renewed=None)
    first = tokens.current

    def current():
        tokens.stored = TokenSet(access_token=Secret("consent")) if line.requests else TOKENS
        return first()

    tokens.current = current
    tokens.mark_dead = lambda refused, reason: False
    assert line.ask(tokens) == OK
    assert line.authorizations == ["Bearer old", "Bearer old", "Bearer consent"]


def test_a_failed_refresh_is_not_tried_again():
    """A refresh that got no answer is raised: the refresh token is not sent three times."""
    line, tokens = (
        Line(answer(status=401)),
        RefreshableTokens(ProviderUnavailableError("No answer.", outcome_unknown=True)),
    )
    with pytest.raises(ProviderUnavailableError):
        line.ask(tokens)
    assert (tokens.refreshes, len(line.requests)) == (1, 1)


def test_fixed_tokens_cannot_be_refreshed():
    """If a token that was just issued is refused, the user has to consent again."""
    with pytest.raises(ReauthorizationRequiredError):
        Line(answer(status=401)).ask()


def test_each_request_has_its_authorization():
    """The header carries the token set's token, a companion's, our client id and secret, or nothing."""
    line = Line(OK)
    for changes in (
        {},
        {"token_name": "user"},
        {"authorization": Authorization.NONE},
        {"authorization": Authorization.CLIENT_BASIC},
    ):
        line.ask(**changes)
    # RFC 6749 §2.3.1: form-encoded, then joined.
    basic = "Basic " + base64.b64encode(b"id%3Awith+colon:s%2Fe").decode()
    assert line.authorizations == ["Bearer old", "Bearer user-token", None, basic]


def test_a_missing_companion_needs_another_consent():
    """A request with a token that the grant does not hold is an error."""
    with pytest.raises(ReauthorizationRequiredError, match="admin token"):
        Line(OK).ask(token_name="admin")


def test_without_tokens_nothing_is_authorized():
    """A conversation without tokens cannot make authorized requests."""
    line = Line(OK)
    with pytest.raises(ReauthorizationRequiredError):
        Converser(api=MemoryProviderApi(line), clock=line.clock).run(ACME, APP, once())
    assert line.requests == []


def test_errors_are_raised_inside_the_conversation():
    """A package can handle a failure that it expects, and continue."""

    def talk():
        try:
            yield from once(url=f"{HOST}/gone")
        except UnexpectedResponseError:
            response = yield from once()
            return response.json()

    assert Line(answer(status=410), OK).run(talk()) == {"ok": True}


def test_a_conversation_is_closed():
    """In every case the generator's finally blocks are run."""
    closed = []

    def talk():
        try:
            yield from once()
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match="our own"):
        Line(ValueError("our own")).run(talk())
    Line(OK).run(talk())
    assert closed == [True, True]


LAST = answer({"ok": True}, x_acme_left="0")


def test_the_reserve_is_for_interactive_calls():
    """When only a quota's reserve is left, interactive calls continue."""

    def talk():
        yield from once()
        return (yield from once()).json()

    assert Line(LAST).run(talk()) == {"ok": True}


def test_background_work_leaves_the_reserve():
    """The answer that showed the end is returned, and the next conversation sends no request."""

    def talk():
        first = yield from once()
        return first.json()

    line = Line(LAST)
    limiter = line.limiter()
    assert line.run(talk(), limiter=limiter) == {"ok": True}
    with pytest.raises(RateLimitedError) as caught:
        line.run(talk(), limiter=limiter)
    assert (len(line.requests), caught.value.retry_at) == (1, NOW + timedelta(seconds=60))


def test_a_throttle_in_a_200_is_an_error():
    """A limit that is reported in a 200 is raised for interactive calls too."""
    limited = RateLimitedError("Slow down.", retry_at=NOW)
    acme = attrs.evolve(ACME, limits=attrs.evolve(ACME.limits, read_throttle=lambda response, now: limited))
    line = Line(OK)
    with pytest.raises(RateLimitedError):
        Converser(api=MemoryProviderApi(line), clock=line.clock).run(acme, APP, once(), FixedTokens(TOKENS))
