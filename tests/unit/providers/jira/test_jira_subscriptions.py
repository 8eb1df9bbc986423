"""The webhook of a site: made, found again, renewed, removed."""

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import attrs
import pytest
from tests.support.jira import APP, CLOUD, NOW, SLUG, TENANT, hold, make_connection, ms, replies, reply, stamp

from connectors.domain.model.errors import AccessLostError, ProviderFailedError, UnexpectedResponseError
from connectors.domain.model.ids import ConnectionId, SubscriptionId
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import SubscriptionRequest, SubscriptionScope
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.events import DYNAMIC_EVENTS
from connectors.domain.providers.jira.subscriptions import (
    Hook,
    probe,
    renew,
    subscribe,
    targets,
    unsubscribe,
)

URL = "https://connectors.example/webhooks/jira"


def make_subscription(external_id="1000", address=URL):
    return Subscription(
        id=SubscriptionId(UUID(int=3)),
        tenant_id=TENANT,
        connection_id=ConnectionId(UUID(int=8)),
        provider=SLUG,
        target=f"site:{CLOUD}",
        external_id=external_id,
        address=address,
        created_at=NOW,
        updated_at=NOW,
    )


REQUEST = SubscriptionRequest(subscription=make_subscription(None), secret=Secret("unused"), callback_url=URL)


class HookServer:
    """Jira's side: small ids, 200 with errors inside, at most five, a refresh that ignores unknown ids."""

    def __init__(self, projects=(10001, 10000)):
        self.projects = list(projects)
        self.hooks = {}
        self.page_size = 2
        self.last_id = 999
        self.asked = []
        self.loses_new_ones = False
        self.epoch_expiry = False
        self.now = NOW
        self.between = lambda: None
        self.dead = set()

    def put(self, url=URL, jql="project in (10000, 10001)", events=DYNAMIC_EVENTS):
        self.last_id += 1
        at = self.now + timedelta(days=30)
        expiry = ms(at) if self.epoch_expiry else stamp(at)
        if not self.loses_new_ones:
            hook = {"id": self.last_id, "url": url, "jqlFilter": jql, "events": list(events), "expirationDate": expiry}
            self.hooks[self.last_id] = hook
        return self.last_id

    def answer(self, request):
        parts = urlsplit(request.url)
        path = parts.path.partition(f"/ex/jira/{CLOUD}/rest/api/3/")[2]
        self.asked.append(f"{request.method} {path}")
        body = json.loads(request.body) if request.body else {}
        match request.method, path:
            case "GET", "webhook":
                return self._page(list(self.hooks.values()), parts.query)
            case "GET", "project/search":
                return self._page([{"id": str(one), "key": f"P{one}"} for one in self.projects], parts.query)
            case "POST", "webhook":
                (wanted,) = body["webhooks"]
                if len(self.hooks) >= 5:
                    return reply({"webhookRegistrationResult": [{"errors": ["too many"]}]})
                assert re.fullmatch(r"project in \(\d+(, \d+)*\)", wanted["jqlFilter"])
                hook_id = self.put(body["url"], wanted["jqlFilter"], wanted["events"])
                return reply({"webhookRegistrationResult": [{"createdWebhookId": hook_id}]})
            case "PUT", "webhook/refresh":
                for one in body["webhookIds"]:
                    if one in self.hooks and one not in self.dead:
                        self.hooks[one]["expirationDate"] = stamp(self.now + timedelta(days=30))
                return reply({"expirationDate": stamp(self.now + timedelta(days=30))})
            case "DELETE", "webhook":
                for one in body["webhookIds"]:
                    self.hooks.pop(one, None)
                return reply(b"", 202)
        return reply({}, 404)

    def _page(self, values, query):
        start = int(parse_qs(query)["startAt"][0])
        page = values[start : start + self.page_size]
        is_last = start + self.page_size >= len(values)
        self.between()
        return reply({"values": page, "startAt": start, "isLast": is_last})


@pytest.fixture
def server():
    return HookServer()


def test_first_subscription_registers_one_webhook(server):
    """One webhook over all visible projects, its expiry read from the list, its id put on the connection."""
    receipt = hold(subscribe(APP, make_connection(metadata={}), REQUEST), server.answer)
    assert receipt.external_id == "1000"
    assert receipt.expires_at == NOW + timedelta(days=30)
    assert receipt.connection_metadata == {"webhook_ids": ["1000"]}
    assert server.hooks[1000]["jqlFilter"] == "project in (10000, 10001)"
    assert server.hooks[1000]["events"] == list(DYNAMIC_EVENTS)


