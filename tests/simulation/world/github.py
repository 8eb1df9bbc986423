"""GitHub accounts: a user, what they own, share and are a member of, and everything that happens there."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar
from urllib.parse import urlsplit

import attrs

from connectors_sandbox.github.records import Comment, Issue, Permission, Repository
from tests.simulation.world.account import Account, Deed, Event
from tests.support.stage import GITHUB_APP

PUSHES = frozenset({"push", "force_push", "pr_merge", "branch_creation"})
"""Changes of a ref that GitHub calls a push; a deletion is none."""

OLD_DAYS = 40
"""Old items are spread over that many days."""

LATE = "its repository could not be read then"
HOOKLESS = "in a repository that can have no hook of ours"
"""What may be unusual about an event."""

SORTED: Mapping[str, str] = {
    "issues": "issues", "comments": "issues/comments", "review_comments": "pulls/comments", "pulls": "pulls",
}  # fmt: skip
"""The lists that are sorted by change: how the keys of their streams begin, and their paths in a repository's."""

LISTED = re.compile(r"/(repos/(?P<name>[^/]+/[^/]+)|repositories/(?P<id>[0-9]+))/(?P<list>.+)")
"""The path of a repository's list: by the repository's name or, in links to further pages, by its id."""

PAGE = 100
"""Items that a reader can ask for at once at most."""


