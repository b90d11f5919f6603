"""A room's history on the homeserver: pages, single events, and the events of a broadcast.

Broadcasts are found by their info events, which are never encrypted, and completed by relations.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot import dialects
from bot.dialects import fields, studio_in_room
from bot.dialects.fields import sender_of
from bot.event_types import ENCRYPTED, MESSAGE
from bot.matrix.session import Session
from bot.matrix.wire import Refused
from bot.recording.broadcast.speakers import Speaker
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSealed, ChunkSent
from storage.records import EventId, HeardEvent, RoomId, UserId

log = logging.getLogger(__name__)

Part = BroadcastChanged | ChunkSent | ChunkSealed
MESSAGES = (MESSAGE, ENCRYPTED)
"""Types of events that may be voice messages."""
Message = tuple[EventId, datetime | None]
"""The id of a message, and the time that its sender names."""
MOST_PAGES = 20_000
"""The most pages that are read onwards: a million messages. More are a circle of the homeserver's."""
READ_AT_ONCE = 50  # events handled before the event loop gets a turn


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The started events of the broadcasts in one page of history, newest first."""

    started: tuple[HeardEvent, ...]
    next_cursor: str | None  # None: the room's beginning is reached


@dataclass(frozen=True, slots=True)
class MessagesPage:
    """The messages in one page of history, newest first: their ids, and the times that their senders name."""

    messages: tuple[Message, ...]
    next_cursor: str | None  # None: the room's beginning is reached


class RoomHistory:
    """The histories of rooms, read through the session. Raises TryLater, or GiveUp where the homeserver refuses."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pages(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[HistoryPage]:
        """Yield the pages from `cursor` (None: now) back to the room's beginning."""
        history = self._session.history
        async for events, next_cursor in history.pages(room_id, cursor, types=dialects.INFOS):
            heard = await self._session.keys.hear_all(room_id, events, history=True)
            started = tuple(
                event
                for event in heard
                if isinstance(dialects.read(event), BroadcastStarted) and not self._is_own(event)
            )
            yield HistoryPage(started, next_cursor)

    def _is_own(self, started: HeardEvent) -> bool:
        """Return whether a broadcast is what the bot sent of a studio, which is recorded as it was made there."""
        return studio_in_room.mark_of(self._session.user_id, started) is not None

    async def page(self, room_id: RoomId, start: str, stop: str | None) -> tuple[tuple[HeardEvent, ...], str | None]:
        """Read one page from `start` back to `stop`: its events, newest first, and the next cursor (None: no more)."""
        events, next_cursor = await self._session.history.page(room_id, start, stop)
        return await self._session.keys.hear_all(room_id, events, history=True), next_cursor

    async def said_in(self, room_id: RoomId, cursor: str | None) -> AsyncIterator[MessagesPage]:
        """Yield what messages there are, page by page, from `cursor` (None: now) back to the room's beginning."""
        history = self._session.history
        async for events, next_cursor in history.pages(room_id, cursor, types=MESSAGES):
            named = [(fields.event_id(event.get("event_id")), fields.sent_at(event)) for event in events]
            yield MessagesPage(tuple((name, at) for name, at in named if name is not None), next_cursor)

    async def onwards(
        self, room_id: RoomId, event_id: EventId, cursor: str | None
    ) -> AsyncIterator[tuple[tuple[HeardEvent, ...], str | None]]:
        """Yield messages up to the newest, oldest first, decrypted where possible, in pages, each with the cursor of
        the next (None: no more): from `cursor`, or from this event on, which is the first."""
        history, keys = self._session.history, self._session.keys
        for number in range(MOST_PAGES):
            if number == 0 and cursor is None:
                events, next_cursor = await history.around(room_id, event_id)
            elif cursor is not None:
                events, next_cursor = await history.page(room_id, cursor, None, onwards=True, types=MESSAGES)
            cursor = None if next_cursor == cursor else next_cursor
            yield await keys.hear_all(room_id, events, history=True), cursor
            if cursor is None:
                return
        log.warning("history left after %d pages: room=%s", MOST_PAGES, room_id)

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """Read an event as it is now, decrypted if possible."""
        return await self._session.sending.get_event(room_id, event_id)

    async def related(self, room_id: RoomId, started: EventId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        """Yield the events of a broadcast's speaker that refer to it, in pages, oldest first, decrypted where possible.
        Events of other senders are skipped, however many refer to it.
        """
        speaker = Speaker(sender, room_id)
        async for events in self._session.history.relations(room_id, started):
            theirs = [event for event in events if speaker.counts(sender_of(event), room_id)]
            heard = await self._session.keys.hear_all(room_id, theirs, history=True)
            yield await _parts(heard, started, speaker)

    async def referring(
        self, room_id: RoomId, event_id: EventId, sender: UserId
    ) -> AsyncIterator[tuple[HeardEvent, ...]]:
        """Yield what a user said in reference to an event, in pages, newest first, decrypted where possible."""
        async for events in self._session.history.relations(room_id, event_id, backwards=True):
            theirs = [event for event in events if sender_of(event) == sender]
            yield await self._session.keys.hear_all(room_id, theirs, history=True)

    async def infos(self, room_id: RoomId, sender: UserId) -> AsyncIterator[tuple[HeardEvent, ...]]:
        """Yield a user's info events of broadcasts, in pages, newest first."""
        async for events, _ in self._session.history.pages(room_id, types=dialects.INFOS):
            theirs = [event for event in events if sender_of(event) == sender]
            yield await self._session.keys.hear_all(room_id, theirs, history=True)

    async def newest_info(self, room_id: RoomId, kind: str, sender: UserId) -> HeardEvent | None:
        """Read the info event of this type and sender from the room's state; None where there is none."""
        try:
            event = await self._session.history.state(room_id, kind, sender)
        except Refused:
            return None
        return self._session.keys.hear(room_id, event, history=True)


async def _parts(events: Sequence[HeardEvent], broadcast: EventId, speaker: Speaker) -> tuple[HeardEvent, ...]:
    """Keep the events that are part of this broadcast and sent by its speaker."""
    parts = []
    for number, heard in enumerate(events):
        event = dialects.read(heard)
        if isinstance(event, Part) and event.broadcast == broadcast and speaker.counts(event.sender, heard.room_id):
            parts.append(heard)
        if number % READ_AT_ONCE == READ_AT_ONCE - 1:
            await asyncio.sleep(0)
    return tuple(parts)
