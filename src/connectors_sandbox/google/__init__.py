"""Simulates Google: OAuth, Drive, Calendar, Gmail, push channels and Pub/Sub; see `world.GoogleWorld`."""

from flask import Blueprint

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.google.api import Api
from connectors_sandbox.google.calendar_api import CalendarViews
from connectors_sandbox.google.drive_api import DriveViews
from connectors_sandbox.google.gmail_api import GmailViews
from connectors_sandbox.google.oauth import add_oauth_routes
from connectors_sandbox.google.world import GoogleWorld

__all__ = ["GoogleWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> GoogleWorld:
    """A Google without accounts."""
    return GoogleWorld(core)


def create_blueprint(world: GoogleWorld) -> Blueprint:
    """All of Google's hosts under one URL."""
    blueprint = Blueprint("google", __name__)
    add_oauth_routes(blueprint, world)
    api = Api(blueprint, world)
    DriveViews(api).install()
    CalendarViews(api).install()
    GmailViews(api).install()
    return blueprint
