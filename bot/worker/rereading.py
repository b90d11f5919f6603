"""A broadcast is read from the homeserver: what the sync did not show of it is told to the recorder.

All goes through the journal, as if it had been heard: one writer, one order, and nothing twice. The started event is
told before the rest is read, so that what is said meanwhile is taken as it comes. Of a broadcast that is followed the
same is asked: what was said and not heard, and what was redacted, of which a homeserver says no more than that.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from bot.errors import GiveUp, TryLater
from bot.matrix import dialects
from bot.recording.model import BroadcastChanged, BroadcastStarted, ChunkSealed, ChunkSent
from storage import archive, journal, messages, rooms
from storage.records import (
    Chunk,
    ChunkState,
    EventId,
    HeardEvent,
    Job,
    Json,
    Recording,
    RecordingState,
    RoomId,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

Part = BroadcastChanged | ChunkSent | ChunkSealed
AT_ONCE = 100  # events in one transaction, or read before others have their turn


class Past(Protocol):
    """The homeserver's memory. Raises TryLater, or GiveUp where it refuses."""

    async def event(self, room_id: RoomId, event_id: EventId) -> HeardEvent: ...

    async def related(
        self, room_id: RoomId, started: EventId, sender: UserId | None = None
    ) -> tuple[HeardEvent, ...]: ...


class Rereading:
    """Handles FOLLOW jobs: the subject is a started event, the payload names its room and its speaker."""

    def __init__(self, store: Store, past: Past, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._past = past
        self._clock = clock

    async def __call__(self, job: Job) -> None:
        room_id, broadcast = RoomId(job.payload["room_id"]), EventId(job.subject)
        if not await self._wanted(room_id, broadcast):
            return
        started = await self._read(room_id, broadcast)
        redaction = redaction_of(started)
        if redaction is not None:
            await self._tell([redaction])
            return
        event = dialects.read(started)
        if not isinstance(event, BroadcastStarted) or event.sender != job.payload["sender"]:
            raise GiveUp("that is no broadcast of that user", reason="not_a_broadcast", room=room_id, event=broadcast)
        if await self._recording(broadcast) is None:
            await self._tell([started])
        related = await self._past.related(room_id, broadcast, event.sender)
        chunks = await self._chunks(broadcast)
        unheard = await _parts([one for one in related if one.event_id not in chunks], broadcast, event.sender)
        told = [*unheard, *await self._redactions(room_id, chunks, {one.event_id for one in related})]
        await self._tell(told)
        log.info("read anew: room=%s event=%s told=%d", room_id, broadcast, len(told))

    async def _wanted(self, room_id: RoomId, broadcast: EventId) -> bool:
        """A recording that is not deleted, or one that would begin."""
        recording = await self._recording(broadcast)
        if recording is not None:
            return recording.room_id == room_id and recording.state is not RecordingState.DELETED
        async with self._store.read() as db:
            room = await rooms.room(db, room_id)
        return room is not None and room.joined and room.records

    async def _recording(self, broadcast: EventId) -> Recording | None:
        async with self._store.read() as db:
            return await archive.recording_by_event(db, broadcast)

    async def _chunks(self, broadcast: EventId) -> dict[EventId, Chunk]:
        async with self._store.read() as db:
            recording = await archive.recording_by_event(db, broadcast)
            chunks = await archive.chunks(db, recording.id) if recording else ()
        return {chunk.event_id: chunk for chunk in chunks}

    async def _read(self, room_id: RoomId, event_id: EventId) -> HeardEvent:
        """One event as it is now. Raises TryLater, GiveUp."""
        event = await self._past.event(room_id, event_id)
        if event.event_id != event_id or event.event.get("room_id", room_id) != room_id:
            raise TryLater("the homeserver answered with another event", room=room_id, event=event_id)
        return event

    async def _redactions(
        self, room_id: RoomId, chunks: dict[EventId, Chunk], related: set[EventId]
    ) -> list[HeardEvent]:
        """Of chunks that were heard and that the homeserver does not name any more: a redacted event refers to
        nothing."""
        found = []
        for chunk in chunks.values():
            if chunk.event_id in related or chunk.state is ChunkState.REDACTED:
                continue
            try:
                redaction = redaction_of(await self._read(room_id, chunk.event_id))
            except GiveUp as error:  # it may not be shown to us, which says nothing of the chunk
                log.info("a chunk can't be read anew: room=%s event=%s (%s)", room_id, chunk.event_id, error.reason)
                continue
            if redaction is not None:
                found.append(redaction)
        return found

    async def _tell(self, events: Sequence[HeardEvent]) -> None:
        for start in range(0, len(events), AT_ONCE):
            async with self._store.write() as db:
                for event in await messages.originals(db, events[start : start + AT_ONCE], self._clock()):
                    await journal.retell(db, event, self._clock())


def redaction_of(heard: HeardEvent) -> HeardEvent | None:
    """The redaction of an event that the homeserver shows without its content (Client-Server API, redactions); None
    where it has some. It is a name of ours: what was heard of the true one, or not, changes nothing."""
    event = heard.event
    unsigned = event.get("unsigned")
    because = unsigned.get("redacted_because") if isinstance(unsigned, dict) else None
    if because is None and event.get("content") != {}:
        return None
    said: Json = {
        "type": "m.room.redaction",
        "sender": because.get("sender") if isinstance(because, dict) else event.get("sender"),
        "redacts": heard.event_id,
    }
    return HeardEvent(heard.room_id, EventId(f"redaction:{heard.event_id}"), said, history=True)


async def _parts(events: Sequence[HeardEvent], broadcast: EventId, sender: UserId) -> list[HeardEvent]:
    """What is of this broadcast and its speaker's; everything else that refers to it says nothing."""
    found = []
    for number, heard in enumerate(events):
        event = dialects.read(heard)
        if isinstance(event, Part) and (event.broadcast, event.sender) == (broadcast, sender):
            found.append(heard)
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
    return found
