"""Whatever a provider or a caller sends, we call the provider's own hosts and no others, and secrets go to fewer still.

The packages talk, through the real flows, with the sandbox in this process, which stands in for the vendors' true hosts.
On the way its answers are spoilt: values become URLs of strangers, next pages and redirects lead astray.
"""

import base64
import json
import random
from contextlib import suppress
from datetime import timedelta
from functools import cache
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import uuid4

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url

from connectors.adapters.memory.provider_api import MemoryProviderApi
from connectors.domain.flows.provider_access.conversations import Converser, FixedTokens
from connectors.domain.model.connection import ExternalAccount
from connectors.domain.model.errors import ConnectorsError, ForbiddenHostError, ProviderUnavailableError
from connectors.domain.model.http import Authorization, HttpResponse
from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import ProviderApp, TokenSet
from connectors.domain.model.secret import Secret
from connectors.domain.model.streams import Stream, Window
from connectors.domain.model.sync import JobType, SyncMode
from connectors.domain.providers.contract import SubscriptionRequest, SyncContext
from connectors.domain.providers.registry import BUILT_IN
from connectors.entrypoints.library import Connectors
from connectors_sandbox import create_sandbox
from connectors_sandbox.google.pubsub import TOPIC
from tests.support.acts import ACTS, fresh_name
from tests.support.api import ImpatientClock
from tests.support.builders import NOW, TENANT, make_connection, make_subscription
from tests.support.service import CORE_CALLBACK
from tests.support.stage import GITHUB_APP, GOOGLE_APP, JIRA_APP, SLACK_APP, ZOHO_APP, register_apps

PROVIDERS = {provider.slug: provider for provider in BUILT_IN}
FIXED = FixedTokens(TokenSet(access_token=Secret("access")))
MOST_REQUESTS = 150
"""Then the vendor is down: a spoilt list may have no end."""
FEW_REQUESTS = 3
"""The same, of a vendor whose answers are all one."""

HOSTILE = (
    "https://evil.example/",
    "http://evil.example/",
    "//evil.example/path",
    "\\\\evil.example\\path",
    "/\\evil.example",
    "https:evil.example",
    "https:///evil.example",
    "https://api.github.com@evil.example/",
    "https://api.github.com:token@evil.example/",
    "https://evil.example#@api.github.com/",
    "https://evil.example\\@api.github.com/",
    "https://api.github.com.evil.example/",
    "https://api.github.com:8443/",
    "http://api.github.com/",
    "https://slack.com\r\nHost: evil.example",
    "https://www.googleapis.com\t.evil.example/",
    "https://accounts.zoho.com.evil.example",
    "https://accounts.zoho.com@evil.example",
    "https://auth.atlassian.com%2eevil.example/",
    "https://evił.example/",
    "https://api。github。com.evil.example/",
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:5432/",
    "http://[::1]:8080/",
    "http://[::1",
    "http://2130706433/",
    "file:///etc/passwd",
    "gopher://evil.example:70/_",
    "../../../../../evil",
    "..%2f..%2f..%2fevil",
    "%2e%2e/%2e%2e/evil",
    "..",
    ".",
    "@evil.example",
    ":@evil.example/",
    "?x=https://evil.example",
    "#evil",
    "a/../../b",
    "a/..;/b",
    "x\r\nX-Injected: 1",
    "x\x00y",
    "\u2025/\uff0e\uff0e\uff0fevil",
    "",
)

