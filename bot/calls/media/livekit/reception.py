"""The reception of one stream of packets: what of it is missing and is asked for again, and reports of it (RFC 3550,
section 6.4.2; RFC 4585, section 6.2.1). Pure.

An SFU holds what it has sent for a while, and sends it again when it is asked for; the order of packets waits for it
(`reorder.WAIT`).
"""

import struct

from bot.calls.media.rtp import HEADER

ASKED = 4  # times
MOST_MISSING = 32
_GAP = 16  # numbers; a larger one is a pause or a new beginning, not loss
_BEHIND = 100
_NUMBERS = 1 << 16
_VERSION = 2 << 6
_REPORT, _FEEDBACK, _NACK = 201, 205, 1
_HEAD = struct.Struct("!BBHI")
_BLOCK = struct.Struct("!IIIIII")
_ENTRY = struct.Struct("!HH")


class Reception:
    """The reception of the stream of an SSRC."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self._first: int | None = None
        self._highest = 0  # counted on beyond 16 bits
        self._received = 0
        self._reported = (0, 0)  # expected, received at the last report
        self._missing: dict[int, int] = {}  # how often each is asked for yet

    @property
    def misses(self) -> bool:
        """Whether something is to be asked for."""
        return bool(self._missing)

    def note(self, packet: bytes) -> None:
        """Note a packet of RTP."""
        sequence = HEADER.unpack_from(packet)[2]
        if self._first is None:
            self._begin(sequence)
        step = (sequence - self._highest + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2
        if step < -_BEHIND or step > _GAP:
            self._begin(sequence)
            step = 0
        self._received += 1
        if step <= 0:
            self._missing.pop(sequence, None)
            return
        for number in range(self._highest + 1, self._highest + step):
            if len(self._missing) < MOST_MISSING:
                self._missing[number % _NUMBERS] = ASKED
        self._highest += step

    def request(self, ours: int) -> bytes:
        """Write a request for what is missing, and give up what was asked for often enough. `ours`: our SSRC."""
        numbers = list(self._missing)
        self._missing = {number: left - 1 for number, left in self._missing.items() if left > 1}
        entries = b"".join(_ENTRY.pack(number, 0) for number in numbers)
        return _HEAD.pack(_VERSION | _NACK, _FEEDBACK, 2 + len(numbers), ours) + struct.pack("!I", self.ssrc) + entries

    def block(self) -> bytes:
        """Write the block about this stream in a report."""
        expected = self._highest - (self._first or 0) + 1
        before, received = self._reported
        self._reported = expected, self._received
        lately = max(1, expected - before)
        fraction = min(255, max(0, 256 * (lately - self._received + received) // lately))
        lost = min(0x7FFFFF, max(0, expected - self._received))
        return _BLOCK.pack(self.ssrc, fraction << 24 | lost, self._highest & 0xFFFFFFFF, 0, 0, 0)

    def _begin(self, sequence: int) -> None:
        self._first = self._highest = sequence
        self._received, self._reported = 0, (0, 0)
        self._missing.clear()


def report(ours: int, blocks: list[bytes]) -> bytes:
    """Write a receiver report of at most 31 blocks."""
    words = 1 + 6 * len(blocks)
    return _HEAD.pack(_VERSION | len(blocks), _REPORT, words, ours) + b"".join(blocks)
