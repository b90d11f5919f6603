"""The recording of a call: its row, which is written when the bot decides to join, and the stems that begin in it."""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from bot import facts
from bot.event_types import HISTORY_VISIBILITY
from bot.intake import consent
from bot.recorder.applying import Applying
from bot.recorder.joining import display_name_of
from bot.recording.call import machine
from bot.recording.model import StemOpened
from bot.recording.policy import Limits
from storage import archive, calls, heirs, journal, rooms
from storage.database import Connection
from storage.records import (
    CallProtocol,
    EventId,
    Recording,
    RecordingId,
    RecordingState,
    Room,
    RoomId,
    Samples,
    Stem,
    UserId,
)

log = logging.getLogger(__name__)


class Calling:
    """A starter of the recordings of calls, and of their stems, in the caller's transaction."""

    def __init__(self, applying: Applying, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._applying = applying
        self._limits = limits
        self._clock = clock

    async def begin(
        self,
        db: Connection,
        room_id: RoomId,
        protocol: CallProtocol,
        call_id: str,
        *,
        events: Sequence[EventId],
        broadcaster: UserId,
    ) -> Recording | None:
        """Record a call from now on, if its room wants that; return the recording that runs of it already, if one does.

        `events`: the ids that it may have, the best first: that of the call's state event, then those of the members
        that are in it, then that of the bot's own member event. A recording has the first that no other one has; None
        is returned where each is taken. `broadcaster`: who began the call.
        """
        for running in await calls.running(db, room_id):
            if (running.protocol, running.call_id) == (protocol, call_id):
                return running
        room = await rooms.room(db, room_id)
        if room is None or not room.joined or not (room.calls_on or room.call_wanted):
            return None
        event_id = await _unused(db, events)
        if event_id is None:
            log.warning("call not recorded: its events name other recordings: room=%s", room_id)
            return None
        recording = await self._add(db, room, protocol, call_id, event_id, broadcaster)
        if room.call_wanted:
            await rooms.save_room(db, replace(room, call_wanted=False))
        await self._applying.effects(db, recording, machine.first_effects(recording, self._limits))
        log.info("recording a call: recording=%s room=%s event=%s", recording.code, room_id, event_id)
        return recording

    async def _add(
        self,
        db: Connection,
        room: Room,
        protocol: CallProtocol,
        call_id: str,
        event_id: EventId,
        broadcaster: UserId,
    ) -> Recording:
        now, position = self._clock(), await journal.next_position(db)
        state = await rooms.state(db, room.room_id, HISTORY_VISIBILITY)
        begun = machine.begin(
            protocol=protocol,
            call_id=call_id,
            room_id=room.room_id,
            event_id=event_id,
            position=position,
            broadcaster=broadcaster,
            broadcaster_name=await display_name_of(db, room.room_id, broadcaster),
            now=now,
            history_visibility=facts.history_visibility(state),
            public=room.opens(position),
            chosen=not room.calls_on,
        )
        await rooms.touch(db, room.room_id, now)
        present = await rooms.room(db, await heirs.present(db, room.room_id))
        return await archive.add_recording(db, replace(begun, unreviewed=present is not None and present.review))

    async def open_stem(
        self, db: Connection, recording_id: RecordingId, user_id: UserId, device_id: str, joined: Samples
    ) -> Stem | None:
        """Begin the stem of a device that is in a call now; None: it may not be recorded, or has a stem already.
        `joined`: where its sound begins on the clock of the call."""
        recording = await archive.recording(db, recording_id)
        if recording is None or recording.state is not RecordingState.LIVE:
            return None
        if not await consent.may_record(db, recording.room_id, user_id):
            log.info("stem not recorded: not wanted: recording=%s room=%s", recording.code, recording.room_id)
            return None
        number = len(recording.stems) + 1
        stem = Stem(
            number=number,
            user_id=user_id,
            device_id=device_id,
            name=await display_name_of(db, recording.room_id, user_id),
            joined=joined,
            position=await journal.next_position(db),
            serial=zlib.crc32(f"{recording.event_id} {number}".encode()),
        )
        await self._applying.apply(db, recording_id, StemOpened(stem))
        after = await archive.recording(db, recording_id)
        return stem if after is not None and stem in after.stems else None


async def _unused(db: Connection, events: Sequence[EventId]) -> EventId | None:
    for event_id in events:
        if await archive.recording_by_event(db, event_id) is None:
            return event_id
    return None
