"""Deliveries: who sent them, which site they speak of, and for which connection they are.

Two kinds of webhook reach us, and the request itself says which one it is:

- *dynamic*, registered by us: a JWT in `Authorization`, signed with the client secret, on the app-level URL. It proves
  "Atlassian, to our app" but does not cover the body. So the site that the body names must be the connection's, and
  `matchedWebhookIds` must name a webhook that this connection has.
- *admin*, made by a site's administrator on a tenant's URL: `X-Hub-Signature` over the raw body.

Source: Webhooks (Jira platform); RFC 7519; WebSub §8 (X-Hub-Signature).
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import jwt

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.webhook import (
    DeliveryHints,
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
    find_rules,
    normalize,
    why_ignored,
)
from connectors.domain.providers.jira.payloads import as_list, read_id
from connectors.domain.providers.jira.signals import Site
from connectors.domain.providers.jira.subscriptions import SUBSCRIPTIONS, WEBHOOK_IDS

LEEWAY = timedelta(seconds=120)
"""How far the two clocks may differ when a JWT's times are checked."""
MAX_JWT = 8192
"""Characters. Atlassian's have a few hundred; nothing longer is worth parsing."""
TOLERANCE = timedelta(hours=24)
"""Age of an admin delivery's own `timestamp` at the most. Jira's retries end within some hours, and the signature
covers no other time."""


def checkboxes(events: tuple[str, ...]) -> str:
    """How the administration of a Jira site names these events: `Worklog: created`."""
    named = (event.removeprefix("jira:").partition("_") for event in events)
    return ", ".join(f"{noun.capitalize()}: {verb}" for noun, _, verb in named)


MANUAL_SETUP = f"""\
In the Atlassian developer console, open the app:
1. Permissions: add the Jira API with read:jira-work, read:jira-user and manage:jira-webhook.
2. Authorization: set the callback URL to the redirect URI that Core uses.
3. Distribution: enable sharing. While the app is private Jira registers webhooks and then delivers to nobody but the
   app's owner.
The webhook itself is registered and renewed automatically, with the URL {{webhook_url}} for all sites.
An administrator's webhook is needed for events that only it has, or if the app must not register one:
1. Make a secret with `connectors webhooks secret --tenant <tenant> <connection>`, which prints it with a URL.
2. In Jira open Settings, System, WebHooks, and create a webhook with that URL and secret; one without is refused.
3. Tick the events that only it has: {checkboxes(ADMIN_EVENTS)}.
4. Only if the app registers no webhook, tick the others too:
   {checkboxes(DYNAMIC_EVENTS)}.
One secret for all tenants is possible: POBLYSH_JIRA_WEBHOOK_SECRET, at {{webhook_url}}/<tenant id>."""


def read_hints(request: WebhookRequest) -> DeliveryHints:
    """The delivery's id, which is the same on every retry. Webhook ids repeat across sites, so none is a hint."""
    return DeliveryHints(delivery_id=delivery_id_of(request))


