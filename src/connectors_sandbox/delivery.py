"""Outgoing webhooks: real HTTP POSTs with the vendor's retry schedule, a log, and disorder on demand.

Nothing is sent when it is enqueued. Either a test calls `deliver_pending`, which sends everything that is due in the
test's thread, in a known order; or `start` runs a thread that sends deliveries as they fall due on the sandbox clock.
"""

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import attrs
import requests

from connectors_sandbox.clock import SandboxClock

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""The only hosts to deliver to unless configured: a sandbox must not call foreign servers."""

LOG_LENGTH: Final = 50_000
"""Deliveries kept in the log."""

IDLE_WAIT_SECONDS: Final = 0.5
"""The longest sleep of the thread before it checks the clock again."""

MAX_KEPT_BODY_BYTES: Final = 65_536
"""The part of a receiver's response that is kept; the log needs no more."""


@attrs.frozen
class Attempt:
    """One attempt to deliver."""

    number: int
    """1 is the first."""
    at: datetime
    status: int | None
    """None without an HTTP response."""
    duration: timedelta
    error: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Of the receiver's response, with lower-case names."""
    body: bytes = attrs.field(default=b"", repr=False)
    """Of the receiver's response."""
    sent_headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    sent_body: bytes = attrs.field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004  the class of success codes


def retry_unless_success(attempt: Attempt) -> bool:
    """The simplest retry rule: anything but 2xx is sent again."""
    return not attempt.is_success


@attrs.frozen
class RetryPolicy:
    """When a vendor sends again. The default never does."""

    delays: tuple[timedelta, ...] = ()
    """The delays between attempts; there are as many retries as delays."""
    should_retry: Callable[[Attempt], bool] = retry_unless_success
    timeout_seconds: float = 10.0


NO_RETRY: Final = RetryPolicy()


@attrs.define(eq=False)
class Outgoing:
    """A webhook to deliver, and its attempts."""

    provider: str
    url: str = attrs.field(repr=False)
    event: str
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    prepare: Callable[[int, datetime], tuple[Mapping[str, str], bytes]] | None = attrs.field(default=None, repr=False)
    """Gives the headers and body of attempt n at an instant; for vendors that sign the time or count attempts."""
    policy: RetryPolicy = NO_RETRY
    source: str = ""
    """Its origin in the world, as in `hook:7`; with it a world finds its own deliveries."""
    id: str = ""
    """Given by the service when it is queued or sent, unless the vendor chooses it."""
    due_at: datetime | None = None
    """None means immediately."""
    on_attempt: Callable[["Outgoing", Attempt], None] | None = attrs.field(default=None, repr=False)
    attempts: list[Attempt] = attrs.field(factory=list, repr=False)
    is_dropped: bool = False
    is_redelivery: bool = False

    @property
    def last_attempt(self) -> Attempt | None:
        """The latest attempt, or None before the first."""
        return self.attempts[-1] if self.attempts else None


@attrs.define
class Disorder:
    """How the network disturbs deliveries; shares are probabilities."""

    drop: float = 0.0
    """Never sent at all."""
    duplicate: float = 0.0
    """Sent twice."""
    shuffle: bool = False
    """Deliveries due at the same time are sent in random order."""


Sender = Callable[[Outgoing, Attempt, float], Attempt]
"""Makes one attempt to deliver. It gets the delivery, the attempt as prepared (its headers and body, no status yet) and
the seconds that the receiver has; it returns the attempt with its outcome. It never raises."""


