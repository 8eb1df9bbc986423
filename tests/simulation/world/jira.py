"""Jira: one or two sites, each with projects, issues, their histories and comments.

The unique text of an issue is the first word of its summary, and that of a comment the first word of its text: they stay
when the rest is edited. Of each issue, no change is made twice that would have the same kind and words, so that every
entry of a history can be told from the others by its title.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar

import attrs

from connectors_sandbox.jira.records import STATUSES, Comment, History, Issue, Project, Site, Status
from connectors_sandbox.jira.webhooks import live_hooks
from tests.simulation.world.account import Account, Deed, Event

TIME_ZONES = ("Etc/UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati", "Europe/Kyiv")
INDEX_LAGS = tuple(timedelta(seconds=seconds) for seconds in (5, 60, 300, 540))
"""Atlassian says "from a few seconds to minutes" (Search After Write with Search And Reconcile)."""
SHORT_PAGES = (8, 25, 60)
SHORT_PAGES_SHARE = 0.25
"""Of the accounts: the server may always return fewer items than it is asked for."""
LONG_THREAD = 23
"""Comments: an issue in a search brings twenty."""
TOP = 20
"""The issues that change most: the newest ones."""

LONG = timedelta(days=7)
"""Longer than any run."""

Found = tuple[Site, Issue]


class JiraAccount(Account):
    """A user of Jira, whose consent covers every site that they can open: a connection for each."""

    slug = "jira"
    mount = "jira"
    lists = ("/search/jql", "/changelog/bulkfetch", "/comment", "/status", "/project/search")
    has_own_tokens = shows_tokens = False
    """One consent has one token family, for all of its sites."""
    page_items = 100
    lag = INDEX_LAGS[-1]
    is_read_by_date = True
    """Of an issue that an import brings, only the dates tell when it was made."""
    requests_a_minute = 200
    """Short pages, each with its histories, by several backfills at once. Jira allows ten a second."""
    deadly = frozenset({"end_refresh_tokens"})
    aimed: ClassVar[Mapping[str, str]] = {"edit_in_answer": "/search/jql"}

    # --- before ------------------------------------------------------------------------------------------------------

    def prepare(self, items: int, dice: Random) -> None:
        """The user, a colleague, and a site; one time in four a second site with less in it."""
        self._said: set[tuple[str, str, str]] = set()
        self._sprints: list[tuple[str, int, str]] = []
        self._sites: list[Site] = []
        self._imported: dict[tuple[str, str], None] = {}
        """The issues (by site and id) that came with odd dates."""
        self._late_projects: dict[tuple[str, str], None] = {}
        """The projects (by site and id) that the users could not always see."""
        jira, zone = self.sandbox.jira, dice.choice(TIME_ZONES)
        names = (self.name, f"{self.name}-kim", f"{self.name}-lee")
        self._team = [jira.add_user(name, zone).account_id for name in names]
        numbers = [items, items // 3] if dice.random() < 0.25 else [items]
        for number in numbers:
            self._add_old_items(self._add_site(dice), number, dice)
        if dice.random() < SHORT_PAGES_SHARE:
            self.short_pages(dice)

    @property
    def user(self) -> str:
        """The first of the team."""
        return self._team[0]

    @property
    def other_user(self) -> str:
        """A colleague on the same sites."""
        return self._team[1]

    def _add_site(self, dice: Random) -> Site:
        jira, number = self.sandbox.jira, len(self._sites) + 1
        site = jira.add_site(self.name if number == 1 else f"{self.name}-{number}", self._team)
        site.comment_style = dice.choice(("comment", "comment", "issue", "both"))
        site.body_style = dice.choice(("wiki", "adf"))
        self._sites.append(site)
        self._add_project(site, dice)
        return site

    def _add_project(self, site: Site, dice: Random) -> Project:
        key = f"{dice.choice(('ROCK', 'MOON', 'WEB'))}{len(site.projects) + 1}"
        return self.sandbox.jira.add_project(site.id, key, by=dice.choice(self._team))

    def _add_old_items(self, site: Site, number: int, dice: Random) -> None:
        projects = list(site.projects.values())
        dates = sorted(self.days_ago(dice.uniform(0.05, 25)) for _ in range(number))
        for at in dates:
            issue = self._import(site, dice.choice(projects), dice, at)
            if dice.random() < 0.2:
                self._write(site, issue, dice, at=_stamp(at + (self.now - at) * dice.uniform(0.01, 0.9)))
            if dice.random() < 0.2:
                self._move_to(site, issue, STATUSES["10002"], dice, at=_stamp(issue.updated))

    # --- meanwhile: everyday life ------------------------------------------------------------------------------------

    def create(self, dice: Random) -> None:
        """A new issue."""
        projects = self._projects(lambda site, project: not project.is_archived)
        if projects:
            site, project = dice.choice(projects)
            self.sandbox.jira.create_issue(site.id, project.key, f"{self.text()} new", by=self._somebody(dice))

    def comment(self, dice: Random) -> None:
        """A comment, by anybody."""
        if found := self._pick(dice):
            self._write(*found, dice)

    def edit_comment(self, dice: Random) -> None:
        """Another text, after the comment's first word."""
        if picked := self._pick_comment(dice):
            site, issue, comment = picked
            text = f"{_mark(comment.text)} {self.text()}"
            self.sandbox.jira.edit_comment(site.id, issue.id, comment.id, text, by=self._somebody(dice))

    def delete_comment(self, dice: Random) -> None:
        """A comment goes for good."""
        if picked := self._pick_comment(dice):
            site, issue, comment = picked
            self.sandbox.jira.delete_comment(site.id, issue.id, comment.id, by=self._somebody(dice))

    def move(self, dice: Random) -> None:
        """Another status of any category."""
        issues = self._issues()
        dice.shuffle(issues)
        for site, issue in issues[:TOP]:
            statuses = [one for one in STATUSES.values() if self._is_unsaid(site, issue, _moved(issue.status, one))]
            if statuses:
                self._move_to(site, issue, dice.choice(statuses), dice)
                return

    def close(self, dice: Random) -> None:
        """An open issue is done."""
        self._move_first(dice, lambda old, new: old.category != "done" and new.category == "done")

    def reopen(self, dice: Random) -> None:
        """A closed issue is open again."""
        self._move_first(dice, lambda old, new: old.category == "done" and new.category != "done")

    def assign(self, dice: Random) -> None:
        """Another assignee, or none."""
        to = dice.choice([*self._team, None])
        name = None if to is None else self.sandbox.jira.users[to].name
        words = "unassigned" if name is None else f"assigned to {name}"

        def is_other(site: Site, issue: Issue) -> bool:
            return (issue.assignee.account_id if issue.assignee else None) != to

        if found := self._pick_unsaid(dice, ("issue_assigned", words), is_other):
            site, issue = found
            self.sandbox.jira.assign_issue(site.id, issue.id, to, by=self._somebody(dice))

    def rename(self, dice: Random) -> None:
        """Another summary, after its first word."""
        if found := self._pick_unsaid(dice, ("issue_updated", "updated (summary)")):
            site, issue = found
            summary = f"{_mark(issue.summary)} renamed {self.text()}"
            self.sandbox.jira.rename_issue(site.id, issue.id, summary, by=self._somebody(dice))

    def transfer(self, dice: Random) -> None:
        """An issue goes to another project of its site, with another key."""

        def others(site: Site, issue: Issue) -> list[Project]:
            return [one for one in site.projects.values() if one is not issue.project and not one.is_archived]

        said = ("issue_updated", "updated (Key, project)")
        if found := self._pick_unsaid(dice, said, lambda site, issue: bool(others(site, issue))):
            site, issue = found
            key = dice.choice(others(site, issue)).key
            self.sandbox.jira.transfer_issue(site.id, issue.id, key, by=self._somebody(dice))

    def delete(self, dice: Random) -> None:
        """An issue goes for good, with its history and comments."""
        if found := self._pick(dice):
            site, issue = found
            self.sandbox.jira.delete_issue(site.id, issue.id, by=self._somebody(dice))

    def log_work(self, dice: Random) -> None:
        """An hour of work, which only an administrator's webhook would tell."""
        if found := self._pick(dice):
            site, issue = found
            self.sandbox.jira.log_work(site.id, issue.id, by=self._somebody(dice))

    def start_sprint(self, dice: Random) -> None:
        """A sprint begins. Only webhooks tell."""
        if sites := self._open_sites():
            site, number = dice.choice(sites), self._texts + 1
            name = self.text()
            self._sprints.append((site.id, number, name))
            self.sandbox.jira.start_sprint(site.id, number, name)

    def close_sprint(self, dice: Random) -> None:
        """A sprint that has begun ends. Only webhooks tell."""
        begun = [one for one in self._sprints if not self.sandbox.jira.sites[one[0]].is_gone]
        if begun:
            sprint = dice.choice(begun)
            self._sprints.remove(sprint)
            self.sandbox.jira.close_sprint(*sprint)

    def release(self, dice: Random) -> None:
        """A version is released. Only webhooks tell."""
        projects = self._projects(lambda site, project: not project.is_archived)
        if projects:
            site, project = dice.choice(projects)
            self.sandbox.jira.release_version(site.id, project.key, self._texts + 1, self.text())

    # --- meanwhile: levers -------------------------------------------------------------------------------------------

    def backdate(self, dice: Random) -> None:
        """An issue is imported with its old dates and an old comment; sometimes the import counts as its last update."""
        self._import_dated(dice, self.days_ago(dice.uniform(0.5, 60)), comments=dice.randrange(2))

    def date_1970(self, dice: Random) -> None:
        """An import whose date was empty."""
        self._import_dated(dice, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.randrange(60)))

    def date_2099(self, dice: Random) -> None:
        """An import with a mistyped year."""
        self._import_dated(dice, datetime(2099, 1, 1, tzinfo=UTC) + timedelta(hours=dice.randrange(24)))

    def close_container(self, dice: Random) -> None:
        """A project is archived, unless it is the last one that the user sees."""
        shown = self._projects(_is_shown_to(self.user))
        closable = [one for one in shown if sum(site is one[0] for site, _ in shown) > 1]
        if closable:
            site, project = dice.choice(closable)
            self._late_projects[site.id, project.id] = None
            self.sandbox.jira.archive_project(site.id, project.key)

    def reopen_container(self, dice: Random) -> None:
        """An archived project is restored, with all that it had."""
        archived = self._projects(lambda site, project: project.is_archived)
        if archived:
            site, project = dice.choice(archived)
            self.sandbox.jira.restore_project(site.id, project.key)

    def new_container(self, dice: Random) -> None:
        """A project with old and new issues in it."""
        if sites := self._open_sites():
            self._fill(dice.choice(sites), dice)

    def leave_container(self, dice: Random) -> None:
        """The users may not browse a project any more, unless it is the last one that they see."""
        shown = self._projects(_is_shown_to(self.user))
        leavable = [one for one in shown if sum(site is one[0] for site, _ in shown) > 1]
        if leavable:
            self._hide(*dice.choice(leavable))

    def enter_container(self, dice: Random) -> None:
        """The users may browse a project that was there long before, with all that happened in it."""
        hidden = self._projects(lambda site, project: not project.shows_to(self.user))
        if not hidden and (sites := self._open_sites()):
            site = dice.choice(sites)
            hidden = [(site, self._fill(site, dice, is_hidden=True))]
        if hidden:
            site, project = dice.choice(hidden)
            for account_id in (self.user, self.other_user):
                self.sandbox.jira.unhide_project(site.id, project.key, account_id)

    def new_site(self, dice: Random) -> None:
        """The team gets another site. The next consent covers it."""
        if len(self._sites) < 3:
            self._add_old_items(self._add_site(dice), 3, dice)

    def close_site(self, dice: Random) -> None:
        """A site cannot be reached any more, and is in no list."""
        if sites := self._open_sites():
            self.sandbox.jira.close_site(dice.choice(sites).id)

    def reopen_site(self, dice: Random) -> None:
        """A closed site is back, with its webhooks."""
        closed = [site for site in self._sites if site.is_gone]
        if closed:
            self.sandbox.jira.reopen_site(dice.choice(closed).id)

    def end_tokens_early(self, dice: Random) -> None:
        """Access tokens end before they expire; refresh tokens go on."""
        for account_id in (self.user, self.other_user):
            self.sandbox.jira.end_access_tokens(account_id)

    def end_refresh_tokens(self, dice: Random) -> None:
        """The user's refresh tokens end, as after a new password: only another consent helps."""
        self.sandbox.jira.end_refresh_tokens(self.user)

    def hooks_vanish(self, dice: Random) -> None:
        """Jira forgets the webhooks of a site."""
        self.sandbox.jira.drop_hooks(dice.choice(self._sites).id)

    def expire_history(self, dice: Random) -> None:
        """The search refuses the page tokens that it has given."""
        self.sandbox.jira.expire_page_tokens()

    def edit_in_answer(self, dice: Random) -> None:
        """A few issues change while the next search makes its answer: they are shown changed, at their old positions.

        Without a search within ten minutes nothing happens.
        """
        later, until = Random(dice.random()), self.now + timedelta(minutes=10)

        def edit() -> None:
            for _ in range(later.randrange(1, 4) if self.now < until else 0):
                if issues := self._issues():
                    self._write(*later.choice(issues), later)
            self.changed()

        self.sandbox.jira.during_search = edit

    def lag_index(self, dice: Random) -> None:
        """Searches know changes only later."""
        self.sandbox.core.index_lags[self.mount] = dice.choice(INDEX_LAGS)

    def index_catches_up(self, dice: Random) -> None:
        """Searches know everything."""
        self.sandbox.core.index_lags.pop(self.mount, None)

    def short_pages(self, dice: Random) -> None:
        """Lists give fewer items than asked for."""
        self.sandbox.core.page_caps[self.mount] = dice.choice(SHORT_PAGES)

    def full_pages(self, dice: Random) -> None:
        """Lists give as many as asked for."""
        self.sandbox.core.page_caps.pop(self.mount, None)

    def burst(self, dice: Random) -> None:
        """More issues than a page holds, all in one instant, as a bulk operation makes them."""
        projects = self._projects(lambda site, project: not project.is_archived)
        if projects:
            site, project = dice.choice(projects)
            for _ in range(self.sandbox.core.page_size(self.mount, self.page_items) + 1 + dice.randrange(3)):
                self.sandbox.jira.create_issue(site.id, project.key, f"{self.text()} bulk", by=self.user)

    def long_thread(self, dice: Random) -> None:
        """More comments on one issue than a search brings with it."""
        if found := self._pick(dice):
            for _ in range(LONG_THREAD):
                self._write(*found, dice)

    def withdraw(self) -> None:
        """The user disconnects the app at id.atlassian.com. Their webhooks stay until they expire."""
        self.sandbox.jira.revoke_consents(self.user)

    usual: ClassVar[Mapping[str, tuple[int, Deed]]] = {
        "create": (6, create),
        "comment": (5, comment),
        "edit_comment": (2, edit_comment),
        "delete_comment": (1, delete_comment),
        "move": (2, move),
        "close": (3, close),
        "reopen": (2, reopen),
        "assign": (2, assign),
        "rename": (2, rename),
        "transfer": (1, transfer),
        "delete": (1, delete),
        "log_work": (1, log_work),
        "start_sprint": (1, start_sprint),
        "close_sprint": (1, close_sprint),
        "release": (1, release),
    }
    odd: ClassVar[Mapping[str, Deed]] = {
        "backdate": backdate,
        "date_1970": date_1970,
        "date_2099": date_2099,
        "close_container": close_container,
        "reopen_container": reopen_container,
        "new_container": new_container,
        "leave_container": leave_container,
        "enter_container": enter_container,
        "new_site": new_site,
        "close_site": close_site,
        "reopen_site": reopen_site,
        "end_tokens_early": end_tokens_early,
        "end_refresh_tokens": end_refresh_tokens,
        "hooks_vanish": hooks_vanish,
        "expire_history": expire_history,
        "edit_in_answer": edit_in_answer,
        "lag_index": lag_index,
        "index_catches_up": index_catches_up,
        "short_pages": short_pages,
        "full_pages": full_pages,
        "burst": burst,
        "long_thread": long_thread,
    }

    # --- for the oracle ----------------------------------------------------------------------------------------------

    def hooks(self) -> int:
        """Pairs of a user and a site that have a webhook: one that was replaced is left to lapse beside its successor."""
        return sum(len({hook.account_id for hook in live_hooks(site, self.now)}) for site in self._sites)

    @property
    def is_out_of_reach(self) -> bool:
        """Whether a site is closed."""
        return any(site.is_gone for site in self._sites)

    def tokens(self) -> int:
        """None that we could end: Atlassian has no call that revokes a token."""
        return 0

    def events(self) -> list[Event]:
        """Of every issue that the user sees: its creation, each entry of its history, its comments and their last edit,
        as far as the search index knows them by now.

        Deletions, sprints, releases and worklogs are not in any list that the service says it reads.
        """
        seen = _is_shown_to(self.user)
        return [
            self._noted(site, issue, event)
            for site in self._open_sites()
            for issue in site.issues.values()
            if seen(site, issue.project)
            for event in self._known_events(site, issue)
        ]

    def rows_of_answer(self, url: str, document: Any) -> tuple[str, Mapping[str, datetime]] | None:
        if not url.endswith("/search/jql"):
            return None
        rows = {
            issue["id"]: datetime.fromisoformat(issue["fields"]["updated"])
            for issue in document.get("issues", ())
            if "updated" in issue.get("fields", {})
        }
        return url.partition("/ex/jira/")[2].partition("/")[0], rows

    def rows_sorted(self, external_id: str, key: str) -> tuple[str, Mapping[str, datetime]] | None:
        kind, _, project_id = key.partition(":")
        seen, rows = _is_shown_to(self.user), {}
        for site in self._open_sites():
            for issue in site.issues.values() if site.id == external_id else ():
                is_old = (site.id, issue.id) in self._imported and issue.updated < issue.versions[0][0]
                is_late = (site.id, issue.project.id) in self._late_projects or not seen(site, issue.project)
                if not is_old and not is_late and (kind == "site" or issue.project.id == project_id):
                    rows[issue.id] = datetime.fromisoformat(_stamp(issue.updated))
        return external_id, rows

    def position(self, cursor: Any) -> datetime | None:
        since = (cursor or {}).get("since")
        return None if since is None else datetime.fromtimestamp(since / 1000, UTC)

    def _noted(self, site: Site, issue: Issue, event: Event) -> Event:
        """The event with what is unusual about it. An import that has not changed since is in no search for changes."""
        appeared_at = issue.versions[0][0]
        if (site.id, issue.project.id) in self._late_projects:
            return attrs.evolve(event, note="in a project that was not always shown")
        if (site.id, issue.id) in self._imported and not appeared_at <= event.at < appeared_at + LONG:
            return attrs.evolve(event, note="imported", is_traceless=issue.updated < appeared_at)
        return event

    def _known_events(self, site: Site, issue: Issue) -> list[Event]:
        """What the issue shows and its newest version in the index shows too."""
        is_indexed = self.sandbox.core.is_indexed
        versions = [version for made_at, version in issue.versions if is_indexed(self.mount, made_at)]
        shown = list(_events_of(site, issue))
        if len(versions) == len(issue.versions):
            return shown
        known = list(_events_of(site, versions[-1])) if versions else []
        return [event for event in shown if event in known]

    # --- for deeds ---------------------------------------------------------------------------------------------------

    def _somebody(self, dice: Random) -> str:
        return dice.choice(self._team)

    def _open_sites(self) -> list[Site]:
        return [site for site in self._sites if not site.is_gone]

    def _projects(self, fits: Callable[[Site, Project], bool]) -> list[tuple[Site, Project]]:
        return [(site, one) for site in self._open_sites() for one in site.projects.values() if fits(site, one)]

    def _issues(self) -> list[Found]:
        """Every issue that somebody can change."""
        return [
            (site, one) for site in self._open_sites() for one in site.issues.values() if not one.project.is_archived
        ]

    def _pick(self, dice: Random, issues: list[Found] | None = None) -> Found | None:
        """One of them; two times in three one of the newest."""
        found = self._issues() if issues is None else issues
        if not found:
            return None
        return dice.choice(found[-TOP:] if dice.random() < 2 / 3 else found)

    def _pick_unsaid(
        self,
        dice: Random,
        said: tuple[str, str],
        fits: Callable[[Site, Issue], bool] = lambda site, issue: True,
    ) -> Found | None:
        """One that has no such change yet, marked as having it from now on."""
        found = [one for one in self._issues() if fits(*one) and self._is_unsaid(*one, said)]
        picked = self._pick(dice, found)
        if picked is not None:
            self._say(*picked, said)
        return picked

    def _pick_comment(self, dice: Random) -> tuple[Site, Issue, Comment] | None:
        found = [(site, issue, comment) for site, issue in self._issues() for comment in issue.comments]
        return dice.choice(found) if found else None

    def _is_unsaid(self, site: Site, issue: Issue, said: tuple[str, str]) -> bool:
        return (_mark(issue.summary), *said) not in self._said

    def _say(self, site: Site, issue: Issue, said: tuple[str, str]) -> None:
        self._said.add((_mark(issue.summary), *said))

    def _move_first(self, dice: Random, fits: Callable[[Status, Status], bool]) -> None:
        """One change of status that fits and that its issue has not had."""
        statuses = list(STATUSES.values())
        dice.shuffle(statuses)
        for new in statuses:
            found = [
                (site, issue)
                for site, issue in self._issues()
                if fits(issue.status, new) and self._is_unsaid(site, issue, _moved(issue.status, new))
            ]
            if picked := self._pick(dice, found):
                self._move_to(*picked, new, dice)
                return

    def _move_to(self, site: Site, issue: Issue, status: Status, dice: Random, at: str | None = None) -> None:
        self._say(site, issue, _moved(issue.status, status))
        self.sandbox.jira.move_issue(site.id, issue.id, status.id, by=self._somebody(dice), at=at)

    def _write(self, site: Site, issue: Issue, dice: Random, at: str | None = None) -> None:
        self.sandbox.jira.comment(site.id, issue.id, f"{self.text()} said", by=self._somebody(dice), at=at)

    def _import(
        self, site: Site, project: Project, dice: Random, at: datetime, updated_at: datetime | None = None
    ) -> Issue:
        """An issue that was made then, at whole milliseconds as Jira keeps them."""
        return self.sandbox.jira.create_issue(
            site.id,
            project.key,
            f"{self.text()} old",
            by=self._somebody(dice),
            at=_stamp(at),
            updated_at=None if updated_at is None else _stamp(updated_at),
        )

    def _import_dated(self, dice: Random, at: datetime, comments: int = 0) -> None:
        projects = self._projects(lambda site, project: not project.is_archived)
        if not projects:
            return
        site, project = dice.choice(projects)
        updated_at = dice.choice((None, self.now))
        issue = self._import(site, project, dice, at, updated_at)
        self._imported[site.id, issue.id] = None
        for _ in range(comments):
            self._write(site, issue, dice, at=_stamp(at))

    def _fill(self, site: Site, dice: Random, *, is_hidden: bool = False) -> Project:
        project = self._add_project(site, dice)
        self._late_projects[site.id, project.id] = None
        if is_hidden:
            self._hide(site, project)
        for _ in range(dice.randrange(1, 4)):
            self._import(site, project, dice, self.days_ago(dice.uniform(0.5, 25)))
        self.sandbox.jira.create_issue(site.id, project.key, f"{self.text()} new", by=self._somebody(dice))
        return project

    def _hide(self, site: Site, project: Project) -> None:
        self._late_projects[site.id, project.id] = None
        for account_id in (self.user, self.other_user):
            self.sandbox.jira.hide_project(site.id, project.key, account_id)


