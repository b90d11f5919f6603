"""Which client is behind a connection or a request."""

import pytest

from bot.web.clients import Clients, asked_origin

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


FORWARDED = {
    "Host": "127.0.0.1:8040",
    "X-Forwarded-Host": "evil.example, Pods.example:8443",
    "X-Forwarded-Proto": "https",
}
ORIGINS = {
    "a proxy that is trusted": (FORWARDED, True, "https://pods.example:8443"),
    "anybody else": (FORWARDED, False, "http://127.0.0.1:8040"),
    "a trusted proxy that keeps the host": (
        {"Host": "pods.example", "X-Forwarded-Proto": "https"},
        True,
        "https://pods.example",
    ),
    "IPv6": ({"Host": "[::1]:8040"}, False, "http://[::1]:8040"),
    "no host": ({}, False, None),
    "no host name": ({"Host": "pods.example/evil"}, False, None),
    "no web address": ({"Host": "pods.example", "X-Forwarded-Proto": "gopher"}, True, None),
    "without end": ({"Host": "x", "X-Forwarded-Host": "y" * 100_000}, True, None),
}


@pytest.mark.parametrize("case", ORIGINS)
def test_which_address_was_asked(case: str) -> None:
    """A trusted proxy tells by which address it was asked; of everybody else only the Host counts."""
    headers, trusted, wanted = ORIGINS[case]
    assert asked_origin(headers, trusted=trusted) == wanted
