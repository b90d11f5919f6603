"""MP3 and ADTS as a row of frames: each begins with a header that states its size, and the next one follows it.

Bytes between frames or before them are damage: a frame that was cut, zeros, tags, noise. Only they are left out. Where
the damaged bytes have the size of a whole number of constant-rate frames, those frames were overwritten in place:
silent frames replace them, so that later sound keeps its position.
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

CLOSE = 1 << 16  # bytes from the beginning within which the first frame must begin
_IN_A_ROW = 3  # frames that are required after damage: fewer may look like frames by chance
_MAX_REJECTED = 100_000  # places in a file that look like a frame but are not
_HEADER = 7  # bytes: the header of ADTS, which is longer than that of MP3
_MAX_FILLED = 1000  # frames in a row that were overwritten
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True, slots=True)
class Frame:
    """The header of a frame."""

    size: int  # bytes with the header
    samples: int
    rate: int  # Hz
    kind: bytes  # the same in all frames of a stream
    head: bytes = b""  # followed by zeros it makes a silent frame; empty where it does not

    @property
    def silent(self) -> bytes:
        """A frame with this header and no sound; empty where none can be made."""
        return self.head.ljust(self.size, b"\0") if self.head else b""

    @property
    def length(self) -> float:
        """The length in samples at 48 kHz."""
        return self.samples * SAMPLE_RATE / self.rate


Measure = Callable[[bytes], Frame | None]


def mp3_frame(head: bytes) -> Frame | None:
    """Read a frame's header from its first four bytes; None if they are no header."""
    header = read_header(head)
    if header is None:
        return None
    kind = bytes([head[1] & 0xFE, head[2] & 0x0C])  # all but the checksum, the bit rate and the padding
    return Frame(header.size, header.samples, header.sample_rate, kind, bytes([head[0], head[1] | 1]) + head[2:4])


def adts_frame(head: bytes) -> Frame | None:
    """Read a frame's header from its first seven bytes (ISO/IEC 13818-7, 6.2); None if they are no header."""
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
    """The frames of a file, and the damage between them."""

    parts: list[Part] = field(default_factory=list)  # all frames, without the bytes between them
    pauses: list[Pause] = field(default_factory=list)
    silence: int = 0  # of all pauses, in samples
    count: int = 0  # frames, including silent ones in place of damaged ones
    heard: float = 0.0  # length at 48 kHz of the frames in `parts`
    holes: list[Hole] = field(default_factory=list)  # the silence in place of damaged frames
    ends: int = 0  # where the last frame does
    damaged: bool = False  # there are other bytes before a frame
    cut: bool = False  # the last frame is incomplete
    last: Frame | None = None
    constant: bool = True  # the bit rate does not change

    def put(self, at: int, frame: Frame) -> None:
        """Append the frame that begins at this offset."""
        if self.last is not None and self.count > 1:  # an Info frame at the beginning has another size
            self.constant &= abs(frame.size - self.last.size) <= 1
        append_range(self.parts, at, at + frame.size)
        self._count(frame)
        self.last, self.ends = frame, at + frame.size

    def drop(self, until: int) -> None:
        """Drop the last frame and the bytes from it to the next frame, which are damaged."""
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
        """Return how the file is decoded, with other bytes for the first frame."""
        if self.count > MAX_WALKED:
            return AS_IS
        first = self.parts[0] if self.parts else b""
        parts = self.parts if self.damaged else []
        if instead and isinstance(first, tuple):
            parts = [instead, (first[0] + len(instead), first[1]), *self.parts[1:]]
        sound = Samples(round(self.heard))
        return Repair(tuple(parts), tuple(self.pauses), sound, tuple(self.holes), claimed=claimed, whole=not self.cut)


def repair_adts(file: BinaryIO) -> Repair:
    """Return how ADTS is decoded. Raises GiveUp (`undecodable`)."""
    return walk(file, adts_frame).repair()


def repair_mp3(file: BinaryIO) -> Repair:
    """Return how MP3 is decoded. The Info frame is replaced by one with the counted number of frames, and without an
    impossible padding. Where the end of the file is missing, the stated length stays. Raises GiveUp (`undecodable`)."""
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
    """Read all frames of a file. Raises GiveUp (`undecodable`) where it is damaged in too many places."""
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
        following = search.after(at, length)
        if following is None:
            row.damaged |= length - at > CLOSE  # left out, since a decoder would search all these bytes
            break
        row.drop(following)
        row.cut = False
        at = following
    return row


def first_frame(file: BinaryIO, start: int, end: int, measure: Measure) -> int | None:
    """Return the offset of the first frame that others follow, between `start` and `end`; None if there is none."""
    return _Search(file, measure).after(start, end)


class _Search:
    """The search for frames among other bytes, with bounded work."""

    def __init__(self, file: BinaryIO, measure: Measure) -> None:
        self._file = file
        self._measure = measure
        self._rejected = 0
        self._places = 0

    def at(self, place: int) -> Frame | None:
        """Return the frame that begins at this offset; None if none does."""
        self._file.seek(place)
        return self._measure(self._file.read(_HEADER))

    def after(self, place: int, end: int) -> int | None:
        """Return the offset of the next frame that others follow. Raises GiveUp (`undecodable`) after too many
        tries."""
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
        """Return whether the frame at this offset is followed by others of its kind, or by the end of the sound."""
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
