"""Numbered pages of a list that changes while it is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.github.support import make_app, respond

from connectors.domain.providers.github import numbered
from connectors.domain.providers.github.endpoints import PAGE_SIZE, endpoints_of

ENDPOINTS = endpoints_of(make_app())
MORE = '<https://api.github.com/x?page=9>; rel="next"'


def sync_run(listed, change):
    """The ids that a sync run sees, and its pages; `change(listed, page)` happens after each page."""
    seen, position, pages = set(), {}, 0
    while position is not None:
        parameters = numbered.parameters(position)
        size, page = int(parameters["per_page"]), int(parameters.get("page", 1))
        ids = listed[(page - 1) * size : page * size]
        response = respond(**({"link": MORE} if page * size < len(listed) else {}))
        seen |= set(ids)
        pages += 1
        position = numbered.next_position(ENDPOINTS, json.loads(json.dumps(position)), response, ids, len(ids))
        change(listed, pages)
        assert pages < 500, "the sync run does not end"
    return seen, pages


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 198, 1000, 20_000])
def test_a_quiet_list_is_read_whole_and_costs_a_little_more(length):
    """The overlap takes a sixth of each page."""
    seen, pages = sync_run(list(range(length)), lambda *_: None)
    assert seen == set(range(length))
    assert pages <= length / PAGE_SIZE * 1.2 + 1


CHANGES = st.lists(st.tuples(st.sampled_from(["leave", "come"]), st.integers(0, 500), st.integers(1, 150)), max_size=6)


@given(length=st.integers(90, 700), changes=CHANGES)
def test_what_stays_is_seen(length, changes):
    """However many items leave anywhere or come in front between two pages, none of the others is missed."""
    listed, left = list(range(length)), set()
    fresh = iter(range(10**6, 10**7))

    def change(listed, page):
        if page > len(changes):
            return
        action, position, number = changes[page - 1]
        if action == "come":
            listed[:0] = [next(fresh) for _ in range(number)]
            return
        left.update(listed[position : position + number])
        del listed[position : position + number]

    seen, _ = sync_run(listed, change)
    assert set(range(length)) - left <= seen


def test_a_server_with_smaller_pages_is_followed_by_its_links():
    """Numbers count pages of the size that was given, not of the one that was asked for."""
    position = numbered.next_position(ENDPOINTS, {}, respond(link=MORE), range(30), 30)
    assert position == {"url": "https://api.github.com/x?page=9"}
    assert numbered.next_position(ENDPOINTS, position, respond(), range(30), 30) is None


def test_ids_that_are_none_are_passed_over():
    """Items without a numeric id are no error."""
    odd = [{"id": 1}, [2], None, "3", *range(96)]
    position = numbered.next_position(ENDPOINTS, {}, respond(link=MORE), odd, 100)
    assert position == {"seen": 100, "tail": list(range(86, 96))}
    assert numbered.next_position(ENDPOINTS, position, respond(link=MORE), [{}, []], 2) == {
        "seen": 45,
        "tail": position["tail"],
    }
