"""A hook's log of deliveries, read by replying as GitHub would."""

import itertools
import json
from datetime import timedelta

import pytest
from tests.unit.providers.github.support import NOW, answer, make_app, make_connection, respond
from tests.unit.providers.github.test_subscriptions import make_subscription

from connectors.domain.model.errors import UnexpectedResponseError, ValidationError
from connectors.domain.model.instant import rfc3339
from connectors.domain.providers.contract import MissedDelivery
from connectors.domain.providers.github import deliveries

LOG = "https://api.github.com/repos/ada/lamp/hooks/31337/deliveries"
MORE = f'<{LOG}?cursor=v1_2>; rel="next"'
APP = make_app()
CONNECTION = make_connection()
SINCE = NOW - timedelta(hours=1)


def entry(guid, code, age, event="issues", action="opened", **changes):
    """A line of the log, `age` minutes old."""
    return {
        "id": age * 10**6 + sum(str(guid).encode()),
        "guid": guid,
        "delivered_at": rfc3339(NOW - timedelta(minutes=age)),
        "redelivery": False,
        "status": "whatever",
        "status_code": code,
        "event": event,
        "action": action,
        **changes,
    }


def page(*entries, link=None):
    return respond(json.dumps(entries).encode(), **({"link": link} if link else {}))


def missed(*pages, since=SINCE):
    return answer(deliveries.missed(APP, CONNECTION, make_subscription(), since), *pages)


def test_what_no_attempt_has_brought_is_missed():
    """A delivery counts by its GUID: one success among its attempts is enough, in whatever order they came."""
    again = entry("mended", 202, 5, redelivery=True)
    found, (request,) = missed(
        page(
            again,
            entry("lost", 0, 6),
            entry("refused", 503, 7, "push", None),
            entry("good", 200, 8),
            entry("mended", 500, 9),
        )
    )
    assert [(one.delivery_id, one.event) for one in found] == [("lost", "issues.opened"), ("refused", "push")]
    assert found[0].at == NOW - timedelta(minutes=6)
    assert request.url == f"{LOG}?per_page=100"


def test_the_log_is_read_back_to_the_instant_and_no_further():
    """What failed before is not asked for, and its pages are not read."""
    found, requests = missed(page(entry("new", 0, 5), link=MORE), page(entry("old", 0, 61), link=MORE))
    assert [one.delivery_id for one in found] == ["new"]
    assert [request.url for request in requests] == [f"{LOG}?per_page=100", f"{LOG}?cursor=v1_2"]


@pytest.mark.parametrize(("first", "is_missed"), [(200, False), (500, True)])
def test_a_repetition_is_judged_with_its_first_attempt(first, is_missed):
    """A delivery that somebody repeats by hand, and that then fails, may have arrived the first time."""
    repeated = entry("twice", 0, 5, redelivery=True)
    found, requests = missed(page(repeated, entry("old", 0, 90), link=MORE), page(entry("twice", first, 300)))
    assert [one.delivery_id for one in found] == ["twice"] * is_missed
    assert len(requests) == 2
    if is_missed:
        assert (found[0].log_id, found[0].at) == (str(repeated["id"]), NOW - timedelta(minutes=300))


@pytest.mark.parametrize(
    ("event", "action"), [("ping", None), ("issues", "labeled"), ("release", "created"), ("watch", "started")]
)
def test_what_would_be_ignored_is_not_missed(event, action):
    """Events without a signal leave no gap."""
    assert missed(page(entry("x", 0, 5, event, action)))[0] == ()


@pytest.mark.parametrize(
    "odd",
    [None, 7, {}, {"guid": "x"}, entry("x", 0, 5, delivered_at="soon"), entry("x", 0, 5, id="7"), entry(7, 0, 5),
     entry("x", "0", 5), entry("x", 0, 5, None)],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_passed_over(odd):
    """An unreadable entry does not hide the others."""
    assert [one.delivery_id for one in missed(page(odd, entry("lost", None, 5)))[0]] == ["lost"]


def test_a_log_without_end_is_an_error():
    """A log that is too long is an error, so that nobody assumes all of it was read."""
    endless = itertools.repeat(page(entry("new", 200, 5), link=MORE), deliveries.MAX_LOG_PAGES)
    with pytest.raises(UnexpectedResponseError, match="log"):
        missed(*endless)


def test_a_hook_that_never_was_has_no_log():
    """No call is made."""
    conversation = deliveries.missed(APP, CONNECTION, make_subscription(external_id=None), SINCE)
    assert answer(conversation) == ((), [])


def one_missed(log_id):
    return MissedDelivery(delivery_id="lost", log_id=log_id, event="push", at=NOW)


def test_redeliver():
    """The request has the log's own id, and follows a repository that has moved."""
    conversation = deliveries.redeliver(APP, CONNECTION, make_subscription(), one_missed("12"))
    location = "https://api.github.com/repositories/7001/hooks/31337/deliveries/12/attempts"
    _, requests = answer(conversation, respond(status=307, location=location), respond(b"{}", 202))
    assert [(request.method, request.url) for request in requests] == [
        ("POST", f"{LOG}/12/attempts"),
        ("POST", location),
    ]


@pytest.mark.parametrize("log_id", ["", "../7", "²", "7/attempts?"])
def test_a_delivery_that_is_none(log_id):
    """Only digits become part of a URL."""
    with pytest.raises(ValidationError):
        answer(deliveries.redeliver(APP, CONNECTION, make_subscription(), one_missed(log_id)))
