"""Zoho: a channel with a bot that forwards messages, and a mailbox."""

import secrets
from collections.abc import Mapping

from connectors.entrypoints.demo.scenes.scene import Scene
from connectors_sandbox import Sandbox, SandboxServer

APP = f"1000.DEMO{secrets.token_hex(4).upper()}"
"""A new app for each run: the sandbox is new, too, but stored rate limits of the last run would make this one wait."""
APP_SECRET = "demo-zoho-app-secret"  # noqa: S105 - opens nothing but the sandbox
BOT_SECRET = "demo-bot-secret"  # noqa: S105 - opens nothing but the sandbox
EVA = "eva@acme.example"
CHANNEL = "launchpad"


def _settings(server: SandboxServer) -> Mapping[str, str]:
    return {
        "POBLYSH_ZOHO_CLIENT_ID": APP,
        "POBLYSH_ZOHO_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_ZOHO_BASE_URL": server.base_url("zoho"),
        "POBLYSH_ZOHO_CLIQ_WEBHOOK_SECRET": BOT_SECRET,
    }


def _prepare(sandbox: Sandbox, redirect_uri: str) -> None:
    zoho = sandbox.zoho
    zoho.add_client(APP, APP_SECRET, redirect_uris=[redirect_uri])
    if EVA not in zoho.mailboxes:
        zoho.add_user(EVA, name="Eva Lind", location="eu")
        zoho.add_channel(CHANNEL, [EVA], location="eu")


def _finish_cliq(sandbox: Sandbox, webhook_url: str) -> None:
    """In Cliq's bot editor: the script that forwards messages to us."""
    zoho = sandbox.zoho
    bot = zoho.add_bot("Signals", webhook_url, kind="deluge", secret=BOT_SECRET, location="eu")
    zoho.add_bot_to_channel(bot.id, next(iter(zoho.chats)), by=EVA)


def _play_cliq(sandbox: Sandbox) -> None:
    zoho = sandbox.zoho
    chat = next(iter(zoho.chats))
    message = zoho.post_message(chat, "Gantry is clear.", by=EVA)
    zoho.edit_message(chat, message.id, "Gantry is clear and cold.")


def _finish_mail(sandbox: Sandbox, webhook_url: str) -> None:
    """In the mailbox's settings: an outgoing webhook, which sends us its secret once."""
    sandbox.zoho.save_mail_webhook(EVA, webhook_url)


def _play_mail(sandbox: Sandbox) -> None:
    zoho = sandbox.zoho
    zoho.receive_mail(EVA, "Weather for tomorrow", sender="Lee Okafor", from_address="lee@acme.example")
    zoho.send_mail(EVA, "Re: Weather for tomorrow")


ZOHO_CLIQ = Scene(slug="zoho-cliq", settings=_settings, prepare=_prepare, finish=_finish_cliq, play=_play_cliq)
ZOHO_MAIL = Scene(slug="zoho-mail", settings=_settings, prepare=_prepare, finish=_finish_mail, play=_play_mail)