CLIENTS = {
    "github": GITHUB_APP,
    "slack": SLACK_APP,
    "jira": JIRA_APP,
    **dict.fromkeys(("google-drive", "google-calendar", "gmail"), GOOGLE_APP),
    **dict.fromkeys(("zoho-cliq", "zoho-mail"), ZOHO_APP),
}
DOMAINS = {
    "us": "zoho.com",
    "eu": "zoho.eu",
}
GOOGLE_HOSTS = ("https://oauth2.googleapis.com", "https://openidconnect.googleapis.com", "https://gmail.googleapis.com")
MOUNTS = [
    ("https://api.github.com", "/github/api/v3"),
    ("https://github.com", "/github"),
    ("https://slack.com", "/slack"),
    ("https://api.atlassian.com", "/jira"),
    ("https://auth.atlassian.com", "/jira"),
    ("https://www.googleapis.com", "/google"),
    ("https://accounts.google.com", "/google"),
    *((host, "/google") for host in GOOGLE_HOSTS),
    *(
        (f"https://{product}.{domain}", f"/zoho/{location}/{product}")
        for location, domain in DOMAINS.items()
        for product in ("accounts", "mail", "cliq")
    ),
]
"""Where the sandbox plays each of the vendors' hosts."""
PATHS = {
    "github": ("/",),
    "slack": ("/api/",),
    "jira": ("/oauth/token", "/ex/jira/"),
    "google-drive": ("/drive/v3/", "/token", "/revoke", "/v1/userinfo"),
    "google-calendar": ("/calendar/v3/", "/token", "/revoke", "/v1/userinfo"),
    "gmail": ("/gmail/v1/", "/token", "/revoke", "/v1/userinfo", "/oauth2/v3/certs"),
    "zoho-cliq": ("/api/v2/", "/oauth/"),
    "zoho-mail": ("/api/", "/oauth/"),
}
"""What the vendor has there that is ours to call."""
TOKEN_HOSTS = {
    # The client id and secret also end a token, at the API.
    "github": {"https://github.com/login/oauth/access_token", "https://api.github.com/applications/"},
    "slack": {"https://slack.com/api/oauth.v2.access", "https://slack.com/api/apps.uninstall"},
    "jira": {"https://auth.atlassian.com/oauth/token"},
    **dict.fromkeys(
        ("google-drive", "google-calendar", "gmail"),
        frozenset({"https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/revoke"}),
    ),
    **dict.fromkeys(
        ("zoho-cliq", "zoho-mail"), frozenset(f"https://accounts.{one}/oauth/v2/" for one in DOMAINS.values())
    ),
}
"""Where the client's secret, codes and refresh tokens may go."""


