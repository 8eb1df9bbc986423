"""Deliveries: who sent them, which site they are about, and which connection they are for.

There are two kinds of webhook, and the request says which one it is:

- *dynamic*, registered by us: a JWT in `Authorization`, signed with the client secret, on the app-level URL. It proves
  "Atlassian, to our app" but does not cover the body. So the site in the body must be the connection's, and
  `matchedWebhookIds` must contain a webhook of this connection.
- *admin*, made by a site's administrator on a tenant's URL: `X-Hub-Signature` over the raw body.

Source: Webhooks (Jira platform); RFC 7519; WebSub §8 (X-Hub-Signature).
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.webhook import (
    Ignored,
    VerifiedDelivery,
    WebhookEvent,
    WebhookRequest,
)
from connectors.domain.providers.contract import (
    ReadContext,
    SubscriptionScope,
    VerificationMaterial,
    Webhooks,
)
from connectors.domain.providers.jira.endpoints import host_of
from connectors.domain.providers.jira.envelope import Envelope
from connectors.domain.providers.jira.events import (
    ADMIN_EVENTS,
    DYNAMIC_EVENTS,
    PROJECT_CREATED,
    find_rules,
    lacks_category,
    normalize,
    why_ignored,
)
from connectors.domain.providers.jira.payloads import read_id
from connectors.domain.providers.jira.position import SITE
from connectors.domain.providers.jira.signals import CHANGE_KINDS, Site
from connectors.domain.providers.jira.subscriptions import SUBSCRIPTIONS, WEBHOOK_IDS
from connectors.domain.providers.toolbox.foreign import read_each
from connectors.domain.providers.toolbox.jwt import get_bearer_token, verify_times, verify_token
from connectors.domain.providers.toolbox.signatures import hmac_sha256_hex, is_made_with

LEEWAY = timedelta(seconds=120)
"""How far Atlassian's clock and ours may differ when a JWT's times are checked."""
TOLERANCE = timedelta(hours=24)
"""The oldest accepted `timestamp` of an admin delivery, the only time that the signature covers. Jira's retries end
within some hours."""


def checkboxes(events: tuple[str, ...]) -> str:
    """The names of these events in a Jira site's administration: `Worklog: created`."""
    named = (event.removeprefix("jira:").partition("_") for event in events)
    return ", ".join(f"{noun.capitalize()}: {verb}" for noun, _, verb in named)


MANUAL_SETUP = f"""\
In the Atlassian developer console, open the app:
1. Permissions: add the Jira API with read:jira-work, read:jira-user and manage:jira-webhook.
2. Authorization: set the callback URL to the redirect URI that Core uses.
3. Distribution: enable sharing. While the app is private, Jira registers webhooks but delivers only to the
   app's owner.
The webhook itself is registered and renewed automatically, with the URL {{webhook_url}} for all sites.
An administrator's webhook is needed for events that only it has, or if the app must not register one:
1. Make a secret with `connectors webhooks secret --tenant <tenant> <connection>`, which prints it with a URL.
2. In Jira open Settings, System, WebHooks, and create a webhook with that URL and secret; one without is refused.
3. Tick the events that only it has: {checkboxes(ADMIN_EVENTS)}.
4. Only if the app registers no webhook, tick the others too:
   {checkboxes(DYNAMIC_EVENTS)}.
One secret for all tenants is possible: POBLYSH_JIRA_WEBHOOK_SECRET, at {{webhook_url}}/<tenant id>."""


