"""Users, repositories, issues, pull requests, releases and activity over REST."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from flask import Response, g, jsonify, request

from connectors_sandbox.github.api import Api, ApiError, not_found, rate_headers
from connectors_sandbox.github.records import Comment, Issue, Ordering, Permission, Pull, Repository, versions_shown

PERIODS: Final = {
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "quarter": timedelta(days=90),
    "year": timedelta(days=365),
}
"""`time_period` of the activity list."""


@attrs.frozen
class Resources:
    """The read-only views."""

    api: Api

    def install(self) -> None:
        """Mount everything."""
        route, repository_route = self.api.route, self.api.repository_route
        route("/user", self.show_user)
        route("/users/<login>", self.show_account)
        route("/user/repos", self.list_repositories)
        route("/user/orgs", self.list_organizations)
        route("/organizations/<int:organization_id>/repos", self.list_repositories_of)
        route("/rate_limit", self.show_rate_limit)
        repository_route("", self.show_repository)
        repository_route("/issues", self.list_issues)
        repository_route("/issues/<int:number>", self.show_issue)
        repository_route("/issues/<int:number>/comments", self.list_comments_of)
        repository_route("/issues/comments", self.list_comments)
        repository_route("/issues/events", self.list_events)
        repository_route("/pulls", self.list_pulls)
        repository_route("/pulls/<int:number>", self.show_pull)
        repository_route("/pulls/<int:number>/reviews", self.list_reviews)
        repository_route("/pulls/comments", self.list_review_comments)
        repository_route("/releases", self.list_releases)
        repository_route("/activity", self.list_activity)

    def show_user(self) -> Response:
        """`GET /user`."""
        world = self.api.world
        return jsonify(world.renderer.profile(world.accounts[self.api.user_id()]))

    def show_account(self, login: str) -> Response:
        """`GET /users/{login}`."""
        account = self.api.world.find_account(login)
        if account is None:
            raise not_found()
        return jsonify(self.api.world.renderer.profile(account))

    def list_repositories(self) -> Response:
        """`GET /user/repos`, by full name unless requested otherwise."""
        world = self.api.world
        repos = [repo for repo in world.repositories_of(self.api.user_id()) if self.api.permission(repo) is not None]
        hidden = sorted({repo.owner.id for repo in repos if self.api.hides(repo.owner)})
        repos = [repo for repo in repos if repo.owner.id not in hidden]
        sort = request.args.get("sort", "full_name")
        by_name = sort not in ("created", "updated", "pushed")
        repos.sort(key=lambda repo: repo.full_name.lower() if by_name else getattr(repo, f"{sort}_at"))
        if request.args.get("direction", "asc" if by_name else "desc") == "desc":
            repos.reverse()
        page, size = self.api.paging()
        rows = [
            world.renderer.repository(repo, self.api.permissions(repo))
            for repo in repos[(page - 1) * size : page * size]
        ]
        response = self.api.show_page(rows, len(repos), "/user/repos")
        if hidden:
            response.headers["X-GitHub-SSO"] = f"partial-results; organizations={','.join(map(str, hidden))}"
        return response

    def list_repositories_of(self, organization_id: int) -> Response:
        """`GET /organizations/{id}/repos`."""
        world, owner = self.api.world, self.api.world.accounts.get(organization_id)
        if owner is None:
            raise not_found()
        self.api.require_sign_on(owner)
        repos = [
            repo
            for repo in world.repositories_of(self.api.user_id())
            if repo.owner is owner and self.api.permission(repo) is not None
        ]
        page, size = self.api.paging()
        rows = [
            world.renderer.repository(repo, self.api.permissions(repo))
            for repo in repos[(page - 1) * size : page * size]
        ]
        return self.api.show_page(rows, len(repos), f"/organizations/{organization_id}/repos")

    def list_organizations(self) -> Response:
        """`GET /user/orgs`."""
        user_id = self.api.user_id()
        world = self.api.world
        mine = [world.renderer.organization(one) for one in world.accounts.values() if user_id in one.members]
        page, size = self.api.paging()
        return self.api.show_page(mine[(page - 1) * size : page * size], len(mine), "/user/orgs")

    def show_rate_limit(self) -> Response:
        """`GET /rate_limit`, which costs nothing."""
        headers = rate_headers(g.window)
        core = {name: int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "used", "remaining", "reset")}
        return jsonify(resources={"core": {**core, "resource": "core"}, "search": core}, rate=core)

    def show_repository(self, repo: Repository) -> Response:
        """`GET /repos/{o}/{r}`."""
        return jsonify(self.api.world.renderer.full_repository(repo, self.api.permissions(repo)))

    def list_issues(self, repo: Repository) -> Response:
        """`GET …/issues`, including pull requests."""
        if not repo.has_issues:
            raise ApiError(410, "Issues are disabled for this repo")
        order, issues = self._issues_shown(repo, repo.issue_orders, has_issues=True)
        numbers, total = self._page(order, by_updated=request.args.get("sort") == "updated")
        render = self.api.world.renderer
        rows = [render.issue(repo, issues[number]) for number in numbers]
        return self.api.show_page(rows, total, f"/repositories/{repo.id}/issues")

    def show_issue(self, repo: Repository, number: int) -> Response:
        """`GET …/issues/{n}`."""
        if number not in repo.issues:
            raise not_found()
        return jsonify(self.api.world.renderer.issue(repo, repo.issues[number]))

    def list_comments_of(self, repo: Repository, number: int) -> Response:
        """`GET …/issues/{n}/comments`, oldest first."""
        if number not in repo.issues:
            raise not_found()
        page, size = self.api.paging()
        since = _since()
        kept = [repo.comments[one] for one in repo.comments_by_number.get(number, [])]
        kept = [one for one in kept if since is None or one.updated_at >= since]
        is_pull = repo.issues[number].pull is not None
        rows = [
            self.api.world.renderer.comment(repo, one, is_pull=is_pull) for one in kept[(page - 1) * size : page * size]
        ]
        return self.api.show_page(rows, len(kept), f"/repositories/{repo.id}/issues/{number}/comments")

    def list_comments(self, repo: Repository) -> Response:
        """`GET …/issues/comments`; without `sort` the `direction` is ignored and ids ascend."""
        order, shown = self._comments_shown(repo.comment_order, repo.comments)
        ids, total = self._comment_page(order)
        comments = [shown[one] for one in ids]
        rows = [
            self.api.world.renderer.comment(repo, one, is_pull=repo.issues[one.number].pull is not None)
            for one in comments
        ]
        return self.api.show_page(rows, total, f"/repositories/{repo.id}/issues/comments")

    def list_review_comments(self, repo: Repository) -> Response:
        """`GET …/pulls/comments`."""
        order, shown = self._comments_shown(repo.review_comment_order, repo.review_comments)
        ids, total = self._comment_page(order)
        rows = [self.api.world.renderer.review_comment(repo, shown[one]) for one in ids]
        return self.api.show_page(rows, total, f"/repositories/{repo.id}/pulls/comments")

    def list_events(self, repo: Repository) -> Response:
        """`GET …/issues/events`, newest first."""
        page, size = self.api.paging()
        rows = [self.api.world.renderer.issue_event(repo, one) for one in _newest(repo.events, page, size)]
        return self.api.show_page(rows, len(repo.events), f"/repositories/{repo.id}/issues/events")

    def list_pulls(self, repo: Repository) -> Response:
        """`GET …/pulls`; it has no `since`."""
        is_updated = request.args.get("sort") == "updated"
        order, issues = self._issues_shown(repo, repo.pull_orders, has_issues=False)
        numbers, total = self._page(order, by_updated=is_updated, has_since=False)
        found = [_pull(issues, number) for number in numbers]
        rows = [self.api.world.renderer.pull(repo, issue, pull) for issue, pull in found]
        return self.api.show_page(rows, total, f"/repositories/{repo.id}/pulls")

    def show_pull(self, repo: Repository, number: int) -> Response:
        """`GET …/pulls/{n}`."""
        return jsonify(self.api.world.renderer.full_pull(repo, *_pull(repo.issues, number)))

    def list_reviews(self, repo: Repository, number: int) -> Response:
        """`GET …/pulls/{n}/reviews`, oldest first; pending ones only for their author."""
        issue, pull = _pull(repo.issues, number)
        caller = self.api.caller()
        seen = [
            one
            for one in pull.reviews
            if (one.user_id == caller if one.submitted_at is None else self.api.is_indexed(one.submitted_at))
        ]
        page, size = self.api.paging()
        rows = [self.api.world.renderer.review(repo, issue, one) for one in seen[(page - 1) * size : page * size]]
        return self.api.show_page(rows, len(seen), f"/repositories/{repo.id}/pulls/{number}/reviews")

    def list_releases(self, repo: Repository) -> Response:
        """`GET …/releases`, newest first; drafts only for those who may push."""
        can_push = self.api.permission(repo) in (Permission.WRITE, Permission.ADMIN)
        listed = [one for one in repo.releases if self.api.is_indexed(one.changed_at)]
        seen = [one for one in listed if can_push or not one.is_draft]
        page, size = self.api.paging()
        rows = [self.api.world.renderer.release(repo, one) for one in _newest(seen, page, size)]
        return self.api.show_page(rows, len(seen), f"/repositories/{repo.id}/releases")

    def list_activity(self, repo: Repository) -> Response:
        """`GET …/activity`, with cursors instead of page numbers."""
        seen = [one for one in repo.activity if self.api.is_indexed(one.timestamp)]
        wanted = request.args
        if wanted.get("time_period") in PERIODS:
            oldest = self.api.world.now() - PERIODS[wanted["time_period"]]
            seen = [one for one in seen if one.timestamp >= oldest]
        if "ref" in wanted:
            seen = [one for one in seen if one.ref in (wanted["ref"], f"refs/heads/{wanted['ref']}")]
        if "activity_type" in wanted:
            seen = [one for one in seen if one.activity_type == wanted["activity_type"]]
        if wanted.get("direction", "desc") != "asc":
            seen.reverse()
        positions = {_cursor(one.id): position for position, one in enumerate(seen)}
        _, size = self.api.paging()
        start = 0
        if "after" in wanted:
            start = positions.get(wanted["after"], len(seen)) + 1
        elif "before" in wanted:
            start = max(0, positions.get(wanted["before"], 0) - size)
        rows = seen[start : start + size]
        response = jsonify([self.api.world.renderer.activity(one) for one in rows])
        path, links = f"/repositories/{repo.id}/activity", []
        if rows and start + size < len(seen):
            links.append(f'<{self.api.link(path, before="", after=_cursor(rows[-1].id))}>; rel="next"')
        if rows and start > 0:
            links.append(f'<{self.api.link(path, after="", before=_cursor(rows[0].id))}>; rel="prev"')
        if links:
            response.headers["Link"] = ", ".join(links)
        return response

    def _issues_shown(
        self, repo: Repository, orders: Mapping[str, Ordering], *, has_issues: bool
    ) -> tuple[Ordering, Mapping[int, Issue]]:
        """The order of a list of issues or pull requests, and its items: as they are, or as they were a lag ago."""
        state = _state()
        if not self.api.world.core.index_lags.get("github"):
            return orders[state], repo.issues
        shown = versions_shown(repo.issues, self.api.is_indexed)
        rows = [
            (number, one.updated_at)
            for number, one in shown.items()
            if state in ("all", one.state) and (has_issues or one.pull is not None)
        ]
        return Ordering().refill(rows), shown

    def _comments_shown(
        self, order: Ordering, comments: Mapping[int, Comment]
    ) -> tuple[Ordering, Mapping[int, Comment]]:
        if not self.api.world.core.index_lags.get("github"):
            return order, comments
        shown = versions_shown(comments, self.api.is_indexed)
        return Ordering().refill((key, one.updated_at) for key, one in shown.items()), shown

    def _comment_page(self, order: Ordering) -> tuple[list[int], int]:
        sort = request.args.get("sort")
        return self._page(
            order, by_updated=sort == "updated", default="asc" if sort is None else "desc", fixed=sort is None
        )

    def _page(
        self, order: Ordering, *, by_updated: bool, default: str = "desc", fixed: bool = False, has_since: bool = True
    ) -> tuple[list[int], int]:
        page, size = self.api.paging()
        direction = default if fixed else request.args.get("direction", default)
        since = _since() if has_since else None
        start = (page - 1) * size
        return order.page(
            by_updated=by_updated, is_ascending=direction == "asc", since=since, start=start, stop=start + size
        )


def _state() -> str:
    state = request.args.get("state", "open")
    return state if state in ("all", "closed") else "open"


def _since() -> datetime | None:
    """The `since` parameter.

    Raises:
        ApiError: 422 for an invalid time.
    """
    text = request.args.get("since")
    if not text:
        return None
    try:
        # A plus sign in a query arrives as a space.
        instant = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as failure:
        raise ApiError(422, "Validation Failed", errors=[{"code": "invalid", "field": "since"}]) from failure
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def _pull(issues: Mapping[int, Issue], number: int) -> tuple[Issue, Pull]:
    issue = issues.get(number)
    if issue is None or issue.pull is None:
        raise not_found()
    return issue, issue.pull


def _newest(rows: list[Any], page: int, size: int) -> list[Any]:
    """One page of an append-only list, newest first."""
    stop = max(0, len(rows) - (page - 1) * size)
    return rows[max(0, stop - size) : stop][::-1]


def _cursor(activity_id: int) -> str:
    return base64.urlsafe_b64encode(f"activity:{activity_id}".encode()).decode()
