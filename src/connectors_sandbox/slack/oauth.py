"""Slack's consent page: `GET /oauth/v2/authorize`."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, make_response, redirect, request
from werkzeug.wrappers import Response

from connectors_sandbox import consent
from connectors_sandbox.slack.authorization import is_registered
from connectors_sandbox.slack.records import SlackApp
from connectors_sandbox.slack.world import SlackWorld

USER = "user:"
"""Marks a user scope on the consent page, where both kinds are in one list."""
SIGN_IN_SCOPES = ("openid", "identity.")


def add_authorize_route(blueprint: Blueprint, world: SlackWorld) -> None:
    """Mount the consent page."""

    @blueprint.route("/oauth/v2/authorize", methods=["GET", "POST"])
    def authorize() -> Response:
        with world.lock:
            return _authorize(world)


def _authorize(world: SlackWorld) -> Response:
    app = world.auth.apps.get(request.args.get("client_id", ""))
    if app is None:
        return make_response("invalid_client_id", 400)
    redirect_uri = request.args.get("redirect_uri")
    if redirect_uri is not None and not is_registered(redirect_uri, app):
        return make_response("bad_redirect_uri: it did not match any configured URIs", 400)
    target = redirect_uri or app.redirect_urls[0]
    bot, user = _scopes("scope"), _scopes("user_scope")
    asked = (*bot, *user)
    if not asked or (len(asked) > 1 and any(one.startswith(SIGN_IN_SCOPES) for one in asked)):
        return make_response("invalid_scope", 400)
    decision = _decide(world, app, (*bot, *(USER + one for one in user)), target)
    if isinstance(decision, Response):
        return decision
    if not decision.is_allowed:
        return _send_back(target, {"error": "access_denied"})
    team_id, _, user_id = decision.account_id.partition(":")
    granted_bot = tuple(one for one in decision.scopes if not one.startswith(USER))
    granted_user = tuple(one.removeprefix(USER) for one in decision.scopes if one.startswith(USER))
    team = world.team(team_id)
    code = world.auth.grant_code(app, team, user_id, granted_bot, granted_user, redirect_uri)
    return _send_back(target, {"code": code})


def _scopes(name: str) -> tuple[str, ...]:
    """The scopes of a parameter, separated by commas (Slack accepts spaces too)."""
    parts = request.args.get(name, "").replace(" ", ",").split(",")
    return tuple(dict.fromkeys(part for part in parts if part))


def _decide(world: SlackWorld, app: SlackApp, scopes: tuple[str, ...], target: str) -> consent.Decision | Response:
    accounts = tuple(
        consent.ConsentAccount(f"{team.id}:{member.id}", f"{member.name}@{team.domain}", f"{team.name} ({team.id})")
        for team in world.teams.values()
        for member in team.members.values()
        if not member.is_bot
    )
    if not accounts:
        return make_response("There are no users in this sandbox yet: add a workspace and a user first.", 409)
    # Only a hint: a user who is not signed in there ends up in another workspace.
    hint = request.args.get("team")
    preferred = next((one.id for one in accounts if hint and one.id.startswith(f"{hint}:")), None)
    screen = consent.ConsentScreen(
        provider="Slack",
        app_name=app.name,
        accounts=accounts,
        scopes=tuple(consent.ConsentScope(name) for name in scopes),
        preferred_account=preferred,
        redirect_host=urlsplit(target).netloc,
    )
    return consent.decide(world.core, screen)


def _send_back(target: str, members: dict[str, Any]) -> Response:
    """Redirect to the app; its own query stays and `state` is echoed."""
    parts = urlsplit(target)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        *members.items(),
        ("state", request.args.get("state", "")),
    ]
    return redirect(urlunsplit(parts._replace(query=urlencode(query))), 302)
