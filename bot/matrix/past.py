"""Broadcasts in a room's history: found by their info events, which are never encrypted, completed by relations."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bot.matrix import dialects
from bot.matrix.session import Session
from bot.recording.model import BroadcastStarted
from storage.records import EventId, HeardEvent, RoomId, UserId

MOST_RELATED = 10_000
"""Events of one broadcast; more is no broadcast."""


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

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """One event as it is now, decrypted if it can be."""
        return await self._session.get_event(room_id, event_id)

    async def related(self, room_id: RoomId, started: EventId, sender: UserId | None = None) -> tuple[HeardEvent, ...]:
        """Everything (of `sender`, if there is one) that refers to a broadcast, oldest first, decrypted where it can
        be."""
        events = await self._session.history.relations(room_id, started, sender=sender, most=MOST_RELATED)
        return await self._session.keys.hear_all(room_id, events, history=True)
