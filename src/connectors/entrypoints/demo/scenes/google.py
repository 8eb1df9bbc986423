"""Google: a file, a meeting and a message."""

from collections.abc import Mapping
from datetime import timedelta

from connectors.entrypoints.demo.scenes.scene import Scene
from connectors_sandbox import Sandbox, SandboxServer
from connectors_sandbox.google.pubsub import TOPIC

APP, APP_SECRET = "demo-google-app", "demo-google-app-secret"
ADA = "ada@acme.example"
PUSH_ACCOUNT = "push@demo.iam.gserviceaccount.example"


def _settings(server: SandboxServer) -> Mapping[str, str]:
    return {
        "POBLYSH_GOOGLE_CLIENT_ID": APP,
        "POBLYSH_GOOGLE_CLIENT_SECRET": APP_SECRET,
        "POBLYSH_GOOGLE_BASE_URL": server.base_url("google"),
        "POBLYSH_GMAIL_PUBSUB_TOPIC": TOPIC,
        "POBLYSH_GMAIL_PUSH_SERVICE_ACCOUNT": PUSH_ACCOUNT,
    }


def _prepare(sandbox: Sandbox, redirect_uri: str) -> None:
    google = sandbox.google
    google.add_client(APP, APP_SECRET, redirect_uris=[redirect_uri])
    if ADA not in google.users:
        google.add_user(ADA, "Ada Nowak")


def _play_drive(sandbox: Sandbox) -> None:
    google = sandbox.google
    plan = google.create_file("Launch plan", by=ADA)
    # Drive's times have milliseconds: within one, nobody could tell that the file was changed after it was made.
    sandbox.clock.advance(timedelta(milliseconds=10))
    google.rename_file(plan, "Launch plan, final", by=ADA)


def _play_calendar(sandbox: Sandbox) -> None:
    google = sandbox.google
    google.create_event("Countdown rehearsal", by=ADA)


def _finish_gmail(sandbox: Sandbox, webhook_url: str) -> None:
    """In the Cloud console: a push subscription of the topic that Gmail publishes to."""
    sandbox.google.add_push_subscription(webhook_url, service_account=PUSH_ACCOUNT)


def _play_gmail(sandbox: Sandbox) -> None:
    google = sandbox.google
    # Gmail notifies once a second at the most, and the new watch has just been announced.
    sandbox.clock.advance(timedelta(seconds=2))
    google.receive_email(ADA, sender="Lee Okafor <lee@acme.example>", subject="Go for launch?")
    google.send_email(ADA, to="lee@acme.example", subject="Re: Go for launch?")


GOOGLE_DRIVE = Scene(slug="google-drive", settings=_settings, prepare=_prepare, play=_play_drive)
GOOGLE_CALENDAR = Scene(slug="google-calendar", settings=_settings, prepare=_prepare, play=_play_calendar)
GMAIL = Scene(slug="gmail", settings=_settings, prepare=_prepare, finish=_finish_gmail, play=_play_gmail)
