"""The stems of one call: written together once a second, kept window by window."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from bot.calls.media.door import Sound
from bot.calls.stems.keeping import Keeping
from bot.calls.stems.slices import Slice
from bot.calls.stems.windows import is_over
from bot.calls.stems.writer import StemWriter
from storage.errors import StoreError
from storage.records import LeftBy, Position, RecordingId, Samples, Stem
from storage.stem_files import StemFiles

log = logging.getLogger(__name__)

Result = TypeVar("Result")

NO_ENDS: Mapping[int, tuple[LeftBy, Samples]] = {}


class CallStems:
    """The stems of the call that `recording_id` records. Its methods may be called at the same time."""

    def __init__(self, recording_id: RecordingId, files: StemFiles, keeping: Keeping, threads: Executor) -> None:
        self._recording_id = recording_id
        self._files = files
        self._keeping = keeping
        self._threads = threads
        self._writers: dict[int, StemWriter] = {}
        self._waiting: dict[int, list[Slice]] = defaultdict(list)  # by window
        self._closed: set[int] = set()  # stems whose file waits until their slices are kept
        self._stuck: set[int] = set()  # stems whose last write failed
        self._reached: tuple[tuple[Samples, ...], Samples] = (), Samples(0)  # the ends that are written, and when
        self._alone = asyncio.Lock()

    async def open(self, stem: Stem) -> None:
        """Begin the file of a stem whose row is written (StemOpened). Raises OSError."""
        file = await self._in_thread(partial(self._files.create, self._recording_id, stem.number))
        self._writers[stem.number] = StemWriter(stem, file, self._threads)

    @property
    def is_stuck(self) -> bool:
        """Whether the last write of a stem failed."""
        return bool(self._stuck & self._writers.keys())

    def put(self, number: int, sound: Sound) -> None:
        """Take sound of a stem; what comes before it is open, or after it is closed, is dropped. Returns at once."""
        if (writer := self._writers.get(number)) is not None:
            writer.put(sound)

    async def write(self, now: Samples, position: Position) -> None:
        """Write what has come; once a second. `now`: the present place on the clock of the call, `position`: in the
        journal. A failure is logged, and made good the next time."""
        writers = list(self._writers.values())
        ends = tuple(writer.end for writer in writers)
        await asyncio.gather(*(self._write(writer, now, position) for writer in writers))
        self._reached = ends, now

    async def _write(self, writer: StemWriter, now: Samples, position: Position) -> None:
        number = writer.stem.number
        try:
            self._wait(await writer.advance(now, position))
            self._stuck.discard(number)
        except OSError as error:
            if number not in self._stuck:
                log.error("a stem can't be written: recording=%d stem=%d: %s", self._recording_id, number, error)
                self._stuck.add(number)

    async def keep(self) -> None:
        """Keep the windows that are over, of what is written. A failure is logged, and made good the next time."""
        ends, now = self._reached
        try:
            async with self._alone:
                await self._keep([window for window in self._waiting if is_over(window, ends, now)])
        except (OSError, StoreError) as error:
            log.error("slices can't be kept, trying again: recording=%d: %s", self._recording_id, error)

    async def close(self, number: int, at: Samples, by: LeftBy, position: Position) -> None:
        """End a stem at `at`, or with its last sound if that is later or its device is lost, and write so in its row.
        Its last slices wait for their windows. Raises OSError, StoreError; it can be tried again."""
        writer = self._writers[number]
        closed = await writer.close(min(at, writer.end) if by is LeftBy.LOST else at, position)
        async with self._alone:
            await self._keeping.keep(self._recording_id, (), ((closed, by),))
            del self._writers[number]
            self._wait(closed.slices)
            self._closed.add(number)
            await self._let_go()

    async def finish(
        self, at: Samples, by: LeftBy, position: Position, own: Mapping[int, tuple[LeftBy, Samples]] = NO_ENDS
    ) -> None:
        """End all stems and keep all that is left of them, before the recording ends. `own`: the ends of stems that
        ended before. The trouble of one keeps no other open. Raises OSError, StoreError; it can be tried again, or left
        to recovery."""
        troubles: list[OSError | StoreError] = []
        for number in sorted(self._writers):
            ended, left = own.get(number, (by, at))
            try:
                await self.close(number, left, ended, position)
            except (OSError, StoreError) as error:
                troubles.append(error)
        async with self._alone:
            await self._keep(list(self._waiting))
        for trouble in troubles:
            raise trouble

    def abandon(self) -> None:
        """Let go of all files as they are: recovery keeps what is in them."""
        for writer in self._writers.values():
            writer.abandon()
        self._writers.clear()

    def _wait(self, slices: Iterable[Slice]) -> None:
        for each in slices:
            self._waiting[each.window].append(each)

    async def _keep(self, windows: list[int]) -> None:
        slices = [each for window in sorted(windows) for each in self._waiting[window]]
        if slices:
            await self._keeping.keep(self._recording_id, slices)
        for window in windows:
            del self._waiting[window]
        await self._let_go()

    async def _let_go(self) -> None:
        """Remove the files of closed stems of which everything is kept."""
        held = {each.stem.number for slices in self._waiting.values() for each in slices}
        for number in self._closed - held:
            await self._in_thread(partial(self._files.remove, self._recording_id, number))
            self._closed.discard(number)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
