"""The holder of the floor, by the marks in a room's timeline."""

from datetime import UTC, datetime

import pytest

from bot.dialects.floor import mark_of
from bot.event_types import FLOOR, POWER_LEVELS
from bot.recording.session.floor import Turn, has_kept, holds, turn_of
from storage.records import FloorMark, Json, Position, RoomId, UserId

ROOM = RoomId("!room:hs")
NOW = datetime(2026, 11, 29, tzinfo=UTC)
BOT = UserId("@bot:hs")
ANN, BEN, MOD = UserId("@ann:hs"), UserId("@ben:hs"), UserId("@mod:hs")


def mark(position: int, kind: str, content: Json, *, ours: bool) -> FloorMark:
    event = {"type": kind, "state_key": "", "sender": BOT if ours else MOD, "content": content}
    made = mark_of(event, BOT, ROOM, Position(position), NOW)
    assert made is not None
    return made


def power(position: int, *able: UserId, ours: bool = True, needed: int = 10) -> FloorMark:
    """Return the mark of power levels by which these members, and a moderator, may speak."""
    users = {MOD: 100} | dict.fromkeys(able, 10) | {UserId("@low:hs"): 9, UserId("@odd:hs"): "10"}
    return mark(position, POWER_LEVELS, {"users": users, "events": {"m.room.message": needed}}, ours=ours)


def floor(position: int, holder: object) -> FloorMark:
    return mark(position, FLOOR, {"holder": holder}, ours=True)


ROUND = [power(1), floor(2, None), power(10, ANN), floor(11, ANN), power(20), floor(21, None)]


@pytest.mark.parametrize(
    ("position", "sender", "turn"),
    [
        (5, ANN, Turn.OUT_OF_TURN),
        (11, ANN, Turn.IN_TURN),  # after the power levels, before the floor event
        (15, ANN, Turn.IN_TURN),
        (15, MOD, Turn.OUT_OF_TURN),
        (21, ANN, Turn.OUT_OF_TURN),  # after the power levels were put back
        (1, ANN, Turn.ORDINARY),  # there was no walkie-talkie
    ],
)
def test_the_last_mark_before_a_message_decides_on_its_turn(position: int, sender: UserId, turn: Turn) -> None:
    """A member is in turn from the power levels that raise them to those that don't."""
    assert turn_of(holds(ROUND), sender, Position(position), on=True) is turn


def test_the_floor_event_alone_names_who_has_the_power_anyway() -> None:
    """A moderator has the floor between the two floor events that say so."""
    marks = holds([power(1), floor(2, None), floor(10, MOD), floor(20, None)])
    assert [turn_of(marks, MOD, Position(at), on=True) for at in (9, 15, 25)] == [
        Turn.OUT_OF_TURN,
        Turn.IN_TURN,
        Turn.OUT_OF_TURN,
    ]


def test_power_that_somebody_else_gives_makes_no_holder() -> None:
    """A moderator who raises a member in a locked room gives them no floor."""
    marks = holds([power(1), floor(2, None), power(10, ANN, ours=False)])
    assert turn_of(marks, ANN, Position(15), on=True) is Turn.OUT_OF_TURN


def test_a_floor_event_of_somebody_else_is_no_mark() -> None:
    """Members with the power to send one change nothing about who has the floor."""
    event = {"type": FLOOR, "state_key": "", "sender": MOD, "content": {"holder": MOD}}
    assert mark_of(event, BOT, ROOM, Position(1), NOW) is None


def test_power_that_somebody_gives_while_the_bot_writes_makes_no_holder() -> None:
    """The bot's first write takes it back, and its second one carries it on: the floor stays with its holder."""
    begun = [power(1), floor(2, None), power(10, BEN, ours=False), power(11, ANN), floor(12, ANN), power(13, ANN, BEN)]
    assert [turn_of(holds(begun), who, Position(15), on=True) for who in (ANN, BEN)] == [
        Turn.IN_TURN,
        Turn.OUT_OF_TURN,
    ]
    ended = [*ROUND[:4], power(19, ANN, BEN, ours=False), power(20), power(21, BEN)]
    assert turn_of(holds(ended), BEN, Position(22), on=True) is Turn.OUT_OF_TURN
    assert turn_of(holds([*ended, floor(23, None), floor(24, BEN)]), BEN, Position(25), on=True) is Turn.IN_TURN


def test_a_holder_whose_power_a_moderator_takes_has_lost_the_floor() -> None:
    """Power levels of anybody end the turn of a holder who lacks the power by them; more power does not."""
    begun = [power(1), floor(2, None), power(10, ANN), floor(11, ANN)]
    lowered, raised = holds([*begun, power(15, ours=False)]), holds([*begun, power(15, ANN, BEN, ours=False)])
    assert turn_of(lowered, ANN, Position(16), on=True) is Turn.OUT_OF_TURN
    assert turn_of(raised, ANN, Position(16), on=True) is Turn.IN_TURN


def test_a_broadcast_loses_its_turn_with_the_first_break() -> None:
    """Somebody who gets the floor again has not kept it."""
    again = holds([*ROUND, power(30, ANN), floor(31, ANN)])
    assert has_kept(again, ANN, Position(12), Position(20))
    assert not has_kept(again, ANN, Position(12), Position(35))
    assert has_kept(again, ANN, Position(32))
    assert not has_kept(again, ANN, Position(12))


def test_without_a_walkie_talkie_a_message_is_an_ordinary_one() -> None:
    """Messages from before it was switched on, and after it was switched off, have no turn."""
    off = holds([*ROUND, power(30, needed=0)])
    assert turn_of(off, BEN, Position(35), on=True) is Turn.ORDINARY
    assert turn_of(holds(ROUND), BEN, Position(25), on=False) is Turn.ORDINARY
    assert turn_of(holds(ROUND), BEN, Position(15), on=False) is Turn.OUT_OF_TURN


@pytest.mark.parametrize("holder", [5, "", "@" * 300, ["@ann:hs"]])
def test_a_floor_event_that_names_nobody_makes_nobody_the_holder(holder: object) -> None:
    """Junk in the floor event leaves the floor to nobody."""
    assert floor(1, holder).users == ()
