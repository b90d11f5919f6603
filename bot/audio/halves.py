"""A long stretch of sound, encoded by two encoders at once: the frames of one, in half the time.

Frames are independent: an encoder that begins ENCODER_PRE_ROLL frames earlier gives the same bytes. So the second one
takes the sound from there on, and the first one AHEAD frames more than its own. The second costs 15 ms of CPU, which is
spent only while no other sound is encoded.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from bot.audio.ffmpeg import SHORT_S
from bot.audio.grid import SEGMENT_FRAMES, samples_of, whole_frames
from bot.audio.track import AHEAD, ENCODER_PRE_ROLL
from storage.records import SAMPLE_RATE

SHORTEST = 4 * SEGMENT_FRAMES  # frames of a half: 24 s
LONGEST = int(SHORT_S * SAMPLE_RATE)  # samples; beyond it there is one encoder at a time, and half is much memory
_MOST_WAITING = 2  # blocks, once the first half has got all of its own

Encode = Callable[[AsyncIterator[bytes]], Awaitable[None]]


def middle_of(begin: int, end: int) -> int | None:
    """Return the frame with which the second half of a stretch begins, given samples; None if the stretch is short, or
    so long that its encoders would wait for each other."""
    frames = whole_frames(end - begin)
    return whole_frames(begin) + frames // 2 if frames >= 2 * SHORTEST and end - begin <= LONGEST else None


@dataclass(slots=True)
class _Half:
    """The part of the sound that one encoder gets."""

    begin: int
    end: int
    blocks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    def share(self, block: bytes, at: int, size: int) -> bytes:
        """Return the share of a block that begins at sample `at`."""
        samples = len(block) // size
        first, last = (min(max(0, border - at), samples) for border in (self.begin, self.end))
        return block[first * size : last * size]

    async def taken(self) -> AsyncIterator[bytes]:
        while (block := await self.blocks.get()) is not None:
            yield block


async def encode_halves(
    blocks: AsyncIterator[bytes], begin: int, middle: int, size: int, first: Encode, second: Encode
) -> None:
    """Encode the sound from sample `begin` on, with `size` bytes a sample, in two halves, the second of which begins at
    frame `middle`. Up to half of the sound waits in memory, so that the second encoder need not wait for the first.
    Raises what the first failure raises."""
    former = _Half(begin, samples_of(middle + AHEAD))
    latter = _Half(samples_of(middle - ENCODER_PRE_ROLL), sys.maxsize, asyncio.Queue(_MOST_WAITING))
    await _all(_hand_out(blocks, begin, size, former, latter), first(former.taken()), second(latter.taken()))


async def _hand_out(blocks: AsyncIterator[bytes], at: int, size: int, former: _Half, latter: _Half) -> None:
    async for block in blocks:
        if share := former.share(block, at, size):
            former.blocks.put_nowait(share)
        if at < former.end <= at + len(block) // size:
            former.blocks.put_nowait(None)
        if share := latter.share(block, at, size):
            await latter.blocks.put(share)
        at += len(block) // size
    if at < former.end:
        former.blocks.put_nowait(None)
    await latter.blocks.put(None)


async def _all(*work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
    """Do all of it at once; when one part fails, cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
