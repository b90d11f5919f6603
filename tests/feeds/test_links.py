"""Links in texts that people wrote."""

import pytest

from bot.feeds.links import Part, parts_of


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("See https://example.org/a, and http://example.org.", ["https://example.org/a", "http://example.org"]),
        ("(https://example.org/Radio_(band))", ["https://example.org/Radio_(band)"]),
        ("[https://example.org]!", ["https://example.org"]),
        ("HTTPS://EXAMPLE.ORG/?q=1&b=<i>", ["HTTPS://EXAMPLE.ORG/?q=1&b="]),
        ("javascript:alert(1) data:text/html,x file:///etc matrix:u/a ftp://example.org", []),
        ("https:// http://] https://[::1 https://user@example.org https://example.org/cut…", []),
        ("javascript:https://example.org", ["https://example.org"]),
        ("https://example.org/" + "a" * 3000, []),
    ],
)
def test_web_addresses_become_links(text: str, addresses: list[str]) -> None:
    """Only whole web addresses become links, without what belongs to the sentence; no text is lost."""
    parts = list(parts_of(text))
    assert [part.address for part in parts if part.address] == addresses
    assert "".join(part.text for part in parts) == text


def test_a_text_without_addresses_is_one_part() -> None:
    """A text without an address stays whole, and an empty one has no parts."""
    assert list(parts_of("One.\nTwo.")) == [Part("One.\nTwo.")]
    assert list(parts_of("")) == []
