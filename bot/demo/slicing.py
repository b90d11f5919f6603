"""The speech of the demo, and a slicer that remembers the whole run."""

import functools
from pathlib import Path

from bot.audio.ogg import PacketReader, read_pages
from bot.audio.slicing import HEAD, PACKET, PACKETS_PER_PAGE, PRE_SKIP, Slice
from bot.audio.slicing import Slicer as OneRun
from storage.records import Samples

__all__ = ["HEAD", "PACKET", "PACKETS_PER_PAGE", "PRE_SKIP", "SPEECH_PARTS", "Slice", "Slicer", "speech"]

SPEECH = Path(__file__).parent / "speech"
SPEECH_PARTS = 2


class Slicer(OneRun):
    """The recorder of a client during one run, with slices of one length."""

    def __init__(self, serial: int, chunk_seconds: float) -> None:
        super().__init__(serial, chunk_seconds)
        self._sliced = bytearray()  # the audio pages of all slices so far

    def ogg(self) -> bytes:
        """Join everything in the slices to one Ogg file, as a recorder that cuts nothing would write it."""
        return self._headers + bytes(self._sliced)

    @property
    def audible(self) -> Samples:
        """The number of samples that a decoder gives for `ogg()`."""
        return Samples(max(0, self.samples - PRE_SKIP))

    def _slice(self) -> Slice:
        piece = super()._slice()
        self._sliced += piece.data[len(self._headers) :]
        return piece


@functools.cache
def speech(part: int) -> tuple[bytes, ...]:
    """Read the packets of one part of the shipped speech, counted from 1 (about 27 s and 30 s long)."""
    return _packets(SPEECH / f"part{part}.ogg")


def _packets(path: Path) -> tuple[bytes, ...]:
    reader = PacketReader()
    with path.open("rb") as file:
        packets = [packet for page in read_pages(file) for packet in reader.feed(page)]
    return tuple(packets[2:])  # after OpusHead and OpusTags