@attrs.define
class Vendor:
    """The sandbox under the vendors' names, some of whose answers are spoilt."""

    sandbox: object
    slug: str
    rng: random.Random | None = None
    spoils: float = 0.0
    """The share of texts in an answer that is replaced."""
    redirects: float = 0.0
    """The share of answers that is a redirect to nowhere good."""
    requests: list = attrs.field(factory=list)

    def behave(self, rng, spoils=0.0, redirects=0.0):
        """So from now on; what was asked before an honest beginning is forgotten."""
        self.rng, self.spoils, self.redirects = rng, spoils, redirects
        if not spoils and not redirects:
            self.requests.clear()

    def __call__(self, request):
        self.requests.append(request)
        if len(self.requests) > MOST_REQUESTS:
            raise ProviderUnavailableError("That is enough.")
        if self.rng.random() < self.redirects:
            status = self.rng.choice([301, 302, 303, 307, 308])
            return HttpResponse(status=status, headers={"location": self.rng.choice(HOSTILE)}, url=request.url)
        response = self.ask(request.method, request.url, headers=self.authorized(request), data=request.body)
        return self.spoil(HttpResponse(url=request.url, **response))

    def ask(self, method, url, **arguments):
        """The sandbox's answer, all its own URLs written as the vendor's."""
        found = next(((host, mount) for host, mount in MOUNTS if url == host or url.startswith(f"{host}/")), None)
        if found is None:
            return {"status": 404}
        host, mount = found
        answer = self.sandbox.app.test_client().open(mount + url.removeprefix(host), method=method, **arguments)
        headers = {name: self.as_vendor(value) for name, value in answer.headers.items()}
        return {"status": answer.status_code, "headers": headers, "body": self.as_vendor(answer.text).encode()}

    def authorized(self, request):
        """The request's headers; the token endpoint's adapter in memory leaves the client's own to us."""
        if request.authorization is Authorization.CLIENT_BASIC and "authorization" not in request.headers:
            pair = ":".join(quote(part, safe="") for part in CLIENTS[self.slug])
            return {**request.headers, "authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return dict(request.headers)

    @staticmethod
    def as_vendor(text):
        for host, mount in MOUNTS:
            url = f"http://localhost{mount}"
            text = text.replace(url, host).replace(quote(url, safe=""), quote(host, safe=""))
        return text

    def spoil(self, response):
        """The answer with some of its texts replaced, and perhaps a next page that it does not have."""
        if not self.spoils:
            return response
        headers = dict(response.headers)
        if self.rng.random() < self.spoils:
            headers["link"] = f'<{self.rng.choice(HOSTILE)}>; rel="next"'
        try:
            document = json.loads(response.body)
        except ValueError:
            return attrs.evolve(response, headers=headers)
        return attrs.evolve(response, headers=headers, body=json.dumps(self.spoilt(document)).encode())

    def spoilt(self, value):
        match value:
            case dict():
                return {key: self.spoilt(one) for key, one in value.items()}
            case list():
                return [self.spoilt(one) for one in value]
            case str() if self.rng.random() < self.spoils:
                return self.rng.choice(HOSTILE)
        return value


class LeapingClock(ImpatientClock):
    """Nobody waits, and time may be skipped."""

    def __init__(self):
        self.ahead = timedelta(0)

    def now(self):
        return super().now() + self.ahead

    def leap(self, duration):
        self.ahead += duration


def make_system(slug, vendor):
    """Everything in memory, at the vendors' true hosts."""
    client_id, secret = CLIENTS[slug]
    app = ProviderApp(
        provider=PROVIDERS[slug].slug,
        client_id=client_id,
        client_secret=Secret(secret),
        webhook_secrets=(Secret("webhook-secret"),),
        options={"pubsub_topic": TOPIC} if slug == "gmail" else {},
    )
    return Connectors.in_memory(
        respond=vendor, apps={app.provider: app}, clock=LeapingClock(), redirect_uri=CORE_CALLBACK
    )


@cache
def stand(slug):
    """A sandbox with our app, a vendor who stands before it, and our system."""
    sandbox = create_sandbox(auto_consent=True)
    register_apps(sandbox)
    vendor = Vendor(sandbox, slug)
    return vendor, make_system(slug, vendor)


def live(slug, rng, *, spoils=0.0, redirects=0.0, is_spoilt_early=True):
    """A connection's whole life; the vendor, who has noted all that it was asked."""
    (vendor, system), name, act, tenant = stand(slug), fresh_name(), ACTS[slug], TenantId(uuid4())
    vendor.behave(rng)
    user = act.prepare(vendor.sandbox, name)
    if is_spoilt_early:
        vendor.behave(rng, spoils, redirects)
    started = system.connect.start_authorization(tenant, slug, options=act.options(name))
    landed = vendor.ask("GET", f"{started.authorize_url}&sandbox_user={quote(user)}")["headers"]["Location"]
    with suppress(ConnectorsError):
        system.connect.complete_authorization(slug, dict(parse_qsl(urlsplit(landed).query)))
    vendor.behave(rng, spoils, redirects)
    act.play(vendor.sandbox, name)
    for connection in system.queries.list_connections(tenant).items:
        for job_type in (JobType.BACKFILL, JobType.INCREMENTAL):
            with suppress(ConnectorsError):
                system.sync.run(tenant, system.jobs.request(tenant, connection.id, job_type).id)
            # Neither a pause that the vendor asked for nor a pause after a failure keeps anybody from asking on.
            system.clock.leap(timedelta(hours=2))
        with suppress(ConnectorsError):
            system.maintenance.maintain(tenant, connection.id)
        with suppress(ConnectorsError):
            system.connect.refresh(tenant, connection.id)
        with suppress(ConnectorsError):
            system.disconnect.end_connection(tenant, connection.id)
    return vendor


def check(vendor, *, paths=True):
    """Every request went where it may."""
    provider = PROVIDERS[vendor.slug]
    client_id, secret = CLIENTS[vendor.slug]
    basic = base64.b64encode(f"{client_id}:{secret}".encode())
    for request in vendor.requests:
        url = request.url
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        assert origin in provider.allowed_origins(app_at_vendor(vendor.slug)), url
        # The library that will connect reads the same host, whatever stands in the rest.
        assert parse_url(url).host == parts.hostname, url
        assert url.isprintable(), url
        if paths:
            assert url.isascii(), url
            assert not set(url) & set(" \\"), url
            assert parts.path.startswith(PATHS[vendor.slug]), url
            assert {"..", "."}.isdisjoint(parts.path.split("/")), url
        sent = b" ".join(
            [url.encode(), request.body or b"", *(f"{value}".encode() for value in request.headers.values())]
        )
        is_secret = any(one in sent for one in (secret.encode(), basic, b"refresh_token", b"code_verifier"))
        if is_secret or request.authorization is Authorization.CLIENT_BASIC:
            assert url.startswith(tuple(TOKEN_HOSTS[vendor.slug])), url
        assert secret not in url
        assert all(name.isprintable() and str(value).isprintable() for name, value in request.headers.items())


def app_at_vendor(slug):
    """Our registration, at the vendor's own hosts."""
    client_id, secret = CLIENTS[slug]
    return ProviderApp(
        provider=PROVIDERS[slug].slug,
        client_id=client_id,
        client_secret=Secret(secret),
        options=PROVIDERS[slug].read_options({}),
    )


@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_honest_vendor(slug):
    """The stage is sound: with nothing spoilt, a connection lives its whole life and asks for much."""
    vendor = live(slug, random.Random(0))
    check(vendor)
    assert {request.method for request in vendor.requests} >= {"GET", "POST"}
    assert len(vendor.requests) > 4


@pytest.mark.parametrize("slug", PROVIDERS)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32), spoils=st.sampled_from([0.03, 0.2, 0.6]), is_early=st.booleans())
def test_spoilt_contents(slug, seed, spoils, is_early):
    """Ids, links, tokens of pages and names that are somebody's URL lead nowhere else, and not out of the API."""
    check(live(slug, random.Random(seed), spoils=spoils, is_spoilt_early=is_early))


