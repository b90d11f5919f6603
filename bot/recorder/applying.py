"""The application of an event to a recording: its new state, and the jobs that its effects become.

Every event of a recording goes through `apply`, so there is one order and one writer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from bot import orders
from bot.intake import announcements, calls, portraying, studio_events
from bot.language import speaking
from bot.recorder import asking, floor, uploads
from bot.recorder.erasing import erase, forget, forget_older_audio, hand_back, take_back, withdraw
from bot.recording.broadcast.orphans import is_candidate, kept_until, released
from bot.recording.chunks import is_removed
from bot.recording.kinds import kind_of
from bot.recording.model import (
    Ask,
    ChunkSent,
    Deleted,
    Effect,
    Ended,
    Erase,
    FetchChunk,
    Finish,
    Forget,
    Forgotten,
    HandBack,
    LookAgain,
    Outcome,
    RecordingEvent,
    Release,
    Silenced,
    Spoke,
    Spoken,
    TakeBack,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import Limits
from bot.recording.session import transmissions
from bot.recording.wording import told
from storage import archive, jobs, orphans, rooms
from storage.chunks import Chunks, appended
from storage.database import Connection
from storage.records import BlobKey, Chunk, EventId, NewJob, Position, Recording, RecordingId, RecordingState

log = logging.getLogger(__name__)

LONG = 300  # chunks; more take longer than the event loop may be held


FOR_CALLS = (Ended, Silenced, Forgotten, Deleted)
"""Events after which the bot has to leave the call that it records, or to let go of somebody's sound."""

Releases = Callable[[Connection, Recording, Release], Awaitable[None]]
"""A function that takes a released voice message into a session, where its room records them (`joining`)."""


class Applying:
    """A writer of the machines' outcomes, in the caller's transaction."""

    def __init__(self, chunks: Chunks, limits: Limits, clock: Callable[[], datetime], release: Releases) -> None:
        self._release = release
        self._chunks = chunks
        self._limits = limits
        self._clock = clock

    async def apply(
        self,
        db: Connection,
        recording_id: RecordingId,
        event: RecordingEvent,
        *,
        event_id: EventId | None = None,
        position: Position | None = None,
    ) -> None:
        """Apply an event to a recording: write its new state and the effects, in the caller's transaction."""
        recording = await archive.recording(db, recording_id)
        if recording is None:
            return
        now = self._clock()
        kind = kind_of(recording)
        lost = await orphans.elsewhere(db, recording) if kind.related else ()
        before = (*await self._chunks.of(db, recording_id), *lost)
        step = partial(
            kind.step,
            recording,
            before,
            event,
            event_id=event_id,
            position=position,
            now=now,
            limits=self._limits,
            asked=not kind.related or await asking.is_answered(db, recording, now, self._limits),
        )
        outcome = await asyncio.to_thread(step) if len(before) > LONG else step()
        if outcome.ignored:
            log.info("ignored: rule=%s recording=%s event=%s", outcome.ignored, recording.code, event_id)
        await self._chunks.change(db, recording_id, before, outcome.chunks)
        if outcome.recording != recording:
            await archive.save_recording(db, outcome.recording)
        if outcome.recording.state is not recording.state:
            await rooms.touch(db, recording.room_id, now)
            log.info("recording=%s room=%s is %s", recording.code, recording.room_id, outcome.recording.state)
        unwanted = await uploads.follow(db, (recording, before), (outcome.recording, outcome.chunks), now)
        await forget(db, unwanted, now)
        await self.effects(db, outcome.recording, outcome.effects)
        if _lost_a_speaker(recording, outcome.recording):
            await announcements.take_name_out(db, outcome.recording, now)
            await portraying.look(db, recording.room_id, [credit.user_id for credit in recording.speakers], now)
        await _wake_engine(db, recording, event, now)
        await _take_back(db, outcome.recording, (before, outcome.chunks), now)
        for transmission in outcome.recording.transmissions:
            await self._part(db, transmission.event_id, (recording, before), (outcome.recording, outcome.chunks), event)
        if kind.related:
            await self._candidates(db, recording, before, outcome, event)
            await asking.ask_early(db, recording, outcome.recording, before, event, now)
        wanted = Finish() in outcome.effects or isinstance(event, Spoken)  # Finish needs them, and then Joined
        if not outcome.recording.state.is_open and not wanted:
            self._chunks.forget(recording_id)

    async def _candidates(
        self, db: Connection, before: Recording, chunks: tuple[Chunk, ...], outcome: Outcome, event: RecordingEvent
    ) -> None:
        """Release the candidates that are no chunks: those that an event shows, all of a complete recording, and after
        a day the rest, for which it is looked at again."""
        after, now = outcome.recording, self._clock()
        free = released(chunks, outcome, event, now)
        if after.state is not before.state:
            free += await orphans.settle(db, after)
        for chunk in {chunk.id: chunk for chunk in free}.values():
            await self._release(db, after, Release(chunk))
        until = kept_until(after)
        if until is None or not any(is_candidate(chunk) for chunk in outcome.chunks):
            return
        if until <= now:
            await orphans.forget(db, after.id)
        elif after.state is not before.state or isinstance(event, Tick):
            await jobs.add(db, orders.Tick(after.id).job(until), now)

    async def _part(
        self,
        db: Connection,
        broadcast: EventId,
        before: tuple[Recording, Sequence[Chunk]],
        after: tuple[Recording, Sequence[Chunk]],
        event: RecordingEvent,
    ) -> None:
        """Ask for missing events of a broadcast that is a transmission, as for any other."""
        if transmissions.find(before[0], broadcast) is None:
            return
        (earlier, chunks), (later, _chunks) = (
            transmissions.alone(each[0], broadcast, each[1]) for each in (before, after)
        )
        concerns = not isinstance(event, ChunkSent) or event.broadcast == broadcast
        if earlier.state is RecordingState.LIVE and concerns:
            await asking.ask_early(db, earlier, later, chunks, event, self._clock())

    async def effects(self, db: Connection, recording: Recording, effects: tuple[Effect, ...]) -> None:
        """Write effects as jobs. Rows that must not outlast this transaction are removed at once."""
        now = self._clock()
        await _forget(db, recording, [effect.blob for effect in effects if isinstance(effect, Forget)], now)
        for effect in effects:
            match effect:
                case FetchChunk() | LookAgain() | Finish():
                    await jobs.add(db, _job_of(effect, recording), now)
                case Ask():
                    await asking.ask(db, recording, now, now)
                case Release():
                    await self._release(db, recording, effect)
                case Withdraw():
                    await withdraw(db, recording, now)
                case HandBack() | TakeBack() | Spoke():
                    await _of_transmission(db, recording, effect, now)
                case Tell(what=what):
                    await _tell(db, recording, what, now)
                case Erase():
                    await erase(db, recording, now)


