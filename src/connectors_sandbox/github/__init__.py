"""Simulates GitHub: OAuth app, REST v3, repository and organization webhooks; see `world.GitHubWorld`."""

from flask import Blueprint

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.github.api import Api
from connectors_sandbox.github.hooks import HookViews
from connectors_sandbox.github.oauth import add_oauth_routes
from connectors_sandbox.github.resources import Resources
from connectors_sandbox.github.world import GitHubWorld

__all__ = ["GitHubWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> GitHubWorld:
    """A GitHub without users."""
    return GitHubWorld(core)


def create_blueprint(world: GitHubWorld) -> Blueprint:
    """GitHub's web and API hosts under one URL, as in GitHub Enterprise Server."""
    blueprint = Blueprint("github", __name__)
    add_oauth_routes(blueprint, world)
    api = Api(Blueprint("api", __name__), world)
    api.install()
    Resources(api).install()
    HookViews(api).install()
    blueprint.register_blueprint(api.blueprint, url_prefix="/api/v3")
    return blueprint
