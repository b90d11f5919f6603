"""A stream of Opus packets on Ogg pages (RFC 7845): the packets as they are, on new pages with new granules."""

from typing import BinaryIO

from bot.audio.ogg import BEGINS, ENDS, OggPage, lacing_of, write_page
from bot.audio.opus_head import TAGS
from bot.audio.opus_packets import duration

PACKETS_PER_PAGE = 50
PAGE_HEADER = 27  # bytes


class OpusPages:
    """The pages of one stream. `head` is its OpusHead packet."""

    def __init__(self, file: BinaryIO, head: bytes, *, serial: int = 1) -> None:
        self._file = file
        self._serial = serial
        self._number = 0
        self._granule = 0
        self._written = 0
        self._packets: list[bytes] = []
        self._waiting = 0  # bytes of these
        self._lacing = bytearray()
        self._write(BEGINS, head, lacing_of(head))
        self._write(0, TAGS, lacing_of(TAGS))

    def put(self, packet: bytes) -> None:
        lacing = lacing_of(packet)
        if len(self._packets) == PACKETS_PER_PAGE or len(self._lacing) + len(lacing) > 255:
            self._flush(0)
        self._packets.append(packet)
        self._waiting += len(packet)
        self._lacing += lacing
        self._granule += duration(packet)

    def size_with(self, packet: bytes) -> int:
        """Return an upper bound for the bytes of the file if it ended after this packet."""
        waiting = self._waiting + len(self._lacing) + PAGE_HEADER
        return self._written + waiting + PAGE_HEADER + len(packet) + len(lacing_of(packet))

    def close(self, trim: int = 0) -> None:
        """End the stream `trim` samples before its last packet ends; the file stays open."""
        self._granule -= trim
        self._flush(ENDS)

    def _flush(self, flags: int) -> None:
        self._write(flags, b"".join(self._packets), bytes(self._lacing))
        self._packets.clear()
        self._waiting = 0
        self._lacing.clear()

    def _write(self, flags: int, body: bytes, lacing: bytes) -> None:
        page = OggPage(flags, self._granule, self._serial, self._number, lacing, body)
        self._written += self._file.write(write_page(page))
        self._number += 1
