"""GitHub's REST host: what applies to every call — User-Agent, token, rate limit, ETag, headers, errors."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import msgspec
from flask import Blueprint, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from connectors_sandbox.github.authorization import Token
from connectors_sandbox.github.directory import RateWindow
from connectors_sandbox.github.records import Account, Permission, Repository
from connectors_sandbox.github.scopes import covers
from connectors_sandbox.github.world import GitHubWorld

DOCS: Final = "https://docs.github.com/rest"
API_VERSIONS: Final = ("2022-11-28", "2026-03-10")
DEFAULT_PER_PAGE: Final = 30
MAX_PER_PAGE: Final = 100
ANONYMOUS_LIMIT: Final = 60
"""Requests per hour without a token."""


class ApiError(Exception):
    """An error response; `headers` and further body members are optional."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.members = members


def not_found() -> ApiError:
    """It does not exist, or the caller may not know that it does."""
    return ApiError(404, "Not Found")


def validation_failed(resource: str, message: str) -> ApiError:
    """A 422 with one custom error."""
    return ApiError(422, "Validation Failed", errors=[{"resource": resource, "code": "custom", "message": message}])


def json_object() -> dict[str, Any]:
    """The request's body.

    Raises:
        ApiError: it is not a JSON object.
    """
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise ApiError(400, "Problems parsing JSON")
    return body


