"""The grammar of mxc addresses."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bot.errors import GiveUp
from bot.matrix.address import parse_mxc


@pytest.mark.parametrize(
    ("text", "server", "media_id"),
    [
        ("mxc://matrix.org/AbC_-9", "matrix.org", "AbC_-9"),
        ("mxc://localhost/a", "localhost", "a"),
        ("mxc://example.org:8448/a", "example.org:8448", "a"),
        ("mxc://1.2.3.4/a", "1.2.3.4", "a"),
        ("mxc://[2001:db8::1]:80/a", "[2001:db8::1]:80", "a"),
    ],
)
def test_addresses(text: str, server: str, media_id: str) -> None:
    """A valid address is split into server name and media id."""
    assert parse_mxc(text) == (server, media_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mxc://",
        "mxc:///a",
        "mxc://localhost",
        "mxc://localhost/",
        "mxc://../a",
        "mxc://./a",
        "mxc://a..b/a",
        "mxc://localhost/..",
        "mxc://localhost/../../v3/account/whoami",
        "mxc://localhost/%2e%2e",
        "mxc://localhost/a/b",
        "mxc://localhost/a?b",
        "mxc://localhost/a#b",
        "mxc://localhost/a\n",
        "mxc://user@localhost/a",
        "mxc://local\\host/a",
        "MXC://localhost/a",
        "https://localhost/a",
        "mxc://localhost/ä",
        "mxc://lоcalhost/a",
        "mxc://localhost:/a",
        "mxc://localhost:123456/a",
        "mxc://localhost/" + "a" * 600,
    ],
)
def test_hostile_addresses(text: str) -> None:
    """Any other text is refused as a bad address."""
    with pytest.raises(GiveUp) as caught:
        parse_mxc(text)
    assert caught.value.reason == "bad_address"


@given(st.one_of(st.text(), st.text("mxc:/.%2eE\\?#@[]-_aZ09 \n", max_size=40)).map(lambda tail: "mxc://" + tail))
def test_what_passes_stays_in_its_path(text: str) -> None:
    """An accepted address makes a path of exactly two parts, however often it is decoded and normalised."""
    try:
        server, media_id = parse_mxc(text)
    except GiveUp:
        return
    path = f"/download/{quote(server, safe='')}/{quote(media_id, safe='')}"
    assert URL("http://hs" + path).path == unquote(path) == f"/download/{server}/{media_id}"
    assert text == f"mxc://{server}/{media_id}"
