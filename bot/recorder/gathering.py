"""Voice messages of the past: what a search of the history finds becomes one recording, or sessions.

All recordings made here are private, whatever the room is now, and stay live until the search is over, so that none is
published in halves.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot import dialects, facts
from bot.dialects.voice import thread_of
from bot.event_types import HISTORY_VISIBILITY
from bot.intake import consent, redacting
from bot.orders import Gathered
from bot.recorder.applying import Applying
from bot.recorder.joining import display_name_of
from bot.recorder.starting import past_visibility
from bot.recording.model import Ended, LookAgain, VoiceMessage
from bot.recording.policy import Limits
from bot.recording.session import joining, machine, past
from bot.rules import shows_the_past
from storage import archive, backfill, heirs, journal, replays, rooms, sessions
from storage.chunks import Chunks
from storage.database import Connection
from storage.records import (
    Chunk,
    EndedBy,
    EventId,
    HeardEvent,
    HistoryVisibility,
    Position,
    Recording,
    RecordingId,
    RecordingState,
)

log = logging.getLogger(__name__)

PLACES = 1 << 32
"""Positions that a search reserves below all others, for messages that were not heard."""


@dataclass(frozen=True, slots=True)
class _Met:
    """A voice message that a search met. `heard_at`: the position at which the bot heard it, if it did; `chunk`: as it
    is recorded already."""

    heard: HeardEvent
    message: VoiceMessage
    heard_at: Position | None
    chunk: Chunk | None

    @property
    def event_id(self) -> EventId:
        return self.heard.event_id

    @property
    def position(self) -> Position:
        return self.heard.position


class Gathering:
    """A gatherer of past voice messages, in the caller's transaction. Events come in the order of the timeline."""

    def __init__(self, applying: Applying, chunks: Chunks, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._applying = applying
        self._chunks = chunks
        self._limits = limits
        self._clock = clock

    async def into_one(
        self, db: Connection, events: Sequence[HeardEvent], thread: EventId | None, so_far: Gathered
    ) -> Gathered:
        """Add the messages of a thread to one recording, whatever the time between them; the first begins it. What is
        in another recording stays there."""
        events = [heard for heard in events if thread_of(heard) == thread]
        met, so_far = await self._meet(db, events, so_far)
        for each in met:
            if each.chunk is not None:
                so_far = await self._met_again(db, each, each.chunk, so_far)
            elif not await self._is_wanted(db, each):
                so_far = replace(so_far, refused=so_far.refused + 1)
            elif not so_far.recordings:
                begun = await self._begin(db, each, chosen=True)
                so_far = replace(so_far, recordings=(begun.id,))
                await self._add(db, begun.id, each)
            elif not await _is_as_open(db, so_far.recordings[0], each):
                so_far = replace(so_far, narrower=so_far.narrower + 1)
            elif await self._has_room(db, so_far.recordings[0], each):
                await self._add(db, so_far.recordings[0], each)
            else:
                so_far = replace(so_far, beyond=so_far.beyond + 1)
        return so_far

    async def into_sessions(
        self, db: Connection, events: Sequence[HeardEvent], since: datetime | None, so_far: Gathered
    ) -> Gathered:
        """Add the messages that were sent `since` then to sessions, as if they had been recorded when they came."""
        met, so_far = await self._meet(db, events, so_far)
        for each in met:
            if since is not None and each.message.sent_at is not None and each.message.sent_at < since:
                continue
            if each.chunk is not None:
                so_far = _known(so_far, each.chunk.recording_id)
            elif not await self._is_wanted(db, each):
                so_far = replace(so_far, refused=so_far.refused + 1)
            else:
                session = await self._session(db, each) or (await self._begin(db, each)).id
                await self._add(db, session, each)
                others = tuple(known for known in so_far.known if known != session)
                so_far = replace(so_far, recordings=_with(so_far.recordings, session), known=others)
        return so_far

    async def end(self, db: Connection, recording_id: RecordingId, *, announced: bool = False) -> Recording:
        """End a recording whose messages are all there. With `announced` the room is told when it can be heard."""
        await self._applying.apply(db, recording_id, Ended(EndedBy.GAP))
        recording = await archive.recording(db, recording_id)
        assert recording is not None, "recordings stay as tombstones"
        if announced and recording.past:
            recording = replace(recording, past=False)
            await archive.save_recording(db, recording)
        return recording

    # ---- messages

    async def _meet(
        self, db: Connection, events: Sequence[HeardEvent], so_far: Gathered
    ) -> tuple[tuple[_Met, ...], Gathered]:
        """Return the voice messages among the events, and those that can't be decrypted as counted."""
        sealed = sum(heard.session_id is not None for heard in events)
        read = [(heard, event) for heard in events if isinstance(event := dialects.read(heard), VoiceMessage)]
        originals = await replays.originals(db, [heard for heard, _ in read], self._clock())
        names = [heard.event_id for heard in originals]
        gone, chunks = await sessions.erased(db, names), await sessions.recorded(db, names)
        gone |= {heard.event_id for heard, message in read if await _is_redacted(db, heard, message)}
        there = [(heard, message) for heard, message in read if heard in originals and heard.event_id not in gone]
        heard_at = await journal.positions_of(db, names) | {name: chunk.position for name, chunk in chunks.items()}
        after = so_far.position
        if after is None:
            after = await backfill.below_all(db, PLACES)
        positions = past.positions([heard_at.get(heard.event_id) for heard, _ in there], after)
        met = [
            _Met(replace(heard, position=position), message, heard_at.get(heard.event_id), chunks.get(heard.event_id))
            for (heard, message), position in zip(there, positions, strict=True)
        ]
        last = positions[-1] if positions else after
        return tuple(met), replace(so_far, sealed=so_far.sealed + sealed, position=last)

    async def _is_wanted(self, db: Connection, each: _Met) -> bool:
        """Return whether the sender of a message may be recorded: who opted in since may not. Of a message that was not
        heard nothing proves that it came later."""
        room_id, message = each.heard.room_id, each.message
        began = backfill.BEFORE_ALL if each.heard_at is None else each.heard_at
        return await consent.may_record(db, room_id, message.sender, began=began, sent_at=message.sent_at)

    async def _met_again(self, db: Connection, each: _Met, chunk: Chunk, so_far: Gathered) -> Gathered:
        """Go on with the recording that an earlier search began with this message; count what is in any other."""
        if chunk.recording_id in so_far.recordings:
            return so_far
        if not so_far.recordings:
            recording = await archive.recording(db, chunk.recording_id)
            if recording is not None and recording.event_id == each.event_id and past.may_grow(recording):
                return replace(so_far, recordings=(recording.id,))
        return _known(replace(so_far, elsewhere=so_far.elsewhere + 1), chunk.recording_id)

    async def _add(self, db: Connection, recording_id: RecordingId, each: _Met) -> None:
        recording = await archive.recording(db, recording_id)
        assert recording is not None, "it was begun or found in this transaction"
        sent_at = past.said_at(each.message.sent_at, recording.started_at, self._clock())
        message = replace(each.message, sent_at=sent_at, sender_name=await self._name(db, each))
        await self._applying.apply(db, recording_id, message, event_id=each.event_id, position=each.position)

    async def _name(self, db: Connection, each: _Met) -> str | None:
        return await display_name_of(db, each.heard.room_id, each.message.sender)

    # ---- recordings

    async def _begin(self, db: Connection, each: _Met, *, chosen: bool = False) -> Recording:
        now, room_id = self._clock(), each.heard.room_id
        begun = machine.begin(
            replace(each.message, sender_name=await self._name(db, each)),
            machine.Line(thread=each.message.thread),
            room_id=room_id,
            event_id=each.event_id,
            position=each.position,
            said_at=past.said_at(each.message.sent_at, None, now),
            now=now,
            history_visibility=await past_visibility(db, room_id, each.position),
        )
        present = await rooms.room(db, await heirs.present(db, room_id))
        unreviewed = present is not None and present.review
        recording = await archive.add_recording(db, replace(begun, past=True, chosen=chosen, unreviewed=unreviewed))
        await backfill.renumber(db, room_id)
        # Should the search be given up, the recording ends by its clock.
        await self._applying.effects(db, recording, (LookAgain(now + self._limits.session_gap),))
        await rooms.touch(db, room_id, now)
        log.info("past messages: recording=%s room=%s event=%s", recording.code, room_id, each.event_id)
        return recording

    async def _session(self, db: Connection, each: _Met) -> RecordingId | None:
        """Return the session that a message belongs to: one on both sides of it, or one that a search has made."""
        room_id, message = each.heard.room_id, each.message
        beside = await sessions.beside(db, room_id, machine.MESSAGES, message.thread, each.position)
        earlier, _ = beside
        said_at = past.said_at(message.sent_at, earlier.sent_at if earlier else None, self._clock())
        near = [chunk for chunk in beside if chunk and past.belong_together(chunk.sent_at, said_at, self._limits)]
        inside = len(near) == len(beside) and len({chunk.recording_id for chunk in near}) == 1
        for chunk in near:
            recording = await archive.recording(db, chunk.recording_id)
            assert recording is not None, "its chunks refer to it"
            takes = past.takes(recording, between=inside) and await _is_as_open(db, recording.id, each)
            if takes and await self._has_room(db, recording.id, each):
                return recording.id
        before = await archive.recording(db, earlier.recording_id) if earlier else None
        if before and before.past and not before.chosen and before.state is RecordingState.LIVE:
            await self.end(db, before.id)  # the next one begins
        return None

    async def _has_room(self, db: Connection, recording_id: RecordingId, each: _Met) -> bool:
        """Return whether a recording takes another message. One that was deleted while it was made takes none."""
        recording = await archive.recording(db, recording_id)
        if recording is None or recording.state is RecordingState.DELETED:
            return False
        if recording.ended_by in joining.FULL_OR_UNWANTED:
            return False
        return joining.has_room(await self._chunks.of(db, recording_id), each.message.announced_ms, self._limits)


async def _is_as_open(db: Connection, recording_id: RecordingId, each: _Met) -> bool:
    """Return whether a message was as open to newcomers as the recording is, which they hear if it began where they
    read the past. Only the room's present state is known, and since when it holds."""
    recording = await archive.recording(db, recording_id)
    if recording is None or not shows_the_past(recording.history_visibility) or each.position < backfill.BEFORE_ALL:
        return True
    state = await rooms.state(db, recording.room_id, HISTORY_VISIBILITY)
    if state is None:
        return True
    return state.position < each.position and facts.history_visibility(state) in (
        recording.history_visibility,
        HistoryVisibility.WORLD_READABLE,
    )


async def _is_redacted(db: Connection, heard: HeardEvent, message: VoiceMessage) -> bool:
    """Return whether a message was redacted since it was read."""
    return await redacting.redacted_by(db, heard.room_id, heard.event_id, message.sender) is not None


def _known(so_far: Gathered, recording_id: RecordingId) -> Gathered:
    if recording_id in so_far.recordings:
        return so_far
    return replace(so_far, known=_with(so_far.known, recording_id))


def _with(ids: tuple[RecordingId, ...], new: RecordingId) -> tuple[RecordingId, ...]:
    return ids if new in ids else (*ids, new)
