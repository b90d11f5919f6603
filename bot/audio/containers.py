"""What a file is, by its own bytes, and whether it tells where its sound begins and ends.

A mimetype or a name is the sender's word. What is found here picks the one demuxer that ffmpeg may use: playlists
and manifests (HLS, DASH, ffconcat), which make it read other files, are not among them.
"""

import re
from itertools import islice, takewhile
from typing import BinaryIO

from bot.audio.flac import repair_flac, streaminfo
from bot.audio.frames import CLOSE, Measure, adts_frame, first_frame, mp3_frame, repair_adts, repair_mp3
from bot.audio.matroska import repair_matroska
from bot.audio.mp3 import after_id3, read_info
from bot.audio.mp4 import has_edit_list, has_many_edits, mp4_duration, repair_mp4
from bot.audio.ogg import CAPTURE, OggPage
from bot.audio.ogg_search import find_pages
from bot.audio.repair import AS_IS, Repair, StatedLength, stated_length
from bot.audio.riff import repair_caf, repair_wav
from bot.errors import GiveUp
from storage.records import Container, Timing

DEMUXERS = {
    Container.OGG_OPUS: "ogg",
    Container.OGG_VORBIS: "ogg",
    Container.OGG_FLAC: "ogg",
    Container.MP4_AAC: "mov",
    Container.ADTS_AAC: "aac",
    Container.MP3: "mp3",
    Container.WAV: "wav",
    Container.CAF: "caf",
    Container.WEBM: "matroska",
    Container.FLAC: "flac",
}
_OGG_CODECS = (
    (b"OpusHead", Container.OGG_OPUS),
    (b"\x01vorbis", Container.OGG_VORBIS),
    (b"\x7fFLAC", Container.OGG_FLAC),
)
LEFT_IN = {Container.MP3: 3200, Container.MP4_AAC: 12_288}
"""Samples at 48 kHz, at most: of MP3 decoders leave 529 of the source's padding in, which may have 8 kHz; of MP4 older
builds of ffmpeg leave in the end of the last frame, which may be one of HE-AAC at 8 kHz."""
_FRAMES: tuple[tuple[Container, Measure], ...] = ((Container.ADTS_AAC, adts_frame), (Container.MP3, mp3_frame))
_MAX_PAGES = 16
_IN_FRONT = 4096  # bytes in front of an Ogg page, behind a tag
_MAGIC = re.compile(
    rb"(?s)\x00\x00..ftyp[ -~]{4}|RIFF....WAVE|RF64....WAVE|caff\x00\x01\x00\x00desc"
    rb"|fLaC[\x00\x80]\x00\x00\x22|\x1aE\xdf\xa3[\x01-\xfe].{,40}(?:webm|matroska)"
)
"""What other bytes hardly ever look like: more of a container's beginning than where it stands at the beginning."""


def sniff(file: BinaryIO) -> Container:
    """The container by its bytes; for Ogg that begins without a head, Opus: its pages must prove it. Raises GiveUp:
    `empty`, `not_audio`."""
    return find(file)[0]


def find(file: BinaryIO) -> tuple[Container, int]:
    """The same, and where it begins: there may be a tag in front of it, or some other bytes. Frames of MP3 and ADTS and
    pages of Ogg are found by their own walks. Raises GiveUp: `empty`, `not_audio`."""
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
    found = [(place, container) for container, measure in _FRAMES if (place := _first(file, begin, end, measure))]
    if found:
        return min(found)[1], 0
    raise GiveUp("the chunk is not audio", reason="not_audio")


def _by_magic(start: bytes) -> Container | None:
    """By the first bytes of a container."""
    if start[4:8] == b"ftyp":
        return Container.MP4_AAC
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return Container.WAV
    for magic, container in ((b"caff", Container.CAF), (b"fLaC", Container.FLAC), (b"\x1aE\xdf\xa3", Container.WEBM)):
        if start.startswith(magic):
            return container
    return None


