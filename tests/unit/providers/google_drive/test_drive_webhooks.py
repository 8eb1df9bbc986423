"""What Drive's notifications ask for."""

import pytest
from tests.support.google import make_delivery_request

from connectors.domain.model.webhook import VerifiedDelivery
from connectors.domain.providers.contract import ReadContext
from connectors.domain.providers.google_drive import GOOGLE_DRIVE

CHANGES = "https://www.googleapis.com/drive/v3/changes?pageToken=8&includeRemoved=true"


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        (f"{CHANGES}&driveId=0ADr&alt=json", "log:0ADr"),
        (f"{CHANGES}&alt=json", None),
        (f"{CHANGES}&driveId=a&driveId=b", None),
        (f"{CHANGES}&driveId=user", None),
        (f"{CHANGES}&driveId=%00", None),
        ("https://[?driveId=0ADr", None),
        (None, None),
    ],
)
def test_a_shared_drives_channel_names_its_log(uri, target):
    """The user's channel reports everything that the user sees, so it asks for all logs."""
    headers = {"X-Goog-Resource-State": "change", **({"X-Goog-Resource-URI": uri} if uri else {})}
    request = make_delivery_request(GOOGLE_DRIVE, headers=headers)
    delivery = VerifiedDelivery(request=request, delivery_id="d", via="subscription")
    event = GOOGLE_DRIVE.webhooks.read_event(delivery, ReadContext(app=None))
    assert (event.needs_sync, event.sync_target) == (True, target)
