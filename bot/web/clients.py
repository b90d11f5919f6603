"""Whose connection or request it is, for counting only. Pure.

Each address of the internet is one caller; of IPv6 the network that one household gets. Addresses of private networks
and of this machine are nobody: a proxy may stand there for the whole world. One that `web.trusted_proxies` names tells
in `X-Forwarded-For` for whom it asks.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

HOUSEHOLD_BITS = 64
LONGEST_HEADER = 2000

Address = IPv4Address | IPv6Address


class Callers:
    """`trusted`: addresses and networks of proxies, as the settings have them."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ip_network(one, strict=False) for one in trusted]

    @property
    def behind_proxies(self) -> bool:
        return bool(self._trusted)

    def trusts(self, peer: str) -> bool:
        """Whether this address's `X-Forwarded-For` is believed."""
        address = parsed(peer)
        return address is not None and self._is_trusted(address)

    def of_connection(self, peer: str) -> str | None:
        """Who a connection's other end is; None: nobody of its own."""
        address = parsed(peer)
        if address is None or not address.is_global or self._is_trusted(address):
            return None
        return caller(address)

    def of_request(self, forwarded: str) -> str | None:
        """Who asked a proxy that is trusted: the last address that no trusted proxy has; None where that can't be read.
        What stands further in front was written by who asks."""
        for part in reversed(forwarded[-LONGEST_HEADER:].split(",")):
            address = parsed(part.strip())
            if address is None:
                return None
            if not self._is_trusted(address):
                return caller(address)
        return None

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parsed(text: str) -> Address | None:
    """An address, also with a port, in brackets, or an IPv4 one written as IPv6."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def caller(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, HOUSEHOLD_BITS), strict=False).network_address)
