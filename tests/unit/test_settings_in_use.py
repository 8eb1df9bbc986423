"""Whatever a provider's settings hold, the start fails in one line, or nothing fails because of them later."""

import itertools
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.memory.clock import ManualClock
from connectors.adapters.memory.provider_api import MemoryProviderApi
from connectors.adapters.system.settings import read_settings
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import (
    DeliveryRejectedError,
    ForbiddenHostError,
    ProviderFailedError,
    SettingsError,
    UnexpectedResponseError,
)
from connectors.domain.model.http import Authorization, HttpRequest, HttpResponse
from connectors.domain.model.oauth import TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import SyncMode
from connectors.domain.model.webhook import VerifiedDelivery, WebhookRequest
from connectors.domain.providers.contract import AuthorizationParams, ReadContext, SyncContext, VerificationMaterial
from connectors.domain.providers.registry import BUILT_IN
from tests.support.builders import NOW, make_connection

PARAMS = AuthorizationParams(state="s", redirect_uri="https://core.example/cb", scopes=("a",), code_challenge="c" * 43)
TOKENS = FixedTokens(TokenSet(access_token=Secret("t"), refresh_token=Secret("r"), extra={"location": "eu"}))
ACCOUNT = ExternalAccount(id="eu:1", name="ada", metadata={"location": "eu", "email": "ada@acme.example"})
FEW = 20
"""Pages of one read: enough to see what a setting changes in the requests."""

SHAPES = st.one_of(
    st.text(st.characters(), min_size=1),
    st.sampled_from(["https://", "http://localhost", "http://[::1]:9/", "projects/p/topics/", "projects/p/subscriptions/"])
    .flatmap(lambda start: st.text(st.characters(codec="ascii"), max_size=8).map(lambda rest: start + rest)),
    st.integers().map(str),
    st.sampled_from(["true", "OFF", "mars", "ae", "CN", "A1", "a@b", "x,y", "https://a/b/../c", "https://a/%2e%2e"]),
)  # fmt: skip


def settings_of(provider):
    """The names of one provider's variables."""
    rows = read_settings({}, [provider]).describe()
    start = f"POBLYSH_{provider.slug.upper().replace('-', '_')}_"
    return [row.name for row in rows if row.name.startswith(start)]


def use(provider, app):
    """Run everything that settings affect: consent, tokens, deliveries and reads."""
    assert provider.oauth.authorize_url(app, PARAMS).startswith("http")
    assert provider.oauth.token_endpoint(app, {}).url.startswith("http")
    assert provider.allowed_origins(app)
    for headers in ({}, {"x-cliq-signature": "AAAA"}, {"authorization": "Bearer a.b.c"}):
        request = WebhookRequest(
            provider=provider.slug, tenant_id=None, headers=headers, body=b'{"a": 1}', received_at=NOW
        )
        with suppress(DeliveryRejectedError):
            provider.webhooks.verify(request, VerificationMaterial(app=app, secrets=app.webhook_secrets, now=NOW))
    with suppress(UnexpectedResponseError):
        provider.webhooks.read_event(
            VerifiedDelivery(request=request, delivery_id="d", via="app"), ReadContext(app=app)
        )
    api = MemoryProviderApi(lambda request: HttpResponse(status=200, body=b'{"ok": true}'))
    converser = Converser(api=api, clock=ManualClock(NOW))
    connection = make_connection(provider=provider.slug, account=ACCOUNT)
    context = SyncContext(app=app, connection=connection)
    for mode in SyncMode:
        low = NOW - timedelta(days=1)
        window = Window(mode=mode, low=low, high=NOW, floor=low, bookmark=None)
        run(converser, provider, app, lambda window=window: read(provider, context, window))
    run(converser, provider, app, lambda: provider.oauth.identify(app, TOKENS.token_set))
    run(converser, provider, app, lambda: as_client(app, provider))
    if provider.webhooks.subscriptions is not None:
        run(converser, provider, app, lambda: provider.webhooks.subscriptions.targets(app, connection))


def run(converser, provider, app, begin):
    """Run a conversation. The vendor's answers are useless, which is no fault of a setting; a forbidden host is."""
    try:
        converser.run(provider, app, begin(), TOKENS)
    except ForbiddenHostError as error:
        raise AssertionError(error.message) from error
    except ProviderFailedError:
        pass


def read(provider, context, window):
    """Read the first pages of each stream that discovery names first."""
    listing = yield from provider.streams.discover(context, window, None)
    for stream in listing.streams[:FEW]:
        cursor = None
        for _ in range(FEW):
            page = yield from provider.streams.read_page(context, stream, window, cursor)
            cursor = page.cursor
            if cursor is None:
                break


def as_client(app, provider):
    """A request with our client id and secret."""
    (url, *_) = sorted(provider.allowed_origins(app))
    path = "" if app.base_url is None else app.base_url.removeprefix(url)
    yield HttpRequest(method="POST", url=f"{url}{path}/x", authorization=Authorization.CLIENT_BASIC)


@pytest.mark.parametrize("provider", BUILT_IN, ids=lambda provider: provider.slug)
@given(data=st.data())
def test_a_setting_stops_the_start_or_works(provider, data):
    """Any text in any provider setting fails the start in one line, or consent, webhooks and reads work with it."""
    prefix = f"POBLYSH_{provider.slug.upper().replace('-', '_')}_"
    variables = {f"{prefix}CLIENT_ID": "id", f"{prefix}CLIENT_SECRET": "secret"}
    variables[data.draw(st.sampled_from(settings_of(provider)))] = data.draw(SHAPES)
    try:
        app = read_settings(variables, BUILT_IN).apps[provider.slug]
    except SettingsError as error:
        refusal = error.message
    else:
        use(provider, app)
        return
    assert refusal.startswith("POBLYSH_")
    assert refusal.isprintable()


def test_every_option_is_tried():
    """The providers' own settings are among those that the property uses."""
    names = set(itertools.chain.from_iterable(settings_of(provider) for provider in BUILT_IN))
    assert {"POBLYSH_ZOHO_MAIL_DATA_CENTER", "POBLYSH_SLACK_PAGE_SIZE", "POBLYSH_GMAIL_PUBSUB_TOPIC"} <= names
