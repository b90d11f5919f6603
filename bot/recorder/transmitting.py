"""Transmissions of a walkie-talkie: voice messages, and voice broadcasts, that are said with the floor.

They go on with a session, or begin one, as voice messages do. What is said without the floor is listed where a session
runs. The turn of who spoke ends, whether they are recorded or not.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import orders
from bot.intake import consent
from bot.recorder import floor
from bot.recorder.joining import Joining, is_known
from bot.recorder.starting import may_begin
from bot.recording.life import clamped
from bot.recording.model import BroadcastChanged, BroadcastStarted, Change, ChunkSealed, ChunkSent, VoiceMessage
from bot.recording.session import transmissions
from bot.recording.session.floor import Turn
from storage import archive, jobs, rooms
from storage.database import Connection
from storage.records import HeardEvent, Recording, RecordingState, Room, Transmission, UserId

log = logging.getLogger(__name__)


class Transmitting:
    """A taker of transmissions, in the caller's transaction."""

    def __init__(self, joining: Joining, clock: Callable[[], datetime]) -> None:
        self._joining = joining
        self._clock = clock

    async def message(self, db: Connection, heard: HeardEvent, message: VoiceMessage) -> bool:
        """Take a voice message, if its room had a walkie-talkie when it was said. Return whether it had."""
        turn = await floor.turn(db, heard.room_id, message.sender, heard.position)
        if turn is Turn.ORDINARY:
            return False
        room = await self._recorded(db, heard)
        if room is not None and not await is_known(db, heard.event_id):
            if await consent.may_record(db, heard.room_id, message.sender, began=heard.position):
                said = replace(message, thread=None, in_turn=turn is Turn.IN_TURN)
                await self._joining.transmission(db, room, heard, said)
            else:
                log.info("message not recorded: not wanted: room=%s event=%s", heard.room_id, heard.event_id)
        if turn is Turn.IN_TURN:
            await floor.spoke(db, heard.room_id, message.sender, heard.position, self._clock())
        return True

    async def records(self, db: Connection, heard: HeardEvent, sender: UserId) -> bool:
        """Return whether a voice message at the place of this event is recorded, or listed: as a transmission, if its
        room had a walkie-talkie then, else as an ordinary one."""
        if await floor.turn(db, heard.room_id, sender, heard.position) is not Turn.ORDINARY:
            return await self._recorded(db, heard) is not None
        room = await rooms.room(db, heard.room_id)
        return room is not None and room.joined and room.records_message(heard.position)

    async def start(self, db: Connection, heard: HeardEvent, event: BroadcastStarted) -> bool:
        """Take the start of a voice broadcast, if its room had a walkie-talkie then. Return whether it had."""
        turn = await floor.turn(db, heard.room_id, event.sender, heard.position)
        if turn is Turn.ORDINARY:
            return False
        room = await self._recorded(db, heard)
        if room is None or not await may_begin(db, heard, event):
            log.info("broadcast not recorded: not wanted: room=%s event=%s", heard.room_id, heard.event_id)
        elif await archive.recording_of_broadcast(db, heard.event_id) is None:
            said = replace(event, in_turn=turn is Turn.IN_TURN)
            session = await self._joining.transmission(db, room, heard, said)
            if session is None:
                log.info("broadcast not recorded: out of turn: room=%s event=%s", heard.room_id, heard.event_id)
                return True
            await archive.add_transmission(db, session.id, heard.event_id)
            if said.in_turn and not await floor.has_kept(db, heard.room_id, event.sender, heard.position):
                # The floor's end was heard in the same sync: what came before it is handled first.
                await jobs.add(db, orders.Tick(session.id).job(), self._clock())
        return True

    async def _recorded(self, db: Connection, heard: HeardEvent) -> Room | None:
        """Return the room, if its transmissions are recorded."""
        room = await rooms.room(db, heard.room_id)
        return room if room is not None and room.joined and room.records_transmission(heard.position) else None

    async def part(
        self,
        db: Connection,
        heard: HeardEvent,
        event: BroadcastChanged | ChunkSent | ChunkSealed,
        recording: Recording | None,
    ) -> BroadcastChanged | ChunkSent | ChunkSealed:
        """Return an event of a broadcast with what the timeline tells of it, where it is a transmission. The end of one
        that is not recorded ends the turn of its sender."""
        transmission = transmissions.find(recording, event.broadcast) if recording else None
        stops = isinstance(event, BroadcastChanged) and event.change is Change.STOPPED
        if stops and (transmission is None or not transmission.in_turn):
            await floor.spoke(db, heard.room_id, event.sender, heard.position, self._clock())
        if transmission is None:
            return event
        in_turn = await floor.has_kept(db, heard.room_id, transmission.sender, transmission.position, heard.position)
        if isinstance(event, BroadcastChanged):
            return event if in_turn else _stopped(transmission)
        sent_at = clamped(event.sent_at, transmission.started_at, heard.received_at or self._clock())
        return replace(event, in_turn=in_turn, sent_at=sent_at)


async def over(db: Connection, recording: Recording) -> tuple[BroadcastChanged, ...]:
    """Return the ends of the broadcasts in a session that are live though their sender has lost the floor."""
    live = [each for each in recording.transmissions if each.state is RecordingState.LIVE]
    return tuple(
        [_stopped(each) for each in live if not await floor.has_kept(db, recording.room_id, each.sender, each.position)]
    )


def _stopped(transmission: Transmission) -> BroadcastChanged:
    """Return the end of a broadcast with its sender's floor. It announces no number: of what was said without the floor
    nothing is missing."""
    whose = transmission.event_id, transmission.sender
    return BroadcastChanged(*whose, Change.STOPPED, None, transmission.device_id, None)
