"""The table of events, and what is derived from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jira import NOW, FakeSite, make_connection, make_request, receive

from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.webhook import Ignored
from connectors.domain.providers.jira import JIRA
from connectors.domain.providers.jira.details import Details, Row
from connectors.domain.providers.jira.envelope import SELF_SOURCES, Envelope
from connectors.domain.providers.jira.events import (
    ADMIN_EVENTS,
    COMMENT_UPDATES,
    DYNAMIC_EVENTS,
    IGNORED_ON_PURPOSE,
    RULES,
    UPDATED,
    normalize,
)
from connectors.domain.providers.jira.signals import Site
from connectors.domain.providers.jira.streams import envelopes_of
from connectors.domain.providers.jira.webhooks import checkboxes

SITE = Site.of(make_connection())


def test_our_webhook_asks_for_what_it_may():
    """These events are registered, and for the others there is only an administrator's webhook."""
    assert (
        *("jira:issue_created", "jira:issue_updated", "jira:issue_deleted"),
        *("comment_created", "comment_updated", "comment_deleted"),
        *("sprint_started", "sprint_closed", "jira:version_released"),
    ) == DYNAMIC_EVENTS
    assert ADMIN_EVENTS == ("worklog_created", "project_created")


def test_names_do_not_overlap():
    """No event is both tracked and ignored on purpose, and updates stand only for events of the table."""
    assert not set(RULES) & set(IGNORED_ON_PURPOSE)
    assert set(COMMENT_UPDATES.values()) <= set(RULES)


def test_families():
    """Each kind is in one family, and a delivery counts for the family that its event's row names."""
    assert sorted(kind for family in JIRA.families for kind in family.kinds) == sorted(JIRA.kinds)
    found = {event: JIRA.family_of(event).name for event in RULES}
    assert found == {event: rule.family for event, rule in RULES.items()}


def test_only_what_our_webhook_asks_for_counts_as_pushed():
    """A family is pushed if our own webhook sends every event in it."""
    for family in JIRA.families:
        assert family.is_pushed == all(RULES[event].is_dynamic for event in family.events)


def test_reading_shows_the_families_that_it_claims():
    """Reading an issue with an edited comment makes envelopes of all events in the families that are read."""
    site = FakeSite()
    issue_id = site.create()["issue"]["id"]
    comment = {"id": "1", "created": "2026-03-01T00:00:00Z", "updated": "2026-03-02T00:00:00Z"}
    row = Row.read(site.issues[issue_id])
    details = Details(rows=[row], changes={issue_id: [{"id": "2"}]}, comments={issue_id: [comment]})
    shown = {envelope["webhookEvent"] for _, envelope in envelopes_of(row, details)}
    assert shown <= set(RULES)
    assert shown >= {event for family in JIRA.families if family.is_read for event in family.events}


def test_every_payload_may_name_the_site():
    """The site is looked for in every object that a row reads; a changelog has its issue beside it."""
    assert {rule.member for rule in RULES.values()} - {"changelog"} <= set(SELF_SOURCES)


def test_the_setup_text_lists_what_to_tick():
    """It lists the events that only an administrator's webhook has, and the others for apps without a webhook."""
    assert checkboxes(ADMIN_EVENTS) == "Worklog: created, Project: created"
    assert f"{checkboxes(ADMIN_EVENTS)}.\n" in JIRA.webhooks.manual_setup
    assert f"{checkboxes(DYNAMIC_EVENTS)}.\n" in JIRA.webhooks.manual_setup


@pytest.mark.parametrize("event", IGNORED_ON_PURPOSE)
def test_ignored_on_purpose_with_its_reason(event):
    """An event that is ignored on purpose says why."""
    assert receive(make_request({"webhookEvent": event}), make_connection()) == Ignored(
        event, IGNORED_ON_PURPOSE[event]
    )


@pytest.mark.parametrize("event", ["teapot_boiled", "", None, 7, "jira:issue_created ", "issue_created"])
def test_unknown_event_is_ignored(event):
    """An event that nobody knows is ignored, and the reason is none of those on purpose."""
    ignored = receive(make_request({"webhookEvent": event}), make_connection())
    assert isinstance(ignored, Ignored)
    assert ignored.reason == "not an event that we know"
    assert ignored.reason not in IGNORED_ON_PURPOSE.values()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["1", "OPS-1"])
)
names = st.sampled_from(["id", "key", "name", "fields", "items", "field", "created", "author", "accountId"]) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from(list(RULES)),
    st.sampled_from([None, *COMMENT_UPDATES]),
    st.dictionaries(st.sampled_from(["timestamp", "user", *(rule.member for rule in RULES.values())]), values),
)
def test_foreign_payloads_are_read_or_refused(event, update, members):
    """Whatever an event contains, it gives signals of its rows or is refused as unexpected."""
    envelope = Envelope.read({"webhookEvent": event, "issue_event_type_name": update, **members})
    try:
        drafts = normalize(envelope, SITE)
    except UnexpectedResponseError:
        return
    reported = {event, COMMENT_UPDATES.get(update)} if event == UPDATED else {event}
    assert {draft.kind for draft in drafts} <= {kind for name in reported - {None} for kind in RULES[name].kinds}
    assert len({draft.dedupe_key for draft in drafts}) == len(drafts)


@pytest.mark.parametrize("document", [None, [], "x", 1, [{"webhookEvent": "comment_created"}]])
def test_envelope_is_an_object(document):
    """JSON that is not an object is no event."""
    with pytest.raises(UnexpectedResponseError):
        receive(make_request(json.dumps(document).encode()), make_connection())


def test_envelope_does_not_show_its_document():
    """The payload of an event is not in its repr, and so not in logs."""
    body = FakeSite(now=NOW).create()
    assert json.dumps(body["issue"]["fields"]["summary"])[1:-1] not in repr(Envelope.read(body))
