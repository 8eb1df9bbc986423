"""Streams: the parts of an account that are read, and can be refused, each by itself.

`flows/reading/` reads them by the rules of docs/engine.md. A provider package says which streams there are, and reads
one page of one of them at a time.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from connectors.domain.model.instant import optional_utc, utc
from connectors.domain.model.signal import SignalDraft
from connectors.domain.model.sync import Cursor, Observation, SyncMode

DISCOVERY = ""
"""The key under which discovery itself is kept, shown and asked for. No stream has it."""


DISCOVERY_NAME = "discovery"
"""What people call it. No stream has this key either."""

LONGEST_KEY = 200
"""Characters of a stream's key, and of a parked thing's reference."""


def _check_key(_stream: object, _attribute: object, key: str) -> None:
    if len(key) > LONGEST_KEY or not key.isprintable() or key == DISCOVERY_NAME:
        raise ValueError("a stream's key is printable, at most 200 characters, and not the name of discovery")


def _as_reference(text: str) -> str:
    """The text, short and printable, and still another one for every text."""
    if len(text) <= LONGEST_KEY and text.isprintable():
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    kept = "".join(one if one.isprintable() else "?" for one in text[: LONGEST_KEY - len(digest) - 1])
    return f"{kept}#{digest}"


@attrs.frozen(kw_only=True)
class Stream:
    """One part of an account that is listed in one order and can be refused by itself."""

    key: str = attrs.field(validator=_check_key)
    """`issues:1296269`: stable for life, never a name that can change. Printable, at most 200 characters."""
    name: str
    """For people: `issues of octocat/hello`."""
    families: frozenset[str] = frozenset()
    """The families whose completeness needs it; empty: none (it only gives names)."""
    data: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """What reading it takes besides the key: JSON values, no secrets. Each discovery replaces it."""
    unreadable: str | None = None
    """Why the vendor would refuse it now, as a sentence: it is not asked. Such a stream is kept if it could be read
    before or was chosen, else only counted."""
    is_chosen: bool = False
    """Whether a person chose it by name: then it is shown even if it could never be read."""
    quiet_since: datetime | None = attrs.field(default=None, converter=optional_utc)
    """The vendor itself says that nothing has happened in it since then; None if it does not say."""
    changes_in: str | None = None
    """The key of the stream that shows its changes; then only its history is read."""
    is_pushed: bool = True
    """Whether webhooks report what happens in it, as far as its provider has any; if not, deliveries prove nothing of
    its families."""
    interval: timedelta | None = None
    """The least time between two incremental reads of it; None: it is read whenever its account is."""


@attrs.frozen(kw_only=True)
class DiscoveryPage:
    """The result of one page of discovery."""

    streams: tuple[Stream, ...] = ()
    cursor: Cursor | None = None
    """Where to continue; None: all streams have been named."""
    signals: tuple[SignalDraft, ...] = ()
    """What the list itself shows: channels that were created."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""
    bookmark: Cursor | None = None
    """With the end: what the next discovery gets as `Window.bookmark`."""


@attrs.frozen(kw_only=True)
class Window:
    """What one run over a stream is for. It is fixed when the run begins and the same for all of its pages."""

    mode: SyncMode
    low: datetime = attrs.field(converter=utc)
    """The window must be read whole from here on. A package looks earlier where its vendor's lists lag or its own
    clock may differ."""
    high: datetime = attrs.field(converter=utc)
    """When the run began or, for history, the end of what is wanted. What happens later belongs to the next run."""
    floor: datetime = attrs.field(converter=utc)
    """Of signals that happened earlier the engine emits none, except from a log (`Streams.follows_log`). Not after
    `low`: between the two, what a list showed late is emitted as well."""
    until: datetime | None = attrs.field(default=None, converter=optional_utc)
    """Nor of those that happened later; None: all are emitted, even those dated in the future."""
    bookmark: Cursor | None = None
    """Incremental: what the previous run left; None the first time: take a baseline."""
    begun_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    """When the run began, where `high` does not say so: of history, which may end long before. None: as `high`."""

    @property
    def asked_after(self) -> datetime:
        """An instant before which no page of the run was asked for: what `supported_position` takes for `asked_at`."""
        return self.begun_at or self.high

    def emits(self, at: datetime, *, is_log: bool = False) -> bool:
        """Whether a signal of this instant is wanted.

        Args:
            at: when it happened.
            is_log: whether the page is of a log, which shows what is new by itself.
        """
        is_new = is_log and self.mode is SyncMode.INCREMENTAL and self.bookmark is not None
        return (is_new or self.floor <= at) and (self.until is None or at <= self.until)


@attrs.frozen(kw_only=True)
class ParkedItem:
    """One thing of a page that could not be read. The page goes on; the engine asks for the thing again, later and
    later."""

    reference: str = attrs.field(converter=_as_reference)
    """What `read_item` needs to find it: ids, never contents. One of more than 200 characters, or with some that cannot
    be printed, is cut and ends in its hash: it cannot be asked for."""
    reason: str
    between: tuple[datetime, datetime] | None = None
    """The instants between which its events lie, as its neighbours in the list tell; None: anywhere in the window.
    Coverage leaves them out until the thing is read, gone, or given up by a person."""


@attrs.frozen(kw_only=True)
class StreamPage:
    """The result of one page. All of it is committed together."""

    cursor: Cursor | None
    """Where to continue, as positions only: two equal positions give equal cursors, or a circle is not noticed. None:
    the window has been read to its end."""
    bookmark: Cursor | None = None
    """With the end: what the next incremental run gets as `Window.bookmark`. With the end of a backfill: the same, if
    there is none yet."""
    read_from: datetime | None = attrs.field(default=None, converter=optional_utc)
    """With the end of a baseline: from when on it has been read whole; None: only its end was noted."""
    signals: tuple[SignalDraft, ...] = ()
    observations: tuple[Observation, ...] = ()
    items: int = 0
    """Provider items read, with or without signals."""
    parked: tuple[ParkedItem, ...] = ()
    oldest_shown: datetime | None = attrs.field(default=None, converter=optional_utc)
    """The vendor shows nothing older than this, and there may be more (a free plan's limit)."""
    lost: str | None = None
    """The bookmark has lapsed: what cannot be recovered, as a sentence. The engine ends the run, takes a new
    baseline, and reads what history shows of the time since the last good read."""
    connection_metadata: Mapping[str, Any] = attrs.field(factory=dict)
    """What to merge into the connection's metadata."""
