"""Dedupe keys of odd input. They are stored in databases, so each stays as it is, byte for byte."""

import json

import pytest
from tests.support import google, jira, zoho
from tests.unit.providers.github import support as github
from tests.unit.providers.slack import builders as slack

from connectors.adapters.storable import key_text
from connectors.domain.model.errors import UnexpectedResponseError
from connectors.domain.model.instant import read_instant
from connectors.domain.model.streams import Window
from connectors.domain.model.sync import Observation, SyncMode, SyncPlan
from connectors.domain.providers.contract import SyncContext
from connectors.domain.providers.github import GITHUB
from connectors.domain.providers.gmail import GMAIL
from connectors.domain.providers.google_calendar import GOOGLE_CALENDAR
from connectors.domain.providers.google_calendar.payloads import Calendar, read_event_item
from connectors.domain.providers.google_calendar.signals import observe
from connectors.domain.providers.google_drive import GOOGLE_DRIVE
from connectors.domain.providers.google_drive.payloads import read_change
from connectors.domain.providers.google_drive.signals import observe_change
from connectors.domain.providers.zoho_cliq import ZOHO_CLIQ
from connectors.domain.providers.zoho_mail import ZOHO_MAIL

HALF = "a\ud83db"
"""A text that was cut in the middle of a character."""
PLAN = SyncPlan(mode=SyncMode.INCREMENTAL, started_at=google.NOW)
EVER = read_instant("2000-01-01T00:00:00Z")
WINDOW = Window(mode=SyncMode.INCREMENTAL, low=EVER, high=google.NOW, floor=EVER)
AT = "2026-03-04T05:06:07Z"
MILLIS = 1_773_144_000_703


def keys_of(outcome):
    """The keys as they are stored."""
    return [key_text(draft.dedupe_key) for draft in outcome.signals]


# --- GitHub ----------------------------------------------------------------------------------------------------------


def github_push(**changes):
    ada = {"id": 5, "login": "ada", "html_url": "https://github.com/ada"}
    document = {
        "ref": "refs/heads/main",
        "before": "1" * 40,
        "after": "2" * 40,
        "head_commit": {"timestamp": AT, "message": "m"},
        "repository": {"id": 7, "full_name": "a/b", "html_url": "https://github.com/a/b", "pushed_at": 1772600767},
        "sender": ada,
        **changes,
    }
    return GITHUB.webhooks.read_event(github.make_delivery(json.dumps(document).encode(), "push"), github.CONTEXT)


@pytest.mark.parametrize(
    ("ref", "kept"),
    [
        ("refs/heads/a\0b", "refs/heads/ab"),
        (f"refs/heads/{HALF}", "refs/heads/a?b"),
        ("refs/heads/ä b", "refs/heads/ä b"),
        ("refs/heads/ ", "refs/heads/ "),
    ],
)
def test_github_refs(ref, kept):
    """A ref is in the key without NUL, and with a question mark for half a character."""
    assert keys_of(github_push(ref=ref)) == [f"github:7:push:{kept}:{'1' * 40}:{'2' * 40}"]


@pytest.mark.parametrize("identifier", ["7", True, 7.0, -1, 2**63, "9" * 5000])
def test_github_ids_are_numbers(identifier):
    """No text, no fraction and no number beyond 63 bits is in a key."""
    repository = {"id": identifier, "full_name": "a/b", "html_url": "https://github.com/a/b", "pushed_at": 1772600767}
    with pytest.raises(UnexpectedResponseError):
        github_push(repository=repository)


# --- Slack -----------------------------------------------------------------------------------------------------------


def slack_reaction(**changes):
    item = {"type": "message", "channel": "C1", "ts": "1777896000.000200"}
    event = {"type": "reaction_added", "user": "U9", "reaction": "eyes", "item": item, "event_ts": "1777896001.000300"}
    return slack.read(slack.envelope({**event, **changes}))


@pytest.mark.parametrize(
    ("reaction", "kept"),
    [
        (HALF, "a\ufffdb"),
        ("\ud83d\udc40", "\U0001f440"),
        ("a\0b", "ab"),
        ("a b", "a b"),
        ("x" * 400, "x" * 300),
        ("\ud83d" * 301, "\ufffd" * 300),
    ],
)
def test_slack_reactions(reaction, kept):
    """A reaction is in the key without NUL, cut, and with U+FFFD for half a character."""
    key = f"slack:{slack.TEAM}:C1:1777896000.000200:reaction:{kept}:U9:1777896001.000300"
    assert keys_of(slack_reaction(reaction=reaction)) == [key]


