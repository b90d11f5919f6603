"""Which client is behind a connection or a request."""

import pytest

from bot.web.clients import Clients

CONNECTIONS = {
    "of the internet": ("8.8.8.8", "8.8.8.8"),
    "of the internet, written as IPv6": ("::ffff:8.8.8.8", "8.8.8.8"),
    "of a household": ("2a00:1450:4001:80b:1::200e", "2a00:1450:4001:80b::"),
    "this machine": ("127.0.0.1", None),
    "this machine, IPv6": ("::1", None),
    "a private network, where a proxy may be": ("172.18.0.3", None),
    "a proxy that is trusted": ("1.1.1.1", None),
    "no address": ("", None),
}
REQUESTS = {
    "one address": ("8.8.8.8", "8.8.8.8"),
    "what the client wrote itself": ("1.2.3.4, 8.8.8.8", "8.8.8.8"),
    "through two trusted proxies": ("8.8.8.8, 10.9.8.7", "8.8.8.8"),
    "a private address": ("192.168.1.20", "192.168.1.20"),
    "with a port": ("8.8.8.8:1234", "8.8.8.8"),
    "IPv6 in brackets with a port": ("[2a00:1450:4001:80b:1::200e]:1234", "2a00:1450:4001:80b::"),
    "no address": ("unknown", None),
    "nothing": ("", None),
    "without end": ("8.8.8.8, " * 10_000 + "9.9.9.9", "9.9.9.9"),
}


@pytest.mark.parametrize("case", CONNECTIONS)
def test_a_connection_is_its_address(case: str) -> None:
    """A public address is one client; an address that may be a proxy's is none."""
    peer, wanted = CONNECTIONS[case]
    assert Clients(["1.1.1.1", "10.0.0.0/8"]).of_connection(peer) == wanted


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_through_a_proxy_is_the_last_foreign_address(case: str) -> None:
    """A forwarded request counts for the last address that is no proxy's, not for what the client wrote."""
    header, wanted = REQUESTS[case]
    assert Clients(["1.1.1.1", "10.0.0.0/8"]).of_request(header) == wanted


def test_only_named_proxies_are_trusted() -> None:
    """Without the setting no header is believed."""
    assert not Clients().behind_proxies
    assert Clients(["10.0.0.0/8"]).trusts("::ffff:10.1.2.3")
    assert not Clients(["10.0.0.0/8"]).trusts("127.0.0.1")
