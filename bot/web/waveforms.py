"""The picture of an episode's sound: as numbers for players, as bars for its page. Both from the peaks of the track."""

import asyncio
import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from bot.audio.waveform import SLOT, compact, joined, msc3246
from bot.feeds.catalog import Published
from bot.web.caches import Made
from storage import tracks
from storage.records import BlobKey, Recording, Samples, to_ms
from storage.store import Store

BARS = 300
HEIGHT = 40
_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Waveform:
    """`body` is what is sent, `path` the bars as an SVG path in a box of BARS × HEIGHT."""

    body: bytes
    path: str


class Waveforms:
    """Of finished episodes; worked out once for each file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: Made[tuple[BlobKey, datetime], Waveform | None] = Made(_KEPT)

    async def of(self, published: Published) -> Waveform | None:
        """None where nothing is known of the sound: it was joined before peaks were kept."""
        recording, episode = published
        return await self._made.get((episode.blob, episode.made_at), partial(self._make, recording, episode.samples))

    async def _make(self, recording: Recording, samples: Samples) -> Waveform | None:
        async with self._store.read() as db:
            pieces = await tracks.peaks(db, recording.id)
        if not any(some for _, some in pieces):
            return None
        return await asyncio.to_thread(_drawn, pieces, samples)


def _drawn(pieces: tuple[tuple[Samples, bytes | None], ...], samples: Samples) -> Waveform:
    row = joined((length, some or bytes(-(-length // SLOT))) for length, some in pieces)
    body = {"duration_ms": to_ms(samples), "waveform": msc3246(row), "bars": compact(row)}
    return Waveform(json.dumps(body).encode(), path_of(b64decode(compact(row, BARS))))


def path_of(bars: bytes) -> str:
    """A line for each bar, around the middle; one that is silent is a dot."""
    heights = (max(1, round(bar * HEIGHT / 255)) for bar in bars)
    return "".join(f"M{index}.5 {(HEIGHT - height) / 2:g}v{height}" for index, height in enumerate(heights))