def delivery_id_of(request: WebhookRequest) -> str:
    """The same on every retry: site and `X-Atlassian-Webhook-Identifier` (unique within a site), or a hash of the body
    if that header is missing."""
    identifier = read_id(request.headers.get("x-atlassian-webhook-identifier"))
    if identifier is None:
        return f"sha256:{hashlib.sha256(request.body).hexdigest()}"
    try:
        site = Envelope.read(request.document).site
    except UnexpectedResponseError:
        site = None
    return identifier if site is None else f"{site}:{identifier}"


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if its sender is proven.

    Raises:
        DeliveryRejectedError: neither a valid JWT of ours nor, on a tenant's URL, a valid signature over the body.
    """
    claims: Mapping[str, Any] = {}
    via = material.via
    if request.tenant_id is not None and "x-hub-signature" in request.headers:
        verify_signature(request, material)
    else:
        claims = verify_jwt(request, material)
        via = "app"
    return VerifiedDelivery(request=request, delivery_id=delivery_id_of(request), via=via, claims=claims)


def verify_signature(request: WebhookRequest, material: VerificationMaterial) -> None:
    """Check `X-Hub-Signature: sha256=<hex>` over the raw body.

    Raises:
        DeliveryRejectedError: no secret, another method, a mismatch, or a body that is too old or too new.
    """
    if not material.secrets:
        raise DeliveryRejectedError("There is no secret to check this delivery with.")
    claimed = request.headers.get("x-hub-signature", "")
    if not is_made_with(material.secrets, claimed, lambda key: b"sha256=" + hmac_sha256_hex(key, request.body)):
        raise DeliveryRejectedError("The signature does not match.")
    try:
        sent_at = Envelope.read(request.document).sent_at
    except UnexpectedResponseError:
        return  # authentic but unreadable: stored as failed, not rejected
    if sent_at is not None and abs(material.now - sent_at) > TOLERANCE:
        raise DeliveryRejectedError("The delivery is too old or from the future.")


def verify_jwt(request: WebhookRequest, material: VerificationMaterial) -> Mapping[str, Any]:
    """The verified claims of `Authorization: Bearer <JWT>`: HS256 with the client secret, our client id as issuer.

    Raises:
        DeliveryRejectedError: missing, malformed, another algorithm or key, expired, or issued for another app.
    """
    if material.app is None or not material.app.client_secret.reveal():
        raise DeliveryRejectedError("There is no client secret to check this delivery with.")
    token = get_bearer_token(request.headers.get("authorization", ""))
    claims = verify_token(token, material.app.client_secret.reveal_bytes(), "HS256")
    if claims.get("iss") != material.app.client_id:
        raise DeliveryRejectedError("The bearer token was issued for another app.")
    verify_times(claims, material.now, LEEWAY)
    return claims


def read_event(delivery: VerifiedDelivery, context: ReadContext) -> WebhookEvent | Ignored:
    """The event and its site; `to_signals` completes it for each connection.

    Raises:
        UnexpectedResponseError: not a JSON object, or a dynamic delivery that names no site.
    """
    del context
    envelope = Envelope.read(delivery.document)
    if not find_rules(envelope):
        return Ignored(envelope.event, why_ignored(envelope))
    if envelope.site is None and _is_dynamic(delivery, envelope):
        raise UnexpectedResponseError("The delivery names no site.")
    return WebhookEvent(event=envelope.event, account_ids=read_accounts(delivery))


def read_accounts(delivery: VerifiedDelivery) -> tuple[str, ...]:
    """The site, if a link in the body names it."""
    envelope = _find_envelope(delivery)
    return () if envelope is None or envelope.site is None else (envelope.site,)


def verify_owner(delivery: VerifiedDelivery, connection: Connection) -> None:
    """Check that the delivery is of the connection's site and, if our webhook sent it, of one of its webhooks.

    A body that is no JSON object names neither.

    Raises:
        DeliveryRejectedError: it is not.
    """
    envelope = _find_envelope(delivery)
    if envelope is None:
        return
    of_connection = {connection.account.id, f"host:{host_of(connection.account.url)}"}
    is_dynamic = _is_dynamic(delivery, envelope)
    if envelope.site not in of_connection and (envelope.site is not None or is_dynamic):
        raise DeliveryRejectedError("The delivery is of another site than the connection's.")
    if is_dynamic and not envelope.webhook_ids & own_ids(connection):
        raise DeliveryRejectedError("The delivery is of a webhook that the connection does not have.")


def _find_envelope(delivery: VerifiedDelivery) -> Envelope | None:
    try:
        return Envelope.read(delivery.document)
    except UnexpectedResponseError:
        return None


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event with its signals for this connection.

    A change of a status of unknown category makes none: a read finds the category, and emits it with the right kind.

    Raises:
        UnexpectedResponseError: the id of the subject or the time is missing.
    """
    envelope = Envelope.read(delivery.document)
    site = Site.of(connection)
    signals = normalize(envelope, site)
    if envelope.event == PROJECT_CREATED:
        return attrs.evolve(event, signals=signals, needs_sync=True, sync_target=DISCOVERY)
    if not lacks_category(envelope, site):
        return attrs.evolve(event, signals=signals)
    sure = tuple(one for one in signals if one.kind not in CHANGE_KINDS)
    return attrs.evolve(event, signals=sure, needs_sync=True, sync_target=SITE)


def own_ids(connection: Connection) -> frozenset[str]:
    """The ids of the webhooks that the connection has or recently had."""
    return frozenset(read_each(connection.metadata.get(WEBHOOK_IDS), read_id))


def _is_dynamic(delivery: VerifiedDelivery, envelope: Envelope) -> bool:
    """Whether our webhook sent it. A replay no longer has the JWT, but still the ids that only our webhooks send."""
    return bool(delivery.claims) or envelope.has_webhook_ids


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.APP,
    manual_secret_scope=SubscriptionScope.TENANT,
    read_delivery_id=delivery_id_of,
    verify=verify,
    read_event=read_event,
    read_accounts=read_accounts,
    verify_owner=verify_owner,
    to_signals=to_signals,
    subscriptions=SUBSCRIPTIONS,
    manual_setup=MANUAL_SETUP,
    secret_headers=frozenset({"authorization", "x-hub-signature"}),
)