@attrs.frozen
class Api:
    """The API's blueprint and the helpers of its views."""

    blueprint: Blueprint
    world: GitHubWorld

    def install(self) -> None:
        """Register what happens before and after every call."""
        self.blueprint.before_request(self._admit)
        self.blueprint.after_request(self._finish)
        self.blueprint.register_error_handler(ApiError, self._show_error)
        # An unknown path gets GitHub's JSON error, not Flask's page.
        self.blueprint.add_url_rule(
            "/<path:rest>", "unknown", self._refuse, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]
        )
        self.blueprint.register_error_handler(HTTPException, self._show_http_error)

    def route(self, rule: str, view: Callable[..., Response], *methods: str) -> None:
        """Mount a view that runs under the world's lock."""

        def locked(**arguments: Any) -> Response:
            with self.world.lock:
                return view(**arguments)

        name = f"{view.__name__}:{rule}".replace(".", "_")
        self.blueprint.add_url_rule(rule, endpoint=name, view_func=locked, methods=list(methods or ("GET",)))

    def repository_route(self, rule: str, view: Callable[..., Response], *methods: str) -> None:
        """Mount a repository view under both of its addresses, `/repos/o/r` and `/repositories/id`."""

        def by_name(owner: str, name: str, **arguments: Any) -> Response:
            return view(self._visible(self._by_name(owner, name)), **arguments)

        def by_id(repository_id: int, **arguments: Any) -> Response:
            return view(self._visible(self.world.repositories.get(repository_id)), **arguments)

        by_name.__name__ = by_id.__name__ = view.__name__
        self.route(f"/repos/<owner>/<name>{rule}", by_name, *methods)
        self.route(f"/repositories/<int:repository_id>{rule}", by_id, *methods)

    def require_scope(self, *scopes: str) -> None:
        """Require that the token has one of these scopes.

        Raises:
            ApiError: 404, as GitHub hides what a token may not access.
        """
        token: Token | None = g.token
        if token is None or not any(covers(token.scopes, scope) for scope in scopes):
            raise not_found()

    def user_id(self) -> int:
        """The user of the token.

        Raises:
            ApiError: 401 without a valid token.
        """
        token: Token | None = g.token
        if token is None:
            raise ApiError(401, "Requires authentication")
        return token.user_id

    def caller(self) -> int | None:
        """The user of the token, or None."""
        token: Token | None = g.token
        return None if token is None else token.user_id

    def permission(self, repo: Repository) -> Permission | None:
        """What the caller may do in a repository; private ones also require the scope `repo`."""
        token: Token | None = g.token
        if repo.is_private and (token is None or not covers(token.scopes, "repo")):
            return None
        return self.world.permission_of(self.caller(), repo)

    def permissions(self, repo: Repository) -> dict[str, bool]:
        """The `permissions` member of a repository."""
        held = self.permission(repo)
        can_write = held in (Permission.WRITE, Permission.ADMIN)
        is_admin = held is Permission.ADMIN
        return {"admin": is_admin, "maintain": is_admin, "push": can_write, "triage": can_write, "pull": True}

    def show_page(self, rows: list[dict[str, Any]], total: int, path: str) -> Response:
        """A list with its `Link` header; `path` is the list's address below the API base."""
        page, per_page = self.paging()
        last = max(1, -(-total // per_page))
        links = []
        if page > 1:
            links.append(("prev", page - 1))
        if page < last:
            links += [("next", page + 1), ("last", last)]
        if page > 1:
            links.append(("first", 1))
        response = Response(msgspec.json.encode(rows), mimetype="application/json")
        if links:
            response.headers["Link"] = ", ".join(f'<{self.link(path, page=str(to))}>; rel="{rel}"' for rel, to in links)
        return response

    def paging(self) -> tuple[int, int]:
        """`page` from 1, and the items on each: `per_page`, which is a maximum, up to 100 or this server's cap.

        Invalid values count as absent. Source: docs.github.com, "Using pagination in the REST API".
        """
        size = max(1, min(MAX_PER_PAGE, _number("per_page", DEFAULT_PER_PAGE)))
        return max(1, _number("page", 1)), self.world.core.page_size("github", size)

    def is_indexed(self, changed_at: datetime) -> bool:
        """Whether lists show a change of that instant by now: they are read from replicas, which may lag.

        Source: github.com/integrations/slack/pull/494, github.com/probot/stale/issues/83,
        github.com/mattpocock/sandcastle/issues/598 (15 to 30 seconds).
        """
        # A date of the future is the author's: it says nothing of when the change was made.
        return changed_at > self.world.now() or self.world.core.is_indexed("github", changed_at)

    def link(self, path: str, **changes: str) -> str:
        """A URL of this API with the current query, changed; an empty string removes a parameter."""
        query = {name: value for name, value in {**request.args.to_dict(), **changes}.items() if value}
        return f"{self.world.renderer.api}{path}?{urlencode(query)}"

    def _by_name(self, owner: str, name: str) -> Repository | None:
        full_name = f"{owner}/{name}"
        found = self.world.find_repository(full_name)
        moved_to = self.world.renamed.get(full_name.lower())
        if found is None and moved_to in self.world.repositories:
            repo = self.world.repositories[moved_to]
            if self.permission(repo) is None:
                raise not_found()
            _, _, rest = request.path.partition(f"/repos/{full_name}")
            query = f"?{request.query_string.decode()}" if request.query_string else ""
            url = f"{self.world.renderer.api}/repositories/{repo.id}{rest}{query}"
            raise ApiError(301, "Moved Permanently", headers={"Location": url}, url=url)
        return found

    def _visible(self, repo: Repository | None) -> Repository:
        if repo is None or self.permission(repo) is None:
            raise not_found()
        self.require_sign_on(repo.owner)
        return repo

    def hides(self, owner: Account) -> bool:
        """Whether the owner is an organization that the token has yet to be authorized for."""
        token: Token | None = g.token
        authorized = self.world.sign_on.get(owner.id)
        return authorized is not None and token is not None and token.client_id not in authorized

    def require_sign_on(self, owner: Account) -> None:
        """Refuse a token that the organization's single sign-on has not authorized.

        Raises:
            ApiError: 403, with the URL to authorize it in a header.
        """
        if self.hides(owner):
            url = f"{self.world.renderer.web}/orgs/{owner.login}/sso?authorization_request={owner.id}"
            raise ApiError(
                403,
                "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this "
                "organization.",
                headers={"X-GitHub-SSO": f"required; url={url}"},
            )

    def _admit(self) -> None:
        g.token, g.window = None, None
        if not request.headers.get("User-Agent"):
            raise ApiError(
                403, "Request forbidden by administrative rules. Please make sure it has a User-Agent header."
            )
        version = request.headers.get("X-GitHub-Api-Version", API_VERSIONS[0])
        if version not in API_VERSIONS:
            raise ApiError(400, f"{version!r} is not a supported API version.")
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        with self.world.lock:
            if scheme.lower() in ("bearer", "token"):
                g.token = self.world.auth.find_live(credentials.strip())
                if g.token is None:
                    raise ApiError(401, "Bad credentials")
            if scheme.lower() == "basic":
                return  # an app with its own credentials, at the token endpoints; it has a separate, ample limit
            g.window = self.world.rate_window(self.caller() or 0)
            if g.token is None:
                g.window.limit = ANONYMOUS_LIMIT
            if g.window.used >= g.window.limit and not request.path.endswith("/rate_limit"):
                raise ApiError(
                    403,
                    f"API rate limit exceeded for user ID {self.caller()}.",
                    documentation_url=f"{DOCS}/rate-limit",
                )

    def _refuse(self, rest: str) -> Response:
        del rest
        raise not_found()

    def _finish(self, response: Response) -> Response:
        if request.method == "GET" and response.status_code == 200:  # noqa: PLR2004
            digest = hashlib.sha256(response.get_data()).hexdigest()
            response.set_etag(digest, weak=True)
            response.headers["Cache-Control"] = "private, max-age=60, s-maxage=60"
            if request.if_none_match.contains_weak(digest):
                response.status_code = 304
                response.set_data(b"")
        window: RateWindow | None = g.get("window")
        if window is not None:
            with self.world.lock:
                is_free = response.status_code == 304 or request.path.endswith("/rate_limit")  # noqa: PLR2004
                window.used = min(window.limit, window.used + (0 if is_free else 1))
                response.headers.update(rate_headers(window))
        token: Token | None = g.get("token")
        if token is not None:
            response.headers["X-OAuth-Scopes"] = ", ".join(token.scopes)
            response.headers["X-OAuth-Client-Id"] = token.client_id
        response.headers["X-GitHub-Media-Type"] = "github.v3; format=json"
        response.headers["X-GitHub-Request-Id"] = self.world.core.random_string(18, "0123456789ABCDEF")
        return response

    def _show_error(self, failure: ApiError) -> Response:
        body = {"message": str(failure), "documentation_url": DOCS, "status": str(failure.status), **failure.members}
        response = jsonify(body)
        response.status_code = failure.status
        response.headers.update(dict(failure.headers))
        return response

    def _show_http_error(self, failure: HTTPException) -> Response:
        return self._show_error(ApiError(failure.code or 500, failure.name))


def rate_headers(window: RateWindow) -> dict[str, str]:
    """The five rate-limit headers."""
    return {
        "x-ratelimit-limit": str(window.limit),
        "x-ratelimit-remaining": str(window.limit - window.used),
        "x-ratelimit-used": str(window.used),
        "x-ratelimit-reset": str(int(window.resets_at.timestamp())),
        "x-ratelimit-resource": "core",
    }


def _number(name: str, default: int) -> int:
    try:
        return int(request.args.get(name, default))
    except ValueError:
        return default
