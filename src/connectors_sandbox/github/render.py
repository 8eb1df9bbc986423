"""Records as GitHub's JSON. REST and webhooks share one form; where they differ, a method says so."""

import base64
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import attrs

from connectors_sandbox.github.records import (
    Account,
    Activity,
    Comment,
    Issue,
    IssueEvent,
    Pull,
    Release,
    Repository,
    Review,
)

Json = dict[str, Any]

USER_LINKS: Final = (
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
)

REPOSITORY_LINKS: Final = (
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
)

NO_REACTIONS: Final = ("total_count", "+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def iso(instant: datetime | None) -> str | None:
    """GitHub's time format: seconds and a Z."""
    return None if instant is None else f"{instant.isoformat()[:19]}Z"


def node_id(kind: str, key: int) -> str:
    """An opaque global id."""
    return base64.b64encode(f"0{len(kind)}:{kind}{key}".encode()).decode()


@attrs.frozen
class Renderer:
    """Renders with this sandbox's own URLs."""

    web: str
    """The base URL of pages for people, as in `http://127.0.0.1:9100/github`."""
    find_account: Callable[[int], Account]

    @property
    def api(self) -> str:
        """The base URL of the API."""
        return f"{self.web}/api/v3"

    def user(self, account: Account) -> Json:
        """The short form, which is used inside everything else."""
        url = f"{self.api}/users/{account.login}"
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node_id(account.kind, account.id),
            "avatar_url": f"{self.web}/avatars/u/{account.id}?v=4",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.web}/{account.login}",
            **{name: url + path for name, path in USER_LINKS},
            "type": account.kind,
            "user_view_type": "public",
            "site_admin": False,
        }

    def user_by_id(self, user_id: int) -> Json:
        """The short form of a known account."""
        return self.user(self.find_account(user_id))

    def profile(self, account: Account) -> Json:
        """The long form, of `GET /user` and `GET /users/{login}`."""
        empty = dict.fromkeys(("company", "location", "hireable", "bio", "twitter_username"))
        counts = dict.fromkeys(("public_repos", "public_gists", "followers", "following"), 0)
        created = iso(account.created_at)
        return {
            **self.user(account),
            "name": account.name,
            "email": account.email,
            "blog": "",
            **empty,
            **counts,
            "created_at": created,
            "updated_at": created,
        }

    def organization(self, account: Account) -> Json:
        """The short form of an organization."""
        url = f"{self.api}/orgs/{account.login}"
        links = {
            name: url + path
            for name, path in (
                ("repos_url", "/repos"),
                ("events_url", "/events"),
                ("hooks_url", "/hooks"),
                ("issues_url", "/issues"),
                ("members_url", "/members{/member}"),
                ("public_members_url", "/public_members{/member}"),
            )
        }
        return {
            "login": account.login,
            "id": account.id,
            "node_id": node_id("Organization", account.id),
            "url": url,
            **links,
            "avatar_url": f"{self.web}/avatars/u/{account.id}?v=4",
            "description": account.name,
        }

    def repository(self, repo: Repository, permissions: dict[str, bool] | None = None) -> Json:
        """A repository as in REST; `permissions` are the caller's."""
        url, page = f"{self.api}/repos/{repo.full_name}", f"{self.web}/{repo.full_name}"
        open_count = len(repo.issue_orders["open"])
        rendered: Json = {
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name,
            "private": repo.is_private,
            "owner": self.user(repo.owner),
            "html_url": page,
            "description": repo.description,
            "fork": repo.fork_of is not None,
            "url": url,
            **{name: url + path for name, path in REPOSITORY_LINKS},
            "created_at": iso(repo.created_at),
            "updated_at": iso(repo.updated_at),
            "pushed_at": iso(repo.pushed_at),
            "git_url": f"git:{page.partition(':')[2]}.git",
            "ssh_url": f"git@sandbox:{repo.full_name}.git",
            "clone_url": f"{page}.git",
            "svn_url": page,
            "homepage": None,
            "size": 0,
            "stargazers_count": len(repo.stars),
            "watchers_count": len(repo.stars),
            "language": None,
            "has_issues": repo.has_issues,
            "has_projects": True,
            "has_downloads": True,
            "has_wiki": True,
            "has_pages": False,
            "has_discussions": False,
            "forks_count": 0,
            "mirror_url": None,
            "archived": repo.is_archived,
            "disabled": False,
            "open_issues_count": open_count,
            "license": None,
            "allow_forking": True,
            "is_template": False,
            "web_commit_signoff_required": False,
            "topics": [],
            "visibility": "private" if repo.is_private else "public",
            "forks": 0,
            "open_issues": open_count,
            "watchers": len(repo.stars),
            "default_branch": repo.default_branch,
        }
        return rendered if permissions is None else {**rendered, "permissions": permissions}

    def full_repository(self, repo: Repository, permissions: dict[str, bool]) -> Json:
        """The form of `GET /repos/{owner}/{repo}`."""
        return {
            **self.repository(repo, permissions),
            "network_count": 0,
            "subscribers_count": 0,
            "allow_squash_merge": True,
            "allow_merge_commit": True,
            "allow_rebase_merge": True,
        }

    def pushed_repository(self, repo: Repository) -> Json:
        """The form of push webhooks, where three times are epoch seconds or absent strings."""
        return {
            **self.repository(repo),
            "created_at": int(repo.created_at.timestamp()),
            "pushed_at": int(repo.pushed_at.timestamp()),
            "stargazers": len(repo.stars),
            "master_branch": repo.default_branch,
        }

    def issue(self, repo: Repository, issue: Issue) -> Json:
        """An issue, or a pull request's shell with its `pull_request` key."""
        url = f"{self.api}/repos/{repo.full_name}/issues/{issue.number}"
        folder = "issues" if issue.pull is None else "pull"
        assignees = [self.user_by_id(one) for one in issue.assignee_ids]
        rendered: Json = {
            "url": url,
            "repository_url": f"{self.api}/repos/{repo.full_name}",
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "html_url": f"{self.web}/{repo.full_name}/{folder}/{issue.number}",
            "id": issue.id,
            "node_id": node_id("Issue", issue.id),
            "number": issue.number,
            "title": issue.title,
            "user": self.user_by_id(issue.user_id),
            "labels": [],
            "state": issue.state,
            "locked": False,
            "assignee": assignees[0] if assignees else None,
            "assignees": assignees,
            "milestone": None,
            "comments": issue.comment_count,
            "created_at": iso(issue.created_at),
            "updated_at": iso(issue.updated_at),
            "closed_at": iso(issue.closed_at),
            "author_association": "NONE",
            "active_lock_reason": None,
            "body": issue.body,
            "reactions": self._reactions(f"{url}/reactions"),
            "timeline_url": f"{url}/timeline",
            "performed_via_github_app": None,
            "state_reason": None if issue.closed_at is None else "completed",
        }
        if issue.pull is not None:
            page = f"{self.web}/{repo.full_name}/pull/{issue.number}"
            rendered["draft"] = issue.pull.is_draft
            rendered["pull_request"] = {
                "url": f"{self.api}/repos/{repo.full_name}/pulls/{issue.number}",
                "html_url": page,
                "diff_url": f"{page}.diff",
                "patch_url": f"{page}.patch",
                "merged_at": iso(issue.pull.merged_at),
            }
        return rendered

    def pull(self, repo: Repository, issue: Issue, pull: Pull) -> Json:
        """The short form, of lists and of review webhooks."""
        url = f"{self.api}/repos/{repo.full_name}/pulls/{issue.number}"
        shell = f"{self.api}/repos/{repo.full_name}/issues/{issue.number}"
        page = f"{self.web}/{repo.full_name}/pull/{issue.number}"
        assignees = [self.user_by_id(one) for one in issue.assignee_ids]
        links = {
            "self": url,
            "html": page,
            "issue": shell,
            "comments": f"{shell}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": f"{self.api}/repos/{repo.full_name}/pulls/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": f"{self.api}/repos/{repo.full_name}/statuses/{pull.head_sha}",
        }
        return {
            "url": url,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": shell,
            "number": issue.number,
            "state": issue.state,
            "locked": False,
            "title": issue.title,
            "user": self.user_by_id(issue.user_id),
            "body": issue.body,
            "created_at": iso(issue.created_at),
            "updated_at": iso(issue.updated_at),
            "closed_at": iso(issue.closed_at),
            "merged_at": iso(pull.merged_at),
            "merge_commit_sha": pull.merge_sha,
            "assignee": assignees[0] if assignees else None,
            "assignees": assignees,
            "requested_reviewers": [self.user_by_id(one) for one in pull.reviewer_ids],
            "requested_teams": [],
            "labels": [],
            "milestone": None,
            "draft": pull.is_draft,
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": links["statuses"],
            "head": self._branch(repo, pull.head_ref, pull.head_sha),
            "base": self._branch(repo, pull.base_ref, pull.base_sha),
            "_links": {name: {"href": href} for name, href in links.items()},
            "author_association": "NONE",
            "auto_merge": None,
            "active_lock_reason": None,
        }

    def full_pull(self, repo: Repository, issue: Issue, pull: Pull) -> Json:
        """The long form, of `GET …/pulls/{n}` and of pull_request webhooks."""
        return {
            **self.pull(repo, issue, pull),
            "merged": pull.merged_at is not None,
            "mergeable": None,
            "rebaseable": None,
            "mergeable_state": "unknown",
            "merged_by": None if pull.merged_by_id is None else self.user_by_id(pull.merged_by_id),
            "comments": issue.comment_count,
            "review_comments": sum(1 for one in repo.review_comments.values() if one.number == issue.number),
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 1,
            "deletions": 0,
            "changed_files": 1,
        }

    def review(self, repo: Repository, issue: Issue, review: Review) -> Json:
        """A review as in REST: its state in upper case."""
        url = f"{self.api}/repos/{repo.full_name}/pulls/{issue.number}"
        page = f"{self.web}/{repo.full_name}/pull/{issue.number}#pullrequestreview-{review.id}"
        rendered: Json = {
            "id": review.id,
            "node_id": node_id("PullRequestReview", review.id),
            "user": self.user_by_id(review.user_id),
            "body": review.body or "",
            "state": review.state,
            "html_url": page,
            "pull_request_url": url,
            "author_association": "COLLABORATOR",
            "_links": {"html": {"href": page}, "pull_request": {"href": url}},
            "commit_id": review.commit_id,
        }
        if review.submitted_at is not None:
            rendered["submitted_at"] = iso(review.submitted_at)
        return rendered

    def hooked_review(self, repo: Repository, issue: Issue, review: Review) -> Json:
        """A review as in webhooks: its state in lower case, an empty body null."""
        return {**self.review(repo, issue, review), "state": review.state.lower(), "body": review.body or None}

    def comment(self, repo: Repository, comment: Comment, *, is_pull: bool) -> Json:
        """A comment on an issue or pull request."""
        api, folder = f"{self.api}/repos/{repo.full_name}", "pull" if is_pull else "issues"
        url = f"{api}/issues/comments/{comment.id}"
        return {
            "url": url,
            "html_url": f"{self.web}/{repo.full_name}/{folder}/{comment.number}#issuecomment-{comment.id}",
            "issue_url": f"{api}/issues/{comment.number}",
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "user": self.user_by_id(comment.user_id),
            "created_at": iso(comment.created_at),
            "updated_at": iso(comment.updated_at),
            "author_association": "NONE",
            "body": comment.body,
            "reactions": self._reactions(f"{url}/reactions"),
            "performed_via_github_app": None,
        }

    def review_comment(self, repo: Repository, comment: Comment) -> Json:
        """A comment on a line of a diff."""
        api = f"{self.api}/repos/{repo.full_name}/pulls"
        url = f"{api}/comments/{comment.id}"
        page = f"{self.web}/{repo.full_name}/pull/{comment.number}#discussion_r{comment.id}"
        return {
            "url": url,
            "pull_request_review_id": comment.review_id,
            "id": comment.id,
            "node_id": node_id("PullRequestReviewComment", comment.id),
            "diff_hunk": "@@ -1 +1,2 @@\n line\n+another",
            "path": comment.path,
            "position": 1,
            "original_position": 1,
            "commit_id": comment.commit_id,
            "original_commit_id": comment.commit_id,
            "user": self.user_by_id(comment.user_id),
            "body": comment.body,
            "created_at": iso(comment.created_at),
            "updated_at": iso(comment.updated_at),
            "html_url": page,
            "pull_request_url": f"{api}/{comment.number}",
            "author_association": "COLLABORATOR",
            "_links": {
                "self": {"href": url},
                "html": {"href": page},
                "pull_request": {"href": f"{api}/{comment.number}"},
            },
            "start_line": None,
            "original_start_line": None,
            "start_side": None,
            "line": 1,
            "original_line": 1,
            "side": "RIGHT",
            "subject_type": "line",
            "reactions": self._reactions(f"{url}/reactions"),
        }

    def release(self, repo: Repository, release: Release) -> Json:
        """A release."""
        url, page = f"{self.api}/repos/{repo.full_name}/releases/{release.id}", f"{self.web}/{repo.full_name}"
        return {
            "url": url,
            "assets_url": f"{url}/assets",
            "upload_url": f"{url}/assets{{?name,label}}",
            "html_url": f"{page}/releases/tag/{release.tag}",
            "id": release.id,
            "node_id": node_id("Release", release.id),
            "author": self.user_by_id(release.author_id),
            "tag_name": release.tag,
            "target_commitish": repo.default_branch,
            "name": release.name,
            "draft": release.is_draft,
            "immutable": False,
            "prerelease": release.is_prerelease,
            "created_at": iso(release.created_at),
            "updated_at": iso(release.published_at or release.created_at),
            "published_at": iso(release.published_at),
            "assets": [],
            "tarball_url": f"{self.api}/repos/{repo.full_name}/tarball/{release.tag}",
            "zipball_url": f"{self.api}/repos/{repo.full_name}/zipball/{release.tag}",
            "body": release.body,
        }

    def activity(self, one: Activity) -> Json:
        """A change of a ref."""
        return {
            "id": one.id,
            "node_id": node_id("Push", one.id),
            "before": one.before,
            "after": one.after,
            "ref": one.ref,
            "timestamp": iso(one.timestamp),
            "activity_type": one.activity_type,
            "actor": self.user_by_id(one.actor_id),
        }

    def issue_event(self, repo: Repository, event: IssueEvent) -> Json:
        """A change of an issue's state, with the issue's current state."""
        url = f"{self.api}/repos/{repo.full_name}"
        rendered: Json = {
            "id": event.id,
            "node_id": node_id(f"{event.event.title()}Event", event.id),
            "url": f"{url}/issues/events/{event.id}",
            "actor": self.user_by_id(event.actor_id),
            "event": event.event,
            "commit_id": event.commit_id,
            "commit_url": None if event.commit_id is None else f"{url}/commits/{event.commit_id}",
            "created_at": iso(event.created_at),
            "issue": self.issue(repo, repo.issues[event.number]),
            "performed_via_github_app": None,
        }
        if event.assignee_id is not None:
            rendered["assignee"] = self.user_by_id(event.assignee_id)
            rendered["assigner"] = self.user_by_id(event.actor_id)
        return rendered

    def commits(self, repo: Repository, shas: Iterable[tuple[str, str]], author: Account, at: datetime) -> list[Json]:
        """The `commits` of a push, from pairs of SHA and message."""
        person = {"name": author.name or author.login, "email": author.email, "username": author.login}
        return [
            {
                "id": sha,
                "tree_id": sha[::-1],
                "distinct": True,
                "message": message,
                "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                "url": f"{self.web}/{repo.full_name}/commit/{sha}",
                "author": person,
                "committer": person,
                "added": [],
                "removed": [],
                "modified": ["README.md"],
            }
            for sha, message in shas
        ]

    def _branch(self, repo: Repository, ref: str, sha: str) -> Json:
        return {
            "label": f"{repo.owner.login}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self.user(repo.owner),
            "repo": self.repository(repo),
        }

    def _reactions(self, url: str) -> Json:
        return {"url": url, **dict.fromkeys(NO_REACTIONS, 0)}
