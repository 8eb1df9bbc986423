"""Simulates Zoho: OAuth, Mail and Cliq in two data centres, Mail's webhook and Cliq's bots; see `world.ZohoWorld`."""

from flask import Blueprint

from connectors_sandbox.core import SandboxCore
from connectors_sandbox.zoho.cliq_api import add_cliq_routes
from connectors_sandbox.zoho.mail_api import add_mail_routes
from connectors_sandbox.zoho.oauth import add_oauth_routes
from connectors_sandbox.zoho.world import ZohoWorld

__all__ = ["ZohoWorld", "create_blueprint", "create_world"]


def create_world(core: SandboxCore) -> ZohoWorld:
    """A Zoho without users."""
    return ZohoWorld(core)


def create_blueprint(world: ZohoWorld) -> Blueprint:
    """All of Zoho's hosts under one URL: `/<data centre>/accounts`, `/<data centre>/mail`, `/<data centre>/cliq`."""
    blueprint = Blueprint("zoho", __name__)
    add_oauth_routes(blueprint, world)
    add_mail_routes(blueprint, world)
    add_cliq_routes(blueprint, world)
    return blueprint