@pytest.mark.parametrize("user", [HALF, "U\0", "U" * 65, "U 9", "U/9", "Ü", 9, True, ""])
def test_slack_ids(user):
    """A value that cannot be one of Slack's ids is in no key."""
    with pytest.raises(UnexpectedResponseError):
        slack_reaction(user=user)
    assert keys_of(slack_reaction(user="U" * 64))


# --- Jira ------------------------------------------------------------------------------------------------------------


def jira_comment(identifier):
    author = {"accountId": "712020:lee", "displayName": "Lee"}
    document = {
        "webhookEvent": "comment_created",
        "timestamp": jira.ms(jira.NOW),
        "matchedWebhookIds": [1000],
        "issue": {"id": "1", "key": "OPS-1", "self": f"{jira.SITE}/rest/api/2/issue/1"},
        "comment": {"id": identifier, "author": author, "created": AT},
    }
    return jira.receive(jira.make_request(document), jira.make_connection())


@pytest.mark.parametrize(
    ("identifier", "kept"), [(5, "5"), ("5", "5"), ("05", "05"), (2**63 - 1, str(2**63 - 1)), ("x" * 128, "x" * 128)]
)
def test_jira_ids(identifier, kept):
    """The same id as a number and as a text gives one key; a text stays as it is."""
    (draft,) = jira_comment(identifier)
    assert draft.dedupe_key == f"jira:{jira.CLOUD}:comment:{kept}:created"


@pytest.mark.parametrize("identifier", [HALF, "5\0", "x" * 129, "5 ", "ä", True, 5.0, -5, 2**64, "", None])
def test_what_is_no_id_of_jiras(identifier):
    """A value that cannot be one of Jira's ids is in no key."""
    with pytest.raises(UnexpectedResponseError):
        jira_comment(identifier)


# --- Zoho ------------------------------------------------------------------------------------------------------------


def zoho_mail(**ids):
    document = {"receivedTime": MILLIS, "subject": "s", "fromAddress": "a@x.example", **ids}
    return zoho.receive(ZOHO_MAIL, document, zoho.make_connection())


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        ({"messageIdString": "1773133199131140001", "messageId": 1773133199131140000}, "1773133199131140001"),
        ({"messageIdString": HALF, "messageId": 5}, "5"),
        ({"messageIdString": "5\0", "messageId": "5"}, "5"),
        ({"messageIdString": "005"}, "5"),
        ({"messageId": 2**64 - 1}, str(2**64 - 1)),
        ({"messageId": "9" * 20}, "9" * 20),
        ({"messageIdString": "9" * 21, "messageId": "7"}, "7"),
        ({"messageIdString": True, "messageId": 5.0, "folderId": 1}, None),
        ({"messageId": 2**64}, None),
        ({"messageId": -5}, None),
    ],
)
def test_zoho_mail_ids(ids, kept):
    """An id is digits without leading zeros; of two fields, the first valid one counts."""
    assert keys_of(zoho_mail(**ids)) == ([] if kept is None else [f"zmail:{zoho.ACCOUNT_ID}:{kept}"])


def zoho_cliq(message_id=None, chat_id="CT_1", user=None):
    message = {"text": "hi", "time": MILLIS, **({} if message_id is None else {"id": message_id})}
    document = {
        "handler": "message_handler",
        "message": message,
        "chat": {"id": chat_id},
        "access": {"chat_id": "CT_2"},
        "user": {"id": user},
    }
    return zoho.receive(ZOHO_CLIQ, document, zoho.make_connection("zoho-cliq"))


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ({"message_id": f"{MILLIS}_12"}, f"CT_1:{MILLIS}_12"),
        ({"message_id": f"{MILLIS}%5F12"}, f"CT_1:{MILLIS}_12"),
        ({"message_id": f" {MILLIS} 12"}, f"CT_1:{MILLIS}_12"),
        ({"message_id": 12}, "CT_1:12"),
        ({"message_id": HALF}, f"CT_1:unknown:{MILLIS}"),
        ({"message_id": "m\0"}, f"CT_1:unknown:{MILLIS}"),
        ({"message_id": "m" * 257}, f"CT_1:unknown:{MILLIS}"),
        ({"message_id": "m" * 256}, f"CT_1:{'m' * 256}"),
        ({"message_id": "m", "chat_id": HALF}, "CT_2:m"),
        ({"message_id": "m", "chat_id": "C" * 257}, "CT_2:m"),
        ({"message_id": "m", "chat_id": "a b"}, "CT_2:m"),
        ({"message_id": "m", "chat_id": 7}, "7:m"),
        ({"message_id": "m", "chat_id": 2**64}, "CT_2:m"),
        ({"user": 680463218}, f"CT_1:680463218:{MILLIS}"),
        ({"user": "680463218"}, f"CT_1:680463218:{MILLIS}"),
        ({"user": HALF}, f"CT_1:unknown:{MILLIS}"),
    ],
    ids=range(16),
)
def test_zoho_cliq_ids(parts, kept):
    """An id is printable and without blanks; a number and its text give one key; invalid ids are replaced."""
    assert keys_of(zoho_cliq(**parts)) == [f"cliq:eu:{kept}"]