class GitHubAccount(Account):
    """A user with two repositories of their own, an administrator of somebody else's private one, and a member of an
    organization (who cannot make hooks there).

    Every other account is connected to a list of repositories, by names that may not exist yet; the others to
    whatever the user can access. A title's first word is unique, and stays when the rest is edited.
    """

    slug = "github"
    mount = "github"
    refreshes_once = True
    is_read_by_date = True
    page_items = PAGE
    lag = timedelta(minutes=2)
    deadly = frozenset({"end_refresh_tokens_early"})
    lists = (
        "/user/repos", "/pulls", "/reviews", "/issues", "/issues/comments", "/pulls/comments", "/releases", "/activity",
    )  # fmt: skip

    def prepare(self, items: int, dice: Random) -> None:
        """`items` old issues and pull requests in the user's first repository, and a few things in the others."""
        github = self.github
        for login in (self.user, self.other_user, self._guest):
            github.add_user(login)
        github.add_organization(self._organization, owner=self.other_user)
        github.add_member(self._organization, self.user)
        self._closed: list[Callable[[], None]] = []
        self._free_names: list[str] = []
        self._made: Counter[str] = Counter()
        self._opened: dict[int, datetime] = {}
        """Since when the user has access to a repository that was not theirs from the beginning, by its id."""
        self._appeared: dict[int, datetime] = {}
        """When something came that has dates of its own, by its id."""
        self.repositories: list[Repository] = []
        """In the order in which they appeared, deleted ones too."""
        self.main = self._add(f"{self.user}/lamp")
        self._own = self._add(f"{self.user}/kite")
        self._shared = self._add(f"{self.other_user}/forge", private=True)
        self._member = self._add(f"{self._organization}/base", private=True)
        github.add_collaborator(self.main.full_name, self.other_user)
        github.add_collaborator(self._shared.full_name, self.user, "admin")
        self._is_chosen = dice.random() < 0.5
        self._fill(self.main, items, dice)
        for repo in self.repositories[1:]:
            self._fill(repo, dice.randrange(4), dice)

    @property
    def options(self) -> Mapping[str, Any]:
        """The repositories to read, two of which may come into being; or nothing, which is all."""
        return {"repositories": list(self._chosen)} if self._is_chosen else {}

    @property
    def _chosen(self) -> tuple[str, ...]:
        user, other = self.user, self.other_user
        return (f"{user}/lamp", f"{user}/kite", f"{other}/forge", f"{user}/new-1", f"{other}/late-1", f"{user}/new-2")

    @property
    def user(self) -> str:
        return self.name

    @property
    def other_user(self) -> str:
        """Who owns the shared repository and the organization."""
        return f"{self.name}-lee"

    @property
    def _guest(self) -> str:
        return f"{self.name}-mia"

    @property
    def _organization(self) -> str:
        return f"{self.name}-club"

    @property
    def github(self):
        return self.sandbox.github

    def withdraw(self) -> None:
        """The user removes the app on their settings page."""
        self.github.revoke_tokens(self.user)

    # --- for the oracle ----------------------------------------------------------------------------------------------

    def hooks(self) -> int:
        """Those on repositories that the user administers: on others they stay, and no call of ours can see them."""
        github = self.github
        user_id = github.account(self.user).id
        ours = [repo for repo in self._living() if github.permission_of(user_id, repo) is Permission.ADMIN]
        return sum(len(github.hooks.of("repository", repo.id)) for repo in ours)

    def tokens(self) -> int:
        """Pairs of which one half still works, or both."""
        users = [self.github.account(login).id for login in (self.user, self.other_user)]
        return sum(token.user_id in users for token in self.github.auth.tokens.values())

    def events(self) -> list[Event]:
        """What the lists of the repositories in question show by now, whatever a lagging one leaves out."""
        return [
            attrs.evolve(event, note=self._note(repo, event))
            for repo in self.reached()
            for event in self._events_in(repo)
        ]

    def _note(self, repo: Repository, event: Event) -> str:
        opened_at = self._opened.get(repo.id)
        if opened_at is not None and event.at < opened_at:
            return LATE
        is_ours = self.github.permission_of(self.github.account(self.user).id, repo) is Permission.ADMIN
        return "" if is_ours else HOOKLESS

    def reached(self) -> list[Repository]:
        """The repositories that the connection may read now."""
        github = self.github
        user_id = github.account(self.user).id
        named = (self._named(name) for name in self._chosen)
        found = list(named) if self._is_chosen else github.repositories_of(user_id)
        visible = [repo for repo in found if repo is not None and github.permission_of(user_id, repo) is not None]
        return list({repo.id: repo for repo in visible}.values())

    def _events_in(self, repo: Repository) -> Iterator[Event]:
        for issue in repo.issues.values():
            if repo.has_issues or issue.pull is not None:
                yield from _events_of(issue, is_traceless=self._is_traceless(issue))
            for review in issue.pull.reviews if issue.pull is not None else ():
                # One without a text only wraps a comment on a line, which is an event of its own.
                if review.submitted_at is not None and review.body:
                    yield Event(kind="pull_request_reviewed", title=_word(review.body), at=review.submitted_at)
        for comment in (*repo.comments.values(), *repo.review_comments.values()):
            on_issue = comment.path is None and repo.issues[comment.number].pull is None
            kind = "issue_commented" if on_issue else "pull_request_commented"
            # With the number: one that moves with its issue is there again, under another number.
            title = f"#{comment.number}: {_word(comment.body)}"
            yield Event(kind=kind, title=title, at=comment.created_at, is_traceless=self._is_traceless(comment))
        for release in repo.releases:
            if release.published_at is not None:
                yield Event(kind="release_published", title=release.name or "", at=release.published_at)
        for one in repo.activity:
            if one.activity_type in PUSHES and one.ref.startswith("refs/heads/"):
                # Several pushes to one branch differ in nothing but their time.
                yield Event(kind="code_pushed", title=one.ref.removeprefix("refs/heads/"), at=one.timestamp)

    def rows_of_answer(self, url: str, document: Any) -> tuple[str, Mapping[str, datetime]] | None:
        found = LISTED.search(urlsplit(url).path)
        name = next((name for name, path in SORTED.items() if found and path == found["list"]), None)
        if found is None or name is None or not isinstance(document, list):
            return None
        repo = self._named(found["name"]) if found["name"] else self.github.repositories.get(int(found["id"]))
        if repo is None:
            return None
        number = "number" if name in {"issues", "pulls"} else "id"
        rows = {str(row[number]): datetime.fromisoformat(row["updated_at"]) for row in document}
        return f"{name}:{repo.id}", rows

    def rows_sorted(self, external_id: str, key: str) -> tuple[str, Mapping[str, datetime]] | None:
        name, _, repo_id = key.partition(":")
        repo = self.github.repositories.get(int(repo_id)) if name in SORTED else None
        if repo is None or (name == "issues" and not repo.has_issues):
            return None
        items: list[tuple[int, Issue | Comment]] = []
        if name in {"issues", "pulls"}:
            items += [(one.number, one) for one in repo.issues.values() if name == "issues" or one.pull is not None]
        else:
            comments = repo.comments if name == "comments" else repo.review_comments
            items += [(one.id, one) for one in comments.values()]
        rows = {str(number): self._seconds(one.updated_at) for number, one in items if not self._is_traceless(one)}
        return key, rows

    def position(self, cursor: Any) -> datetime | None:
        since = (cursor or {}).get("since")
        return None if since is None else datetime.fromisoformat(since)

    def _named(self, full_name: str) -> Repository | None:
        """By its name, or by an old one, which leads there until another repository takes it."""
        found = self.github.find_repository(full_name)
        return found or self.github.repositories.get(self.github.renamed.get(full_name.lower(), 0))

    def _is_traceless(self, item: Issue | Comment) -> bool:
        """Whether it looks as if nothing has happened to it since before it appeared."""
        appeared_at = self._appeared.get(item.id)
        return appeared_at is not None and item.updated_at < appeared_at

    # --- usual deeds -------------------------------------------------------------------------------------------------

    def open_issue(self, dice: Random) -> None:
        self.github.open_issue(self._somewhere(dice).full_name, self.text(), by=self._somebody(dice))

    def edit(self, dice: Random) -> None:
        """The title, but for its first word."""
        if found := self._issue(dice):
            repo, issue = found
            title = f"{_word(issue.title)} edited {dice.randrange(1000)}"
            self.github.edit_issue(repo.full_name, issue.number, title=title, by=self._somebody(dice))

    def close(self, dice: Random) -> None:
        """An issue, or a pull request that is not merged."""
        if found := self._issue(dice, lambda issue: issue.state == "open"):
            repo, issue = found
            close = self.github.close_issue if issue.pull is None else self.github.close_pull
            close(repo.full_name, issue.number, by=self._somebody(dice))

    def reopen(self, dice: Random) -> None:
        """What is closed; merged is for ever."""
        if found := self._issue(dice, lambda issue: issue.state == "closed" and not _is_merged(issue)):
            repo, issue = found
            reopen = self.github.reopen_issue if issue.pull is None else self.github.reopen_pull
            reopen(repo.full_name, issue.number, by=self._somebody(dice))

    def assign(self, dice: Random) -> None:
        if found := self._issue(dice):
            repo, issue = found
            self.github.assign(repo.full_name, issue.number, self._somebody(dice), by=self._somebody(dice))

    def comment(self, dice: Random) -> None:
        if found := self._issue(dice):
            repo, issue = found
            self.github.comment(repo.full_name, issue.number, f"{self.text()} I agree.", by=self._somebody(dice))

    def edit_comment(self, dice: Random) -> None:
        """The text, but for its first word."""
        repo = self._somewhere(dice)
        if repo.comments:
            comment = _lately(list(repo.comments.values()), dice)
            body = f"{_word(comment.body)} On second thought, {dice.randrange(1000)}."
            self.github.edit_comment(repo.full_name, comment.id, body, by=self._somebody(dice))

    def delete(self, dice: Random) -> None:
        """A comment, or an issue with its comments."""
        repo = self._somewhere(dice)
        issues = [issue for issue in repo.issues.values() if issue.pull is None]
        if repo.comments and dice.random() < 0.6:
            comment = _lately(list(repo.comments.values()), dice)
            self.github.delete_comment(repo.full_name, comment.id, by=self._somebody(dice))
        elif issues:
            self.github.delete_issue(repo.full_name, _lately(issues, dice).number, by=self._somebody(dice))

    def open_pull(self, dice: Random) -> None:
        repo, is_draft = self._somewhere(dice), dice.random() < 0.3
        self.github.open_pull(repo.full_name, self.text(), by=self._somebody(dice), draft=is_draft)

    def merge(self, dice: Random) -> None:
        if found := self._issue(dice, lambda issue: issue.pull is not None and issue.state == "open"):
            repo, issue = found
            self.github.merge_pull(repo.full_name, issue.number, by=self._somebody(dice))

    def review(self, dice: Random) -> None:
        """A review, one that is not submitted, a comment on a line, or the request for a review."""
        if not (found := self._issue(dice, lambda issue: issue.pull is not None)):
            return
        (repo, issue), by = found, self._somebody(dice)
        match dice.randrange(6):
            case 0:
                self.github.request_review(repo.full_name, issue.number, self._somebody(dice), by=by)
            case 1:
                self.github.review_comment(repo.full_name, issue.number, f"{self.text()} Typo.", by=by)
            case 2:
                self.github.review(repo.full_name, issue.number, by=by, state="PENDING", body="Not yet.")
            case 3:
                self.github.ready_for_review(repo.full_name, issue.number, by=by)
            case _:
                state = dice.choice(("APPROVED", "CHANGES_REQUESTED", "COMMENTED"))
                self.github.review(repo.full_name, issue.number, by=by, state=state, body=f"{self.text()} Read.")

    def push(self, dice: Random) -> None:
        """To a new branch, mostly."""
        repo, branch = self._somewhere(dice), f"{self.text()}topic"
        if dice.random() < 0.3:
            branch = _lately(list(repo.branches), dice) if repo.branches else repo.default_branch
        is_forced = dice.random() < 0.1
        self.github.push(repo.full_name, by=self._somebody(dice), branch=branch, forced=is_forced)

    def delete_branch(self, dice: Random) -> None:
        repo = self._somewhere(dice)
        branches = [branch for branch in repo.branches if branch != repo.default_branch]
        if branches:
            self.github.delete_branch(repo.full_name, dice.choice(branches), by=self._somebody(dice))

    def release(self, dice: Random) -> None:
        """A release, a draft, or a draft that is published at last."""
        repo, by = self._somewhere(dice), self._somebody(dice)
        drafts = [one for one in repo.releases if one.is_draft]
        if drafts and dice.random() < 0.5:
            self.github.publish_draft(repo.full_name, drafts[0].id, by=by)
        else:
            text, is_draft = self.text(), dice.random() < 0.3
            self.github.publish_release(repo.full_name, f"v{text}", name=text, by=by, draft=is_draft)

    def meet(self, dice: Random) -> None:
        """A star, a fork, a tag, or a new collaborator: none of which a list shows as an event."""
        repo, by = self._somewhere(dice), self._somebody(dice)
        guest = self.github.account(self._guest)
        match dice.randrange(4):
            case 0:
                self.github.star(repo.full_name, by=by)
            case 1:
                self.github.push_tag(repo.full_name, f"{self.text()}tag", by=by)
            case 2 if self.github.find_repository(f"{self._guest}/{repo.name}") is None:
                self.github.fork(repo.full_name, by=self._guest)
            case _ if guest.id in repo.collaborators:
                self.github.remove_collaborator(repo.full_name, self._guest)
            case _:
                self.github.add_collaborator(repo.full_name, self._guest)

    # --- odd levers: dates -------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """Something old that appears now: imported with all its dates, transferred from elsewhere with its first one,
        or a release of an old commit."""
        repo, days = self._somewhere(dice), dice.choice((0.01, 0.2, 3.0, 400.0))
        match dice.randrange(3):
            case 0:
                self._import_late(repo, self._seconds(self.days_ago(days)), dice)
            case 1:
                elsewhere = f"{self._guest}/{self.text()}archive"
                self.github.add_repository(elsewhere)
                created_at = self._seconds(self.days_ago(days))
                issue = self.github.import_issue(elsewhere, self.text(), by=self._guest, created_at=created_at)
                self._transfer(self.github.repository(elsewhere), issue, repo, dice)
            case _:
                self._release_of(repo, self._seconds(self.days_ago(days)), dice)

    def move(self, dice: Random) -> None:
        """An issue from one repository to another, under a new name so that the two can be told apart.

        No part of a calm life: the issue keeps its first date, and today's reader emits nothing that is older than the
        connection, although the first backfill has read further back.
        """
        found = self._issue(dice, lambda issue: issue.pull is None)
        target = self._somewhere(dice)
        if found and found[0] is not target:
            repo, issue = found
            title = f"{self.text()} was {_word(issue.title)}"
            self.github.edit_issue(repo.full_name, issue.number, title=title, by=self._somebody(dice))
            self._transfer(repo, issue, target, dice)

    def date_1970(self, dice: Random) -> None:
        """The beginning of the epoch, as tools give it that know no date."""
        self._date(datetime(1970, 1, 1, 0, 0, dice.randrange(2), tzinfo=UTC), dice)

    def date_2099(self, dice: Random) -> None:
        self._date(datetime(2099, 12, 31, 23, 59, dice.randrange(60), tzinfo=UTC), dice)

    def burst(self, dice: Random) -> None:
        """More than a page of issues in one second, by an import."""
        repo, now = self._somewhere(dice), self._seconds(self.now)
        size = self.sandbox.core.page_size(self.mount, PAGE)
        for _ in range(size + 1 + dice.randrange(1 + size // 4)):
            self.github.import_issue(repo.full_name, self.text(), by=self._somebody(dice), created_at=now)

    # --- odd levers: containers --------------------------------------------------------------------------------------

    def close_container(self, dice: Random) -> None:
        """A private repository that the user loses access to, one that is deleted, or issues that are switched off."""
        github = self.github
        user = github.account(self.user)
        shared = [
            repo for repo in self._living() if repo.owner.login == self.other_user and user.id in repo.collaborators
        ]
        own = [repo for repo in self._living() if repo.owner is user and repo is not self.main]
        ways: list[Callable[[], None]] = []
        if shared:
            ways.append(lambda: self._end_collaboration(dice.choice(shared)))
        if own:
            ways.append(lambda: self._delete(dice.choice(own)))
        if self.main.has_issues:
            ways.append(self._switch_issues_off)
        if ways:
            dice.choice(ways)()

    def reopen_container(self, dice: Random) -> None:
        """Whatever was closed last."""
        if self._closed:
            self._closed.pop()()

    def new_container(self, dice: Random) -> None:
        """A repository of the user's own with items in it, perhaps under the old name of a renamed one."""
        name = f"{self.user}/new-{self._count('new')}"
        if self._free_names and dice.random() < 0.3:
            name = self._free_names.pop()
        repo = self._add(name)
        for _ in range(1 + dice.randrange(3)):
            self.github.open_issue(repo.full_name, self.text(), by=self._somebody(dice))

    def invite_late(self, dice: Random) -> None:
        """A collaborator's rights on a private repository that is full of old things."""
        repo = self._add(f"{self.other_user}/late-{self._count('late')}", private=True)
        self._fill(repo, 1 + dice.randrange(5), dice)
        self._opened[repo.id] = self.now
        self.github.add_collaborator(repo.full_name, self.user, dice.choice(("admin", "write", "read")))

    def leave_container(self, dice: Random) -> None:
        """The user leaves the organization, for good."""
        self.github.remove_member(self._organization, self.user)

    def rename_container(self, dice: Random) -> None:
        """A new name; the old one leads there until somebody takes it."""
        repo = self._somewhere(dice)
        old_name = repo.full_name
        self.github.rename_repository(old_name, f"{repo.name.partition('.')[0]}.{self._count('renamed')}")
        if repo.owner.login == self.user:
            self._free_names.append(old_name)

    def _end_collaboration(self, repo: Repository) -> None:
        permission = repo.collaborators[self.github.account(self.user).id]
        self.github.remove_collaborator(repo.full_name, self.user)

        def give_back() -> None:
            if repo.id in self.github.repositories:
                self.github.add_collaborator(repo.full_name, self.user, permission.value)

        self._closed.append(give_back)

    def _delete(self, repo: Repository) -> None:
        self.github.delete_repository(repo.full_name)

        def restore() -> None:
            if self.github.find_repository(repo.full_name) is None:
                self.github.restore_repository(repo.id)

        self._closed.append(restore)

    def _switch_issues_off(self) -> None:
        self.main.has_issues = False

        def switch_on() -> None:
            self.main.has_issues = True

        self._closed.append(switch_on)

    # --- odd levers: tokens and hooks --------------------------------------------------------------------------------

    def end_tokens_early(self, dice: Random) -> None:
        """Access tokens end before they expire; refresh tokens go on."""
        self.github.end_tokens_early(self.user)

    def end_refresh_tokens_early(self, dice: Random) -> None:
        """Both halves end although nobody withdrew anything: GitHub found one in public, or the user has too many."""
        self.github.revoke_tokens(self.user)

    def answer_without_refresh_token(self, dice: Random) -> None:
        """From now on this GitHub gives tokens that do not expire; or again such that do."""
        app = self.github.auth.apps[GITHUB_APP[0]]
        app.omits_refresh_tokens = not app.omits_refresh_tokens

    def hooks_vanish(self, dice: Random) -> None:
        """Somebody deletes our hooks."""
        for repo in self.repositories:
            for hook in self.github.hooks.of("repository", repo.id):
                del self.github.hooks.hooks[hook.id]

    def hooks_are_disabled(self, dice: Random) -> None:
        """An owner restricts the app: its hooks stay and send nothing."""
        for repo in self.repositories:
            for hook in self.github.hooks.of("repository", repo.id):
                hook.is_active = False

    def expire_history(self, dice: Random) -> None:
        """The logs of deliveries are gone before their three days are over."""
        for repo in self.repositories:
            for hook in self.github.hooks.of("repository", repo.id):
                hook.log.clear()

    # --- odd levers: lists -------------------------------------------------------------------------------------------

    def lag_index(self, dice: Random) -> None:
        """Lists are read from replicas that lag, by less than the two minutes that readers are told to allow for."""
        self.sandbox.core.index_lags[self.mount] = timedelta(seconds=dice.choice((5, 30, 110)))

    def index_catches_up(self, dice: Random) -> None:
        self.sandbox.core.index_lags.pop(self.mount, None)

    def short_pages(self, dice: Random) -> None:
        self.sandbox.core.page_caps[self.mount] = dice.choice((10, 25, 40))

    def full_pages(self, dice: Random) -> None:
        self.sandbox.core.page_caps.pop(self.mount, None)

    def use_up_quota(self, dice: Random) -> None:
        """The user's other apps leave nothing of this hour's calls, or little."""
        self.github.set_remaining(self.user, dice.choice((0, 10, 400)))

    # --- parts -------------------------------------------------------------------------------------------------------

    def _add(self, full_name: str, *, private: bool = False) -> Repository:
        repo = self.github.add_repository(full_name, private=private)
        self.repositories.append(repo)
        return repo

    def _living(self) -> list[Repository]:
        return [repo for repo in self.repositories if repo.id in self.github.repositories]

    def _somewhere(self, dice: Random) -> Repository:
        """A repository: every other time the main one."""
        return self.main if dice.random() < 0.5 else dice.choice(self._living())

    def _somebody(self, dice: Random) -> str:
        return dice.choice((self.user, self.other_user))

    def _issue(
        self, dice: Random, suits: Callable[[Issue], bool] = lambda issue: True
    ) -> tuple[Repository, Issue] | None:
        repo = self._somewhere(dice)
        found = [issue for issue in repo.issues.values() if suits(issue)]
        return (repo, _lately(found, dice)) if found else None

    def _count(self, what: str) -> int:
        self._made[what] += 1
        return self._made[what]

    def _seconds(self, at: datetime) -> datetime:
        return at.replace(microsecond=0)

    def _fill(self, repo: Repository, items: int, dice: Random) -> None:
        """Old issues and pull requests, some closed, some with comments, a few in the same second."""
        step = OLD_DAYS / (items + 1)
        at = self._seconds(self.days_ago(OLD_DAYS))
        for number in range(items):
            if number == 0 or dice.random() < 0.9:
                at = self._seconds(self.days_ago(OLD_DAYS - step * (number + dice.random())))
            self._import(repo, at, dice)

    def _transfer(self, repo: Repository, issue: Issue, target: Repository, dice: Random) -> None:
        """The comments go with it, and keep their dates."""
        moved = self.github.transfer_issue(repo.full_name, issue.number, target.full_name, by=self._somebody(dice))
        for comment_id in target.comments_by_number.get(moved.number, []):
            self._appeared[comment_id] = self.now

    def _import_late(self, repo: Repository, at: datetime, dice: Random) -> None:
        """One that appears with these dates in a repository that may have been read."""
        issue = self._import(repo, at, dice, is_touched=dice.random() < 0.5)
        self._appeared[issue.id] = self._seconds(self.now)

    def _import(self, repo: Repository, at: datetime, dice: Random, *, is_touched: bool = False) -> Issue:
        closed_at = at if dice.random() < 0.3 else None
        is_pull = dice.random() < 0.2
        return self.github.import_issue(
            repo.full_name, self.text(), by=self._somebody(dice), created_at=at,
            updated_at=self._seconds(self.now) if is_touched else None, closed_at=closed_at, is_pull=is_pull,
        )  # fmt: skip

    def _date(self, at: datetime, dice: Random) -> None:
        repo = self._somewhere(dice)
        if dice.random() < 0.7:
            self._import_late(repo, at, dice)
        else:
            self._release_of(repo, at, dice)

    def _release_of(self, repo: Repository, committed_at: datetime, dice: Random) -> None:
        text = self.text()
        self.github.publish_release(
            repo.full_name, f"v{text}", name=text, by=self._somebody(dice), committed_at=committed_at
        )

    usual: ClassVar[Mapping[str, tuple[int, Deed]]] = {
        "open_issue": (6, open_issue),
        "comment": (6, comment),
        "edit": (3, edit),
        "edit_comment": (2, edit_comment),
        "close": (3, close),
        "reopen": (1, reopen),
        "assign": (1, assign),
        "delete": (1, delete),
        "open_pull": (2, open_pull),
        "review": (3, review),
        "merge": (1, merge),
        "push": (4, push),
        "delete_branch": (1, delete_branch),
        "release": (1, release),
        "meet": (1, meet),
    }
    odd: ClassVar[Mapping[str, Deed]] = {
        deed.__name__: deed
        for deed in (
            backdate, move, date_1970, date_2099, burst,
            close_container, reopen_container, new_container, invite_late, leave_container, rename_container,
            end_tokens_early, end_refresh_tokens_early, answer_without_refresh_token,
            hooks_vanish, hooks_are_disabled, expire_history,
            lag_index, index_catches_up, short_pages, full_pages, use_up_quota,
        )
    }  # fmt: skip


def _events_of(issue: Issue, *, is_traceless: bool) -> Iterator[Event]:
    found = [("issue_created" if issue.pull is None else "pull_request_opened", issue.created_at)]
    if _is_merged(issue):
        found.append(("pull_request_merged", issue.pull.merged_at))
    elif issue.closed_at is not None:
        # Closed, reopened and closed again: only the last one is shown, and only its time tells it from the first.
        found.append(("issue_closed" if issue.pull is None else "pull_request_closed", issue.closed_at))
    for kind, at in found:
        yield Event(kind=kind, title=_word(issue.title), at=at, is_traceless=is_traceless)


def _is_merged(issue: Issue) -> bool:
    return issue.pull is not None and issue.pull.merged_at is not None


def _lately(items: list[Any], dice: Random) -> Any:
    """One of them, mostly of the last ones: people are busy with what is new."""
    return dice.choice(items[-10:] if dice.random() < 0.7 else items)


def _word(text: str) -> str:
    return text.partition(" ")[0]


ACCOUNTS: tuple[type[Account], ...] = (GitHubAccount,)
