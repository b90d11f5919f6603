"""Stand-ins for what takes long: where a process may die is tried some hundred times over."""

import asyncio
import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from bot.audio import leveller
from bot.audio.deciding import Decided
from bot.audio.grid import FRAME
from bot.audio.mp3 import DELAY
from bot.audio.render import Rendered, Rendering, Warm
from bot.worker import choosing_cover, covering, fetching, finishing
from storage.records import ChunkFacts, Container, Samples, Timing

EVERY = 1 if os.environ.get("AIRCHECK_KILL_POINTS") == "all" else 48
"""Long stories die at one of so many points each time: each death costs two stories. AIRCHECK_KILL_POINTS=all tries all
of them."""
Step = Callable[[str], None]
SECOND = ChunkFacts(Container.WAV, Timing.EXACT, Samples(48_000), 48_000, 1)


def _unnoticed(_: str) -> None:
    """Nobody counts."""


def every(few: int) -> int:
    """Return the step of a shorter story: one of so many points, or all of them."""
    return min(few, EVERY)


def numbered(asked: Sequence[str]) -> list[tuple[int, str]]:
    """Pick the requests to die at: one of so many, and the last of each kind."""
    last_of_each = {what: number for number, what in enumerate(asked, start=1)}
    numbers = {*range(1, len(asked) + 1, EVERY), *last_of_each.values()}
    return [(number, asked[number - 1]) for number in sorted(numbers)]


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, step: Step = _unnoticed) -> None:
    """Chunks are a second long, frames say which pieces they hear; `step` hears how far the work is."""

    async def look(part: Path, *_: Any, **__: Any) -> ChunkFacts:
        step("looked into")
        return SECOND

    monkeypatch.setattr(fetching, "inspect_chunk", look)

    without_pictures(monkeypatch)
    without_encoder(monkeypatch, step)


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are a few bytes: none is decoded or drawn."""

    async def square(*_: Any) -> bytes:
        return b"square"

    monkeypatch.setattr(covering, "safe_picture", square)
    for module in (covering, choosing_cover):
        monkeypatch.setattr(module, "fitted", lambda picture, key: picture)
    monkeypatch.setattr(covering, "drawn_cover", lambda name, key: f"{name} {key}".encode())
    monkeypatch.setattr(finishing, "small", lambda picture, side, most: picture)


def without_encoder(monkeypatch: pytest.MonkeyPatch, step: Step = _unnoticed) -> None:
    """Frames are made by hand: as many as an encoder makes, each another one where other pieces are heard."""

    async def frames_of(self: Rendering, first: int, frames: int | None) -> tuple[bytes, int]:
        ends = [*accumulate(cut.samples for cut in self.cuts)]
        count = -(-(ends[-1] + DELAY) // FRAME) - first if frames is None else frames
        step("half encoded")
        data = b"".join(_frame(self, ends, first + number) for number in range(count))
        for index, cut in enumerate(self.cuts):
            if cut.gains is None and ends[index] - cut.samples < (first + count) * FRAME:
                level = leveller.begin(0.0).to_json()
                self.decided[index] = Decided(replace(cut, gains=b"\0\0", level=level), b"")
        return data, count

    async def make(self: Rendering, first: int, frames: int | None, out: Path, warm: Warm | None = None) -> Rendered:
        data, count = await frames_of(self, first, frames)
        await asyncio.to_thread(out.write_bytes, data)
        step("encoded")
        return Rendered(count, hashlib.sha256(data).hexdigest(), len(data))

    async def make_to_end(
        self: Rendering, first: int, frames: int, out: Path, warm: Warm | None = None
    ) -> tuple[Rendered, bytes]:
        return await make(self, first, frames, out), await last(self, first + frames)

    async def last(self: Rendering, first: int, warm: Warm | None = None) -> bytes:
        data, _ = await frames_of(self, first, None)
        return data

    monkeypatch.setattr(Rendering, "make", make)
    monkeypatch.setattr(Rendering, "make_to_end", make_to_end)
    monkeypatch.setattr(Rendering, "last", last)


def _frame(rendering: Rendering, ends: Sequence[int], number: int) -> bytes:
    """Return the keys of the pieces that are heard in a frame, and their places in it."""
    first, last = number * FRAME, (number + 1) * FRAME
    heard = []
    for index in range(bisect_right(ends, first), len(ends)):
        cut = rendering.cuts[index]
        begin = ends[index] - cut.samples
        if begin >= last:
            break
        heard.append((cut.key, first - begin))
    return hashlib.sha256(repr(heard).encode()).digest() * (rendering.form.frame_bytes // 32)
