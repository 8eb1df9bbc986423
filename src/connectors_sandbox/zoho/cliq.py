"""Cliq: chats with their messages, and the bots that receive them."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import attrs
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import NO_RETRY, Outgoing
from connectors_sandbox.zoho.auth import User

ORGANIZATION: Final = "55000123"
BotKind = Literal["webhook", "deluge"]


@attrs.define(eq=False)
class Message:
    """One message of a chat."""

    id: str
    time: int
    sender_id: str
    sender_name: str
    text: str
    added_at: datetime
    """When it was posted or imported, whatever its `time`."""
    type: str = "text"
    file_name: str | None = None

    def to_row(self, number: int) -> dict[str, Any]:
        """As in the API's lists; `content` and `time` change their types from row to row."""
        content: Any = {"text": self.text} if number % 3 else self.text
        if self.file_name is not None:
            content = {"file": {"name": self.file_name, "id": "f1", "type": "application/pdf"}, "comment": self.text}
        return {
            "sender": {"name": self.sender_name, "id": self.sender_id},
            "id": self.id,
            "time": self.time if number % 2 else str(self.time),
            "type": self.type,
            "content": content,
        }


@attrs.define(eq=False)
class Chat:
    """A channel, with the chat that contains its messages."""

    id: str
    location: str
    name: str
    channel_id: str
    members: set[str]
    """E-mail addresses."""
    messages: list[Message] = attrs.field(factory=list)
    modified_ms: int = 0
    is_archived: bool = False

    @property
    def unique_name(self) -> str:
        """As in URLs."""
        return self.name.lower().replace(" ", "")

    @property
    def status(self) -> str:
        """As lists of channels select by it."""
        return "archived" if self.is_archived else "created"

    def to_channel(self) -> dict[str, Any]:
        """As in `GET /channels`."""
        return {
            "name": f"#{self.name}",
            "channel_id": self.channel_id,
            "chat_id": self.id,
            "unique_name": self.unique_name,
            "level": "organization",
            "status": self.status,
            "participant_count": len(self.members),
            "joined": True,
        }

    def to_chat(self) -> dict[str, Any]:
        """As in `GET /chats`."""
        at = datetime.fromtimestamp(self.modified_ms / 1000, UTC)
        return {
            "chat_id": self.id,
            "name": self.name,
            "chat_type": "channel",
            "last_modified_time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


@attrs.define(eq=False)
class Bot:
    """A bot whose handlers call a URL."""

    id: str
    name: str
    location: str
    kind: BotKind
    url: str
    secret: str | None = attrs.field(repr=False)
    """The secret that an operator's script sends; None for a webhook bot, whose calls Zoho signs."""
    key: RSAPrivateKey | None = attrs.field(repr=False)
    chats: set[str] = attrs.field(factory=set)
    has_message_ids: bool = True
    """Whether `access.message_id` is in its calls."""

    @property
    def public_key(self) -> str:
        """The Base64 of the SPKI without PEM lines, as Cliq shows it."""
        if self.key is None:
            return ""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(spki).decode()


def make_key() -> RSAPrivateKey:
    """A key pair for a webhook bot."""
    return generate_private_key(public_exponent=65537, key_size=2048)


class BotCalls:
    """Calls the handlers of bots, signed by Zoho or with the script's own secret. Nothing is sent twice."""

    def __init__(self, core: SandboxCore) -> None:
        self._core = core
        self._number = 0

    def participation(
        self, bot: Bot, chat: Chat, user: User, operation: str, data: Mapping[str, Any], message: Message | None
    ) -> None:
        """Run the participation handler; times are alternately numbers and texts."""
        self._number += 1
        now = round(self._core.clock.now().timestamp() * 1000)
        time = data.get("time", now)
        params: dict[str, Any] = {
            "operation": operation,
            "data": {**data, "time": str(time) if self._number % 2 else time},
            "chat": self._chat(chat),
            "user": self._user(user),
            "access": self._access(bot, chat, user, message),
            "environment": {"data_center": chat.location.upper(), "tld": ".eu" if chat.location == "eu" else ".com"},
        }
        self._send(bot, "participation_handler", operation, params, now)

    def mention(self, bot: Bot, chat: Chat, user: User, message: Message) -> None:
        """Run the mention handler, whose `message` is an object."""
        now = round(self._core.clock.now().timestamp() * 1000)
        params = {
            "message": {
                "sender": {"id": message.sender_id, "name": message.sender_name},
                "time": str(message.time),
                "text": message.text,
                "type": message.type,
            },
            "mentions": [{"type": "bot", "id": bot.id}],
            "chat": self._chat(chat),
            "user": self._user(user),
            "access": self._access(bot, chat, user, message),
        }
        self._send(bot, "mention_handler", None, params, now)

    def direct(self, bot: Bot, chat_id: str, user: User, message: Message) -> None:
        """Run the message handler, whose `message` is a text."""
        now = round(self._core.clock.now().timestamp() * 1000)
        access = {"user_id": str(user.zuid), "chat_id": chat_id}
        if bot.has_message_ids:
            access["message_id"] = message.id
        params = {
            "message": message.text,
            "raw_message": message.text,
            "message_details": {"time": message.time, "message": {"type": "text", "text": message.text}},
            "attachments": [],
            "links": [],
            "mentions": [],
            "chat": {"id": chat_id, "type": "bot", "title": bot.name},
            "user": self._user(user),
            "access": access,
        }
        self._send(bot, "message_handler", None, params, now)

    def _chat(self, chat: Chat) -> dict[str, Any]:
        return {
            "id": chat.id,
            "type": "channel",
            "title": chat.name,
            "chat_type": "channel",
            "channel_unique_name": chat.unique_name,
            "channel_id": chat.channel_id,
            "members": [],
            "recent_messages": [],
        }

    def _user(self, user: User) -> dict[str, Any]:
        first, _, last = user.name.partition(" ")
        return {
            "id": str(user.zuid),
            "zoho_user_id": str(user.zuid),
            "first_name": first,
            "last_name": last,
            "email": user.email,
            "organization_id": ORGANIZATION,
        }

    def _access(self, bot: Bot, chat: Chat, user: User, message: Message | None) -> dict[str, Any]:
        access = {
            "user_id": str(user.zuid),
            "zoho_user_id": str(user.zuid),
            "chat_id": chat.id,
            "organization": {"type": "company", "id": ORGANIZATION},
        }
        if message is not None and bot.has_message_ids:
            access["message_id"] = message.id.replace("_", "%20") if self._number % 5 == 0 else message.id
        return access

    def _send(self, bot: Bot, handler: str, operation: str | None, params: Mapping[str, Any], now: int) -> None:
        if bot.kind == "deluge":
            body = _compact({"handler": handler, **params, "time": now})
            headers = {"Content-Type": "application/json", "X-Webhook-Token": bot.secret or ""}
        else:
            envelope = {
                "name": bot.name,
                "unique_name": bot.name.lower(),
                "handler": {"type": handler},
                "type": "bot",
                "timestamp": now,
                "response_url": f"https://cliq.zoho.com/v2/extensions/2980/responses/{now}",
                "params": params,
            }
            body = _compact(envelope)
            headers = {"Content-Type": "application/json", "X-Cliq-Signature": sign(bot.key, body)}
        self._core.deliveries.enqueue(
            Outgoing(
                provider="zoho",
                url=bot.url,
                event=operation or handler,
                body=body,
                headers=headers,
                policy=NO_RETRY,
                source=f"bot:{bot.id}",
            )
        )


def _compact(document: Mapping[str, Any]) -> bytes:
    """In JavaScript's form."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def sign(key: RSAPrivateKey | None, body: bytes) -> str:
    """The header's value: Base64 of the RSA signature (PKCS #1 v1.5, SHA-256)."""
    return "" if key is None else base64.b64encode(key.sign(body, PKCS1v15(), SHA256())).decode()
