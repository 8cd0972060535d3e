"""Addresses of this machine's own."""

from __future__ import annotations

import ipaddress


def is_loopback(peer: tuple[object, ...]) -> bool:
    """Tell whether a socket's address is this machine's own, IPv4 in IPv6 included."""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
