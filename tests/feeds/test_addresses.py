"""Personal tokens and the addresses that are given out."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.feeds import addresses
from storage.records import RoomId, Studio, StudioId, StudioSource, StudioState, UserId

SECRET = bytes(range(32))
ROOM, USER = RoomId("!room:example.org"), UserId("@alice:example.org")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
STUDIO = Studio(
    StudioId(1), "0123456789abcdef" * 2, ROOM, USER, StudioSource.PAGE, StudioState.WAITING, NOW, NOW + timedelta(1)
)


def test_token_is_always_the_same() -> None:
    """A member of a room has one token per generation, and no release may change it."""
    token = addresses.token_for(SECRET, ROOM, USER, 0)
    assert token == "oblhwxnwnmdu7gpxulu3tm755ixzjmkhz7mucg3pyepgttgue3tq"
    assert addresses.TOKEN.fullmatch(token)
    assert len(token) * math.log2(32) >= 128


def test_token_hangs_on_everything() -> None:
    """Another secret, room, user or generation gives another token."""
    tokens = {
        addresses.token_for(SECRET, ROOM, USER, 0),
        addresses.token_for(bytes(32), ROOM, USER, 0),
        addresses.token_for(SECRET, RoomId("!other:example.org"), USER, 0),
        addresses.token_for(SECRET, ROOM, UserId("@bob:example.org"), 0),
        addresses.token_for(SECRET, ROOM, USER, 1),
    }
    assert len(tokens) == 5


ids = st.text("ab:0\0|1", max_size=6)


@given(ids, ids, st.integers(0, 20), ids, ids, st.integers(0, 20))
def test_no_two_listeners_share_a_token(r1: str, u1: str, g1: int, r2: str, u2: str, g2: int) -> None:
    """No choice of ids gives two listeners the same token."""
    first = addresses.token_for(SECRET, RoomId(r1), UserId(u1), g1)
    second = addresses.token_for(SECRET, RoomId(r2), UserId(u2), g2)
    assert (first == second) == ((r1, u1, g1) == (r2, u2, g2))


def test_studio_has_one_token_which_hangs_on_its_key_and_the_secret() -> None:
    """A studio's token stays the same while it lives, and is another for another key or secret."""
    token = addresses.studio_token(SECRET, STUDIO)
    assert token == "m6nxdchhe4kvfkmvjvftpjhuj4oculpl7zqy3tpyeznkrvoh4f2a"
    assert addresses.TOKEN.fullmatch(token)
    assert addresses.studio_token(SECRET, replace(STUDIO, state=StudioState.LIVE, id=StudioId(7))) == token
    others = {
        addresses.studio_token(bytes(32), STUDIO),
        addresses.studio_token(SECRET, replace(STUDIO, key="f" * 32)),
    }
    assert len(others | {token}) == 3
    page = addresses.studio_page("https://radio.example.org", token)
    assert page == f"https://radio.example.org/studio/{token}/"


@given(ids, ids, st.integers(0, 20))
def test_no_listener_has_a_studio_s_token(room: str, user: str, generation: int) -> None:
    """No choice of ids gives a listener the token of a studio, whatever it is named."""
    for key in (STUDIO.key, "", room, user):
        studio = addresses.studio_token(SECRET, replace(STUDIO, key=key))
        assert studio != addresses.token_for(SECRET, RoomId(room), UserId(user), generation)


def test_short_secret_is_refused() -> None:
    """A secret of less than 256 bits makes no tokens."""
    with pytest.raises(ValueError, match="32 bytes"):
        addresses.token_for(b"short", ROOM, USER, 0)
    with pytest.raises(ValueError, match="32 bytes"):
        addresses.studio_token(b"short", STUDIO)


def test_look_up_hash_does_not_hold_the_token() -> None:
    """The stored hash of a token does not reveal it."""
    token = addresses.token_for(SECRET, ROOM, USER, 0)
    digest = addresses.look_up_hash(token)
    assert len(digest) == 64
    assert token not in digest


def test_addresses_of_both_families() -> None:
    """All addresses of a room stand below its root, and an episode's file ends in .mp3."""
    base = "https://h.example/pods"
    assert addresses.public_shelf(base, "k3y").feed == "https://h.example/pods/r/k3y/feed.xml"
    assert addresses.public_shelf(base, "k3y").page == "https://h.example/pods/r/k3y/"
    assert addresses.public_shelf(base, "k3y").episode("abcdef") == "https://h.example/pods/r/k3y/abcdef"
    assert addresses.personal_shelf(base, "t0k").feed == "https://h.example/pods/p/t0k/feed.xml"
    shelf = addresses.personal_shelf(base, "t0k")
    assert shelf.audio("abcdef") == "https://h.example/pods/p/t0k/abcdef.mp3"
    assert shelf.feed_page(2) == "https://h.example/pods/p/t0k/feed-2.xml"
