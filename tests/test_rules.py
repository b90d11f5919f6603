"""Rules: who may do what, and who may hear what."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.rules import (
    CREATOR,
    invite_allowed,
    is_mod,
    may_hear,
    may_redact,
    may_send,
    may_show_in_call,
    power_of,
)
from storage.records import CallProtocol, HistoryVisibility, Position, RoomId, RoomPower, StateEvent, UserId

ALICE, BOB, CAROL = UserId("@alice:hs"), UserId("@bob:hs"), UserId("@carol:hs")


def state(kind: str, content: Any, *, sender: UserId = ALICE, position: int = 1, key: str = "") -> StateEvent:
    return StateEvent(RoomId("!r:hs"), kind, key, sender, content, Position(position))


def create(version: str | None = "10", **content: Any) -> StateEvent:
    known = {} if version is None else {"room_version": version}
    return state("m.room.create", {**known, **content})


def power(version: str | None = "10", creation: dict[str, Any] | None = None, **content: Any) -> RoomPower:
    return RoomPower(create(version, **(creation or {})), state("m.room.power_levels", content))


@pytest.mark.parametrize(
    ("room", "user", "level", "mod"),
    [
        # what the levels say
        (power(users={BOB: 50}), BOB, 50, True),
        (power(users={BOB: 49}), BOB, 49, False),
        (power(users={BOB: 100}, state_default=100), BOB, 100, True),
        (power(users={BOB: 75}, state_default=80), BOB, 75, False),
        (power(users={BOB: 50}, state_default=0), BOB, 50, True),
        (power(users={BOB: 10}, state_default=0), BOB, 10, False),
        (power(users={}, users_default=50), BOB, 50, True),
        (power(users={BOB: 0}, users_default=50), BOB, 0, False),
        (power(users={ALICE: 100}), BOB, 0, False),
        (power(users={}), ALICE, 0, False),  # with levels, who made the room has no more than they say
        (power(), BOB, 0, False),
        (power(users={BOB: -5}), BOB, -5, False),
        # no levels at all
        (RoomPower(create("10", creator=ALICE), None), ALICE, 100, True),
        (RoomPower(create("10", creator=ALICE), None), BOB, 0, False),
        (RoomPower(create("11"), None), ALICE, 100, True),
        (RoomPower(create("11", creator=BOB), None), BOB, 0, False),
        (RoomPower(create(None, creator=ALICE), None), ALICE, 100, True),
        # state that is not known
        (RoomPower(None, None), ALICE, 0, False),
        (RoomPower(None, state("m.room.power_levels", {"users": {BOB: 100}})), BOB, 0, False),
        # room version 12: creators above all
        (power("12", users={BOB: 100}), ALICE, CREATOR, True),
        (power("12", users={ALICE: 0}, state_default=100), ALICE, CREATOR, True),
        (power("12", creation={"additional_creators": [BOB]}), BOB, CREATOR, True),
        (power("12", creation={"additional_creators": [BOB]}), CAROL, 0, False),
        (power("12", creation={"additional_creators": BOB}), BOB, 0, False),
        (power("12", creation={"additional_creators": [None, {"a": 1}, [BOB]]}), BOB, 0, False),
        (power("11", creation={"additional_creators": [BOB]}), BOB, 0, False),
        (power("13"), ALICE, CREATOR, True),
        (RoomPower(create("12"), None), ALICE, CREATOR, True),
        (RoomPower(create("12"), None), BOB, 0, False),
        # room versions that are not in the spec
        (power("org.example.experiment"), ALICE, 0, False),
        (power("org.example.experiment", users={BOB: 50}), BOB, 50, True),
        (RoomPower(create(None, room_version=12), None), ALICE, 0, False),
        # levels as strings, in old rooms only
        (power("9", users={BOB: "50"}), BOB, 50, True),
        (power("1", users={BOB: " +50 "}), BOB, 50, True),
        (power("9", users={BOB: "-50"}), BOB, -50, False),
        (power("9", users={BOB: "5e1"}), BOB, 0, False),
        (power("9", users={BOB: "５０"}), BOB, 0, False),
        (power("9", users={BOB: "1" * 400}), BOB, 0, False),
        (power("9", users={BOB: 60}, state_default="70"), BOB, 60, False),
        (power("10", users={BOB: "50"}), BOB, 0, False),
        (power("org.example.experiment", users={BOB: "50"}), BOB, 0, False),
        # junk
        (power(users={BOB: True}), BOB, 0, False),
        (power(users={BOB: 100.0}), BOB, 0, False),
        (power(users={BOB: None}, users_default=100), BOB, 0, False),
        (power(users={BOB: 10**30}), BOB, 0, False),
        (power(users=[BOB]), BOB, 0, False),
        (power(users="@bob:hs"), BOB, 0, False),
        (power(users_default={}), BOB, 0, False),
        (power(users={BOB: 100}, state_default="high"), BOB, 100, False),
        (power(users={BOB: 100}, state_default=None), BOB, 100, False),
    ],
)
def test_power(room: RoomPower, user: UserId, level: int, *, mod: bool) -> None:
    """Power levels are read as the spec says, and one that can't be read gives no power."""
    assert power_of(user, room) == level
    assert is_mod(user, room) is mod


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([ALICE, BOB]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([ALICE, BOB, "x"]), inner, max_size=3),
    max_leaves=5,
)


