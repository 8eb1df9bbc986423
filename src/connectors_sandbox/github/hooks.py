"""Hooks over REST: create, read, change, delete, ping, deliveries, attempts. Also the OAuth app's own token calls."""

import hmac
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import attrs
from flask import Response, g, jsonify, request

from connectors_sandbox.delivery import Outgoing
from connectors_sandbox.families import Ending
from connectors_sandbox.github.api import (
    Api,
    ApiError,
    json_object,
    not_found,
    validation_failed,
)
from connectors_sandbox.github.authorization import OAuthApp, Token
from connectors_sandbox.github.records import Account, Permission, Repository
from connectors_sandbox.github.render import Json, iso
from connectors_sandbox.github.webhooks import Hook, HookDelivery, HookRefusedError

LOG_LIFETIME = timedelta(days=3)
"""Source: docs.github.com, "Handling failed webhook deliveries"."""

ZEN = "Keep it logically awesome."
MASKED_SECRET = "********"  # noqa: S105  what GitHub shows instead


@attrs.frozen
class HookOwner:
    """The repository or organization that owns the hooks, for one call."""

    repo: Repository | None
    organization: Account | None
    path: str
    """The path of its hooks, below the API base."""

    @property
    def id(self) -> int:
        """Its id."""
        found = self.repo or self.organization
        return 0 if found is None else found.id


