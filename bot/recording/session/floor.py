"""The turn of a transmission: whether its sender had the floor at its place in the timeline. Pure.

The homeserver's order of events decides, and nothing else: so the answer is the same after a restart, and for a message
that is handled late. Two kinds of state mark the timeline (`bot.dialects.floor`):

- The room's power levels. The bot raises one member above what the locked room needs: from there on the member may
  speak, before the floor event says so. Power that somebody else gives makes no holder, also where the bot's own levels
  carry it on: somebody who had it since the last floor event, or is raised while another has the floor, is not raised
  by the bot. But a holder who loses the power has lost the floor.
- The bot's floor event. It alone names a holder who has the power anyway, such as a moderator or the creator of a room
  of version 12.

A message counts if the last mark before it leaves the floor to its sender. A chunk of a voice broadcast counts if its
sender has had the floor without a break since the broadcast began.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from storage.records import FloorMark, FloorMarkKind, Position, UserId


class Turn(StrEnum):
    """The turn of a message in a room that has a walkie-talkie."""

    ORDINARY = "ordinary"  # there was no walkie-talkie
    IN_TURN = "in_turn"  # its sender had the floor
    OUT_OF_TURN = "out_of_turn"


@dataclass(frozen=True, slots=True)
class Hold:
    """A stretch of the timeline, from a position on, and who has the floor in it."""

    since: Position
    holder: UserId | None
    locked: bool


def holds(marks: Sequence[FloorMark]) -> list[Hold]:
    """Return the stretches that the marks of a room make, given in the order of the timeline."""
    found: list[Hold] = []
    holder: UserId | None = None
    able: Collection[UserId] | None = None
    could: set[UserId] = set()  # since the last floor event
    locked = True
    for mark in marks:
        if mark.kind is FloorMarkKind.FLOOR:
            holder, could = next(iter(mark.users), None), set(able or ())
        else:
            if holder is not None and able is not None and holder in able and holder not in mark.users:
                holder = None
            raised = set(mark.users) - could if able is not None and mark.ours and holder is None else set()
            if len(raised) == 1:
                (holder,) = raised
            able, locked = mark.users, mark.locked
            could.update(able)
        if not found or (found[-1].holder, found[-1].locked) != (holder, locked):
            found.append(Hold(mark.position, holder, locked))
    return found


def turn_of(stretches: Sequence[Hold], sender: UserId, position: Position, *, on: bool) -> Turn:
    """Return the turn of a message. `on`: the room's walkie-talkie is on now."""
    hold = _at(stretches, position)
    if hold is None or not hold.locked:
        return Turn.ORDINARY
    if hold.holder == sender:
        return Turn.IN_TURN
    return Turn.OUT_OF_TURN if on or hold.holder is not None else Turn.ORDINARY


def has_kept(stretches: Sequence[Hold], user: UserId, since: Position, until: Position | None = None) -> bool:
    """Return whether a user has had the floor without a break from one position to another, or (None) to now."""
    hold = _at(stretches, since)
    if hold is None or hold.holder != user:
        return False
    later = (each for each in stretches if each.since > since and (until is None or each.since < until))
    return all(each.holder == user for each in later)


def _at(stretches: Sequence[Hold], position: Position) -> Hold | None:
    return next((hold for hold in reversed(stretches) if hold.since < position), None)
