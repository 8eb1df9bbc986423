"""What a sandbox says of the hooks that apps have at its vendors, and who can make and remove them."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors_sandbox import SandboxClock, create_sandbox
from connectors_sandbox.github.webhooks import MAX_HOOKS_PER_EVENT, HookRefusedError
from connectors_sandbox.google.errors import GoogleError
from connectors_sandbox.jira.webhooks import LIFETIME

NOW = datetime(2026, 11, 28, tzinfo=UTC)
OURS, MOVED = "https://poblysh.test/hook", "https://moved.test/hook"


def sandbox_of(vendor):
    return create_sandbox(SandboxClock(NOW), vendors={vendor}, auto_consent=True)


def test_a_repository_has_one_hook_for_each_url_and_twenty_in_all():
    """A second with the same URL is refused, whoever asks; somebody who administers the repository can remove it."""
    sandbox = sandbox_of("github")
    hooks = sandbox.github.hooks
    hooks.create("repository", 1, "cid", {"config": {"url": OURS}})
    hooks.create("repository", 2, None, {"config": {"url": OURS}})
    with pytest.raises(HookRefusedError, match="already exists"):
        hooks.create("repository", 1, "cid", {"config": {"url": OURS}})
    (found,) = sandbox.live_hooks("github")
    assert (found.target, found.address, found.maker, found.expires_at) == ("repository:1", OURS, None, None)
    for number in range(MAX_HOOKS_PER_EVENT - 1):
        hooks.create("repository", 1, "cid", {"config": {"url": f"{OURS}/{number}"}})
    with pytest.raises(HookRefusedError, match="more than 20"):
        hooks.create("repository", 1, "cid", {"config": {"url": MOVED}})


class Atlassian:
    """A site with two users, called over its API."""

    def __init__(self):
        self.sandbox = sandbox_of("jira")
        world = self.world = self.sandbox.jira
        world.add_app("cid", "shh", callback_url=OURS)
        self.users = {name: world.add_user(name).account_id for name in ("ada", "bob")}
        self.site = world.add_site("acme", list(self.users.values())).id
        world.add_project(self.site, "KITE")

    def token(self, user):
        auth = self.world.auth
        scopes = ("read:jira-work", "manage:jira-webhook", "offline_access")
        code = auth.grant_code(auth.apps["cid"], self.users[user], scopes, OURS)
        return auth.exchange(auth.apps["cid"], code, OURS).access

    def call(self, method, token, **body):
        url = f"/jira/ex/jira/{self.site}/rest/api/3/webhook"
        headers = {"Authorization": f"Bearer {token}"}
        return self.sandbox.app.test_client().open(url, method=method, json=body, headers=headers)

    def register(self, token, url=OURS):
        wanted = {"jqlFilter": "project = KITE", "events": ["jira:issue_created"]}
        return self.call("POST", token, url=url, webhooks=[wanted]).get_json()["webhookRegistrationResult"][0]


def test_a_webhook_of_jira_is_its_makers():
    """Another user's consent neither sees nor removes it, a consent that was withdrawn leaves it, a new one removes it."""
    jira = Atlassian()
    ada, bob = jira.token("ada"), jira.token("bob")
    made = jira.register(ada)["createdWebhookId"]
    jira.call("DELETE", bob, webhookIds=[made])
    jira.world.revoke_consents(jira.users["ada"])
    assert jira.call("DELETE", ada, webhookIds=[made]).status_code == 401
    (found,) = jira.sandbox.live_hooks("jira")
    assert (found.maker, found.address, found.expires_at) == (jira.users["ada"], OURS, NOW + LIFETIME)
    assert "errors" in jira.register(bob, url=MOVED)
    jira.call("DELETE", jira.token("ada"), webhookIds=[made])
    assert jira.sandbox.live_hooks("jira") == []


def test_a_channel_of_google_is_stopped_by_its_maker_who_knows_its_resource():
    """Nothing lists it; it ends by itself within a week."""
    sandbox = sandbox_of("google")
    google = sandbox.google
    grants = {}
    for name in ("ada@x.com", "bob@x.com"):
        google.add_user(name)
        family = google.families.begin("cid", name, ())
        grants[name] = type("Grant", (), {"email": name, "client_id": "cid", "family": family})()
    body = {"id": "one", "type": "web_hook", "address": OURS}
    channel, _ = google.channels.open(body, grants["ada@x.com"], "calendar:1", "uri", timedelta(days=30))
    (found,) = sandbox.live_hooks("google")
    assert (found.maker, found.expires_at) == ("ada@x.com", NOW + timedelta(days=7))
    for stop, maker in (({"id": "one"}, "ada@x.com"), ({"id": "one", "resourceId": channel.resource_id}, "bob@x.com")):
        with pytest.raises(GoogleError):
            google.channels.close(stop, grants[maker])
    google.channels.close({"id": "one", "resourceId": channel.resource_id}, grants["ada@x.com"])
    assert sandbox.live_hooks("google") == []


@pytest.mark.parametrize("vendor", ["slack", "zoho"])
def test_some_vendors_have_no_hooks_that_an_app_makes(vendor):
    """There a person sets them up."""
    assert sandbox_of(vendor).live_hooks(vendor) == []