def test_subscribing_again_takes_over_what_is_there(server):
    """A second subscribe finds the oldest webhook and renews it; a double is left to lapse, and known until then."""
    server.put()
    server.put()
    receipt = hold(subscribe(APP, make_connection(metadata={}), REQUEST), server.answer)
    assert receipt.external_id == "1000"
    assert receipt.connection_metadata == {"webhook_ids": ["1000", "1001"]}
    assert list(server.hooks) == [1000, 1001]
    assert "POST webhook" not in server.asked


def test_foreign_webhooks_are_left_alone(server):
    """Webhooks with other URLs belong to another deployment of the app."""
    server.put(url="https://staging.example/webhooks/jira")
    hold(subscribe(APP, make_connection(metadata={}), REQUEST), server.answer)
    assert set(server.hooks) == {1000, 1001}


def test_error_inside_200_is_an_error(server):
    """A registration that failed for its item is no success, and the reason is shown."""
    for _ in range(5):
        server.put(url="https://staging.example/")
    with pytest.raises(ProviderFailedError, match="too many") as caught:
        hold(subscribe(APP, make_connection(), REQUEST), server.answer)
    assert not caught.value.outcome_unknown


def test_registered_but_not_listed_is_an_error(server):
    """A webhook that Jira confirms and then does not list does not exist."""
    server.loses_new_ones = True
    with pytest.raises(UnexpectedResponseError):
        hold(subscribe(APP, make_connection(), REQUEST), server.answer)


def test_site_without_projects_is_not_a_target(server):
    """A filter without projects cannot be registered."""
    server.projects = []
    assert hold(targets(APP, make_connection()), server.answer) == ()
    with pytest.raises(AccessLostError):
        hold(subscribe(APP, make_connection(), REQUEST), server.answer)
    server.projects = [1]
    assert hold(targets(APP, make_connection()), server.answer) == (f"site:{CLOUD}",)


@pytest.mark.parametrize("epoch", [False, True])
def test_renewal_refreshes_and_verifies(server, epoch):
    """Renewal refreshes, then reads the new expiry, text or number, from the list."""
    server.epoch_expiry = epoch
    server.put()
    receipt = hold(renew(APP, make_connection(), make_subscription()), server.answer)
    assert receipt.external_id == "1000"
    assert receipt.expires_at == NOW + timedelta(days=30)
    assert server.asked.index("PUT webhook/refresh") < len(server.asked) - 1
    assert server.asked[-1] == "GET webhook"


def test_renewal_of_a_vanished_webhook_makes_a_new_one(server):
    """An id that Jira silently forgot is replaced; the old id is remembered for late deliveries."""
    server.last_id = 1000
    receipt = hold(renew(APP, make_connection(), make_subscription()), server.answer)
    assert receipt.external_id == "1001"
    assert receipt.connection_metadata == {"webhook_ids": ["1001", "1000"]}


def test_new_project_gets_a_new_webhook_and_the_old_one_lapses(server):
    """A connection that shares the old webhook still has it, and finds the successor with its own renewal."""
    server.put()
    server.projects.append(10002)
    receipt = hold(renew(APP, make_connection(), make_subscription()), server.answer)
    assert receipt.external_id == "1001"
    assert list(server.hooks) == [1000, 1001]
    assert server.hooks[1001]["jqlFilter"] == "project in (10000, 10001, 10002)"
    sharer = hold(renew(APP, make_connection(), make_subscription()), server.answer)
    assert (sharer.external_id, sharer.connection_metadata) == ("1001", {"webhook_ids": ["1001", "1000"]})


def test_old_webhooks_make_package(server):
    """However often projects appear, a successor can be registered, and one more stays possible."""
    server.put()
    connection, subscription = make_connection(), make_subscription()
    for number in range(8):
        server.projects.append(10002 + number)
        receipt = hold(renew(APP, connection, subscription), server.answer)
        subscription = make_subscription(receipt.external_id)
        connection = make_connection(metadata=dict(receipt.connection_metadata))
        assert len(server.hooks) <= 4
    server.put(url="https://staging.example/")
    server.projects.append(1)
    assert int(hold(renew(APP, connection, subscription), server.answer).external_id) in server.hooks