@pytest.mark.parametrize("slug", PROVIDERS)
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32), is_early=st.booleans())
def test_spoilt_redirects(slug, seed, is_early):
    """A redirect is followed within the allow-list only."""
    check(live(slug, random.Random(seed), redirects=0.3, is_spoilt_early=is_early), paths=False)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_spoilt_callback(slug):
    """What the redirect's query claims decides neither where the code goes nor where our secret does."""
    vendor, system = stand(slug)
    vendor.behave(random.Random(0))
    for name in ("accounts-server", "location", "api_domain", "iss", "code", "team"):
        for value in HOSTILE if slug.startswith("zoho") and name != "team" else HOSTILE[:4]:
            started = system.connect.start_authorization(TENANT, slug)
            state = dict(parse_qsl(urlsplit(started.authorize_url).query))["state"]
            with suppress(ConnectorsError):
                system.connect.complete_authorization(slug, {"state": state, "code": "made-up", name: value})
            check(vendor)
            vendor.requests.clear()


# --- one value in every member that there is -----------------------------------------------------------------------


MEMBERS = (
    *("id", "name", "login", "full_name", "html_url", "url", "self", "key", "summary", "sub", "email", "ZUID"),
    *("nextPageToken", "nextSyncToken", "startPageToken", "newStartPageToken", "next_token", "next_cursor"),
    *("fileId", "driveId", "resourceId", "historyId", "threadId", "accountId", "folderId", "messageId"),
    *("chat_id", "channel_id", "message_id", "user_id", "team_id", "emailAddress", "displayName", "api_domain"),
    *("access_token", "refresh_token", "location", "updated_at", "created_at"),
)
LISTS = (
    *("items", "drives", "files", "changes", "history", "messages", "messagesAdded", "labels", "values", "issues"),
    *("comments", "channels", "members", "data", "chats", "list", "folders", "users"),
)


def full_of(value):
    """An answer in which every member that a package looks at, and that can be a text, is this value."""
    thing = dict.fromkeys(MEMBERS, value)
    whole = {**thing, "ok": True, **{name: [{**thing, "owner": thing, "config": thing}] for name in LISTS}}
    return {**whole, "response_metadata": thing, "fields": thing, "status": thing, "channel": thing}


