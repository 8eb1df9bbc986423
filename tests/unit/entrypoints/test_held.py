"""What is being ended at a provider or was left there, as the API, the command line and the metrics show it."""

import json
from datetime import datetime, timedelta

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.domain.model.ids import TenantId
from connectors.domain.model.oauth import GrantState
from connectors.domain.model.webhook import SubscriptionStatus
from connectors.entrypoints.flask import ApiSettings
from tests.support.api import Api
from tests.support.builders import NOW, OTHER_TENANT, TENANT, make_id
from tests.support.foreground import Commands
from tests.support.provider import make_acme
from tests.support.vendor import answer
from tests.support.world import World

HOUR = timedelta(hours=1)
ACME = make_acme(
    oauth={"remove_at": "https://acme.test/settings/apps"}, subscriptions={"remove_at": "the box's own page"}
)


def refuse(*parts):
    """The vendor is down for requests with one of these parts in their address."""
    return lambda request: answer(status=503) if any(part in request.url for part in parts) else None


class Farewell:
    """A connection that has been ended while the vendor refuses to remove its hook."""

    def __init__(self):
        self.world = World(ACME)
        self.connection = self.world.connect()
        self.world.work()
        self.world.vendor.before = refuse("/api/hooks/", "/oauth/revoke")
        self.api = Api(self.world.connectors, ApiSettings())
        self.path = f"/connections/{self.connection.id}"
        assert self.api.call("DELETE", self.path, tenant=TENANT).status_code == 204

    def shown(self):
        """The ended connection as the API shows it."""
        return self.api.get(self.path, tenant=TENANT).get_json()

    def hook(self):
        """Its one subscription."""
        return self.world.subscriptions(self.connection)[-1]

    def samples(self):
        """The metrics, by name and label values."""
        text = self.api.get("/metrics", token=None).get_data(as_text=True)
        families = text_string_to_metric_families(text)
        return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


@pytest.fixture
def farewell():
    return Farewell()


@pytest.fixture
def commands(farewell, monkeypatch, capsys):
    commands = Commands.__new__(Commands)
    commands._monkeypatch, commands._capsys = monkeypatch, capsys
    commands.world = farewell.world
    commands.open_worker = None
    monkeypatch.setenv("NO_COLOR", "1")
    return commands


def instant(text):
    return datetime.fromisoformat(text)


# --- over the API --------------------------------------------------------------------------------------------------


def test_a_connection_that_works_has_nothing_ending():
    """A live connection shows that nothing is ending and nothing is left, where it is asked for by itself."""
    world = World(ACME)
    connection = world.connect()
    api = Api(world.connectors, ApiSettings())
    one = api.get(f"/connections/{connection.id}", tenant=TENANT).get_json()
    assert (one["ending"], one["left_behind"]) == (None, [])
    (listed,) = api.get("/connections", tenant=TENANT).get_json()["connections"]
    assert not {"ending", "left_behind"} & listed.keys()


def test_what_is_ending_is_shown(farewell):
    """It says how much has to go, since when, when it is tried again, until when, and what the provider refused."""
    one = farewell.shown()
    ending = one["ending"]
    assert one["status"] == "revoked"
    assert (ending["tokens"], ending["hooks"]) == (1, 1)
    assert instant(ending["since"]) == NOW
    assert NOW < instant(ending["next_try_at"]) <= NOW + HOUR
    assert instant(ending["gives_up_at"]) == NOW + 24 * HOUR
    assert "503" in ending["reason"]
    assert one["left_behind"] == []


def test_nothing_is_shown_once_it_is_gone(farewell):
    """When the provider has confirmed the end of everything, nothing is ending and nothing is left."""
    farewell.world.vendor.before = lambda request: None
    farewell.world.run_for(3 * HOUR, step=timedelta(minutes=5))
    one = farewell.shown()
    assert (one["ending"], one["left_behind"], one["last_error"]) == (None, [], None)
    assert not farewell.world.vendor.hooks
    assert all(family.dead for family in farewell.world.vendor.families)


