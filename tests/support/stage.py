"""Every provider's sandbox beside one service on PostgreSQL, all in this process, and the words to act on them."""

import threading
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import attrs
from flask import Flask
from sqlalchemy import text
from werkzeug.serving import make_server

from connectors.adapters.postgres import create_engine
from connectors.domain.model.ids import ConnectionId, TenantId
from connectors.domain.model.sync import JobType
from connectors.domain.model.tasks import TaskKind
from connectors.domain.providers.registry import installed_providers
from connectors.entrypoints.library import Connectors
from connectors.entrypoints.production import load, prepare, production_container
from connectors.entrypoints.server import create_api
from connectors_sandbox import SandboxServer, create_sandbox
from connectors_sandbox.google.pubsub import TOPIC
from connectors_sandbox.server import QuietHandler
from tests.support.service import CORE_CALLBACK, OPERATORS, Core, database_settings, plain_session

GITHUB_APP = ("stage-github-app", "stage-github-app-secret")
SLACK_APP = ("stage-slack-app", "stage-slack-app-secret")
SIGNING_SECRET = "stage-signing-secret"
JIRA_APP = ("stage-jira-app", "stage-jira-app-secret-of-a-length-that-hs256-likes")
JIRA_ADMIN_SECRET = "stage-jira-admin-secret"
GOOGLE_APP = ("stage-google-app", "stage-google-app-secret")
PUSH_ACCOUNT = "push@stage.iam.gserviceaccount.example"
ZOHO_APP = ("stage-zoho-app", "stage-zoho-app-secret")
CLIQ_SECRET = "stage-cliq-secret"


def provider_settings(server):
    """The settings that make a service use this sandbox for every provider."""
    client = {
        "GITHUB": (GITHUB_APP, "github"),
        "SLACK": (SLACK_APP, "slack"),
        "JIRA": (JIRA_APP, "jira"),
        "GOOGLE": (GOOGLE_APP, "google"),
        "ZOHO": (ZOHO_APP, "zoho"),
    }
    settings = {}
    for prefix, ((client_id, secret), mount) in client.items():
        settings[f"POBLYSH_{prefix}_CLIENT_ID"] = client_id
        settings[f"POBLYSH_{prefix}_CLIENT_SECRET"] = secret
        settings[f"POBLYSH_{prefix}_BASE_URL"] = server.base_url(mount)
    return {
        **settings,
        "POBLYSH_SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "POBLYSH_JIRA_WEBHOOK_SECRET": JIRA_ADMIN_SECRET,
        "POBLYSH_GMAIL_PUBSUB_TOPIC": TOPIC,
        "POBLYSH_GMAIL_PUSH_SERVICE_ACCOUNT": PUSH_ACCOUNT,
        "POBLYSH_ZOHO_CLIQ_WEBHOOK_SECRET": CLIQ_SECRET,
    }


REGISTER = {
    "github": lambda sandbox: sandbox.github.add_app(*GITHUB_APP, callback_url=CORE_CALLBACK, is_expiring=True),
    "slack": lambda sandbox: sandbox.slack.add_app(
        *SLACK_APP, redirect_urls=[CORE_CALLBACK], signing_secret=SIGNING_SECRET, rotating=True
    ),
    "jira": lambda sandbox: sandbox.jira.add_app(*JIRA_APP, callback_url=CORE_CALLBACK),
    "google": lambda sandbox: sandbox.google.add_client(*GOOGLE_APP, redirect_uris=[CORE_CALLBACK]),
    "zoho": lambda sandbox: sandbox.zoho.add_client(*ZOHO_APP, redirect_uris=[CORE_CALLBACK]),
}
"""Registers our app, by where the sandbox serves the vendor."""


def register_apps(sandbox):
    """Our app at every vendor."""
    for register in REGISTER.values():
        register(sandbox)


