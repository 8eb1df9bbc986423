"""The Events API: one Request URL per app, signed with the app's signing secret.

There is no call to subscribe: installing the app starts delivery, uninstalling it ends delivery. Slack expects a 2xx
within 3 seconds, and disables the events of *all* workspaces if too many deliveries fail. So an unknown team, an
unknown event or an unexpected form is never an error of the request.
Source: docs.slack.dev, "The Events API", "Verifying requests from Slack".
"""

import hashlib
import json
import re
from datetime import timedelta
from textwrap import fill

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import DeliveryRejectedError, UnexpectedResponseError
from connectors.domain.model.instant import epoch_seconds
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.streams import DISCOVERY
from connectors.domain.model.webhook import (
    FORM,
    Ignored,
    Lifecycle,
    VerifiedDelivery,
    WebhookEvent,
    WebhookReply,
    WebhookRequest,
)
from connectors.domain.providers.contract import ReadContext, SubscriptionScope, VerificationMaterial, Webhooks
from connectors.domain.providers.slack.envelope import EVENT_CALLBACK, Envelope, read_envelope
from connectors.domain.providers.slack.events import BOT_EVENTS, LIFECYCLE_EVENTS, TOKENS_REVOKED, read_signal
from connectors.domain.providers.slack.options import APP_ID
from connectors.domain.providers.slack.payloads import read_id
from connectors.domain.providers.slack.workspace import Workspace, workspace_of
from connectors.domain.providers.toolbox.foreign import read_object
from connectors.domain.providers.toolbox.signatures import hmac_sha256_hex, is_made_with

SIGNATURE = "x-slack-signature"
TIMESTAMP = "x-slack-request-timestamp"
VERSION = "v0"
TOLERANCE = timedelta(seconds=300)
"""How far Slack's clock and ours may differ, either way; Slack's advice against replays."""
WHOLE_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
"""`int()` would also accept signs, blanks, underscores and other scripts' digits."""

URL_VERIFICATION = "url_verification"
RATE_LIMITED = "app_rate_limited"
MEMBER_JOINED = "member_joined_channel"
NEW_CHANNEL_EVENTS = frozenset({"channel_created", "group_joined"})
"""After these there may be a channel more to read; after `MEMBER_JOINED`, if it is we who came into one."""


def _step_of_bot_events() -> str:
    step = f"3. Subscribe to these bot events and save: {', '.join(BOT_EVENTS)}."
    return fill(step, width=118, subsequent_indent="   ", break_on_hyphens=False)


MANUAL_SETUP = f"""\
Slack has no API call for this: do it once, in the app's settings at api.slack.com/apps.
1. Basic Information: copy the Signing Secret into POBLYSH_SLACK_SIGNING_SECRET and restart.
2. Event Subscriptions: switch events on and set the Request URL to {{webhook_url}} (Slack sends a signed challenge
   there at once, so the service must be running).
{_step_of_bot_events()}
4. Invite the bot to the channels that it should read: Slack sends messages only of channels that it is a member of."""


def verify(request: WebhookRequest, material: VerificationMaterial) -> VerifiedDelivery:
    """The delivery, if it comes from Slack and is of the last five minutes.

    Raises:
        DeliveryRejectedError: no secret, a missing or malformed header, too old or too new, or no match.
    """
    if not material.secrets:
        raise DeliveryRejectedError(
            "No signing secret is configured for Slack.", next_step="Set POBLYSH_SLACK_SIGNING_SECRET."
        )
    timestamp = request.headers.get(TIMESTAMP, "")
    if not WHOLE_SECONDS.fullmatch(timestamp):
        raise DeliveryRejectedError(f"{TIMESTAMP} is missing or not a whole number of seconds.")
    if abs(epoch_seconds(material.now) - int(timestamp)) > TOLERANCE.total_seconds():
        raise DeliveryRejectedError(f"{TIMESTAMP} is more than {TOLERANCE.seconds} seconds away from now.")
    claimed = request.headers.get(SIGNATURE, "")
    if not is_made_with(material.secrets, claimed, lambda key: sign(key, timestamp, request.body)):
        raise DeliveryRejectedError(f"{SIGNATURE} is missing or does not match the body.")
    return VerifiedDelivery(request=request, delivery_id=delivery_id(request), via=material.via)


def sign(key: bytes, timestamp: str, body: bytes) -> bytes:
    """The signature header for a body: `v0=` and the lower-case hex of HMAC-SHA256 over `v0:timestamp:body`."""
    return f"{VERSION}=".encode() + hmac_sha256_hex(key, f"{VERSION}:{timestamp}:".encode() + body)


def delivery_id(request: WebhookRequest) -> str:
    """`event_id`, which is unique at Slack and the same on retries; a hash of the body if there is none."""
    try:
        event_id = read_id(request.document.get("event_id"))
    except UnexpectedResponseError:
        event_id = None
    return event_id or hashlib.sha256(request.body).hexdigest()