def test_what_was_left_says_where_to_remove_it(farewell):
    """After a day it is given up: each thing is named with its reason and the place where a person can remove it."""
    farewell.world.run_for(27 * HOUR, step=timedelta(minutes=10))
    one = farewell.shown()
    assert one["ending"] is None
    hook, token = sorted(one["left_behind"], key=lambda left: left["kind"])
    assert (hook["kind"], hook["target"], hook["remove_it_at"]) == ("hook", "box:ada", "the box's own page")
    assert (token["kind"], token["target"]) == ("token", "ada")
    assert token["remove_it_at"] == "https://acme.test/settings/apps"
    assert "503" in hook["reason"]
    assert "503" in token["reason"]


def test_what_was_left_by_a_provider_that_is_gone(farewell):
    """Without its package, what is ending is shown all the same; nobody knows where to remove it."""
    farewell.world.run_for(27 * HOUR, step=timedelta(minutes=10))
    farewell.world.connectors.providers._providers.clear()
    assert {left["remove_it_at"] for left in farewell.shown()["left_behind"]} == {None}


def test_the_time_to_give_up_is_a_setting():
    """With two hours to end it, it is given up after two hours."""
    world = World(ACME, settings=lambda usual: attrs.evolve(usual, ending_lifetime=2 * HOUR))
    connection = world.connect()
    world.work()
    world.vendor.before = refuse("/api/hooks/")
    world.connectors.disconnect.end_connection(TENANT, connection.id)
    (hook, *_) = world.connectors.held.list(TENANT, limit=10)
    assert hook.gives_up_at == NOW + 2 * HOUR
    world.run_for(4 * HOUR, step=timedelta(minutes=10))
    assert [one.status for one in world.subscriptions(connection)] == [SubscriptionStatus.LEFT]


# --- metrics -------------------------------------------------------------------------------------------------------


def test_metrics_count_what_is_held(farewell):
    """Tokens and hooks are counted by state, and the oldest ending by its age; both fall to zero at the end."""
    farewell.world.connect(OTHER_TENANT)
    farewell.world.later(minutes=1)
    found = farewell.samples()
    assert found["connectors_held", "acme", "ending", "hook"] == 1
    assert found["connectors_held", "acme", "ending", "token"] == 1
    assert found["connectors_held", "acme", "hook", "left"] == 0
    assert found["connectors_held", "acme", "live", "token"] == 1
    assert found["connectors_held", "acme", "active", "hook"] == 1
    assert found["connectors_ending_oldest_seconds",] == 60
    for held in farewell.world.connectors.held.list(None, limit=10):
        farewell.world.connectors.held.dismiss(held.tenant_id, held.id)
    statistics = farewell.world.connectors.statistics.collect()
    assert statistics.longest_ending == timedelta(0)
    assert {key[1:]: count for key, count in statistics.held.items() if key[2] == "left"} == {
        ("token", "left"): 1,
        ("hook", "left"): 1,
    }


# --- on the command line -------------------------------------------------------------------------------------------


def test_it_is_listed(farewell, commands):
    """The list has what is ending or left of all tenants or of one, with its next try and its reason."""
    table = commands.run("held", "list")
    assert (table.code, table.err) == (0, "")
    heading, *rows = table.out.splitlines()
    assert heading.split()[:5] == ["id", "state", "provider", "kind", "target"]
    assert {(row.split()[1], row.split()[3]) for row in rows} == {("ending", "hook"), ("ending", "token")}
    shown = json.loads(commands.run("held", "list", "-o", "json").out)
    (hook,) = [one for one in shown if one["kind"] == "hook"]
    assert hook["id"] == str(farewell.hook().id)
    assert (hook["provider"], hook["failures"], hook["tenant_id"]) == ("acme", 1, str(TENANT))
    assert "503" in hook["reason"]
    assert instant(hook["next_try_at"]) > NOW
    assert json.loads(commands.mine("held", "list", "-o", "json").out) == shown
    assert commands.run("held", "list", "-t", OTHER_TENANT).out == "Nothing is being ended, and nothing is left.\n"
    short = commands.run("held", "list", "--limit", 1)
    assert len(short.out.splitlines()) == 2
    assert "There may be more than 1" in short.err


