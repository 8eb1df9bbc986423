"""What the three APIs share: bearer tokens and their scopes, parameters, partial responses, the error envelope."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, Final

from flask import Blueprint, jsonify, make_response, request
from werkzeug.wrappers import Response

from connectors_sandbox.google.auth import Grant
from connectors_sandbox.google.channels import Channel
from connectors_sandbox.google.errors import GoogleError, invalid
from connectors_sandbox.google.fields import apply_mask, parse_mask
from connectors_sandbox.google.world import GoogleWorld

GOOGLE_AUTH: Final = "https://www.googleapis.com/auth/"

View = Callable[..., Any]


def stamp(at: datetime) -> str:
    """`2026-11-20T10:15:31.123Z`, the form in which Google writes instants."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class Api:
    """Mounts views that receive the caller's grant and return JSON documents."""

    def __init__(self, blueprint: Blueprint, world: GoogleWorld) -> None:
        self.blueprint = blueprint
        self.world = world

    def route(self, method: str, path: str, view: View, scopes: tuple[str, ...], defaults: str | None = None) -> None:
        """Mount one API method.

        Args:
            method: the HTTP method.
            path: with Flask's placeholders.
            view: receives the grant and the placeholders; a dict becomes JSON, None an empty 204.
            scopes: any one of these is enough; short names below Google's prefix.
            defaults: the fields to return if the caller requests none.
        """
        wanted = {name if "://" in name else GOOGLE_AUTH + name for name in scopes}

        @wraps(view)
        def answer(**arguments: str) -> Response:
            try:
                mask = request.args.get("fields") or defaults
                with self.world.lock:
                    document = view(self._grant(wanted), **arguments)
                if isinstance(document, _DeferredResponse):
                    document = document.finish()
                if document is None:
                    return make_response("", 204)
                return jsonify(apply_mask(document, parse_mask(mask)) if mask else document)
            except GoogleError as error:
                return make_response(jsonify(error.to_json()), error.status)

        self.blueprint.add_url_rule(path, f"{method} {path}", answer, methods=[method])

    def _grant(self, wanted: set[str]) -> Grant:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        grant = self.world.auth.find_access(token) if scheme.lower() == "bearer" else None
        if grant is None:
            message = "Request had invalid authentication credentials."
            raise GoogleError(401, "authError", message, location="Authorization")
        if wanted.isdisjoint(grant.scopes):
            raise GoogleError(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
        return grant

    def page_size(self, name: str, otherwise: int, most: int) -> int:
        """How many items a page holds. Google's lists promise at most as many as were asked for.

        Source: Drive v3 `files.list`, `pageSize` ("may return fewer"); Calendar v3 `events.list`, `maxResults` ("may be
        less than this value"); Gmail v1 `messages.list`, `maxResults` ("maximum number").
        """
        return self.world.core.page_size("google", number(name, otherwise, most))

    def watch(self, channel_and_sync: tuple[Channel, Any]) -> "_DeferredResponse":
        """The response of a `watch` method; its `sync` message is sent before it or right after."""
        channel, message = channel_and_sync

        def finish() -> dict[str, Any]:
            if self.world.sends_sync_early:
                self.world.core.deliveries.send_now(message)
            else:
                self.world.core.deliveries.enqueue(message)
            return channel.to_json()

        return _DeferredResponse(finish)


class _DeferredResponse:
    """A response that is completed without the world's lock."""

    def __init__(self, finish: Callable[[], dict[str, Any]]) -> None:
        self.finish = finish


def body() -> Mapping[str, Any]:
    """The JSON object in the body; an empty one for an empty body."""
    document = request.get_json(silent=True, force=True) if request.data else {}
    if not isinstance(document, dict):
        raise GoogleError(400, "parseError", "Parse Error")
    return document


def flag(name: str, *, otherwise: bool = False) -> bool:
    """A boolean parameter."""
    return request.args.get(name, str(otherwise)).lower() == "true"


def number(name: str, otherwise: int, most: int) -> int:
    """A page size, clamped to its range."""
    text = request.args.get(name)
    if text is None:
        return otherwise
    if not text.isdigit() or int(text) < 1:
        raise invalid(f"Invalid value '{text}'.", name)
    return min(int(text), most)
