"""Acme's side: users, rotating tokens whose family dies when one is used twice, hooks, items. It behaves."""

import base64
import hashlib
import json
import threading
from datetime import timedelta
from itertools import count
from urllib.parse import parse_qs, urlsplit

import attrs

from connectors.domain.model.http import HttpResponse
from connectors.domain.model.instant import rfc3339

CLIENT = ("acme-client", "acme-secret")
PAGE_SIZE = 2


@attrs.define
class Family:
    """All tokens of one consent."""

    user: str
    scope: str
    access: str = ""
    refresh: str | None = None
    used: set = attrs.field(factory=set)
    dead: bool = False


def answer(document=None, status=200, **headers):
    body = b"" if document is None else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status=status, headers={"content-type": "application/json", **named}, body=body)


class Vendor:
    """Call it with a request to get the answer."""

    def __init__(self, clock):
        self.clock = clock
        self.lock = threading.RLock()
        self.numbers = count(1)
        self.accounts = {"ada": [{"id": "a-1", "name": "ada", "email": "ada@acme.test"}]}
        self.codes = {}
        self.families = []
        self.hooks = {}
        self.takes_hooks_over = True
        """Whether another request for a hook returns the existing one."""
        self.missed = []
        """Its log of deliveries that never arrived."""
        self.items = []
        self.targets = None
        """The same for everybody, or None: a box for each user."""
        self.keys = {"k1": {}}
        self.lifetime = 3600
        self.expiring = True
        self.before = lambda request: None
        """Called with each request; what it returns is the answer, what it raises is raised."""
        self.log = []
        """Every request, as `METHOD path`."""
        self.requests = []

    # --- the user's side ---

    def consent(self, authorize_url, user="ada", scope=None):
        """Consent; returns the code and the state of the redirect."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(authorize_url).query).items()}
        code = f"code-{next(self.numbers)}"
        self.codes[code] = (user, query["scope"] if scope is None else scope, query)
        return {"code": code, "state": query["state"]}

    def kill(self):
        """Revoke every consent."""
        for family in self.families:
            family.dead = True

    def add_items(self, *items):
        for item in items:
            self.items.append({"created_at": rfc3339(self.clock.now()), **item})

    # --- the wire ---

    def __call__(self, request):
        with self.lock:
            path = urlsplit(request.url).path
            self.log.append(f"{request.method} {path}")
            self.requests.append(request)
        special = self.before(request)
        if special is not None:
            return special
        with self.lock:
            return self._answer(request, path)

    def count(self, call):
        return self.log.count(call)

    def _answer(self, request, path):  # noqa: PLR0911 - a table of paths
        if path == "/oauth/token":
            return self._token({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        if path == "/oauth/revoke":
            return self._revoke(request)
        if path == "/keys":
            return answer({"keys": self.keys, "expires_at": rfc3339(self.clock.now() + timedelta(hours=1))})
        family = self._bearer(request)
        if family is None:
            return answer({"error": "unauthorized"}, 401)
        if path == "/api/accounts":
            return answer(self.accounts[family.user])
        if path == "/api/targets":
            return answer([f"box:{family.user}"] if self.targets is None else self.targets)
        if path == "/api/hooks":
            return self._hook(json.loads(request.body))
        if path.startswith("/api/hooks/") and request.method == "GET":
            return answer({}) if self._is_alive(path.rpartition("/")[2]) else answer(status=404)
        if path == "/api/missed":
            since = parse_qs(urlsplit(request.url).query)["since"][0]
            return answer([one for one in self.missed if one["at"] >= since])
        if path.startswith("/api/missed/"):
            return answer(status=202)
        if path.startswith("/api/hooks/"):
            return answer(status=404 if self.hooks.pop(path.rpartition("/")[2], None) is None else 204)
        if path == "/api/items":
            return self._items(int(parse_qs(urlsplit(request.url).query)["after"][0]))
        return answer({"error": "not found"}, 404)

    def _hook(self, wanted):
        """One for each URL and target; another request sets the new secret."""
        for hook in self.hooks.values():
            if self.takes_hooks_over and (hook["url"], hook["target"]) == (wanted["url"], wanted["target"]):
                hook["secret"] = wanted["secret"]
                hook["accounts"].append(wanted["account"])
                return answer({"id": hook["id"], "target": hook["target"]})
        hook = {"id": f"hook-{next(self.numbers)}", "accounts": [wanted.pop("account")], **wanted}
        self.hooks[hook["id"]] = hook
        return answer({"id": hook["id"], "target": hook["target"]}, 201)

    def _is_alive(self, name):
        expires_at = self.hooks.get(name, {"expires_at": ""}).get("expires_at")
        return expires_at is None or expires_at > rfc3339(self.clock.now())

    def live_hooks(self):
        """Those that still deliver."""
        return [hook for name, hook in self.hooks.items() if self._is_alive(name)]

    def _items(self, after):
        if after == -1:
            return answer({"items": [], "end": len(self.items), "more": False})
        items = self.items[after : after + PAGE_SIZE]
        end = after + len(items)
        return answer({"items": items, "end": end, "more": end < len(self.items)})

    def _bearer(self, request):
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return next((one for one in self.families if one.access == token and not one.dead), None)

    def _token(self, fields):
        if (fields["client_id"], fields["client_secret"]) != CLIENT:
            return answer({"error": "invalid_client"}, 401)
        if fields["grant_type"] == "refresh_token":
            return self._rotate(fields["refresh_token"])
        code = self.codes.pop(fields["code"], None)
        if code is None:
            return answer({"error": "invalid_grant"}, 400)
        user, scope, query = code
        if query.get("code_challenge") is not None:
            digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).decode().rstrip("=") != query["code_challenge"]:
                return answer({"error": "invalid_grant"}, 400)
        if fields["redirect_uri"] != query["redirect_uri"]:
            return answer({"error": "invalid_grant"}, 400)
        self.families.append(Family(user, scope))
        return self._issue(self.families[-1])

    def _rotate(self, refresh_token):
        for family in self.families:
            if refresh_token in family.used:
                family.dead = True  # RFC 9700 §4.14.2: used twice, so one of the two users is a thief
            if family.refresh == refresh_token and not family.dead:
                family.used.add(refresh_token)
                return self._issue(family)
        return answer({"error": "invalid_grant"}, 400)

    def _issue(self, family):
        number = next(self.numbers)
        family.access = f"access-token-{number}"
        if not self.expiring:
            return answer({"access_token": family.access, "scope": family.scope})
        family.refresh = f"refresh-token-{number}"
        return answer(
            {
                "access_token": family.access,
                "refresh_token": family.refresh,
                "expires_in": self.lifetime,
                "scope": family.scope,
            }
        )

    def _revoke(self, request):
        token = parse_qs(request.body.decode())["token"][0]
        expected = "Basic " + base64.b64encode(":".join(CLIENT).encode()).decode()
        if request.headers.get("authorization") != expected:
            return answer({"error": "invalid_client"}, 401)
        for family in self.families:
            family.dead = family.dead or family.access == token
        return answer({})
