"""The writing of a studio's broadcast: what its client does becomes rows and events of the journal, in one transaction.

Every step can be repeated: a client that got no answer sends the same again, and nothing is there twice.
"""

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path

from bot.dialects import studio as events
from bot.recording.model import Change
from bot.recording.policy import MAX_CHUNKS
from bot.settings import Settings
from bot.studio import outgoing
from bot.studio.life import GOOD_FOR as GOOD_FOR
from bot.studio.life import HELD_FOR, is_held, may_resume, problem_for
from bot.studio.life import Problem as Problem
from bot.studio.rights import refusal_in
from storage import archive, journal, rooms, studios
from storage.database import Connection
from storage.records import (
    BlobKey,
    HeardEvent,
    Room,
    RoomId,
    Studio,
    StudioId,
    StudioSlice,
    StudioSource,
    StudioState,
    UserId,
)
from storage.store import Store

log = logging.getLogger(__name__)

MOST_CHANGES = 99_000
"""Info events of one broadcast, however long it is: their numbers have five digits."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of one slice: five seconds of two channels that nobody has compressed are one million."""
SAID_EACH = timedelta(minutes=10)
COUNTED_EACH = timedelta(seconds=30)
MOST_ROOMS = 1000
"""Rooms whose size is remembered."""
MOST_BYTES_A_SECOND = 200_000
"""Bytes of all slices for each second of the longest broadcast: of two channels that nobody has compressed."""


class StudioRefusedError(Exception):
    """A step that is refused, for this `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Taken(Enum):
    """The outcome of a step."""

    NOW = auto()
    BEFORE = auto()  # it was taken already


class Writing:
    """A writer of studios' broadcasts. Its methods raise StudioRefusedError and StoreError."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._said_full_at: datetime | None = None
        self._rooms: dict[RoomId, tuple[datetime, int]] = {}  # their size, and when it was counted

    @property
    def most_bytes(self) -> int:
        """The most bytes of one slice."""
        return min(MOST_BYTES, self._settings.recording.max_chunk_bytes)

    async def refuse_full_disk(self) -> None:
        """Take nothing new while the disk has too little space left, as nothing new is fetched then."""
        free = await asyncio.to_thread(lambda: shutil.disk_usage(self._store.directory).free)
        if free < self._settings.storage.min_free_bytes:
            now = self._clock()
            if self._said_full_at is None or now - self._said_full_at >= SAID_EACH:
                self._said_full_at = now
                log.error("too little disk space is left (%d bytes free): nothing is taken from studios", free)
            raise StudioRefusedError(Problem.DISK_FULL)

    async def start(self, studio_id: StudioId, client: str, *, takes_over: bool = False) -> Taken:
        """Begin the broadcast. `client`: a name that the client has chosen, and keeps over restarts; with `takes_over`
        it takes the place of another one, which can do nothing more, unless that one is at another process."""
        async with self._store.write() as db:
            studio, _ = await self._of(db, studio_id, None if takes_over else client)
            now = self._clock()
            if studio.state.is_on_air:
                if studio.client != client:
                    if self._store.shared and is_held(studio, now):
                        raise StudioRefusedError(Problem.ELSEWHERE)
                    await studios.save(db, replace(studio, client=client, heard_at=now))
                return Taken.BEFORE
            live = replace(studio, client=client, state=StudioState.LIVE, started_at=now, heard_at=now)
            await studios.save(db, live)
            await self._write(db, events.started(live, now), now)
            await outgoing.started(db, live, now)
        log.info("a studio is live: room=%s studio=%d", studio.room_id, studio.id)
        return Taken.NOW

    async def add(
        self,
        studio_id: StudioId,
        client: str,
        number: int,
        file: Path,
        blob: BlobKey,
        size: int,
        duration_ms: int | None,
    ) -> Taken:
        """Take a slice, whose bytes are in `file` with this hash and size: when this returns it is on the disk. The
        caller removes the file."""
        async with self._store.read() as db:  # the right to it is asked for by the transaction that takes it
            studio = self._open(await studios.get(db, studio_id), client, late=True)
            if await self._is_known(db, studio, number, blob):
                return Taken.BEFORE
            await self._refuse_too_much(db, studio, number, size)
        await self.refuse_full_disk()
        async with self._store.blobs.arriving((file, blob)) as new, self._store.write() as db:
            studio, room = await self._of(db, studio_id, client, late=True)
            if await self._is_known(db, studio, number, blob):
                return Taken.BEFORE
            await new.keep(db)
            now = self._clock()
            piece = StudioSlice(studio.id, number, blob, size, now, duration_ms)
            await studios.save_slice(db, piece)
            await studios.save(db, replace(studio, bytes=studio.bytes + size, heard_at=now))
            await self._write(db, events.chunk(studio, piece, now), now)
            await outgoing.sliced(db, studio, room, number, now)
        if studio.room_id in self._rooms:
            at, used = self._rooms[studio.room_id]
            self._rooms[studio.room_id] = (at, used + size)
        return Taken.NOW

    async def hold(self, studio_id: StudioId, client: str) -> None:
        """Note that a client is there, though nothing comes from it."""
        async with self._store.read() as db:
            studio = self._open(await studios.get(db, studio_id), client, late=False)
        if studio.heard_at is not None and self._clock() - studio.heard_at < HELD_FOR / 4:
            return
        async with self._store.write() as db:
            studio, _ = await self._of(db, studio_id, client)
            await studios.save(db, replace(studio, heard_at=self._clock()))

    async def change(self, studio_id: StudioId, client: str, change: Change, last: int | None = None) -> Taken:
        """Pause, resume or stop the broadcast. `last`: the number of the last slice, of a stop."""
        async with self._store.write() as db:
            studio, _ = await self._of(db, studio_id, client, late=change is Change.STOPPED)
            if studio.state is _AFTER[change]:
                return Taken.BEFORE
            if not studio.state.is_on_air:
                raise StudioRefusedError(Problem.WAITING)
            if studio.changes >= MOST_CHANGES and change is not Change.STOPPED:
                raise StudioRefusedError(Problem.TOO_MANY)
            now = self._clock()
            if change is Change.RESUMED and not may_resume(studio, now):
                raise StudioRefusedError(Problem.TOO_FAST)
            await _changed(db, studio, change, last, now)
        return Taken.NOW

    async def end(self, db: Connection, studio: Studio) -> None:
        """End a studio from outside, in the caller's transaction (`end`)."""
        await end(db, studio, self._clock())

    async def _write(self, db: Connection, event: HeardEvent, now: datetime) -> None:
        await journal.add(db, event, now)

    async def _of(
        self, db: Connection, studio_id: StudioId, client: str | None, *, late: bool = False
    ) -> tuple[Studio, Room]:
        """Return the studio and its room, if this client may go on with it now. `late`: also after its client has
        stopped it."""
        studio = self._open(await studios.get(db, studio_id), client, late=late)
        room = await rooms.room(db, studio.room_id)
        if room is None or await refusal_in(db, room, studio.user_id) is not None:
            raise StudioRefusedError(Problem.OVER)
        return studio, room

    def _open(self, studio: Studio | None, client: str | None, *, late: bool) -> Studio:
        """Return a studio that this client may go on with, as far as the studio itself tells."""
        problem = Problem.OVER if studio is None else problem_for(studio, client, self._clock(), late=late)
        if studio is None or problem is not None:
            raise StudioRefusedError(problem or Problem.OVER)
        return studio

    async def _is_known(self, db: Connection, studio: Studio, number: int, blob: BlobKey) -> bool:
        if studio.state is StudioState.WAITING:
            raise StudioRefusedError(Problem.WAITING)
        known = await studios.slice_of(db, studio.id, number)
        if known is not None and known.blob not in (None, blob):
            raise StudioRefusedError(Problem.OTHER_BYTES)
        if known is None and studio.state is StudioState.OVER and number > (studio.last or 0):
            raise StudioRefusedError(Problem.OVER)
        return known is not None

    async def _refuse_too_much(self, db: Connection, studio: Studio, number: int, size: int) -> None:
        if not 0 < number <= MAX_CHUNKS:  # no recording has more: what is acknowledged is kept
            raise StudioRefusedError(Problem.TOO_MANY)
        if size > self.most_bytes:
            raise StudioRefusedError(Problem.TOO_LARGE)
        if studio.bytes + size > self._settings.recording.max_broadcast_s * MOST_BYTES_A_SECOND:
            raise StudioRefusedError(Problem.BROADCAST_FULL)
        used = await self._bytes_of_room(db, studio.room_id)
        if used + size > self._settings.storage.max_bytes_per_room:
            raise StudioRefusedError(Problem.ROOM_FULL)

    async def _bytes_of_room(self, db: Connection, room_id: RoomId) -> int:
        """Return the size of a room. Counting it looks at all of its chunks, and each studio sends a slice every few
        seconds: it is counted now and then, and what came since is added."""
        now = self._clock()
        at, used = self._rooms.get(room_id, (None, 0))
        if at is None or not timedelta(0) <= now - at < COUNTED_EACH:
            used = await archive.bytes_of_room(db, room_id)
            if len(self._rooms) >= MOST_ROOMS:
                self._rooms.clear()
            self._rooms[room_id] = (now, used)
        return used


