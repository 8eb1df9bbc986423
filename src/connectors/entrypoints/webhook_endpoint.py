"""The way of a webhook from its URL to its answer, without a web framework.

The Flask views use the parts; `answer_webhook` is the whole, for callers that have no web server.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

import attrs

from connectors.domain.flows.webhooks.ingest import Admit
from connectors.domain.flows.webhooks.verification import Trust
from connectors.domain.model.errors import ConnectorsError, NotFoundError
from connectors.domain.model.http import lower_names
from connectors.domain.model.ids import ConnectionId, ProviderSlug, TenantId
from connectors.domain.model.trace import TRACE_ID
from connectors.domain.model.webhook import WebhookRequest
from connectors.domain.providers.registry import ProviderRegistry
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.representation.deliveries import AcceptedView
from connectors.entrypoints.representation.encoding import JSON, encode
from connectors.entrypoints.representation.problem import (
    CONTENT_TYPE,
    MESSAGES,
    Problem,
    find_problem,
    make_problem,
)
from connectors.entrypoints.request_ids import TENANT_HEADER, read_path, read_tenant_header

PARAMETERS = ("provider", "tenant_id", "connection_id", "url_key")
"""What follows `/webhooks/`: the app's URL has the first, a tenant's two of them, a connection's three or all."""

NO_TRACE = "0" * 32
"""The trace id of a problem outside any trace. W3C Trace Context §3.2.2.3: it names no trace."""


@attrs.frozen(kw_only=True)
class WebhookTarget:
    """Whom a delivery is for."""

    provider: ProviderSlug
    tenant_id: TenantId | None = None
    """None on the app's URL, unless a trusted relay names the tenant."""
    connection_id: ConnectionId | None = None
    url_key: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class WebhookAnswer:
    """The response to the sender."""

    status: int
    content_type: str
    body: bytes = attrs.field(repr=False)


def get_target(providers: ProviderRegistry, values: Mapping[str, Any]) -> WebhookTarget:
    """The target that the values of `PARAMETERS` name; only the provider has been looked up.

    Raises:
        ProviderNotSupportedError: no provider has this slug.
    """
    return WebhookTarget(
        provider=providers.get(values["provider"]).slug,
        tenant_id=values.get("tenant_id"),
        connection_id=values.get("connection_id"),
        url_key=values.get("url_key"),
    )


def own_url(base: str, path: str, query: str) -> str:
    """The URL that the provider was given.

    Args:
        base: our public URL.
        path: what follows it, without escapes.
        query: as it was sent, without `?`.
    """
    return f"{base.rstrip('/')}{quote(path)}" + (f"?{query}" if query else "")


def receive(
    connectors: Connectors,
    target: WebhookTarget,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    trust: Trust = Trust.NONE,
    admit: Admit = lambda tenants: None,
) -> WebhookAnswer:
    """The answer to a delivery that is now stored, or needed no storing.

    Args:
        connectors: the system that receives it.
        target: whom it is for.
        method: of the request.
        url: see `own_url`.
        headers: names in any case.
        body: exactly the bytes that were sent.
        trust: how far the sender is trusted before the signature is checked.
        admit: see `IngestFlow.accept_delivery`.

    Raises:
        ConnectorsError: see `IngestFlow.accept_delivery`.
    """
    acceptance = connectors.ingest.accept_delivery(
        WebhookRequest(
            provider=target.provider,
            tenant_id=target.tenant_id,
            connection_id=target.connection_id,
            url_key=target.url_key,
            method=method,
            url=url,
            headers=headers,
            body=body,
            received_at=connectors.clock.now(),
        ),
        trust=trust,
        admit=admit,
    )
    reply = acceptance.reply
    if reply is not None:
        return WebhookAnswer(reply.status, reply.content_type, reply.body)
    return WebhookAnswer(acceptance.success_status, JSON, encode(AcceptedView()))


def answer_webhook(
    connectors: Connectors,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    trust: Trust = Trust.NONE,
) -> WebhookAnswer:
    """What the API answers to this request. It neither limits rates and sizes, nor knows operator tokens.

    Args:
        connectors: the system that receives it.
        method: such as `POST`, which is the only one that is taken.
        url: where it was sent, below the system's public URL (below any host if it has none).
        headers: names in any case.
        body: exactly the bytes that were sent.
        trust: `OPERATOR` if it comes to the app's URL from a relay whose token the caller has checked; the tenant is
            then the one of `X-Tenant-Id`. Other URLs trust nobody.

    Raises:
        ValueError: the URL is not below the public URL.
        Exception: a bug of ours, which the API would answer with 500.
    """
    base, path, query = _split(url, connectors.public_url)
    trace_id = TRACE_ID.get() or NO_TRACE
    try:
        parameters = _match(path)
        if method != "POST":
            return _refuse(make_problem("METHOD_NOT_ALLOWED", MESSAGES["METHOD_NOT_ALLOWED"], trace_id=trace_id))
        values = read_path(parameters)
        is_relayed = trust is Trust.OPERATOR and "tenant_id" not in values
        if is_relayed:
            values["tenant_id"] = read_tenant_header(lower_names(headers).get(TENANT_HEADER.lower(), ""))
        return receive(
            connectors,
            get_target(connectors.providers, values),
            method=method,
            url=own_url(base, path, query),
            headers=headers,
            body=body,
            trust=trust if is_relayed else Trust.NONE,
        )
    except ConnectorsError as error:
        problem = find_problem(error, now=connectors.clock.now(), trace_id=trace_id)
        if problem is None:
            raise
        return _refuse(problem)


def _split(url: str, public_url: str | None) -> tuple[str, str, str]:
    """The base, the path below it without escapes, and the query, as WSGI servers and the Flask app read them."""
    address, _, query = url.partition("#")[0].partition("?")
    scheme, host = urlsplit(address)[:2]
    base = f"{scheme}://{host}" if public_url is None else public_url.rstrip("/")
    if not address.startswith(f"{base}/"):
        raise ValueError(f"{address} is not below {base}.")
    path = unquote_to_bytes(address.removeprefix(base)).decode(errors="replace")
    return base, f"/{path.lstrip('/')}", query


def _match(path: str) -> dict[str, str]:
    """The texts of the path's parameters by name.

    Raises:
        NotFoundError: the path is not one of the four forms.
    """
    match path.split("/"):
        case ["", "webhooks", *texts] if 1 <= len(texts) <= len(PARAMETERS) and all(texts):
            return dict(zip(PARAMETERS, texts, strict=False))
    raise NotFoundError(MESSAGES["NOT_FOUND"])


def _refuse(problem: Problem) -> WebhookAnswer:
    return WebhookAnswer(problem.status, CONTENT_TYPE, encode(problem))
