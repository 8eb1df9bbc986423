"""Whom a request comes from, behind our own proxies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.entrypoints.flask.client_address import client_address

PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "header", "hops", "expected"),
    [
        (PEER, "", 0, PEER),
        (PEER, "192.0.2.1", 0, PEER),
        (PEER, "192.0.2.1", 1, "192.0.2.1"),
        (PEER, "forged, 192.0.2.1", 1, "192.0.2.1"),
        (PEER, "forged, 192.0.2.1,10.0.0.2 ", 2, "192.0.2.1"),
        (PEER, "192.0.2.1", 2, PEER),
        (PEER, "", 1, PEER),
        (PEER, "not an address", 1, PEER),
        (PEER, "192.0.2.1:5000", 1, "192.0.2.1"),
        (PEER, "[2001:db8:1:2:3::4]:5000", 1, "2001:db8:1:2::/64"),
        (PEER, "2001:db8:1:2:ffff::9", 1, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("fe80::1%eth0", "", 0, "fe80::/64"),
        (None, "", 0, "unknown"),
        ("", "192.0.2.1", 1, "192.0.2.1"),
    ],
)
def test_the_client(peer, header, hops, expected):
    """The entry that the outermost trusted proxy wrote, else the peer; IPv6 by network, without ports."""
    assert client_address(peer, header, hops) == expected


@given(st.text(max_size=80), st.integers(0, 3))
def test_nothing_that_a_client_writes_is_a_key(header, hops):
    """Whatever the header, the result is short and an address."""
    assert len(client_address(PEER, header, hops)) <= 43
