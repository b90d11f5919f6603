"""Voice messages: each goes on with a session, or begins one (`bot.recording.session.joining`)."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import facts
from bot.event_types import HISTORY_VISIBILITY, MEMBER
from bot.intake import announcements, consent
from bot.recorder.applying import Applying
from bot.recording.model import VoiceMessage
from bot.recording.policy import Limits
from bot.recording.session import joining, machine
from storage import archive, heirs, rooms, sessions
from storage.database import Connection
from storage.records import Chunk, HeardEvent, Recording, Room

log = logging.getLogger(__name__)


class Joining:
    """A taker of voice messages, in the caller's transaction."""

    def __init__(self, applying: Applying, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._applying = applying
        self._limits = limits
        self._clock = clock

    async def take(self, db: Connection, heard: HeardEvent, message: VoiceMessage) -> None:
        """Take a voice message into its session, if its room records them, and its speaker may be recorded."""
        room = await rooms.room(db, heard.room_id)
        if room is None or not room.joined or not room.records_message(heard.position):
            return
        if not await consent.may_record(db, heard.room_id, message.sender, began=heard.position):
            log.info("message not recorded: not wanted: room=%s event=%s", heard.room_id, heard.event_id)
            return
        if await archive.chunk_of_event(db, heard.event_id) or await sessions.is_erased(db, heard.event_id):
            return
        await self._join(db, room, heard, message)

    async def _join(self, db: Connection, room: Room, heard: HeardEvent, message: VoiceMessage) -> None:
        before, after = await sessions.beside(db, heard.room_id, machine.MESSAGES, message.thread, heard.position)
        now = self._clock()
        said_at = joining.said_at(message.sent_at, before, heard.received_at or now)
        member = await rooms.state(db, heard.room_id, MEMBER, message.sender)
        message = replace(message, sent_at=said_at, sender_name=facts.display_name(member))
        session = await self._session(db, message, before, after)
        if session is None:
            session = await self._begin(db, room, heard, message)
        await self._applying.apply(db, session.id, message, event_id=heard.event_id, position=heard.position)

    async def _session(
        self, db: Connection, message: VoiceMessage, before: Chunk | None, after: Chunk | None
    ) -> Recording | None:
        """Return the session that a message goes on with: that of the message before it, or of the one after."""
        near = []
        if before is not None and joining.follows(before.sent_at, message.sent_at, self._limits):
            near.append(before)
        if after is not None and joining.follows(message.sent_at, after.sent_at, self._limits):
            near.append(after)
        for chunk in near:
            session = await archive.recording(db, chunk.recording_id)
            assert session is not None, "its chunks refer to it"
            chunks = await archive.chunks(db, session.id)
            if joining.has_room(session, chunks, message.announced_ms, self._limits):
                return session
        return None

    async def _begin(self, db: Connection, room: Room, heard: HeardEvent, message: VoiceMessage) -> Recording:
        now = self._clock()
        assert message.sent_at is not None
        state = await rooms.state(db, heard.room_id, HISTORY_VISIBILITY)
        begun = machine.begin(
            message,
            machine.MESSAGES,
            room_id=heard.room_id,
            event_id=heard.event_id,
            position=heard.position,
            said_at=message.sent_at,
            now=now,
            history_visibility=facts.history_visibility(state),
            public=room.opens(heard.position),
        )
        await rooms.touch(db, heard.room_id, now)
        present = await rooms.room(db, await heirs.present(db, heard.room_id))
        recording = await archive.add_recording(db, replace(begun, unreviewed=present is not None and present.review))
        await self._applying.effects(db, recording, machine.first_effects(recording, self._limits))
        await announcements.begun(db, room, recording, now)
        log.info("following a session: recording=%s room=%s event=%s", recording.code, heard.room_id, heard.event_id)
        return recording
