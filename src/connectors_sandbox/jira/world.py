"""Jira's world, as tests and demos control it."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from connectors_sandbox.core import SandboxCore, StandingHook
from connectors_sandbox.families import TokenFamilies
from connectors_sandbox.jira import render, webhooks
from connectors_sandbox.jira.authorization import Access, Authorization, OAuthApp
from connectors_sandbox.jira.records import (
    STATUSES,
    AdminHook,
    Comment,
    History,
    Issue,
    Project,
    Site,
    User,
)

ACTIONS: Final = (
    *("add_app", "add_user", "add_site", "add_project", "add_admin_hook", "close_site", "reopen_site"),
    *("archive_project", "restore_project", "hide_project", "unhide_project"),
    *("create_issue", "move_issue", "assign_issue", "rename_issue", "transfer_issue", "delete_issue", "populate"),
    *("comment", "edit_comment", "delete_comment", "log_work"),
    *("start_sprint", "close_sprint", "release_version"),
    *("revoke_consents", "end_access_tokens", "end_refresh_tokens", "drop_hooks", "expire_page_tokens"),
)
"""The methods that the control endpoints may call."""

EVENT_TYPES: Final = {"assignee": "issue_assigned", "project": "issue_moved"}
"""Changed field → `issue_event_type_name` of the update."""


class JiraWorld:
    """Accounts, sites and their events, OAuth apps and webhooks.

    Sites, issues and comments are named by their ids (or an issue by its key), so that a test in another process can
    control the world too. The acting user is the site's first unless `by` names another account id.
    """

    def __init__(self, core: SandboxCore) -> None:
        self.core = core
        self.lock = threading.RLock()
        self.auth = Authorization(core)
        self.users: dict[str, User] = {}
        self.sites: dict[str, Site] = {}
        self.repeats_tokens = False
        """Whether search returns the token it was called with again, forever."""
        self.during_search: Callable[[], None] | None = None
        """Called once, by the next search, when its issues are found and not yet shown: what changes by it is shown
        at its former position."""
        self.page_token_generation = 0
        """Search accepts only page tokens that were made in this generation."""

    def describe(self) -> Mapping[str, Any]:
        """Figures for the index page."""
        with self.lock:
            sites = {
                site.name: {"issues": len(site.issues), "webhooks": len(site.hooks), "cloud_id": site.id}
                for site in self.sites.values()
            }
            return {"users": [user.name for user in self.users.values()], "sites": sites}

    @property
    def families(self) -> TokenFamilies:
        """What consents gave."""
        return self.auth.families

    def live_hooks(self) -> list[StandingHook]:
        """The dynamic webhooks of all sites. An administrator's webhook is not an app's."""
        with self.lock:
            return [
                StandingHook(
                    id=f"{site.id}:{hook.id}",
                    target=site.id,
                    address=hook.url,
                    maker=hook.account_id,
                    expires_at=hook.expires_at,
                )
                for site in self.sites.values()
                for hook in webhooks.live_hooks(site, self.core.clock.now())
            ]

    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that other processes may call."""
        return {name: getattr(self, name) for name in ACTIONS}

    # --- set-up ----------------------------------------------------------------------------------------------------

    def add_app(
        self,
        client_id: str = "sandbox-jira-client",
        client_secret: str = "sandbox-jira-secret-sandbox-jira-secret",  # noqa: S107  opens nothing but the sandbox
        callback_url: str = "http://localhost:8080/connect/jira/callback",
        name: str = "Poblysh",
        owner: str | None = None,
        *,
        is_shared: bool = True,
    ) -> OAuthApp:
        """Register a 3LO app; one with `is_shared` False is private."""
        with self.lock:
            app = OAuthApp(client_id, client_secret, name, callback_url, owner, is_shared)
            self.auth.apps[client_id] = app
            return app

    def add_user(self, name: str, time_zone: str = "Etc/UTC") -> User:
        """A new Atlassian account."""
        with self.lock:
            user = User(f"712020:{name.lower()}", name, time_zone)
            self.users[user.account_id] = user
            return user

    def add_site(self, name: str, users: list[str], *, is_jira: bool = True) -> Site:
        """A site that these accounts can open. Listing an account twice lists the site twice for it, as it happens in
        practice."""
        with self.lock:
            number = len(self.sites) + 1
            site = Site(str(UUID(int=(number << 96) | (4 << 76) | (8 << 60) | number)), name, is_jira)
            self.sites[site.id] = site
            for account_id in users:
                self.users[account_id].site_ids.append(site.id)
            return site

    def add_project(self, site: str, key: str, name: str | None = None, by: str | None = None) -> Project:
        """A new project."""
        with self.lock:
            jira_site = self.sites[site]
            project = Project(jira_site.next_id(), key, name or key.title())
            jira_site.projects[project.id] = project
            shown = render.show_project(jira_site, project)
            self._emit(jira_site, "project_created", self._actor(jira_site, by), None, project=shown)
            return project

    def add_admin_hook(self, site: str, url: str, secret: str | None, events: list[str]) -> AdminHook:
        """A webhook created by hand by the site's administrator."""
        with self.lock:
            hook = AdminHook(url, secret, tuple(events))
            self.sites[site].admin_hooks.append(hook)
            return hook

    def close_site(self, site: str) -> None:
        """Close the site: nothing of it can be reached any more."""
        with self.lock:
            self.sites[site].is_gone = True

    def reopen_site(self, site: str) -> None:
        """Open a closed site again, with all that it had."""
        with self.lock:
            self.sites[site].is_gone = False

    def archive_project(self, site: str, project: str) -> None:
        """Archive a project: its issues leave the search unchanged, and nobody is notified.

        Source: Atlassian Support, Archive a project.
        """
        with self.lock:
            self._project(site, project).is_archived = True

    def restore_project(self, site: str, project: str) -> None:
        """Restore an archived project; its issues are as they were."""
        with self.lock:
            self._project(site, project).is_archived = False

    def hide_project(self, site: str, project: str, account_id: str) -> None:
        """Take the permission to browse a project away from an account. Its issues do not change by that.

        Source: Atlassian Support, Permissions for company-managed projects (Browse Projects).
        """
        with self.lock:
            hidden_from = self._project(site, project).hidden_from
            if account_id not in hidden_from:
                hidden_from.append(account_id)

    def unhide_project(self, site: str, project: str, account_id: str) -> None:
        """Give an account the permission to browse a project."""
        with self.lock:
            hidden_from = self._project(site, project).hidden_from
            if account_id in hidden_from:
                hidden_from.remove(account_id)

    def revoke_consents(self, account_id: str) -> None:
        """The user disconnects every app."""
        with self.lock:
            self.auth.revoke_all(account_id)

    def end_access_tokens(self, account_id: str) -> None:
        """End an account's access tokens before they expire; the refresh tokens still work."""
        with self.lock:
            self.auth.end_accesses(account_id)

    def end_refresh_tokens(self, account_id: str) -> None:
        """End an account's refresh tokens, as a changed password may do; the access tokens still work until they
        expire."""
        with self.lock:
            self.auth.end_refresh_tokens(account_id)

    def drop_hooks(self, site: str) -> None:
        """Forget every dynamic webhook of the site, without a word to anybody."""
        with self.lock:
            self.sites[site].hooks.clear()

    def expire_page_tokens(self) -> None:
        """Let every page token of a search expire now, instead of after seven days."""
        with self.lock:
            self.page_token_generation += 1

    # --- issues ----------------------------------------------------------------------------------------------------

    def create_issue(
        self,
        site: str,
        project: str,
        summary: str = "Something to do",
        by: str | None = None,
        at: str | None = None,
        updated_at: str | None = None,
    ) -> Issue:
        """A new issue; `project` is a key. With `at`, it is imported: it was created then, last updated then (or at
        `updated_at`), and nobody is notified.

        Source: Atlassian Support, Import data from a CSV file ("Date Created", "Date Modified").
        """
        with self.lock:
            jira_site, user = self.sites[site], self._actor(self.sites[site], by)
            home = self._project(site, project)
            home.last_number += 1
            created = self._instant(at)
            issue = Issue(jira_site.next_id(), home.last_number, home, summary, user, created, created)
            self._touch(issue, updated_at or at)
            issue.keep_version(self.core.clock.now())
            jira_site.issues[issue.id] = issue
            if at is None:
                self._emit(jira_site, "jira:issue_created", user, issue, issue_event_type_name="issue_created")
            return issue

    def populate(self, site: str, project: str, count: int = 100, start: str = "2026-01-01T00:00:00+00:00") -> None:
        """Create many old issues, a minute apart, without notifications."""
        first = datetime.fromisoformat(start)
        with self.lock:
            for number in range(count):
                self.create_issue(site, project, f"Item {number}", at=(first + timedelta(minutes=number)).isoformat())

    def move_issue(self, site: str, issue: str, status: str, by: str | None = None, at: str | None = None) -> History:
        """Change the status; `status` is an id or a name. With `at`, it was changed then and nobody is notified."""
        with self.lock:
            found = self.find_issue(self.sites[site], issue)
            new = next(one for one in STATUSES.values() if status in (one.id, one.name))
            old, found.status = found.status, new
            return self._change(site, found, by, _item("status", (old.id, old.name), (new.id, new.name)), at=at)

    def assign_issue(self, site: str, issue: str, to: str | None, by: str | None = None) -> History:
        """Change the assignee."""
        with self.lock:
            found = self.find_issue(self.sites[site], issue)
            old, found.assignee = found.assignee, None if to is None else self.users[to]
            return self._change(site, found, by, _item("assignee", _who(old), _who(found.assignee)))

    def rename_issue(self, site: str, issue: str, summary: str, by: str | None = None) -> History:
        """Change the summary."""
        with self.lock:
            found = self.find_issue(self.sites[site], issue)
            old, found.summary = found.summary, summary
            return self._change(site, found, by, _item("summary", (None, old), (None, summary)))

    def transfer_issue(self, site: str, issue: str, project: str, by: str | None = None) -> History:
        """Move an issue into another project, which gives it another key; its id and its history stay."""
        with self.lock:
            found, home = self.find_issue(self.sites[site], issue), self._project(site, project)
            old, old_key = found.project, found.key
            home.last_number += 1
            found.project, found.number = home, home.last_number
            moved = _item("project", (old.id, old.name), (home.id, home.name))
            return self._change(site, found, by, moved, _item("Key", (None, old_key), (None, found.key)))

    def delete_issue(self, site: str, issue: str, by: str | None = None) -> None:
        """Delete it for good."""
        with self.lock:
            jira_site = self.sites[site]
            found = self.find_issue(jira_site, issue)
            del jira_site.issues[found.id]
            self._emit(jira_site, "jira:issue_deleted", self._actor(jira_site, by), found)

    def find_issue(self, site: Site, issue: str) -> Issue:
        """The issue with this id or key.

        Raises:
            KeyError: there is none.
        """
        found = site.issues.get(issue) or next((one for one in site.issues.values() if one.key == issue), None)
        if found is None:
            raise KeyError(issue)
        return found

    # --- comments and the rest -------------------------------------------------------------------------------------

    def comment(
        self, site: str, issue: str, text: str = "A remark", by: str | None = None, at: str | None = None
    ) -> Comment:
        """Write a comment. With `at`, it was written then and nobody is notified."""
        with self.lock:
            jira_site, found = self.sites[site], self.find_issue(self.sites[site], issue)
            user, now = self._actor(jira_site, by), self._touch(found, at)
            comment = Comment(jira_site.next_id(), user, text, now, now, user)
            found.comments.append(comment)
            found.keep_version(self.core.clock.now())
            if at is None:
                self._notify_comment(jira_site, found, comment, user, "created", "issue_commented")
            return comment

    def edit_comment(self, site: str, issue: str, comment: str, text: str, by: str | None = None) -> Comment:
        """Change a comment."""
        with self.lock:
            jira_site, found = self.sites[site], self.find_issue(self.sites[site], issue)
            mine = next(one for one in found.comments if one.id == comment)
            mine.editor, mine.text, mine.updated = self._actor(jira_site, by), text, self._touch(found, None)
            found.keep_version(self.core.clock.now())
            self._notify_comment(jira_site, found, mine, mine.editor, "updated", "issue_comment_edited")
            return mine

    def delete_comment(self, site: str, issue: str, comment: str, by: str | None = None) -> None:
        """Delete a comment."""
        with self.lock:
            jira_site, found = self.sites[site], self.find_issue(self.sites[site], issue)
            mine = next(one for one in found.comments if one.id == comment)
            found.comments.remove(mine)
            self._touch(found, None)
            found.keep_version(self.core.clock.now())
            self._notify_comment(jira_site, found, mine, self._actor(jira_site, by), "deleted", "issue_comment_deleted")

    def log_work(self, site: str, issue: str, by: str | None = None) -> None:
        """Log an hour of work; only administrators' webhooks report it."""
        with self.lock:
            jira_site, found = self.sites[site], self.find_issue(self.sites[site], issue)
            user, worklog_id = self._actor(jira_site, by), jira_site.next_id()
            worklog = {
                "self": f"{jira_site.url}/rest/api/2/issue/{found.id}/worklog/{worklog_id}",
                "id": worklog_id,
                "issueId": found.id,
                "author": render.show_user(jira_site, user),
                "started": render.show_time(self._now()),
                "timeSpentSeconds": 3600,
            }
            self._emit(jira_site, "worklog_created", user, None, worklog=worklog)

    def start_sprint(self, site: str, sprint: int, name: str) -> None:
        """Start a sprint."""
        self._notify_sprint(site, "sprint_started", {"id": sprint, "name": name, "state": "active"})

    def close_sprint(self, site: str, sprint: int, name: str) -> None:
        """Close a sprint."""
        self._notify_sprint(site, "sprint_closed", {"id": sprint, "name": name, "state": "closed"})

    def release_version(self, site: str, project: str, version: int, name: str) -> None:
        """Release a version of a project."""
        with self.lock:
            jira_site = self.sites[site]
            home = self._project(site, project)
            link = f"{jira_site.url}/rest/api/2/version/{version}"
            shown = {"self": link, "id": str(version), "name": name, "released": True, "projectId": int(home.id)}
            self._emit(jira_site, "jira:version_released", self._actor(jira_site, None), None, version=shown)

    # --- for the routes --------------------------------------------------------------------------------------------

    def authenticate(self, header: str) -> Access | None:
        """The access token of an `Authorization` header."""
        scheme, _, token = header.partition(" ")
        return self.auth.find_access(token) if scheme.lower() == "bearer" else None

    def describe_sites(self, access: Access) -> list[dict[str, Any]]:
        """The list of `accessible-resources`: each product of each site, repeated if a site is."""
        user = self.users[access.family.user]
        listed = [self.sites[site_id] for site_id in user.site_ids]
        jira_scopes = [scope for scope in access.family.scopes if "jira" in scope]
        return [
            {
                "id": jira_site.id,
                "name": jira_site.name,
                "url": jira_site.url,
                "scopes": jira_scopes if jira_site.is_jira else ["read:confluence-content.all"],
                "avatarUrl": f"{jira_site.url}/avatar.png",
            }
            for jira_site in listed
            if not jira_site.is_gone
        ]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        now = self.core.clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)  # Jira keeps milliseconds

    def _instant(self, at: str | None) -> datetime:
        return self._now() if at is None else datetime.fromisoformat(at).astimezone(UTC)

    def _project(self, site: str, key: str) -> Project:
        return next(one for one in self.sites[site].projects.values() if one.key == key)

    def _touch(self, issue: Issue, at: str | None) -> datetime:
        """The instant of a change, now or in the past; `updated` never goes back to the past for an import."""
        instant = self._instant(at)
        issue.updated = instant if at is None else max(instant, issue.updated)
        return instant

    def _actor(self, site: Site, by: str | None) -> User:
        if by is not None:
            return self.users[by]
        return next(user for user in self.users.values() if site.id in user.site_ids)

    def _change(
        self, site: str, issue: Issue, by: str | None, *items: dict[str, Any], at: str | None = None
    ) -> History:
        jira_site = self.sites[site]
        changed_at = self._touch(issue, at)
        history = History(jira_site.next_id(), self._actor(jira_site, by), changed_at, list(items))
        issue.histories.append(history)
        issue.keep_version(self.core.clock.now())
        if at is None:
            changelog = {"id": history.id, "items": history.items}
            name = EVENT_TYPES.get(items[0]["field"], "issue_generic")
            user = history.author
            self._emit(jira_site, "jira:issue_updated", user, issue, issue_event_type_name=name, changelog=changelog)
        return history

    def _notify_comment(self, site: Site, issue: Issue, comment: Comment, user: User, what: str, name: str) -> None:
        shown = render.show_comment(site, issue, comment, version=2)
        if site.comment_style in {"comment", "both"}:
            self._emit(site, f"comment_{what}", None, issue, by=user, comment=shown)
        if site.comment_style in {"issue", "both"}:
            self._emit(site, "jira:issue_updated", user, issue, issue_event_type_name=name, comment=shown)

    def _notify_sprint(self, site: str, event: str, sprint: dict[str, Any]) -> None:
        with self.lock:
            jira_site = self.sites[site]
            shown = {"self": f"{jira_site.url}/rest/agile/1.0/sprint/{sprint['id']}", "originBoardId": 1, **sprint}
            self._emit(jira_site, event, None, None, by=self._actor(jira_site, None), sprint=shown)

    def _emit(
        self, site: Site, event: str, user: User | None, issue: Issue | None, by: User | None = None, **members: Any
    ) -> None:
        """Notify every webhook that wants the event; one delivery per app, however many webhooks it has."""
        now, actor = self.core.clock.now(), user or by
        account_id = "unknown" if actor is None else actor.account_id
        payload: dict[str, Any] = {"timestamp": render.epoch_ms(now), "webhookEvent": event, **members}
        if user is not None:
            payload["user"] = render.show_user(site, user)
        if issue is not None:
            fields = render.show_fields(site, issue, version=2)
            if event.startswith("comment_"):
                fields = {name: fields[name] for name in ("summary", "issuetype", "priority", "status", "assignee")}
            payload["issue"] = render.show_issue(site, issue, fields, version=2)
        for app in self.auth.apps.values():
            hooks = [
                hook
                for hook in webhooks.live_hooks(site, now)
                if hook.client_id == app.client_id
                and (app.is_shared or hook.account_id == app.owner)
                and webhooks.fits(hook, event, issue)
            ]
            if hooks:
                matched = {**payload, "matchedWebhookIds": [hook.id for hook in hooks]}
                webhooks.send_dynamic(self.core, site, app, hooks[0].url, account_id, matched)
        for admin_hook in site.admin_hooks:
            if event in admin_hook.events:
                webhooks.send_admin(self.core, site, admin_hook, account_id, payload)


def _item(field: str, old: tuple[str | None, str | None], new: tuple[str | None, str | None]) -> dict[str, Any]:
    return {
        "field": field,
        "fieldtype": "jira",
        "fieldId": field,
        "from": old[0],
        "fromString": old[1],
        "to": new[0],
        "toString": new[1],
    }


def _who(user: User | None) -> tuple[str | None, str | None]:
    return (None, None) if user is None else (user.account_id, user.name)
