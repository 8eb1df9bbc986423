"""Issues, pull requests, reviews and comments: their changes, in the API's state and as webhooks."""

from datetime import datetime
from typing import Any, Final

import attrs

from connectors_sandbox.github.directory import Directory
from connectors_sandbox.github.records import (
    ZERO_SHA,
    Activity,
    Comment,
    Issue,
    IssueEvent,
    Pull,
    Repository,
    Review,
)

REVIEW_STATES: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "COMMENTED", "PENDING", "DISMISSED"})


class Tracker(Directory):
    """A directory whose repositories have issues and pull requests."""

    def issue(self, full_name: str, number: int) -> Issue:
        """An issue or a pull request's shell.

        Raises:
            LookupError: none has that number.
        """
        return self.repository(full_name).issues[number]

    def open_issue(self, full_name: str, title: str, *, by: str, body: str | None = None) -> Issue:
        """A new issue."""
        with self.lock:
            repo = self.repository(full_name)
            issue = self._new_issue(repo, title, by, body, None)
            self._emit_issue("opened", repo, issue, by)
            return issue

    def edit_issue(self, full_name: str, number: int, *, title: str, by: str) -> Issue:
        """Change the title; the old one is sent in `changes`."""
        with self.lock:
            repo, issue = self._find(full_name, number)
            old, issue.title = issue.title, title
            self._touch(repo, issue)
            self._emit_issue("edited", repo, issue, by, changes=lambda: {"title": {"from": old}})
            return issue

    def close_issue(self, full_name: str, number: int, *, by: str) -> Issue:
        """Close an open issue."""
        with self.lock:
            repo, issue = self._find(full_name, number)
            self._set_closed(repo, issue, by, is_closed=True)
            self._emit_issue("closed", repo, issue, by)
            return issue

    def reopen_issue(self, full_name: str, number: int, *, by: str) -> Issue:
        """Reopen a closed issue."""
        with self.lock:
            repo, issue = self._find(full_name, number)
            self._set_closed(repo, issue, by, is_closed=False)
            self._emit_issue("reopened", repo, issue, by)
            return issue

    def assign(self, full_name: str, number: int, assignee: str, *, by: str) -> Issue:
        """Assign an issue or pull request to a user."""
        with self.lock:
            repo, issue = self._find(full_name, number)
            account = self.account(assignee)
            issue.assignee_ids = tuple(dict.fromkeys((*issue.assignee_ids, account.id)))
            self._touch(repo, issue)
            self._record(repo, issue, "assigned", by, assignee_id=account.id)
            emit = self._emit_issue if issue.pull is None else self._emit_pull
            emit("assigned", repo, issue, by, assignee=lambda: self.renderer.user(account))
            return issue

    def comment(self, full_name: str, number: int, body: str, *, by: str) -> Comment:
        """A comment on an issue or pull request."""
        with self.lock:
            repo, issue = self._find(full_name, number)
            now = self.now()
            comment = Comment(self.next_id(), number, self.account(by).id, body, now, now)
            self._add_comment(repo, comment)
            issue.comment_count += 1
            self._touch(repo, issue)
            self._emit_issue(
                "created", repo, issue, by, event="issue_comment",
                comment=lambda: self.renderer.comment(repo, comment, is_pull=issue.pull is not None),
            )  # fmt: skip
            return comment

    def edit_comment(self, full_name: str, comment_id: int, body: str, *, by: str) -> Comment:
        """Change a comment's text; the comment moves in the order of changes."""
        with self.lock:
            repo = self.repository(full_name)
            comment = repo.comments[comment_id]
            comment.remember(self.now())
            repo.comment_order.discard(comment.id, comment.updated_at)
            old, comment.body, comment.updated_at = comment.body, body, self.now()
            repo.comment_order.add(comment.id, comment.updated_at)
            issue = repo.issues[comment.number]
            self._emit_issue(
                "edited", repo, issue, by, event="issue_comment",
                comment=lambda: self.renderer.comment(repo, comment, is_pull=issue.pull is not None),
                changes=lambda: {"body": {"from": old}},
            )  # fmt: skip
            return comment

    def delete_comment(self, full_name: str, comment_id: int, *, by: str) -> None:
        """Delete a comment: it leaves its list, and nothing else moves."""
        with self.lock:
            repo = self.repository(full_name)
            comment = repo.comments[comment_id]
            issue = repo.issues[comment.number]
            self._emit_issue(
                "deleted", repo, issue, by, event="issue_comment",
                comment=lambda: self.renderer.comment(repo, comment, is_pull=issue.pull is not None),
            )  # fmt: skip
            self._drop_comment(repo, comment)
            issue.comment_count -= 1

    def delete_issue(self, full_name: str, number: int, *, by: str) -> None:
        """Delete an issue with its comments. Pull requests cannot be deleted.

        Raises:
            LookupError: it is a pull request, or there is none.
        """
        with self.lock:
            repo, issue = self._find_issue(full_name, number)
            self._emit_issue("deleted", repo, issue, by)
            self._drop_issue(repo, issue)

    def transfer_issue(self, full_name: str, number: int, to: str, *, by: str) -> Issue:
        """Move an issue to another repository: it gets an id and number there, and keeps its dates and comments.

        Raises:
            LookupError: it is a pull request, or there is none.

        Source: docs.github.com, "Transferring an issue to another repository"; "Webhook events and payloads", `issues`.
        """
        with self.lock:
            repo, old = self._find_issue(full_name, number)
            target = self.repository(to)
            target.last_number += 1
            issue = attrs.evolve(old, id=self.next_id(), number=target.last_number, updated_at=self.now(), past=[])
            target.add_to_orders(issue)
            render = self.renderer
            self._emit_issue(
                "transferred", repo, old, by,
                changes=lambda: {
                    "new_issue": render.issue(target, issue),
                    "new_repository": render.repository(target),
                },
            )  # fmt: skip
            self._emit_issue(
                "opened", target, issue, by,
                changes=lambda: {"old_issue": render.issue(repo, old), "old_repository": render.repository(repo)},
            )  # fmt: skip
            for comment_id in repo.comments_by_number.get(old.number, []):
                comment = repo.comments[comment_id]
                self._add_comment(target, attrs.evolve(comment, id=self.next_id(), number=issue.number, past=[]))
            self._drop_issue(repo, old)
            return issue

    def import_issue(
        self,
        full_name: str,
        title: str,
        *,
        by: str,
        created_at: datetime,
        updated_at: datetime | None = None,
        closed_at: datetime | None = None,
        is_pull: bool = False,
    ) -> Issue:
        """An issue or pull request that appears now with the dates that it had elsewhere. It sends no webhook.

        Source: the preview API for imports (`POST /repos/{owner}/{repo}/import/issues`, `created_at`, `updated_at` and
        `closed_at` as given); migrations to Enterprise Server import pull requests, too.
        """
        with self.lock:
            repo = self.repository(full_name)
            repo.last_number += 1
            pull = None
            if is_pull:
                base = repo.branches.setdefault(repo.default_branch, self.new_sha())
                pull = Pull(self.next_id(), "topic", self.new_sha(), repo.default_branch, base)
            issue = Issue(
                self.next_id(), repo.last_number, title, None, self.account(by).id, created_at,
                updated_at or closed_at or created_at, closed_at, pull=pull,
            )  # fmt: skip
            repo.add_to_orders(issue)
            return issue

    def open_pull(
        self, full_name: str, title: str, *, by: str, body: str | None = None, draft: bool = False, head: str = "topic"
    ) -> Issue:
        """A new pull request; returns its shell, with `pull` inside."""
        with self.lock:
            repo = self.repository(full_name)
            base = repo.branches.setdefault(repo.default_branch, self.new_sha())
            pull = Pull(self.next_id(), head, self.new_sha(), repo.default_branch, base, draft)
            issue = self._new_issue(repo, title, by, body, pull)
            self._emit_pull("opened", repo, issue, by)
            return issue

    def close_pull(self, full_name: str, number: int, *, by: str) -> Issue:
        """Close a pull request without merging it."""
        with self.lock:
            repo, issue, _ = self._find_pull(full_name, number)
            self._set_closed(repo, issue, by, is_closed=True)
            self._emit_pull("closed", repo, issue, by)
            return issue

    def reopen_pull(self, full_name: str, number: int, *, by: str) -> Issue:
        """Reopen a closed pull request."""
        with self.lock:
            repo, issue, _ = self._find_pull(full_name, number)
            self._set_closed(repo, issue, by, is_closed=False)
            self._emit_pull("reopened", repo, issue, by)
            return issue

    def merge_pull(self, full_name: str, number: int, *, by: str) -> Issue:
        """Merge: `pull_request` `closed` with `merged`, and the push to the base branch."""
        with self.lock:
            repo, issue, pull = self._find_pull(full_name, number)
            pull.merge_sha = self.new_sha()
            pull.merged_by_id = self.account(by).id
            pull.merged_at = self.now()
            self._record(repo, issue, "merged", by, commit_id=pull.merge_sha)
            self._set_closed(repo, issue, by, is_closed=True)
            self._emit_pull("closed", repo, issue, by)
            message = f"Merge pull request #{number} from {repo.owner.login}/{pull.head_ref}"
            self.move_ref(repo, f"refs/heads/{pull.base_ref}", by, [(pull.merge_sha, message)], "pr_merge")
            return issue

    def ready_for_review(self, full_name: str, number: int, *, by: str) -> Issue:
        """Make a draft ready for review."""
        with self.lock:
            repo, issue, pull = self._find_pull(full_name, number)
            pull.is_draft = False
            self._touch(repo, issue)
            self._record(repo, issue, "ready_for_review", by)
            self._emit_pull("ready_for_review", repo, issue, by)
            return issue

    def request_review(self, full_name: str, number: int, reviewer: str, *, by: str) -> Issue:
        """Request a review from a user."""
        with self.lock:
            repo, issue, pull = self._find_pull(full_name, number)
            account = self.account(reviewer)
            pull.reviewer_ids = tuple(dict.fromkeys((*pull.reviewer_ids, account.id)))
            self._touch(repo, issue)
            self._record(repo, issue, "review_requested", by)
            self._emit_pull("review_requested", repo, issue, by, requested_reviewer=lambda: self.renderer.user(account))
            return issue

    def review(
        self, full_name: str, number: int, *, by: str, state: str = "APPROVED", body: str | None = None
    ) -> Review:
        """Submit a review; only its author sees a pending one, and it sends nothing.

        Raises:
            ValueError: there is no such state.
        """
        if state not in REVIEW_STATES:
            msg = f"state must be one of {sorted(REVIEW_STATES)}"
            raise ValueError(msg)
        with self.lock:
            repo, issue, pull = self._find_pull(full_name, number)
            account = self.account(by)
            submitted_at = None if state == "PENDING" else self.now()
            review = Review(self.next_id(), account.id, state, body, submitted_at, pull.head_sha)
            pull.reviews.append(review)
            if submitted_at is None:
                return review
            pull.reviewer_ids = tuple(one for one in pull.reviewer_ids if one != account.id)
            self._touch(repo, issue)
            self.emit(
                "pull_request_review", "submitted", repo, by,
                review=lambda: self.renderer.hooked_review(repo, issue, review),
                pull_request=lambda: self._short_pull(repo, issue, pull),
            )  # fmt: skip
            return review

    def review_comment(self, full_name: str, number: int, body: str, *, by: str, path: str = "README.md") -> Comment:
        """A comment on a line, inside the shell review that GitHub creates around it."""
        with self.lock:
            repo, issue, pull = self._find_pull(full_name, number)
            shell = self.review(full_name, number, by=by, state="COMMENTED")
            now = self.now()
            comment = Comment(
                self.next_id(), number, self.account(by).id, body, now, now, path, pull.head_sha, shell.id
            )
            repo.review_comments[comment.id] = comment
            repo.review_comment_order.add(comment.id, now)
            self.emit(
                "pull_request_review_comment", "created", repo, by,
                comment=lambda: self.renderer.review_comment(repo, comment),
                pull_request=lambda: self._short_pull(repo, issue, pull),
            )  # fmt: skip
            return comment

    def move_ref(
        self, repo: Repository, ref: str, by: str, shas: list[tuple[str, str]], kind: str, *, forced: bool = False
    ) -> Activity:
        """Set a ref to the last of the commits (none: delete it), recorded and sent as a `push` event."""
        branch = ref.removeprefix("refs/heads/")
        before = repo.branches.get(branch, ZERO_SHA)
        after = shas[-1][0] if shas else ZERO_SHA
        if shas:
            repo.branches[branch] = after
        else:
            repo.branches.pop(branch, None)
        actor, now = self.account(by), self.now()
        repo.pushed_at = repo.updated_at = now
        activity = Activity(self.next_id(), before, after, ref, now, kind, actor.id)
        repo.activity.append(activity)
        render = self.renderer
        page = f"{render.web}/{repo.full_name}"
        commits = render.commits(repo, shas, actor, now)
        facts: dict[str, Any] = {
            "ref": ref,
            "before": before,
            "after": after,
            "repository": render.pushed_repository(repo),
            "pusher": {"name": actor.login, "email": actor.email},
            "created": before == ZERO_SHA,
            "deleted": after == ZERO_SHA,
            "forced": forced,
            "base_ref": None,
            "compare": f"{page}/compare/{before[:12]}...{after[:12]}",
            "commits": commits,
            "head_commit": commits[-1] if commits else None,
        }
        self.emit("push", None, repo, by, **facts)
        return activity

    def _new_issue(self, repo: Repository, title: str, by: str, body: str | None, pull: Pull | None) -> Issue:
        repo.last_number += 1
        now = self.now()
        issue = Issue(self.next_id(), repo.last_number, title, body, self.account(by).id, now, now, pull=pull)
        repo.add_to_orders(issue)
        return issue

    def _find(self, full_name: str, number: int) -> tuple[Repository, Issue]:
        """A repository and one of its issues, which is about to change."""
        repo = self.repository(full_name)
        issue = repo.issues[number]
        issue.remember(self.now())
        return repo, issue

    def _find_issue(self, full_name: str, number: int) -> tuple[Repository, Issue]:
        repo, issue = self._find(full_name, number)
        if issue.pull is not None:
            msg = f"#{number} is a pull request"
            raise LookupError(msg)
        return repo, issue

    def _find_pull(self, full_name: str, number: int) -> tuple[Repository, Issue, Pull]:
        repo, issue = self._find(full_name, number)
        if issue.pull is None:
            msg = f"#{number} is an issue"
            raise LookupError(msg)
        return repo, issue, issue.pull

    def _add_comment(self, repo: Repository, comment: Comment) -> None:
        repo.comments[comment.id] = comment
        repo.comment_order.add(comment.id, comment.updated_at)
        repo.comments_by_number.setdefault(comment.number, []).append(comment.id)

    def _drop_comment(self, repo: Repository, comment: Comment) -> None:
        repo.comment_order.discard(comment.id, comment.updated_at)
        repo.comments_by_number[comment.number].remove(comment.id)
        del repo.comments[comment.id]

    def _drop_issue(self, repo: Repository, issue: Issue) -> None:
        for comment_id in list(repo.comments_by_number.get(issue.number, [])):
            self._drop_comment(repo, repo.comments[comment_id])
        repo.events = [one for one in repo.events if one.number != issue.number]
        repo.remove_from_orders(issue)
        del repo.issues[issue.number]

    def _touch(self, repo: Repository, issue: Issue) -> None:
        repo.remove_from_orders(issue)
        issue.updated_at = self.now()
        repo.add_to_orders(issue)

    def _set_closed(self, repo: Repository, issue: Issue, by: str, *, is_closed: bool) -> None:
        repo.remove_from_orders(issue)
        issue.updated_at = self.now()
        issue.closed_at = issue.updated_at if is_closed else None
        repo.add_to_orders(issue)
        self._record(repo, issue, "closed" if is_closed else "reopened", by)

    def _record(
        self,
        repo: Repository,
        issue: Issue,
        event: str,
        by: str,
        *,
        assignee_id: int | None = None,
        commit_id: str | None = None,
    ) -> None:
        actor_id = self.account(by).id
        repo.events.append(
            IssueEvent(self.next_id(), event, actor_id, self.now(), issue.number, assignee_id, commit_id)
        )

    def _short_pull(self, repo: Repository, issue: Issue, pull: Pull) -> dict[str, Any]:
        return self.renderer.pull(repo, issue, pull)

    def _emit_issue(
        self, action: str, repo: Repository, issue: Issue, by: str, *, event: str = "issues", **parts: Any
    ) -> None:
        self.emit(event, action, repo, by, issue=lambda: self.renderer.issue(repo, issue), **parts)

    def _emit_pull(self, action: str, repo: Repository, issue: Issue, by: str, **parts: Any) -> None:
        pull = issue.pull
        if pull is not None:
            self.emit(
                "pull_request", action, repo, by,
                number=lambda: issue.number,
                pull_request=lambda: self.renderer.full_pull(repo, issue, pull),
                **parts,
            )  # fmt: skip
