"""Builds a sandbox: one Flask app, one world per provider."""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol, cast

import attrs
from flask import Blueprint, Flask, Response
from werkzeug.wrappers import Request

from connectors_sandbox import github, google, jira, slack, zoho
from connectors_sandbox.clock import SandboxClock
from connectors_sandbox.control import create_control_blueprint
from connectors_sandbox.core import LoggedRequest, SandboxCore, StandingHook, World
from connectors_sandbox.delivery import DeliveryService, Outgoing, Sender
from connectors_sandbox.families import Family
from connectors_sandbox.faults import FaultBook, FaultMiddleware
from connectors_sandbox.github.world import GitHubWorld
from connectors_sandbox.google.world import GoogleWorld
from connectors_sandbox.jira import JiraWorld
from connectors_sandbox.slack.world import SlackWorld
from connectors_sandbox.zoho.world import ZohoWorld

DEFAULT_URL: Final = "http://localhost"
"""The base URL of werkzeug's test client; a server replaces it when it starts."""


class ProviderPackage(Protocol):
    """What a package `connectors_sandbox/<provider>/` exposes."""

    def create_world(self, core: SandboxCore) -> World:
        """A fresh, empty world."""

    def create_blueprint(self, world: Any) -> Blueprint:
        """The HTTP side of that world."""


PROVIDERS: Final[tuple[tuple[str, ProviderPackage], ...]] = (
    ("github", github),
    ("google", google),
    ("jira", jira),
    ("slack", slack),
    ("zoho", zoho),
)
"""Every provider, by the path segment under which it is mounted."""


@attrs.frozen(eq=False)
class Sandbox:
    """A sandbox, ready to be served or called through a test client."""

    core: SandboxCore
    app: Flask
    worlds: Mapping[str, World]

    @property
    def github(self) -> GitHubWorld:
        """GitHub's world."""
        return cast("GitHubWorld", self.worlds["github"])

    @property
    def jira(self) -> JiraWorld:
        """Jira's world."""
        return cast("JiraWorld", self.worlds["jira"])

    @property
    def google(self) -> GoogleWorld:
        """Google's world: Drive, Calendar and Gmail."""
        return cast("GoogleWorld", self.worlds["google"])

    @property
    def slack(self) -> SlackWorld:
        """Slack's world."""
        return cast("SlackWorld", self.worlds["slack"])

    @property
    def zoho(self) -> ZohoWorld:
        """Zoho's world: Mail and Cliq in two data centres."""
        return cast("ZohoWorld", self.worlds["zoho"])

    @property
    def clock(self) -> SandboxClock:
        """The clock of every world."""
        return self.core.clock

    @property
    def faults(self) -> FaultBook:
        """The active faults."""
        return self.core.faults

    @property
    def deliveries(self) -> DeliveryService:
        """The webhooks that were sent or are waiting."""
        return self.core.deliveries

    def live_tokens(self, provider: str) -> list[Family]:
        """The token families that live at a provider now, oldest first."""
        return self.worlds[provider].families.live()

    def live_hooks(self, provider: str) -> list[StandingHook]:
        """The hooks, channels and watches that apps have at a provider now."""
        return self.worlds[provider].live_hooks()

    def deliver_pending(self) -> list[Outgoing]:
        """Send every webhook that is due, in this thread; returns those that were attempted, in order."""
        return self.core.deliveries.deliver_pending()


def create_sandbox(
    clock: SandboxClock | None = None,
    *,
    auto_consent: bool = False,
    allowed_hosts: Sequence[str] = (),
    seed: int = 0,
    send: Sender | None = None,
    vendors: Collection[str] | None = None,
) -> Sandbox:
    """A new sandbox without users.

    Args:
        clock: None for the real time, which can still be moved.
        auto_consent: authorize endpoints redirect immediately, as if the user had allowed everything.
        allowed_hosts: hosts, besides loopback, that webhooks may be delivered to.
        seed: of tokens, ids, probabilities and disorder.
        send: makes each attempt to deliver a webhook; None sends real HTTP.
        vendors: only these of `PROVIDERS`; None for all. The others have no world.
    """
    clock = clock or SandboxClock()
    rng = random.Random(seed)  # noqa: S311  repeatable on purpose; nothing here guards anything real
    deliveries = DeliveryService(clock, rng, allowed_hosts, send, seed)
    core = SandboxCore(clock, FaultBook(rng), deliveries, rng, DEFAULT_URL, auto_consent)
    app = Flask(__name__, static_folder=None)
    worlds: dict[str, World] = {}
    for name, package in PROVIDERS:
        if vendors is not None and name not in vendors:
            continue
        worlds[name] = package.create_world(core)
        app.register_blueprint(package.create_blueprint(worlds[name]), url_prefix=f"/{name}")
    app.register_blueprint(create_control_blueprint(core, worlds), url_prefix="/_sandbox")

    @app.after_request
    def show_time(response: Response) -> Response:
        # Clients read the vendor's clock from this header; once moved, it differs from this machine's.
        response.date = clock.now()
        return response

    def record(provider: str, request: Request, path: str, status: int) -> None:
        query = request.query_string.decode(errors="replace")
        core.requests.append(LoggedRequest(clock.now(), provider, request.method, path, query, status))

    app.wsgi_app = FaultMiddleware(app.wsgi_app, core.faults, clock, record)  # type: ignore[method-assign]  # Flask's documented way
    return Sandbox(core, app, worlds)
