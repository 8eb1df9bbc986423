"""Google's account hosts: consent, token endpoint, revocation, userinfo and signing keys."""

import base64
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, jsonify, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from connectors_sandbox import consent
from connectors_sandbox.google.auth import (
    ACCESS_LIFETIME,
    ALIASES,
    CODE_LIFETIME,
    IDENTITY,
    Client,
    Code,
    Grant,
    TokenRefusedError,
)
from connectors_sandbox.google.world import GoogleWorld

CERTS_MAX_AGE: Final = 19_800
"""Seconds for which Google allows its key set to be cached."""
ISSUER: Final = "https://accounts.google.com"


def add_oauth_routes(blueprint: Blueprint, world: GoogleWorld) -> None:
    """Mount authorize, token, revoke, userinfo and certs."""

    @blueprint.route("/o/oauth2/v2/auth", methods=["GET", "POST"])
    def authorize() -> BaseResponse:
        with world.lock:
            return _authorize(world)

    @blueprint.post("/token")
    def token() -> BaseResponse:
        try:
            with world.lock:
                return jsonify(_answer_token(world))
        except TokenRefusedError as refusal:
            return make_response(jsonify(refusal.document), refusal.status)

    @blueprint.post("/revoke")
    def revoke() -> BaseResponse:
        given = request.values.get("token", "")
        with world.lock:
            if world.auth.revoke(given):
                return jsonify({})
        document = {"error": "invalid_token", "error_description": "Token expired or revoked"}
        return make_response(jsonify(document), 400)

    @blueprint.get("/v1/userinfo")
    def userinfo() -> BaseResponse:
        with world.lock:
            grant = world.auth.find_access(request.headers.get("Authorization", "").removeprefix("Bearer "))
            if grant is None or IDENTITY.isdisjoint(grant.scopes):
                document = {"error": "invalid_request", "error_description": "Invalid Credentials"}
                return make_response(jsonify(document), 401)
            return jsonify(world.users[grant.email].to_userinfo())

    @blueprint.get("/oauth2/v3/certs")
    def certs() -> BaseResponse:
        with world.lock:
            response = jsonify(world.keys.to_jwks())
        response.headers["Cache-Control"] = f"public, max-age={CERTS_MAX_AGE}, must-revalidate, no-transform"
        return response


def _authorize(world: GoogleWorld) -> BaseResponse:
    asked = request.args
    client = world.auth.clients.get(asked.get("client_id", ""))
    if client is None:
        return make_response("Error 401: invalid_client. The OAuth client was not found.", 401)
    redirect_uri = asked.get("redirect_uri", "")
    if not redirect_uri or (client.redirect_uris and redirect_uri not in client.redirect_uris):
        return make_response("Error 400: redirect_uri_mismatch", 400)
    names = tuple(dict.fromkeys(ALIASES.get(name, name) for name in asked.get("scope", "").split()))
    if asked.get("response_type") != "code" or not names:
        return make_response("Error 400: invalid_request", 400)
    method = asked.get("code_challenge_method", "plain")
    if method not in {"plain", "S256"}:
        return make_response("Error 400: invalid_request (code_challenge_method)", 400)
    screen = consent.ConsentScreen(
        provider="Google",
        app_name=client.name,
        accounts=tuple(consent.ConsentAccount(user.email, user.email, user.name) for user in world.users.values()),
        scopes=tuple(consent.ConsentScope(name, is_optional=name not in IDENTITY) for name in names),
        preferred_account=asked.get("login_hint"),
        redirect_host=urlsplit(redirect_uri).netloc,
    )
    decision = consent.decide(world.core, screen)
    if isinstance(decision, BaseResponse):
        return decision
    if not decision.is_allowed:
        return _send_back(redirect_uri, {"error": "access_denied"})
    if not decision.account_id:
        return make_response("There are no users in this sandbox yet: add one first.", 409)
    has_consented = "consent" in asked.get("prompt", "").split()
    is_first = (client.id, decision.account_id) not in world.auth.consented
    code = world.auth.issue_code(
        Code(
            client_id=client.id,
            email=decision.account_id,
            scopes=decision.scopes,
            redirect_uri=redirect_uri,
            challenge=asked.get("code_challenge"),
            method=method,
            gives_refresh=asked.get("access_type") == "offline" and (has_consented or is_first),
            expires_at=world.core.clock.now() + CODE_LIFETIME,
        )
    )
    members = {"code": code, "scope": " ".join(decision.scopes), "authuser": "0", "prompt": "consent"}
    return _send_back(redirect_uri, members)


def _send_back(target: str, members: dict[str, str]) -> BaseResponse:
    """Redirect to the app with an unchanged `state`."""
    state = request.args.get("state")
    parts = urlsplit(target)
    query = [*parse_qsl(parts.query, keep_blank_values=True)]
    if state is not None:
        query.append(("state", state))
    query += members.items()
    return redirect(urlunsplit(parts._replace(query=urlencode(query))), 302)


def _answer_token(world: GoogleWorld) -> dict[str, Any]:
    form = request.form
    client = _client(world)
    match form.get("grant_type"):
        case "authorization_code":
            code, redirect_uri = form.get("code", ""), form.get("redirect_uri", "")
            grant, access = world.auth.exchange(client, code, redirect_uri, form.get("code_verifier"))
            return {**_members(world, grant, access), **_first_members(world, grant)}
        case "refresh_token":
            grant, access = world.auth.refresh(client, form.get("refresh_token", ""))
            return _members(world, grant, access)
        case _:
            raise TokenRefusedError("unsupported_grant_type", "Invalid grant_type")


def _client(world: GoogleWorld) -> Client:
    """The client, from the body or HTTP Basic."""
    identifier, secret = request.form.get("client_id", ""), request.form.get("client_secret", "")
    scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        identifier, _, secret = base64.b64decode(pair).decode().partition(":")
    client = world.auth.clients.get(identifier)
    if client is None:
        raise TokenRefusedError("invalid_client", "The OAuth client was not found.", 401)
    if client.secret != secret:
        raise TokenRefusedError("invalid_client", "Unauthorized", 401)
    return client


def _members(world: GoogleWorld, grant: Grant, access: str) -> dict[str, Any]:
    """The fields of every token response; the order of the scopes is random."""
    scopes = list(grant.scopes)
    world.core.random.shuffle(scopes)
    members: dict[str, Any] = {
        "access_token": access,
        "expires_in": int(ACCESS_LIFETIME.total_seconds()),
        "scope": " ".join(scopes),
        "token_type": "Bearer",
    }
    if not IDENTITY.isdisjoint(grant.scopes):
        now = int(world.core.clock.now().timestamp())
        claims = {**world.users[grant.email].to_userinfo(), "iss": ISSUER, "aud": grant.client_id}
        members["id_token"] = world.keys.newest().sign({**claims, "iat": now, "exp": now + 3600})
    return members


def _first_members(world: GoogleWorld, grant: Grant) -> dict[str, Any]:
    members: dict[str, Any] = {} if grant.refresh is None else {"refresh_token": grant.refresh}
    if grant.refresh_expires_at is not None:
        left = grant.refresh_expires_at - world.core.clock.now()
        members["refresh_token_expires_in"] = int(left.total_seconds())
    return members
