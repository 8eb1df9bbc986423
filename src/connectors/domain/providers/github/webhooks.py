"""GitHub's webhook deliveries: verification, and their events.

1. The signature is HMAC-SHA256 over the raw body, in `X-Hub-Signature-256`. SHA-1 is not accepted.
2. There is no timestamp in it, so nothing expires: a redelivery has the same id and the same bytes.
3. A form body is `payload=<percent-encoded JSON>`; the signature covers the encoded form.

Source: docs.github.com, "Validating webhook deliveries" and "Webhook events and payloads".
"""

import hashlib

from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.webhook import DeliveryHints, Ignored, VerifiedDelivery, WebhookEvent, WebhookRequest
from connectors.domain.providers.contract import ReadContext, SubscriptionScope, VerificationMaterial, Webhooks
from connectors.domain.providers.github.events import Arrival, read_named_event
from connectors.domain.providers.github.subscriptions import SUBSCRIPTIONS
from connectors.domain.providers.toolbox.foreign import clean_text, read_count, read_object
from connectors.domain.providers.toolbox.signatures import hmac_sha256_hex, is_made_with

SIGNATURE_HEADER = "x-hub-signature-256"
LEGACY_SIGNATURE_HEADER = "x-hub-signature"
EVENT_HEADER = "x-github-event"
DELIVERY_HEADER = "x-github-delivery"
HOOK_HEADER = "x-github-hook-id"

LONGEST_ID = 128
"""Characters. GitHub's delivery ids have 36, its hook ids up to 20; longer ones are not GitHub's."""

LONGEST_NAME = 64
"""Characters of an event's or action's name that are kept: far more than any of GitHub's has."""


def read_hints(request: WebhookRequest) -> DeliveryHints:
    """The delivery's GUID and the hook that claims to send it."""
    return DeliveryHints(
        delivery_id=_short(request, DELIVERY_HEADER), subscription_external_id=_short(request, HOOK_HEADER)
    )


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if it was signed with one of the secrets. See `Webhooks.verify`."""
    if not material.secrets:
        raise DeliveryRejectedError("There is no webhook secret to check this delivery with.")
    claimed = request.headers.get(SIGNATURE_HEADER)
    if claimed is None:
        legacy = LEGACY_SIGNATURE_HEADER in request.headers
        hint = "; its SHA-1 predecessor is not enough" if legacy else ""
        raise DeliveryRejectedError(f"The header X-Hub-Signature-256 is missing{hint}.")
    if not is_made_with(material.secrets, claimed, lambda key: sign(key, request.body)):
        raise DeliveryRejectedError("The signature does not match the body.")
    # Without a GUID the body is the id: two of GitHub's events never have the same bytes.
    delivery_id = _short(request, DELIVERY_HEADER) or hashlib.sha256(request.body).hexdigest()
    return VerifiedDelivery(request=request, delivery_id=delivery_id, via=material.via)


def sign(secret: bytes, body: bytes) -> bytes:
    """The header value that GitHub would send for this body."""
    return b"sha256=" + hmac_sha256_hex(secret, body)


def read_event(delivery: VerifiedDelivery, _: ReadContext) -> WebhookEvent | Ignored:
    """What the delivery says. See `Webhooks.read_event`."""
    request = delivery.request
    event = request.headers.get(EVENT_HEADER)
    if not event:
        raise UnexpectedResponseError("The header X-GitHub-Event is missing.")
    payload = delivery.document
    action = payload.get("action")
    if action is not None and not isinstance(action, str):
        raise UnexpectedResponseError("GitHub's payload is not as documented: not a text @ $.action")
    arrival = Arrival(payload=payload, delivery_id=delivery.delivery_id, received_at=request.received_at)
    return read_named_event(_name(event), None if action is None else _name(action), arrival)


def read_accounts(delivery: VerifiedDelivery) -> tuple[str, ...]:
    """The organization and the repository's owner, in a delivery that is signed with the app's secret."""
    try:
        payload = delivery.document
    except UnexpectedResponseError:
        return ()
    owner = read_object(read_object(payload.get("repository")).get("owner"))
    named = (read_object(payload.get("organization")).get("id"), owner.get("id"))
    return tuple(dict.fromkeys(str(one) for one in map(read_count, named) if one is not None))


def _name(text: str) -> str:
    # The name is stored with the delivery even if we do not know it.
    return clean_text(text)[:LONGEST_NAME]


def _short(request: WebhookRequest, header: str) -> str | None:
    value = request.headers.get(header, "")
    return value if 0 < len(value) <= LONGEST_ID else None


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.TENANT,
    read_hints=read_hints,
    verify=verify,
    read_event=read_event,
    read_accounts=read_accounts,
    subscriptions=SUBSCRIPTIONS,
    secret_headers=frozenset({SIGNATURE_HEADER, LEGACY_SIGNATURE_HEADER}),
)
