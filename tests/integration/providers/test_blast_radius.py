"""Who else is hurt when a connection ends: nobody, until the last one goes."""

import pytest

from tests.support.acts import (
    ACTS,
    fresh_name,
    gmail_watches,
    google_address,
    google_tokens,
    jira_site,
    slack_installs,
)
from tests.support.stage import JIRA_ADMIN_SECRET, SLACK_APP

GRANTS = "SELECT count(*) FROM grants WHERE tenant_id = :tenant AND token_set_ciphertext IS NOT NULL"


def connect(stage, slug, name, core=None, *, is_prepared=False):
    """A tenant with a baseline of one account, and the connection to it."""
    act, core = ACTS[slug], core or stage.tenant()
    user = google_address(name) if is_prepared else act.prepare(stage.sandbox, name)
    connection = core.connect(slug, user, act.options(name))
    act.finish(stage.sandbox, name, core.webhook_url(connection))
    stage.sandbox.deliver_pending()
    core.sync(connection)
    return core, connection


def titles(core, **filters):
    """The titles of a tenant's signals."""
    return sorted(signal["title"] for signal in core.signals(**filters))


# --- Google: a revocation ends all that the project holds of the user --------------------------------------------------


@pytest.mark.parametrize("is_one_tenant", [True, False])
def test_two_products_of_one_google_user(stage, is_one_tenant):
    """Drive can go and Calendar still works, in the same tenant and in another; the last one to go revokes."""
    name = fresh_name()
    core, drive = connect(stage, "google-drive", name)
    other, calendar = connect(stage, "google-calendar", name, core if is_one_tenant else None, is_prepared=True)
    core.disconnect(drive)
    assert google_tokens(stage.sandbox, name) > 0

    stage.sandbox.google.create_event("Countdown", by=google_address(name))
    stage.deliver()
    assert other.sync(calendar).status == "succeeded"
    assert len(other.signals(provider="google-calendar")) == 1
    refreshed = other.call("POST", f"/connections/{calendar['id']}/refresh")
    assert refreshed.status_code == 200, refreshed.text

    other.disconnect(calendar)
    assert google_tokens(stage.sandbox, name) == 0
    assert stage.rows(GRANTS, tenant=core.tenant_id) == stage.rows(GRANTS, tenant=other.tenant_id) == [(0,)]


def test_one_mailbox_in_two_tenants(stage):
    """A push about a mailbox is for both tenants, and its one watch ends with the last of them."""
    name = fresh_name()
    (first, one), (second, two) = (
        connect(stage, "gmail", name),
        connect(stage, "gmail", name, is_prepared=True),
    )
    inboxes = len(first.inbox()), len(second.inbox())  # each watch that is made announces itself
    stage.sandbox.google.receive_email(google_address(name), sender="lee@acme.example", subject="Both")
    stage.deliver()
    assert (len(first.inbox()), len(second.inbox())) == (inboxes[0] + 1, inboxes[1] + 1)
    for core, connection in ((first, one), (second, two)):
        core.sync(connection)
        assert len(core.signals()) == 1

    first.disconnect(one)
    assert gmail_watches(stage.sandbox, name) == 1
    stage.sandbox.google.receive_email(google_address(name), sender="lee@acme.example", subject="Second only")
    stage.deliver()
    second.sync(two)
    assert (len(first.signals()), len(second.signals())) == (1, 2)
    assert (len(first.inbox()), len(second.inbox())) == (inboxes[0] + 1, inboxes[1] + 2)

    second.disconnect(two)
    assert (gmail_watches(stage.sandbox, name), google_tokens(stage.sandbox, name)) == (0, 0)


# --- Jira: one consent, many sites -----------------------------------------------------------------------------------