@attrs.frozen
class HookViews:
    """The views, each mounted for repositories and for organizations."""

    api: Api

    def install(self) -> None:
        """Mount everything."""
        self._both("", self.list_hooks)
        self._both("", self.create, "POST")
        self._both("/<int:hook_id>", self.show)
        self._both("/<int:hook_id>", self.change, "PATCH")
        self._both("/<int:hook_id>", self.delete, "DELETE")
        self._both("/<int:hook_id>/pings", self.ping, "POST")
        self._both("/<int:hook_id>/deliveries", self.list_deliveries)
        self._both("/<int:hook_id>/deliveries/<int:delivery_id>", self.show_delivery)
        self._both("/<int:hook_id>/deliveries/<int:delivery_id>/attempts", self.redeliver, "POST")
        self.api.route("/applications/<client_id>/token", self.check_token, "POST")
        self.api.route("/applications/<client_id>/token", self.delete_token, "DELETE")
        self.api.route("/applications/<client_id>/grant", self.delete_grant, "DELETE")

    def list_hooks(self, owner: HookOwner) -> Response:
        """`GET …/hooks`."""
        hooks = self._visible(owner)
        page, size = self.api.paging()
        rows = [self._render(owner, hook) for hook in hooks[(page - 1) * size : page * size]]
        return self.api.show_page(rows, len(hooks), owner.path)

    def create(self, owner: HookOwner) -> Response:
        """`POST …/hooks`: 201 and a `ping`, or 422."""
        world, body, token = self.api.world, json_object(), g.token
        if owner.organization is not None and body.get("name") != "web":
            raise validation_failed("Hook", "name must be web")
        try:
            target = "repository" if owner.repo is not None else "organization"
            hook = world.hooks.create(target, owner.id, token.client_id, body)  # type: ignore[arg-type]  # a literal, chosen above
        except HookRefusedError as refusal:
            raise validation_failed("Hook", str(refusal)) from refusal
        self._ping(owner, hook)
        response = jsonify(self._render(owner, hook))
        response.status_code = 201
        return response

    def show(self, owner: HookOwner, hook_id: int) -> Response:
        """`GET …/hooks/{id}`."""
        return jsonify(self._render(owner, self._find(owner, hook_id)))

    def change(self, owner: HookOwner, hook_id: int) -> Response:
        """`PATCH …/hooks/{id}`."""
        hook = self._find(owner, hook_id)
        try:
            self.api.world.hooks.update(hook, json_object())
        except HookRefusedError as refusal:
            raise validation_failed("Hook", str(refusal)) from refusal
        return jsonify(self._render(owner, hook))

    def delete(self, owner: HookOwner, hook_id: int) -> Response:
        """`DELETE …/hooks/{id}`; `write:repo_hook` is not enough."""
        if owner.repo is not None:
            self.api.require_scope("admin:repo_hook", "repo")
        del self.api.world.hooks.hooks[self._find(owner, hook_id).id]
        return Response(status=204)

    def ping(self, owner: HookOwner, hook_id: int) -> Response:
        """`POST …/hooks/{id}/pings`."""
        self._ping(owner, self._find(owner, hook_id))
        return Response(status=204)

    def list_deliveries(self, owner: HookOwner, hook_id: int) -> Response:
        """`GET …/deliveries`, newest first, by cursor; a delivery is kept for three days."""
        kept_since = self.api.world.now() - LOG_LIFETIME
        log = [line for line in self._find(owner, hook_id).log if line.delivered_at >= kept_since]
        _, size = self.api.paging()
        cursor = request.args.get("cursor", "")
        start = next((position for position, line in enumerate(log) if str(line.id) == cursor), 0)
        rows = log[start : start + size]
        response = jsonify([_render_line(line) for line in rows])
        if start + size < len(log):
            url = self.api.link(f"{owner.path}/{hook_id}/deliveries", cursor=str(log[start + size].id))
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    def show_delivery(self, owner: HookOwner, hook_id: int, delivery_id: int) -> Response:
        """`GET …/deliveries/{id}`, with request and response."""
        line = self._find_line(owner, hook_id, delivery_id)
        attempt = line.attempt
        exchanged = {
            "url": line.outgoing.url,
            "request": {"headers": dict(attempt.sent_headers) if attempt else {}, "payload": line.payload},
            "response": {
                "headers": dict(attempt.headers) if attempt else {},
                "payload": attempt.body.decode(errors="replace") if attempt else None,
            },
        }
        return jsonify({**_render_line(line), **exchanged})

    def redeliver(self, owner: HookOwner, hook_id: int, delivery_id: int) -> Response:
        """`POST …/attempts`: send again, with the same GUID."""
        line = self._find_line(owner, hook_id, delivery_id)
        self.api.world.hooks.redeliver(line)
        response = jsonify({})
        response.status_code = 202
        return response

    def check_token(self, client_id: str) -> Response:
        """`POST /applications/{client_id}/token`."""
        app = self._app(client_id)
        token = self._token_of(app)
        user = self.api.world.renderer.user_by_id(token.user_id)
        return jsonify(
            id=1,
            url=f"{self.api.world.renderer.api}/authorizations/1",
            app={"client_id": app.client_id, "name": app.name, "url": app.callback_url},
            token=token.access,
            token_last_eight=token.access[-8:],
            hashed_token=None,
            note=None,
            note_url=None,
            fingerprint=None,
            scopes=list(token.scopes),
            created_at=iso(token.created_at),
            updated_at=iso(token.created_at),
            expires_at=iso(token.expires_at),
            user=user,
        )

    def delete_token(self, client_id: str) -> Response:
        """`DELETE /applications/{client_id}/token`: revokes one pair."""
        self.api.world.auth.families.end(self._token_of(self._app(client_id)).family, Ending.REVOKED)
        return Response(status=204)

    def delete_grant(self, client_id: str) -> Response:
        """`DELETE /applications/{client_id}/grant`: revokes everything that the user gave this app."""
        token = self._token_of(self._app(client_id))
        self.api.world.auth.families.end_all(str(token.user_id), Ending.REVOKED, client_id)
        return Response(status=204)

    def _both(self, rule: str, view: Callable[..., Response], *methods: str) -> None:
        needs_write = bool(methods)

        def of_repository(repo: Repository, **arguments: Any) -> Response:
            if self.api.permission(repo) is not Permission.ADMIN:
                raise not_found()
            self.api.require_scope("write:repo_hook" if needs_write else "read:repo_hook", "repo")
            if needs_write and repo.is_archived:
                raise ApiError(403, "Repository was archived so is read-only.")
            return view(HookOwner(repo, None, f"/repositories/{repo.id}/hooks"), **arguments)

        def of_organization(login: str, **arguments: Any) -> Response:
            org = self.api.world.find_account(login)
            if org is None or self.api.caller() not in org.owners:
                raise not_found()
            self.api.require_scope("admin:org_hook")
            return view(HookOwner(None, org, f"/organizations/{org.id}/hooks"), **arguments)

        of_repository.__name__, of_organization.__name__ = f"{view.__name__}_of_repo", f"{view.__name__}_of_org"
        self.api.repository_route(f"/hooks{rule}", of_repository, *methods)
        self.api.route(f"/orgs/<login>/hooks{rule}", of_organization, *methods)

    def _visible(self, owner: HookOwner) -> list[Hook]:
        """A repository's hooks; for an organization only those that this app created."""
        if owner.repo is not None:
            return self.api.world.hooks.of("repository", owner.id)
        mine = g.token.client_id
        return [hook for hook in self.api.world.hooks.of("organization", owner.id) if hook.client_id == mine]

    def _find(self, owner: HookOwner, hook_id: int) -> Hook:
        found = next((hook for hook in self._visible(owner) if hook.id == hook_id), None)
        if found is None:
            raise not_found()
        return found

    def _find_line(self, owner: HookOwner, hook_id: int, delivery_id: int) -> HookDelivery:
        found = next((line for line in self._find(owner, hook_id).log if line.id == delivery_id), None)
        if found is None:
            raise not_found()
        return found

    def _ping(self, owner: HookOwner, hook: Hook) -> list[Outgoing]:
        world, user_id = self.api.world, self.api.user_id()

        def payload() -> Mapping[str, Any]:
            rendered: Json = {"zen": ZEN, "hook_id": hook.id, "hook": self._render(owner, hook)}
            if owner.repo is not None:
                rendered["repository"] = world.renderer.repository(owner.repo)
            if owner.organization is not None:
                rendered["organization"] = world.renderer.organization(owner.organization)
            return {**rendered, "sender": world.renderer.user_by_id(user_id)}

        return world.hooks.emit("ping", [hook], payload)

    def _render(self, owner: HookOwner, hook: Hook) -> Json:
        api = self.api.world.renderer.api
        name = (
            owner.repo.full_name if owner.repo is not None else owner.organization.login if owner.organization else ""
        )
        url = f"{api}/{'repos' if owner.repo is not None else 'orgs'}/{name}/hooks/{hook.id}"
        config = {"content_type": hook.content_type, "insecure_ssl": hook.insecure_ssl, "url": hook.url}
        if hook.secret is not None:
            config["secret"] = MASKED_SECRET
        rendered: Json = {
            "type": "Repository" if owner.repo is not None else "Organization",
            "id": hook.id,
            "name": "web",
            "active": hook.is_active,
            "events": list(hook.events),
            "config": config,
            "updated_at": iso(hook.updated_at),
            "created_at": iso(hook.created_at),
            "url": url,
            "ping_url": f"{url}/pings",
            "deliveries_url": f"{url}/deliveries",
        }
        if owner.repo is not None:
            last = hook.log[0] if hook.log else None
            outcome = {"code": None, "status": "unused", "message": None}
            if last is not None:
                is_good = last.attempt is not None and last.attempt.is_success
                outcome = {"code": last.status_code, "status": "active" if is_good else "invalid", "message": None}  # type: ignore[dict-item]  # JSON
            rendered |= {"test_url": f"{url}/test", "last_response": outcome}
        return rendered

    def _app(self, client_id: str) -> OAuthApp:
        app, given = self.api.world.auth.apps.get(client_id), request.authorization
        if app is None or given is None or given.type != "basic" or given.username != client_id:
            raise not_found()
        if not hmac.compare_digest((given.password or "").encode(), app.client_secret.encode()):
            raise not_found()
        return app

    def _token_of(self, app: OAuthApp) -> Token:
        access = json_object().get("access_token")
        if not isinstance(access, str):
            raise ApiError(422, "Validation Failed", errors=[{"code": "missing_field", "field": "access_token"}])
        # An access token that has expired is as unknown as any other, although its refresh token may live on.
        token = self.api.world.auth.find_live(access)
        if token is None or token.client_id != app.client_id:
            raise not_found()
        return token


def _render_line(line: HookDelivery) -> Json:
    attempt = line.attempt
    if attempt is not None and attempt.is_success:
        status = "OK"
    elif line.status_code:
        status = f"Invalid HTTP Response: {line.status_code}"
    else:
        status = "failed to connect to host"
    return {
        "id": line.id,
        "guid": line.outgoing.id,
        "delivered_at": iso(line.delivered_at),
        "redelivery": line.is_redelivery,
        "duration": line.duration_seconds,
        "status": status,
        "status_code": line.status_code,
        "event": line.outgoing.event,
        "action": line.action,
        "installation_id": None,
        "repository_id": line.repository_id,
        "throttled_at": None,
    }
