"""Hooks made, taken over, checked and removed, by replying as GitHub would."""

import json
from uuid import UUID

import pytest
from tests.unit.providers.github.support import GITHUB_SLUG, NOW, TENANT, answer, make_app, make_connection, respond

from connectors.domain.model.errors import AccessLostError, UnexpectedResponseError, ValidationError
from connectors.domain.model.ids import SubscriptionId
from connectors.domain.model.secret import Secret
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import SubscriptionRequest
from connectors.domain.providers.github import subscriptions

CALLBACK = "https://hooks.example/webhooks/github/1"
APP = make_app()
CONNECTION = make_connection()
REPOSITORY_EVENTS = [
    *("issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment"),
    *("push", "release", "member", "star", "fork"),
]
"""Written out, so that a change of the table shows which events existing hooks do not send."""


def make_subscription(target="repo:ada/lamp", external_id="31337", address=CALLBACK):
    return Subscription(
        id=SubscriptionId(UUID(int=9)),
        tenant_id=TENANT,
        connection_id=CONNECTION.id,
        provider=GITHUB_SLUG,
        target=target,
        external_id=external_id,
        address=address,
        created_at=NOW,
        updated_at=NOW,
    )


def wanted(target="repo:ada/lamp"):
    subscription = make_subscription(target, external_id=None)
    return SubscriptionRequest(subscription=subscription, secret=Secret("hook-secret"), callback_url=CALLBACK)


def hook(id_=31337, url=CALLBACK, **changes):
    return {"id": id_, "active": True, "config": {"url": url, "secret": "********"}, **changes}


def reply(document, status=200, **headers):
    return respond(json.dumps(document).encode(), status, **headers)


def test_subscribe():
    """A hook gets our URL, our secret, JSON, checked certificates and the events of the table."""
    receipt, (request,) = answer(subscriptions.subscribe(APP, CONNECTION, wanted()), reply(hook(), 201))
    assert receipt.external_id == "31337"
    assert (request.method, request.url) == ("POST", "https://api.github.com/repos/ada/lamp/hooks")
    document = json.loads(request.body)
    assert document["name"] == "web"
    assert document["config"] == {
        "url": CALLBACK,
        "content_type": "json",
        "secret": "hook-secret",
        "insecure_ssl": "0",
    }
    assert document["events"] == REPOSITORY_EVENTS
    assert "hook-secret" not in repr(request)


def test_subscribe_an_organization():
    """An organization's hook also reports its members."""
    _, (request,) = answer(subscriptions.subscribe(APP, CONNECTION, wanted("org:lighthouse")), reply(hook(), 201))
    assert request.url == "https://api.github.com/orgs/lighthouse/hooks"
    assert json.loads(request.body)["events"] == [*REPOSITORY_EVENTS, "organization"]


def test_a_hook_that_exists_is_taken_over():
    """After "already exists" ours is found by its URL, on whatever page, and given the new secret."""
    link = '<https://api.github.com/repositories/7001/hooks?page=2>; rel="next"'
    receipt, requests = answer(
        subscriptions.subscribe(APP, CONNECTION, wanted()),
        reply({"errors": [{"code": "custom"}]}, 422),
        reply([hook(1, "https://other.example/"), {"id": "odd"}], link=link),
        reply([hook(2)]),
        reply(hook(2)),
    )
    assert receipt.external_id == "2"
    assert [request.method for request in requests] == ["POST", "GET", "GET", "PATCH"]
    assert requests[2].url == "https://api.github.com/repositories/7001/hooks?page=2"
    assert requests[3].url == "https://api.github.com/repos/ada/lamp/hooks/2"
    assert json.loads(requests[3].body)["config"]["secret"] == "hook-secret"


def test_a_refusal_that_is_not_ours():
    """A 422 without a hook of ours is an error with GitHub's code."""
    with pytest.raises(UnexpectedResponseError, match="custom"):
        answer(
            subscriptions.subscribe(APP, CONNECTION, wanted()),
            reply({"errors": [{"code": "custom"}]}, 422),
            reply([]),
        )


def test_a_missing_right():
    """GitHub answers 404 where the user may not: the error says which role and scope it takes."""
    with pytest.raises(AccessLostError) as caught:
        answer(subscriptions.subscribe(APP, CONNECTION, wanted()), reply({}, 404))
    assert "admin:repo_hook" in caught.value.next_step


