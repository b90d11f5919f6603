"""MP4 and M4A (ISO/IEC 14496-12): whether all of a file is there, and what it says of its length.

What can be counted in the tables counts: how many samples there are, how long they last, and where they lie. Against
that stands what else the file says, its durations, its edit list, and the sizes of boxes around. Nothing is read but
headers and tables.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from bot.audio.mp4_boxes import Box, boxes_in, boxes_of, uint
from bot.audio.mp4_tables import Listed, fragments_of, is_sound, media_scale, track_samples
from bot.audio.packet_clock import PacketClock
from bot.audio.repair import LITTLE_S, Part, Repair, stated_length
from bot.audio.windows import windows
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Samples

_LAST_FRAGMENT_S = 1.0  # of it may be missing: a recorder that is killed writes no more
_MAX_EDITS = 1000
_MAX_PLACES = 1000  # that are damaged
_MAX_BOXES = 10_000
_MAX_FRAGMENTS = 2000  # that are looked into
_BEGINS = re.compile(rb"(?s)....(?:moov....mvhd|moof....mfhd)")
_KIND = re.compile(rb"[ -~\xa9][ -~]{3}")
_PRIMING_S = 0.25  # that an edit list may cut off at the beginning; what cuts off more was meant to
_PADDING_S = 0.5  # that it may cut off at the end
_OFF_S = 0.25  # that clocks may differ by
_NEAR = 1 << 12  # bytes that are looked through first


def has_edit_list(file: BinaryIO) -> bool:
    """An edit list that cuts the priming, in a file that is not fragmented (there ffmpeg knows no end)."""
    boxes = list(boxes_in(file, 0, file.seek(0, 2)))
    if any(kind == b"moof" for kind, _, _ in boxes):
        return False
    return any(_media_time(file, start) > 0 for _, start, _ in _edit_lists(file, _movies(boxes)))


def has_many_edits(file: BinaryIO) -> bool:
    """A recorder writes one or two. A player looks through all samples for each."""
    lists = _edit_lists(file, _movies(boxes_in(file, 0, file.seek(0, 2))))
    return any(uint(file, start + 4, 4) > _MAX_EDITS for _, start, _ in lists)


def _movies(boxes: Iterable[Box]) -> list[Box]:
    return [box for box in boxes if box[0] == b"moov"]


def _edit_lists(file: BinaryIO, movies: Sequence[Box]) -> list[Box]:
    return boxes_of(file, movies, b"trak", b"edts", b"elst")


def _media_time(file: BinaryIO, start: int) -> int:
    """Where the first edit begins in the media (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(start)
    box = file.read(24)
    wide = box[:1] == b"\x01"
    return int.from_bytes(box[16:24] if wide else box[12:16], "big", signed=True) if len(box) == 24 or not wide else 0


def mp4_duration(file: BinaryIO) -> tuple[int, int] | None:
    """How long the sound is, in units, and how many of those make a second: of the edit list, else of the media's
    header (ISO/IEC 14496-12, 8.6.6 and 8.4.2). Nothing of fragments."""
    end = file.seek(0, 2)
    movies = [box for box in boxes_in(file, 0, end) if box[0] in (b"moov", b"moof")]
    if len(movies) != 1 or len(boxes_of(file, movies, b"trak")) != 1:
        return None
    lists = _edit_lists(file, movies)
    if not lists:
        return _time(file, boxes_of(file, movies, b"trak", b"mdia", b"mdhd"))
    at = lists[0][1]
    scale = _time(file, boxes_of(file, movies, b"mvhd"))
    if scale is None or len(lists) > 1 or uint(file, at + 4, 4) != 1 or _media_time(file, at) < 0:
        return None  # more than one edit: not what a recorder writes
    wide = uint(file, at, 1) == 1
    return uint(file, at + 8, 8 if wide else 4), scale[1]


def _time(file: BinaryIO, headers: Sequence[Box]) -> tuple[int, int] | None:
    """Duration and how many of its units make a second, of an mvhd or mdhd. All ones: not known."""
    if len(headers) != 1:
        return None
    at = headers[0][1]
    wide = uint(file, at, 1) == 1
    size = 8 if wide else 4
    scale_at = at + (20 if wide else 12)
    duration = uint(file, scale_at + 4, size)
    return (duration, uint(file, scale_at, 4)) if duration < (1 << 8 * size) - 1 else None


# ---- what is there, and what stands around it


def repair_mp4(file: BinaryIO) -> Repair:
    """Raises GiveUp (`truncated`) where samples are missing, or the tables."""
    length = file.seek(0, 2)
    boxes, patches = _found(file, length)
    movies = _movies(boxes)
    if not movies:
        raise _cut()
    tracks = boxes_of(file, movies[:1], b"trak")
    fragments = [box for box in boxes if box[0] == b"moof"]
    listed = [track_samples(file, track, length) for track in tracks]
    if not fragments and not any(each.announced for each in listed) and boxes_of(file, movies[:1], b"mvhd"):
        return Repair(empty=True)
    sound = next((at for at, track in enumerate(tracks) if is_sound(file, track)), None)
    if sound is None:
        return Repair(_patched(patches, length))
    if len(fragments) > _MAX_FRAGMENTS:
        return Repair(_patched(patches, length))
    if fragments:
        return _of_fragments(file, fragments, movies[0], tracks[sound], _patched(patches, length))
    if listed[sound].missing > LITTLE_S:
        raise _cut()
    if _is_wrong(file, movies[0], tracks[sound], listed[sound]):
        claimed = mp4_duration(file)
        patches |= {content - 4: b"free" for _, content, _ in boxes_of(file, movies[:1], b"trak", b"edts")}
        return Repair(_patched(patches, length), claimed=stated_length(*claimed) if claimed else None)
    says, seconds = mp4_duration(file), listed[sound].seconds
    parts, counted = _patched(patches, length), listed[sound].counted
    if says is not None and says[1] and says[0] / says[1] > seconds + _OFF_S:
        counts = stated_length(int(seconds * 1000), 1000)
        return Repair(parts, expected=counts, claimed=stated_length(*says), doubtful=True, counted=counted)
    return Repair(parts, counted=counted)


def _cut() -> GiveUp:
    return GiveUp("the chunk's file ends too early", reason="truncated")


Patches = dict[int, bytes | None]
"""Other bytes from a place on; None: those up to the next place with a patch are left out."""


def _found(file: BinaryIO, length: int) -> tuple[list[Box], Patches]:
    """The boxes of the file, also behind a size that is wrong and behind other bytes, and what has to be changed for a
    decoder to find them."""
    boxes: list[Box] = []
    patches: Patches = {}
    at = 0
    for _ in range(_MAX_PLACES):
        over: Box | None = None
        for kind, content, end in boxes_in(file, at, length):
            if kind == b"moov" and end > length and _has_all(file, content, length):
                patches |= _resized(file, (kind, content, end), length)
                boxes.append((kind, content, length))
                return boxes, patches
            endless = kind == b"mdat" and uint(file, content - 8, 4) == 0
            if not _KIND.fullmatch(kind) or end > length or endless:
                over = (kind, content, end) if kind == b"mdat" else None
                break
            boxes.append((kind, content, end))
            at = end
        last = over or (boxes[-1] if boxes and boxes[-1][0] == b"mdat" else None)
        lost = not _movies(boxes)
        start = last[1] if last and (lost or over) else at + 1
        found = _next(file, start, length) if at < length or lost else None
        if found is None or len(boxes) > _MAX_BOXES:
            break
        if over is not None:
            boxes.append(over)
        if last is not None:
            patches |= _resized(file, last, found)
            boxes[-1] = (b"mdat", last[1], found)
        elif found - at >= 8:
            patches[at] = struct.pack(">I4s", found - at, b"free")
        else:
            patches |= {at: None, found: b""}
        at = found
    return boxes, patches


def _has_all(file: BinaryIO, start: int, length: int) -> bool:
    """Of a movie that is cut off, the tracks are there: words about it are missing."""
    tracks = [box for box in boxes_in(file, start, length) if box[0] == b"trak"]
    return bool(tracks) and all(end <= length for _, _, end in tracks)


def _resized(file: BinaryIO, box: Box, end: int) -> Patches:
    """The size of a box that is to go on to a place."""
    if box[1] >= 16 and uint(file, box[1] - 16, 4) == 1 and _named(file, box[1] - 12, box[0]):
        return {box[1] - 8: struct.pack(">Q", end - box[1] + 16)}
    return {box[1] - 8: struct.pack(">I", end - box[1] + 8)}


def _named(file: BinaryIO, at: int, kind: bytes) -> bool:
    file.seek(at)
    return file.read(4) == kind


def _next(file: BinaryIO, start: int, end: int) -> int | None:
    """Where the next movie or fragment begins."""
    for at, window in windows(file, start, end, overlap=16, near=_NEAR):
        for match in _BEGINS.finditer(window):
            place = at + match.start()
            if place + uint(file, place, 4) <= end:
                return place
    return None


def _patched(patches: Patches, length: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    for place, data in sorted(patches.items()):
        if at < place:
            parts.append((at, place))
        if data is None:
            at = min((other for other in patches if other > place), default=length)
        else:
            parts.append(data)
            at = max(place + len(data), at)
    return (*parts, (at, length)) if parts else ()


def _is_wrong(file: BinaryIO, movie: Box, track: Box, sound: Listed) -> bool:
    """The clock or the edit list says that there is less than the samples are. An edit that begins deep in the sound
    was meant to, and so were several."""
    lists = boxes_of(file, [track], b"edts", b"elst")
    scales = _time(file, boxes_of(file, [movie], b"mvhd")), media_scale(file, track)
    if not lists or not sound.seconds or scales[0] is None or not scales[0][1] or not scales[1]:
        return False
    if uint(file, lists[0][1] + 4, 4) > _MAX_EDITS:
        return False  # it is refused as it is
    edits = list(_edits(file, lists[0]))
    heard = [(lasts / scales[0][1], begins / scales[1]) for lasts, begins in edits if begins >= 0]
    if abs(sound.clock - sound.seconds) > _OFF_S or not heard or min(begins for _, begins in heard) >= sound.seconds:
        return True
    lasts, begins = heard[0]
    return len(heard) == 1 and begins <= _PRIMING_S and lasts < sound.seconds - begins - _PADDING_S


def _edits(file: BinaryIO, box: Box) -> Iterator[tuple[int, int]]:
    """How long each lasts, in the movie's units, and where it begins, in the media's (below 0: silence)."""
    _, start, end = box
    wide = uint(file, start, 1) == 1
    size, count = (20, uint(file, start + 4, 4)) if wide else (12, uint(file, start + 4, 4))
    for at in range(start + 8, min(end, start + 8 + min(count, _MAX_EDITS) * size), size):
        file.seek(at)
        data = file.read(size)
        if len(data) == size:
            lasts, begins = struct.unpack(">Qq" if wide else ">Ii", data[: size - 4])
            yield lasts, begins


def _of_fragments(file: BinaryIO, fragments: Sequence[Box], movie: Box, track: Box, parts: tuple[Part, ...]) -> Repair:
    """Each lists its own samples, and says when they are heard."""
    clock, missing = PacketClock(), 0.0
    for each in fragments_of(file, fragments, movie, track):
        if parts:
            clock.damaged = True
        if each.begins is not None:
            clock.put(each.begins * SAMPLE_RATE, (each.seconds - each.missing) * SAMPLE_RATE)
        missing += each.missing
    if missing > _LAST_FRAGMENT_S:
        raise _cut()
    pauses = tuple(clock.pauses) if clock.believed else ()
    holes = tuple(clock.holes) if clock.believed else ()
    sound = Samples(round(clock.heard))
    says = stated_length(round(sound + missing * SAMPLE_RATE + sum(pause.samples for pause in pauses)), SAMPLE_RATE)
    return Repair(parts, pauses, sound, holes, expected=says, counted=True)
