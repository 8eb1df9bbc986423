"""GitHub's web host: authorize, consent and the token endpoint."""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, jsonify, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from connectors_sandbox import consent
from connectors_sandbox.github.authorization import (
    CHALLENGE_LENGTH,
    OAuthApp,
    Token,
    TokenCallError,
    is_allowed_redirect,
)
from connectors_sandbox.github.scopes import DESCRIPTIONS, KNOWN, OFFLINE_ACCESS
from connectors_sandbox.github.world import GitHubWorld

ERROR_URI: Final = "https://docs.github.com/apps/oauth-apps/troubleshooting/#{code}"
"""The documentation URL in an error; only its form matters."""


def add_oauth_routes(blueprint: Blueprint, world: GitHubWorld) -> None:
    """Mount `/login/oauth/…`."""

    @blueprint.route("/login/oauth/authorize", methods=["GET", "POST"])
    def authorize() -> BaseResponse:
        with world.lock:
            return _authorize(world)

    @blueprint.route("/login/oauth/access_token", methods=["POST"])
    def access_token() -> BaseResponse:
        fields = _token_fields()
        try:
            with world.lock:
                return _show(_token_members(_answer(world, fields)))
        except TokenCallError as failure:
            uri = ERROR_URI.format(code=failure.code)
            return _show({"error": failure.code, "error_description": str(failure), "error_uri": uri})


def _authorize(world: GitHubWorld) -> BaseResponse:
    app = world.auth.apps.get(request.args.get("client_id", ""))
    if app is None:
        return make_response("No OAuth app has this client_id.", 404)
    redirect_uri = request.args.get("redirect_uri")
    if app.is_suspended:
        return _send_back(app.callback_url, _error("application_suspended", "This application has been suspended."))
    if redirect_uri is not None and not is_allowed_redirect(redirect_uri, app.callback_url):
        return _send_back(
            app.callback_url,
            _error("redirect_uri_mismatch", "The redirect_uri is not below the registered callback."),
        )
    challenge = request.args.get("code_challenge")
    if challenge is not None and not _is_good_challenge(challenge, request.args.get("code_challenge_method")):
        return _send_back(app.callback_url, _error("invalid_request", "PKCE takes S256 with 43 characters only."))
    asked = tuple(dict.fromkeys(request.args.get("scope", "").replace(",", " ").split()))
    decision = _decide(world, app, asked, redirect_uri)
    if isinstance(decision, BaseResponse):
        return decision
    if not decision.is_allowed:
        return _send_back(app.callback_url, _error("access_denied", "The user has denied your application access."))
    code = world.auth.grant_code(app, int(decision.account_id), decision.scopes, redirect_uri, challenge)
    return _send_back(redirect_uri or app.callback_url, {"code": code})


def _decide(
    world: GitHubWorld, app: OAuthApp, asked: tuple[str, ...], redirect_uri: str | None
) -> consent.Decision | BaseResponse:
    people = tuple(consent.ConsentAccount(str(one.id), one.login, one.name or "") for one in world.people())
    screen = consent.ConsentScreen(
        provider="GitHub",
        app_name=app.name,
        accounts=people,
        scopes=tuple(
            consent.ConsentScope(name, DESCRIPTIONS.get(name, ""), is_optional=name != OFFLINE_ACCESS)
            for name in asked
            if name in KNOWN or name == OFFLINE_ACCESS
        ),
        preferred_account=request.args.get("login"),
        redirect_host=urlsplit(redirect_uri or app.callback_url).netloc,
    )
    if not asked and people and request.method == "GET":
        # Without a scope GitHub silently repeats an earlier grant, for whoever is signed in.
        wanted = request.args.get("sandbox_user") or request.args.get("login")
        user = next((one for one in people if wanted in (one.id, one.label)), people[0])
        earlier = world.auth.find_granted_scopes(app.client_id, int(user.id))
        if earlier is not None and "deny" not in request.args:
            return consent.Decision(is_allowed=True, account_id=user.id, scopes=earlier)
    decision = consent.decide(world.core, screen)
    if isinstance(decision, consent.Decision) and decision.is_allowed and not decision.account_id:
        return make_response("There are no users in this sandbox yet: add one first.", 409)
    return decision


def _is_good_challenge(challenge: str, method: str | None) -> bool:
    return method == "S256" and len(challenge) == CHALLENGE_LENGTH


def _error(code: str, description: str) -> dict[str, str]:
    return {"error": code, "error_description": description, "error_uri": ERROR_URI.format(code=code)}


def _send_back(target: str, members: dict[str, str]) -> BaseResponse:
    """Redirect to the app; its own query stays and `state` is echoed."""
    state = request.args.get("state")
    parts = urlsplit(target)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *members.items()]
    if state is not None:
        query.append(("state", state))
    return redirect(urlunsplit(parts._replace(query=urlencode(query))), 302)


def _token_fields() -> dict[str, str]:
    """The call's parameters, from a form, JSON or the query."""
    body = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    given = {**request.args.to_dict(), **(body if isinstance(body, dict) else {})}
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _answer(world: GitHubWorld, fields: dict[str, str]) -> Token:
    app = world.auth.apps.get(fields.get("client_id", ""))
    if app is None or fields.get("client_secret") != app.client_secret:
        raise TokenCallError("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
    grant_type = fields.get("grant_type", "authorization_code")
    if grant_type == "refresh_token":
        return world.auth.refresh(app, fields.get("refresh_token"))
    if grant_type != "authorization_code":
        raise TokenCallError("unsupported_grant_type", "The grant_type is not supported.")
    return world.auth.exchange(app, fields.get("code"), fields.get("redirect_uri"), fields.get("code_verifier"))


def _token_members(token: Token) -> dict[str, Any]:
    members: dict[str, Any] = {"access_token": token.access, "token_type": "bearer", "scope": ",".join(token.scopes)}
    if token.refresh is not None and token.expires_at is not None and token.refresh_expires_at is not None:
        members["expires_in"] = int((token.expires_at - token.created_at).total_seconds())
        members["refresh_token"] = token.refresh
        members["refresh_token_expires_in"] = int((token.refresh_expires_at - token.created_at).total_seconds())
    return members


def _show(members: dict[str, Any]) -> Response:
    """JSON if the client accepts it, otherwise a form; 200 also for an error."""
    if "json" in request.headers.get("Accept", ""):
        return jsonify(members)
    return Response(urlencode(members), 200, mimetype="application/x-www-form-urlencoded")
