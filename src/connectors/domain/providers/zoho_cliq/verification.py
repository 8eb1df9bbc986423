"""Verifies the sender: Zoho (RSA), or the script that the operator pasted into a bot (a shared secret in a header).

1. `X-Cliq-Signature` is base64 of an RSA signature (PKCS #1 v1.5, SHA-256) over the body, made with the key of the bot
   or extension. Cliq shows the public key as base64 without PEM lines. The raw bytes count; if they do not match, the
   compact form of the same JSON is tried, because Zoho's own sample verifies that.
2. A signed body says when it was made. If that is more than a day ago, it is rejected as a replay.
3. A public key is set for all connections, so it does not say whose bot signed. The delivery's organization must be the
   connection's, or its URL must have the connection's key.
4. Without that header the request carries our secret as `Authorization: Bearer` or `X-Webhook-Token`, never in the URL.
   It is the connection's own secret if one was made, otherwise the one that is set for all; then the URL must have the
   connection's key, because a script of another tenant knows that secret, too, and may name any organization.

Source: zoho.com/cliq/help/platform/build-url-invoke-type-extensions.
"""

import base64
import binascii
import hashlib
import json
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.webhook import VerifiedDelivery, WebhookRequest
from connectors.domain.providers._zoho.ids import read_id
from connectors.domain.providers.contract import Reader, VerificationMaterial
from connectors.domain.providers.toolbox.foreign import millis_instant
from connectors.domain.providers.toolbox.options import several
from connectors.domain.providers.toolbox.signatures import is_made_with
from connectors.domain.providers.zoho_cliq.payloads import read_push
from connectors.domain.providers.zoho_cliq.signals import ORGANIZATION

SIGNATURE_HEADER = "x-cliq-signature"
TOKEN_HEADER = "x-webhook-token"  # noqa: S105 - a header's name
AUTHORIZATION_HEADER = "authorization"
PUBLIC_KEY_OPTION = "public_key"
REPLAY_WINDOW = timedelta(days=1)
"""Cliq sends no timestamp header. Deliveries may be late; repetitions within a day are recognized by their hash."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far Zoho's clock may be ahead of ours."""
SIGNATURE_LIMIT = 1024
"""Characters; a 4096-bit signature has 684."""


def delivery_id(request: WebhookRequest) -> str:
    """The body's hash: Cliq sends no id, and repeats nothing."""
    return hashlib.sha256(request.body).hexdigest()


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if it has Zoho's signature or our secret. See `Webhooks.verify`."""
    if SIGNATURE_HEADER in request.headers:
        verify_signature(request, material)
        if not material.has_url_key and not is_of_organization(request, material.connection):
            raise not_of_connection()
        return VerifiedDelivery(request=request, delivery_id=delivery_id(request), via="app")
    verify_token(request, material)
    if material.via == "app" and not material.has_url_key:
        raise not_of_connection()
    return VerifiedDelivery(request=request, delivery_id=delivery_id(request), via=material.via)


def not_of_connection() -> DeliveryRejectedError:
    """The rejection of what is proven to come from a bot, but not from one of this connection."""
    return DeliveryRejectedError(
        "Nothing proves that the delivery is of this connection.",
        next_step="Let the bot post to the URL that `connectors webhooks url` prints for this connection, or send a "
        "secret of the connection's own (`connectors webhooks secret`).",
    )


def is_of_organization(request: WebhookRequest, connection: Connection | None) -> bool:
    """Whether a signed body names the organization that the connection is known to belong to."""
    known = None if connection is None else read_id(connection.metadata.get(ORGANIZATION))
    try:
        return known is not None and read_push(request.document).organization == known
    except UnexpectedResponseError:
        return False


# --- Zoho's signature ------------------------------------------------------------------------------------------------