async def _forget(db: Connection, recording: Recording, blobs: Sequence[BlobKey], now: datetime) -> None:
    if not blobs:
        return
    await forget(db, blobs, now)
    await forget_older_audio(db, recording.id, now)
    if recording.state.is_open:  # remove the sound from the live stream
        await jobs.add(db, orders.Encode(recording.id).job(), now)


async def _of_transmission(
    db: Connection, recording: Recording, effect: HandBack | TakeBack | Spoke, now: datetime
) -> None:
    match effect:
        case HandBack(transmission=part):
            await jobs.add(db, hand_back(recording, part).job(), now)
        case TakeBack(transmission=part):
            await take_back(db, recording, now, part)
        case Spoke(sender=sender, since=since):
            await floor.spoke(db, recording.room_id, sender, since, now)


async def _wake_engine(db: Connection, recording: Recording, event: RecordingEvent, now: datetime) -> None:
    """Have a call looked at whose recording is changed by others than the bot's part in it."""
    if kind_of(recording).stems and isinstance(event, FOR_CALLS):
        await calls.order(db, recording.room_id, now)


async def _take_back(
    db: Connection, recording: Recording, chunks: tuple[Sequence[Chunk], Sequence[Chunk]], now: datetime
) -> None:
    """Take the sound out of the room that was taken out of a recording: `chunks` before and after."""
    removed = _removed(*chunks)
    for part in {None, *removed} if removed else ():
        await take_back(db, recording, now, part)
    if recording.via is not None:
        await studio_events.take_back(db, recording, now, _gone(*chunks))


def _removed(before: Sequence[Chunk], after: Sequence[Chunk]) -> set[EventId | None]:
    """Return the transmissions from which the sound of a chunk was taken out; None: it was a part of none."""
    if appended(before, after) is not None:
        return set()
    had_sound = {chunk.id for chunk in before if chunk.blob is not None and not is_removed(chunk)}
    return {chunk.transmission for chunk in after if is_removed(chunk) and chunk.id in had_sound}


def _gone(before: Sequence[Chunk], after: Sequence[Chunk]) -> set[EventId]:
    """Return the events of the chunks that are removed now and were not before."""
    if appended(before, after) is not None:
        return set()
    earlier = {chunk.id for chunk in before if is_removed(chunk)}
    return {chunk.event_id for chunk in after if chunk.event_id and is_removed(chunk) and chunk.id not in earlier}


def _lost_a_speaker(before: Recording, after: Recording) -> bool:
    """Return whether nothing is heard any more of somebody whom the announcement of a recording may name."""
    present = {credit.user_id for credit in after.speakers}
    return after.state is not RecordingState.DELETED and any(one.user_id not in present for one in before.speakers)


def _job_of(effect: FetchChunk | LookAgain | Finish, recording: Recording) -> NewJob:
    match effect:
        case FetchChunk(chunk_id=chunk_id):
            return orders.Fetch(chunk_id, recording.id).job()
        case LookAgain(at=at):
            return orders.Tick(recording.id).job(at)
        case Finish():
            return orders.Finish(recording.id).job()


async def _tell(db: Connection, recording: Recording, what: str, now: datetime) -> None:
    """Send the room a notice, once. A search of the history reports its recordings together."""
    if recording.past and recording.state is not RecordingState.DELETED:
        return
    with speaking(await rooms.language(db, recording.room_id)):
        notice = orders.Notice.on(recording, what, told(recording, what))
    await jobs.add(db, notice.job(), now)
