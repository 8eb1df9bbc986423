"""GitHub: a small team's morning."""

from collections.abc import Mapping

from connectors.entrypoints.demo.scenes.scene import Scene
from connectors_sandbox import Sandbox, SandboxServer

APP, APP_SECRET = "demo-github-app", "demo-github-app-secret"
REPOSITORY = "acme/rockets"


def _settings(server: SandboxServer) -> Mapping[str, str]:
    return {
        "POBLYSH_GITHUB_CLIENT_ID": APP,
        "POBLYSH_GITHUB_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_GITHUB_BASE_URL": server.base_url("github"),
    }


def _prepare(sandbox: Sandbox, redirect_uri: str) -> None:
    github = sandbox.github
    github.add_app(APP, APP_SECRET, callback_url=redirect_uri, is_expiring=True)
    github.add_user("ada", name="Ada Nowak")
    github.add_user("lee", name="Lee Okafor")
    github.add_organization("acme", owner="ada", name="Acme Rockets")
    github.add_repository(REPOSITORY)
    github.add_collaborator(REPOSITORY, "lee")


def _play(sandbox: Sandbox) -> None:
    github = sandbox.github
    issue = github.open_issue(REPOSITORY, "Second stage separates too early", by="lee")
    github.assign(REPOSITORY, issue.number, "ada", by="lee")
    github.comment(REPOSITORY, issue.number, "Telemetry says 0.8 s.", by="ada")
    pull = github.open_pull(REPOSITORY, "Wait for the pressure sensor", by="ada")
    github.request_review(REPOSITORY, pull.number, "lee", by="ada")
    github.review(REPOSITORY, pull.number, by="lee", state="APPROVED", body="Flies.")
    github.merge_pull(REPOSITORY, pull.number, by="ada")
    github.close_issue(REPOSITORY, issue.number, by="ada")
    github.push(REPOSITORY, by="ada", messages=["Tune the valve", "Update the checklist"])
    github.publish_release(REPOSITORY, "v1.1.0", by="ada", name="Hold your breath")
    github.star(REPOSITORY, by="lee")


GITHUB = Scene(
    slug="github",
    settings=_settings,
    prepare=_prepare,
    play=_play,
    options={"repositories": [REPOSITORY]},
)
