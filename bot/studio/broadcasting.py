"""A broadcast that is made of continuous sound: one writer for the shell and for source clients.

Sound comes as packets of Opus in one stream. It is cut into slices that are written one after the other; nothing more
is taken until a slice is on the disk, so that a slow disk slows the source, and memory holds a slice or two. A slice
that was written by halves when the process stopped is written again: each step can be repeated.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

from bot.audio.opus_arriving import Stretch
from bot.audio.opus_head import TAGS, Head
from bot.audio.opus_packets import duration
from bot.audio.slicing import Slice, Slicer
from bot.recording.model import Change
from bot.recording.policy import MAX_CHUNKS
from bot.studio.life import Problem
from bot.studio.writing import StudioRefusedError, Taken, Writing
from storage import studios
from storage.errors import DiskFullError, OwnerLostError, StoreError, StoreTooNewError
from storage.private import synced
from storage.records import SAMPLE_RATE, BlobKey, Samples, StudioId, StudioState
from storage.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = (1.0, 2.0, 5.0)
"""The lengths of slices, the last one of all further ones: it is live at once, and then costs little."""
SPARE = 1.1
"""Slices that are left for each one that is needed: runs end with short ones."""
PRE_ROLL = Samples(3840)
"""Samples that are sent again, and skipped, where a run begins in the middle of a stream: decoders need them."""
PAGE = Samples(SAMPLE_RATE // 5)
TROUBLE_S = (1.0, 2.0, 5.0, 10.0)
"""Pauses before a slice is written again, after the store refused it; the last one again and again."""
MOST_TROUBLE_S = 900.0
CATCH_UP_S = 60.0


class TooLongError(Exception):
    """A broadcast that is as long as one may be."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A slice that is cut and not acknowledged."""

    number: int
    piece: Slice


class Pace:
    """The pace of a source: real time, and at most `lead_s` ahead of it. What stood still may catch up a minute, or
    `catch_up_s`."""

    def __init__(
        self,
        lead_s: float,
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        catch_up_s: float = CATCH_UP_S,
    ) -> None:
        self._now = now or asyncio.get_running_loop().time
        self._sleep = sleep
        self._lead_s = lead_s
        self._catch_up_s = catch_up_s
        self._due: float | None = None  # when all sound so far has been heard

    async def keep(self, samples: int) -> None:
        """Wait until so much more sound may be sent."""
        now = self._now()
        due = now if self._due is None else max(self._due, now - self._catch_up_s)
        self._due = due + samples / SAMPLE_RATE
        if (ahead := self._due - now - self._lead_s) > 0:
            await self._sleep(ahead)


