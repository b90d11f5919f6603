"""Rooms that let fewer people in than before, or more: encrypted, with another join rule or history visibility.

A policy changes in the safe direction by itself only. In a room that closes itself, what begins from then on is not
public until a moderator says so again; what was public stays public. Nothing becomes public because a room opens.
"""

import logging
from dataclasses import replace
from datetime import datetime

from bot import disclosure, facts, orders, topics, words
from bot.event_types import ENCRYPTION, HISTORY_VISIBILITY, JOIN_RULES
from bot.intake import disclosing
from bot.language import _, speaking
from storage import archive, heirs, jobs, journal, rooms
from storage.database import Connection
from storage.records import Change, EventId, HistoryVisibility, Position, Room, StateEvent, Visibility

log = logging.getLogger(__name__)

TURNS = frozenset({ENCRYPTION, HISTORY_VISIBILITY, JOIN_RULES})
"""Types of state that decide who can hear what is said in a room."""
OPENNESS = (
    HistoryVisibility.JOINED,
    HistoryVisibility.INVITED,
    HistoryVisibility.SHARED,
    HistoryVisibility.WORLD_READABLE,
)
"""The history visibilities, each open to more people than the one before."""


async def look(db: Connection, old: StateEvent | None, new: StateEvent, now: datetime) -> None:
    """Compare a new state event with the `old` one (None: not known, or there was none), before the room's row knows of
    it, and tell the room's moderators what follows from it."""
    room = await rooms.room(db, new.room_id)
    if room is None or not room.joined or await heirs.heir(db, room.room_id) is not None:
        return
    if old is None and new.type == JOIN_RULES:
        return  # a room has one from its beginning: it was not read yet
    opener = _openness(room, new, new.type) - _openness(room, old, new.type)
    if opener < 0 and room.publishes:
        await _close(db, room, new.position, new.event_id, now)
        await _tell(db, room, new.event_id or str(new.position), words.CLOSED[new.type], now)
    elif opener > 0 and room.switched_on:
        await _tell(db, room, new.event_id or str(new.position), words.OPENED[new.type], now)


async def back(db: Connection, room: Room, now: datetime) -> Room:
    """Close a public room in which the bot is again, and return it: nobody told the bot whether it closed meanwhile."""
    if not room.publishes:
        return room
    at = await journal.position(db)
    closed = await _close(db, room, at, None, now)
    if await heirs.heir(db, room.room_id) is None:
        await _tell(db, closed, str(at), words.CLOSED_UNSEEN, now)
    return closed


def _openness(room: Room, state: StateEvent | None, kind: str) -> int:
    """Return a number that is higher the more people a state event of this type, or its absence, lets hear."""
    if kind == HISTORY_VISIBILITY:
        return OPENNESS.index(facts.history_visibility(state))
    if kind == ENCRYPTION:
        return 0 if state is not None or room.encrypted else 1
    return int(facts.lets_anybody_join(state))


async def _close(db: Connection, room: Room, at: Position, event_id: EventId | None, now: datetime) -> Room:
    closed = replace(room, closed_since=at, revision=room.revision + 1, changed_at=now)
    await rooms.save_room(db, closed)
    await archive.close(db, room.room_id, after=at)
    before, after = Visibility.PUBLIC, Visibility.PRIVATE
    change = Change(0, now, room.room_id, None, disclosure.PUBLISH, before=before, after=after, event_id=event_id)
    await disclosing.note(db, change)
    log.info("closed itself: room=%s event=%s", room.room_id, event_id)
    return closed


async def _tell(db: Connection, room: Room, cause: str, body: str, now: datetime) -> None:
    with speaking(room.language):
        text = _(body)
    notice = orders.Notice(topics.turned(room.room_id, cause), room.room_id, text, prefixed=True)
    await jobs.add(db, notice.job(), now)
