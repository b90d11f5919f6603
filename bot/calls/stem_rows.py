"""The rows and stems of a call that runs: whatever is written about it, one piece after the other."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Protocol

from bot.calls.media.door import Sound
from bot.calls.model import Device, LegId
from bot.calls.serial import Serial, Work
from bot.calls.stems.call import CallStems
from bot.calls.stems.keeping import Apply
from bot.calls.stems.stream import begin_of
from bot.recording.model import Heard, NotHeard
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
MOST_NOTES = 1000
"""Events that wait, while the database is away."""
AGAIN_S = 1.0
"""The pause before what the disk or the database refused is tried again."""


class OpenStem(Protocol):
    """The recorder's opening of a stem (`recorder.calling`)."""

    async def __call__(
        self, db: Connection, recording_id: RecordingId, user_id: UserId, device_id: str, joined: Samples
    ) -> Stem | None: ...


class StemRows:
    """The writing about one call. Its methods return at once; `done` waits for all of it, but not for a disk or a
    database that fails: what they refused is tried again until they take it, or the process ends.

    Sound goes to the disk beside everything else, so that it waits for no row and no connection.
    """

    def __init__(self, store: Store, open_stem: OpenStem, stems: CallStems, recording: Recording, apply: Apply) -> None:
        self._store = store
        self._apply = apply
        self._open_stem = open_stem
        self._stems = stems
        self._recording = recording
        self._work = Serial(f"writing of call {recording.code}", MOST_WORK)
        self._disk = Serial(f"sound of call {recording.code}", 1)
        self._unopened: dict[LegId, tuple[Device, Samples]] = {}  # legs whose stems are to be opened
        self._rows: dict[LegId, Stem] = {}  # of those, whose row is written
        self._open: dict[LegId, Stem] = {}
        self._unclosed: dict[LegId, tuple[LeftBy, Samples]] = {}  # legs that have ended
        self._early: defaultdict[LegId, deque[Sound]] = defaultdict(lambda: deque(maxlen=MOST_EARLY))
        self._closed: set[LegId] = set()
        self._finishes = False
        self._failing: set[str] = set()
        self._notes: list[CallEvent | NotHeard | Heard] = []
        self._advances = self._keeps = False
        self._seen = recording.position
        self._written_at: Samples | None = None  # when the sound so far of all open stems was written last

    @property
    def unwritten_since(self) -> Samples | None:
        """The place on the clock of the call since which sound of it waits to be written; of a call that is written, a
        moment ago. None: nothing was to be written yet."""
        waits = [at for _, at in self._unopened.values()]
        return min([*waits, *([] if self._written_at is None else [self._written_at])], default=None)

    def add(self, work: Work) -> None:
        """Have something else done in its order."""
        self._work.add(work)

    async def done(self) -> None:
        await self._disk.done()
        await self._work.done()

    async def _do(self, what: str, work: Awaitable[None], again: Work) -> None:
        """Do something; where the disk or the database refuses, have it done `again` in a moment."""
        try:
            await work
        except (OSError, StoreError) as error:
            if what not in self._failing:
                log.error("%s failed, trying again: call=%s: %s", what, self._recording.code, error)
                self._failing.add(what)
            self._do_later(again)
        else:
            self._failing.discard(what)

    def _do_later(self, work: Work) -> None:
        asyncio.get_running_loop().call_later(AGAIN_S, self._work.add, work)

    # ---- stems

    def write(self, leg: LegId, sound: Sound) -> None:
        """Take sound of a leg. It waits for its stem for a moment."""
        if (stem := self._open.get(leg)) is not None:
            self._stems.put(stem.number, sound)
        elif leg not in self._closed:
            self._early[leg].append(sound)

    def open(self, leg: LegId, device: Device, now: Samples) -> None:
        """Open the stem of a leg that is connected."""
        self._unopened[leg] = device, now
        self._work.add(partial(self._begin, leg))

    async def _begin(self, leg: LegId) -> None:
        if leg not in self._unopened or self._finishes:
            return
        again = partial(self._begin, leg)
        if self._is_leaving(self._unopened[leg][0]):  # its earlier stem is to be closed first
            self._do_later(again)
        else:
            await self._do("opening of a stem", self._make(leg), again)

    def _is_leaving(self, device: Device) -> bool:
        leaving = (self._open[leg] for leg in self._unclosed if leg in self._open)
        return (device.user_id, device.device_id) in {(stem.user_id, stem.device_id) for stem in leaving}

    async def _make(self, leg: LegId) -> None:
        """Open a stem: its row, then its file, then what was heard before. Raises OSError, StoreError; it can be tried
        again."""
        stem = self._rows.get(leg) or await self._write_row(leg)
        if stem is None:
            del self._unopened[leg]
            self._early.pop(leg, None)
            self._closed.add(leg)
            return
        self._rows[leg] = stem
        await self._stems.open(stem)
        del self._unopened[leg], self._rows[leg]
        self._open[leg] = stem
        for sound in self._early.pop(leg, ()):
            self._stems.put(stem.number, sound)

    async def _write_row(self, leg: LegId) -> Stem | None:
        device, now = self._unopened[leg]
        joined = min([now, *map(begin_of, tuple(self._early[leg])[:1])])
        async with self._store.write() as db:
            return await self._open_stem(db, self._recording.id, device.user_id, device.device_id, joined)

    def close(self, leg: LegId, by: LeftBy, left: Samples, closing: "asyncio.Future[None]") -> None:
        """Close the stem of a leg, once the end of its connection has handed on its last sound (`closing`)."""
        self._work.add(partial(self._close, leg, by, left, closing))

    async def _close(self, leg: LegId, by: LeftBy, left: Samples, closing: "asyncio.Future[None]") -> None:
        await asyncio.wait({closing})
        self._unclosed[leg] = by, left
        await self._end(leg)

    async def _end(self, leg: LegId) -> None:
        if leg in self._unclosed and not self._finishes:
            await self._do("closing of a stem", self._close_stem(leg), partial(self._end, leg))

    async def _close_stem(self, leg: LegId) -> None:
        if leg in self._unopened:
            await self._make(leg)
        if (stem := self._open.get(leg)) is not None:
            by, left = self._unclosed[leg]
            await self._stems.close(stem.number, left, by, await self._position())
            del self._open[leg]
        del self._unclosed[leg]
        self._closed.add(leg)
        self._early.pop(leg, None)

    def advance(self, now: Samples) -> None:
        """Write the sound that has come, and keep the windows that are complete."""
        if self._written_at is None:
            self._written_at = now
        if not self._advances:
            self._advances = self._disk.add(partial(self._advance, now))

    async def _advance(self, now: Samples) -> None:
        self._advances = False
        with suppress(StoreError):  # what is not read while the database is away has not come yet
            self._seen = await self._position()
        await self._stems.write(now, self._seen)
        if not self._stems.is_stuck:
            self._written_at = now
        if not self._keeps:
            self._keeps = self._work.add(self._keep)

    async def _keep(self) -> None:
        self._keeps = False
        await self._stems.keep()

    def finish(self, by: LeftBy, now: Samples) -> None:
        """Close what is still open, and keep all that is left."""
        self._work.add(partial(self._finish, by, now))

    async def _finish(self, by: LeftBy, now: Samples) -> None:
        self._finishes = True
        await self._do("end of all stems", self._finish_all(by, now), partial(self._finish, by, now))

    async def _finish_all(self, by: LeftBy, now: Samples) -> None:
        troubles: list[OSError | StoreError] = []
        for leg in tuple(self._unopened):
            try:
                await self._make(leg)
            except (OSError, StoreError) as error:
                troubles.append(error)
        own = {self._open[leg].number: end for leg, end in self._unclosed.items() if leg in self._open}
        await self._stems.finish(now, by, await self._position(), own)
        for trouble in troubles:
            raise trouble

    async def _position(self) -> Position:
        async with self._store.read() as db:
            return await journal.next_position(db)

    # ---- events

    def note(self, event: CallEvent | NotHeard | Heard) -> None:
        """Note an event of the call in its recording, or from when to when a device is not heard."""
        if len(self._notes) >= MOST_NOTES:
            log.warning("event left out, since too many wait: call=%s", self._recording.code)
            return
        self._notes.append(event)
        if len(self._notes) == 1:
            self._work.add(self._write_notes)

    async def _write_notes(self) -> None:
        await self._do("note of an event", self._note_all(), self._write_notes)

    async def _note_all(self) -> None:
        notes = tuple(self._notes)
        async with self._store.write() as db:
            await calls.note(db, self._recording.id, [note for note in notes if isinstance(note, CallEvent)])
            for note in notes:
                if isinstance(note, NotHeard | Heard):
                    await self._apply(db, self._recording.id, note)
        del self._notes[: len(notes)]
        if self._notes:
            self._work.add(self._write_notes)
