"""Waveforms of episodes, from the peaks of their tracks: as numbers for players, as an SVG path for the page."""

import asyncio
import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.audio.waveform import compact, msc3246, whole
from bot.feeds.catalog import Published
from bot.web.caches import OnceCache
from storage import tracks
from storage.records import BlobKey, Recording, Samples, to_ms
from storage.store import Store

BARS = 300
HEIGHT = 40
_KEPT = 1024  # waveforms


@dataclass(frozen=True, slots=True)
class Waveform:
    """A waveform: `body` as JSON, `path` as an SVG path in a box of BARS × HEIGHT."""

    body: bytes
    path: str


class Waveforms:
    """Waveforms of finished episodes, computed once for each file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waveforms: OnceCache[tuple[BlobKey, datetime], Waveform | None] = OnceCache(_KEPT)

    async def of(self, published: Published) -> Waveform | None:
        """Return the waveform of an episode; None for one that was made before peaks were kept."""
        recording, episode = published
        return await self._waveforms.get(
            (episode.blob, episode.made_at), partial(self._make, recording, episode.samples)
        )

    async def _make(self, recording: Recording, samples: Samples) -> Waveform | None:
        async with self._store.read() as db:
            pieces = await tracks.peaks(db, recording.id)
        if not any(known for _, known in pieces):
            return None
        return await asyncio.to_thread(_draw, pieces, samples)


def _draw(pieces: tuple[tuple[Samples, bytes | None], ...], samples: Samples) -> Waveform:
    row = whole(pieces)
    body = {"duration_ms": to_ms(samples), "waveform": msc3246(row), "bars": compact(row)}
    return Waveform(json.dumps(body).encode(), svg_path(b64decode(compact(row, BARS))))


def svg_path(bars: bytes) -> str:
    """Draw a line for each bar, around the middle; a silent one is a dot."""
    heights = (max(1, round(bar * HEIGHT / 255)) for bar in bars)
    return "".join(f"M{index}.5 {(HEIGHT - height) / 2:g}v{height}" for index, height in enumerate(heights))
