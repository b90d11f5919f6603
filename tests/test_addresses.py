"""Public addresses."""

import pytest

from bot.addresses import is_public


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),
        ("::", False),
        ("0.0.0.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("ff0e::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("127.1", False),
        ("name", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    """Only addresses of the public Internet count as public, also inside IPv6."""
    assert is_public(address) is public
