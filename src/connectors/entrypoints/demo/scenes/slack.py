"""Slack: people talk in a channel."""

from collections.abc import Mapping

from connectors.entrypoints.demo.scenes.scene import Scene
from connectors_sandbox import Sandbox, SandboxServer

APP, APP_SECRET, SIGNING_SECRET = "demo-slack-app", "demo-slack-app-secret", "demo-signing-secret"
TEAM = "acme"


def _settings(server: SandboxServer) -> Mapping[str, str]:
    return {
        "POBLYSH_SLACK_CLIENT_ID": APP,
        "POBLYSH_SLACK_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "POBLYSH_SLACK_BASE_URL": server.base_url("slack"),
    }


def _prepare(sandbox: Sandbox, redirect_uri: str) -> None:
    slack = sandbox.slack
    slack.add_app(APP, APP_SECRET, redirect_urls=[redirect_uri], signing_secret=SIGNING_SECRET, rotating=True)
    slack.add_team(TEAM, name="Acme Rockets")
    slack.add_user(TEAM, "ada", real_name="Ada Nowak")
    slack.add_user(TEAM, "lee", real_name="Lee Okafor")
    slack.add_channel(TEAM, "launch", by="ada")


def _finish(sandbox: Sandbox, webhook_url: str) -> None:
    """In the app's settings: save the Request URL, which Slack checks with a challenge. Then: invite the bot."""
    sandbox.slack.save_request_url(APP, webhook_url)
    sandbox.slack.invite_bots(TEAM, "launch", by="ada")


def _play(sandbox: Sandbox) -> None:
    slack = sandbox.slack
    question = slack.post(TEAM, "launch", "Is the pressure sensor in?", by="lee")
    slack.post(TEAM, "launch", "Merged an hour ago.", by="ada", thread=question)
    slack.add_reaction(TEAM, "launch", question, "rocket", by="ada")
    slack.edit(TEAM, "launch", question, "Is the new pressure sensor in?", by="lee")
    slack.add_channel(TEAM, "telemetry", by="lee")


SLACK = Scene(slug="slack", settings=_settings, prepare=_prepare, finish=_finish, play=_play)