def test_the_commands_about_connections_show_it(farewell, commands):
    """`connections show` shows what is ending, and `connections delete` says where to look."""
    shown = json.loads(commands.mine("connections", "show", farewell.connection.id, "-o", "json").out)
    assert (shown["ending"]["tokens"], shown["ending"]["hooks"], shown["left_behind"]) == (1, 1, [])
    table = commands.mine("connections", "show", farewell.connection.id)
    assert (table.code, "gives_up_at" in table.out) == (0, True)
    again = commands.mine("connections", "delete", farewell.connection.id, "--yes")
    assert again.code == 0
    assert "`connectors held list` shows what is still there" in again.err


def test_no_secret_is_listed(farewell, commands):
    """Neither tokens nor webhook secrets are in what the list prints."""
    secrets = [hook["secret"] for hook in farewell.world.vendor.hooks.values()]
    secrets += [text for one in farewell.world.vendor.families for text in (one.access, one.refresh)]
    out = commands.run("held", "list", "-o", "json").out
    assert secrets
    assert not any(secret in out for secret in secrets)


def test_it_is_tried_again(farewell, commands):
    """`retry` tries at once: it fails with exit code 1 while the provider refuses, and ends it once it does not."""
    hook = farewell.hook()
    failed = commands.mine("held", "retry", hook.id, "-o", "json")
    assert (failed.code, json.loads(failed.out)["failures"]) == (1, 2)
    farewell.world.vendor.before = lambda request: None
    done = commands.mine("held", "retry", hook.id)
    assert (done.code, done.out, done.err) == (0, "", "Ended.\n")
    assert not farewell.world.vendor.hooks
    assert farewell.hook().status is SubscriptionStatus.ENDED


def test_a_grant_is_tried_with_its_hooks(farewell, commands):
    """`retry` of a grant removes first what only its tokens can remove."""
    farewell.world.vendor.before = lambda request: None
    done = commands.mine("held", "retry", farewell.connection.grant_id)
    assert (done.code, done.err) == (0, "Ended.\n")
    assert farewell.world.connectors.held.list(None, limit=10) == ()
    assert farewell.world.grant(farewell.connection).state is GrantState.ENDED


@pytest.mark.parametrize("kind", ["hook", "token"])
def test_it_is_dismissed(farewell, commands, kind):
    """`dismiss` destroys the secret, counts it as left with the provider's last word, and nobody tries it again."""
    subject = farewell.hook().id if kind == "hook" else farewell.connection.grant_id
    done = commands.mine("held", "dismiss", subject, "--yes", "-o", "json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["state"], shown["kind"], shown["next_try_at"], shown["gives_up_at"]) == ("left", kind, None, None)
    assert shown["reason"].startswith("An operator gave it up.")
    if kind == "hook":
        assert "503" in shown["reason"]
        assert (farewell.hook().status, farewell.hook().secret) == (SubscriptionStatus.LEFT, None)
    else:
        grant = farewell.world.grant(farewell.connection)
        assert (grant.state, grant.token_set) == (GrantState.LEFT, None)
    for verb in (("retry",), ("dismiss", "--yes")):
        again = commands.mine("held", verb[0], subject, *verb[1:])
        assert (again.code, again.out) == (1, "")
        assert "removed by hand" in again.err
    assert kind in {one["kind"] for one in farewell.shown()["left_behind"]}


def test_tokens_that_are_dismissed_leave_their_hooks(farewell, commands):
    """Without its tokens a hook cannot be removed any more: it is left, too, and says why."""
    commands.mine("held", "dismiss", farewell.connection.grant_id, "--yes")
    farewell.world.vendor.before = lambda request: None
    farewell.world.run_for(HOUR, step=timedelta(minutes=1))
    assert {one["kind"] for one in farewell.shown()["left_behind"]} == {"hook", "token"}


@pytest.mark.parametrize("verb", [("retry",), ("dismiss", "--yes")])
def test_unknown_ids(farewell, commands, verb):
    """An id that nobody has, that is alive, or that is another tenant's, gives one line and exit code 1."""
    alive = farewell.world.connect(OTHER_TENANT)
    for tenant, subject in (
        (TENANT, make_id()),
        (OTHER_TENANT, alive.grant_id),
        (OTHER_TENANT, farewell.connection.grant_id),
    ):
        done = commands.run("held", verb[0], subject, *verb[1:], "-t", TenantId(tenant))
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert farewell.world.grant(farewell.connection).state is GrantState.ENDING