ACCOUNTS: tuple[type[Account], ...] = (JiraAccount,)


def _mark(text: str) -> str:
    """The first word, which nothing else has."""
    return text.split(maxsplit=1)[0]


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _is_shown_to(account_id: str) -> Callable[[Site, Project], bool]:
    return lambda site, project: not project.is_archived and project.shows_to(account_id)


def _events_of(site: Site, issue: Issue) -> Iterator[Event]:
    """What one issue shows."""
    mark = _mark(issue.summary)
    yield Event(kind="issue_created", title=f"created: {mark}", at=issue.created, external_id=site.id)
    for history in issue.histories:
        kind, words = _read_history(history)
        yield Event(kind=kind, title=f"{words}: {mark}", at=history.created, external_id=site.id)
    for comment in issue.comments:
        said = _mark(comment.text)
        yield Event(kind="issue_commented", title=said, at=comment.created, external_id=site.id)
        if comment.updated != comment.created:
            edited = comment.text.rsplit(maxsplit=1)[-1]
            yield Event(kind="issue_comment_edited", title=edited, at=comment.updated, external_id=site.id)


def _read_history(history: History) -> tuple[str, str]:
    """The kind and the words of a change, from the site's own record of it."""
    items: list[dict[str, Any]] = history.items
    fields = [item["field"] for item in items]
    if "status" in fields:
        item = items[fields.index("status")]
        return _moved(STATUSES[item["from"]], STATUSES[item["to"]])
    if "assignee" in fields:
        name = items[fields.index("assignee")]["toString"]
        return "issue_assigned", "unassigned" if name is None else f"assigned to {name}"
    return "issue_updated", f"updated ({', '.join(sorted(fields))})"


def _moved(old: Status, new: Status) -> tuple[str, str]:
    """The kind and the words of a change of status."""
    if old.category != "done" and new.category == "done":
        return "issue_closed", "closed"
    if old.category == "done" and new.category != "done":
        return "issue_reopened", "reopened"
    return "issue_status_changed", f"moved to {new.name}"
