"""The address of the client behind our own proxies."""

from ipaddress import IPv6Address, ip_address, ip_network

SITE_PREFIX = 64
"""Bits of an IPv6 address that identify a client: it may use every address below them."""


def client_address(peer: str | None, forwarded_for: str, trusted_hops: int) -> str:
    """Whom a request comes from, as a key to count by.

    Each proxy adds the address that it got the request from at the end of `X-Forwarded-For`, so the client's is as far
    from the end as there are trusted proxies. What is before it was written by the client.

    Args:
        peer: the address of the connection; None if there is none (a Unix socket).
        forwarded_for: the header `X-Forwarded-For`; empty if there is none.
        trusted_hops: how many proxies of ours a request passes; 0: the header is not believed.
    """
    hops = [one.strip() for one in forwarded_for.split(",")]
    if 0 < trusted_hops <= len(hops) and (named := _read(hops[-trusted_hops])) is not None:
        return named
    return _read(peer or "") or "unknown"


def _read(text: str) -> str | None:
    """The address, without a port; an IPv6 one as its network. None if it is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, SITE_PREFIX), strict=False))
