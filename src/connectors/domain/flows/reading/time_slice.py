"""One time slice of reading one connection: what it needs, and what it has seen so far."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import attrs

from connectors.domain.flows.provider_access.session import ProviderSession
from connectors.domain.flows.reading.agenda import Agenda, Work
from connectors.domain.model.errors import (
    ConflictError,
    ConnectorsError,
    InfrastructureError,
    UnexpectedResponseError,
    VaultError,
)
from connectors.domain.model.http import Conversation
from connectors.domain.model.streams import StreamPage
from connectors.domain.model.sync import SyncJob, SyncMode
from connectors.domain.providers.contract import Streams, SyncContext
from connectors.ports.clock import Clock

T = TypeVar("T")


class SliceLostError(Exception):
    """The connection is no longer ours to read: another worker has taken us for dead, or it has ended."""


@attrs.define(kw_only=True)
class TimeSlice:
    """Everything that one worker holds while it reads a connection."""

    session: ProviderSession
    streams: Streams
    agenda: Agenda
    jobs: dict[object, SyncJob]
    """The connection's unfinished jobs, by id, as they were last seen."""
    begun: frozenset[object]
    """The ids of those that were there at its beginning."""
    run: int
    """See `AccountState.run`."""
    clock: Clock
    clock_offset: timedelta
    """How far the database's clock is ahead of this machine's: all machines read by the same clock."""
    began_at: datetime
    ends_at: datetime | None
    is_stopping: Callable[[], bool]
    quiet: list[tuple[Work, StreamPage]] = attrs.field(factory=list)
    """Runs that have ended and brought nothing; they are stored together."""
    suspects: list[tuple[SyncMode, str]] = attrs.field(factory=list)
    """Of the page that is being stored: the streams for which the provider had seemed to be down."""
    was_answered: bool = False
    """Whether the provider has answered anything for the present page: some pages need no request."""
    is_storing: bool = False
    """Whether the present page has been read and is being stored."""
    failure: ConnectorsError | None = None
    """Why the connection cannot be read at all."""

    def now(self) -> datetime:
        """The present instant by the database's clock."""
        return self.clock.now() + self.clock_offset

    def converse(self, conversation: Conversation[T]) -> T:
        """What the conversation returns. Notes whether the provider answers. Raises what `ProviderSession.run` does."""
        self.was_answered = self.is_storing = False
        found = self.session.run(self._noted(conversation))
        self.is_storing = True
        return found

    def _noted(self, conversation: Conversation[T]) -> Conversation[T]:
        ours: ConnectorsError | None = None
        try:
            request = next(conversation)
            while True:
                try:
                    response = yield request
                except ConnectorsError as error:
                    ours = error
                    request = conversation.throw(error)
                else:
                    self.was_answered = True
                    request = conversation.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
        except (ConflictError, InfrastructureError, VaultError) as error:
            if error is ours:
                raise
            # They say something about our side, which a provider package cannot know.
            raise UnexpectedResponseError(f"Its provider package failed: {error.message}") from error
        finally:
            conversation.close()

    def wanted_by(self, job: SyncJob) -> datetime:
        """Up to when a job wants everything to be read.

        Not beyond the beginning, since a clock may have gone back, unless it was requested later: what had been read by
        then does not serve it.
        """
        return min(job.scheduled_at, self.began_at) if job.id in self.begun else job.scheduled_at

    def context(self) -> SyncContext:
        """What provider packages get."""
        return SyncContext(app=self.session.app, connection=self.session.connection)

    def is_over(self) -> bool:
        """Whether others should get the slot now."""
        return self.is_stopping() or (self.ends_at is not None and self.now() >= self.ends_at)
