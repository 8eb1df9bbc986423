"""GitHub's world, as tests and demos control it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connectors_sandbox.core import StandingHook
from connectors_sandbox.families import Ending, TokenFamilies
from connectors_sandbox.github.records import (
    Account,
    Activity,
    Issue,
    Pull,
    Release,
    Repository,
)
from connectors_sandbox.github.tracker import Tracker

ACTIONS: Final = (
    "add_app",
    "add_user",
    "add_organization",
    "add_repository",
    "rename_repository",
    "delete_repository",
    "restore_repository",
    "add_collaborator",
    "remove_collaborator",
    "add_member",
    "remove_member",
    "set_remaining",
    "open_issue",
    "edit_issue",
    "close_issue",
    "reopen_issue",
    "assign",
    "comment",
    "edit_comment",
    "delete_comment",
    "delete_issue",
    "transfer_issue",
    "open_pull",
    "close_pull",
    "reopen_pull",
    "merge_pull",
    "ready_for_review",
    "request_review",
    "review",
    "review_comment",
    "push",
    "delete_branch",
    "push_tag",
    "publish_release",
    "publish_draft",
    "set_issues",
    "star",
    "fork",
    "populate",
    "revoke_tokens",
    "end_tokens_early",
)
"""The methods that the control endpoints may call."""

PULL_SHARE: Final = 5
"""In a populated repository every fifth item is a pull request."""


class GitHubWorld(Tracker):
    """A GitHub: accounts, repositories and their events, OAuth apps and hooks."""

    def push(
        self,
        full_name: str,
        *,
        by: str,
        branch: str = "main",
        messages: tuple[str, ...] | list[str] = ("Change",),
        forced: bool = False,
    ) -> Activity:
        """Push commits to a branch, which is created if it is new."""
        with self.lock:
            repo = self.repository(full_name)
            kind = "push" if branch in repo.branches else "branch_creation"
            shas = [(self.new_sha(), message) for message in messages]
            return self.move_ref(
                repo, f"refs/heads/{branch}", by, shas, "force_push" if forced else kind, forced=forced
            )

    def delete_branch(self, full_name: str, branch: str, *, by: str) -> Activity:
        """Delete a branch: a push whose `after` is zeros."""
        with self.lock:
            return self.move_ref(self.repository(full_name), f"refs/heads/{branch}", by, [], "branch_deletion")

    def push_tag(self, full_name: str, tag: str, *, by: str) -> Activity:
        """Push a tag."""
        with self.lock:
            shas = [(self.new_sha(), f"Tag {tag}")]
            return self.move_ref(self.repository(full_name), f"refs/tags/{tag}", by, shas, "push")

    def publish_release(
        self,
        full_name: str,
        tag: str,
        *,
        by: str,
        name: str | None = None,
        body: str | None = None,
        draft: bool = False,
        prerelease: bool = False,
        committed_at: datetime | None = None,
    ) -> Release:
        """A release: sends `created`, `published` and `released` or `prereleased`; a draft sends only `created`.

        `created_at` is the date of the commit that it is made from (now, unless it is given), which authors choose.
        """
        with self.lock:
            repo, now = self.repository(full_name), self.now()
            author_id = self.account(by).id
            published_at = None if draft else now
            release = Release(
                self.next_id(), tag, name, body, author_id, draft, prerelease, committed_at or now, published_at, now
            )
            repo.releases.append(release)
            self._emit_release("created", repo, release, by)
            if not draft:
                self._emit_published(repo, release, by)
            return release

    def publish_draft(self, full_name: str, release_id: int, *, by: str) -> Release:
        """Publish a draft: sends `published` and `released` or `prereleased`.

        Raises:
            LookupError: there is no such draft.
        """
        with self.lock:
            repo = self.repository(full_name)
            found = [one for one in repo.releases if one.id == release_id and one.is_draft]
            if not found:
                msg = f"no draft {release_id}"
                raise LookupError(msg)
            release = found[0]
            release.is_draft, release.published_at, release.changed_at = False, self.now(), self.now()
            self._emit_published(repo, release, by)
            return release

    def set_issues(self, full_name: str, *, enabled: bool) -> None:
        """Switch a repository's issues off, which hides them (410), or on again."""
        with self.lock:
            self.repository(full_name).has_issues = enabled

    def archive(self, full_name: str, *, is_archived: bool = True) -> None:
        """Make a repository read-only, its hooks included, or open it again."""
        with self.lock:
            self.repository(full_name).is_archived = is_archived

    def require_sign_on(self, login: str) -> None:
        """Let an organization ask for single sign-on: it hides what it has from apps until they are authorized."""
        with self.lock:
            self.sign_on[self.account(login).id] = set()

    def authorize_sign_on(self, login: str, client_id: str) -> None:
        """Authorize an app for an organization's single sign-on, as its user does at the URL of the refusal."""
        with self.lock:
            self.sign_on[self.account(login).id].add(client_id)

    def star(self, full_name: str, *, by: str) -> None:
        """Star a repository: sends `star` `created`, and the `watch` `started` that GitHub sends for the same click."""
        with self.lock:
            repo, user, now = self.repository(full_name), self.account(by), self.now()
            repo.stars[user.id] = now
            starred_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
            self.emit("star", "created", repo, by, starred_at=lambda: starred_at)
            self.emit("watch", "started", repo, by)

    def fork(self, full_name: str, *, by: str) -> Repository:
        """Fork a repository into the user's own account."""
        with self.lock:
            repo = self.repository(full_name)
            forked = self.add_repository(f"{by}/{repo.name}", private=repo.is_private, description=repo.description)
            forked.fork_of = repo.id
            self.emit("fork", None, repo, by, forkee=lambda: {**self.renderer.repository(forked), "public": True})
            return forked

    def revoke_tokens(self, login: str, client_id: str | None = None) -> int:
        """Revoke every token of a user, as removing the app on the settings page does; returns how many there were."""
        with self.lock:
            return self.auth.families.end_all(str(self.account(login).id), Ending.WITHDRAWN, client_id)

    def end_tokens_early(self, login: str) -> None:
        """End a user's access tokens before they expire, without revoking them: refreshing still works."""
        with self.lock:
            self.auth.end_early(self.account(login).id)

    def populate(self, full_name: str, *, issues: int, by: str | None = None, step_seconds: int = 60) -> None:
        """Fill a repository with old issues and pull requests, one every `step_seconds`, without any webhook.

        Every fifth is a pull request, every third is closed. The time is linear, a few microseconds each: 100,000 take
        a second or two.
        """
        with self.lock:
            repo = self.repository(full_name)
            author = self.account(by).id if by else repo.owner.id
            begin = self.now() - timedelta(seconds=step_seconds * (issues + 1))
            base = repo.branches.setdefault(repo.default_branch, self.new_sha())
            for step in range(1, issues + 1):
                repo.last_number += 1
                at = begin + timedelta(seconds=step_seconds * step)
                number = repo.last_number
                pull = None
                if number % PULL_SHARE == 0:
                    pull = Pull(self.next_id(), "topic", f"{number:040x}", repo.default_branch, base)
                closed_at = at if number % 3 == 0 else None
                if pull is not None and closed_at is not None and number % 2 == 0:
                    pull.merged_at, pull.merged_by_id, pull.merge_sha = at, author, f"{number:040x}"
                repo.issues[number] = Issue(
                    self.next_id(), number, f"Item {number}", None, author, at, at, closed_at, pull=pull
                )
            self._reorder(repo)

    def describe(self) -> Mapping[str, Any]:
        """The contents of the index page."""
        with self.lock:
            return {
                "apps": [
                    {"client_id": app.client_id, "callback_url": app.callback_url} for app in self.auth.apps.values()
                ],
                "users": [one.login for one in self.accounts.values() if one.kind != "Organization"],
                "organizations": [one.login for one in self.accounts.values() if one.kind == "Organization"],
                "repositories": [
                    {"name": repo.full_name, "id": repo.id, "issues": len(repo.issues)}
                    for repo in self.repositories.values()
                ],
                "hooks": [
                    {"id": hook.id, "url": hook.url, "target": hook.target, "events": hook.events}
                    for hook in self.hooks.hooks.values()
                ],
                "live_tokens": len(self.auth.tokens),
                "reused_refresh_tokens": len(self.auth.families.reused),
            }

    @property
    def families(self) -> TokenFamilies:
        """What consents gave."""
        return self.auth.families

    def live_hooks(self) -> list[StandingHook]:
        """Those that an OAuth app made."""
        with self.lock:
            return [
                StandingHook(id=str(hook.id), target=f"{hook.target}:{hook.target_id}", address=hook.url)
                for hook in self.hooks.hooks.values()
                if hook.client_id is not None
            ]

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the control endpoints may call."""
        return {name: getattr(self, name) for name in ACTIONS}

    def people(self) -> list[Account]:
        """The users who can sign in."""
        with self.lock:
            return [one for one in self.accounts.values() if one.kind == "User"]

    def _reorder(self, repo: Repository) -> None:
        """Rebuild every order by sorting: inserting one by one would be quadratic."""
        for orders, kept in (
            (repo.issue_orders, list(repo.issues.values())),
            (repo.pull_orders, [one for one in repo.issues.values() if one.pull is not None]),
        ):
            for state, order in orders.items():
                order.refill((one.number, one.updated_at) for one in kept if state in ("all", one.state))

    def _emit_published(self, repo: Repository, release: Release, by: str) -> None:
        for action in ("published", "prereleased" if release.is_prerelease else "released"):
            self._emit_release(action, repo, release, by)

    def _emit_release(self, action: str, repo: Repository, release: Release, by: str) -> None:
        self.emit("release", action, repo, by, release=lambda: self.renderer.release(repo, release))
