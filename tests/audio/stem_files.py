"""Stems of a call for tests: a sound as the Opus packets that a client sends, in Ogg slices of a window each."""

import hashlib
import io
import subprocess
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.audio.ogg import BEGINS, OggPage, lacing_of, write_page
from bot.audio.opus import facts_of, filled, opus_streams
from bot.audio.opus_head import TAGS, usual_head
from bot.audio.opus_packets import duration
from bot.recording.call.layout import WINDOW
from storage.records import (
    SAMPLE_RATE,
    BlobKey,
    Chunk,
    ChunkFacts,
    ChunkId,
    ChunkState,
    Position,
    RecordingId,
    Samples,
    UserId,
)
from tests.factories import ALICE

ENCODER_DELAY = 312  # samples by which sound comes out of a decoder late; a packet is placed so much earlier
PER_PAGE = 50


@dataclass(frozen=True)
class Slice:
    stem: int
    at: int
    data: bytes
    facts: ChunkFacts

    @property
    def key(self) -> BlobKey:
        return BlobKey(hashlib.sha256(self.data).hexdigest())

    def chunk(self, recording: RecordingId, sender: str = ALICE) -> Chunk:
        return Chunk(
            id=ChunkId(f"call-{recording}-{self.stem}-{self.at}"),
            recording_id=recording,
            event_id=None,
            sender=UserId(sender),
            position=Position(self.at // WINDOW + 10),
            state=ChunkState.STORED,
            blob=self.key,
            bytes=len(self.data),
            facts=self.facts,
            stem=self.stem,
            at=Samples(self.at),
        )


def packets_of(exe: str, sound: NDArray[np.float32], kbps: int = 32) -> list[bytes]:
    """Encode a sound as WebRTC clients do: libopus, 20 ms a packet."""
    source = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:")
    form = (
        "-c:a",
        "libopus",
        "-b:a",
        f"{kbps}k",
        "-application",
        "voip",
        "-frame_duration",
        "20",
        "-f",
        "ogg",
        "pipe:",
    )
    command = [exe, "-v", "error", *source, *form, "-f", "ogg", "pipe:"]
    made = subprocess.run(command, input=sound.astype("<f4").tobytes(), capture_output=True, check=True).stdout
    file = io.BytesIO(made)
    streams = opus_streams(file, max_samples=1 << 40)
    file.seek(0)
    return [packet for _, packet, fill in filled(file, streams) if fill is None]


def slices_of(packets: list[bytes], stem: int = 1, joined: int = 0) -> list[Slice]:
    """Cut a stem whose first packet was spoken at `joined`: a packet belongs to the window in which it begins."""
    at = joined = max(0, joined - ENCODER_DELAY)
    made: list[Slice] = []
    number = 2
    groups: dict[int, list[tuple[int, bytes]]] = {}
    for packet in packets:
        groups.setdefault(at // WINDOW, []).append((at, packet))
        at += duration(packet)
    for group in groups.values():
        head = usual_head(1).with_pre_skip(0)
        data = _page(BEGINS, 0, stem, 0, [head]) + _page(0, 0, stem, 1, [TAGS])
        for first in range(0, len(group), PER_PAGE):
            page = group[first : first + PER_PAGE]
            granule = page[-1][0] + duration(page[-1][1]) - joined
            data += _page(0, granule, stem, number, [packet for _, packet in page])
            number += 1
        facts = facts_of(opus_streams(io.BytesIO(data), max_samples=1 << 40))
        made.append(Slice(stem, group[0][0], data, facts))
    return made


def _page(flags: int, granule: int, serial: int, number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(map(lacing_of, packets))
    return write_page(OggPage(flags, granule, serial, number, lacing, b"".join(packets)))