def read_event(delivery: VerifiedDelivery, context: ReadContext) -> WebhookEvent | Ignored:
    """The event and its installation; `to_signals` adds the signals for each connection.

    Raises:
        UnexpectedResponseError: the event is in our table and lacks what its row needs.
    """
    if delivery.request.media_type == FORM:
        # Buttons and slash commands belong to other URLs; somebody entered ours for them too.
        return Ignored("interaction", "interactivity and slash commands are not used")
    envelope = read_envelope(delivery.document)
    if envelope.type == URL_VERIFICATION:
        return answer_challenge(envelope)
    ours = context.app.options[APP_ID] if context.app else None
    if ours and envelope.api_app_id != ours:
        return Ignored(envelope.name, "sent for another Slack app")
    if envelope.type not in {EVENT_CALLBACK, RATE_LIMITED} or envelope.account_id is None:
        return Ignored(envelope.name, "not tracked" if envelope.account_id else "names no workspace")
    found = WebhookEvent(event=envelope.name, account_ids=(envelope.account_id,))
    if envelope.type == RATE_LIMITED:
        return attrs.evolve(found, needs_sync=True)
    if envelope.name in LIFECYCLE_EVENTS:
        return attrs.evolve(found, lifecycle=Lifecycle.REVOKED, at=envelope.at)
    reading = read_signal(envelope.event, Workspace(id=envelope.account_id), envelope.fallback_ts)
    return reading if isinstance(reading, Ignored) and envelope.name not in NEW_CHANNEL_EVENTS else found


def read_accounts(delivery: VerifiedDelivery) -> tuple[str, ...]:
    """The installation that the event is for."""
    try:
        account_id = read_envelope(delivery.document).account_id
    except UnexpectedResponseError:
        return ()
    return () if account_id is None else (account_id,)


def answer_challenge(envelope: Envelope) -> Ignored:
    """The answer to the challenge when the Request URL is saved. It is signed like every delivery, and names no
    tenant."""
    if envelope.challenge is None:
        return Ignored(URL_VERIFICATION, "without a challenge")
    body = json.dumps({"challenge": envelope.challenge}).encode()
    return Ignored(URL_VERIFICATION, "handshake", reply=WebhookReply(body=body))


def to_signals(delivery: VerifiedDelivery, event: WebhookEvent, connection: Connection) -> WebhookEvent:
    """The event completed for one connection: keys of its workspace, names that it knows, its own bot left out.

    A connection of another workspace gets nothing, whichever URL the delivery came to.
    """
    if connection.account.id not in event.account_ids:
        return attrs.evolve(event, signals=(), lifecycle=None, needs_sync=False)
    envelope = read_envelope(delivery.document)
    if event.lifecycle is not None:
        return event if ends_connection(envelope, connection) else attrs.evolve(event, lifecycle=None)
    if envelope.type != EVENT_CALLBACK:
        return event
    reading = read_signal(envelope.event, workspace_of(connection), envelope.fallback_ts)
    event = attrs.evolve(event, signals=(reading,) if isinstance(reading, SignalDraft) else ())
    return attrs.evolve(event, needs_sync=True, sync_target=DISCOVERY) if shows_channel(envelope, connection) else event


def shows_channel(envelope: Envelope, connection: Connection) -> bool:
    """Whether there may be a channel more to read: one was made, or we came into one."""
    metadata = connection.account.metadata
    we = metadata.get("bot_user_id") or metadata.get("user_id")
    is_ours = envelope.name == MEMBER_JOINED and we is not None and read_id(envelope.event.get("user")) == we
    return is_ours or envelope.name in NEW_CHANNEL_EVENTS


def ends_connection(envelope: Envelope, connection: Connection) -> bool:
    """Whether the connection's own token was revoked.

    `tokens_revoked` has user ids in two lists. If only users (`oauth`) are listed, a bot's token is still valid, and a
    connection with a user's token ends only with that user's.
    """
    if envelope.name != TOKENS_REVOKED:
        return True
    tokens = read_object(envelope.event.get("tokens"))
    bots, users = tokens.get("bot"), tokens.get("oauth")
    metadata = connection.account.metadata
    if "bot_user_id" in metadata:
        return bool(bots) or not users
    known_user = read_id(metadata.get("user_id"))
    return known_user is None or not isinstance(users, list) or not users or known_user in users


WEBHOOKS = Webhooks(
    url_scope=SubscriptionScope.APP,
    read_delivery_id=delivery_id,
    verify=verify,
    read_event=read_event,
    read_accounts=read_accounts,
    to_signals=to_signals,
    subscriptions=None,
    manual_setup=MANUAL_SETUP,
    secret_headers=frozenset({SIGNATURE}),
)