_AFTER = {
    Change.PAUSED: StudioState.PAUSED,
    Change.RESUMED: StudioState.LIVE,
    Change.STOPPED: StudioState.OVER,
}


async def end(db: Connection, studio: Studio, now: datetime) -> None:
    """End a studio from outside, in the caller's transaction: its right is over, it expired, or another is in its
    place. A broadcast that runs is stopped with what came so far, and nothing that comes late is taken."""
    if studio.state is StudioState.OVER:
        return
    if studio.state.is_on_air:
        last = await studios.last_number(db, studio.id)
        await _changed(db, studio, Change.STOPPED, last, now, right=False)
    else:
        await studios.save(db, replace(studio, state=StudioState.OVER, ended_at=now))
    log.info("a studio is over: room=%s studio=%d", studio.room_id, studio.id)


async def end_all(db: Connection, now: datetime) -> None:
    """End all studios in the caller's transaction, and take nothing more of those that have ended: their addresses are
    good no more."""
    for studio in await studios.open_in(db):
        await end(db, studio, now)
    await studios.close_late(db)


async def _changed(
    db: Connection, studio: Studio, change: Change, last: int | None, now: datetime, *, right: bool = True
) -> None:
    number = studio.changes + 1
    ended_at = now if change is Change.STOPPED else None
    # Without the right to it nothing more is taken: `last` stays unset.
    kept = last if right else None
    after = replace(studio, state=_AFTER[change], changes=number, heard_at=now, ended_at=ended_at, last=kept)
    await studios.save(db, after)
    await journal.add(db, events.changed(studio, number, change, now, last), now)
    if last is None:
        last = await studios.last_number(db, studio.id)
    await outgoing.changed(db, studio, number, change, now, last)


def new_studio(room_id: RoomId, user_id: UserId, source: StudioSource, now: datetime) -> Studio:
    """Make a studio that waits for its broadcast; the token's hash is the caller's."""
    key = secrets.token_hex(16)
    return Studio(StudioId(0), key, room_id, user_id, source, StudioState.WAITING, now, now + GOOD_FOR)
