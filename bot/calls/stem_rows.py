"""The rows and stems of a call that runs: whatever is written about it, one piece after the other."""

import asyncio
import logging
from collections import defaultdict, deque
from functools import partial
from typing import Protocol

from bot.calls.media.door import PcmFrame, Sound
from bot.calls.model import Device, LegId
from bot.calls.serial import Serial, Work
from bot.calls.stems.call import CallStems
from bot.calls.stems.stream import begin_of
from storage import calls, journal
from storage.database import Connection
from storage.errors import StoreError
from storage.records import CallEvent, LeftBy, Position, Recording, RecordingId, Samples, Stem, UserId
from storage.store import Store

log = logging.getLogger(__name__)

MOST_EARLY = 500
"""Sounds of a leg that wait until its stem is open: ten seconds."""
MOST_WORK = 10_000
"""Pieces of work that wait, while the disk stalls."""
AGAIN_S = 1.0
"""The pause before a stem that could not be opened is tried again."""


class OpenStem(Protocol):
    """The recorder's opening of a stem (`recorder.calling`)."""

    async def __call__(
        self, db: Connection, recording_id: RecordingId, user_id: UserId, device_id: str, joined: Samples
    ) -> Stem | None: ...


class StemRows:
    """The writing about one call. Its methods return at once; `done` waits for all of it."""

    def __init__(self, store: Store, open_stem: OpenStem, stems: CallStems, recording: Recording) -> None:
        self._store = store
        self._open_stem = open_stem
        self._stems = stems
        self._recording = recording
        self._work = Serial(f"writing of call {recording.code}", MOST_WORK)
        self._numbers: dict[LegId, int] = {}  # of open stems
        self._early: defaultdict[LegId, deque[Sound]] = defaultdict(lambda: deque(maxlen=MOST_EARLY))
        self._closed: set[LegId] = set()
        self._notes: list[CallEvent] = []
        self._advances = False

    def add(self, work: Work) -> None:
        """Have something else done in its order."""
        self._work.add(work)

    async def done(self) -> None:
        await self._work.done()

    # ---- stems

    def write(self, leg: LegId, sound: Sound) -> None:
        """Take sound of a leg. It waits for its stem for a moment."""
        if (number := self._numbers.get(leg)) is not None:
            self._stems.put(number, sound)
        elif leg not in self._closed:
            self._early[leg].append(sound)

    def open(self, leg: LegId, device: Device, now: Samples) -> None:
        """Open the stem of a leg that is connected."""
        self._work.add(partial(self._open, leg, device, now))

    async def _open(self, leg: LegId, device: Device, now: Samples) -> None:
        if leg in self._closed:
            return
        joined = min([now, *map(_begin_of, tuple(self._early[leg])[:1])])
        try:
            async with self._store.write() as db:
                stem = await self._open_stem(db, self._recording.id, device.user_id, device.device_id, joined)
        except StoreError as error:
            log.error("stem not opened, trying again: call=%s: %s", self._recording.code, error)
            asyncio.get_running_loop().call_later(AGAIN_S, self.open, leg, device, now)
            return
        early = self._early.pop(leg)
        if stem is None:
            self._closed.add(leg)
            return
        await self._stems.open(stem)
        self._numbers[leg] = stem.number
        for sound in early:
            self._stems.put(stem.number, sound)

    def close(self, leg: LegId, by: LeftBy, left: Samples, closing: "asyncio.Future[None]") -> None:
        """Close the stem of a leg, if it has one, once the end of its connection has handed on its last sound
        (`closing`)."""
        self._work.add(partial(self._close, leg, by, left, closing))

    async def _close(self, leg: LegId, by: LeftBy, left: Samples, closing: "asyncio.Future[None]") -> None:
        if leg in self._numbers:
            await asyncio.wait({closing})
        self._closed.add(leg)
        self._early.pop(leg, None)
        number = self._numbers.pop(leg, None)
        if number is not None:
            at = min(left, self._stems.end(number)) if by is LeftBy.LOST else left
            await self._stems.close(number, at, by, await self._position())

    def advance(self, now: Samples) -> None:
        """Write the sound that has come, and keep the windows that are complete."""
        if not self._advances:
            self._advances = self._work.add(partial(self._advance, now))

    async def _advance(self, now: Samples) -> None:
        self._advances = False
        await self._stems.advance(now, await self._position())

    def finish(self, by: LeftBy, now: Samples) -> None:
        """Close what is still open, and keep all that is left."""
        self._work.add(partial(self._finish, by, now))

    async def _finish(self, by: LeftBy, now: Samples) -> None:
        self._numbers.clear()
        await self._stems.finish(now, by, await self._position())

    async def _position(self) -> Position:
        async with self._store.read() as db:
            return await journal.next_position(db)

    # ---- events

    def note(self, event: CallEvent) -> None:
        """Note an event of the call in its recording."""
        self._notes.append(event)
        if len(self._notes) == 1:
            self._work.add(self._write_notes)

    async def _write_notes(self) -> None:
        notes, self._notes = self._notes, []
        async with self._store.write() as db:
            await calls.note(db, self._recording.id, notes)


def _begin_of(sound: Sound) -> Samples:
    return sound.at if isinstance(sound, PcmFrame) else begin_of(sound)
