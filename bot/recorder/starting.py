"""The start of a broadcast: the decision whether to record it, and its row."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from bot import facts
from bot.dialects import studio, studio_in_room
from bot.event_types import CREATE, HISTORY_VISIBILITY, MEMBER
from bot.intake import announcements, consent
from bot.recorder.applying import Applying
from bot.recording.broadcast import machine
from bot.recording.model import BroadcastStarted, Ended
from bot.recording.policy import Limits
from storage import archive, backfill, heirs, rooms, studios
from storage.database import Connection
from storage.records import EndedBy, HeardEvent, HistoryVisibility, Position, Recording, RoomId, Via

log = logging.getLogger(__name__)


async def may_begin(db: Connection, heard: HeardEvent, event: BroadcastStarted) -> bool:
    """Return whether a broadcast's speaker may be recorded, and whoever speaks in it, where another bot sends what is
    said in its studio. One that is read from the past counts by its time too."""
    sent_at = event.sent_at if heard.history else None
    voice = studio_in_room.voice_of(heard)
    if voice is not None and await consent.is_out(db, heard.room_id, voice):
        return False
    return await consent.may_record(db, heard.room_id, event.sender, began=heard.position, sent_at=sent_at)


async def past_visibility(db: Connection, room_id: RoomId, position: Position) -> HistoryVisibility:
    """Return the history visibility that counts for a recording that is found in the past.

    Events from before the bot joined can be read only where newcomers may read; for the others that is not known.
    """
    if position >= backfill.BEFORE_ALL:
        return HistoryVisibility.JOINED
    return facts.history_visibility(await rooms.state(db, room_id, HISTORY_VISIBILITY))


class Starting:
    """A starter of recordings, in the caller's transaction."""

    def __init__(self, applying: Applying, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._applying = applying
        self._limits = limits
        self._clock = clock

    async def start(self, db: Connection, heard: HeardEvent, event: BroadcastStarted) -> None:
        """Follow a broadcast from now on, if its room is recorded and it is not followed yet."""
        room = await rooms.room(db, heard.room_id)
        if room is None or not room.joined or not room.recording_on:
            log.info("broadcast not recorded: recording is off: room=%s event=%s", heard.room_id, heard.event_id)
            return
        # A broadcast that was found late is placed before all other events; `rereading` has compared the times.
        if room.told_at is None or backfill.BEFORE_ALL <= heard.position <= room.told_at:
            log.info(
                "broadcast not recorded: the room has no notice yet: room=%s event=%s", heard.room_id, heard.event_id
            )
            return
        if await archive.recording_by_event(db, heard.event_id) is not None:
            return
        if not await may_begin(db, heard, event):
            log.info("broadcast not recorded: not wanted: room=%s event=%s", heard.room_id, heard.event_id)
            return
        visibility = facts.history_visibility(await rooms.state(db, heard.room_id, HISTORY_VISIBILITY))
        recording = await self.begin(db, heard, event, visibility, public=room.opens(heard.position))
        await self._applying.effects(db, recording, machine.first_effects(recording, self._limits))
        await announcements.begun(db, room, recording, self._clock())
        log.info("following a broadcast: recording=%s room=%s event=%s", recording.code, heard.room_id, heard.event_id)

    async def begin(
        self, db: Connection, heard: HeardEvent, event: BroadcastStarted, visibility: HistoryVisibility, *, public: bool
    ) -> Recording:
        """Add the row of a broadcast that starts, and end an earlier one that the same device left live."""
        now = self._clock()
        for earlier in await archive.open_broadcasts(db, heard.room_id, event.sender):
            if machine.restarts(event, heard.position, earlier):
                await self._applying.apply(db, earlier.id, Ended(EndedBy.RESTARTED), position=heard.position)
        create = await rooms.state(db, heard.room_id, CREATE)
        member = await rooms.state(db, heard.room_id, MEMBER, event.sender)
        started = machine.begin(
            event,
            room_id=heard.room_id,
            event_id=heard.event_id,
            position=heard.position,
            room_created=create.sent_at if create else None,
            history_visibility=visibility,
            broadcaster_name=facts.display_name(member),
            public=public,
            now=now,
        )
        key = studio.key_of(heard.event_id)
        made_in = await studios.by_key(db, key) if key is not None else None
        if made_in is not None:
            started = replace(
                started, via=Via.STUDIO, title=made_in.title, description=made_in.description, cover=made_in.cover
            )
        await rooms.touch(db, heard.room_id, now)
        present = await rooms.room(db, await heirs.present(db, heard.room_id))
        return await archive.add_recording(db, replace(started, unreviewed=present is not None and present.review))
