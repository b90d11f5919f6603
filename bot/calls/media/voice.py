"""Our own track: nothing is sent but the beep.

Browsers end a call whose offer has no track, but don't mind a track that sends no packets: the line is kept open by
ICE. So a leg costs nothing for what it doesn't say. The beep is encoded once, for all legs.
"""

import asyncio
import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from aiortc.codecs.opus import OpusEncoder
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

from storage.records import SAMPLE_RATE

PACKET = SAMPLE_RATE // 50
PACKET_S = 0.02
PITCH_HZ = 880
TONE_S = 0.2
TAIL_S = 0.2  # of silence, so that the receiver's concealment doesn't prolong the tone
LOUDNESS = 0.1
_TIME_BASE = Fraction(1, SAMPLE_RATE)


@functools.cache
def beep() -> tuple[bytes, ...]:
    """Encode the tone."""
    time = np.arange(int((TONE_S + TAIL_S) * SAMPLE_RATE)) / SAMPLE_RATE
    swell = np.clip(np.minimum(time, TONE_S - time) / 0.02, 0, 1)
    tone = (np.sin(2 * np.pi * PITCH_HZ * time) * swell * LOUDNESS * 32767).astype(np.int16)
    encoder, packets = OpusEncoder(), []
    for begin in range(0, len(tone), PACKET):
        frame = AudioFrame.from_ndarray(tone[None, begin : begin + PACKET], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, _TIME_BASE, begin
        packets += encoder.encode(frame)[0]
    return tuple(packets)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An Opus packet as aiortc's sender takes it in place of a frame."""

    payload: bytes
    pts: int
    time_base: Fraction = _TIME_BASE

    def __bytes__(self) -> bytes:
        return self.payload


class Voice(MediaStreamTrack):
    """The track of one leg."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._began = asyncio.get_running_loop().time()
        self._packets: list[bytes] = []
        self._wanted = asyncio.Event()
        self._next = 0  # the earliest place of the next packet

    def beep(self) -> None:
        """Play the tone, now or when the leg is connected, unless it plays already."""
        if not self._packets:
            self._packets = list(beep())
            self._wanted.set()

    async def recv(self) -> Encoded:
        """Return the next packet when its time has come."""
        if not self._packets:
            self._wanted.clear()
            await self._wanted.wait()
        now = int((asyncio.get_running_loop().time() - self._began) * SAMPLE_RATE)
        place = max(now, self._next)
        if place > now:
            await asyncio.sleep((place - now) / SAMPLE_RATE)
        self._next = place + PACKET
        return Encoded(self._packets.pop(0), place)
