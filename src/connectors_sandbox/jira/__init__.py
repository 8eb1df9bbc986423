"""Simulates Atlassian for Jira Cloud: 3LO consent, sites, REST v3, dynamic and admin webhooks (`world.JiraWorld`)."""

from flask import Blueprint

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.jira.api import add_api_routes
from connectors_sandbox.jira.oauth import add_oauth_routes
from connectors_sandbox.jira.world import JiraWorld

__all__ = ["JiraWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> JiraWorld:
    """An Atlassian without users or sites."""
    return JiraWorld(core)


def create_blueprint(world: JiraWorld) -> Blueprint:
    """Atlassian's authorization server and API gateway under one URL."""
    blueprint = Blueprint("jira", __name__)
    add_oauth_routes(blueprint, world)
    add_api_routes(blueprint, world)
    return blueprint