@attrs.frozen
class Stage:
    """A service, its database and its providers."""

    url: str
    server: SandboxServer
    connectors: object
    engine: object
    environment: dict

    @property
    def sandbox(self):
        """The providers' side."""
        return self.server.sandbox

    def tenant(self):
        """Core, acting for a tenant that nobody knows yet."""
        return Tenant(self)

    def deliver(self):
        """Send all webhooks that wait; those that were sent, each of them received."""
        sent = self.sandbox.deliver_pending()
        refused = [(one.event, one.attempts[-1]) for one in sent if not one.attempts[-1].is_success]
        assert refused == []
        return sent

    def redeliver(self, sent):
        """Send the same once more."""
        for outgoing in sent:
            self.sandbox.deliveries.redeliver(outgoing)
        return self.deliver()

    def rows(self, query, **values):
        """What the database has."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def post(self, url, headers, body):
        """One delivery of our own making; the answer."""
        with plain_session() as session:
            return session.post(url, data=body, headers=headers, timeout=30, allow_redirects=False)


class Tenant(Core):
    """Core, acting for one tenant at any provider."""

    def __init__(self, stage):
        super().__init__(stage.url)
        self.stage = stage

    def begin(self, slug, options=None):
        """Where to send the user."""
        started = self.call("POST", f"/connect/{slug}", json={"options": options} if options else None)
        assert started.status_code == 200, started.text
        return started.json()["authorize_url"]

    def connect_all(self, slug, user, options=None):
        """The whole consent of this user of the sandbox; all connections that it gave."""
        query = self.consent(f"{self.begin(slug, options)}&sandbox_user={user}")
        known = {one["id"] for one in self.list("connections")}
        connection = self.get(f"/connect/{slug}/callback", params=query)["connection"]
        assert (connection["provider"], connection["status"], connection["last_error"]) == (slug, "active", None)
        made = [one for one in self.list("connections", provider=slug) if one["id"] not in known]
        return made or [connection]

    def connect(self, slug, user, options=None):
        """The whole consent; the one connection that it gave."""
        (connection,) = self.connect_all(slug, user, options)
        return connection

    def prove(self, connection):
        """Ask the provider whether it still works, as a worker does after the provider has said that it ended."""
        self.stage.connectors.tasks.handle(TaskKind.PROVE, TenantId(UUID(self.tenant_id)), UUID(connection["id"]))

    def disconnect(self, connection):
        """End it."""
        assert self.call("DELETE", f"/connections/{connection['id']}").status_code == 204

    def show(self, connection):
        """It, as it is now."""
        return self.get(f"/connections/{connection['id']}")

    def webhook_url(self, connection):
        """Where the service says that the provider has to deliver to."""
        webhook = self.get(f"/providers/{connection['provider']}")["webhook"]
        if webhook["scope"] == "connection":
            return self.call("POST", f"/connections/{connection['id']}/webhook-url").json()["url"]
        return webhook["url"].replace("{tenant_id}", self.tenant_id)

    def sync(self, connection, job_type=JobType.INCREMENTAL):
        """Read it now, as `connectors sync --wait` does; the job, ended, its vendor's limits waited out. In an outage
        it is not waited for."""
        connectors, tenant_id = self.stage.connectors, TenantId(UUID(self.tenant_id))
        job = connectors.jobs.request(tenant_id, ConnectionId(UUID(connection["id"])), job_type)
        while not (job := connectors.sync.run(tenant_id, job.id)).is_finished and job.retry_after and not job.error:
            connectors.clock.sleep(max(job.retry_after - connectors.clock.now(), timedelta(milliseconds=10)))
        return job

    def signals(self, **filters):
        """All of the tenant's signals."""
        return self.list("signals", **filters)

    def inbox(self, **filters):
        """All of the tenant's deliveries."""
        return self.list("deliveries", **filters)


@contextmanager
def open_stage(database_url, registry=None, *, sandbox_clock=None, clock=None, **more_settings):
    """The stage, for as long as the block lasts.

    Args:
        database_url: a migrated database.
        registry: other providers than the installed ones.
        sandbox_clock: the providers' clock; None for the machine's.
        clock: the service's; None for the machine's.
        more_settings: of the service, by their full names.
    """
    registry = registry or installed_providers()
    with SandboxServer(create_sandbox(sandbox_clock, auto_consent=True)) as server:
        register_apps(server.sandbox)
        # The socket first: the settings name the port that providers deliver to.
        listener = make_server("127.0.0.1", 0, Flask("starting"), threaded=True, request_handler=QuietHandler)
        listener.daemon_threads = True
        url = f"http://127.0.0.1:{listener.server_port}"
        environment = {
            **database_settings(database_url),
            **provider_settings(server),
            "POBLYSH_OPERATOR_TOKENS": OPERATORS,
            "POBLYSH_PUBLIC_URL": url,
            "POBLYSH_OAUTH_REDIRECT_URI": CORE_CALLBACK,
            "POBLYSH_WEBHOOK_RATE_LIMIT": "0",
            **more_settings,
        }
        settings = load(environment, registry)
        container = production_container(prepare(settings), settings, registry, clock=clock)
        with Connectors.assemble(container) as connectors:
            listener.app = create_api(connectors, settings.operators, settings)
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            engine = create_engine(database_url)
            try:
                # By hand, once for all tenants: the app's URL at Slack, and a push subscription of Gmail's topic.
                assert server.sandbox.slack.save_request_url(SLACK_APP[0], f"{url}/webhooks/slack")
                server.sandbox.google.add_push_subscription(f"{url}/webhooks/gmail", service_account=PUSH_ACCOUNT)
                yield Stage(url, server, connectors, engine, environment)
            finally:
                engine.dispose()
                listener.shutdown()
                thread.join()
                listener.server_close()