def verify_signature(request: WebhookRequest, material: VerificationMaterial) -> None:
    """Check signature and age.

    Raises:
        DeliveryRejectedError: no key is configured, the signature does not match, or the body is too old or too new.
    """
    keys = material.app.options[PUBLIC_KEY_OPTION] if material.app else ()
    if not keys:
        raise DeliveryRejectedError(
            "There is no public key to check Cliq's signature with.",
            next_step="Set POBLYSH_ZOHO_CLIQ_PUBLIC_KEY to the key that Cliq shows for the bot.",
        )
    signature = read_signature(request.headers[SIGNATURE_HEADER])
    if signature is None or not is_signed(request, signature, keys):
        raise DeliveryRejectedError("X-Cliq-Signature does not match the body.")
    check_age(request, material.now)


def read_public_key(text: str) -> RSAPublicKey:
    """The key in base64 of SPKI, with or without PEM lines.

    Raises:
        ValueError: it is no RSA public key.
    """
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines()]
    bare = "".join(line for line in lines if not line.startswith("-----"))
    try:
        key = load_der_public_key(base64.b64decode(bare, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA public key")  # noqa: TRY004 - a wrong setting, not a wrong type of ours
    return key


PUBLIC_KEYS = several(Reader(read_public_key, "a key"), "RSA public keys in base64, as Cliq shows them")


def read_signature(text: str) -> bytes | None:
    """The signature's bytes; None if the header cannot be one."""
    if len(text) > SIGNATURE_LIMIT:
        return None
    try:
        return base64.b64decode(text.encode("ascii"), validate=True) or None
    except (ValueError, binascii.Error):
        return None


def is_signed(request: WebhookRequest, signature: bytes, keys: tuple[RSAPublicKey, ...]) -> bool:
    """Whether one of the keys signed the body, or the compact form of its JSON."""
    if any(_matches(key, signature, request.body) for key in keys):
        return True
    compact = compact_form(request)
    return compact is not None and any(_matches(key, signature, compact) for key in keys)


def _matches(key: RSAPublicKey, signature: bytes, form: bytes) -> bool:
    try:
        key.verify(signature, form, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def compact_form(request: WebhookRequest) -> bytes | None:
    """The body's JSON without blanks, as JavaScript writes it; None if it is no JSON object."""
    try:
        return json.dumps(request.document, separators=(",", ":"), ensure_ascii=False).encode()
    except (UnexpectedResponseError, ValueError, RecursionError):
        return None


def check_age(request: WebhookRequest, now: datetime) -> None:
    """Check that the signed body is not a replay.

    Raises:
        DeliveryRejectedError: it does not say when it was made, or that is too long ago, or in the future.
    """
    try:
        sent_at = read_push(request.document).sent_at
    except UnexpectedResponseError:
        sent_at = None
    if sent_at is None:
        raise DeliveryRejectedError("The signed body has no timestamp.")
    age = now - millis_instant(sent_at)
    if age > REPLAY_WINDOW or age < -CLOCK_SKEW:
        raise DeliveryRejectedError("The signed body is not of the last day.")


# --- our secret ------------------------------------------------------------------------------------------------------


def verify_token(request: WebhookRequest, material: VerificationMaterial) -> None:
    """Check the secret that the request carries.

    Raises:
        DeliveryRejectedError: no secret is configured, or the request has none or a wrong one.
    """
    if not material.secrets:
        raise DeliveryRejectedError(
            "There is no webhook secret to check this delivery with.",
            next_step="Make one with `connectors webhooks secret`, or set POBLYSH_ZOHO_CLIQ_WEBHOOK_SECRET for all "
            "connections, and let the bot's script send it.",
        )
    claimed = read_claimed(request)
    if claimed is None:
        raise DeliveryRejectedError("Neither X-Cliq-Signature nor our secret is in the headers.")
    if not is_made_with(material.secrets, claimed, bytes):
        raise DeliveryRejectedError("The secret in the headers is not ours.")


def read_claimed(request: WebhookRequest) -> str | None:
    """The secret in the headers."""
    scheme, _, token = request.headers.get(AUTHORIZATION_HEADER, "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get(TOKEN_HEADER, "").strip() or None
