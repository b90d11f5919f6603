"""WebM and Matroska (RFC 9559): their blocks, the clock of the blocks, and the repair of damaged files.

A recorder's clock continues while no packets come (a microphone was unplugged, a tab slept): that time is silence.
Damage costs the packets in it, and the clock shows how long they were.
"""

import re
from dataclasses import dataclass, field
from typing import BinaryIO

from bot.audio import ebml
from bot.audio.ebml import Element, children, element
from bot.audio.lacing import packets
from bot.audio.opus_packets import duration
from bot.audio.packet_clock import PacketClock
from bot.audio.repair import AS_IS, MAX_DAMAGE, MAX_WALKED, Part, Repair, StatedLength, append_range, stated_length
from bot.audio.windows import windows
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
_ENTERED = (_SEGMENT, _CLUSTER)  # children are read as if they followed the parent, whose size is not used
_BEGINS = re.compile(rb"\x1f\x43\xb6\x75|[\xa0\xa3](?:[\x81-\xfe]|[\x40-\x7f][\x00-\xff]|[\x20-\x3f][\x00-\xff]{2})")
_IN_A_ROW = 3
_MAX_REJECTED = 50_000
_SECOND = 1_000_000_000  # ns
_UNKNOWN = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_BLOCK_HEAD = 5  # bytes: track, time, flags, and at least one of sound


@dataclass(slots=True)
class _Track:
    """The first track of sound as the headers describe it."""

    number: int = 1
    codec: bytes = b""
    rate: float = SAMPLE_RATE
    delay: float = 0.0  # samples at 48 kHz that a decoder leaves out at the beginning
    tick: int = 1_000_000  # ns
    duration: float = 0.0  # ticks
    there: bool = False  # a track of sound was found

    def length(self, packet: bytes) -> float | None:
        """Return the length of a packet in samples at 48 kHz; None where only a decoder knows."""
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
class Walked:
    """A file, read element by element."""

    parts: list[Part] = field(default_factory=list)
    track: _Track = field(default_factory=_Track)
    clock: PacketClock = field(default_factory=PacketClock)
    blocks: int = 0
    others: int = 0  # elements that are no blocks
    damaged: bool = False
    missing: bool = False  # the segment is announced as longer than the file
    _cluster: int = 0  # its time, in ticks
    _held: tuple[Element, int] | None = None  # the last block, not proved to be whole yet, and its cluster's time

    def put(self, file: BinaryIO, current: Element, length: int) -> int:
        """Add an element and return where the next one begins."""
        self._let_go(file)
        if current.id in _ENTERED:
            self.missing |= current.id == _SEGMENT and (current.end or 0) > length
            self.parts.append(current.id.to_bytes(4, "big") + _UNKNOWN)
            return current.content
        end = current.end or length
        if current.id in (_SIMPLE, _GROUP):
            self._held = current, self._cluster
            return end
        self.others += 1
        if current.id == _INFO:
            self._read_info(file, current, end)
        elif current.id == _TRACKS and not self.track.there:
            self.track = _read_tracks(file, current, end, self.track)
        elif current.id == _TIMESTAMP:
            self._cluster = ebml.number(file, current)
        if current.id not in _INDEXES:
            append_range(self.parts, current.at, end)
        return end

    def drop(self) -> None:
        """Drop the last block, which is damaged if the bytes after it are."""
        self.damaged = self.clock.damaged = True
        self._held = None

    def end(self, file: BinaryIO) -> None:
        self._let_go(file)

    def _let_go(self, file: BinaryIO) -> None:
        if self._held is None:
            return
        current, cluster = self._held
        self._held = None
        self.blocks += 1
        append_range(self.parts, current.at, current.end or current.content)
        block = current if current.id == _SIMPLE else next((e for e in children(file, current) if e.id == _BLOCK), None)
        if block is None or block.end is None or block.end - block.content < _BLOCK_HEAD:
            return
        file.seek(block.content)
        data = file.read(block.end - block.content)
        lengths = [self.track.length(packet) for packet in packets(data)]
        number, time = data[0] & 0x7F, int.from_bytes(data[1:3], "big", signed=True)
        if number == self.track.number and data[0] & 0x80 and lengths and None not in lengths:
            self.clock.delay = self.track.delay
            at = (cluster + time) * self.track.tick / _SECOND * SAMPLE_RATE
            self.clock.put(at, sum(length or 0.0 for length in lengths))

    def _read_info(self, file: BinaryIO, info: Element, end: int) -> None:
        for child in children(file, info):
            if child.id == 0x2AD7B1:
                self.track.tick = ebml.number(file, child) or self.track.tick
            elif child.id == 0x4489:
                self.track.duration = ebml.real(file, child)

    def repair(self) -> Repair:
        if not self.blocks and not self.damaged and self.track.there:
            return Repair(empty=True)
        if self.blocks > MAX_WALKED:
            return AS_IS
        believed, says = self.clock.believed, self._stated()
        return Repair(
            parts=tuple(self.parts) if self.damaged else (),
            pauses=tuple(self.clock.pauses) if believed else (),
            sound=Samples(round(self.clock.heard)),
            holes=tuple(self.clock.holes) if believed else (),
            expected=says if self.missing else None,
            claimed=says,
        )

    def _stated(self) -> StatedLength | None:
        samples = self.track.duration * self.track.tick / _SECOND * SAMPLE_RATE - self.track.delay
        return stated_length(int(samples), SAMPLE_RATE) if 0 < samples < 1 << 40 else None


