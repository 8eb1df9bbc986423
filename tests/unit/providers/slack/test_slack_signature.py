"""Only deliveries from Slack and of the last five minutes are accepted."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.slack.builders import NOW, SIGNING_SECRET, make_request, material, sign

from connectors.domain.model.errors import DeliveryRejectedError
from connectors.domain.providers.slack import SLACK

VENDOR_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
VENDOR_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
BODY = b'{"type":"event_callback","event_id":"Ev1"}'
STAMP = str(int(NOW.timestamp()))


def verify(headers, body=BODY, now=NOW, secrets=(SIGNING_SECRET,)):
    return SLACK.webhooks.verify(make_request(body, headers), material(now, secrets))


def test_the_vendors_published_example_is_accepted():
    """The example in Slack's documentation verifies."""
    headers = {"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": VENDOR_SIGNATURE}
    delivery = verify(headers, VENDOR_BODY, datetime.fromtimestamp(1531420618, UTC))
    assert len(delivery.delivery_id) == 64


def test_the_delivery_id_is_the_event_id():
    """It is the same on every retry."""
    assert verify({}).delivery_id == "Ev1"
    assert SLACK.webhooks.read_delivery_id(make_request(BODY)) == "Ev1"


@pytest.mark.parametrize(
    ("what", "headers"),
    [
        ("missing", {"X-Slack-Signature": ""}),
        ("flipped", {"X-Slack-Signature": sign(BODY, STAMP)[:-1] + ("0" if sign(BODY, STAMP)[-1] != "0" else "1")}),
        ("other secret", {"X-Slack-Signature": sign(BODY, STAMP, "other")}),
        ("truncated", {"X-Slack-Signature": sign(BODY, STAMP)[:20]}),
        ("longer", {"X-Slack-Signature": sign(BODY, STAMP) + "00"}),
        ("upper case", {"X-Slack-Signature": sign(BODY, STAMP).upper()}),
        ("without version", {"X-Slack-Signature": sign(BODY, STAMP)[3:]}),
        ("non-ASCII", {"X-Slack-Signature": "v0=é\udcff"}),
        ("of another body", {"X-Slack-Signature": sign(BODY + b" ", STAMP)}),
        ("of another time", {"X-Slack-Signature": sign(BODY, str(int(STAMP) + 1))}),
        ("no timestamp", {"X-Slack-Request-Timestamp": ""}),
        ("fraction", {"X-Slack-Request-Timestamp": STAMP + ".5", "X-Slack-Signature": sign(BODY, STAMP + ".5")}),
        ("sign", {"X-Slack-Request-Timestamp": "+" + STAMP, "X-Slack-Signature": sign(BODY, "+" + STAMP)}),
        ("blank", {"X-Slack-Request-Timestamp": " " + STAMP, "X-Slack-Signature": sign(BODY, " " + STAMP)}),
        ("newline", {"X-Slack-Request-Timestamp": STAMP + "\n", "X-Slack-Signature": sign(BODY, STAMP + "\n")}),
        ("word", {"X-Slack-Request-Timestamp": "soon", "X-Slack-Signature": sign(BODY, "soon")}),
        ("huge", {"X-Slack-Request-Timestamp": "9" * 5000, "X-Slack-Signature": sign(BODY, "9" * 5000)}),
    ],
)
def test_anything_but_the_right_signature_is_rejected(what, headers):
    """Missing, damaged, foreign and malformed signatures and timestamps do not pass."""
    with pytest.raises(DeliveryRejectedError) as caught:
        verify(headers)
    assert "v0=" not in str(caught.value)


@pytest.mark.parametrize(("seconds", "accepted"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_window_is_five_minutes_either_way(seconds, accepted):
    """A recorded request cannot be sent again later, and none can be made for the future."""
    now = NOW + timedelta(seconds=seconds)
    if accepted:
        verify({}, now=now)
    else:
        with pytest.raises(DeliveryRejectedError):
            verify({}, now=now)


def test_either_of_two_secrets_is_good_while_one_rotates():
    """Order does not matter."""
    verify({}, secrets=("new", SIGNING_SECRET))
    verify({}, secrets=(SIGNING_SECRET, "new"))


def test_no_secret_rejects_everything():
    """Without a secret every delivery is rejected."""
    with pytest.raises(DeliveryRejectedError):
        verify({}, secrets=())


@given(signature=st.text(), timestamp=st.text(max_size=30), body=st.binary(max_size=200))
def test_no_header_or_body_gets_past_or_breaks_the_check(signature, timestamp, body):
    """Whatever is sent, the answer is a rejection and nothing else."""
    with pytest.raises(DeliveryRejectedError):
        verify({"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": timestamp}, body)


@given(st.binary(max_size=300))
def test_every_delivery_has_an_id(body):
    """Any delivery has an id."""
    assert SLACK.webhooks.read_delivery_id(make_request(body))
