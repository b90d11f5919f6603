"""MP4 and M4A (ISO/IEC 14496-12): the check that a file is complete, its stated length, and its repair.

The sample tables decide: they list how many samples there are, how long they last, and where they lie. Durations, the
edit list and the sizes of the enclosing boxes are compared with them. Only headers and tables are read.
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

_LAST_FRAGMENT_S = 1.0  # that may be missing at the end, where a recorder was killed
_MAX_EDITS = 1000
_MAX_PLACES = 1000  # damaged places in a file
_MAX_BOXES = 10_000
_MAX_FRAGMENTS = 2000  # in a file whose fragments are counted
_BEGINS = re.compile(rb"(?s)....(?:moov....mvhd|moof....mfhd)")
_KIND = re.compile(rb"[ -~\xa9][ -~]{3}")
_PRIMING_S = 0.25  # that an encoder's edit may cut off at the beginning; an edit that cuts more is intended
_PADDING_S = 0.5  # that an encoder's edit may cut off at the end
_OFF_S = 0.25  # that clocks may differ by
_NEAR = 1 << 12  # bytes that are searched first


def has_edit_list(file: BinaryIO) -> bool:
    """Return whether an edit list cuts the priming. Fragmented files don't count, since ffmpeg knows no end in them."""
    boxes = list(boxes_in(file, 0, file.seek(0, 2)))
    if any(kind == b"moof" for kind, _, _ in boxes):
        return False
    return any(_media_time(file, start) > 0 for _, start, _ in _edit_lists(file, _movies(boxes)))


def has_many_edits(file: BinaryIO) -> bool:
    """Return whether there are more edits than any recorder writes: a player searches all samples for each of them."""
    lists = _edit_lists(file, _movies(boxes_in(file, 0, file.seek(0, 2))))
    return any(uint(file, start + 4, 4) > _MAX_EDITS for _, start, _ in lists)


def sound_codec(file: BinaryIO) -> bytes:
    """Return the four letters of the codec of the first track with sound, as its sample entry names it (ISO/IEC
    14496-12, 8.5.2); empty where no table is found by the sizes of the boxes."""
    movies = _movies(boxes_in(file, 0, file.seek(0, 2)))
    for track in boxes_of(file, movies[:1], b"trak"):
        if is_sound(file, track) and (entries := boxes_of(file, [track], b"mdia", b"minf", b"stbl", b"stsd")):
            file.seek(entries[0][1] + 12)
            return file.read(4)
    return b""


def _movies(boxes: Iterable[Box]) -> list[Box]:
    return [box for box in boxes if box[0] == b"moov"]


def _edit_lists(file: BinaryIO, movies: Sequence[Box]) -> list[Box]:
    return boxes_of(file, movies, b"trak", b"edts", b"elst")


def _media_time(file: BinaryIO, start: int) -> int:
    """Return where the first edit begins in the media (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(start)
    box = file.read(24)
    wide = box[:1] == b"\x01"
    return int.from_bytes(box[16:24] if wide else box[12:16], "big", signed=True) if len(box) == 24 or not wide else 0


def mp4_duration(file: BinaryIO) -> tuple[int, int] | None:
    """Return the stated length in units, and how many of these make a second: by the edit list, else by the media's
    header (ISO/IEC 14496-12, 8.6.6 and 8.4.2). None for fragmented files and for several edits."""
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
        return None  # no recorder writes more than one edit
    wide = uint(file, at, 1) == 1
    return uint(file, at + 8, 8 if wide else 4), scale[1]


def _time(file: BinaryIO, headers: Sequence[Box]) -> tuple[int, int] | None:
    """Return the duration of an mvhd or mdhd, and how many of its units make a second; None where all its bits are set,
    which means unknown."""
    if len(headers) != 1:
        return None
    at = headers[0][1]
    wide = uint(file, at, 1) == 1
    size = 8 if wide else 4
    scale_at = at + (20 if wide else 12)
    duration = uint(file, scale_at + 4, size)
    return (duration, uint(file, scale_at, 4)) if duration < (1 << 8 * size) - 1 else None


# ---- repair


def repair_mp4(file: BinaryIO) -> Repair:
    """Return how a file is decoded. Raises GiveUp (`truncated`) where samples or tables are missing."""
    length = file.seek(0, 2)
    boxes, patches = _find_boxes(file, length)
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
"""Replacements for bytes of the file, by offset; None: bytes are left out up to the next offset with a patch."""


def _find_boxes(file: BinaryIO, length: int) -> tuple[list[Box], Patches]:
    """Return the boxes of the file, including those after a wrong size and after other bytes, and the patches with
    which a decoder finds them."""
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
        following = _next(file, start, length) if at < length or lost else None
        if following is None or len(boxes) > _MAX_BOXES:
            break
        if over is not None:
            boxes.append(over)
        if last is not None:
            patches |= _resized(file, last, following)
            boxes[-1] = (b"mdat", last[1], following)
        elif following - at >= 8:
            patches[at] = struct.pack(">I4s", following - at, b"free")
        else:
            patches |= {at: None, following: b""}
        at = following
    return boxes, patches


def _has_all(file: BinaryIO, start: int, length: int) -> bool:
    """Return whether a truncated movie box has all of its tracks, so that only metadata is missing."""
    tracks = [box for box in boxes_in(file, start, length) if box[0] == b"trak"]
    return bool(tracks) and all(end <= length for _, _, end in tracks)


def _resized(file: BinaryIO, box: Box, end: int) -> Patches:
    """Return the patch for the size of a box, so that the box ends at this offset."""
    if box[1] >= 16 and uint(file, box[1] - 16, 4) == 1 and _named(file, box[1] - 12, box[0]):
        return {box[1] - 8: struct.pack(">Q", end - box[1] + 16)}
    return {box[1] - 8: struct.pack(">I", end - box[1] + 8)}


def _named(file: BinaryIO, at: int, kind: bytes) -> bool:
    file.seek(at)
    return file.read(4) == kind


def _next(file: BinaryIO, start: int, end: int) -> int | None:
    """Return the offset of the next movie or fragment; None if there is none."""
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
    """Return whether the clock or the edit list states less sound than the samples hold. An edit that begins deep in
    the sound is intended, and so are several edits."""
    lists = boxes_of(file, [track], b"edts", b"elst")
    scales = _time(file, boxes_of(file, [movie], b"mvhd")), media_scale(file, track)
    if not lists or not sound.seconds or scales[0] is None or not scales[0][1] or not scales[1]:
        return False
    if uint(file, lists[0][1] + 4, 4) > _MAX_EDITS:
        return False  # the file is refused anyway
    edits = list(_edits(file, lists[0]))
    heard = [(lasts / scales[0][1], begins / scales[1]) for lasts, begins in edits if begins >= 0]
    if abs(sound.clock - sound.seconds) > _OFF_S or not heard or min(begins for _, begins in heard) >= sound.seconds:
        return True
    lasts, begins = heard[0]
    return len(heard) == 1 and begins <= _PRIMING_S and lasts < sound.seconds - begins - _PADDING_S


def _edits(file: BinaryIO, box: Box) -> Iterator[tuple[int, int]]:
    """Yield the edits: their length in the movie's units, and where they begin in the media's (below 0: silence)."""
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
    """Return how a fragmented file is decoded: each fragment lists its own samples, and may state their time."""
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