def repair_matroska(file: BinaryIO) -> Repair:
    """Return how to decode a file. Raises GiveUp (`undecodable`)."""
    return walk(file).repair()


def walk(file: BinaryIO) -> Walked:
    """Read all elements of a file. Raises GiveUp (`undecodable`) where it is damaged in too many places."""
    state, at, length, rejected, places = Walked(), 0, file.seek(0, 2), 0, 0
    while at < length and state.blocks <= MAX_WALKED:
        current = element(file, at)
        if current is not None and (_is_whole(current, length) or _is_passed_over(file, current, length)):
            at = state.put(file, current, length)
        else:
            place, tried = _next(file, at + 1, length)
            rejected, places = rejected + tried, places + 1
            if max(places - MAX_DAMAGE, rejected - _MAX_REJECTED, state.others - MAX_WALKED) > 0:
                raise GiveUp("the chunk is damaged in too many places", reason="undecodable")
            if place is None:
                break
            state.drop()
            at = place
        if state.others > MAX_WALKED:
            raise GiveUp("the chunk holds more metadata than sound", reason="undecodable")
    state.end(file)
    return state


def _is_whole(current: Element, length: int) -> bool:
    if current.id in _ENTERED:
        return True
    return current.id in _KNOWN and current.end is not None and current.end <= length


def _is_passed_over(file: BinaryIO, current: Element, length: int) -> bool:
    """Return whether an element of an unknown kind is followed by elements of known kinds."""
    return current.id not in _KNOWN and current.end is not None and _is_first(file, current.end, length)


def _next(file: BinaryIO, start: int, end: int) -> tuple[int | None, int]:
    """Return the offset of the next block or cluster, and how many places only looked like one."""
    rejected = 0
    for at, window in windows(file, start, end, overlap=3):
        if rejected > _MAX_REJECTED:
            break
        for match in _BEGINS.finditer(window):
            if _is_first(file, at + match.start(), end):
                return at + match.start(), rejected
            rejected += 1
    return None, rejected


def _is_first(file: BinaryIO, at: int, length: int) -> bool:
    """Return whether the element at this offset is followed by others, or by the end of the file."""
    for number in range(_IN_A_ROW):
        current = element(file, at)
        if current is None or not _is_whole(current, length):
            return bool(number) and at == length
        at = current.content if current.id in _ENTERED else current.end or length
    return True


def _read_tracks(file: BinaryIO, tracks: Element, end: int, known: _Track) -> _Track:
    """Return the first track of sound, which is decoded; `known` if there is none."""
    for entry in children(file, tracks):
        track = _Track(tick=known.tick, duration=known.duration)
        for child in children(file, entry):
            if child.id == 0xD7:
                track.number = ebml.number(file, child)
            elif child.id == 0x83:
                track.there = ebml.number(file, child) == 2
            elif child.id == 0x86:
                track.codec = ebml.value(file, child).rstrip(b"\0")
            elif child.id == 0x56AA:
                track.delay = ebml.number(file, child) * SAMPLE_RATE / _SECOND
            elif child.id == 0xE1:
                track.rate = next(
                    (ebml.real(file, each) for each in children(file, child) if each.id == 0xB5), track.rate
                )
            elif child.id == 0x63A2 and not track.delay and (head := ebml.value(file, child)).startswith(b"OpusHead"):
                track.delay = float(int.from_bytes(head[10:12], "little"))
        if track.there:
            return track
    return known
