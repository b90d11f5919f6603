"""The Ogg stream of a stem (RFC 7845): packets in, bytes of its file and runs of pages out.

- The file is one stream without a hole: digital silence of the same length stands where no packet came. So granules,
  sound and the clock of the call agree in any player.
- An encoder's sound comes out of a decoder 312 samples late. A packet is therefore placed so much earlier, in place of
  a pre-skip: a sample of the file at granule g was spoken at `joined` + g. So a slice needs no pre-skip either.
- A page never reaches over the border of two windows, so a slice is a run of whole pages.
- The padding of silent packets says why they stand there, so that a file alone tells what was received and lost.
"""

from dataclasses import dataclass
from enum import IntEnum

from bot.audio.ogg import BEGINS, ENDS, OggPage, lacing_of, write_page
from bot.audio.opus_head import TAGS, head_of
from bot.audio.opus_packets import SILENT_UNIT, digital_silence, length_of, well_formed
from bot.calls.media.door import OpusPacket
from bot.calls.stems.windows import end_of, is_over, window_of
from storage.records import SAMPLE_RATE, Samples

ENCODER_DELAY = 312  # samples: libopus' lookahead in all modes that WebRTC uses
PAGE = SAMPLE_RATE  # samples; a page ends once it has so many
FIRST_PAGE = 2  # behind the two headers


class Silence(IntEnum):
    """The reasons for silence in a stem, as the padding of its packets tells them."""

    LOST = 1  # sent, and lost on the way
    UNSENT = 2  # nothing was sent


def begin_of(sound: OpusPacket) -> Samples:
    """Return where a stem begins that begins with this packet: `Stem.joined`."""
    return Samples(max(0, sound.at - ENCODER_DELAY))


@dataclass(frozen=True, slots=True)
class Run:
    """Pages of a stem that lie in one window."""

    first_page: int
    at: Samples  # where their sound begins on the clock of the call
    offset: int  # in the stem's file
    pages: bytes


class StemStream:
    """The stream of one stem, from its headers to its end."""

    def __init__(self, joined: Samples, serial: int) -> None:
        self.joined = joined
        self.at = joined  # the place of the next packet on the clock of the call
        self.received = self.lost = 0  # samples
        self._serial = serial
        self._number = 0
        self._size = 0  # bytes of all pages
        self._packets: list[bytes] = []  # of the page that grows
        self._lacing = bytearray()
        self._page_samples = 0
        self._out: list[bytes] = []  # pages that were not taken yet
        self._run: list[bytes] = []  # pages of the run that grows
        self._run_at = joined
        self._run_number = FIRST_PAGE
        self._sounds = False  # the run holds a packet that was received
        self._runs: list[Run] = []
        for flags, packet in ((BEGINS, head_of(channels=1, pre_skip=Samples(0)).packet), (0, TAGS)):
            self._out.append(self._page(flags, packet, lacing_of(packet)))
        self.headers = b"".join(self._out)
        self._run_offset = self._size

    # ---- sound

    def put(self, packet: OpusPacket) -> None:
        """Add a packet, after silence up to its place. One that begins before the end of the sound so far is dropped;
        one that no decoder takes counts as lost."""
        gap = packet.at - ENCODER_DELAY - self.at
        if gap < -SILENT_UNIT // 2:
            return
        if length_of(packet.payload) != packet.samples or not well_formed(packet.payload):
            self.lost += packet.samples
            return
        lost = min(gap, packet.lost_before)
        self.lost += max(0, lost)
        self._rest(_whole(lost), Silence.LOST)
        self._rest(_whole(packet.at - ENCODER_DELAY - self.at), Silence.UNSENT)
        self.received += packet.samples
        self._enter(self.at)
        self._sounds = True
        self._add(packet.payload, packet.samples)

    def _rest(self, samples: int, why: Silence) -> None:
        """Add silence, in parts that begin where a window does."""
        while samples > 0:
            to_border = -(-(end_of(window_of(self.at)) - self.at) // SILENT_UNIT) * SILENT_UNIT
            part = min(samples, to_border)
            self._enter(self.at)
            for packet in digital_silence(part, why):
                self._add(packet, length_of(packet) or 0)
            samples -= part

    def _enter(self, at: Samples) -> None:
        """Begin another run where another window begins."""
        if window_of(at) != window_of(self._run_at):
            self.cut()

    def _add(self, packet: bytes, samples: int) -> None:
        lacing = lacing_of(packet)
        if self._page_samples >= PAGE or len(self._lacing) + len(lacing) > 255:
            self._end_page()
        self._packets.append(packet)
        self._lacing += lacing
        self._page_samples += samples
        self.at = Samples(self.at + samples)

    # ---- pages

    def take(self) -> bytes:
        """Return the bytes that the file has gained since the last time. Ends the page that grows."""
        self._end_page()
        taken = b"".join(self._out)
        self._out.clear()
        return taken

    def runs(self) -> tuple[Run, ...]:
        """Return the runs that have ended since the last time and hold sound that was received."""
        runs = tuple(self._runs)
        self._runs.clear()
        return runs

    def cut_if_over(self, end: Samples, now: Samples) -> None:
        """End the run if its window is over for a stem whose sound reaches `end`."""
        if is_over(window_of(self._run_at), (end,), now):
            self.cut()

    def cut(self) -> None:
        """End the run: what comes next is in another slice."""
        self._end_page()
        if self._sounds:
            self._runs.append(Run(self._run_number, self._run_at, self._run_offset, b"".join(self._run)))
        self._run.clear()
        self._run_at, self._run_number, self._run_offset = self.at, self._number, self._size
        self._sounds = False

    def finish(self, at: Samples) -> Samples:
        """End the stream at `at`, or with its last sound if that is later. Return where it ends."""
        end = max(at, self.at)
        self._rest(-(-(end - self.at) // SILENT_UNIT) * SILENT_UNIT, Silence.UNSENT)
        self.at = end  # the granule of the last page cuts off the surplus
        self._end_page(ENDS)
        self.cut()
        return end

    def _end_page(self, flags: int = 0) -> None:
        if not self._packets and not flags & ENDS:
            return
        page = self._page(flags, b"".join(self._packets), bytes(self._lacing))
        self._out.append(page)
        self._run.append(page)
        self._packets.clear()
        self._lacing.clear()
        self._page_samples = 0

    def _page(self, flags: int, body: bytes, lacing: bytes) -> bytes:
        granule = self.at - self.joined
        page = write_page(OggPage(flags, granule, self._serial, self._number, lacing, body))
        self._number += 1
        self._size += len(page)
        return page


def _whole(samples: int) -> int:
    """Round samples to what silence can be made of."""
    return max(0, (samples + SILENT_UNIT // 2) // SILENT_UNIT * SILENT_UNIT)