# --- Google ----------------------------------------------------------------------------------------------------------


def interpret(provider, observation, known=None, **options):
    context = SyncContext(app=google.make_app(provider, **options), connection=google.make_connection(provider))
    return provider.streams.interpret(context, WINDOW, observation, known)


def gmail(label="Label_1", history_id="12", message_id="m1"):
    event = {"history_id": history_id, "was_added": True, "labels": [label], "document": {}}
    state = {"id": message_id, "document": None, "arrival_labels": None, "label_events": [event], "deletion": None}
    return interpret(GMAIL, Observation(key="x", state=state), {"subject": "s"}, label_events="true")


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        ({}, "m1:added:Label_1:12"),
        ({"label": "Label_my label/ü"}, "m1:added:Label_my label/ü:12"),
        ({"label": "Label_" + "x" * 1018}, f"m1:added:Label_{'x' * 1018}:12"),
        ({"label": "Label_" + "x" * 1019}, None),
        ({"label": f"Label_{HALF}"}, None),
        ({"label": "Label_\0"}, None),
        ({"label": 5}, None),
        ({"history_id": 12}, "m1:added:Label_1:0"),
        ({"history_id": HALF}, "m1:added:Label_1:0"),
        ({"message_id": 5}, None),
        ({"message_id": ".."}, None),
    ],
    ids=range(11),
)
def test_gmail_ids(parts, kept):
    """An id is a printable text of at most 1024 characters, spaces included; an invalid history id counts as 0."""
    connection = google.make_connection(GMAIL)
    mailbox = connection.account.metadata["email"]
    expected = [] if kept is None else [key_text(f"gmail:{mailbox}:{kept}")]
    assert keys_of(gmail(**parts)) == expected


def drive(known, time=AT, **changes):
    file = {
        "id": "f1",
        "name": "n",
        "createdTime": "2020-01-01T00:00:00Z",
        "modifiedTime": AT,
        "parents": ["p"],
        **changes,
    }
    change = read_change({"fileId": "f1", "time": time, "file": file})
    before = {"name": "before", "parents": ["p"], "trashed": False, "modified_time": AT, **known}
    return interpret(GOOGLE_DRIVE, observe_change(change), before)


@pytest.mark.parametrize(
    ("known", "changes", "suffix"),
    [
        ({}, {"name": HALF}, f"renamed:c2a7b64a2d252004:{AT}"),
        ({}, {"name": "a\0b"}, f"renamed:fb8e20fc2e4c3f24:{AT}"),
        ({}, {"parents": ["q", HALF, "a\0", "x" * 1025, 5, "r s"]}, f"moved:q,r s:{AT}"),
        ({"name": "n"}, {"modifiedTime": "2026-03-04T05:06:08.5+00:00"}, "updated:2026-03-04T05:06:08.5+00:00"),
    ],
    ids=["half", "nul", "parents", "time"],
)
def test_drive_identities(known, changes, suffix):
    """A name is hashed as it is stored, invalid parents are left out, and times stay as Drive wrote them."""
    account = google.make_connection(GOOGLE_DRIVE).account.id
    kept = ["created", suffix] if "modifiedTime" in changes else [suffix]
    assert keys_of(drive(known, **changes)) == [f"gdrive:{account}:f1:{one}" for one in kept]


def calendar(**changes):
    item = {"id": "e1", "status": "cancelled", "etag": '"1"', **changes}
    event = read_event_item(item)
    return interpret(GOOGLE_CALENDAR, observe(Calendar(id="c d@x", name="c"), event, item, is_full=False))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, 'e1:cancelled:"1"'),
        ({"etag": HALF}, "e1:cancelled:-"),
        ({"etag": 5}, "e1:cancelled:-"),
        ({"etag": "x" * 1025}, "e1:cancelled:-"),
        ({"updated": "2026-03-04T05:06:07.000Z"}, "e1:2026-03-04T05:06:07.000Z"),
        ({"id": "x" * 1024}, f'{"x" * 1024}:cancelled:"1"'),
        ({"id": "a b"}, 'a b:cancelled:"1"'),
    ],
    ids=range(7),
)
def test_calendar_identities(changes, kept):
    """`updated` stays as Calendar wrote it; for a stub a valid etag counts."""
    assert keys_of(calendar(**changes)) == [key_text(f"gcal:c d@x:{kept}")]
