"""Stand-ins for what takes long: where a process may die is tried some hundred times over."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.audio.encode import MadeEpisode
from bot.audio.plan import Piece, length
from bot.worker import fetching, finishing, pictures
from storage.records import ChunkFacts, Container, Samples, Timing

Step = Callable[[str], None]


def _unnoticed(_: str) -> None:
    """Nobody counts."""


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, step: Step = _unnoticed) -> None:
    """Chunks are a second long, episodes a list of their pieces; `step` hears how far the work is."""

    async def look(part: Path, *_: Any, **__: Any) -> ChunkFacts:
        step("looked into")
        return ChunkFacts(Container.WAV, Timing.EXACT, Samples(48_000), 48_000, 1)

    async def episode(pieces: Sequence[Piece], out: Path, *, workdir: Path, **_: Any) -> MadeEpisode:
        """As many bytes as there are pieces, that no other pieces give."""
        data = repr([(type(one).__name__, one.samples, getattr(one, "path", Path()).name) for one in pieces]).encode()
        await asyncio.to_thread((workdir / "frames").write_bytes, data)
        step("half encoded")
        await asyncio.to_thread(out.write_bytes, data)
        step("encoded")
        return MadeEpisode(len(data), hashlib.sha256(data).hexdigest(), length(pieces), 0.0)

    monkeypatch.setattr(fetching, "inspect_chunk", look)
    monkeypatch.setattr(finishing, "make_episode", episode)
    monkeypatch.setattr(pictures, "drawn_cover", lambda name, key: f"{name} {key}".encode())
