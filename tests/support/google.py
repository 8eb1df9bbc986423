"""Runs the Google providers without the engine: the sandbox in this process answers conversations; readers of them."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs

from connectors.domain.model.connection import Connection, ExternalAccount
from connectors.domain.model.http import Authorization, HttpResponse, form_request
from connectors.domain.model.ids import ConnectionId, GrantId, SubscriptionId, TenantId
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription, WebhookRequest
from connectors.domain.providers.contract import AuthorizationParams
from connectors_sandbox import SandboxClock, create_sandbox
from tests.support.google_streams import StreamDriver

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
BASE = "http://localhost/google"
DANA = "dana@x.com"
LEE = "lee@y.com"
CLIENT_ID = "sandbox-google.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-sandbox-google"
REDIRECT_URI = "https://core.example/callback"


def make_app(provider, *, base_url=None, **options):
    return ProviderApp(
        provider=provider.slug,
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        base_url=base_url,
        options=provider.read_options(options),
    )


def make_connection(provider, *, sub="1098", email=DANA, scopes=None, **changes):
    granted = tuple(scope.name for scope in provider.oauth.scopes if scope.default) if scopes is None else scopes
    values = {
        "id": ConnectionId(UUID(int=2)),
        "tenant_id": TenantId(UUID(int=1)),
        "provider": provider.slug,
        "account": ExternalAccount(id=sub, name=email, metadata={"email": email}),
        "grant_id": GrantId(UUID(int=3)),
        "scopes": granted,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Connection(**(values | changes))


def make_subscription(provider, target, *, number=5, **changes):
    values = {
        "id": SubscriptionId(UUID(int=number)),
        "tenant_id": TenantId(UUID(int=1)),
        "connection_id": ConnectionId(UUID(int=2)),
        "provider": provider.slug,
        "target": target,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Subscription(**(values | changes))


def make_delivery_request(provider, *, headers=None, body=b"", url="https://hooks.example/webhooks/gmail"):
    return WebhookRequest(
        provider=provider.slug,
        tenant_id=TenantId(UUID(int=1)),
        url=url,
        headers=headers or {},
        body=body,
        received_at=NOW,
    )


def reply(document=None, *, status=200, headers=None, body=None):
    content = json.dumps(document).encode() if body is None else body
    return HttpResponse(status=status, headers=headers or {}, body=content)


def error_reply(status, reason, *, message="No.", location=None, headers=None, details=None):
    entry = {"domain": "global", "reason": reason, "message": message}
    if location:
        entry["location"] = location
    error = {"code": status, "message": message, "errors": [entry]}
    if details:
        error["details"] = details
    return reply({"error": error}, status=status, headers=headers)


def converse(provider, conversation, answer, *, now=NOW):
    """What a conversation returns. Failures are raised inside it, as the flow does."""
    try:
        request = next(conversation)
        while True:
            response = answer(request)
            if response.status >= 400 and response.status not in request.expects:
                request = conversation.throw(provider.limits.read_failure(request, response, now))
            else:
                request = conversation.send(response)
    except StopIteration as end:
        return end.value


def script(*responses):
    """Answers in this order; the requests are in `script.asked`."""
    rest = list(responses)

    def answer(request):
        answer.asked.append(request)
        return rest.pop(0)

    answer.asked = []
    return answer


def query_of(request):
    return {
        name: values[0] if len(values) == 1 else values
        for name, values in parse_qs(urlsplit(request.url).query).items()
    }


@cache
def shared_sandbox():
    """One for all tests of a process, emptied for each: building its routes takes longer than most tests."""
    return create_sandbox(SandboxClock(NOW), auto_consent=True)


@attrs.define
class Google:
    """A sandbox in this process, with a clock that stands still."""

    sandbox: object
    client: object
    token: str = ""
    refresh_token: str = ""

    @classmethod
    def new(cls, *emails, seed=0):
        sandbox = shared_sandbox()
        sandbox.google.reset()
        sandbox.clock.advance(NOW - sandbox.clock.now())
        sandbox.core.random.seed(seed)
        for email in emails or (DANA, LEE):
            sandbox.google.add_user(email)
        return cls(sandbox, sandbox.app.test_client())

    @property
    def world(self):
        return self.sandbox.google

    @property
    def now(self):
        return self.sandbox.clock.now()

    def pass_time(self, **by):
        self.sandbox.clock.advance(timedelta(**by))

    def send(self, request):
        """The sandbox's answer; an expired token is refreshed once, as the flow does."""
        response = self._send(request)
        if response.status == 401 and self.refresh_token and request.authorization is Authorization.ACCESS_TOKEN:
            fields = {
                "grant_type": "refresh_token",
                "refresh_token": self.refresh_token,
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
            }
            answer = self.client.post("/google/token", data=fields)
            if answer.status_code == 200:
                self.token = answer.json["access_token"]
                return self._send(request)
        return response

    def _send(self, request):
        parts = urlsplit(request.url)
        headers = dict(request.headers)
        if request.authorization is Authorization.ACCESS_TOKEN:
            headers["authorization"] = f"Bearer {self.token}"
        answer = self.client.open(
            parts.path, method=request.method, query_string=parts.query, headers=headers, data=request.body or b""
        )
        return HttpResponse(status=answer.status_code, headers=dict(answer.headers), body=answer.data, url=request.url)

    def sign_in(self, provider, email=DANA, *, scopes=None, extra=""):
        """The token set of a consent, made by the provider's own OAuth functions."""
        app = make_app(provider, base_url=BASE)
        asked = tuple(scope.name for scope in provider.oauth.scopes if scope.default) if scopes is None else scopes
        params = AuthorizationParams(state="s", redirect_uri=REDIRECT_URI, scopes=asked)
        url = provider.oauth.authorize_url(app, params)
        parts = urlsplit(url)
        answer = self.client.get(parts.path, query_string=f"{parts.query}&login_hint={email}{extra}")
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        call = provider.oauth.token_endpoint(app, {})
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        response = self.send(form_request("POST", call.url, fields, authorization=Authorization.NONE))
        tokens = provider.oauth.read_tokens(response, self.now, None)
        self.token = tokens.access_token.reveal()
        self.refresh_token = tokens.refresh_token.reveal() if tokens.refresh_token else ""
        return tokens

    def connect(self, provider, email=DANA, **how):
        """A driver of reads for this account."""
        tokens = self.sign_in(provider, email, **how)
        options = how.pop("options", {})
        app = make_app(provider, base_url=BASE, **options)
        accounts = converse(provider, provider.oauth.identify(app, tokens), self.send, now=self.now)
        connection = make_connection(
            provider, account=accounts[0], scopes=tokens.scopes, created_at=self.now, updated_at=self.now
        )
        return StreamDriver.new(self, provider, app, connection, converse)