def delivery_id_of(request: WebhookRequest) -> str:
    """Site and `X-Atlassian-Webhook-Identifier` (unique within a site), or a hash of the body without that header."""
    identifier = read_id(request.headers.get("x-atlassian-webhook-identifier"))
    if identifier is None:
        return f"sha256:{hashlib.sha256(request.body).hexdigest()}"
    try:
        site = read_envelope(request).site
    except UnexpectedResponseError:
        site = None
    return identifier if site is None else f"{site}:{identifier}"


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, once its sender is proven.

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
        DeliveryRejectedError: no secret to check with, another method, mismatch, or a body that is too old or new.
    """
    claimed = request.headers.get("x-hub-signature", "").encode(errors="replace")
    secrets = [secret.reveal_bytes() for secret in material.secrets if secret.reveal()]
    if not secrets:
        raise DeliveryRejectedError("There is no secret to check this delivery with.")
    matches = [hmac.compare_digest(_signature(secret, request.body), claimed) for secret in secrets]
    if not any(matches):
        raise DeliveryRejectedError("The signature does not match.")
    try:
        sent_at = read_envelope(request).sent_at
    except UnexpectedResponseError:
        return  # authentic but not readable: it is kept as failed, not refused
    if sent_at is not None and abs(material.now - sent_at) > TOLERANCE:
        raise DeliveryRejectedError("The delivery is too old or from the future.")


def verify_jwt(request: WebhookRequest, material: VerificationMaterial) -> Mapping[str, Any]:
    """The claims of `Authorization: Bearer <JWT>`: HS256 with the client secret, our client id as issuer, in time.

    Times are checked here against the given instant; PyJWT would read the clock.

    Raises:
        DeliveryRejectedError: missing, malformed, another algorithm or key, expired, or issued for another app.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if material.app is None or not material.app.client_secret.reveal():
        raise DeliveryRejectedError("There is no client secret to check this delivery with.")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_JWT:
        raise DeliveryRejectedError("The delivery carries no bearer token.")
    try:
        claims = jwt.decode(
            token,
            material.app.client_secret.reveal_bytes(),
            algorithms=["HS256"],
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
                "verify_sub": False,
                "verify_jti": False,
                "require": ["exp", "iss"],
            },
        )
    # A header of brackets nested thousands deep ends in RecursionError, wrong UTF-8 in ValueError.
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise DeliveryRejectedError("The bearer token is not valid.") from None
    issuer = claims.get("iss")
    ours = material.app.client_id.encode()
    if not isinstance(issuer, str) or not hmac.compare_digest(issuer.encode(errors="replace"), ours):
        raise DeliveryRejectedError("The bearer token was issued for another app.")
    earliest, latest = (material.now - LEEWAY).timestamp(), (material.now + LEEWAY).timestamp()
    if not _is_number(claims["exp"]) or claims["exp"] < earliest:
        raise DeliveryRejectedError("The bearer token has expired.")
    starts = [claims[name] for name in ("iat", "nbf") if name in claims]
    if not all(_is_number(start) and start <= latest for start in starts):
        raise DeliveryRejectedError("The bearer token is from the future.")
    return dict(claims)


def read_event(delivery: VerifiedDelivery, context: ReadContext) -> WebhookEvent | Ignored:
    """Which event it is and which site it names; `to_signals` finishes it for each connection.

    Raises:
        UnexpectedResponseError: not a JSON object, or a dynamic delivery that names no site.
    """
    del context
    envelope = read_envelope(delivery.request)
    if not find_rules(envelope):
        return Ignored(envelope.event, why_ignored(envelope))
    if envelope.site is None and _is_dynamic(delivery, envelope):
        raise UnexpectedResponseError("The delivery names no site.")
    return WebhookEvent(event=envelope.event, account_ids=() if envelope.site is None else (envelope.site,))


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event with the signals that it means for this connection.

    Raises:
        DeliveryRejectedError: it is of another site, or of a webhook that this connection does not have.
        UnexpectedResponseError: it lacks what identifies the thing or the moment.
    """
    envelope = read_envelope(delivery.request)
    of_connection = {connection.account.id, f"host:{host_of(connection.account.url)}"}
    is_dynamic = _is_dynamic(delivery, envelope)
    if envelope.site not in of_connection and (envelope.site is not None or is_dynamic):
        raise DeliveryRejectedError("The delivery is of another site than the connection's.")
    if is_dynamic and not envelope.webhook_ids & own_ids(connection):
        raise DeliveryRejectedError("The delivery is of a webhook that the connection does not have.")
    return attrs.evolve(event, signals=normalize(envelope, Site.of(connection)))


def read_envelope(request: WebhookRequest) -> Envelope:
    """What the request's body says.

    Raises:
        UnexpectedResponseError: it is not a JSON object.
    """
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedResponseError("The delivery's body is not JSON.") from error
    return Envelope.read(document)


def own_ids(connection: Connection) -> frozenset[str]:
    """The webhooks that the connection has or recently had."""
    found = (read_id(item) for item in as_list(connection.metadata.get(WEBHOOK_IDS)))
    return frozenset(item for item in found if item is not None)


def _is_dynamic(delivery: VerifiedDelivery, envelope: Envelope) -> bool:
    """Whether a webhook of ours sent it. A replay has no JWT any more, but still the ids that only those carry."""
    return bool(delivery.claims) or envelope.has_webhook_ids


def _signature(secret: bytes, body: bytes) -> bytes:
    return b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def _is_number(value: Any) -> bool:
    """Whether it can be compared with an instant: NaN, which JSON readers let in, is neither early nor late."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.APP,
    manual_secret_scope=SubscriptionScope.TENANT,
    read_hints=read_hints,
    verify=verify,
    read_event=read_event,
    to_signals=to_signals,
    subscriptions=SUBSCRIPTIONS,
    manual_setup=MANUAL_SETUP,
    secret_headers=frozenset({"authorization", "x-hub-signature"}),
)
