"""The accounts servers: consent at one, tokens at the user's own; errors are always sent with 200."""

import base64
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, abort, jsonify, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from connectors_sandbox import consent
from connectors_sandbox.zoho.auth import ACCESS_LIFETIME, DATA_CENTRES, TokenRefusedError
from connectors_sandbox.zoho.world import ZohoWorld

IDENTITY_SCOPE = "AaaServer.profile.READ"
API_DOMAINS = {"us": "https://www.zohoapis.com", "eu": "https://www.zohoapis.eu"}


def add_oauth_routes(blueprint: Blueprint, world: ZohoWorld) -> None:
    """Mount authorize, token, both revocations, user info and server info."""
    accounts = "/<dc>/accounts/oauth"

    @blueprint.route(f"{accounts}/v2/auth", methods=["GET", "POST"])
    def authorize(dc: str) -> BaseResponse:
        _known(dc)
        with world.lock:
            return _authorize(world, dc)

    @blueprint.post(f"{accounts}/v2/token")
    def token(dc: str) -> BaseResponse:
        _known(dc)
        try:
            with world.lock:
                return jsonify(_answer_token(world, dc))
        except TokenRefusedError as refusal:
            return jsonify(refusal.document)

    @blueprint.post(f"{accounts}/v2/token/revoke")
    def revoke(dc: str) -> BaseResponse:
        _known(dc)
        with world.lock:
            is_done = world.auth.revoke(request.values.get("token", ""), dc)
        return jsonify({"status": "success"}) if is_done else make_response(jsonify({"error": "invalid_token"}), 400)

    @blueprint.post(f"{accounts}/v2/revoke/token")
    def revoke_as_client(dc: str) -> BaseResponse:
        _known(dc)
        with world.lock:
            try:
                world.auth.find_client(*_basic(), dc)
            except TokenRefusedError as refusal:
                return make_response(jsonify(refusal.document), 401)
            is_done = world.auth.revoke(request.form.get("token", ""), dc)
        return jsonify({"status": "success"}) if is_done else make_response(jsonify({"error": "invalid_token"}), 400)

    @blueprint.get(f"{accounts}/user/info")
    def user_info(dc: str) -> BaseResponse:
        _known(dc)
        with world.lock:
            grant = world.auth.find_access(bearer(), dc)
            if grant is None or IDENTITY_SCOPE not in grant.scopes:
                code = "INVALID_OAUTHTOKEN" if grant is None else "INVALID_OAUTHSCOPE"
                return make_response(jsonify({"response": "error", "code": code, "message": "not permitted"}), 401)
            return jsonify(grant.user.to_info())

    @blueprint.get(f"{accounts}/serverinfo")
    def server_info(dc: str) -> BaseResponse:
        _known(dc)
        return jsonify({"result": "success", "locations": {one: world.accounts_url(one) for one in DATA_CENTRES}})


def _known(dc: str) -> None:
    if dc not in DATA_CENTRES:
        abort(404)


def bearer() -> str:
    """The access token in Zoho's own scheme; `Bearer` is accepted too."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() in {"zoho-oauthtoken", "bearer"} else ""


def _basic() -> tuple[str, str]:
    scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
    try:
        decoded = base64.b64decode(pair).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        decoded = ""
    identifier, _, secret = decoded.partition(":")
    return identifier, secret


def _authorize(world: ZohoWorld, dc: str) -> BaseResponse:
    asked = request.args
    try:
        client = world.auth.find_client(asked.get("client_id", ""), None, dc)
    except TokenRefusedError:
        return make_response("Error occurred: invalid client", 400)
    redirect_uri = asked.get("redirect_uri", "")
    if not redirect_uri or (client.redirect_uris and redirect_uri not in client.redirect_uris):
        return make_response("Error occurred: invalid redirect uri", 400)
    scopes = tuple(dict.fromkeys(scope.strip() for scope in asked.get("scope", "").split(",") if scope.strip()))
    if asked.get("response_type") != "code" or not scopes or any(" " in scope for scope in scopes):
        return make_response("Error occurred: invalid scope", 400)
    screen = consent.ConsentScreen(
        provider="Zoho",
        app_name=client.id,
        accounts=tuple(
            consent.ConsentAccount(user.email, user.email, f"{user.name} · {user.location}")
            for user in world.auth.users.values()
        ),
        # Zoho's page is all or nothing.
        scopes=tuple(consent.ConsentScope(name, is_optional=False) for name in scopes),
        redirect_host=urlsplit(redirect_uri).netloc,
    )
    decision = consent.decide(world.core, screen)
    if isinstance(decision, BaseResponse):
        return decision
    if not decision.is_allowed:
        return _send_back(redirect_uri, {"error": "access_denied"})
    user = world.auth.users.get(decision.account_id)
    if user is None:
        return make_response("There are no users in this sandbox yet: add one first.", 409)
    is_first = (client.id, user.email) not in world.auth.consented
    code = world.auth.issue_code(
        client.id,
        user,
        scopes,
        redirect_uri,
        gives_refresh=asked.get("access_type") == "offline" and (is_first or asked.get("prompt") == "consent"),
    )
    members = {"code": code, "location": user.location, "accounts-server": world.accounts_url(user.location)}
    return _send_back(redirect_uri, members)


def _send_back(target: str, members: dict[str, str]) -> BaseResponse:
    parts = urlsplit(target)
    state = request.args.get("state")
    query = [*parse_qsl(parts.query, keep_blank_values=True), *([] if state is None else [("state", state)])]
    # The trailing `&` is Zoho's.
    return redirect(urlunsplit(parts._replace(query=urlencode([*query, *members.items()]) + "&")), 302)


def _answer_token(world: ZohoWorld, dc: str) -> dict[str, Any]:
    given = request.values
    client = world.auth.find_client(given.get("client_id", ""), given.get("client_secret", ""), dc)
    members: dict[str, Any] = {}
    match given.get("grant_type"):
        case "authorization_code":
            grant, access = world.auth.exchange(client, given.get("code", ""), given.get("redirect_uri", ""), dc)
            members["scope"] = " ".join(grant.scopes)
            if grant.refresh is not None:
                members["refresh_token"] = grant.refresh
        case "refresh_token":
            _, access = world.auth.refresh(client, given.get("refresh_token", ""), dc)
        case _:
            raise TokenRefusedError("unsupported_grant_type")
    return {
        "access_token": access,
        **members,
        "api_domain": API_DOMAINS[dc],
        "token_type": "Bearer",
        "expires_in": int(ACCESS_LIFETIME.total_seconds()),
    }
