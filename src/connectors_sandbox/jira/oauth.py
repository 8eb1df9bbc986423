"""`auth.atlassian.com`: the consent page, the token endpoint, and the list of a token's sites."""

from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, jsonify, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from connectors_sandbox import consent
from connectors_sandbox.jira.authorization import ACCESS_LIFETIME, Pair, TokenCallError
from connectors_sandbox.jira.world import JiraWorld

KNOWN_SCOPES: Final = {
    "read:jira-work": "View Jira issues, projects and comments",
    "read:jira-user": "View user profiles",
    "write:jira-work": "Create and manage issues",
    "manage:jira-webhook": "Manage Jira webhooks",
    "read:me": "View your profile",
    "offline_access": "Keep access while you are away",
}


def add_oauth_routes(blueprint: Blueprint, world: JiraWorld) -> None:
    """Mount `/authorize`, `/oauth/token` and `/oauth/token/accessible-resources`."""

    @blueprint.route("/authorize", methods=["GET", "POST"])
    def authorize() -> BaseResponse:
        with world.lock:
            return _authorize(world)

    @blueprint.post("/oauth/token")
    def token() -> BaseResponse:
        fields = request.get_json(silent=True)
        try:
            if not isinstance(fields, dict):
                # The endpoint accepts JSON; a form is not understood.
                raise TokenCallError(400, "invalid_request", "The body must be a JSON object")
            with world.lock:
                return _show(_answer(world, fields))
        except TokenCallError as failure:
            return _refuse(failure)

    @blueprint.get("/oauth/token/accessible-resources")
    def accessible_resources() -> BaseResponse:
        with world.lock:
            access = world.authenticate(request.headers.get("Authorization", ""))
            if access is None:
                return make_response(jsonify(code=401, message="Unauthorized"), 401)
            return jsonify(world.describe_sites(access))


def _authorize(world: JiraWorld) -> BaseResponse:
    asked = request.args
    app = world.auth.apps.get(asked.get("client_id", ""))
    if app is None or asked.get("redirect_uri") != app.callback_url:
        # Atlassian shows its own error page and redirects nobody.
        return make_response("The app or its callback URL is not known.", 400)
    if asked.get("audience") != "api.atlassian.com" or asked.get("response_type") != "code":
        return _send_back(app.callback_url, error="invalid_request", error_description="audience or response_type")
    scopes = tuple(dict.fromkeys(asked.get("scope", "").split()))
    unknown = [scope for scope in scopes if scope not in KNOWN_SCOPES]
    if unknown or not scopes:
        return _send_back(app.callback_url, error="invalid_scope", error_description="unknown scope")
    screen = consent.ConsentScreen(
        provider="Atlassian",
        app_name=app.name,
        accounts=tuple(consent.ConsentAccount(one.account_id, one.name) for one in world.users.values()),
        scopes=tuple(consent.ConsentScope(name, KNOWN_SCOPES[name], is_optional=False) for name in scopes),
        redirect_host=urlsplit(app.callback_url).netloc,
    )
    decision = consent.decide(world.core, screen)
    if isinstance(decision, BaseResponse):
        return decision
    if not decision.is_allowed:
        return _send_back(app.callback_url, error="access_denied", error_description="User did not authorize")
    if not decision.account_id:
        return make_response("There are no users in this sandbox yet: add one first.", 409)
    granted = scopes
    if "sandbox_scopes" in asked:
        # Atlassian's page is all or nothing; a smaller grant is only for tests.
        granted = tuple(scope for scope in scopes if scope in asked["sandbox_scopes"].split())
    return _send_back(app.callback_url, code=world.auth.grant_code(app, decision.account_id, granted, app.callback_url))


def _send_back(target: str, **members: str) -> BaseResponse:
    state = request.args.get("state")
    query = urlencode({**members, **({} if state is None else {"state": state})})
    return redirect(f"{target}{'&' if '?' in target else '?'}{query}", 302)


def _answer(world: JiraWorld, fields: dict[str, Any]) -> Pair:
    app = world.auth.authenticate(fields.get("client_id"), fields.get("client_secret"))
    match fields.get("grant_type"):
        case "authorization_code":
            return world.auth.exchange(app, fields.get("code"), fields.get("redirect_uri"))
        case "refresh_token":
            return world.auth.refresh(app, fields.get("refresh_token"))
    raise TokenCallError(400, "unsupported_grant_type", "Unsupported grant type")


def _show(pair: Pair) -> Response:
    members = {
        "access_token": pair.access,
        "expires_in": int(ACCESS_LIFETIME.total_seconds()),
        "token_type": "Bearer",
        "scope": " ".join(pair.scopes),
    }
    return jsonify(members if pair.refresh is None else {**members, "refresh_token": pair.refresh})


def _refuse(failure: TokenCallError) -> BaseResponse:
    return make_response(jsonify(error=failure.error, error_description=str(failure)), failure.status)
