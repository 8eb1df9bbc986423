"""Reads Google accounts by their streams, with the sandbox in this process as the vendor."""

import itertools

import attrs

from connectors.domain.providers.contract import SyncContext
from tests.support.stream_reader import StreamReader


@attrs.define
class StreamDriver:
    """Reads one account by its streams."""

    google: object
    provider: object
    reader: StreamReader

    @classmethod
    def new(cls, google, provider, app, connection, converse):
        reader = StreamReader(
            streams=provider.streams,
            context=SyncContext(app=app, connection=connection),
            converse=lambda conversation: converse(provider, conversation, google.send, now=google.now),
            floor=connection.created_at,
        )
        return cls(google, provider, reader)

    def sync(self):
        """An incremental read of everything; the keys that were new."""
        known = set(self.signals)
        self.reader.read(self.google.now)
        return [key for key in self.signals if key not in known]

    def backfill(self, since, until=None):
        """The history of everything, after the first read if there was none; the keys that were new."""
        known = set(self.signals)
        if self.reader.discovery.read_until is None:
            self.reader.read(self.google.now)
        self.reader.backfill(since, self.google.now, until)
        return [key for key in self.signals if key not in known]

    def before_page(self, happen):
        """Call `happen` before each page, with the number of pages so far. What it returns as true is a crash: the
        page is read, its result is lost, and it is read again."""
        read = self.provider.streams.read_page
        number = itertools.count()

        def read_page(*position):
            if happen(next(number)):
                yield from read(*position)
            return (yield from read(*position))

        self.reader.streams = attrs.evolve(self.provider.streams, read_page=read_page)

    @property
    def app(self):
        return self.reader.context.app

    @property
    def connection(self):
        return self.reader.context.connection

    @property
    def pages(self):
        return self.reader.pages

    @property
    def snapshots(self):
        return self.reader.snapshots

    @property
    def signals(self):
        """By key, each as it was first."""
        found = {}
        for draft in self.reader.signals:
            found.setdefault(draft.dedupe_key, draft)
        return found

    def kinds(self):
        """Kind and title of every signal, in the order they came."""
        return [(draft.kind.value, draft.title) for draft in self.signals.values()]

    def run(self, conversation):
        return self.reader.converse(conversation)
