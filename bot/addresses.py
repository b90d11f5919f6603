"""Addresses and names of hosts: which are public, of a private network, or of this machine. Pure."""

import ipaddress

WITHIN = (".local", ".localhost", ".lan", ".internal", ".home.arpa")
"""Ends of names that no public DNS knows (RFC 6761, RFC 6762, RFC 8375)."""


def is_public(address: str) -> bool:
    """Tell whether an address is of the public Internet, also when IPv4 is wrapped in IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96") or ip in ipaddress.ip_network("::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def is_local(host: str) -> bool:
    """Tell whether a host, by name or address, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def is_within(host: str) -> bool:
    """Tell whether a host, by name or address, is this machine or one of a private network."""
    return not is_public(host) if _is_address(host) else "." not in host or host.endswith(WITHIN)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
