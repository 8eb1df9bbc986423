"""A hook's log of deliveries: which of them never arrived, and how to request one again.

GitHub tries once and never again by itself. It keeps the log for three days.

Source: docs.github.com, REST "Repository webhooks: deliveries", "Handling failed webhook deliveries".
"""

from datetime import datetime
from http import HTTPStatus

import attrs

from connectors.domain.model.connection import Connection
from connectors.domain.model.errors import UnexpectedResponseError, ValidationError
from connectors.domain.model.http import Conversation
from connectors.domain.model.oauth import ProviderApp
from connectors.domain.model.webhook import Subscription
from connectors.domain.providers.contract import MissedDelivery
from connectors.domain.providers.github.endpoints import PAGE_SIZE, endpoints_of, get, read_link, read_list, send
from connectors.domain.providers.github.events import EVENTS
from connectors.domain.providers.github.hooks import follow, hook_url, is_id
from connectors.domain.providers.toolbox import structure

MAX_LOG_PAGES = 200
"""Pages of one hook's log that are read: 20,000 deliveries. Only a very large organization has more in three days, and
reading its log would use up the user's quota."""


@attrs.frozen(kw_only=True)
class LogEntry:
    """One delivery attempt."""

    id: int
    guid: str
    delivered_at: datetime
    status_code: int | None = None
    """The status of our answer; 0 if there was none."""
    event: str
    action: str | None = None
    redelivery: bool = False

    @property
    def is_received(self) -> bool:
        """Whether we acknowledged it."""
        return HTTPStatus.OK <= (self.status_code or 0) < HTTPStatus.MULTIPLE_CHOICES

    @property
    def name(self) -> str:
        """The event as in `WebhookEvent.event`."""
        return self.event if self.action is None else f"{self.event}.{self.action}"


@attrs.define
class _Attempts:
    """One delivery in the log, read from its latest attempt backwards."""

    latest: LogEntry
    earliest: LogEntry
    is_received: bool = False

    @property
    def is_open(self) -> bool:
        """Whether only repetitions were seen, so that an earlier attempt may have been received."""
        return not self.is_received and self.earliest.redelivery


def missed(
    app: ProviderApp, _: Connection, subscription: Subscription, since: datetime
) -> Conversation[tuple[MissedDelivery, ...]]:
    """The deliveries with an attempt since that instant of which no attempt was received. See `Subscriptions.missed`.

    Only events that become signals count. An attempt of the last half minute is listed too, although it may still be on
    its way: the caller decides by `MissedDelivery.at` which failures are old enough.

    Raises:
        AccessLostError: the hook is gone, or the user may not see it any more.
        UnexpectedResponseError: the log is too long to read back to that instant.
    """
    endpoints = endpoints_of(app)
    hook = hook_url(endpoints, subscription)
    url = None if hook is None else f"{hook}/deliveries?per_page={PAGE_SIZE}"
    found: dict[str, _Attempts] = {}
    for _page in range(MAX_LOG_PAGES):
        if url is None:
            break
        response = yield get(url)
        is_past = False
        for item in read_list(response):
            try:
                entry = structure.read(item, LogEntry, "GitHub's delivery")
            except UnexpectedResponseError:
                continue  # without an id or an instant there is nothing to ask for
            is_past = entry.delivered_at < since
            _note(found, entry, is_past=is_past)
        # Before that instant, only the first attempts of deliveries that were repeated since are searched.
        is_settled = is_past and not any(attempts.is_open for attempts in found.values())
        url = None if is_settled else read_link(endpoints, response)
    if url is not None:
        raise UnexpectedResponseError(f"The webhook's log has more than {MAX_LOG_PAGES} pages since {since:%F %R}.")
    return tuple(_missed(guid, attempts) for guid, attempts in found.items() if not attempts.is_received)


def redeliver(
    app: ProviderApp, _: Connection, subscription: Subscription, delivery: MissedDelivery
) -> Conversation[None]:
    """Ask GitHub to send it again, with the same GUID. See `Subscriptions.redeliver`.

    Raises:
        AccessLostError: it is no longer in the log, or the hook is gone.
    """
    hook = hook_url(endpoints_of(app), subscription)
    if hook is None or not is_id(delivery.log_id):
        raise ValidationError("There is no such delivery at GitHub.")
    yield from follow(send("POST", f"{hook}/deliveries/{delivery.log_id}/attempts"))


def _note(found: dict[str, _Attempts], entry: LogEntry, *, is_past: bool) -> None:
    attempts = found.get(entry.guid)
    if attempts is None:
        if is_past or entry.name not in EVENTS:
            return
        attempts = found[entry.guid] = _Attempts(entry, entry)
    attempts.earliest = entry
    attempts.is_received = attempts.is_received or entry.is_received


def _missed(guid: str, attempts: _Attempts) -> MissedDelivery:
    return MissedDelivery(
        delivery_id=guid,
        log_id=str(attempts.latest.id),
        event=attempts.latest.name,
        at=attempts.earliest.delivered_at,
    )
