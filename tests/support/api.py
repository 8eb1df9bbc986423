"""The API in memory with a simulated GitHub; every answer is checked against the OpenAPI document."""

import hashlib
import hmac
import json
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from connectors.adapters.system.clock import SystemClock
from connectors.adapters.system.operators import OperatorTokens
from connectors.domain.model.http import HttpResponse
from connectors.entrypoints.flask import ApiSettings, create_app
from connectors.entrypoints.library import Connectors

ROOT_TOKEN = "root-token"
READER_TOKEN = "reader-token"
WRITER_TOKEN = "writer-token"
ADMIN_TOKEN = "admin-token"
TENANT_TOKEN = "tenant-token"
ONLY_TENANT = "123e4567-e89b-12d3-a456-426614174000"
WEBHOOK_SECRET = "webhook-secret"
FORMATS = FormatChecker()

OPERATORS = OperatorTokens.parse(
    json.dumps(
        [
            {"name": "root", "token": ROOT_TOKEN},
            {"name": "reader", "token": READER_TOKEN, "permissions": ["read"]},
            {"name": "writer", "token": WRITER_TOKEN, "permissions": ["write"]},
            {"name": "admin", "token": ADMIN_TOKEN, "permissions": ["admin"]},
            {"name": "bound", "token": TENANT_TOKEN, "tenants": [ONLY_TENANT]},
        ]
    )
)


class ImpatientClock(SystemClock):
    """The machine's clock, without sleeping."""

    def sleep(self, duration):
        pass


class GitHubStub:
    """A GitHub that gives a new token for any code, names its user, and accepts hooks."""

    def __init__(self):
        self.user = {"id": 101, "login": "ada", "html_url": "https://github.com/ada"}
        self.scope = "repo,read:org"
        self.failure = None
        self.tokens = 0
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if self.failure is not None:
            return self.failure(request)
        path = urlsplit(request.url).path
        if path == "/login/oauth/access_token":
            self.tokens += 1
            return self._json(
                {
                    "access_token": f"gho_{self.tokens}",
                    "refresh_token": f"ghr_{self.tokens}",
                    "expires_in": 28800,
                    "refresh_token_expires_in": 15552000,
                    "token_type": "bearer",
                    "scope": self.scope,
                }
            )
        if path == "/user":
            return self._json(self.user)
        if path.endswith("/hooks") and request.method == "POST":
            return self._json({"id": 31337, "active": True, "config": json.loads(request.body)["config"]}, 201)
        if request.method == "DELETE":
            return HttpResponse(status=204)
        return self._json([])

    @staticmethod
    def _json(document, status=200):
        headers = {"content-type": "application/json"}
        return HttpResponse(status=status, headers=headers, body=json.dumps(document).encode())


def make_api(github=None, settings=None, **changes):
    """The API over a system in memory."""
    changes.setdefault("clock", ImpatientClock())
    return Api(Connectors.in_memory(respond=github or GitHubStub(), **changes), settings or ApiSettings())


class Api:
    """A client that fails on any answer that the OpenAPI document does not allow."""

    def __init__(self, connectors, settings):
        self.connectors = connectors
        self.app = create_app(connectors, OPERATORS, settings)
        self.client = self.app.test_client()
        self.validators = {}
        self.document = self.client.get("/openapi.json").get_json()

    def call(self, method, path, *, token=ROOT_TOKEN, tenant=None, headers=None, check=True, **request):
        """The checked answer to one request."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if tenant is not None:
            sent["X-Tenant-Id"] = str(tenant)
        response = self.client.open(path, method=method, headers=sent, **request)
        if check:
            self.check(method, path, response)
        return response

    def get(self, path, **request):
        return self.call("GET", path, **request)

    def post(self, path, **request):
        return self.call("POST", path, **request)

    def new_tenant(self):
        tenant = str(uuid4())
        assert self.call("PUT", f"/tenants/{tenant}").status_code == 201
        return tenant

    def connect(self, tenant, body=None):
        """The connection that a whole consent gives."""
        started = self.post("/connect/github", tenant=tenant, json=body).get_json()
        state = parse_qs(urlsplit(started["authorize_url"]).query)["state"][0]
        answer = self.get("/connect/github/callback", query_string={"code": "c0de", "state": state})
        assert answer.status_code == 200, answer.get_json()
        return answer.get_json()["connection"]

    def deliver(self, path, event, document, *, delivery_id=None, secret=WEBHOOK_SECRET, **request):
        """A signed delivery as GitHub sends it."""
        headers, body = signed(event, document, delivery_id=delivery_id, secret=secret)
        request.setdefault("token", None)
        return self.post(path, headers={**headers, **request.pop("headers", {})}, data=body, **request)

    def check(self, method, path, response):
        """Check an answer against the document."""
        assert len(response.headers["X-Trace-Id"]) == 32
        assert response.status_code != 500, response.get_json()
        if response.status_code in {404, 405, 308} and self._find(method, path) is None:
            return
        operation = self._find(method, path)
        if operation is None and path.startswith("/docs/"):
            return
        responses = operation["responses"]
        assert str(response.status_code) in responses, (response.status_code, response.get_data())
        content = responses[str(response.status_code)].get("content")
        if content is None:
            assert response.get_data() == b""
            return
        assert response.mimetype in content
        schema = content[response.mimetype].get("schema")
        if schema is not None:
            error = best_match(self._validator(schema).iter_errors(response.get_json()))
            assert error is None, error

    def _validator(self, schema):
        key = id(schema)
        if key not in self.validators:
            whole = {**schema, "components": self.document["components"]}
            self.validators[key] = Draft202012Validator(whole, format_checker=FORMATS)
        return self.validators[key]

    def _find(self, method, path):
        """The document's operation for this method and path, or None."""
        parts = path.partition("?")[0].split("/")
        for template, operations in self.document["paths"].items():
            pattern = template.split("/")
            if len(parts) == len(pattern) and all(
                want == have or (want.startswith("{") and have) for want, have in zip(pattern, parts, strict=True)
            ):
                found = operations.get("get" if method == "HEAD" else method.lower())
                if found is not None:
                    return found
        return None


def signed(event, document, *, delivery_id=None, secret=WEBHOOK_SECRET):
    """The headers and the body of a delivery as GitHub sends it; without a signature if the secret is None."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery_id or str(uuid4()),
    }
    if secret is not None:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={digest}"
    return headers, body


def problem(response):
    """The status and code of a problem document."""
    document = response.get_json()
    assert response.mimetype == "application/problem+json"
    assert document["status"] == response.status_code
    assert document["trace_id"] == response.headers["X-Trace-Id"]
    return response.status_code, document["code"]


def issue_opened(number=42, **changes):
    """What GitHub sends when an issue is opened."""
    ada = {"login": "ada", "id": 101, "html_url": "https://github.com/ada"}
    return {
        "action": "opened",
        "issue": {
            "id": number * 10,
            "number": number,
            "title": f"Issue {number}",
            "html_url": f"https://github.com/ada/lamp/issues/{number}",
            "user": ada,
            "created_at": "2026-03-01T08:00:00Z",
            "updated_at": "2026-03-01T08:00:00Z",
            **changes,
        },
        "repository": {
            "id": 7001,
            "full_name": "ada/lamp",
            "name": "lamp",
            "html_url": "https://github.com/ada/lamp",
            "owner": ada,
        },
        "sender": ada,
    }