@given(
    levels=st.dictionaries(st.sampled_from(["users", "users_default", "state_default"]), JUNK),
    creation=st.dictionaries(st.sampled_from(["room_version", "creator", "additional_creators"]), JUNK),
)
def test_junk_never_makes_a_stranger_a_mod(levels: dict[str, Any], creation: dict[str, Any]) -> None:
    """Whatever room state holds, nothing raises, and a user who is named nowhere is a mod only by `users_default`."""
    room = RoomPower(state("m.room.create", creation), state("m.room.power_levels", levels))
    default = levels.get("users_default", 0)
    if is_mod(CAROL, room):
        assert int(default) >= 50


@pytest.mark.parametrize("visibility", list(HistoryVisibility))
@pytest.mark.parametrize(
    ("member", "early", "late"),
    [
        ("join", False, True),
        ("leave", False, False),
        ("ban", False, False),
        ("invite", False, False),
        (None, False, False),
    ],
)
def test_who_may_hear(visibility: HistoryVisibility, member: str | None, *, early: bool, late: bool) -> None:
    """Members hear everything where history is shared, else what began since their last join; others nothing."""
    content = {} if member is None else {"membership": member}
    event = state("m.room.member", content, position=50, key=BOB)
    shared = visibility in (HistoryVisibility.SHARED, HistoryVisibility.WORLD_READABLE)
    assert may_hear(visibility, Position(10), event) is (early or (shared and member == "join"))
    assert may_hear(visibility, Position(60), event) is late
    assert may_hear(visibility, Position(60), None) is False


@pytest.mark.parametrize(
    ("pattern", "user", "allowed"),
    [
        ("*:hs", "@bob:hs", True),
        ("*:hs", "@bob:hs.evil.org", False),
        ("*:hs", "@bob:HS", False),
        ("@bob:*", "@bob:anywhere.org", True),
        ("@bob:hs", "@bob:hs", True),
        ("@bob:hs", "@bobby:hs", False),
        ("@b?b:hs", "@bxb:hs", True),
        ("@b?b:hs", "@bb:hs", False),
        ("@[ab]*:hs", "@alice:hs", False),
        ("@[ab]*:hs", "@[ab]c:hs", True),
        ("@[!x]:hs", "@[!x]:hs", True),
        ("@*]:hs", "@a]:hs", True),
        ("*", "@bob:hs", True),
        ("", "@bob:hs", False),
    ],
)
def test_invites(pattern: str, user: str, *, allowed: bool) -> None:
    """Patterns match whole ids, case counts, and only `*` and `?` are wild."""
    assert invite_allowed(["@nobody:nowhere", pattern], UserId(user)) is allowed
    assert invite_allowed([], UserId(user)) is False


@pytest.mark.parametrize(
    ("room", "may"),
    [
        (power(users={BOB: 50}), True),
        (power(users={BOB: 49}), False),
        (power(users={BOB: 50}, redact=51), False),
        (power(users={BOB: 10}, redact=10), True),
        (power(redact=0), True),
        (power("9", users={BOB: 50}, redact="50"), True),
        (power("10", users={BOB: 100}, redact="50"), False),
        (power(users={BOB: 100}, redact=None), False),
        (power("12", creation={"additional_creators": [BOB]}, redact="junk"), True),
        (RoomPower(create("10", creator=BOB), None), True),
        (RoomPower(create("10", creator=ALICE), None), False),
        (RoomPower(None, state("m.room.power_levels", {"redact": 0})), False),
        (RoomPower(None, None), False),
    ],
)
def test_who_may_redact_what_others_say(room: RoomPower, *, may: bool) -> None:
    """The level `redact`, by default 50, decides; nobody has one that can't be read or of an unknown room."""
    assert may_redact(BOB, ALICE, room) is may


@pytest.mark.parametrize("room", [power(redact=100), RoomPower(None, None)])
def test_everybody_may_redact_what_they_said(room: RoomPower) -> None:
    """A user's own events are theirs to redact, whatever their power."""
    assert may_redact(BOB, BOB, room)


@pytest.mark.parametrize(
    ("room", "may"),
    [
        (power(), True),
        (power(users={BOB: 0}), True),
        (power(users={BOB: -1}), False),
        (power(events_default=50), False),
        (power(users={BOB: 50}, events_default=50), True),
        (power(events={"m.room.message": 10}), False),
        (power(events={"m.room.encrypted": 10}), True),
        (power(events={"m.room.message": 0}, events_default=50), True),
        (power(events={"m.room.message": "x"}), False),
        (power(events=[]), True),
        (power("12", creation={"additional_creators": [BOB]}, events_default=100), True),
        (RoomPower(None, None), False),
    ],
)
def test_who_may_send(room: RoomPower, *, may: bool) -> None:
    """The level of the event's own type counts, else `events_default`; in a room without power levels everybody may
    speak, and where nothing is known nobody."""
    assert may_send(BOB, "m.room.message", room) is may


@pytest.mark.parametrize(
    ("room", "by_state", "by_sticky"),
    [
        (power(), False, True),
        (power(events={"org.matrix.msc3401.call.member": 0}), True, True),
        (power(events={"org.matrix.msc3401.call.member": 0, "org.matrix.msc4143.rtc.member": 10}), True, False),
        (power(users={BOB: 50}, events_default=50), True, True),
        (power(events_default=50), False, False),
        (RoomPower(None, None), False, False),
    ],
)
def test_who_may_be_shown_in_a_call(room: RoomPower, *, by_state: bool, by_sticky: bool) -> None:
    """State that shows a member of a call of MatrixRTC needs the level of state, a sticky event that of messages."""
    assert may_show_in_call(BOB, CallProtocol.MATRIXRTC, room) is by_state
    assert may_show_in_call(BOB, CallProtocol.MATRIXRTC, room, sticky=True) is by_sticky