def test_one_grant_for_two_sites(stage):
    """Two sites of one consent share its tokens, hear only of themselves, and the tokens last as long as either."""
    name, core, jira = fresh_name(), stage.tenant(), stage.sandbox.jira
    user = ACTS["jira"].prepare(stage.sandbox, name)
    jira.add_project(jira.add_site(f"{name}-two", [user]).id, "KITE", by=user)
    sites = {site: jira_site(stage.sandbox, site).id for site in (name, f"{name}-two")}
    connections = {one["account"]["id"]: one for one in core.connect_all("jira", user)}
    assert set(connections) == set(sites.values())
    assert stage.rows(GRANTS, tenant=core.tenant_id) == [(1,)]
    for connection in connections.values():
        core.sync(connection)
    for site, key in ((name, "ROCK"), (f"{name}-two", "KITE")):
        jira.create_issue(sites[site], key, f"On {site}", by=user)
    stage.deliver()
    for site in sites:
        found = core.signals(connection_id=connections[sites[site]]["id"])
        assert [one["title"].endswith(f"On {site}") for one in found] == [True]

    core.disconnect(connections[sites[name]])
    assert stage.rows(GRANTS, tenant=core.tenant_id) == [(1,)]
    assert (len(jira.sites[sites[name]].hooks), len(jira.sites[sites[f"{name}-two"]].hooks)) == (0, 1)
    remaining = connections[sites[f"{name}-two"]]
    issue = jira.create_issue(sites[f"{name}-two"], "KITE", "Later", by=user)
    stage.deliver()
    assert core.sync(remaining).status == "succeeded"
    assert sum("Later" in one["title"] for one in core.signals()) == 1
    assert core.call("POST", f"/connections/{remaining['id']}/refresh").status_code == 200
    jira.move_issue(sites[f"{name}-two"], issue.key, "Done", by=user)
    assert core.sync(remaining).status == "succeeded"

    core.disconnect(remaining)
    assert stage.rows(GRANTS, tenant=core.tenant_id) == [(0,)]
    assert jira.sites[sites[f"{name}-two"]].hooks == {}


def test_one_site_in_two_tenants(stage):
    """One webhook serves both tenants, and stays until the second goes."""
    name = fresh_name()
    first, one = connect(stage, "jira", name)
    second = stage.tenant()
    two = second.connect("jira", f"712020:{name}")
    site = jira_site(stage.sandbox, name)
    assert len(site.hooks) == 1
    stage.sandbox.jira.create_issue(site.id, "ROCK", "Both", by=f"712020:{name}")
    stage.deliver()
    assert titles(first) == titles(second) != []
    first.disconnect(one)
    assert len(site.hooks) == 1
    stage.sandbox.jira.create_issue(site.id, "ROCK", "Second only", by=f"712020:{name}")
    stage.deliver()
    assert (len(first.signals()), len(second.signals())) == (1, 2)
    second.disconnect(two)
    assert site.hooks == {}


def test_an_administrators_webhook(stage):
    """A site's administrator delivers to the tenant's URL, signed with the secret that is configured here."""
    name = fresh_name()
    core, connection = connect(stage, "jira", name)
    jira, site = stage.sandbox.jira, jira_site(stage.sandbox, name)
    url, events = f"{stage.url}/webhooks/jira/{core.tenant_id}", ["worklog_created", "project_created"]
    issue = jira.create_issue(site.id, "ROCK", "Long work", by=f"712020:{name}")
    stage.deliver()
    for secret in ("another-secret", None):
        hook = jira.add_admin_hook(site.id, url, secret, events)
        jira.log_work(site.id, issue.key, by=f"712020:{name}")
        (refused,) = stage.sandbox.deliver_pending()
        assert refused.attempts[-1].status == 401
        site.admin_hooks.remove(hook)
    assert sum(one["kind"] == "work_logged" for one in core.signals()) == 0

    jira.add_admin_hook(site.id, url, JIRA_ADMIN_SECRET, events)
    jira.log_work(site.id, issue.key, by=f"712020:{name}")
    jira.add_project(site.id, "MOON", by=f"712020:{name}")
    stage.redeliver(stage.deliver())
    kinds = sorted(one["kind"] for one in core.signals(connection_id=connection["id"]))
    assert kinds == ["issue_created", "project_created", "work_logged"]


# --- Slack: an install belongs to the workspace ------------------------------------------------------------------------


@pytest.fixture
def shared_workspace(stage):
    """A workspace that two tenants have connected."""
    name = fresh_name()
    first, one = connect(stage, "slack", name)
    second = stage.tenant()
    team = stage.sandbox.slack.team(name)
    lee = stage.sandbox.slack.member(team, "lee")
    return name, (first, one), (second, second.connect("slack", f"{team.id}:{lee.id}"))


