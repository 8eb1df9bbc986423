"""What every signal store does."""

from datetime import timedelta
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.domain.model.errors import ConflictError, NotFoundError
from connectors.domain.model.paging import PageRequest
from connectors.domain.model.signal import Actor, Container, SignalFilter, SignalKind, Subject
from tests.contracts.unit_of_work import StoreContract, race
from tests.support.builders import GITHUB, NOW, OTHER_TENANT, SLACK, TENANT, make_id, make_signal

# One contract, filled by several adapters; the empty database it gets need not be empty for each example.
TEXTS = st.text(st.characters(), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


class SignalStoreContract(StoreContract):
    def test_comes_back_as_it_was(self, unit_of_work):
        """Every field survives, instants to the microsecond."""
        full = make_signal(
            actor=Actor("1", "octocat", "https://x"),
            container=Container("repository", "2", "octo/hello", "https://y"),
            payload={"a": [1, 2.5, None, True, {"b": "ü€😀"}], "big": 2**63},
        )
        bare = make_signal(actor=None, container=None, url=None, payload={}, occurred_at=NOW.replace(microsecond=1))
        with unit_of_work() as work:
            assert len(work.signals.record_all([full, bare])) == 2
            assert len(work.signals.record_all([])) == 0
        with unit_of_work() as work:
            assert work.signals.get(TENANT, full.id) == full
            assert work.signals.get(TENANT, bare.id) == bare
            with pytest.raises(NotFoundError):
                work.signals.get(OTHER_TENANT, full.id)

    def test_one_happening_is_one_signal(self, unit_of_work):
        """A dedupe key is new once per tenant and provider, within one call and over many."""
        first = make_signal(dedupe_key="k")
        with unit_of_work() as work:
            assert len(work.signals.record_all([first, make_signal(dedupe_key="k")])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="k"), make_signal(dedupe_key="l")])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="k", provider=SLACK)])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="k", tenant_id=OTHER_TENANT)])) == 1
            assert work.signals.get(TENANT, first.id) == first
            long = "k" * 50_000
            assert len(work.signals.record_all([make_signal(dedupe_key=long), make_signal(dedupe_key=long + "2")])) == 2
            assert len(work.signals.record_all([make_signal(dedupe_key=long)])) == 0

    def test_any_number_of_any_size_is_recorded(self, unit_of_work):
        """Many signals with some large payloads are recorded in one call, each happening once, and come back whole."""
        many = [make_signal(dedupe_key=f"k{number:04}", payload={"n": number}) for number in range(1_200)]
        large = [make_signal(dedupe_key=f"k0600:{n}", payload={"text": "ü" * 2_500_000}) for n in range(3)]
        twins = [make_signal(dedupe_key=one.dedupe_key) for one in many]
        with unit_of_work() as work:
            assert len(work.signals.record_all([*many, *large, *twins[::-1]])) == 1_203
            assert work.signals.record_all([*twins, *many, *large]) == frozenset()
        with unit_of_work() as work:
            for one in (many[0], many[499], many[500], many[-1], *large):
                assert work.signals.get(TENANT, one.id) == one

    def test_all_or_none_of_a_large_call_is_recorded(self, unit_of_work):
        """If one of many signals is refused, none of them is kept."""
        present = make_signal()
        with unit_of_work() as work:
            work.signals.record_all([present])
        many = [make_signal(dedupe_key=f"k{number:04}") for number in range(600)]
        many.append(attrs.evolve(present, dedupe_key="k9999"))
        with pytest.raises(ConflictError), unit_of_work() as work:
            work.signals.record_all(many)
        with unit_of_work() as work:
            page = work.signals.list_page(TENANT, PageRequest(), SignalFilter())
        assert [one.id for one in page.items] == [present.id]

    def test_racing_writers_record_once(self, unit_of_work):
        """Writers of the same happenings in different orders neither double nor block each other."""
        keys = [f"k{n}" for n in range(20)]

        def record(number):
            with unit_of_work() as work:
                ordered = keys[:: 1 if number % 2 else -1]
                return len(work.signals.record_all([make_signal(dedupe_key=key) for key in ordered]))

        assert sum(race(record, 6)) == len(keys)

    def test_hostile_payloads_are_kept(self, unit_of_work):
        """NUL, lone surrogates, huge numbers and deep nesting change only themselves."""
        deep = {"x": 1}
        for _ in range(600):
            deep = {"d": deep}
        payload = {
            "nul": "a\0b",
            "k\0": 1,
            "half": "\ud83d!",
            "spelled": "\\u0000",
            "huge": 10**40,
            "inf": float("inf"),
            "d": deep,
        }
        signal = make_signal(payload=payload, subject=Subject("issue", "1\0", "\ud800"), dedupe_key="d\0")
        with unit_of_work() as work:
            assert len(work.signals.record_all([signal])) == 1
            assert len(work.signals.record_all([make_signal(dedupe_key="d\0")])) == 0
            kept = work.signals.get(TENANT, signal.id)
        expected = {"nul": "a\ufffdb", "k\ufffd": 1, "half": "\ufffd!", "spelled": "\\u0000", "inf": None}
        assert {key: kept.payload[key] for key in expected} == expected
        assert float(kept.payload["huge"]) == 1e40
        assert kept.payload["d"]["d"]["d"]
        assert kept.subject == Subject("issue", "1\ufffd", "\ufffd")

    @given(payload=st.dictionaries(TEXTS, JSON, max_size=4), name=TEXTS)
    def test_any_json_is_kept(self, unit_of_work, payload, name):
        """Whatever JSON a provider sends, its signal is recorded, with all of its keys."""
        signal = make_signal(payload=payload, actor=Actor("1", name))
        with unit_of_work() as work:
            assert len(work.signals.record_all([signal])) == 1
            kept = work.signals.get(TENANT, signal.id)
        clean = {_clean(key) for key in payload}
        assert set(kept.payload) == clean
        assert kept.actor.name == _clean(name)

    def test_pages_narrow_by_every_filter(self, unit_of_work):
        """Filters combine, both bounds of time are exclusive, and payloads come only when asked for."""
        connection_id = make_id()
        marked = make_signal(provider=SLACK, connection_id=connection_id, kind=SignalKind.MESSAGE_POSTED)
        early = make_signal(occurred_at=NOW - timedelta(microseconds=1))
        late = make_signal(occurred_at=NOW + timedelta(microseconds=1))
        with unit_of_work() as work:
            work.signals.record_all([marked, early, late, make_signal(tenant_id=OTHER_TENANT)])

            def ids(**filters):
                page = work.signals.list_page(TENANT, PageRequest(), SignalFilter(**filters))
                assert all(item.payload is None for item in page.items)
                return [item.id for item in page.items]

            assert ids() == [late.id, marked.id, early.id]
            for filters in (
                {"provider": SLACK},
                {"connection_id": connection_id},
                {"kind": SignalKind.MESSAGE_POSTED},
                {"provider": SLACK, "connection_id": connection_id, "kind": SignalKind.MESSAGE_POSTED},
                {"occurred_after": early.occurred_at, "occurred_before": late.occurred_at},
            ):
                assert ids(**filters) == [marked.id]
            assert ids(provider=GITHUB, connection_id=connection_id) == []
            assert ids(occurred_after=NOW) == [late.id]
            assert ids(occurred_before=NOW) == [early.id]
            page = work.signals.list_page(TENANT, PageRequest(), SignalFilter(provider=SLACK), with_payload=True)
            assert page.items == (marked,)

    def test_pages_are_stable_under_inserts(self, unit_of_work):
        """All pages together show each signal once, in order, though others arrive meanwhile."""
        signals = [make_signal(occurred_at=NOW + timedelta(microseconds=n // 3)) for n in range(10)]
        with unit_of_work() as work:
            work.signals.record_all(signals)
        seen, after = [], None
        while True:
            with unit_of_work() as work:
                page = work.signals.list_page(TENANT, PageRequest(limit=3, after=after), SignalFilter())
                work.signals.record_all([make_signal(occurred_at=NOW + timedelta(days=1))])
            seen += [item.id for item in page.items]
            after = page.next
            if after is None:
                break
        assert seen == [item.id for item in signals[::-1]]

    def test_the_last_full_page_says_so(self, unit_of_work):
        """A page that ends exactly with the list has no next one."""
        with unit_of_work() as work:
            work.signals.record_all([make_signal(), make_signal()])
            assert work.signals.list_page(TENANT, PageRequest(limit=2), SignalFilter()).next is None
            assert work.signals.list_page(TENANT, PageRequest(limit=1), SignalFilter()).next is not None

    def test_arrivals_come_by_id(self, unit_of_work):
        """What has arrived after an id is listed in the order of ids, whenever it occurred, each tenant's alone."""
        signals = [make_signal(occurred_at=NOW - timedelta(days=n), payload={"n": n}) for n in range(5)]
        with unit_of_work() as work:
            work.signals.record_all([*signals[::-1], make_signal(tenant_id=OTHER_TENANT)])

            def arrived(after, limit):
                found = work.signals.list_arrived(TENANT, after=after, limit=limit)
                assert all(one.payload is None for one in found)
                return [one.id for one in found]

            ids = [one.id for one in signals]
            assert arrived(UUID(int=0), 100) == ids
            assert arrived(UUID(int=0), 2) == ids[:2]
            assert arrived(ids[1], 2) == ids[2:4]
            assert arrived(ids[-1], 2) == []

    def test_a_taken_id_is_an_error(self, unit_of_work):
        """A second signal under a taken id is refused, not lost in silence."""
        signal = make_signal()
        with unit_of_work() as work:
            work.signals.record_all([signal])
        with pytest.raises(ConflictError), unit_of_work() as work:
            work.signals.record_all([attrs.evolve(signal, dedupe_key="another")])


def _clean(text):
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)