def converse(slug, value, options):
    """All conversations of a package with a vendor who answers nothing else; what was asked."""
    provider, app, asked = PROVIDERS[slug], app_at_vendor(slug), []
    bodies = [json.dumps(body).encode() for body in (full_of(value), full_of(value), [full_of(value)])]

    def respond(request):
        asked.append(request)
        if len(asked) > FEW_REQUESTS:
            raise ProviderUnavailableError("That is enough.")
        return HttpResponse(status=200, headers={"link": f'<{value}>; rel="next"'}, body=bodies[len(asked) % 3])

    converser = Converser(api=MemoryProviderApi(respond), clock=ImpatientClock())

    def run(conversation):
        asked.clear()
        with suppress(ConnectorsError):
            return converser.run(provider, app, conversation, FIXED)
        return None

    account = ExternalAccount(id="1324a887", name="ada", metadata={"location": "us", "email": "ada@acme.example"})
    connection = make_connection(provider=provider.slug, account=account, metadata=options)
    context = SyncContext(app=app, connection=connection)
    yield from _noted(run, asked, provider.oauth.identify(app, FIXED.token_set))
    hooks = provider.webhooks.subscriptions
    if hooks is not None:
        yield from _noted(run, asked, hooks.targets(app, connection))
        for target in {"github": (f"repo:{value}", f"org:{value}"), "google-drive": (f"drive:{value}",)}.get(
            slug, (value,)
        ):
            one = make_subscription(provider=provider.slug, target=target, external_id=value, address=value)
            wanted = SubscriptionRequest(subscription=one, secret=Secret("s"), callback_url="https://us.example/")
            for conversation in (hooks.subscribe(app, connection, wanted), hooks.unsubscribe(app, connection, one)):
                yield from _noted(run, asked, conversation)
    for mode in SyncMode:
        low = NOW - timedelta(days=1)
        window = Window(mode=mode, low=low, high=NOW, floor=low, bookmark={"token": value, "since": value})
        listing = run(provider.streams.discover(context, window, None))
        yield from tuple(asked)
        found = [one for one in (listing.streams if listing is not None else ()) if one.unreadable is None][:2]
        for stream in (*found, *_streams_named(slug, value)):
            cursor = None
            for _ in range(2):
                page = run(provider.streams.read_page(context, stream, window, cursor))
                yield from tuple(asked)
                cursor = None if page is None else page.cursor
                if cursor is None:
                    break
            reference = "1-2" if slug == "zoho-cliq" else value  # Cliq's messages are parked by their times
            if provider.streams.read_item is not None:
                yield from _noted(run, asked, provider.streams.read_item(context, stream, window, reference))


def _streams_named(slug, value):
    """Streams as a vendor's answer may name them: where a package keeps what it was told, that is the attempt."""
    data = {"id": value, "name": value, "full_name": value, "html_url": value, "kind": "received"}
    kinds = {
        "github": ("issues", "comments", "review_comments", "pulls", "releases", "activity"),
        "slack": ("channel",),
        "jira": ("project",),
        "google-drive": ("log",),
        "google-calendar": ("calendar",),
        "gmail": ("mailbox",),
        "zoho-cliq": ("chat",),
        "zoho-mail": ("folder",),
    }[slug]
    name = "".join(one for one in value if one.isprintable())[:150]
    with suppress(ValueError):  # a key that no discovery gives
        return tuple(Stream(key=f"{kind}:{'1' if slug == 'github' else name}", name=name, data=data) for kind in kinds)
    return ()


def _noted(run, asked, conversation):
    run(conversation)
    yield from tuple(asked)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_one_value_everywhere(slug):
    """Ids, links, page tokens, targets and options that are one and the same attempt stay within the API."""
    for value in (*HOSTILE, "owner/..", "../owner", "owner/name/../../user", "owner/name?x=", "owner/name#"):
        chosen = {name: [value] for name in ("repositories", "organizations", "calendars", "shared_drives")}
        for options in (chosen, {}) if value in HOSTILE[::4] else (chosen,):
            asked = {(one.method, one.url, one.authorization): one for one in converse(slug, value, options)}
            check(Asked(slug, list(asked.values())))


@attrs.frozen
class Asked:
    """What somebody was asked."""

    slug: str
    requests: list


@pytest.mark.parametrize("slug", ["zoho-cliq", "zoho-mail"])
@pytest.mark.parametrize("server", [value for value in HOSTILE if value])
def test_an_accounts_server_that_is_not_zohos(slug, server):
    """The secret is not sent anywhere when the redirect names a strange accounts server."""
    with pytest.raises(ForbiddenHostError):
        PROVIDERS[slug].oauth.token_endpoint(app_at_vendor(slug), {"accounts-server": server, "location": "us"})
