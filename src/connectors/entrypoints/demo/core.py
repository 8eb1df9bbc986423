"""Simulates Poblysh Core: it makes Core's calls to the API over HTTP."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import requests

from connectors.entrypoints.demo.stage import Stage

TIMEOUT = 30
"""Seconds for one call; everything runs on this machine."""

Json = Mapping[str, Any]


@attrs.frozen
class Core:
    """A backend with an operator token, acting for one tenant."""

    stage: Stage
    tenant_id: str
    _session: requests.Session = attrs.field(factory=requests.Session, init=False)

    def __attrs_post_init__(self) -> None:
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {self.stage.operator_token}"
        self._session.headers["X-Tenant-Id"] = self.tenant_id

    def connect(self, provider: str, options: Json) -> Json:
        """The connection that the user's consent gives: steps 2 and 3 of the integration guide."""
        body = {"options": dict(options)} if options else {}
        start = self._call("POST", f"/connect/{provider}", json=body)
        # Stands for the user's browser: the sandbox consents at once and redirects it to Core's redirect URI.
        landed = requests.get(start["authorize_url"], allow_redirects=False, timeout=TIMEOUT).headers["Location"]
        query = dict(parse_qsl(urlsplit(landed).query))
        connected = self._call("GET", f"/connect/{provider}/callback", params=query)
        connection: Json = connected["connection"]
        return connection

    def webhook_url(self, connection: Json) -> str:
        """The URL for this connection's webhooks: its own, or as the catalog gives it."""
        webhook = self._call("GET", f"/providers/{connection['provider']}")["webhook"]
        if webhook["scope"] == "connection":
            own: str = self._call("POST", f"/connections/{connection['id']}/webhook-url")["url"]
            return own
        url: str = webhook["url"]
        return url.replace("{tenant_id}", self.tenant_id)

    def connections(self) -> list[Json]:
        """All connections: step 4."""
        return list(self._pages("/connections", "connections"))

    def signals(self) -> list[Json]:
        """All signals, newest first: step 5."""
        return list(self._pages("/signals", "signals"))

    def deliveries(self) -> list[Json]:
        """All webhook deliveries."""
        return list(self._pages("/deliveries", "deliveries"))

    def jobs(self) -> list[Json]:
        """All reads of the providers, newest first."""
        return list(self._pages("/jobs", "jobs"))

    def streams(self, connection: Json) -> list[Json]:
        """What is read of the connection, each stream by itself."""
        return list(self._pages(f"/connections/{connection['id']}/streams", "streams"))

    def _pages(self, path: str, plural: str) -> Iterator[Json]:
        params = {"limit": "100"}
        while True:
            page = self._call("GET", path, params=params)
            yield from page[plural]
            if not page["has_more"]:
                return
            params["cursor"] = page["next_cursor"]

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._session.request(method, self.stage.api_url + path, timeout=TIMEOUT, **arguments)
        if not answer.ok:
            raise RuntimeError(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()
