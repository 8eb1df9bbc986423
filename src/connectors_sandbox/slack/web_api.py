"""The Web API: `/api/<method>`. Every response is HTTP 200 with `ok`; only limits and outages use the status."""

import base64
import binascii
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import attrs
from flask import Blueprint, jsonify, make_response, request
from werkzeug.wrappers import Response

from connectors_sandbox.families import Ending
from connectors_sandbox.slack.authorization import SlackError
from connectors_sandbox.slack.records import Channel, SlackApp, Team, Token
from connectors_sandbox.slack.world import SlackWorld, render_member

MINUTE: Final = timedelta(minutes=1)
TIERS: Final = {
    "conversations.list": 20,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.join": 50,
    "conversations.info": 50,
    "users.list": 20,
    "users.info": 100,
    "team.info": 50,
}
"""Calls a minute, per method, workspace and app."""
STRICT_METHODS: Final = frozenset({"conversations.history", "conversations.replies"})
STRICT_ITEMS: Final = 15
DEFAULT_ITEMS: Final = 100
MOST_ITEMS: Final = 999
YES: Final = frozenset({"1", "true", "True"})

Fields = dict[str, str]


@attrs.frozen
class Page:
    """Part of a list."""

    items: list[Any]
    next_cursor: str


@attrs.define(eq=False)
class Call:
    """One authenticated call."""

    world: SlackWorld
    token: Token
    fields: Fields

    @property
    def team(self) -> Team:
        """The workspace whose data is read."""
        return self.token.install.team

    @property
    def app(self) -> SlackApp:
        """The user of the token."""
        return self.token.install.app

    def need(self, scope: str) -> None:
        """Raise unless the token has the scope."""
        if scope not in self.token.scopes:
            raise SlackError("missing_scope", needed=scope, provided=",".join(self.token.scopes))

    def readable(self, verb: str) -> Channel:
        """The channel that the call names, if the token may do `verb` there.

        Raises:
            SlackError: it is unknown, or private and the caller is not a member, or the scope is missing.
        """
        channel = self.team.channels.get(self.fields.get("channel", ""))
        if channel is None or (channel.is_private and self.token.user_id not in channel.members):
            raise SlackError("channel_not_found")
        self.need(f"{'groups' if channel.is_private else 'channels'}:{verb}")
        return channel

    def page(self, items: list[Any], most: int = 1000) -> Page:
        """The part of a list that the cursor and limit select. Slack may put fewer on a page than were asked for.

        Source: docs.slack.dev, "Pagination".
        """
        start = self._start()
        if self.world.gives_short_pages and start is None:
            return Page([], self._cursor(0))
        limit = self.world.core.page_size("slack", self._limit(most))
        begin = start or 0
        end = begin + (max(1, limit // 2) if self.world.gives_short_pages else limit)
        return Page(items[begin:end], self._cursor(end) if end < len(items) else "")

    def _limit(self, most: int) -> int:
        text = self.fields.get("limit", "")
        if text and not text.isdigit():
            raise SlackError("invalid_arguments")
        return max(1, min(int(text or DEFAULT_ITEMS), most))

    def _cursor(self, position: int) -> str:
        return base64.b64encode(f"{self.world.cursor_generation}:{position}".encode()).decode()

    def _start(self) -> int | None:
        text = self.fields.get("cursor")
        if not text:
            return None
        try:
            generation, _, position = base64.b64decode(text, validate=True).decode().partition(":")
            if int(generation) != self.world.cursor_generation:
                raise SlackError("invalid_cursor")
            return int(position)
        except (ValueError, binascii.Error) as error:
            raise SlackError("invalid_cursor") from error


def add_web_api(blueprint: Blueprint, world: SlackWorld) -> None:
    """Mount every method below `/api`."""
    limiter = Limiter()

    @blueprint.route("/api/<method>", methods=["GET", "POST"])
    def call_method(method: str) -> Response:
        fields = read_fields()
        with world.lock:
            try:
                if method == "oauth.v2.access":
                    return jsonify(exchange(world, fields))
                handler = METHODS.get(method)
                if handler is None:
                    raise SlackError("unknown_method")
                call = Call(world, world.auth.find(bearer(fields)), fields)
                wait = limiter.wait(call, method, world.core.clock.now())
                if wait is not None:
                    limited = make_response({"ok": False, "error": "ratelimited"}, 429)
                    limited.headers["Retry-After"] = str(wait)
                    return limited
                answer = jsonify({"ok": True, **handler(call)})
                answer.headers["X-OAuth-Scopes"] = ",".join(call.token.scopes)
            except SlackError as error:
                return jsonify({"ok": False, "error": error.code, **error.members})
            return answer


def read_fields() -> Fields:
    """The call's parameters, from query, form or JSON."""
    body = request.get_json(silent=True) if request.is_json else None
    given = {**request.args.to_dict(), **request.form.to_dict(), **(body if isinstance(body, dict) else {})}
    return {name: value if isinstance(value, str) else str(value) for name, value in given.items()}


def bearer(fields: Fields) -> str:
    """The access token of the call.

    Raises:
        SlackError: there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = token.strip() if scheme.lower() == "bearer" else fields.get("token", "")
    if not found:
        raise SlackError("not_authed")
    return found


class Limiter:
    """Counts calls per method, workspace and app in windows of a minute."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], deque[datetime]] = defaultdict(deque)

    def wait(self, call: Call, method: str, now: datetime) -> int | None:
        """Seconds until the next call is allowed; None if this one is."""
        most = TIERS.get(method) if call.app.is_tiered else None
        if call.app.is_strict and method in STRICT_METHODS:
            most = 1
        if most is None:
            return None
        calls = self._calls[method, call.team.id, call.app.app_id]
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if len(calls) < most:
            calls.append(now)
            return None
        return max(1, -int((now - calls[0] - MINUTE).total_seconds() // 1))


# --- methods ---------------------------------------------------------------------------------------------------------


def exchange(world: SlackWorld, fields: Fields) -> dict[str, Any]:
    """`oauth.v2.access`: codes and refresh tokens, with Basic or body client authentication."""
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        app = world.auth.client(basic.username or "", basic.password or "")
    else:
        app = world.auth.client(fields.get("client_id", ""), fields.get("client_secret", ""))
    grant_type = fields.get("grant_type", "authorization_code")
    if grant_type == "refresh_token":
        return world.auth.refresh(app, fields.get("refresh_token", ""))
    if grant_type != "authorization_code":
        raise SlackError("invalid_grant_type")
    return world.auth.exchange(app, fields.get("code", ""), fields.get("redirect_uri"))


def auth_test(call: Call) -> dict[str, Any]:
    """The token's user."""
    install, member = call.token.install, call.team.members[call.token.user_id]
    answer: dict[str, Any] = {
        "url": call.team.url,
        "team": call.team.name,
        "user": member.name,
        "team_id": call.team.id,
        "user_id": member.id,
        "is_enterprise_install": install.is_organization_wide,
    }
    if call.token.kind == "bot":
        answer["bot_id"] = install.bot_id
    if call.team.enterprise_id is not None:
        answer["enterprise_id"] = call.team.enterprise_id
    if call.token.expires_at is not None:
        answer["expires_in"] = int((call.token.expires_at - call.world.core.clock.now()).total_seconds())
    return answer


def auth_revoke(call: Call) -> dict[str, Any]:
    """Revoke this token; without rotation, revoking the last one ends the install."""
    if call.fields.get("test") in YES:
        return {"revoked": False}
    install = call.token.install
    call.token.is_revoked = True
    if not install.app.is_rotating:
        call.world.auth.families.end(call.token.family, Ending.REVOKED)
        if not call.world.auth.live_tokens(install):
            call.world.remove(install, Ending.REVOKED)
    return {"revoked": True}


def apps_uninstall(call: Call) -> dict[str, Any]:
    """Leave the workspace."""
    app = call.world.auth.client(call.fields.get("client_id", ""), call.fields.get("client_secret", ""))
    if app is not call.app:
        raise SlackError("client_id_token_mismatch")
    call.world.remove(call.token.install, Ending.REVOKED)
    return {}


def conversations_list(call: Call) -> dict[str, Any]:
    """Channels; private ones only if the caller is a member."""
    types = {part.strip() for part in call.fields.get("types", "public_channel").split(",")}
    if "public_channel" in types:
        call.need("channels:read")
    if "private_channel" in types:
        call.need("groups:read")
    shown = [
        channel
        for channel in call.team.channels.values()
        if ("private_channel" if channel.is_private else "public_channel") in types
        and (not channel.is_private or call.token.user_id in channel.members)
        and not (channel.is_archived and call.fields.get("exclude_archived") in YES)
    ]
    page = call.page([render_channel(call, channel) for channel in shown])
    return {"channels": page.items, "response_metadata": {"next_cursor": page.next_cursor}}


def conversations_info(call: Call) -> dict[str, Any]:
    """One channel."""
    return {"channel": render_channel(call, call.readable("read"))}


def conversations_join(call: Call) -> dict[str, Any]:
    """Add the caller to a public channel."""
    call.need("channels:join")
    channel = call.team.channels.get(call.fields.get("channel", ""))
    if channel is None or channel.is_private:
        raise SlackError("channel_not_found")
    if channel.is_archived:
        raise SlackError("is_archived")
    if call.token.user_id in channel.members:
        return {"channel": render_channel(call, channel), "warning": "already_in_channel"}
    call.world.join_channel(call.team.id, channel.id, call.token.user_id)
    return {"channel": render_channel(call, channel)}


def conversations_history(call: Call) -> dict[str, Any]:
    """A channel's messages, newest first; of threads only the parents and broadcasts."""
    channel = member_channel(call)
    shown = [
        message
        for message in channel.messages.values()
        if message.get("thread_ts") in {None, message["ts"]} or message.get("subtype") == "thread_broadcast"
    ]
    newest_first = sorted(within(call.fields, shown), key=lambda one: Decimal(one["ts"]), reverse=True)
    page = call.page(newest_first, STRICT_ITEMS if call.app.is_strict else MOST_ITEMS)
    answer = {"messages": page.items, "has_more": bool(page.next_cursor), "pin_count": 0}
    return {**answer, **({"response_metadata": {"next_cursor": page.next_cursor}} if page.next_cursor else {})}


def conversations_replies(call: Call) -> dict[str, Any]:
    """A thread, oldest first; the parent is repeated on every page."""
    channel = member_channel(call)
    parent = channel.messages.get(call.fields.get("ts", ""))
    if parent is None:
        raise SlackError("thread_not_found")
    replies = [
        message
        for message in channel.messages.values()
        if message.get("thread_ts") == parent["ts"] and message is not parent
    ]
    oldest_first = sorted(within(call.fields, replies), key=lambda one: Decimal(one["ts"]))
    page = call.page(oldest_first, STRICT_ITEMS if call.app.is_strict else MOST_ITEMS)
    answer = {"messages": [parent, *page.items], "has_more": bool(page.next_cursor)}
    return {**answer, **({"response_metadata": {"next_cursor": page.next_cursor}} if page.next_cursor else {})}


def member_channel(call: Call) -> Channel:
    """The channel, of which the caller must be a member.

    Raises:
        SlackError: it is not a member, or the channel's messages are withheld.
    """
    channel = call.readable("history")
    if channel.refusal is not None:
        raise SlackError(channel.refusal)
    if call.token.kind == "bot" and call.token.user_id not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def within(fields: Fields, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages between `oldest` and `latest`, both excluded unless `inclusive`.

    Raises:
        SlackError: one of them is not a `ts`.
    """
    ends = {}
    for name, default in (("oldest", "0"), ("latest", "99999999999")):
        try:
            ends[name] = Decimal(fields.get(name) or default)
        except InvalidOperation as error:
            raise SlackError(f"invalid_ts_{name}") from error
    oldest, latest = ends["oldest"], ends["latest"]
    if fields.get("inclusive") in YES:
        return [message for message in messages if oldest <= Decimal(message["ts"]) <= latest]
    return [message for message in messages if oldest < Decimal(message["ts"]) < latest]


def users_list(call: Call) -> dict[str, Any]:
    """All users."""
    call.need("users:read")
    page = call.page([render_member(call.team, member) for member in call.team.members.values()])
    return {"members": page.items, "response_metadata": {"next_cursor": page.next_cursor}}


def users_info(call: Call) -> dict[str, Any]:
    """One user."""
    call.need("users:read")
    member = call.team.members.get(call.fields.get("user", ""))
    if member is None:
        raise SlackError("user_not_found")
    return {"user": render_member(call.team, member)}


def team_info(call: Call) -> dict[str, Any]:
    """The workspace."""
    call.need("team:read")
    return {"team": {"id": call.team.id, "name": call.team.name, "domain": call.team.domain, "url": call.team.url}}


def render_channel(call: Call, channel: Channel) -> dict[str, Any]:
    """A channel object, as the caller sees it."""
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": not channel.is_private,
        "is_group": channel.is_private,
        "is_im": False,
        "is_mpim": False,
        "is_private": channel.is_private,
        "is_archived": channel.is_archived,
        "is_ext_shared": channel.is_ext_shared,
        "is_member": call.token.user_id in channel.members,
        "created": channel.created,
        "creator": channel.creator,
        "num_members": len(channel.members),
    }


METHODS: Final[dict[str, Callable[[Call], dict[str, Any]]]] = {
    "auth.test": auth_test,
    "auth.revoke": auth_revoke,
    "apps.uninstall": apps_uninstall,
    "conversations.list": conversations_list,
    "conversations.info": conversations_info,
    "conversations.join": conversations_join,
    "conversations.history": conversations_history,
    "conversations.replies": conversations_replies,
    "users.list": users_list,
    "users.info": users_info,
    "team.info": team_info,
}
"""The methods that the sandbox supports."""
