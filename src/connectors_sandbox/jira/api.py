"""`api.atlassian.com/ex/jira/{cloudId}`: REST v3, with a scope per endpoint."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from flask import Blueprint, jsonify, make_response, request
from werkzeug.wrappers import Response

from connectors_sandbox.jira import jql, render, webhooks
from connectors_sandbox.jira.authorization import Access
from connectors_sandbox.jira.records import STATUSES, Hook, Issue, Project, Site
from connectors_sandbox.jira.world import JiraWorld

READ_WORK: Final = "read:jira-work"
READ_USER: Final = "read:jira-user"
WEBHOOKS: Final = (READ_WORK, "manage:jira-webhook")
MAX_RESULTS: Final = 100
"""The maximum page size of issues with fields, values and comments; the server may return fewer than requested."""
EMBEDDED_COMMENTS: Final = 20
"""The maximum number of comments inside an issue's `comment` field."""
FIELDS: Final = ("summary", "status", "assignee", "priority", "project", "created", "updated", "comment")
TOKEN_LIFETIME: Final = timedelta(days=7)

T = TypeVar("T")


class ApiError(Exception):
    """An error in the site's form."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def add_api_routes(blueprint: Blueprint, world: JiraWorld) -> None:
    """Mount the gateway, and the sites' own hosts, which accept no 3LO token."""
    api = Api(world)
    for method, path, scopes, view in (
        ("GET", "myself", (READ_USER,), api.show_myself),
        ("GET", "serverInfo", (READ_WORK,), api.show_server),
        ("GET", "status", (READ_WORK,), api.list_statuses),
        ("GET", "field", (READ_WORK,), api.list_fields),
        ("GET", "project/search", (READ_WORK,), api.list_projects),
        ("GET", "search/jql", (READ_WORK,), api.search),
        ("POST", "search/jql", (READ_WORK,), api.search),
        ("POST", "search/approximate-count", (READ_WORK,), api.count),
        ("GET", "search", (READ_WORK,), api.refuse_old_search),
        ("POST", "search", (READ_WORK,), api.refuse_old_search),
        ("POST", "changelog/bulkfetch", (READ_WORK,), api.list_histories),
        ("GET", "issue/<issue>", (READ_WORK,), api.show_issue),
        ("GET", "issue/<issue>/changelog", (READ_WORK,), api.list_issue_histories),
        ("GET", "issue/<issue>/comment", (READ_WORK,), api.list_comments),
        ("POST", "webhook", WEBHOOKS, api.register_hooks),
        ("GET", "webhook", WEBHOOKS, api.list_hooks),
        ("PUT", "webhook/refresh", WEBHOOKS, api.refresh_hooks),
        ("DELETE", "webhook", WEBHOOKS, api.delete_hooks),
    ):
        blueprint.add_url_rule(
            f"/ex/jira/<cloud_id>/rest/api/3/{path}",
            endpoint=f"{method} {path}".replace(".", "_"),
            view_func=_guard(world, scopes, view),
            methods=[method],
        )

    @blueprint.route("/site/<name>/<path:rest>", methods=["GET", "POST", "PUT", "DELETE"])
    def refuse_site_host(name: str, rest: str) -> Response:
        """`https://<name>.atlassian.net`: a 3LO token is not accepted there."""
        del name, rest
        return make_response(jsonify(errorMessages=["You do not have permission."], errors={}), 401)


def _guard(world: JiraWorld, scopes: Sequence[str], view: Callable[..., Any]) -> Callable[..., Response]:
    def answer(cloud_id: str, **arguments: str) -> Response:
        with world.lock:
            access = world.authenticate(request.headers.get("Authorization", ""))
            if access is None:
                return make_response(jsonify(code=401, message="Unauthorized"), 401)
            if not set(scopes) <= set(access.family.scopes):
                return make_response(jsonify(code=401, message="Unauthorized; scope does not match"), 401)
            site = world.sites.get(cloud_id)
            user = world.users[access.family.user]
            if site is None or site.is_gone or not site.is_jira or site.id not in user.site_ids:
                return make_response(jsonify(code=404, message="Not Found"), 404)
            try:
                shown = view(access, site, **arguments)
            except (ApiError, jql.JqlError) as error:
                status = error.status if isinstance(error, ApiError) else 400
                return make_response(jsonify(errorMessages=[str(error)], errors={}), status)
            return shown if isinstance(shown, Response) else jsonify(shown)

    return answer


