"""What every store of streams does."""

from threading import Event, Thread

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.adapters.storable import as_stored
from connectors.domain.model.connection import ConnectionStatus
from connectors.domain.model.ids import ConnectionId
from connectors.domain.model.spans import FAR, Span
from connectors.domain.model.stream_state import Reading, StreamRun, StreamStatus
from connectors.domain.model.streams import DISCOVERY, Stream, Window
from connectors.domain.model.sync import SyncMode
from tests.contracts.stream_rows import CONNECTION, at, full_stream_state, make_stream_state
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_connection, make_id

ODD_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
"""Also NUL and lone surrogates."""

WAIT = 30
"""Seconds after which a thread that ought to go on counts as stuck."""


class StreamStoreContract(StoreContract):
    def test_a_stream_comes_back_as_it_was(self, unit_of_work):
        """Every field survives, whether it says something or has its default."""
        full, bare = full_stream_state("b"), make_stream_state("a")
        for field in attrs.fields(type(full)):
            if field.name not in ("tenant_id", "connection_id"):
                assert getattr(full, field.name) != getattr(bare, field.name), field.name
        with unit_of_work() as work:
            work.streams.save([full, bare])
        with unit_of_work() as work:
            assert work.streams.list(TENANT, CONNECTION) == [bare, full]
            assert work.streams.lock(TENANT, CONNECTION, ["b"]) == [full]

    def test_a_save_replaces_every_field(self, unit_of_work):
        """Nothing of what a row said before is left when it is saved."""
        with unit_of_work() as work:
            work.streams.save([full_stream_state("a")])
            work.streams.save([make_stream_state("a")])
            assert work.streams.list(TENANT, CONNECTION) == [make_stream_state("a")]

    @given(ODD_TEXT, st.text(min_size=1, max_size=200).filter(str.isprintable))
    def test_odd_text_comes_back_storable(self, unit_of_work, text, key):
        """Text comes back with U+FFFD for what cannot be stored, and any key finds its row."""
        state = full_stream_state(key, text)
        kept = as_stored(state)
        with unit_of_work() as work:
            work.streams.save([state])
            assert work.streams.lock(TENANT, CONNECTION, [key]) == [kept]
            assert kept in work.streams.list(TENANT, CONNECTION)
            assert work.streams.request(TENANT, CONNECTION, key, at=NOW)
            assert all(one.key > key for one in _page(work, after=key))

    def test_documents_may_be_nested_deeply(self, unit_of_work):
        """A position or a bookmark of 300 levels comes back as it was, and so do numbers beyond 64 bits."""
        deep = {"end": True, "number": 2**70}
        for _ in range(300):
            deep = {"in": deep}
        window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW, bookmark=deep)
        state = make_stream_state(
            stream=Stream(key="a", name="a", data=deep),
            bookmark=deep,
            incremental=Reading(run=StreamRun(window=window, cursor=deep)),
        )
        with unit_of_work() as work:
            work.streams.save([state])
            assert work.streams.list(TENANT, CONNECTION) == [state]

    def test_an_empty_bookmark_is_one(self, unit_of_work):
        """No bookmark and an empty one stay apart, and so do no position and an empty one."""
        window = Window(mode=SyncMode.INCREMENTAL, low=NOW, high=NOW, floor=NOW)
        states = [
            make_stream_state(
                str(number),
                bookmark=document,
                incremental=Reading(run=StreamRun(window=attrs.evolve(window, bookmark=document), cursor=document)),
            )
            for number, document in enumerate((None, {}))
        ]
        with unit_of_work() as work:
            work.streams.save(states)
            assert work.streams.list(TENANT, CONNECTION) == states

    def test_streams_are_in_the_order_of_code_points(self, unit_of_work):
        """Lists, pages and locks sort keys as Python does, whatever the language of the database."""
        keys = ["a:1", "A:2", "a-3", "_", "a 4", "ä", "é", "z", "Z", "~", "\U0001f600", "\ufffd", DISCOVERY, "a:10"]
        with unit_of_work() as work:
            work.streams.save([make_stream_state(key) for key in keys])
            assert _keys(work.streams.list(TENANT, CONNECTION)) == sorted(keys)
            assert _keys(work.streams.lock(TENANT, CONNECTION, [*keys, "unknown"])) == sorted(keys)
            assert _keys(_page(work)) == sorted(keys)[1:]

    def test_pages_continue_after_a_key(self, unit_of_work):
        """Pages together show every stream but discovery once; an unknown key is only a position."""
        with unit_of_work() as work:
            work.streams.save([make_stream_state(key) for key in (DISCOVERY, "a", "b", "c", "d", "e")])
            assert _keys(_page(work, limit=2)) == ["a", "b"]
            assert _keys(_page(work, limit=2, after="b")) == ["c", "d"]
            assert _keys(_page(work, limit=2, after="d")) == ["e"]
            assert _page(work, after="e") == []
            assert _keys(_page(work, limit=1, after="bb")) == ["c"]
            assert _keys(_page(work, limit=1, after=DISCOVERY)) == ["a"]

    def test_pages_narrow_by_status_and_family(self, unit_of_work):
        """Each filter narrows alone and with the other, and the limit counts what is left."""
        with unit_of_work() as work:
            work.streams.save(
                [
                    _with_families("a", "issues"),
                    _with_families("b", "issues", "comments", status=StreamStatus.BLOCKED),
                    _with_families("c", status=StreamStatus.BLOCKED),
                    _with_families("d", "comments", status=StreamStatus.GONE),
                    _with_families("e", "issues", "comments", status=StreamStatus.BLOCKED),
                ]
            )
            assert _keys(_page(work, status=StreamStatus.BLOCKED)) == ["b", "c", "e"]
            assert _keys(_page(work, family="comments")) == ["b", "d", "e"]
            assert _keys(_page(work, status=StreamStatus.BLOCKED, family="issues")) == ["b", "e"]
            assert _keys(_page(work, status=StreamStatus.BLOCKED, family="issues", after="b", limit=1)) == ["e"]
            assert _page(work, status=StreamStatus.UNREADABLE) == []
            assert _page(work, family="\0") == []

    def test_many_are_saved_at_once(self, unit_of_work):
        """New and known ones are saved together; of several with the same key the last one counts."""
        known = [make_stream_state(f"{number:04}") for number in range(0, 600, 2)]
        changed = [make_stream_state(f"{number:04}", reason="changed") for number in range(600)]
        with unit_of_work() as work:
            work.streams.save([])
            work.streams.save(known)
            work.streams.save([*changed[::-1], make_stream_state("z"), make_stream_state("z", reason="last")])
            stored = {one.key: one for one in work.streams.list(TENANT, CONNECTION)}
            assert [stored[one.key] for one in changed] == changed
            assert stored["z"].reason == "last"
            assert len(stored) == 601

    def test_a_request_is_noted(self, unit_of_work):
        """Asking for a stream changes nothing but when it was asked for, and tells whether there is such a stream."""
        state = full_stream_state("a")
        with unit_of_work() as work:
            work.streams.save([state, make_stream_state("b")])
            assert work.streams.request(TENANT, CONNECTION, "a", at=at(99))
            assert not work.streams.request(TENANT, CONNECTION, "c", at=at(99))
            assert work.streams.list(TENANT, CONNECTION) == [
                attrs.evolve(state, requested_at=at(99)),
                make_stream_state("b"),
            ]

    def test_a_request_during_a_save_is_kept(self, unit_of_work):
        """A request that comes while somebody saves the locked stream waits, and is there afterwards."""
        with unit_of_work() as work:
            work.streams.save([make_stream_state("a")])
        has_begun, answers = Event(), []

        def request():
            with unit_of_work() as other:
                has_begun.set()
                answers.append(other.streams.request(TENANT, CONNECTION, "a", at=at(5)))

        requesting = Thread(target=request)
        with unit_of_work() as work:
            (state,) = work.streams.lock(TENANT, CONNECTION, ["a"])
            requesting.start()
            work.streams.save([attrs.evolve(state, read_until=at(1), bookmark={"page": 2})])
            assert answers == []
        assert has_begun.wait(WAIT)
        requesting.join(WAIT)
        assert answers == [True]
        with unit_of_work() as work:
            (state,) = work.streams.list(TENANT, CONNECTION)
            assert (state.requested_at, state.read_until, state.bookmark) == (at(5), at(1), {"page": 2})

    def test_locked_streams_wait_for_their_holder(self, unit_of_work):
        """Changes made under the lock are all kept, in whatever order the keys are named: nobody waits in a circle."""
        keys = ["a", "b", "c"]
        with unit_of_work() as work:
            work.streams.save([make_stream_state(key) for key in keys])

        def count(number):
            with unit_of_work() as work:
                states = work.streams.lock(TENANT, CONNECTION, keys[:: -1 if number % 2 else 1])
                counted = [
                    attrs.evolve(one, incremental=Reading(failures=one.incremental.failures + 1)) for one in states
                ]
                work.streams.save(counted[:: 1 if number % 2 else -1])

        race(count, 6)
        with unit_of_work() as work:
            assert [one.incremental.failures for one in work.streams.list(TENANT, CONNECTION)] == [6, 6, 6]

    def test_a_connections_streams_are_its_own(self, unit_of_work):
        """Neither another tenant nor another connection sees, locks, asks for or changes them."""
        mine = make_stream_state("a")
        others = [
            make_stream_state("a", tenant_id=OTHER_TENANT, reason="theirs"),
            make_stream_state("a", connection_id=make_id(), reason="another"),
        ]
        with unit_of_work() as work:
            work.streams.save([mine])
            for one in others:
                owner = (one.tenant_id, one.connection_id)
                assert work.streams.list(*owner) == []
                assert work.streams.list_page(*owner, after=None, limit=9) == []
                assert work.streams.lock(*owner, ["a"]) == []
                assert not work.streams.request(*owner, "a", at=at(9))
            work.streams.save(others)
            assert work.streams.list(TENANT, CONNECTION) == [mine]
            for one in others:
                assert work.streams.list(one.tenant_id, one.connection_id) == [one]

    def test_counts_of_active_connections(self, unit_of_work):
        """Streams of all tenants are counted by provider and status, discovery with them; ended connections have none."""
        with unit_of_work() as work:
            for tenant_id, provider, status, keys in CONNECTIONS:
                owner = _connect(work, tenant_id, provider, status)
                work.streams.save([make_stream_state(key, **owner) for key in keys])
                work.streams.save([make_stream_state("blocked", status=StreamStatus.BLOCKED, **owner)])
            work.streams.save([make_stream_state("orphan", connection_id=make_id())])
            assert work.streams.count() == {
                (GITHUB, StreamStatus.READY): 3,
                (GITHUB, StreamStatus.BLOCKED): 2,
                (SLACK, StreamStatus.READY): 1,
                (SLACK, StreamStatus.BLOCKED): 1,
            }

    def test_the_longest_unread(self, unit_of_work):
        """Of each provider's active connections, the readable stream of a family that was read the longest ago says when."""
        with unit_of_work() as work:
            assert work.streams.oldest_unread() == {}
            github = _connect(work, TENANT, GITHUB, ConnectionStatus.ACTIVE)
            work.streams.save(
                [
                    _with_families("a", "items", read_until=at(5), **github),
                    _with_families("b", "items", read_until=at(4), status=StreamStatus.BLOCKED, **github),
                    _with_families("c", "items", read_until=at(3), status=StreamStatus.UNREADABLE, **github),
                    _with_families("d", "items", read_until=at(2), status=StreamStatus.GONE, **github),
                    _with_families("e", "items", **github),
                    _with_families("names", read_until=at(1), **github),
                    _with_families(DISCOVERY, read_until=at(1), **github),
                ]
            )
            slack = _connect(work, OTHER_TENANT, SLACK, ConnectionStatus.ACTIVE)
            work.streams.save([_with_families("a", "items", read_until=at(9), **slack)])
            ended = _connect(work, TENANT, SLACK, ConnectionStatus.REVOKED)
            work.streams.save([_with_families("a", "items", read_until=at(1), **ended)])
            assert work.streams.oldest_unread() == {GITHUB: at(4), SLACK: at(9)}

    @pytest.mark.parametrize("end", [NOW, FAR])
    def test_spans_without_an_end(self, unit_of_work, end):
        """A span's end comes back to the microsecond, and so does one that never comes."""
        state = make_stream_state("a", read_once=(Span(at(-1), end),), given_up=(Span(at(-9), end),))
        with unit_of_work() as work:
            work.streams.save([state])
            assert work.streams.list(TENANT, CONNECTION) == [state]


CONNECTIONS = (
    (TENANT, GITHUB, ConnectionStatus.ACTIVE, [DISCOVERY, "a"]),
    (OTHER_TENANT, GITHUB, ConnectionStatus.ACTIVE, ["a"]),
    (TENANT, SLACK, ConnectionStatus.ACTIVE, ["a"]),
    (TENANT, SLACK, ConnectionStatus.REVOKED, ["a", "b"]),
    (TENANT, GITHUB, ConnectionStatus.REAUTHORIZATION_REQUIRED, ["a", "b"]),
)


def _connect(work, tenant_id, provider, status):
    connection = work.connections.save(make_connection(tenant_id=tenant_id, provider=provider, status=status))
    return {"tenant_id": tenant_id, "connection_id": ConnectionId(connection.id)}


def _with_families(key, *families, **changes):
    return make_stream_state(stream=Stream(key=key, name=key, families=frozenset(families)), **changes)


def _page(work, *, after=None, limit=99, **where):
    return work.streams.list_page(TENANT, CONNECTION, after=after, limit=limit, **where)


def _keys(states):
    return [one.key for one in states]