def test_webhook_that_is_listed_and_cannot_be_extended_is_gone(server):
    """A webhook that has ended is replaced, although Jira silently ignores its renewal."""
    server.dead.add(server.put())
    server.now = NOW + timedelta(days=31)
    receipt = hold(renew(APP, make_connection(), make_subscription()), server.answer)
    assert receipt.external_id == "1001"
    assert receipt.expires_at == server.now + timedelta(days=30)


def test_probe_compares_expiries(server):
    """A webhook that ends sooner than the stored expiry does not count."""
    server.put()
    recorded = attrs.evolve(make_subscription(), expires_at=NOW + timedelta(days=30))
    assert hold(probe(APP, make_connection(), recorded), server.answer) is True
    server.hooks[1000]["expirationDate"] = stamp(NOW + timedelta(days=3))
    assert hold(probe(APP, make_connection(), recorded), server.answer) is False


def test_projects_that_go_while_they_are_listed_hide_no_other(server):
    """The list moved up between two pages, so it is read again."""
    server.projects = [1, 2, 3, 4, 5]
    asked = iter(range(99))
    server.between = lambda: next(asked) == 1 and (server.projects.remove(1), server.projects.remove(2))
    hook = hold(subscribe(APP, make_connection(metadata={}), REQUEST), server.answer)
    assert {"3", "4", "5"} <= set(re.findall(r"\d+", hook.metadata["jql"]))


def test_a_webhook_of_unknown_address_is_not_renewed(server):
    """Which one to look for is not known."""
    with pytest.raises(UnexpectedResponseError):
        hold(renew(APP, make_connection(), make_subscription(address=None)), server.answer)


def test_remembered_ids_are_few(server):
    """The list of ids does not grow for ever."""
    connection = make_connection(metadata={"webhook_ids": [str(number) for number in range(50)]})
    receipt = hold(subscribe(APP, connection, REQUEST), server.answer)
    assert receipt.connection_metadata["webhook_ids"] == ["1000", "0", "1", "2", "3", "4", "5", "6"]


def test_unsubscribe_leaves_nothing(server):
    """Removal names all ids with our URL in a JSON body; doing it twice is no error."""
    for url in (URL, URL, "https://staging.example/"):
        server.put(url=url)
    for _ in range(2):
        hold(unsubscribe(APP, make_connection(), make_subscription()), server.answer)
    assert list(server.hooks) == [1002]


def test_a_closed_site_keeps_its_webhooks():
    """It answers 404 as long as it is closed, and has them again afterwards: that is no removal."""
    answer, _ = replies(reply({}, 404))
    with pytest.raises(AccessLostError):
        hold(unsubscribe(APP, make_connection(), make_subscription()), answer)


def test_probe_believes_only_the_list(server):
    """A webhook that is not listed is gone."""
    assert hold(probe(APP, make_connection(), make_subscription()), server.answer) is False
    server.put()
    assert hold(probe(APP, make_connection(), make_subscription()), server.answer) is True
    assert hold(probe(APP, make_connection(), make_subscription(address=None)), server.answer) is True
    assert hold(probe(APP, make_connection(), make_subscription(address="https://x.example")), server.answer) is False


def test_list_that_never_ends_is_left():
    """A server that always has another page does not keep us reading for ever."""

    def answer(request):
        return reply({"values": [{"id": 1}]})

    assert hold(probe(APP, make_connection(), make_subscription()), answer) is False


@pytest.mark.parametrize("value", [None, [], 7, {}, {"id": "x"}, {"id": None}, {"id": -1}, {"id": True}])
def test_unreadable_hooks_are_passed_over(value):
    """A list entry without a numeric id is not a webhook."""
    assert Hook.read(value) is None


@pytest.mark.parametrize(
    "answer", [[], {}, {"webhookRegistrationResult": None}, {"webhookRegistrationResult": [{"createdWebhookId": "x"}]}]
)
def test_odd_registration_answers_are_errors(answer):
    """Without a created id there is no subscription."""
    script, _ = replies({"values": []}, {"values": [{"id": 1}], "isLast": True}, answer)
    with pytest.raises(UnexpectedResponseError):
        hold(subscribe(APP, make_connection(), REQUEST), script)


def test_users_of_one_site_share_by_account():
    """Two tenants' connections of one user to one site share the webhook."""
    assert JIRA.webhooks is not None
    assert JIRA.webhooks.subscriptions is not None
    assert JIRA.webhooks.subscriptions.is_one_per_user
    assert JIRA.webhooks.url_scope is SubscriptionScope.APP
    assert "{webhook_url}" in (JIRA.webhooks.manual_setup or "")
