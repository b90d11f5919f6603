"""The shell around the machine: journal in, state and jobs out, one transaction an event.

Everything that changes a recording goes through `apply`, so there is one order of things and one writer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from bot import rules, words
from bot.errors import TryLater
from bot.matrix import dialects
from bot.matrix.times import sent_at
from bot.recording import machine
from bot.recording.model import (
    BroadcastChanged,
    BroadcastStarted,
    ChunkSealed,
    ChunkSent,
    Effect,
    Ended,
    Erase,
    FetchChunk,
    Finish,
    Forget,
    LookAgain,
    Opened,
    Outcome,
    RecordingEvent,
    Redacted,
    Rejected,
    RoomEvent,
    Tell,
    Tick,
    Withdraw,
)
from bot.recording.policy import Limits
from storage import archive, jobs, journal, past, rooms
from storage.database import Connection
from storage.errors import StoreError
from storage.records import (
    BlobKey,
    ChunkState,
    EndedBy,
    EventId,
    HeardEvent,
    HistoryVisibility,
    Job,
    JobKind,
    NewJob,
    Position,
    Recording,
    RecordingId,
    RecordingState,
    StateEvent,
    UserId,
    Visibility,
)
from storage.store import Store

log = logging.getLogger(__name__)

BATCH = 100
LONG = 300  # chunks; more take longer than the event loop may be held
STORE_TROUBLE_PAUSE_S = 60.0


class Recorder:
    """Follows the journal. `hears`: the first sync of this process is written."""

    def __init__(
        self, store: Store, limits: Limits, clock: Callable[[], datetime], *, hears: Callable[[], bool] = lambda: True
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._hears = hears
        self._stopping = False

    async def run(self) -> None:
        """Deals with what the journal holds until `stop`."""
        with self._store.changes.follow() as changed:
            begun = False
            while not self._stopping:
                changed.clear()
                try:
                    if not begun:
                        await self._begin()
                        begun = True
                    while await self.catch_up() and not self._stopping:
                        pass
                except StoreError as error:
                    log.error("the journal waits: %s", error)
                    await self._rest(changed, STORE_TROUBLE_PAUSE_S)
                    continue
                if not self._stopping:
                    await changed.wait()

    async def _begin(self) -> None:
        """What a mistake of an earlier version's kept from being dealt with gets another chance."""
        async with self._store.write() as db:
            await journal.try_again(db)

    async def _rest(self, changed: asyncio.Event, seconds: float) -> None:
        """So long, or until something could be written."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds)

    def stop(self) -> None:
        """No further event after the one under way."""
        self._stopping = True
        self._store.changes.tell()

    async def catch_up(self) -> int:
        """Deals with the next events of the journal; how many. Raises StoreError."""
        async with self._store.read() as db:
            waiting = await journal.unhandled(db, BATCH)
        for heard in waiting:
            if self._stopping:
                break
            try:
                async with self._store.write() as db:
                    # As it is now: its key may have come since it was read.
                    now = await journal.waiting_at(db, heard.position)
                    if now is not None:
                        await self._handle(db, now)
            except StoreError:
                raise
            except Exception:
                # A mistake of ours about one event must not keep the others waiting; it is tried again after a start.
                log.exception("an event could not be handled: room=%s event=%s", heard.room_id, heard.event_id)
                async with self._store.write() as db:
                    await journal.handled(db, heard, keep=True)
        return len(waiting)

    async def _handle(self, db: Connection, heard: HeardEvent) -> None:
        event = dialects.read(heard)
        if not isinstance(event, ChunkSent | ChunkSealed):
            await self._not_a_chunk(db, heard, event)
        match event:
            case Rejected(rule=rule):
                log.info("not a valid broadcast event: rule=%s room=%s event=%s", rule, heard.room_id, heard.event_id)
            case BroadcastStarted():
                await self._start(db, heard, event)
            case BroadcastChanged() | ChunkSent() | ChunkSealed():
                await self._to_recording(db, heard, event)
            case Redacted():
                await self._redact(db, heard, event)
            case None if heard.event.get("type") == "m.room.member":
                await self._departed(db, heard)
            case None:
                await self._command(db, heard)
        await journal.handled(db, heard, keep=isinstance(event, ChunkSealed) and await self._waits(db, heard))

    async def _not_a_chunk(self, db: Connection, heard: HeardEvent, event: RoomEvent | Rejected | None) -> None:
        """What was kept as a sealed chunk of a broadcast can be read at last, and is none."""
        chunk = await archive.chunk(db, heard.event_id) if heard.encrypted else None
        if chunk is not None and chunk.state is ChunkState.WAITING_FOR_KEY:
            rule = event.rule if isinstance(event, Rejected) else None
            await self.apply(db, chunk.recording_id, Opened(heard.event_id, rule), event_id=heard.event_id)

    async def _waits(self, db: Connection, heard: HeardEvent) -> bool:
        """Whether the wrapper is needed until its key comes."""
        return await archive.chunk(db, heard.event_id) is not None

    async def _start(self, db: Connection, heard: HeardEvent, event: BroadcastStarted) -> None:
        room = await rooms.room(db, heard.room_id)
        if room is None or not room.joined or not room.recording_on:
            log.info("a broadcast is not recorded: recording is off: room=%s event=%s", heard.room_id, heard.event_id)
            return
        if await archive.recording_by_event(db, heard.event_id) is not None:
            return
        visibility = rules.history_visibility(await rooms.state(db, heard.room_id, "m.room.history_visibility"))
        public = room.visibility is Visibility.PUBLIC and heard.position > (room.public_since or 0)
        recording = await self._begin_recording(db, heard, event, visibility, public=public)
        await self._effects(db, recording, machine.first_effects(recording, self._limits))
        log.info("following a broadcast: recording=%s room=%s event=%s", recording.code, heard.room_id, heard.event_id)

    async def _begin_recording(
        self, db: Connection, heard: HeardEvent, event: BroadcastStarted, visibility: HistoryVisibility, *, public: bool
    ) -> Recording:
        """The row of a broadcast that starts; what the same device was live with ends."""
        now = self._clock()
        for earlier in await archive.open_recordings(db, heard.room_id, event.sender):
            if machine.restarts(event, heard.position, earlier):
                await self.apply(db, earlier.id, Ended(EndedBy.RESTARTED), position=heard.position)
        create = await rooms.state(db, heard.room_id, "m.room.create")
        member = await rooms.state(db, heard.room_id, "m.room.member", event.sender)
        started = machine.begin(
            event,
            room_id=heard.room_id,
            event_id=heard.event_id,
            position=heard.position,
            room_created=create.sent_at if create else None,
            history_visibility=visibility,
            broadcaster_name=display_name(member),
            public=public,
            now=now,
        )
        await rooms.touch(db, heard.room_id, now)
        return await archive.add_recording(db, started)

    async def adopt(self, db: Connection, events: Sequence[HeardEvent]) -> Recording | None:
        """A whole broadcast of the past, its started event first, into a recording, in the caller's transaction.

        None when it is not one. It is never public by itself, and nobody is told of it alone.
        """
        now = self._clock()
        placed = await past.add(db, events, now)
        started = dialects.read(placed[0])
        if not isinstance(started, BroadcastStarted):
            return None
        state = await rooms.state(db, placed[0].room_id, "m.room.history_visibility")
        # What was said before the bot came it can read only where newcomers may; of the rest that is not known.
        came_before = placed[0].position < past.BEFORE_ALL
        visibility = rules.history_visibility(state) if came_before else HistoryVisibility.JOINED
        recording = await self._begin_recording(db, placed[0], started, visibility, public=False)
        outcome = await asyncio.to_thread(self._retell, recording, placed[1:], now)
        await archive.save_recording(db, outcome.recording)
        for chunk in outcome.chunks:
            await archive.save_chunk(db, chunk)
        await self._effects(db, outcome.recording, outcome.effects)
        await past.renumber(db, recording.room_id)
        return outcome.recording

    def _retell(self, recording: Recording, events: Sequence[HeardEvent], now: datetime) -> Outcome:
        """All that a past broadcast said, one after the other. One that gave no sign of life for long has ended."""
        told = Outcome(recording, (), machine.first_effects(recording, self._limits))
        last = recording.started_at
        for heard in events:
            event = dialects.read(heard)
            if isinstance(event, BroadcastChanged | ChunkSent | ChunkSealed) and event.broadcast == recording.event_id:
                last = max(last, event.sent_at or last)
                told = self._then(told, event, now, heard)
        running = told.recording.state is RecordingState.LIVE
        if running and now - last > self._limits.patience(paused=told.recording.paused):
            told = self._then(told, Ended(EndedBy.ABANDONED), now)
        return replace(told, effects=tuple(dict.fromkeys(told.effects)))

    def _then(self, told: Outcome, event: RecordingEvent, now: datetime, heard: HeardEvent | None = None) -> Outcome:
        event_id, position = (heard.event_id, heard.position) if heard else (None, None)
        following = machine.step(
            told.recording, told.chunks, event, event_id=event_id, position=position, now=now, limits=self._limits
        )
        return replace(following, effects=told.effects + following.effects)

    async def _to_recording(self, db: Connection, heard: HeardEvent, event: RoomEvent) -> None:
        assert isinstance(event, BroadcastChanged | ChunkSent | ChunkSealed)
        recording = await archive.recording_by_event(db, event.broadcast)
        if recording is None or recording.room_id != heard.room_id:
            log.info("not a followed broadcast: room=%s event=%s", heard.room_id, heard.event_id)
            return
        await self.apply(db, recording.id, event, event_id=heard.event_id, position=heard.position)

    async def _redact(self, db: Connection, heard: HeardEvent, event: Redacted) -> None:
        recording = await archive.recording_by_event(db, event.redacts)
        if recording is None:
            chunk = await archive.chunk(db, event.redacts)
            recording = await archive.recording(db, chunk.recording_id) if chunk else None
        if recording is None or recording.room_id != heard.room_id:
            return
        await self.apply(db, recording.id, event, event_id=heard.event_id, position=heard.position)
        await journal.forget(db, [event.redacts])  # a wrapper that waited for its key waits no more

    async def _departed(self, db: Connection, heard: HeardEvent) -> None:
        who = UserId(str(heard.event.get("state_key")))
        for recording in await archive.open_recordings(db, heard.room_id, who):
            if recording.state is RecordingState.LIVE:
                await self.apply(db, recording.id, Ended(EndedBy.LEFT), position=heard.position)

    async def _command(self, db: Connection, heard: HeardEvent) -> None:
        content = heard.event.get("content")
        body = content.get("body") if isinstance(content, dict) else None
        relation = heard.clear_relation or (content.get("m.relates_to") if isinstance(content, dict) else None)
        if not isinstance(body, str):
            return
        threaded = isinstance(relation, dict) and relation.get("rel_type") == "m.thread"
        at = sent_at(heard.event)
        payload = {
            "room_id": heard.room_id,
            "sender": heard.event.get("sender"),
            "event_id": heard.event_id,
            "body": body,
            "position": heard.position,
            "sent_at": at.isoformat() if at else None,
            "history": heard.history,
            "encrypted": heard.encrypted,
            "msgtype": content.get("msgtype") if isinstance(content, dict) else None,
            "thread": relation.get("event_id") if threaded and isinstance(relation, dict) else None,
        }
        await jobs.add(db, NewJob(JobKind.COMMAND, heard.event_id, payload, once=True), self._clock())

    async def apply(
        self,
        db: Connection,
        recording_id: RecordingId,
        event: RecordingEvent,
        *,
        event_id: EventId | None = None,
        position: Position | None = None,
    ) -> None:
        """One event into one recording: its new state and what follows from it, in the caller's transaction."""
        recording = await archive.recording(db, recording_id)
        if recording is None:
            return
        now = self._clock()
        before = await archive.chunks(db, recording_id)
        step = partial(
            machine.step, recording, before, event, event_id=event_id, position=position, now=now, limits=self._limits
        )
        outcome = await asyncio.to_thread(step) if len(before) > LONG else step()
        if outcome.ignored:
            log.info("ignored: rule=%s recording=%s event=%s", outcome.ignored, recording.code, event_id)
        known = {chunk.event_id: chunk for chunk in before}
        for chunk in outcome.chunks:
            if known.pop(chunk.event_id, None) != chunk:
                await archive.save_chunk(db, chunk)
        if known:
            await archive.delete_chunks(db, recording_id, list(known))
        if outcome.recording != recording:
            await archive.save_recording(db, outcome.recording)
        if outcome.recording.state is not recording.state:
            await rooms.touch(db, recording.room_id, now)
            log.info("recording=%s room=%s is %s", recording.code, recording.room_id, outcome.recording.state)
        await self._effects(db, outcome.recording, outcome.effects)

    async def _effects(self, db: Connection, recording: Recording, effects: tuple[Effect, ...]) -> None:
        now = self._clock()
        subject = str(recording.id)
        for effect in effects:
            match effect:
                case FetchChunk(event_id=chunk_id):
                    await jobs.add(db, NewJob(JobKind.FETCH, chunk_id, {"recording": recording.id}), now)
                case LookAgain(at=at):
                    await jobs.add(db, NewJob(JobKind.TICK, subject, {}, at), now)
                case Finish():
                    await jobs.add(db, NewJob(JobKind.FINISH, subject, {}), now)
                case Forget(blob=blob):
                    await self._forget(db, f"redacted:{blob}", [blob])
                case Withdraw():
                    await self._withdraw(db, recording)
                case Tell(what=what):
                    body = words.TOLD[what]
                    payload = {"room_id": recording.room_id, "body": body, "reply_to": recording.event_id}
                    told = NewJob(JobKind.NOTICE, f"tell:{what}:{recording.event_id}", payload, once=True)
                    await jobs.add(db, told, now)
                case Erase():
                    await self._erase(db, recording)

    async def _erase(self, db: Connection, recording: Recording) -> None:
        """Nothing stays but the tombstone, which refuses what comes late."""
        now = self._clock()
        chunks = await archive.chunks(db, recording.id)
        await self._withdraw(db, recording)
        await self._forget(db, f"erase:{recording.id}", [chunk.blob for chunk in chunks if chunk.blob])
        await archive.delete_chunks(db, recording.id)
        await journal.forget(db, [chunk.event_id for chunk in chunks])
        await jobs.cancel(db, JobKind.FETCH, [chunk.event_id for chunk in chunks])
        for kind in (JobKind.FINISH, JobKind.TICK, JobKind.END):
            await jobs.cancel(db, kind, [str(recording.id)])
        await jobs.cancel(db, JobKind.NOTICE, [f"published:{recording.event_id}"])
        await archive.save_recording(db, replace(recording, title=None, description=None, broadcaster_name=None))
        await rooms.touch(db, recording.room_id, now)
        log.info("erased: recording=%s room=%s", recording.code, recording.room_id)

    async def _withdraw(self, db: Connection, recording: Recording) -> None:
        """The episode goes, from feeds, pages and disk."""
        episode = await archive.episode(db, recording.id)
        if episode is not None:
            await archive.delete_episode(db, recording.id)
            await self._forget(db, f"episode:{episode.blob}", [episode.blob])
            await rooms.touch(db, recording.room_id, self._clock())

    async def _forget(self, db: Connection, subject: str, blobs: list[BlobKey]) -> None:
        if blobs:
            await jobs.add(db, NewJob(JobKind.FORGET, subject, {"blobs": blobs}), self._clock())

    # ---- jobs

    async def tick(self, job: Job) -> None:
        """The time has come to look at a recording's clocks."""
        recording_id = RecordingId(int(job.subject))
        async with self._store.read() as db:
            recording = await archive.recording(db, recording_id)
        if recording is not None and recording.state is RecordingState.LIVE and not self._hears():
            # Signs of life may lie on the homeserver: nothing is abandoned before they were read.
            raise TryLater("the first sync is waited for", after_s=5)
        async with self._store.write() as db:
            await self.apply(db, recording_id, Tick())

    async def end(self, job: Job) -> None:
        """Something outside the broadcast ends it."""
        async with self._store.write() as db:
            await self.apply(db, RecordingId(int(job.subject)), Ended(EndedBy(job.payload["by"])))


def display_name(member: StateEvent | None) -> str | None:
    """A member's display name, as they wrote it."""
    name = member.content.get("displayname") if member else None
    return storable(name) if isinstance(name, str) else None


def storable(text: str) -> str:
    """Without lone surrogates, which JSON can hold and no database."""
    return text.encode("utf-8", "replace").decode()