def test_a_repository_that_moved():
    """A writing call is sent once more to the new address."""
    location = "https://api.github.com/repositories/7001/hooks"
    receipt, requests = answer(
        subscriptions.subscribe(APP, CONNECTION, wanted()), respond(status=307, location=location), reply(hook(), 201)
    )
    assert receipt.external_id == "31337"
    assert (requests[1].method, requests[1].url, requests[1].body) == ("POST", location, requests[0].body)


@pytest.mark.parametrize("status", [204, 404])
def test_unsubscribe(status):
    """The hook is removed, or somebody else has removed it."""
    conversation = subscriptions.unsubscribe(APP, CONNECTION, make_subscription())
    _, (request,) = answer(conversation, respond(status=status))
    assert (request.method, request.url) == ("DELETE", "https://api.github.com/repos/ada/lamp/hooks/31337")
    assert 404 in request.expects


def test_unsubscribe_what_never_was():
    """A subscription that GitHub never confirmed has nothing to remove there."""
    _, requests = answer(subscriptions.unsubscribe(APP, CONNECTION, make_subscription(external_id=None)))
    assert requests == []


@pytest.mark.parametrize(
    ("response", "is_alive"),
    [
        (reply(hook()), True),
        (reply(hook(active=False)), False),
        (reply(hook(url="https://old.example/webhooks/github/1")), False),
        (respond(status=404), False),
    ],
)
def test_probe(response, is_alive):
    """A hook is alive if it is there, active, and delivers to its address."""
    alive, (request,) = answer(subscriptions.probe(APP, CONNECTION, make_subscription()), response)
    assert alive is is_alive
    assert request.method == "GET"


def test_a_hook_of_unknown_address_only_has_to_be_there():
    """Where it should deliver to is not known."""
    elsewhere = reply(hook(url="https://old.example/"))
    conversation = subscriptions.probe(APP, CONNECTION, make_subscription(address=None))
    assert answer(conversation, elsewhere)[0] is True


def test_chosen_targets():
    """What was chosen is what is subscribed to, without a call."""
    chosen = make_connection(metadata={"repositories": ["ada/lamp", "ada/lamp"], "organizations": ["lighthouse"]})
    targets, requests = answer(subscriptions.targets(APP, chosen))
    assert targets == ("repo:ada/lamp", "org:lighthouse")
    assert requests == []


def test_all_targets():
    """Without a choice it is every repository that the user administers and that is not archived."""
    may = {"permissions": {"admin": True}, "html_url": "https://github.com/x"}
    listed = [
        {"id": 1, "full_name": "ada/lamp", **may},
        {"id": 2, "full_name": "ada/attic", **may, "archived": True},
        {"id": 3, "full_name": "bob/shed", **may, "permissions": {"admin": False}},
        {"id": 4, "full_name": "bob/barn", "html_url": "https://github.com/x"},
        {"id": 5, "full_name": "../../user", **may},
        {"id": "6", "full_name": "ada/odd", **may},
    ]
    link = '<https://api.github.com/user/repos?page=2>; rel="next"'
    targets, requests = answer(
        subscriptions.targets(APP, CONNECTION),
        reply(listed, link=link),
        reply([{"id": 7, "full_name": "ada/two", **may}]),
    )
    assert targets == ("repo:ada/lamp", "repo:ada/two")
    assert "affiliation=owner%2Ccollaborator%2Corganization_member" in requests[0].url


def test_the_list_of_repositories_is_cut():
    """Endless lists end near the documented number."""
    link = '<https://api.github.com/user/repos?page=2>; rel="next"'
    pages = [reply([], link=link)] * 12
    _, requests = answer(subscriptions.targets(APP, CONNECTION), *pages)
    assert len(requests) == 12


@pytest.mark.parametrize(
    "metadata",
    [
        {"repositories": "ada/lamp"},
        {"repositories": ["ada"]},
        {"repositories": ["ada/../../x"]},
        {"repositories": ["ada/.."]},
        {"repositories": ["./lamp"]},
        {"repositories": ["ada/lamp?x"]},
        {"repositories": [5]},
        {"organizations": ["a/b"]},
        {"organizations": {"a": 1}},
    ],
)
def test_a_choice_that_is_none(metadata):
    """A name that GitHub cannot have given is refused before it becomes part of a URL."""
    with pytest.raises(ValidationError):
        answer(subscriptions.targets(APP, make_connection(metadata=metadata)))


@pytest.mark.parametrize("target", ["", "ada/lamp", "repo:ada", "org:a/b", "user:ada", "repo:a/b/c"])
def test_a_target_that_is_none(target):
    """Only the package's own targets become URLs."""
    with pytest.raises(ValidationError):
        answer(subscriptions.subscribe(APP, CONNECTION, wanted(target)))
