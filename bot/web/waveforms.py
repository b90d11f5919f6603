"""Waveforms of episodes, from the peaks of their tracks: as numbers for players, as an SVG path for the page."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.feeds.catalog import Published
from bot.recording.kinds import lay_out
from bot.web.caches import OnceCache
from bot.web.timeline import timeline_of
from storage import tracks
from storage.records import BlobKey, Chunk, Recording, Samples, to_ms
from storage.store import Store

BARS = 300
HEIGHT = 40
_KEPT = 1024  # waveforms


@dataclass(frozen=True, slots=True)
class Waveform:
    """A waveform: `values` for clients of Matrix, `bars` for the pages' script, one byte each in base64, and `path` as
    an SVG path in a box of BARS × HEIGHT."""

    values: tuple[int, ...]
    bars: str
    path: str


class Waveforms:
    """Waveforms of finished episodes, computed once for each file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waveforms: OnceCache[tuple[BlobKey, datetime], Waveform | None] = OnceCache(_KEPT)

    async def of(self, published: Published) -> Waveform | None:
        """Return the waveform of an episode; None for one that was made before peaks were kept."""
        recording, episode = published
        return await self._waveforms.get((episode.blob, episode.made_at), partial(self._make, recording))

    async def _make(self, recording: Recording) -> Waveform | None:
        async with self._store.read() as db:
            pieces = await tracks.peaks(db, recording.id)
        if not any(known for _, known in pieces):
            return None
        return await asyncio.to_thread(_draw, pieces)


def _draw(pieces: tuple[tuple[Samples, bytes | None], ...]) -> Waveform:
    from bot.audio.waveform import compact, msc3246, whole  # with numpy, which a server without visitors does not need

    row = whole(pieces)
    return Waveform(tuple(msc3246(row)), compact(row), svg_path(b64decode(compact(row, BARS))))


def svg_path(bars: bytes) -> str:
    """Draw a line for each bar, around the middle; a silent one is a dot."""
    heights = (max(1, round(bar * HEIGHT / 255)) for bar in bars)
    return "".join(f"M{index}.5 {(HEIGHT - height) / 2:g}v{height}" for index, height in enumerate(heights))


def waveform_file(published: Published, chunks: Sequence[Chunk], waveform: Waveform) -> bytes:
    """Return the file beside an episode that has its waveform and its timeline. Blocking: a ledger is laid out."""
    recording, episode = published
    timeline = timeline_of(recording, episode, chunks, lay_out(recording, chunks))
    body = {"duration_ms": to_ms(episode.samples), "waveform": waveform.values, **timeline.told(waveform.bars)}
    return json.dumps(body, ensure_ascii=False).encode()
