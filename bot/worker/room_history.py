"""Broadcasts in a room's history: found by their info events, which are never encrypted, completed by relations."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from bot import dialects
from bot.dialects.fields import sender_of
from bot.matrix.session import Session
from bot.matrix.wire import Refused
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSealed, ChunkSent
from storage.records import EventId, HeardEvent, RoomId, UserId

Part = BroadcastChanged | ChunkSent | ChunkSealed
READ_AT_ONCE = 50  # events before others have their turn


@dataclass(frozen=True, slots=True)
class PastPage:
    """Broadcasts that began in one page of history, newest first; `cursor` is where the next page begins."""

    started: tuple[HeardEvent, ...]
    cursor: str | None  # None: the room's beginning is reached


class Past:
    """Reads history through the session. Raises TryLater, or GiveUp where the homeserver refuses."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pages(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[PastPage]:
        """From `cursor` (None: now) back to the beginning."""
        history = self._session.history
        async for events, following in history.pages(room_id, cursor, types=dialects.INFOS):
            heard = await self._session.keys.hear_all(room_id, events, history=True)
            started = tuple(one for one in heard if isinstance(dialects.read(one), BroadcastStarted))
            yield PastPage(started, following)

    async def page(self, room_id: RoomId, start: str, stop: str | None) -> tuple[tuple[HeardEvent, ...], str | None]:
        """One page from `start` back to `stop`, newest event first, and where the next one begins (None: no more)."""
        events, following = await self._session.history.page(room_id, start, stop)
        return await self._session.keys.hear_all(room_id, events, history=True), following

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """One event as it is now, decrypted if it can be."""
        return await self._session.sending.get_event(room_id, event_id)

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        """What is of a broadcast and its speaker's, oldest first, in pages, decrypted where it can be. Whatever else
        refers to it is read past: strangers displace nothing."""
        async for events in self._session.history.relations(room_id, started):
            theirs = [event for event in events if sender_of(event) == sender]
            heard = await self._session.keys.hear_all(room_id, theirs, history=True)
            yield await _parts(heard, started, sender)

    async def newest_info(self, room_id: RoomId, kind: str, sender: UserId) -> HeardEvent | None:
        """The info event of this type and sender that the room's state holds; None where there is none."""
        try:
            event = await self._session.history.state(room_id, kind, sender)
        except Refused:
            return None
        return self._session.keys.hear(room_id, event, history=True)


async def _parts(events: Sequence[HeardEvent], broadcast: EventId, sender: UserId) -> tuple[HeardEvent, ...]:
    """What is of this broadcast and its speaker's; everything else that refers to it says nothing."""
    found = []
    for number, heard in enumerate(events):
        event = dialects.read(heard)
        if isinstance(event, Part) and (event.broadcast, event.sender) == (broadcast, sender):
            found.append(heard)
        if number % READ_AT_ONCE == READ_AT_ONCE - 1:
            await asyncio.sleep(0)
    return tuple(found)
