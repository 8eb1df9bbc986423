"""Plays GitHub: OAuth app, REST v3, repository and organization webhooks; see `world.GitHubWorld` for the levers."""

from flask import Blueprint

from connectors.entrypoints.sandbox.core import SandboxCore
from connectors.entrypoints.sandbox.github.api import Api
from connectors.entrypoints.sandbox.github.hooks import HookViews
from connectors.entrypoints.sandbox.github.oauth import add_oauth_routes
from connectors.entrypoints.sandbox.github.resources import Resources
from connectors.entrypoints.sandbox.github.world import GitHubWorld

__all__ = ["GitHubWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> GitHubWorld:
    """A GitHub without users."""
    return GitHubWorld(core)


def create_blueprint(world: GitHubWorld) -> Blueprint:
    """GitHub's web and API hosts under one roof, as GitHub Enterprise Server has them."""
    blueprint = Blueprint("github", __name__)
    add_oauth_routes(blueprint, world)
    api = Api(Blueprint("api", __name__), world)
    api.install()
    Resources(api).install()
    HookViews(api).install()
    blueprint.register_blueprint(api.blueprint, url_prefix="/api/v3")
    return blueprint
