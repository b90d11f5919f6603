"""Facts of a room, read from its state."""

from typing import Any

import pytest

from bot.facts import aliases, avatar, display_name, history_visibility, is_joined, membership, replacement, room_name
from storage.records import HistoryVisibility, Position, RoomId, StateEvent, UserId

ALICE, BOB = UserId("@alice:hs"), UserId("@bob:hs")


def state(kind: str, content: Any, *, sender: UserId = ALICE, key: str = "") -> StateEvent:
    return StateEvent(RoomId("!r:hs"), kind, key, sender, content, Position(1))


@pytest.mark.parametrize("junk", [None, 5, ["join"], {"membership": ["join"]}, {"membership": None}, "join"])
def test_membership_of_junk(junk: object) -> None:
    """A member event that says no membership says none."""
    assert membership(junk) is None
    assert membership({"membership": "join"}) == "join"


@pytest.mark.parametrize("content", [{}, {"membership": "leave"}, {"membership": "invite"}, {"membership": ["join"]}])
def test_only_who_is_joined_is_in(content: dict[str, Any]) -> None:
    """Neither an invited member nor one whose event is junk is in the room."""
    assert not is_joined(state("m.room.member", content))
    assert is_joined(state("m.room.member", {"membership": "join"}))
    assert not is_joined(None)


def test_a_display_name_is_the_members_own_word() -> None:
    """Whoever kicks or bans a member writes their event too."""
    content = {"membership": "leave", "displayname": "A\ud800"}
    assert display_name(state("m.room.member", content, key=ALICE)) == "A?"
    assert display_name(state("m.room.member", content, sender=BOB, key=ALICE)) is None
    assert display_name(state("m.room.member", {"displayname": 5}, key=ALICE)) is None
    assert display_name(None) is None


def test_a_rooms_name_and_picture_are_texts() -> None:
    """An empty address is no picture; an empty name is for the reader to judge."""
    assert room_name(state("m.room.name", {"name": "Radio"})) == "Radio"
    assert room_name(state("m.room.name", {"name": ""})) == ""
    assert room_name(state("m.room.name", {"name": ["Radio"]})) is None
    assert room_name(None) is None
    assert avatar(state("m.room.avatar", {"url": "mxc://hs/a"})) == "mxc://hs/a"
    assert avatar(state("m.room.avatar", {"url": ""})) is None
    assert avatar(None) is None


def test_a_rooms_aliases_are_the_main_one_and_the_others() -> None:
    """Junk names no alias, and none is named twice."""
    content = {"alias": "#a:hs", "alt_aliases": ["#b:hs", 7, "", "#\ud800:hs", "#a:hs"]}
    assert aliases(state("m.room.canonical_alias", content)) == ("#a:hs", "#b:hs")
    assert aliases(state("m.room.canonical_alias", {"alias": None, "alt_aliases": "#b:hs"})) == ()
    assert aliases(None) == ()


@pytest.mark.parametrize("content", [{}, {"replacement_room": None}, {"replacement_room": "!new\ud800"}])
def test_an_empty_tombstone_names_no_room(content: dict[str, Any]) -> None:
    """A redacted tombstone and one with a name that can't be written down replace nothing."""
    assert replacement(state("m.room.tombstone", content)) is None
    assert replacement(state("m.room.tombstone", {"replacement_room": "!new:hs"})) == "!new:hs"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"history_visibility": "world_readable"}, HistoryVisibility.WORLD_READABLE),
        ({"history_visibility": "shared"}, HistoryVisibility.SHARED),
        ({"history_visibility": "invited"}, HistoryVisibility.INVITED),
        ({"history_visibility": "joined"}, HistoryVisibility.JOINED),
        ({"history_visibility": "everybody"}, HistoryVisibility.JOINED),
        ({"history_visibility": ["shared"]}, HistoryVisibility.JOINED),
        ({}, HistoryVisibility.JOINED),
    ],
)
def test_history_visibility(content: dict[str, Any], expected: HistoryVisibility) -> None:
    """Junk counts as the strictest visibility."""
    assert history_visibility(state("m.room.history_visibility", content)) is expected


def test_history_is_shared_by_default() -> None:
    """A room without the event has shared history, as the spec says."""
    assert history_visibility(None) is HistoryVisibility.SHARED
