"""The part of Cliq's REST API v2 that is read: channels, chats, messages."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify, make_response, request
from werkzeug.wrappers import Response

from connectors_sandbox.zoho.auth import Grant
from connectors_sandbox.zoho.cliq import Chat
from connectors_sandbox.zoho.oauth import bearer
from connectors_sandbox.zoho.world import ZohoWorld

View = Callable[..., dict[str, Any]]
MAX_LIMIT = 100
CHANNELS_PAGE = 20
"""Fewer items than requested, so that clients have to follow the token."""


class CliqRefusedError(Exception):
    """An error response."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"message": message} if code is None else {"code": code, "message": message}


def add_cliq_routes(blueprint: Blueprint, world: ZohoWorld) -> None:
    """Mount `/<data centre>/cliq/api/v2`."""
    for path, scope, view in VIEWS:
        _mount(blueprint, world, path, scope, view)


def _mount(blueprint: Blueprint, world: ZohoWorld, path: str, scope: str, view: View) -> None:
    def answer(dc: str, **arguments: str) -> Response:
        if "Authorization" not in request.headers:
            return Response("", 401, mimetype="text/html")  # a blank name, as in Cliq
        try:
            with world.lock:
                grant = _grant(world, dc, scope, is_message=path.startswith("/chats/"))
                return jsonify(view(world, grant, **arguments))
        except CliqRefusedError as refusal:
            return make_response(jsonify(refusal.document), refusal.status)

    blueprint.add_url_rule(f"/<dc>/cliq/api/v2{path}", f"cliq{path}", answer, methods=["GET"])


def channels(world: ZohoWorld, grant: Grant) -> dict[str, Any]:
    """The channels that the user has joined, of one status or of any."""
    status = request.args.get("status")
    mine = [chat for chat in _chats_of(world, grant) if status in (None, chat.status)]
    start = _number("next_token", 0)
    limit = world.core.page_size("zoho", min(_number("limit", CHANNELS_PAGE), CHANNELS_PAGE))
    page = {"channels": [chat.to_channel() for chat in mine[start : start + limit]], "sync_token": "s1"}
    if start + limit < len(mine):
        return {**page, "has_more": True, "next_token": str(start + limit)}
    return {**page, "has_more": False}


def chats(world: ZohoWorld, grant: Grant) -> dict[str, Any]:
    """Chats that changed in a period, latest first."""
    after, before = _number("modified_after", 0), _number("modified_before", 1 << 62)
    found = [chat for chat in _chats_of(world, grant) if after < chat.modified_ms < before]
    found.sort(key=lambda chat: -chat.modified_ms)
    return {"chats": [chat.to_chat() for chat in found[: min(_number("limit", 10), MAX_LIMIT)]]}


def messages(world: ZohoWorld, grant: Grant, chat_id: str) -> dict[str, Any]:
    """Messages of a window, in no particular order. Cliq documents no delay; public connectors read 2 to 5 minutes
    again."""
    chat = _chat(world, grant, chat_id)
    low, high = _number("fromtime", 0), _number("totime", 1 << 62)
    limit = _number("limit", 20)
    if not 1 <= limit <= MAX_LIMIT:
        raise CliqRefusedError(400, None, "We couldn't process your request due to a technical error.")
    found = [one for one in chat.messages if low <= one.time <= high and world.core.is_indexed("zoho", one.added_at)]
    found.sort(key=lambda one: one.time, reverse=world.newest_first)
    rows = [one.to_row(number) for number, one in enumerate(found[:limit])]
    world.core.random.shuffle(rows)  # Cliq guarantees no order within a page
    return {"data": rows}


def message(world: ZohoWorld, grant: Grant, chat_id: str, message_id: str) -> dict[str, Any]:
    """One message."""
    chat = _chat(world, grant, chat_id)
    found = next((one for one in chat.messages if one.id == message_id), None)
    if found is None:
        raise CliqRefusedError(404, "message_not_found", "The message is not there.")
    return {"data": found.to_row(1)}


def _grant(world: ZohoWorld, dc: str, scope: str, *, is_message: bool) -> Grant:
    grant = world.auth.find_access(bearer(), dc)
    if grant is None:
        raise CliqRefusedError(401, "oauthtoken_invalid", "The OAuth token passed is invalid.")
    if scope not in grant.scopes:
        message = "The OAuth token passed does not have the required scope."
        raise CliqRefusedError(403, "oauthtoken_scope_invalid", message)
    if is_message and not world.message_limiter.admits(grant.user.email):
        if world.throttle_status == 429:  # noqa: PLR2004 - the other form is 400
            raise CliqRefusedError(429, None, "Too many requests within a certain time frame.")
        raise CliqRefusedError(400, None, "You have exceeded the URL throttle limits.")
    return grant


def _chats_of(world: ZohoWorld, grant: Grant) -> list[Chat]:
    user = grant.user
    return [one for one in world.chats.values() if one.location == user.location and user.email in one.members]


def _chat(world: ZohoWorld, grant: Grant, chat_id: str) -> Chat:
    chat = world.chats.get(chat_id)
    if chat is None or chat.location != grant.user.location:
        raise CliqRefusedError(400, None, "We couldn't process your request due to a technical error.")
    if grant.user.email not in chat.members:
        raise CliqRefusedError(403, None, "The user does not have enough permission.")
    return chat


def _number(name: str, otherwise: int) -> int:
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else otherwise


VIEWS: tuple[tuple[str, str, View], ...] = (
    ("/channels", "ZohoCliq.Channels.READ", channels),
    ("/chats", "ZohoCliq.Chats.READ", chats),
    ("/chats/<chat_id>/messages", "ZohoCliq.Messages.READ", messages),
    ("/chats/<chat_id>/messages/<message_id>", "ZohoCliq.Messages.READ", message),
)
"""Path, scope and view of every supported method."""
