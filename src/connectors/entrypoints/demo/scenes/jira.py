"""Jira: an issue moves across the board."""

from collections.abc import Mapping

from connectors.entrypoints.demo.scenes.scene import Scene
from connectors_sandbox import Sandbox, SandboxServer

APP = "demo-jira-app"
APP_SECRET = "demo-jira-app-secret-of-a-length-that-hs256-likes"  # noqa: S105 - opens nothing but the sandbox


def _settings(server: SandboxServer) -> Mapping[str, str]:
    return {
        "POBLYSH_JIRA_CLIENT_ID": APP,
        "POBLYSH_JIRA_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_JIRA_BASE_URL": server.base_url("jira"),
    }


def _prepare(sandbox: Sandbox, redirect_uri: str) -> None:
    jira = sandbox.jira
    jira.add_app(APP, APP_SECRET, callback_url=redirect_uri)
    ada = jira.add_user("Ada")
    site = jira.add_site("acme", [ada.account_id])
    jira.add_project(site.id, "ROCK", "Rockets")


def _play(sandbox: Sandbox) -> None:
    jira = sandbox.jira
    site = next(iter(jira.sites))
    ada = next(iter(jira.users))
    issue = jira.create_issue(site, "ROCK", "Fuel gauge sticks", by=ada)
    jira.assign_issue(site, issue.key, ada, by=ada)
    jira.move_issue(site, issue.key, "In Progress", by=ada)
    jira.comment(site, issue.key, "It was the cold.", by=ada)
    jira.move_issue(site, issue.key, "Done", by=ada)


JIRA = Scene(slug="jira", settings=_settings, prepare=_prepare, play=_play)