class Broadcasting:
    """The writer of one studio's broadcast, for as long as its source stays. It begins with the first sound.

    `client` goes on with a broadcast that it began, or with `takes_over` with that of any client before it. Methods
    raise StudioRefusedError, StoreError when the store is away for long, and `put` TooLongError.
    """

    def __init__(
        self,
        store: Store,
        writing: Writing,
        studio_id: StudioId,
        client: str,
        max_seconds: float,
        *,
        takes_over: bool = False,
    ) -> None:
        self._store = store
        self._writing = writing
        self._studio_id = studio_id
        self._client = client
        self._takes_over = takes_over
        self._most = max_seconds * SAMPLE_RATE
        self._slicer: Slicer | None = None
        self._head: Head | None = None  # of the stream that came last
        self._before: deque[bytes] = deque()  # its newest packets, as long as a pre-roll
        self._held: Stretch | None = None  # the newest: it may be the last, whose end is cut
        self._due: deque[_Due] = deque()
        self.patience_s = MOST_TROUBLE_S
        self.begun = False
        self._may_have_begun = False  # this was asked for, whatever came of it
        self.paused = False
        self.number = 0  # of the newest slice
        self.samples = 0  # of all slices, also of earlier sources of this broadcast
        self._came = 0  # the same, with what is in no slice yet

    async def play(self, sound: AsyncIterator[Stretch], pace: Pace | None = None) -> None:
        """Write all sound of a source, not faster than `pace`."""
        async for stretch in sound:
            if pace is not None:
                await pace.keep(stretch.samples)
            await self.put(stretch)

    async def put(self, stretch: Stretch) -> None:
        """Take sound in; what is full is on the disk when this returns."""
        if not self.begun:
            await self._begin()
        elif self.paused:
            await self._resume()
        if stretch.head is not None and (self._slicer is not None or self._held is not None):
            await self._end_run()
        if self._held is not None:
            self._feed(self._held)
        self._held = stretch
        if stretch.head is not None:
            self._head = stretch.head
            self._before.clear()
        if self._slicer is None:
            self._begin_run()
        self._remember(stretch)
        await self._write_due()
        if stretch.ends:
            await self._end_run()
        self._came += stretch.samples
        if self._came >= self._most:
            raise TooLongError

    async def pause(self) -> None:
        """End the run: the source is away, or sends nothing, and may come back. Nothing is done where nothing began."""
        await self._end(Change.PAUSED)

    async def hold(self) -> None:
        """Show that the source is there, though nothing comes from it, and nobody else may take its place."""
        if self.begun and not self.paused:
            await self._writing.hold(self._studio_id, self._client)

    async def stop(self) -> None:
        """End the broadcast. Nothing is done where nothing began."""
        await self._end(Change.STOPPED)

    async def _end(self, change: Change) -> None:
        if not self._may_have_begun:
            return
        await self._end_run()
        last = (self.number or None) if change is Change.STOPPED else None
        try:
            await self._again(partial(self._writing.change, self._studio_id, self._client, change, last))
            self.paused = change is Change.PAUSED
        except StudioRefusedError as error:
            if self.begun or error.problem is not Problem.WAITING:
                raise

    # ---- steps

    async def _begin(self) -> None:
        self._may_have_begun = True
        start = partial(self._writing.start, self._studio_id, self._client, takes_over=self._takes_over)
        await self._again(start)
        state = await self._again(self._read)
        if state is StudioState.PAUSED:
            await self._resume()
        self._came += self.samples
        self.begun = True

    async def _read(self) -> StudioState | None:
        """Read how far an earlier source of this broadcast came; return the studio's state."""
        async with self._store.read() as db:
            studio = await studios.get(db, self._studio_id)
            self.number = await studios.last_number(db, self._studio_id) or 0
            self.samples = await studios.length_ms(db, self._studio_id) * SAMPLE_RATE // 1000
        return studio.state if studio is not None else None

    async def _resume(self) -> None:
        await self._again(partial(self._writing.change, self._studio_id, self._client, Change.RESUMED))
        self.paused = False

    def _begin_run(self) -> None:
        """Begin a run with the stream, or in the middle of one, whose sound goes on where the last run ended."""
        assert self._head is not None, "a stream begins with its head"
        before = list(self._before)
        head = self._head.with_pre_skip(sum(map(duration, before)) if before else self._head.pre_skip)
        self._slicer = Slicer(secrets.randbits(32), self._lengths(), head=head, tags=TAGS, page=PAGE)
        self._cut(*self._slicer.feed(before))

    def _lengths(self) -> Sequence[float]:
        """Return the lengths of a run's slices: the first of all are short, and of none there are more than a recording
        has chunks."""
        left = max(0.0, self._most - self.samples) / SAMPLE_RATE
        longest = max(SECONDS[-1], SPARE * left / max(1, MAX_CHUNKS - self.number))
        return (longest,) if self.number else (*SECONDS[:-1], longest)

    def _remember(self, stretch: Stretch) -> None:
        """Keep the newest packets of the stream, which a run that begins behind them needs."""
        self._before.extend(stretch.packets)
        length: int = sum(map(duration, self._before))
        while self._before and (length := length - duration(self._before[0])) >= PRE_ROLL:
            self._before.popleft()

    def _feed(self, stretch: Stretch) -> None:
        assert self._slicer is not None
        self._cut(*self._slicer.feed(stretch.packets))

    async def _end_run(self) -> None:
        """Write what is left of the run, the last page with its end."""
        slicer, held = self._slicer, self._held
        self._slicer = self._held = None
        if slicer is not None:
            packets, trim = (held.packets, held.trim) if held is not None else ((), 0)
            if not trim:
                self._cut(*slicer.feed(packets))
                packets = ()
            self._cut(slicer.end(packets, trim))
        await self._write_due()

    def _cut(self, *pieces: Slice) -> None:
        for piece in pieces:
            self.number += 1
            self.samples += piece.samples
            self._due.append(_Due(self.number, piece))

    async def _write_due(self) -> None:
        while self._due:
            due = self._due[0]
            await self._again(partial(self._write, due))
            self._due.popleft()

    async def _write(self, due: _Due) -> Taken:
        # Each try has a file of its own: a thread of one that was cancelled may still write.
        data, file = due.piece.data, self._store.blobs.part(f"studio-{self._studio_id}-{secrets.token_hex(8)}")
        try:
            await asyncio.to_thread(_write_file, file, data)
            blob = BlobKey(sha256(data).hexdigest())
            return await self._writing.add(
                self._studio_id, self._client, due.number, file, blob, len(data), due.piece.duration_ms
            )
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)

    async def _again(self, step: Callable[[], Awaitable[T]]) -> T:
        """Do a step, and again while the store can't be used, for so long as `patience_s`."""
        waited = 0.0
        for pause in chain(TROUBLE_S, repeat(TROUBLE_S[-1])):
            try:
                return await step()
            except (StoreTooNewError, OwnerLostError):
                raise
            except (StoreError, OSError, StudioRefusedError) as error:
                trouble = _trouble(error)
                if waited >= self.patience_s:
                    raise trouble from None
                log.warning("a studio's sound waits: studio=%d: %s", self._studio_id, trouble)
            await asyncio.sleep(pause)
            waited += pause
        raise AssertionError


def _trouble(error: StoreError | OSError | StudioRefusedError) -> StoreError:
    """Return what may pass by itself as the store's trouble. Raises what is refused for good."""
    if isinstance(error, StudioRefusedError):
        if error.problem is not Problem.DISK_FULL:
            raise error
        return DiskFullError("too little disk space is left (storage.min_free_bytes)")
    if isinstance(error, OSError):
        return StoreError(f"a slice can't be written: {error.strerror or type(error).__name__}")
    return error


def _write_file(file: Path, data: bytes) -> None:
    with synced(file) as out:
        out.write(data)