def _sniff_ogg(file: BinaryIO) -> Container | None:
    """By the first page of each stream; damage is found later, by the checksums. None where there is no whole page."""
    file.seek(0)
    pages = [found for found in islice(find_pages(file), 2 * _MAX_PAGES) if isinstance(found, OggPage)]
    if not pages or not pages[0].begins:
        return Container.OGG_OPUS if pages else None
    for page in takewhile(lambda page: page.begins, pages):
        for magic, container in _OGG_CODECS:
            if page.body.startswith(magic):
                return container
    raise GiveUp("the chunk holds no codec of sound that is known", reason="not_audio")


def _is_ogg(file: BinaryIO) -> bool:
    """A page begins soon, behind bytes that don't belong there."""
    file.seek(after_id3(file))
    return CAPTURE in file.read(_IN_FRONT)


def _is_row(file: BinaryIO, at: int, end: int, measure: Measure) -> bool:
    """MP3 or ADTS: two frames in a row, or one that is the whole file."""
    file.seek(at)
    frame = measure(file.read(7))
    if frame is None or at + frame.size > end:
        return False
    file.seek(at + frame.size)
    following = file.read(7)
    return not following or measure(following) is not None or following.startswith(b"TAG")


def _first(file: BinaryIO, begin: int, end: int, measure: Measure) -> int | None:
    return first_frame(file, begin, min(end, begin + CLOSE), measure)


def find_repair(file: BinaryIO, container: Container) -> Repair:
    """How a file has to be decoded that is damaged, or says of itself what is not so; of Ogg its pages tell. Raises
    GiveUp: `truncated` where the container says that more bytes should be there, `undecodable` where there is more
    damage than sound is worth."""
    look = {
        Container.MP4_AAC: repair_mp4,
        Container.WAV: repair_wav,
        Container.CAF: repair_caf,
        Container.MP3: repair_mp3,
        Container.ADTS_AAC: repair_adts,
        Container.WEBM: repair_matroska,
        Container.FLAC: repair_flac,
    }.get(container)
    return look(file) if look else AS_IS


def read_length(file: BinaryIO, container: Container) -> StatedLength | None:
    """What the container says of the length of its sound; None where it says nothing that counts."""
    say = {Container.MP3: _mp3_samples, Container.FLAC: streaminfo, Container.MP4_AAC: mp4_duration}.get(container)
    found = say(file) if say else None
    return stated_length(*found) if found else None


def _mp3_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Of an Info frame; decoders leave some of the padding in."""
    info = read_info(file)
    samples = info.samples() if info else None
    return (samples, info.header.sample_rate) if info and samples else None


def timing(file: BinaryIO, container: Container) -> Timing:
    """Exact where the container tells its padding or has none."""
    exact = {
        Container.OGG_OPUS: _yes,
        Container.OGG_VORBIS: _yes,
        Container.OGG_FLAC: _yes,
        Container.WAV: _is_pcm_wav,
        Container.FLAC: _yes,
        Container.CAF: _is_pcm_caf,
        Container.WEBM: _is_webm_opus,
        Container.MP3: _has_lame_tag,
        Container.MP4_AAC: has_edit_list,
    }.get(container)
    return Timing.EXACT if exact is not None and exact(file) else Timing.ESTIMATED


def _yes(_: BinaryIO) -> bool:
    return True


def _is_pcm_wav(file: BinaryIO) -> bool:
    file.seek(0)
    start = file.read(4096)
    at = start.find(b"fmt ")
    return at > 0 and start[at + 8 : at + 10] in (b"\x01\0", b"\x03\0", b"\xfe\xff")  # PCM, float, extensible


def _is_pcm_caf(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(32)[28:32] == b"lpcm"


def _is_webm_opus(file: BinaryIO) -> bool:
    file.seek(0)
    return b"A_OPUS" in file.read(65_536)


def _has_lame_tag(file: BinaryIO) -> bool:
    return _mp3_samples(file) is not None


def refuse_crafted(file: BinaryIO, container: Container) -> None:
    """Raises GiveUp (`undecodable`) for what no recorder writes and is dear to decode."""
    if container is Container.MP4_AAC and has_many_edits(file):
        raise GiveUp("the chunk has more edits than a recording", reason="undecodable")