class Api:
    """The endpoints, each with the access token and the site."""

    def __init__(self, world: JiraWorld) -> None:
        self._world = world

    def show_myself(self, access: Access, site: Site) -> Any:
        """The token's user."""
        return render.show_user(site, self._world.users[access.family.user])

    def show_server(self, access: Access, site: Site) -> Any:
        """The endpoint that client libraries call first."""
        del access
        return {"baseUrl": site.url, "version": "1001.0.0", "versionNumbers": [1001, 0, 0], "deploymentType": "Cloud"}

    def list_statuses(self, access: Access, site: Site) -> Any:
        """All statuses on one page."""
        del access
        return [render.show_status(site, status) for status in STATUSES.values()]

    def list_fields(self, access: Access, site: Site) -> Any:
        """The fields that an issue can have."""
        del access, site
        return [{"id": name, "key": name, "name": name.title(), "custom": False} for name in FIELDS]

    def list_projects(self, access: Access, site: Site) -> Any:
        """Projects by key."""
        shown = [one for one in site.projects.values() if _is_shown(one, access)]
        found = sorted(shown, key=lambda one: one.key)
        return self._page([render.show_project(site, one) for one in found])

    # --- search ----------------------------------------------------------------------------------------------------

    def search(self, access: Access, site: Site) -> Any:
        """A page of issues: only `id` unless fields are named, no total, and a token if there are more."""
        asked = _parameters()
        text, fields = str(asked.get("jql") or ""), _names(asked.get("fields"))
        size = self._page_size(min(_number(asked.get("maxResults"), 50), MAX_RESULTS))
        token = asked.get("nextPageToken")
        made_for = [site.id, text, sorted(fields), self._world.page_token_generation]
        mark = hashlib.sha256(json.dumps(made_for).encode()).hexdigest()[:12]
        found = self._find(access, site, text)
        change, self._world.during_search = self._world.during_search, None
        if change is not None:
            change()
        start = 0 if token is None else self._read_token(token, mark)
        shown = [self._show(site, issue, fields) for issue in found[start : start + size]]
        answer: dict[str, Any] = {"issues": shown, "isLast": start + size >= len(found)}
        if self._world.repeats_tokens and token is not None:
            return {**answer, "nextPageToken": token, "isLast": False}
        if not answer["isLast"]:
            answer["nextPageToken"] = self._write_token(start + size, mark)
        return answer

    def count(self, access: Access, site: Site) -> Any:
        """The approximate number of matching issues."""
        return {"count": len(self._find(access, site, str(_parameters().get("jql") or "")))}

    def refuse_old_search(self, access: Access, site: Site) -> Any:
        """The search that Atlassian has removed."""
        del access, site
        raise ApiError(
            410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. (CHANGE-2046)"
        )

    def _find(self, access: Access, site: Site, text: str) -> list[Issue]:
        """The issues that match, in the query's order, as the index knows them.

        Source: Search After Write with Search And Reconcile: a search may show stale data for seconds to minutes.
        """
        query = jql.parse(text)
        zone = self._world.users[access.family.user].time_zone
        shown = [issue for issue in site.issues.values() if _is_shown(issue.project, access)]
        indexed = [one for one in map(self._find_indexed, shown) if one is not None]
        return jql.sort(query, [issue for issue in indexed if jql.matches(query, issue, zone)])

    def _find_indexed(self, issue: Issue) -> Issue | None:
        """The issue itself if the index knows its last change, else an earlier version; None if there is none yet."""
        core, last = self._world.core, len(issue.versions) - 1
        for number, (made_at, version) in reversed(list(enumerate(issue.versions))):
            if core.is_indexed("jira", made_at):
                return issue if number == last else version
        return None

    def _write_token(self, start: int, mark: str) -> str:
        stamp = int(self._world.core.clock.now().timestamp())
        return base64.urlsafe_b64encode(json.dumps([start, mark, stamp]).encode()).decode()

    def _read_token(self, token: Any, mark: str) -> int:
        try:
            start, made_for, stamp = json.loads(base64.urlsafe_b64decode(str(token)))
        except ValueError:
            raise ApiError(400, "The provided next page token is invalid.") from None
        age = self._world.core.clock.now().timestamp() - stamp
        if made_for != mark or age > TOKEN_LIFETIME.total_seconds():
            raise ApiError(400, "The provided next page token is invalid.")
        return int(start)

    # --- issues ----------------------------------------------------------------------------------------------------

    def show_issue(self, access: Access, site: Site, issue: str) -> Any:
        """One issue, with all fields unless some are named."""
        fields = _names(request.args.get("fields")) or {"*all"}
        return self._show(site, self._issue(access, site, issue), fields)

    def list_histories(self, access: Access, site: Site) -> Any:
        """The histories of many issues, their times as numbers; a token if there are more."""
        asked = _parameters()
        wanted = [str(item) for item in asked.get("issueIdsOrKeys") or ()]
        if not wanted or len(wanted) > 1000:  # noqa: PLR2004  Jira's limit
            raise ApiError(400, "Between 1 and 1000 issues must be named.")
        issues = [
            one
            for one in site.issues.values()
            if (one.id in wanted or one.key in wanted) and one.project.shows_to(access.family.user)
        ]
        pairs = [(issue, history) for issue in issues for history in issue.histories]
        size = self._page_size(min(_number(asked.get("maxResults"), 1000), 1000))
        start = _number(asked.get("nextPageToken"), 0)
        logs: dict[str, list[dict[str, Any]]] = {}
        for issue, history in pairs[start : start + size]:
            logs.setdefault(issue.id, []).append(render.show_history(site, history, with_epoch=True))
        answer: dict[str, Any] = {
            "issueChangeLogs": [{"issueId": one, "changeHistories": shown} for one, shown in logs.items()]
        }
        if start + size < len(pairs):
            answer["nextPageToken"] = str(start + size)
        return answer

    def list_issue_histories(self, access: Access, site: Site, issue: str) -> Any:
        """The history of one issue, oldest first."""
        return self._page([render.show_history(site, one) for one in self._issue(access, site, issue).histories])

    def list_comments(self, access: Access, site: Site, issue: str) -> Any:
        """An issue's comments, oldest first, under `comments`."""
        found = self._issue(access, site, issue)
        page = self._page([render.show_comment(site, found, one) for one in found.comments])
        return {"comments": page["values"], **{name: page[name] for name in ("startAt", "maxResults", "total")}}

    def _issue(self, access: Access, site: Site, issue: str) -> Issue:
        """An issue that the token's user may see. One of an archived project can still be opened by its key."""
        try:
            found = self._world.find_issue(site, issue)
        except KeyError:
            found = None
        if found is None or not found.project.shows_to(access.family.user):
            raise ApiError(404, "Issue does not exist or you do not have permission to see it.")
        return found

    def _show(self, site: Site, issue: Issue, names: set[str]) -> dict[str, Any]:
        if not names or names == {"id"}:
            return {"id": issue.id}
        fields = render.show_fields(site, issue)
        fields["comment"] = self._embed_comments(site, issue)
        if not names & {"*all", "*navigable"}:
            fields = {name: value for name, value in fields.items() if name in names}
        return render.show_issue(site, issue, fields)

    def _embed_comments(self, site: Site, issue: Issue) -> dict[str, Any]:
        first = [render.show_comment(site, issue, one) for one in issue.comments[:EMBEDDED_COMMENTS]]
        return {"comments": first, "maxResults": len(first), "total": len(issue.comments), "startAt": 0}

    # --- webhooks --------------------------------------------------------------------------------------------------

    def register_hooks(self, access: Access, site: Site) -> Any:
        """One result per requested webhook; errors are sent with 200."""
        asked, now = _parameters(), self._world.core.clock.now()
        url, wanted = asked.get("url"), asked.get("webhooks")
        if not isinstance(url, str) or not isinstance(wanted, list) or not wanted:
            raise ApiError(400, "The url and at least one webhook are required.")
        app = self._world.auth.apps[access.family.client_id]
        live = [one for each in self._world.sites.values() for one in webhooks.live_hooks(each, now)]
        results: list[dict[str, Any]] = []
        for item in wanted:
            if any(one.client_id == app.client_id and one.url != url for one in live):
                results.append({"errors": ["Only a single URL per app is allowed to be registered via REST API."]})
                continue
            made = webhooks.make_hook(site, app, access.family.user, item, url, now)
            results.append({"createdWebhookId": made.id} if isinstance(made, Hook) else {"errors": [made]})
        return {"webhookRegistrationResult": results}

    def list_hooks(self, access: Access, site: Site) -> Any:
        """This app's and user's webhooks that have not expired."""
        return self._page(
            [
                {
                    "id": hook.id,
                    "url": hook.url,
                    "jqlFilter": hook.jql,
                    "events": list(hook.events),
                    "expirationDate": render.show_time(hook.expires_at),
                }
                for hook in self._own_hooks(access, site)
            ]
        )

    def refresh_hooks(self, access: Access, site: Site) -> Any:
        """Extend existing webhooks by thirty days; unknown ids are not mentioned."""
        expires_at = self._world.core.clock.now() + webhooks.LIFETIME
        for hook in self._named_hooks(access, site):
            hook.expires_at = expires_at
        return {"expirationDate": render.show_time(expires_at)}

    def delete_hooks(self, access: Access, site: Site) -> Any:
        """Delete the existing ones among these webhooks."""
        for hook in self._named_hooks(access, site):
            del site.hooks[hook.id]
        return make_response("", 202)

    def _page(self, values: Sequence[T]) -> dict[str, Any]:
        """A page by offset. `maxResults` says how many it can hold, which may be fewer than asked for.

        Source: REST v3, Pagination ("each operation can have a different limit").
        """
        start = _number(request.args.get("startAt"), 0)
        size = self._page_size(min(_number(request.args.get("maxResults"), 50), MAX_RESULTS) or 1)
        return {
            "startAt": start,
            "maxResults": size,
            "total": len(values),
            "isLast": start + size >= len(values),
            "values": list(values[start : start + size]),
        }

    def _page_size(self, asked: int) -> int:
        return self._world.core.page_size("jira", asked)

    def _own_hooks(self, access: Access, site: Site) -> list[Hook]:
        owner = (access.family.client_id, access.family.user)
        live = webhooks.live_hooks(site, self._world.core.clock.now())
        return [hook for hook in live if (hook.client_id, hook.account_id) == owner]

    def _named_hooks(self, access: Access, site: Site) -> list[Hook]:
        ids = _parameters().get("webhookIds")
        if not isinstance(ids, list) or not ids:
            raise ApiError(400, "The webhookIds are required.")
        return [hook for hook in self._own_hooks(access, site) if hook.id in ids]


def _parameters() -> dict[str, Any]:
    """The call's parameters, from a JSON body or the query."""
    if request.method == "GET":
        # An array in a query may be a comma-separated list or a repeated name.
        return {name: ",".join(values) for name, values in request.args.lists()}
    document = request.get_json(silent=True)
    if not isinstance(document, dict):
        raise ApiError(400, "The body must be a JSON object.")
    return document


def _names(value: Any) -> set[str]:
    """Field names: a comma-separated list in a query, an array in a body."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return {str(part).strip() for part in parts} - {""}


def _number(value: Any, default: int) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return default


def _is_shown(project: Project, access: Access) -> bool:
    """Whether searches and lists show a project to the token's user."""
    return not project.is_archived and project.shows_to(access.family.user)
