"""Voice messages: each goes on with a session, or begins one (`bot.recording.session.joining`)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import facts
from bot.event_types import HISTORY_VISIBILITY, MEMBER
from bot.intake import announcements, consent
from bot.recorder.applying import Applying
from bot.recording.kinds import kind_of
from bot.recording.model import BroadcastStarted, Ended, Release, VoiceMessage
from bot.recording.policy import Limits
from bot.recording.session import joining, machine
from bot.recording.speakers import LONGEST_NAME
from storage import archive, backfill, heirs, rooms, sealed_messages, sessions
from storage.chunks import Chunks
from storage.database import Connection
from storage.records import (
    Chunk,
    EndedBy,
    EventId,
    HeardEvent,
    Position,
    Recording,
    RecordingState,
    Room,
    RoomId,
    UserId,
)

log = logging.getLogger(__name__)

WHO_HEARS = (MEMBER, HISTORY_VISIBILITY)
"""Types of state that decide who may hear a message."""


class Joining:
    """A taker of voice messages, in the caller's transaction."""

    def __init__(self, applying: Applying, chunks: Chunks, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._applying = applying
        self._chunks = chunks
        self._limits = limits
        self._clock = clock

    async def take(self, db: Connection, heard: HeardEvent, message: VoiceMessage) -> None:
        """Take a voice message into its session, if its room records them, and its speaker may be recorded."""
        room = await rooms.room(db, heard.room_id)
        if room is None or not room.joined or not await _is_recorded(db, room, heard):
            return
        if await is_known(db, heard.event_id):
            return
        # A time that is read from the past counts too, as for broadcasts.
        sent_at = message.sent_at if heard.history else None
        if not await consent.may_record(db, heard.room_id, message.sender, began=heard.position, sent_at=sent_at):
            log.info("message not recorded: not wanted: room=%s event=%s", heard.room_id, heard.event_id)
            return
        line = machine.Line(thread=message.thread)
        await self._join(db, room, heard, message, line, public=room.opens(heard.position))

    async def transmission(
        self, db: Connection, room: Room, heard: HeardEvent, said: VoiceMessage | BroadcastStarted
    ) -> Recording | None:
        """Take a transmission of a walkie-talkie into its session, and return that. No session begins with what was
        said out of turn."""
        return await self._join(
            db, room, heard, said, machine.Line(machine.TRANSMISSIONS), public=room.opens(heard.position)
        )

    async def take_back(self, db: Connection, recording: Recording, released: Release) -> None:
        """Take a message that a recording released into a session, at its original position: one that was too long for
        its own, or one that is no part of a broadcast, where messages are recorded."""
        chunk = released.chunk
        room = await rooms.room(db, recording.room_id)
        if room is None or chunk.event_id is None or chunk.source is None:
            return
        if kind_of(recording).related and not room.records_message(chunk.position):
            return
        if not await consent.may_record(db, room.room_id, chunk.sender, began=chunk.position):
            return
        heard = HeardEvent(room.room_id, chunk.event_id, {}, position=chunk.position, history=True)
        message = VoiceMessage(
            chunk.sender,
            chunk.source,
            chunk.announced_ms,
            chunk.announced_bytes,
            chunk.sent_at,
            thread=recording.thread,
            sender_name=chunk.sender_name,
        )
        line = machine.Line.of(recording)
        # What a search of the history recorded is private, and stays so.
        was_recorded = recording.public or line.kind is not machine.MESSAGES or room.records_message(chunk.position)
        await self._join(db, room, heard, message, line, public=was_recorded and room.opens(chunk.position))

    async def _join(
        self,
        db: Connection,
        room: Room,
        heard: HeardEvent,
        message: VoiceMessage | BroadcastStarted,
        line: machine.Line,
        *,
        public: bool,
    ) -> Recording | None:
        before, after = await sessions.beside(db, heard.room_id, line.kind, line.thread, heard.position)
        heard_at = heard.received_at or self._clock()
        said_at = joining.said_at(message, before, after, heard_at, self._limits, past=heard.history)
        name = message.sender_name or await display_name_of(db, room.room_id, message.sender)
        message = replace(message, sent_at=said_at, sender_name=name)
        session = await self._session(db, room, message, heard.position, before, after)
        if session is None and not message.in_turn:
            return None
        if session is None:
            session = await self._begin(db, room, heard, message, line, public=public)
        await self._applying.apply(db, session.id, message, event_id=heard.event_id, position=heard.position)
        return session

    async def _session(
        self,
        db: Connection,
        room: Room,
        message: VoiceMessage | BroadcastStarted,
        position: Position,
        before: Chunk | None,
        after: Chunk | None,
    ) -> Recording | None:
        """Return the session that a message goes on with: that of the message before it, or of the one after."""
        between = before is not None and after is not None and before.recording_id == after.recording_id
        if before is not None and joining.follows(before.sent_at, message.sent_at, self._limits):
            session = await self._with_room(db, before, message, between=between)
            if session and (between or await self._is_heard_by_the_same(db, room, position, session)):
                return session
        if after is None or between or not joining.follows(message.sent_at, after.sent_at, self._limits):
            return None
        session = await self._with_room(db, after, message, between=False)
        return session if session and await self._is_heard_by_the_same(db, room, position, session) else None

    async def _with_room(
        self, db: Connection, beside: Chunk, message: VoiceMessage | BroadcastStarted, *, between: bool
    ) -> Recording | None:
        """Return the session of the message beside one, if it takes this one too. A live one that is full ends."""
        session = await archive.recording(db, beside.recording_id)
        assert session is not None, "its chunks refer to it"
        if not joining.takes(session, between=between):
            return None
        announced_ms = message.announced_ms if isinstance(message, VoiceMessage) else None
        if joining.has_room(await self._chunks.of(db, session.id), announced_ms, self._limits):
            return session
        if session.state is RecordingState.LIVE and not between:
            await self._applying.apply(db, session.id, Ended(EndedBy.LIMIT))
        return None

    async def _is_heard_by_the_same(self, db: Connection, room: Room, position: Position, session: Recording) -> bool:
        """Return whether a message is for the ears of a session, which is heard by who could read the room when it
        began. Nobody hears one from before they could; one from after the room closed itself is for fewer people."""
        if session.public and not room.opens(position):
            return False
        if position < session.position:
            return not await sessions.are_divided(db, room.room_id, position, session.position, WHO_HEARS)
        visibility = facts.history_visibility(await rooms.state(db, room.room_id, HISTORY_VISIBILITY))
        return visibility is session.history_visibility or not await sessions.are_divided(
            db, room.room_id, session.position, position, (HISTORY_VISIBILITY,)
        )

    async def _begin(
        self,
        db: Connection,
        room: Room,
        heard: HeardEvent,
        message: VoiceMessage | BroadcastStarted,
        line: machine.Line,
        *,
        public: bool,
    ) -> Recording:
        now = self._clock()
        assert message.sent_at is not None
        state = await rooms.state(db, room.room_id, HISTORY_VISIBILITY)
        begun = machine.begin(
            message,
            line,
            room_id=room.room_id,
            event_id=heard.event_id,
            position=heard.position,
            said_at=message.sent_at,
            now=now,
            history_visibility=facts.history_visibility(state),
            public=public,
        )
        await rooms.touch(db, room.room_id, now)
        present = await rooms.room(db, await heirs.present(db, room.room_id))
        recording = await archive.add_recording(db, replace(begun, unreviewed=present is not None and present.review))
        if await sessions.is_late(db, recording):
            await backfill.renumber(db, room.room_id)
        await self._applying.effects(db, recording, machine.first_effects(recording, self._limits))
        if now < recording.started_at + self._limits.session_gap:  # else it is over already
            await announcements.begun(db, room, recording, now)
        log.info("following a session: recording=%s room=%s event=%s", recording.code, room.room_id, heard.event_id)
        return recording


async def _is_recorded(db: Connection, room: Room, heard: HeardEvent) -> bool:
    """Return whether a voice message is recorded: also one that waited for its key when its room was replaced."""
    if room.records_message(heard.position):
        return True
    waited = await sealed_messages.sender_of(db, room.room_id, heard.event_id) is not None
    return waited and await heirs.heir(db, room.room_id) is not None


async def is_known(db: Connection, event_id: EventId) -> bool:
    """Return whether a message is a part of a recording, or was one of a recording that was deleted."""
    return (
        await archive.chunk_of_event(db, event_id) is not None
        or await archive.recording_by_event(db, event_id) is not None
        or await sessions.is_erased(db, event_id)
    )


async def display_name_of(db: Connection, room_id: RoomId, sender: UserId) -> str | None:
    """Return the display name of a message's sender in its room."""
    name = facts.display_name(await rooms.state(db, room_id, MEMBER, sender))
    return None if name is None else name[:LONGEST_NAME]