def test_one_workspace_in_two_tenants(stage, shared_workspace):
    """An event is for both; the app is uninstalled only when the second goes."""
    name, (first, one), (second, two) = shared_workspace
    seen = {core.tenant_id: len(core.signals()) for core in (first, second)}
    stage.sandbox.slack.post(name, "launch", "Both", by="lee")
    stage.deliver()
    assert [len(core.signals()) - seen[core.tenant_id] for core in (first, second)] == [1, 1]

    first.disconnect(one)
    stage.sandbox.deliver_pending()
    assert len(slack_installs(stage.sandbox, name)) == 1
    stage.sandbox.slack.post(name, "launch", "Second only", by="lee")
    stage.deliver()
    assert [len(core.signals()) - seen[core.tenant_id] for core in (first, second)] == [1, 2]
    assert second.sync(two).status == "succeeded"
    assert second.show(two)["status"] == "active"

    second.disconnect(two)
    stage.sandbox.deliver_pending()
    assert slack_installs(stage.sandbox, name) == []


@pytest.mark.parametrize("sends_uninstall_first", [True, False])
def test_uninstalled_at_slack(stage, shared_workspace, sends_uninstall_first):
    """`app_uninstalled` and `tokens_revoked`, in either order, end the connections of every tenant, and no others."""
    name, *ends = shared_workspace
    bystander, third = connect(stage, "slack", fresh_name())
    stage.sandbox.slack.sends_uninstall_first = sends_uninstall_first
    stage.sandbox.slack.uninstall(SLACK_APP[0], name)
    stage.redeliver(stage.deliver())
    for core, connection in ends:
        assert core.show(connection)["health"] == "degraded"
        core.prove(connection)
        shown = core.show(connection)
        assert (shown["status"], bool(shown["status_reason"])) == ("revoked", True)
    assert bystander.show(third)["status"] == "active"


def test_a_connection_made_anew_outlives_old_news(stage, shared_workspace):
    """After an uninstall the workspace can be connected again, and the notice that ended it, sent once more, does not."""
    name, (core, connection), _ = shared_workspace
    stage.sandbox.slack.uninstall(SLACK_APP[0], name)
    notices = stage.deliver()
    core.prove(connection)
    assert core.show(connection)["status"] == "revoked"
    team = stage.sandbox.slack.team(name)
    lee = stage.sandbox.slack.member(team, "lee")
    query = core.consent(f"{core.begin('slack')}&sandbox_user={team.id}:{lee.id}")
    again = core.get("/connect/slack/callback", params=query)["connection"]
    assert (again["id"], again["status"]) == (connection["id"], "active")
    stage.redeliver(notices[:1])
    core.prove(connection)
    assert core.show(connection)["status"] == "active"


def test_an_unknown_workspace(stage):
    """An event of a workspace that nobody has connected is acknowledged and kept, and belongs to nobody."""
    name = fresh_name()
    core, connection = connect(stage, "slack", name)
    core.disconnect(connection)
    stage.sandbox.deliver_pending()
    team = stage.sandbox.slack.team(name)
    inbox = len(core.inbox())
    stage.sandbox.slack.send_rate_limited(SLACK_APP[0], team.id)
    (sent,) = stage.deliver()
    assert sent.attempts[-1].is_success
    assert len(core.inbox()) == inbox


# --- GitHub: a hook for each tenant ------------------------------------------------------------------------------------


def test_one_repository_in_two_tenants(stage):
    """Each tenant has a hook and tokens of its own: one can go without the other noticing."""
    name, act = fresh_name(), ACTS["github"]
    first, one = connect(stage, "github", name)
    second = stage.tenant()
    second.connect("github", name, act.options(name))
    assert (act.subscriptions(stage.sandbox, name), act.tokens(stage.sandbox, name)) == (2, 2)
    first.disconnect(one)
    assert (act.subscriptions(stage.sandbox, name), act.tokens(stage.sandbox, name)) == (1, 1)
    stage.deliver()
    stage.sandbox.github.open_issue(f"{name}/lamp", "Second only", by=name)
    stage.deliver()
    assert (len(first.signals()), len(second.signals())) == (0, 1)
