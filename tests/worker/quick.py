"""Stand-ins for what takes long: where a process may die is tried some hundred times over."""

import asyncio
import hashlib
import os
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
from bot.worker import covering, fetching
from storage.records import ChunkFacts, Container, Samples, Timing

EVERY = 1 if os.environ.get("AIRCHECK_KILL_POINTS") == "all" else 8
"""Long stories die at one of so many points each time: each death costs two stories. AIRCHECK_KILL_POINTS=all tries all
of them."""
Step = Callable[[str], None]
SECOND = ChunkFacts(Container.WAV, Timing.EXACT, Samples(48_000), 48_000, 1)


def _unnoticed(_: str) -> None:
    """Nobody counts."""


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, step: Step = _unnoticed) -> None:
    """Chunks are a second long, frames say which pieces they hear; `step` hears how far the work is."""

    async def look(part: Path, *_: Any, **__: Any) -> ChunkFacts:
        step("looked into")
        return SECOND

    monkeypatch.setattr(fetching, "inspect_chunk", look)

    async def square(*_: Any) -> bytes:
        return b"square"

    monkeypatch.setattr(covering, "safe_cover", square)
    monkeypatch.setattr(covering, "drawn_cover", lambda name, key: f"{name} {key}".encode())
    without_encoder(monkeypatch, step)


def without_encoder(monkeypatch: pytest.MonkeyPatch, step: Step = _unnoticed) -> None:
    """Frames are made by hand: as many as an encoder makes, each another one where other pieces are heard."""

    async def make(self: Rendering, first: int, frames: int | None, out: Path, warm: Warm | None = None) -> Rendered:
        ends = [*accumulate(cut.samples for cut in self.cuts)]
        count = -(-(ends[-1] + DELAY) // FRAME) - first if frames is None else frames
        step("half encoded")
        data = b"".join(_frame(self, ends, first + number) for number in range(count))
        for index, cut in enumerate(self.cuts):
            if cut.gains is None and ends[index] - cut.samples < (first + count) * FRAME:
                level = leveller.begin(0.0).to_json()
                self.decided[index] = Decided(replace(cut, gains=b"\0\0", level=level), b"")
        await asyncio.to_thread(out.write_bytes, data)
        step("encoded")
        return Rendered(count, hashlib.sha256(data).hexdigest(), len(data))

    monkeypatch.setattr(Rendering, "make", make)


def _frame(rendering: Rendering, ends: Sequence[int], number: int) -> bytes:
    """Return the keys of the pieces that are heard in a frame, and their places in it."""
    begins = [end - cut.samples for end, cut in zip(ends, rendering.cuts, strict=True)]
    heard = [
        (cut.key, number * FRAME - begin)
        for begin, end, cut in zip(begins, ends, rendering.cuts, strict=True)
        if begin < (number + 1) * FRAME and end > number * FRAME
    ]
    return hashlib.sha256(repr(heard).encode()).digest() * (rendering.form.frame_bytes // 32)