class DeliveryService:
    """Queue, sender and log of every outgoing webhook.

    Args:
        clock: says what is due.
        rng: decides about `disorder`.
        allowed_hosts: hosts, besides loopback, to deliver to.
        send: makes the attempts; `post` sends real HTTP.
        seed: of the ids.
    """

    def __init__(
        self,
        clock: SandboxClock,
        rng: random.Random,
        allowed_hosts: Sequence[str] = (),
        send: Sender | None = None,
        seed: int = 0,
    ) -> None:
        self.disorder = Disorder()
        self.log: deque[Outgoing] = deque(maxlen=LOG_LENGTH)
        self._clock = clock
        self._rng = rng
        self._id_rng = random.Random(f"delivery ids {seed}")  # noqa: S311  repeatable on purpose
        self._allowed_hosts = LOOPBACK_HOSTS | set(allowed_hosts)
        self._send = send or post
        self._queue: list[Outgoing] = []
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        clock.subscribe(self._notify)

    def new_id(self) -> str:
        """A fresh id, the same in every run with the same seed."""
        return str(uuid.UUID(int=self._id_rng.getrandbits(128), version=4))

    def enqueue(self, outgoing: Outgoing) -> Outgoing:
        """Queue a webhook; `disorder` may drop or double it here."""
        with self._wake:
            self._log(outgoing)
            if self._rng.random() < self.disorder.drop:
                outgoing.is_dropped = True
                return outgoing
            self._queue.append(outgoing)
            if self._rng.random() < self.disorder.duplicate:
                self._queue.append(outgoing)
            self._wake.notify_all()
        return outgoing

    def send_now(self, outgoing: Outgoing) -> Attempt:
        """Send in this thread, once, without a retry; for handshakes whose response matters."""
        self._log(outgoing)
        return self._attempt(outgoing)

    def redeliver(self, outgoing: Outgoing, *, keep_id: bool = True) -> Outgoing:
        """Queue a copy of an earlier delivery, dropped or not, with the same id unless told otherwise."""
        changes: dict[str, object] = {} if keep_id else {"id": self.new_id()}
        copy = attrs.evolve(
            outgoing,
            attempts=[],
            is_dropped=False,
            is_redelivery=True,
            due_at=None,
            **changes,  # type: ignore[arg-type]  # a str id, spelt for both cases
        )
        with self._wake:
            self.log.append(copy)
            self._queue.append(copy)
            self._wake.notify_all()
        return copy

    def pending(self) -> int:
        """The number of waiting deliveries, due or not."""
        with self._wake:
            return len(self._queue)

    def deliver_pending(self) -> list[Outgoing]:
        """Send what is due, including what falls due meanwhile, in this thread; returns the attempted deliveries, in
        order."""
        sent: list[Outgoing] = []
        while batch := self.take_due():
            for outgoing in batch:
                self.attempt(outgoing)
                sent.append(outgoing)
        return sent

    def next_due_at(self) -> datetime | None:
        """When the earliest waiting delivery is due; an instant in the past if one is; None if none waits."""
        if not self._queue:
            return None
        with self._wake:
            return min((outgoing.due_at or datetime.min.replace(tzinfo=UTC) for outgoing in self._queue), default=None)

    def has_due(self) -> bool:
        """Whether a delivery is due."""
        due_at = self.next_due_at()
        return due_at is not None and due_at <= self._clock.now()

    def take_due(self) -> list[Outgoing]:
        """Take what is due out of the queue, for `attempt`."""
        now = self._clock.now()
        with self._wake:
            due = [outgoing for outgoing in self._queue if outgoing.due_at is None or outgoing.due_at <= now]
            self._queue = [
                outgoing for outgoing in self._queue if outgoing.due_at is not None and outgoing.due_at > now
            ]
        if self.disorder.shuffle:
            self._rng.shuffle(due)
        return due

    def attempt(self, outgoing: Outgoing) -> Attempt:
        """Send once, in this thread, and queue the delivery again if the vendor would retry."""
        attempt = self._attempt(outgoing)
        delays = outgoing.policy.delays
        if attempt.number <= len(delays) and outgoing.policy.should_retry(attempt):
            outgoing.due_at = attempt.at + delays[attempt.number - 1]
            with self._wake:
                self._queue.append(outgoing)
        return attempt

    def start(self) -> None:
        """Start delivering in the background."""
        with self._wake:
            if self._thread is not None:
                return
            self._is_stopping = False
            self._thread = threading.Thread(target=self._run, name="sandbox-deliveries", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the background thread after its current delivery; does nothing if there is none."""
        with self._wake:
            thread, self._thread = self._thread, None
            self._is_stopping = True
            self._wake.notify_all()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            for outgoing in self.take_due():
                self.attempt(outgoing)
            with self._wake:
                if self._is_stopping:
                    return
                if not self.has_due():
                    self._wake.wait(IDLE_WAIT_SECONDS)

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _log(self, outgoing: Outgoing) -> None:
        outgoing.id = outgoing.id or self.new_id()
        self.log.append(outgoing)

    def _attempt(self, outgoing: Outgoing) -> Attempt:
        number, now = len(outgoing.attempts) + 1, self._clock.now()
        headers, body = outgoing.headers, outgoing.body
        if outgoing.prepare is not None:
            headers, body = outgoing.prepare(number, now)
        if urlsplit(outgoing.url).hostname not in self._allowed_hosts:
            attempt = Attempt(number, now, None, timedelta(), "the sandbox does not deliver to this host")
        else:
            prepared = Attempt(number, now, None, timedelta(), sent_headers=headers, sent_body=body)
            attempt = self._send(outgoing, prepared, outgoing.policy.timeout_seconds)
        outgoing.attempts.append(attempt)
        if outgoing.on_attempt is not None:
            outgoing.on_attempt(outgoing, attempt)
        return attempt


def post(outgoing: Outgoing, prepared: Attempt, timeout: float) -> Attempt:
    """Send by one real HTTP POST; redirects are not followed."""
    started = time.monotonic()
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy setting must not divert loopback traffic
            response = session.post(
                outgoing.url,
                data=prepared.sent_body,
                headers=dict(prepared.sent_headers),
                timeout=timeout,
                allow_redirects=False,
            )
    except requests.RequestException as failure:
        elapsed = timedelta(seconds=time.monotonic() - started)
        return attrs.evolve(prepared, duration=elapsed, error=type(failure).__name__)
    return attrs.evolve(
        prepared,
        status=response.status_code,
        duration=timedelta(seconds=time.monotonic() - started),
        headers={name.lower(): value for name, value in response.headers.items()},
        body=response.content[:MAX_KEPT_BODY_BYTES],
    )
