"""WebM and Matroska (RFC 9559): the blocks one after another, their clock, and what is left where they are damaged.

A recorder's clock goes on while no packets come (a microphone that was taken away, a tab that slept): that is silence
of this length. What is damaged costs the packets in it; the clock tells how long they were.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from bot.audio.opus_packets import duration
from bot.audio.packet_clock import PacketClock
from bot.audio.repair import AS_IS, MAX_DAMAGE, MAX_WALKED, Part, Repair, StatedLength, stated_length
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TIMESTAMP, _SIMPLE, _GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
_INDEXES = (0x114D9B74, 0x1C53BB6B)  # SeekHead and Cues: places in the file
_KNOWN = {
    *(_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER, _TIMESTAMP, _SIMPLE, _GROUP, *_INDEXES),
    *(0x1254C367, 0x1043A770, 0x1941A469),  # Tags, Chapters, Attachments
    *(0xA7, 0xAB, 0x5854, 0xEC, 0xBF),  # Position, PrevSize, SilentTracks, Void, CRC-32
}
_ENTERED = (_SEGMENT, _CLUSTER)  # what is in them comes as if it stood behind them: their sizes decide nothing
_BEGINS = re.compile(rb"\x1f\x43\xb6\x75|[\xa0\xa3](?:[\x81-\xfe]|[\x40-\x7f][\x00-\xff]|[\x20-\x3f][\x00-\xff]{2})")
_IN_A_ROW = 3
_MAX_REJECTED = 50_000
_NEAR, _FAR = 1 << 11, 1 << 20
_HEAD = 12  # bytes: an id and a size, at most
_SECOND = 1_000_000_000  # ns
_UNKNOWN = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_BLOCK_HEAD = 5  # bytes: track, time, flags, and at least one of sound
_MAX_CHILDREN = 1000
_MAX_VALUE = 64  # bytes
_XIPH, _FIXED = 1, 2


@dataclass(frozen=True, slots=True)
class Element:
    id: int
    at: int
    content: int
    end: int | None  # None: it does not say


def element(file: BinaryIO, at: int) -> Element | None:
    """The one that stands here; None where none can."""
    file.seek(at)
    head = file.read(_HEAD)
    if not head or head[0] < 0x10:
        return None
    width = 9 - head[0].bit_length()
    size_at = head[width : width + 1]
    if not size_at or not size_at[0]:
        return None
    size_width = 9 - size_at[0].bit_length()
    packed = head[width : width + size_width]
    if len(packed) < size_width:
        return None
    size = int.from_bytes(packed, "big") & (1 << 7 * size_width) - 1
    content = at + width + size_width
    unknown = size == (1 << 7 * size_width) - 1
    return Element(int.from_bytes(head[:width], "big"), at, content, None if unknown else content + size)


@dataclass(slots=True)
class _Track:
    """What the headers say of the sound."""

    number: int = 1
    codec: bytes = b""
    rate: float = SAMPLE_RATE
    delay: float = 0.0  # samples at 48 kHz that a decoder leaves out at the beginning
    tick: int = 1_000_000  # ns
    duration: float = 0.0  # ticks
    there: bool = False

    def length(self, packet: bytes) -> float | None:
        """Of a packet, at 48 kHz; None where only a decoder knows."""
        if self.codec == b"A_OPUS":
            try:
                return float(duration(packet))
            except GiveUp:
                return 0.0
        samples = 1024 if self.codec.startswith(b"A_AAC") else 0
        if self.codec == b"A_MPEG/L3":
            samples = 1152 if self.rate >= 32_000 else 576
        return samples * SAMPLE_RATE / self.rate if samples and self.rate > 0 else None


@dataclass(slots=True)
class Film:
    """A file, element by element."""

    parts: list[Part] = field(default_factory=list)
    track: _Track = field(default_factory=_Track)
    clock: PacketClock = field(default_factory=PacketClock)
    blocks: int = 0
    others: int = 0
    damaged: bool = False
    missing: bool = False  # the segment should be longer than the file
    _cluster: int = 0  # its time, in ticks
    _held: tuple[Element, int] | None = None  # a block of which nothing proves yet that it is whole, and its cluster

    def put(self, file: BinaryIO, found: Element, length: int) -> int:
        """Takes an element; where the next one begins."""
        self._let_go(file)
        if found.id in _ENTERED:
            self.missing |= found.id == _SEGMENT and (found.end or 0) > length
            self.parts.append(found.id.to_bytes(4, "big") + _UNKNOWN)
            return found.content
        end = found.end or length
        if found.id in (_SIMPLE, _GROUP):
            self._held = found, self._cluster
            return end
        self.others += 1
        if found.id == _INFO:
            self._read_info(file, found, end)
        elif found.id == _TRACKS and not self.track.there:
            self.track = _read_tracks(file, found, end, self.track)
        elif found.id == _TIMESTAMP:
            self._cluster = _number(file, found)
        if found.id not in _INDEXES:
            self._keep(found.at, end)
        return end

    def drop(self) -> None:
        """What is behind the last block is damaged, so that block is too."""
        self.damaged = self.clock.damaged = True
        self._held = None

    def end(self, file: BinaryIO) -> None:
        self._let_go(file)

    def _let_go(self, file: BinaryIO) -> None:
        if self._held is None:
            return
        found, cluster = self._held
        self._held = None
        self.blocks += 1
        self._keep(found.at, found.end or found.content)
        block = found if found.id == _SIMPLE else next((e for e in _inside(file, found) if e.id == _BLOCK), None)
        if block is None or block.end is None or block.end - block.content < _BLOCK_HEAD:
            return
        file.seek(block.content)
        data = file.read(block.end - block.content)
        lengths = [self.track.length(packet) for packet in _packets(data)]
        number, time = data[0] & 0x7F, int.from_bytes(data[1:3], "big", signed=True)
        if number == self.track.number and data[0] & 0x80 and lengths and None not in lengths:
            self.clock.delay = self.track.delay
            at = (cluster + time) * self.track.tick / _SECOND * SAMPLE_RATE
            self.clock.put(at, sum(length or 0.0 for length in lengths))

    def _keep(self, begins: int, end: int) -> None:
        if self.parts and isinstance(before := self.parts[-1], tuple) and before[1] == begins:
            self.parts[-1] = (before[0], end)
        else:
            self.parts.append((begins, end))

    def _read_info(self, file: BinaryIO, info: Element, end: int) -> None:
        for child in _inside(file, info):
            if child.id == 0x2AD7B1:
                self.track.tick = _number(file, child) or self.track.tick
            elif child.id == 0x4489:
                self.track.duration = _real(file, child)

    def repair(self) -> Repair:
        if not self.blocks and not self.damaged and self.track.there:
            return Repair(empty=True)
        if self.blocks > MAX_WALKED:
            return AS_IS
        believed, says = self.clock.believed, self._told()
        return Repair(
            parts=tuple(self.parts) if self.damaged else (),
            pauses=tuple(self.clock.pauses) if believed else (),
            sound=Samples(round(self.clock.heard)),
            holes=tuple(self.clock.holes) if believed else (),
            expected=says if self.missing else None,
            claimed=says,
        )

    def _told(self) -> StatedLength | None:
        samples = self.track.duration * self.track.tick / _SECOND * SAMPLE_RATE - self.track.delay
        return stated_length(int(samples), SAMPLE_RATE) if 0 < samples < 1 << 40 else None


def repair_matroska(file: BinaryIO) -> Repair:
    """Raises GiveUp (`undecodable`)."""
    return walk(file).repair()


def walk(file: BinaryIO) -> Film:
    """Raises GiveUp (`undecodable`) where there is more damage than sound is worth."""
    film, at, length, rejected, places = Film(), 0, file.seek(0, 2), 0, 0
    while at < length and film.blocks <= MAX_WALKED:
        found = element(file, at)
        if found is not None and (_is_whole(found, length) or _is_passed_over(file, found, length)):
            at = film.put(file, found, length)
        else:
            place, tried = _next(file, at + 1, length)
            rejected, places = rejected + tried, places + 1
            if max(places - MAX_DAMAGE, rejected - _MAX_REJECTED, film.others - MAX_WALKED) > 0:
                raise GiveUp("the chunk is damaged in too many places", reason="undecodable")
            if place is None:
                break
            film.drop()
            at = place
        if film.others > MAX_WALKED:
            raise GiveUp("the chunk brings more other things than sound", reason="undecodable")
    film.end(file)
    return film


def _is_whole(found: Element, length: int) -> bool:
    if found.id in _ENTERED:
        return True
    return found.id in _KNOWN and found.end is not None and found.end <= length


def _is_passed_over(file: BinaryIO, found: Element, length: int) -> bool:
    """What is not known, and has something known behind it."""
    return found.id not in _KNOWN and found.end is not None and _is_first(file, found.end, length)


def _next(file: BinaryIO, start: int, end: int) -> tuple[int | None, int]:
    """Where the next block or cluster begins, and how many places only looked like one."""
    size, rejected = _NEAR, 0
    while start < end and rejected <= _MAX_REJECTED:
        file.seek(start)
        for found in _BEGINS.finditer(file.read(min(size, end - start) + 3)):
            if _is_first(file, start + found.start(), end):
                return start + found.start(), rejected
            rejected += 1
        start, size = start + size, min(2 * size, _FAR)
    return None, rejected


def _is_first(file: BinaryIO, at: int, length: int) -> bool:
    """Other elements follow it, or the end of the file."""
    for number in range(_IN_A_ROW):
        found = element(file, at)
        if found is None or not _is_whole(found, length):
            return bool(number) and at == length
        at = found.content if found.id in _ENTERED else found.end or length
    return True


def _inside(file: BinaryIO, parent: Element) -> Iterator[Element]:
    """The first elements in it."""
    at = parent.content
    for _ in range(_MAX_CHILDREN):
        child = element(file, at) if parent.end is not None and at < parent.end else None
        if child is None or child.end is None:
            return
        yield child
        at = child.end


def _read_tracks(file: BinaryIO, tracks: Element, end: int, known: _Track) -> _Track:
    """The first track of sound: the one that is decoded."""
    for entry in _inside(file, tracks):
        track = _Track(tick=known.tick, duration=known.duration)
        for child in _inside(file, entry):
            if child.id == 0xD7:
                track.number = _number(file, child)
            elif child.id == 0x83:
                track.there = _number(file, child) == 2
            elif child.id == 0x86:
                track.codec = _bytes(file, child).rstrip(b"\0")
            elif child.id == 0x56AA:
                track.delay = _number(file, child) * SAMPLE_RATE / _SECOND
            elif child.id == 0xE1:
                track.rate = next((_real(file, each) for each in _inside(file, child) if each.id == 0xB5), track.rate)
            elif child.id == 0x63A2 and not track.delay and (head := _bytes(file, child)).startswith(b"OpusHead"):
                track.delay = float(int.from_bytes(head[10:12], "little"))
        if track.there:
            return track
    return known


def _bytes(file: BinaryIO, found: Element) -> bytes:
    file.seek(found.content)
    return file.read(min(_MAX_VALUE, (found.end or found.content) - found.content))


def _number(file: BinaryIO, found: Element) -> int:
    return int.from_bytes(_bytes(file, found)[:8], "big")


def _real(file: BinaryIO, found: Element) -> float:
    data = _bytes(file, found)
    value = struct.unpack(">f" if len(data) == 4 else ">d", data)[0] if len(data) in (4, 8) else 0.0
    return float(value) if value == value and abs(value) < 1e15 else 0.0


def _packets(block: bytes) -> list[bytes]:
    """The beginnings of a block's packets (RFC 9559, section 10.3)."""
    lacing, data = block[3] >> 1 & 3, block[4:]
    if not lacing or not data:
        return [data[:2]] if data else []
    count, at = data[0] + 1, 1
    sizes: list[int] = []
    if lacing == _FIXED:
        sizes = [(len(data) - 1) // count] * (count - 1)
    for number in range(count - 1 if lacing != _FIXED else 0):
        size, at = _xiph_size(data, at) if lacing == _XIPH else _ebml_size(data, at, sizes[-1] if number else None)
        sizes.append(size)
    packets = []
    for size in [*sizes, 1]:
        packets.append(data[at : at + 2])
        at += size
    return [packet for packet in packets if packet]


def _xiph_size(data: bytes, at: int) -> tuple[int, int]:
    size = 0
    while at < len(data) and data[at] == 255:
        size, at = size + 255, at + 1
    return size + (data[at] if at < len(data) else 0), at + 1


def _ebml_size(data: bytes, at: int, before: int | None) -> tuple[int, int]:
    """The first as it is, others as the difference to the one before."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 8
    value = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
    size = value if before is None else before + value - ((1 << 7 * width - 1) - 1)
    return max(0, size), at + width
