"""MP3 and ADTS as a row of frames: each begins with a header that says how long it is, and the next stands behind it.

What stands between frames, or in front of them, is damage: a frame that was cut, zeros, tags, other bytes. Only that is
left out. Where as many bytes are damaged as some frames of a constant rate have, those were overwritten in their place:
frames without sound stand for them, so that what follows stays where it was.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from bot.audio import aac
from bot.audio.mp3 import after_id3, read_header, read_info
from bot.audio.repair import (
    AS_IS,
    MAX_DAMAGE,
    MAX_WALKED,
    Part,
    Pause,
    Repair,
    StatedLength,
    append_range,
    stated_length,
)
from bot.audio.windows import windows
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Hole, Samples

CLOSE = 1 << 16  # bytes: so far from the beginning a file may have its first frame
_IN_A_ROW = 3  # frames behind damage: fewer may look like frames by chance
_MAX_REJECTED = 100_000  # places that look like a frame and are none
_HEADER = 7  # bytes, of the longer one
_MAX_FILLED = 1000  # frames in a row that were overwritten
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True, slots=True)
class Frame:
    size: int  # bytes with the header
    samples: int
    rate: int  # Hz
    kind: bytes  # the same in all frames of a stream
    head: bytes = b""  # with zeros behind it a frame without sound; none where that is not so

    @property
    def silent(self) -> bytes:
        return self.head.ljust(self.size, b"\0") if self.head else b""

    @property
    def length(self) -> float:
        """Samples at 48 kHz."""
        return self.samples * SAMPLE_RATE / self.rate


Measure = Callable[[bytes], Frame | None]


def mp3_frame(head: bytes) -> Frame | None:
    """From the first four bytes."""
    header = read_header(head)
    if header is None:
        return None
    kind = bytes([head[1] & 0xFE, head[2] & 0x0C])  # all but the checksum, the bit rate and the padding
    return Frame(header.size, header.samples, header.sample_rate, kind, bytes([head[0], head[1] | 1]) + head[2:4])


def adts_frame(head: bytes) -> Frame | None:
    """From the first seven bytes (ISO/IEC 13818-7, 6.2)."""
    if len(head) < _HEADER or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    rate = head[2] >> 2 & 15
    if size < _HEADER or rate >= len(aac.RATES):
        return None
    return Frame(
        size, aac.FRAME * ((head[6] & 3) + 1), aac.RATES[rate], bytes([head[1], head[2] & 0xFD, head[3] & 0xC0])
    )


_BEGINS: dict[Measure, re.Pattern[bytes]] = {
    mp3_frame: re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]"),
    adts_frame: re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
}


@dataclass(slots=True)
class Row:
    """The frames of a file."""

    parts: list[Part] = field(default_factory=list)  # all frames, without what is between them
    pauses: list[Pause] = field(default_factory=list)
    silence: int = 0  # samples of all pauses
    count: int = 0  # frames, with those that stand for damaged ones
    heard: float = 0.0  # at 48 kHz, of the frames in `parts`
    holes: list[Hole] = field(default_factory=list)  # where something stands for damaged ones
    ends: int = 0  # where the last one does
    damaged: bool = False  # something stands in front of a frame that is none
    cut: bool = False  # the last is not all there
    last: Frame | None = None
    constant: bool = True  # all bit rates are the same

    def put(self, at: int, frame: Frame) -> None:
        if self.last is not None and self.count > 1:  # an Info frame in front is of another size
            self.constant &= abs(frame.size - self.last.size) <= 1
        append_range(self.parts, at, at + frame.size)
        self._count(frame)
        self.last, self.ends = frame, at + frame.size

    def drop(self, until: int) -> None:
        """What goes on elsewhere than it should was damaged: the last frame, and what is behind it up to there."""
        self.damaged = True
        frame, before = self.last, self.parts[-1] if self.parts else b""
        if frame is None or not isinstance(before, tuple):
            return
        begins = self.ends - frame.size
        self.parts[-1] = (before[0], begins)
        self._count(frame, -1)
        number = round((until - begins) / frame.size)
        overwritten = self.constant and abs(until - begins - number * frame.size) <= number <= _MAX_FILLED
        for _ in range(max(1, number) if overwritten else 1):
            self._fill(frame)

    def _fill(self, frame: Frame) -> None:
        begins = round(self.heard) + self.silence
        if self.holes and abs(self.holes[-1].at + self.holes[-1].samples - begins) <= 1:
            self.holes[-1] = Hole(self.holes[-1].at, Samples(begins + round(frame.length) - self.holes[-1].at))
        else:
            self.holes.append(Hole(Samples(begins), Samples(round(frame.length))))
        if frame.silent:
            self.parts.append(frame.silent)
            self._count(frame)
        else:
            self.pauses.append(Pause(Samples(round(self.heard)), Samples(round(frame.length))))
            self.silence += round(frame.length)

    def _count(self, frame: Frame, number: int = 1) -> None:
        self.count += number
        self.heard += number * frame.length

    def repair(self, instead: bytes = b"", claimed: StatedLength | None = None) -> Repair:
        """What is decoded, with other bytes for the first frame."""
        if self.count > MAX_WALKED:
            return AS_IS
        first = self.parts[0] if self.parts else b""
        parts = self.parts if self.damaged else []
        if instead and isinstance(first, tuple):
            parts = [instead, (first[0] + len(instead), first[1]), *self.parts[1:]]
        sound = Samples(round(self.heard))
        return Repair(tuple(parts), tuple(self.pauses), sound, tuple(self.holes), claimed=claimed, whole=not self.cut)


def repair_adts(file: BinaryIO) -> Repair:
    """Raises GiveUp (`undecodable`)."""
    return walk(file, adts_frame).repair()


def repair_mp3(file: BinaryIO) -> Repair:
    """With an Info frame that says how many frames there are, and no padding that no encoder has. Where the end of the
    file is missing, what the Info frame says of its length stands. Raises GiveUp (`undecodable`)."""
    row = walk(file, mp3_frame)
    first = row.parts[0] if row.parts else b""
    if not isinstance(first, tuple) or (info := read_info(file, first[0])) is None:
        return row.repair()
    frames = row.count - 1
    if not frames and not row.damaged:
        return Repair(empty=True)
    more = info.frames is not None and info.frames > frames
    right = info.frames in (None, frames) or (more and (row.cut or row.damaged))
    if right and info.plausible:
        return row.repair()
    file.seek(first[0])
    says = (
        None
        if right or info.frames is None
        else stated_length(info.frames * info.header.samples, info.header.sample_rate)
    )
    return row.repair(info.corrected(file.read(info.header.size), None if right else frames), says)


def walk(file: BinaryIO, measure: Measure) -> Row:
    """Raises GiveUp (`undecodable`) where there is more damage than sound is worth."""
    length = file.seek(0, 2)
    search = _Search(file, measure)
    row = Row(ends=min(after_id3(file), length))
    at = row.ends
    while at < length and row.count <= MAX_WALKED:
        frame = search.at(at)
        if frame is not None and at + frame.size <= length:
            row.put(at, frame)
            at += frame.size
            continue
        row.cut = frame is not None
        found = search.after(at, length)
        if found is None:
            row.damaged |= length - at > CLOSE  # nothing but other bytes: a decoder would look through all of them
            break
        row.drop(found)
        row.cut = False
        at = found
    return row


def first_frame(file: BinaryIO, start: int, end: int, measure: Measure) -> int | None:
    """Where the first frame with others behind it begins, after `start` and before `end`."""
    return _Search(file, measure).after(start, end)


class _Search:
    """Finds frames in what else there is, with bounded work."""

    def __init__(self, file: BinaryIO, measure: Measure) -> None:
        self._file = file
        self._measure = measure
        self._rejected = 0
        self._places = 0

    def at(self, place: int) -> Frame | None:
        self._file.seek(place)
        return self._measure(self._file.read(_HEADER))

    def after(self, place: int, end: int) -> int | None:
        """Raises GiveUp (`undecodable`) where there is more damage than sound is worth."""
        self._places += 1
        for at, window in windows(self._file, place + 1, end, overlap=2):
            if self._places > MAX_DAMAGE:
                break
            for match in _BEGINS[self._measure].finditer(window):
                if self._is_first(at + match.start()):
                    return at + match.start()
                self._rejected += 1
                if self._rejected > _MAX_REJECTED:
                    break
        if self._places > MAX_DAMAGE or self._rejected > _MAX_REJECTED:
            raise GiveUp("the chunk is damaged in too many places", reason="undecodable")
        return None

    def _is_first(self, place: int) -> bool:
        """Others of its kind follow it, or the end of the sound."""
        kind = b""
        for _ in range(_IN_A_ROW):
            self._file.seek(place)
            head = self._file.read(_HEADER)
            if kind and (not head or head.startswith(_TAGS)):
                return True
            frame = self._measure(head)
            if frame is None or (kind and frame.kind != kind):
                return False
            kind = frame.kind
            place += frame.size
        return True
