"""The writer of one stem: it takes sound on the event loop, and writes its file in a thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from bot.calls.media.door import OpusPacket, Sound
from bot.calls.stems.slices import Slice, slice_of
from bot.calls.stems.stream import ENCODER_DELAY, StemStream
from storage.records import BlobKey, Position, Samples, Stem
from storage.stem_files import GrowingFile

MOST_WAITING = 3000  # packets: a minute of sound, while the disk stalls
MOST_UNWRITTEN = 1 << 22  # bytes that a full disk may hold up; sound beyond counts as lost

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Closed:
    """A stem that has ended: its file is whole and on the disk."""

    stem: Stem
    left: Samples  # where it ends on the clock of the call
    received: Samples
    lost: Samples
    key: BlobKey | None  # None: its file can't be read, or is not to be kept
    bytes: int
    slices: tuple[Slice, ...]  # the last ones
    count: int  # of all its slices


class StemWriter:
    """A writer of the stem that `stem` describes. `file`: its new file, empty."""

    def __init__(self, stem: Stem, file: GrowingFile, threads: Executor) -> None:
        self.stem = stem
        self.end = stem.joined
        """The end of the sound so far on the clock of the call, written or not."""
        self._file = file
        self._threads = threads
        self._stream = StemStream(stem.joined, stem.serial)
        self._waiting: list[OpusPacket] = []
        self._unwritten = b""
        self._dropped = 0  # samples
        self._left: Samples | None = None
        self._closed: Closed | None = None
        self._begun = stem.position  # of the run that grows, or before it
        self._seen = stem.position
        self._count = 0  # slices so far
        self._alone = asyncio.Lock()

    def put(self, sound: Sound) -> None:
        """Take sound. Returns at once, in constant memory."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += sound.samples
            return
        self._waiting.append(sound)
        self.end = Samples(max(self.end, sound.at - ENCODER_DELAY + sound.samples))

    async def advance(self, now: Samples, position: Position) -> tuple[Slice, ...]:
        """Write all sound so far to the disk, and return the slices that have ended. `position`: the journal's at
        present. Raises OSError; the sound is written the next time then."""
        async with self._alone:
            end = self.end
            return await self._in_thread(lambda packets: self._advance(packets, end, now, position))

    async def close(self, at: Samples, position: Position) -> Closed:
        """End the stem at `at`, or with its last sound if that is later; its file is whole and on the disk then. Raises
        OSError; it can be tried again."""
        async with self._alone:
            return await self._in_thread(lambda packets: self._close(packets, at, position))

    def abandon(self) -> None:
        """Let go of the file as it is, as if the process had died: recovery finds it."""
        self._file.close()

    async def _in_thread(self, work: Callable[[Sequence[OpusPacket]], Result]) -> Result:
        packets, self._waiting = self._waiting, []
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, packets)

    # ---- in a thread

    def _advance(
        self, packets: Sequence[OpusPacket], end: Samples, now: Samples, position: Position
    ) -> tuple[Slice, ...]:
        if self._left is not None:
            return ()
        self._put(packets)
        self._stream.cut_if_over(end, now)
        self._write()
        return self._slices(position)

    def _close(self, packets: Sequence[OpusPacket], at: Samples, position: Position) -> Closed:
        if self._closed is not None:
            return self._closed
        if self._left is None:
            self._put(packets)
            self._left = self._stream.finish(at)
        self._write()
        self._file.close()
        slices = self._slices(position)
        self._closed = Closed(
            self.stem,
            self._left,
            Samples(self._stream.received),
            Samples(self._stream.lost + self._dropped),
            self._file.key,
            self._file.size,
            slices,
            self._count,
        )
        return self._closed

    def _put(self, packets: Sequence[OpusPacket]) -> None:
        for packet in packets:
            if len(self._unwritten) > MOST_UNWRITTEN:
                self._dropped += packet.samples
            else:
                self._stream.put(packet)

    def _write(self) -> None:
        self._unwritten += self._stream.take()
        if self._unwritten:
            self._file.add(self._unwritten)
            self._unwritten = b""

    def _slices(self, position: Position) -> tuple[Slice, ...]:
        """Return the slices that have ended, each with a place in the journal that was reached when it began."""
        slices = []
        for run in self._stream.runs():
            if (made := slice_of(self.stem, self._stream.headers, run, self._begun)) is not None:
                slices.append(made)
            self._begun = self._seen
        self._seen = position
        self._count += len(slices)
        return tuple(slices)
