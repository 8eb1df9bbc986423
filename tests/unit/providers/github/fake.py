"""A GitHub that behaves: it keeps issues, pull requests, pushes and releases, lists them, and sends webhooks."""

import copy
import hashlib
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from connectors.domain.model.http import HttpResponse

API = "https://api.github.com"
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
ADA = {"id": 101, "login": "ada", "html_url": "https://github.com/ada"}


LISTED = ("issues", "pulls", "comments", "review_comments", "reviews", "releases", "activity")


def text(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeGitHub:
    """One user's GitHub with one repository. Time passes only when something happens."""

    def __init__(self, per_page_cap=100):
        self.now = EPOCH
        self.per_page_cap = per_page_cap
        self.issues = {}
        self.pulls = {}
        self.comments = []
        self.review_comments = []
        self.reviews = {}
        self.releases = []
        self.activity = []
        self.deliveries = []
        self.requests = []
        self.points = 0
        self.refused = {}
        self.index_lag = timedelta(0)
        self.states = []
        self.show = lambda rows: rows
        """What a page shows of its rows, where they are edited while it is made."""
        self.before_answer = lambda request: None
        self.ids = iter(range(1, 10**9))
        self.full_name = "ada/lamp"
        self.repository = {
            "id": 7001,
            "full_name": self.full_name,
            "html_url": "https://github.com/ada/lamp",
            "owner": ADA,
            "archived": False,
            "permissions": {"admin": True},
        }
        self.repositories = [self.repository]

    # --- what people do

    def tick(self, seconds=1):
        if self.index_lag:
            self.states.append((self.now, {name: copy.deepcopy(getattr(self, name)) for name in LISTED}))
        self.now += timedelta(seconds=seconds)
        return text(self.now)

    def deliver(self, event, action, **parts):
        body = {**parts, "repository": self.repository, "sender": ADA}
        if action:
            body["action"] = action
        self.deliveries.append((event, json.dumps(body).encode()))

    def open_issue(self, at=None):
        number, at = next(self.ids), at or self.tick()
        issue = {
            "id": number * 10,
            "number": number,
            "title": f"Issue {number}",
            "html_url": f"https://github.com/{self.full_name}/issues/{number}",
            "user": ADA,
            "created_at": at,
            "updated_at": at,
            "closed_at": None,
        }
        self.issues[number] = issue
        self.deliver("issues", "opened", issue=issue)
        return number

    def open_pull(self, at=None):
        number = self.open_issue(at)
        issue = self.issues[number]
        url = f"https://github.com/{self.full_name}/pull/{number}"
        issue |= {"html_url": url, "pull_request": {"merged_at": None}}
        self.pulls[number] = {**issue, "id": number * 10 + 1, "merged_at": None, "merged": False}
        del self.pulls[number]["pull_request"]
        self.deliveries.pop()
        self.deliver("pull_request", "opened", pull_request=self.pulls[number])
        return number

    def touch(self, number):
        self.issues[number]["updated_at"] = self.tick()
        if number in self.pulls:
            self.pulls[number]["updated_at"] = text(self.now)

    def close(self, number, *, merged=False):
        self.touch(number)
        at = text(self.now)
        self.issues[number]["closed_at"] = at
        if number not in self.pulls:
            return self.deliver("issues", "closed", issue=self.issues[number])
        merged_at = at if merged else None
        self.issues[number]["pull_request"] = {"merged_at": merged_at}
        self.pulls[number] |= {"closed_at": at, "merged": merged, "merged_at": merged_at}
        return self.deliver("pull_request", "closed", pull_request=self.pulls[number])

    def reopen(self, number):
        self.touch(number)
        self.issues[number]["closed_at"] = None
        if number not in self.pulls:
            return self.deliver("issues", "reopened", issue=self.issues[number])
        self.pulls[number]["closed_at"] = None
        return self.deliver("pull_request", "reopened", pull_request=self.pulls[number])

    def comment(self, number):
        self.touch(number)
        id_, issue = next(self.ids), self.issues[number]
        comment = {
            "id": id_,
            "html_url": f"{issue['html_url']}#issuecomment-{id_}",
            "issue_url": f"{API}/repos/{self.full_name}/issues/{number}",
            "created_at": text(self.now),
            "updated_at": text(self.now),
            "body": "Well.",
            "user": ADA,
        }
        self.comments.append(comment)
        self.deliver("issue_comment", "created", issue=issue, comment=comment)

    def review(self, number, state="approved", body="Fine"):
        self.touch(number)
        id_ = next(self.ids)
        review = {
            "id": id_,
            "state": state.upper(),
            "body": body,
            "html_url": f"https://github.com/{self.full_name}/pull/{number}#pullrequestreview-{id_}",
            "submitted_at": text(self.now),
            "user": ADA,
        }
        self.reviews.setdefault(number, []).append(review)
        self.deliver(
            "pull_request_review", "submitted", review={**review, "state": state}, pull_request=self.pulls[number]
        )

    def review_comment(self, number):
        self.touch(number)
        id_ = next(self.ids)
        comment = {
            "id": id_,
            "html_url": f"https://github.com/{self.full_name}/pull/{number}#discussion_r{id_}",
            "pull_request_url": f"{API}/repos/{self.full_name}/pulls/{number}",
            "created_at": text(self.now),
            "updated_at": text(self.now),
            "body": "Here?",
            "user": ADA,
        }
        self.review_comments.append(comment)
        pull = self.pulls[number]
        self.deliver("pull_request_review_comment", "created", comment=comment, pull_request=pull)

    def push(self, kind="push"):
        at, id_ = self.tick(), next(self.ids)
        ref = "refs/heads/main" if kind != "branch_creation" else f"refs/heads/b{id_}"
        entry = {
            "id": id_,
            "before": f"{id_:040x}" if kind != "branch_creation" else "0" * 40,
            "after": f"{id_ + 1:040x}",
            "ref": ref,
            "timestamp": at,
            "activity_type": kind,
            "actor": ADA,
        }
        self.activity.append(entry)
        parts = {key: entry[key] for key in ("ref", "before", "after")}
        self.deliver("push", None, **parts, head_commit={"message": "Work", "timestamp": at})

    def release(self, *, draft=False):
        at, id_ = self.tick(), next(self.ids)
        release = {
            "id": id_,
            "tag_name": f"v{id_}",
            "name": None,
            "html_url": f"https://github.com/{self.full_name}/releases/tag/v{id_}",
            "draft": draft,
            "created_at": at,
            "published_at": None if draft else at,
            "author": ADA,
        }
        self.releases.append(release)
        if not draft:
            self.deliver("release", "published", release=release)

    # --- what the API answers

    def answer(self, request):
        """The answer to one request, made after the scheduled changes."""
        self.requests.append(request)
        self.before_answer(request)
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query))
        path = parts.path.removeprefix(f"/repos/{self.full_name}").strip("/")
        if path in self.refused:
            raise self.refused[path]
        response = self._conditional(request, self._indexed(request, path, query))
        self.points += response.status != 304
        return response

    def _indexed(self, request, path, query):
        """The answer from the lists as they were a lag ago."""
        indexed = next((state for at, state in self.states[::-1] if at <= self.now - self.index_lag), {})
        now = {name: getattr(self, name) for name in indexed}
        vars(self).update(indexed)
        try:
            return self._answer(request, path, query)
        finally:
            vars(self).update(now)

    def _conditional(self, request, response):
        # As GitHub's, the tag covers the rows and not the links; but no page of a server with small pages is full.
        links = response.headers.get("link", "") if self.per_page_cap < 100 else ""
        etag = f'W/"{hashlib.sha256(response.body + links.encode()).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return HttpResponse(status=304, headers={"date": response.headers["date"]})
        return HttpResponse(status=200, headers={**response.headers, "etag": etag}, body=response.body)

    def _answer(self, request, path, query):  # noqa: PLR0911 - one return a path
        match path.split("/"):
            case ["user", "repos"]:
                return self._page(request, self.repositories, query)
            case [""]:
                return self._respond(self.repository)
            case ["issues"]:
                assert query["state"] == "all"
                return self._page(request, self._changed(self.issues.values(), query), query)
            case ["issues", "comments"]:
                return self._page(request, self._changed(self.comments, query), query)
            case ["pulls", "comments"]:
                return self._page(request, self._changed(self.review_comments, query), query)
            case ["pulls"]:
                assert (query["state"], query["sort"], query["direction"]) == ("all", "updated", "desc")
                newest = sorted(self.pulls.values(), key=lambda pull: pull["updated_at"], reverse=True)
                return self._page(request, newest, query)
            case ["pulls", number, "reviews"]:
                return self._page(request, self.reviews.get(int(number), []), query)
            case ["releases"]:
                return self._page(request, self.releases[::-1], query)
            case ["activity"]:
                return self._page(request, self.activity[::-1], query)
            case [("issues" | "pulls") as kind, number]:
                return self._respond(getattr(self, kind)[int(number)])
            case ["releases", id_]:
                return self._respond(next(one for one in self.releases if one["id"] == int(id_)))
            case ["issues", "comments", id_]:
                return self._respond(next(one for one in self.comments if one["id"] == int(id_)))
        raise AssertionError(f"no such path: {path}")

    def _changed(self, items, query):
        assert (query["sort"], query["direction"]) == ("updated", "asc")
        listed = sorted(items, key=lambda item: item["updated_at"])
        return [item for item in listed if item["updated_at"] >= query.get("since", "")]

    def _page(self, request, items, query):
        size = min(int(query.get("per_page", 30)), self.per_page_cap)
        page, last = int(query.get("page", 1)), max(1, -(-len(items) // size))
        around = {"next": page + 1, "last": last} if page < last else {}
        around |= {"prev": page - 1, "first": 1} if page > 1 else {}
        base = request.url.partition("?")[0]
        links = ", ".join(
            f'<{base}?{urlencode({**query, "page": number})}>; rel="{rel}"' for rel, number in around.items()
        )
        rows = copy.deepcopy(items[(page - 1) * size : page * size])
        return self._respond(self.show(rows), {"link": links} if links else {})

    def _respond(self, document, headers=None):
        date = self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")
        # A copy by way of JSON: what was answered does not change with what happens next.
        return HttpResponse(status=200, headers={"date": date, **(headers or {})}, body=json.dumps(document).encode())
