"""Accounts, repositories, and who may see them."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.delivery import Outgoing
from connectors_sandbox.github.authorization import Authorization, OAuthApp
from connectors_sandbox.github.records import Account, AccountKind, Permission, Repository
from connectors_sandbox.github.render import Json, Renderer
from connectors_sandbox.github.webhooks import Hook, HookRegistry

FIRST_ID: Final = 1_000_001
"""The first ids, chosen like GitHub's: unrelated to the number of things."""

DEFAULT_CLIENT_ID: Final = "Ov23sandboxgithub"
DEFAULT_CLIENT_SECRET: Final = "sandbox-github-secret"  # noqa: S105  guards nothing real
HOUR: Final = timedelta(hours=1)
HOURLY_LIMIT: Final = 5_000
"""Requests per user and hour; the primary limit."""


@attrs.define(eq=False)
class RateWindow:
    """A user's rate limit in the current hour."""

    limit: int
    used: int
    resets_at: datetime


class Directory:
    """The accounts, their repositories and hooks. `lock` guards the whole state of the world."""

    def __init__(self, core: SandboxCore) -> None:
        self.core = core
        self.lock = threading.RLock()
        self._last_id = FIRST_ID
        self.accounts: dict[int, Account] = {}
        self.repositories: dict[int, Repository] = {}
        self.renamed: dict[str, int] = {}
        """Old full names in lower case, and the repository that a 301 leads to."""
        self.sign_on: dict[int, set[str]] = {}
        """Organizations that ask for single sign-on, by id, with the apps that are authorized for them."""
        self.deleted: dict[int, Repository] = {}
        """Repositories that can be restored."""
        self.rate_windows: dict[int, RateWindow] = {}
        self.hourly_limit = HOURLY_LIMIT
        self.auth = Authorization(core)
        self.hooks = HookRegistry(core, self.next_id)

    def next_id(self) -> int:
        """A number that is not in use."""
        with self.lock:
            self._last_id += 7
            return self._last_id

    def now(self) -> datetime:
        """The current instant in GitHub's resolution, whole seconds."""
        return self.core.clock.now().replace(microsecond=0)

    def new_sha(self) -> str:
        """A new commit id."""
        return self.core.random_string(40, "0123456789abcdef")

    @property
    def renderer(self) -> Renderer:
        """A renderer with the sandbox's current address."""
        return Renderer(self.core.base_url("github"), self.accounts.__getitem__)

    def add_app(
        self,
        client_id: str = DEFAULT_CLIENT_ID,
        client_secret: str = DEFAULT_CLIENT_SECRET,
        *,
        name: str = "Poblysh",
        callback_url: str = "http://127.0.0.1/callback",
        is_expiring: bool = False,
    ) -> OAuthApp:
        """Register an OAuth app, or change the one with that id."""
        with self.lock:
            app = OAuthApp(client_id, client_secret, name, callback_url, is_expiring)
            self.auth.apps[client_id] = app
            return app

    def add_user(
        self, login: str, *, name: str | None = None, email: str | None = None, kind: AccountKind = "User"
    ) -> Account:
        """A new account.

        Raises:
            ValueError: the login is taken.
        """
        with self.lock:
            if self.find_account(login) is not None:
                msg = f"the login {login!r} is taken"
                raise ValueError(msg)
            account = Account(self.next_id(), login, kind, self.now(), name, email)
            self.accounts[account.id] = account
            return account

    def add_organization(self, login: str, *, owner: str, name: str | None = None) -> Account:
        """A new organization owned by a user."""
        with self.lock:
            organization = self.add_user(login, name=name, kind="Organization")
            owner_id = self.account(owner).id
            organization.owners.add(owner_id)
            organization.members.add(owner_id)
            return organization

    def add_repository(self, full_name: str, *, private: bool = False, description: str | None = None) -> Repository:
        """A new repository of an existing account; `full_name` is `owner/name`."""
        with self.lock:
            owner, _, name = full_name.partition("/")
            now = self.now()
            repo = Repository(self.next_id(), self.account(owner), name, private, now, now, now, description)
            repo.branches[repo.default_branch] = self.new_sha()
            self.repositories[repo.id] = repo
            return repo

    def account(self, login: str) -> Account:
        """The account with this login.

        Raises:
            LookupError: there is none.
        """
        found = self.find_account(login)
        if found is None:
            msg = f"no account {login!r}"
            raise LookupError(msg)
        return found

    def find_account(self, login: str) -> Account | None:
        """The account with this login in any case, or None."""
        wanted = login.lower()
        return next((one for one in self.accounts.values() if one.login.lower() == wanted), None)

    def repository(self, full_name: str) -> Repository:
        """The repository with this name.

        Raises:
            LookupError: there is none.
        """
        found = self.find_repository(full_name)
        if found is None:
            msg = f"no repository {full_name!r}"
            raise LookupError(msg)
        return found

    def find_repository(self, full_name: str) -> Repository | None:
        """The repository with this name in any case, or None."""
        wanted = full_name.lower()
        return next((repo for repo in self.repositories.values() if repo.full_name.lower() == wanted), None)

    def rename_repository(self, full_name: str, new_name: str) -> Repository:
        """Rename the repository; the old address answers 301 from now on."""
        with self.lock:
            repo = self.repository(full_name)
            self.renamed[repo.full_name.lower()] = repo.id
            old_name, repo.name = repo.name, new_name
            changes = {"repository": {"name": {"from": old_name}}}
            self.emit("repository", "renamed", repo, repo.owner.login, changes=lambda: changes)
            return repo

    def delete_repository(self, full_name: str) -> None:
        """Delete a repository and its hooks."""
        with self.lock:
            repo = self.repository(full_name)
            self.deleted[repo.id] = self.repositories.pop(repo.id)
            for hook in self.hooks.of("repository", repo.id):
                del self.hooks.hooks[hook.id]

    def restore_repository(self, repository_id: int) -> Repository:
        """Bring a deleted repository back, with its id and contents and without its hooks.

        Raises:
            LookupError: none with that id was deleted, or its name is taken.

        Source: docs.github.com, "Restoring a deleted repository" (hooks are not mentioned).
        """
        with self.lock:
            repo = self.deleted[repository_id]
            if self.find_repository(repo.full_name) is not None:
                msg = f"the name {repo.full_name!r} is taken"
                raise LookupError(msg)
            self.repositories[repo.id] = self.deleted.pop(repo.id)
            return repo

    def remove_member(self, organization: str, login: str) -> None:
        """A user leaves an organization; its private repositories answer 404 to them from now on."""
        with self.lock:
            org, user = self.account(organization), self.account(login)
            org.members.discard(user.id)
            org.owners.discard(user.id)

    def add_collaborator(
        self, full_name: str, login: str, permission: str = "write", *, by: str | None = None
    ) -> list[Outgoing]:
        """Give a user access; sends `member` `added`."""
        with self.lock:
            repo, user = self.repository(full_name), self.account(login)
            repo.collaborators[user.id] = Permission(permission)
            return self.emit(
                "member",
                "added",
                repo,
                by or repo.owner.login,
                member=lambda: self.renderer.user(user),
                changes=lambda: {"permission": {"to": permission}},
            )

    def remove_collaborator(self, full_name: str, login: str, *, by: str | None = None) -> list[Outgoing]:
        """Remove a user's access; sends `member` `removed`. Private repositories answer 404 from now on."""
        with self.lock:
            repo, user = self.repository(full_name), self.account(login)
            repo.collaborators.pop(user.id, None)
            return self.emit("member", "removed", repo, by or repo.owner.login, member=lambda: self.renderer.user(user))

    def add_member(self, organization: str, login: str, *, role: str = "member") -> list[Outgoing]:
        """Add a user to an organization; sends `organization` `member_added`."""
        with self.lock:
            org, user = self.account(organization), self.account(login)
            org.members.add(user.id)
            if role == "admin":
                org.owners.add(user.id)
            render = self.renderer
            url = f"{render.api}/orgs/{org.login}"

            def payload() -> Json:
                membership = {
                    "url": f"{url}/memberships/{user.login}",
                    "state": "active",
                    "role": role,
                    "organization_url": url,
                    "user": render.user(user),
                }
                sender = render.user_by_id(next(iter(org.owners)))
                common = {"organization": render.organization(org), "sender": sender}
                return {"action": "member_added", "membership": membership, **common}

            return self.hooks.emit("organization", self.hooks.of("organization", org.id), payload)

    def permission_of(self, user_id: int | None, repo: Repository) -> Permission | None:
        """What a user may do in a repository; None for nothing at all. Everybody may read public ones."""
        if user_id is not None:
            if user_id == repo.owner.id or user_id in repo.owner.owners:
                return Permission.ADMIN
            if user_id in repo.collaborators:
                return repo.collaborators[user_id]
            if user_id in repo.owner.members:
                return Permission.READ
        return None if repo.is_private else Permission.READ

    def repositories_of(self, user_id: int) -> list[Repository]:
        """The repositories of `GET /user/repos`: owned, shared, or through an organization."""
        return [
            repo
            for repo in self.repositories.values()
            if user_id == repo.owner.id or user_id in repo.collaborators or user_id in repo.owner.members
        ]

    def rate_window(self, user_id: int) -> RateWindow:
        """A user's current rate limit hour; a new one starts when the last is over."""
        now = self.core.clock.now()
        window = self.rate_windows.get(user_id)
        if window is None or window.resets_at <= now:
            window = RateWindow(self.hourly_limit, 0, now.replace(microsecond=0) + HOUR)
            self.rate_windows[user_id] = window
        return window

    def set_remaining(self, login: str, remaining: int) -> RateWindow:
        """Leave a user that many requests in the current hour."""
        with self.lock:
            window = self.rate_window(self.account(login).id)
            window.used = max(0, window.limit - remaining)
            return window

    def emit(self, event: str, action: str | None, repo: Repository, by: str, **parts: Any) -> list[Outgoing]:
        """Send a repository's event to its hooks and its organization's.

        A part is a JSON value, or a function that returns one and is called only if a hook wants the event.
        """
        render, sender = self.renderer, self.account(by)

        def payload() -> Mapping[str, Any]:
            rendered: Json = {} if action is None else {"action": action}
            rendered.update({name: part() if callable(part) else part for name, part in parts.items()})
            rendered.setdefault("repository", render.repository(repo))
            if repo.owner.kind == "Organization":
                rendered["organization"] = render.organization(repo.owner)
            return {**rendered, "sender": render.user(sender)}

        return self.hooks.emit(event, self.hooks_on(repo), payload)

    def hooks_on(self, repo: Repository) -> list[Hook]:
        """The hooks of a repository, and those of the organization that owns it."""
        return [*self.hooks.of("repository", repo.id), *self.hooks.of("organization", repo.owner.id)]
