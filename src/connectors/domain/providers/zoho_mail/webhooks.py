"""Zoho Mail's outgoing webhook: the mailbox's owner sets it up by hand, and it reports only incoming mail.

1. The first request announces the secret in `X-Hook-Secret` and must get a 200. The secret is stored if the connection
   has none and the URL has the connection's key, which only the operator and the mailbox's owner know. Later
   announcements prove nothing; only an operator (`connectors webhooks rekey`) can allow another secret.
2. Every later request is signed: `X-Hook-Signature` is base64(HMAC-SHA256(secret, raw body)). The secret is used as the
   text that was sent. If an announcement has a signature too, it must be made with the announced secret.
3. There is no delivery id and no timestamp: the body's hash is the id, and the signal's key does not depend on it.
4. The URL says which mailbox it is; in the body only `zuid` does, and it must agree.

Source: zoho.com/mail/help/dev-platform/webhook.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Ignored, VerifiedDelivery, WebhookEvent, WebhookRequest
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.contract import (
    Handshake,
    ReadContext,
    SubscriptionScope,
    VerificationMaterial,
    Webhooks,
)
from connectors.domain.providers.toolbox.foreign import read_millis
from connectors.domain.providers.toolbox.signatures import hmac_sha256, is_made_with
from connectors.domain.providers.zoho_mail.payloads import is_task, read_delivery
from connectors.domain.providers.zoho_mail.signals import MAIL, arrival, known_folder

SECRET_HEADER = "x-hook-secret"  # noqa: S105 - a header's name
SIGNATURE_HEADER = "x-hook-signature"
SECRET_LIMIT = 512
"""Characters; Zoho's secrets have well under a hundred."""
TASK = "task"

MANUAL_SETUP = """\
Zoho Mail has no API call for this: the mailbox's owner does it once, after the mailbox is connected (paid plans only).
Without it nothing is lost: mail is found by polling, some minutes later.
1. In Zoho Mail open Settings > Integrations > Developer Space > Outgoing Webhooks; add a webhook for the entity Mail.
2. Enter the URL that `connectors webhooks url --tenant <tenant> <connection>` prints
   (POST /connections/<connection>/webhook-url): {webhook_url} and a key. Without the key no secret is taken.
3. Save. Zoho announces its secret at once, so the service must be running; the first one announced is kept.
Zoho announces a new secret when the webhook is made again or its URL edited, and it is refused. To take it, first run
`connectors webhooks rekey --tenant <tenant> <connection>`, then save the webhook again with that URL."""


def delivery_id(request: WebhookRequest) -> str:
    """The body's hash: Zoho sends no id."""
    return hashlib.sha256(request.body).hexdigest()


def read_handshake(request: WebhookRequest) -> Handshake | None:
    """The announced secret; None if there is none, or if the request is signed with another."""
    announced = request.headers.get(SECRET_HEADER, "")
    if not 0 < len(announced) <= SECRET_LIMIT or not announced.isprintable() or announced.strip() != announced:
        return None
    signature = request.headers.get(SIGNATURE_HEADER)
    secret = Secret(announced)
    if signature is not None and not is_signed(request.body, signature, [secret]):
        return None
    return Handshake(secret=secret)


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if it was signed with the stored secret. See `Webhooks.verify`."""
    if not material.secrets:
        raise DeliveryRejectedError(
            "There is no webhook secret to check this delivery with.",
            next_step="Enter the URL of `connectors webhooks url` in Zoho Mail and save: that announces the secret.",
        )
    signature = request.headers.get(SIGNATURE_HEADER)
    if signature is None:
        if SECRET_HEADER in request.headers:
            raise DeliveryRejectedError(
                "The header X-Hook-Signature is missing. A secret is kept already, and is not replaced.",
                next_step="If the webhook was made again, run `connectors webhooks rekey` and save it again.",
            )
        raise DeliveryRejectedError("The header X-Hook-Signature is missing.")
    if not is_signed(request.body, signature, material.secrets):
        raise DeliveryRejectedError("X-Hook-Signature does not match the body.")
    return VerifiedDelivery(request=request, delivery_id=delivery_id(request), via=material.via)


def is_signed(body: bytes, signature: str, secrets: Sequence[Secret]) -> bool:
    """Whether the body was signed with one of these secrets. Compares decoded bytes."""
    try:
        claimed = base64.b64decode(signature.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return False
    return is_made_with(secrets, claimed, lambda key: hmac_sha256(key, body))


def read_event(delivery: VerifiedDelivery, context: ReadContext) -> WebhookEvent | Ignored:
    """The event; `to_signals` adds the signal for each connection.

    Raises:
        UnexpectedResponseError: not JSON, not a message, or a message of another mailbox.
    """
    body = read_document(delivery.request)
    if is_task(body):
        return Ignored(TASK, "tasks are not tracked")
    if not body:
        return Ignored("test", "an empty body")
    message = read_delivery(body)
    if isinstance(message, str) and read_millis(body.get("receivedTime")) is None:
        raise UnexpectedResponseError(f"Zoho Mail's payload is not as documented: it {message}.")
    for connection in context.connections:
        check_mailbox(body, connection)
    # Without an exact id, reading finds the message with the right one.
    return WebhookEvent(event=MAIL, needs_sync=isinstance(message, str))


def check_mailbox(body: Mapping[str, Any], connection: Connection) -> None:
    """Check that the message is of the connection's mailbox.

    Raises:
        UnexpectedResponseError: it is of another one, because somebody entered this URL in the wrong mailbox.
    """
    named = read_id(body.get("zuid"))
    metadata = connection.account.metadata
    known = {read_id(metadata.get("zuid")), read_id(metadata.get("mailbox_zuid"))} - {None}
    if named is not None and known and named not in known:
        raise UnexpectedResponseError("The webhook belongs to another mailbox than this connection.")


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event with its signal, which has the same key as when polling finds the message."""
    body = read_document(delivery.request)
    check_mailbox(body, connection)
    message = read_delivery(body)
    if isinstance(message, str):
        return event
    # The text of the message is not stored.
    document = {name: value for name, value in body.items() if name != "html"}
    draft = arrival(connection, message, known_folder(connection, message.folder_id), document)
    return WebhookEvent(event=event.event, signals=() if draft is None else (draft,))


def read_document(request: WebhookRequest) -> Mapping[str, Any]:
    """The body as a JSON object; an empty one for an empty body.

    Raises:
        UnexpectedResponseError: it is something else.
    """
    return request.document if request.body.strip() else {}


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.CONNECTION,
    manual_secret_scope=SubscriptionScope.CONNECTION,
    verify=verify,
    read_event=read_event,
    to_signals=to_signals,
    manual_setup=MANUAL_SETUP,
    read_handshake=read_handshake,
    success_status=200,
    secret_headers=frozenset({SECRET_HEADER, SIGNATURE_HEADER}),
)
