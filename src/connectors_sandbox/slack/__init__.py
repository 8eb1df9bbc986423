"""Simulates Slack: OAuth v2 with and without rotation, the Web API, the Events API; see `world.SlackWorld`."""

from flask import Blueprint

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.slack.oauth import add_authorize_route
from connectors_sandbox.slack.web_api import add_web_api
from connectors_sandbox.slack.world import SlackWorld

__all__ = ["SlackWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> SlackWorld:
    """A Slack without workspaces."""
    return SlackWorld(core)


def create_blueprint(world: SlackWorld) -> Blueprint:
    """Slack's one host: consent below `/oauth/v2`, methods below `/api`."""
    blueprint = Blueprint("slack", __name__)
    add_authorize_route(blueprint, world)
    add_web_api(blueprint, world)
    return blueprint
