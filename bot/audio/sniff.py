"""The container of a file, by its own bytes: a mimetype or a name is the sender's word."""

import re
from itertools import islice, takewhile
from typing import BinaryIO

from bot.audio import amr
from bot.audio.frames import CLOSE, Measure, adts_frame, first_frame, mp3_frame
from bot.audio.mp3 import after_id3
from bot.audio.mp4 import sound_codec
from bot.audio.ogg import CAPTURE, OggPage
from bot.audio.ogg_search import find_pages
from bot.audio.repair import from_offset
from bot.errors import GiveUp
from storage.records import Container

_OGG_CODECS = (
    (b"OpusHead", Container.OGG_OPUS),
    (b"\x01vorbis", Container.OGG_VORBIS),
    (b"\x7fFLAC", Container.OGG_FLAC),
)
_FRAMES: tuple[tuple[Container, Measure], ...] = ((Container.ADTS_AAC, adts_frame), (Container.MP3, mp3_frame))
_AMR_IN_MP4 = {b"samr": Container.MP4_AMR, b"sawb": Container.MP4_AMR_WB}
_MAX_PAGES = 16
_IN_FRONT = 4096  # bytes after a tag in which the first Ogg page must begin
_MAGIC = re.compile(
    rb"(?s)\x00\x00..ftyp[ -~]{4}|#!AMR(?:-WB)?\n|RIFF....WAVE|RF64....WAVE|caff\x00\x01\x00\x00desc"
    rb"|fLaC[\x00\x80]\x00\x00\x22|\x1aE\xdf\xa3[\x01-\xfe].{,40}(?:webm|matroska)"
)
"""Beginnings of containers that are searched for after other bytes. They are longer than the magic bytes at the start
of a file, so that other bytes hardly ever look like them."""


def sniff(file: BinaryIO) -> Container:
    """Return the container. Ogg without a head counts as Opus, which its pages must prove. Raises GiveUp: `empty`,
    `not_audio`."""
    return find(file)[0]


def find(file: BinaryIO) -> tuple[Container, int]:
    """Return the container and its offset: a tag or other bytes may precede it. For MP3, ADTS and Ogg the offset is 0,
    since their own walks find the first frame or page. Raises GiveUp: `empty`, `not_audio`."""
    container, begin = _find(file)
    if container is Container.MP4_AAC:
        return _AMR_IN_MP4.get(sound_codec(from_offset(file, begin)), container), begin
    return container, begin


def _find(file: BinaryIO) -> tuple[Container, int]:
    file.seek(0)
    start = file.read(64)
    if not start:
        raise GiveUp("the chunk has no bytes", reason="empty")
    if start.startswith(b"OggS"):
        return _sniff_ogg(file) or Container.OGG_OPUS, 0
    if container := _by_magic(start):
        return container, 0
    if _is_ogg(file) and (container := _sniff_ogg(file)):
        return container, 0
    begin, end = after_id3(file), file.seek(0, 2)
    for container, measure in _FRAMES:
        if _is_row(file, begin, end, measure):
            return container, 0
    file.seek(begin)
    near = file.read(CLOSE) if begin < end else b""
    for match in _MAGIC.finditer(near):
        if container := _by_magic(near[match.start() : match.start() + 64]):
            return container, begin + match.start()
    firsts = [(place, container) for container, measure in _FRAMES if (place := _first(file, begin, end, measure))]
    if firsts:
        return min(firsts)[1], 0
    raise GiveUp("the chunk is not audio", reason="not_audio")


def _by_magic(start: bytes) -> Container | None:
    """Return the container that begins with these bytes; None for Ogg, for frames, and for unknown ones."""
    if start[4:8] == b"ftyp":
        return Container.MP4_AAC  # or AMR, as its tables say
    for codec, container in ((amr.NARROW, Container.AMR), (amr.WIDE, Container.AMR_WB)):
        if start.startswith(codec.magic):
            return container
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return Container.WAV
    for magic, container in ((b"caff", Container.CAF), (b"fLaC", Container.FLAC), (b"\x1aE\xdf\xa3", Container.WEBM)):
        if start.startswith(magic):
            return container
    return None


def _sniff_ogg(file: BinaryIO) -> Container | None:
    """Return the codec in Ogg by the first page of each stream; None where there is no whole page. Damage is found
    later, by the checksums."""
    file.seek(0)
    pages = [page for page in islice(find_pages(file), 2 * _MAX_PAGES) if isinstance(page, OggPage)]
    if not pages or not pages[0].begins:
        return Container.OGG_OPUS if pages else None
    for page in takewhile(lambda page: page.begins, pages):
        for magic, container in _OGG_CODECS:
            if page.body.startswith(magic):
                return container
    raise GiveUp("the chunk holds no known audio codec", reason="not_audio")


def _is_ogg(file: BinaryIO) -> bool:
    """Return whether a page begins near the start, after bytes that don't belong there."""
    file.seek(after_id3(file))
    return CAPTURE in file.read(_IN_FRONT)


def _is_row(file: BinaryIO, at: int, end: int, measure: Measure) -> bool:
    """Return whether there are two frames in a row, or one that is the whole file."""
    file.seek(at)
    frame = measure(file.read(7))
    if frame is None or at + frame.size > end:
        return False
    file.seek(at + frame.size)
    behind = file.read(7)
    return not behind or measure(behind) is not None or behind.startswith(b"TAG")


def _first(file: BinaryIO, begin: int, end: int, measure: Measure) -> int | None:
    return first_frame(file, begin, min(end, begin + CLOSE), measure)
