"""Which client is behind a connection or a request, for counting them only. Pure.

A client is one public IPv4 address, or one IPv6 network of the size that a household gets. Addresses of private
networks and of this machine are not counted: a proxy may stand there for the whole world. A proxy that
`web.trusted_proxies` names tells in `X-Forwarded-For` for whom it asks.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

HOUSEHOLD_BITS = 64
LONGEST_HEADER = 2000

Address = IPv4Address | IPv6Address


class Clients:
    """Names for clients. `trusted`: addresses and networks of proxies, as the settings have them."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]

    @property
    def behind_proxies(self) -> bool:
        return bool(self._trusted)

    def trusts(self, peer: str) -> bool:
        """Return whether the `X-Forwarded-For` of this address is believed."""
        address = parse_address(peer)
        return address is not None and self._is_trusted(address)

    def of_connection(self, peer: str) -> str | None:
        """Return the client at the other end of a connection; None where it is a proxy or may be one."""
        address = parse_address(peer)
        if address is None or not address.is_global or self._is_trusted(address):
            return None
        return client_of(address)

    def of_request(self, forwarded: str) -> str | None:
        """Return the client that asked a trusted proxy: the last address that is not a trusted proxy's. None where
        that can't be read. Anything before it was written by the client itself."""
        for part in reversed(forwarded[-LONGEST_HEADER:].split(",")):
            address = parse_address(part.strip())
            if address is None:
                return None
            if not self._is_trusted(address):
                return client_of(address)
        return None

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parse_address(text: str) -> Address | None:
    """Parse an address, also with a port, in brackets, or IPv4 written as IPv6; None where it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_of(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, HOUSEHOLD_BITS), strict=False).network_address)
