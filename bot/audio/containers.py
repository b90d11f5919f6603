"""What a file is, by its own bytes, and whether it tells where its sound begins and ends.

A mimetype or a name is the sender's word. What is found here picks the one demuxer that ffmpeg may use: playlists
and manifests (HLS, DASH, ffconcat), which make it read other files, are not among them.
"""

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import BinaryIO

from bot.audio.mp3 import after_id3, read_header, read_info
from bot.audio.mp4 import has_edit_list, has_many_edits, mp4_duration, mp4_is_cut
from bot.audio.ogg import CAPTURE, Page
from bot.audio.ogg_search import find_pages
from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container, Timing

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
_MAX_PARTS = 10_000  # of a WAV or CAF file
_MAX_PAGES = 16
_IN_FRONT = 4096  # bytes in front of an Ogg page, behind a tag
_NO_SIZE = 0xFFFFFF00  # and more: none of a WAV file is so long


def sniff(file: BinaryIO) -> Container:
    """The container by its bytes; for Ogg that begins without a head, Opus: its pages must prove it. Raises GiveUp:
    `empty`, `not_audio`."""
    file.seek(0)
    start = file.read(64)
    if not start:
        raise GiveUp("the chunk has no bytes", reason="empty")
    if start.startswith(b"OggS"):
        return _sniff_ogg(file) or Container.OGG_OPUS
    if start[4:8] == b"ftyp":
        return Container.MP4_AAC
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return Container.WAV
    for magic, container in ((b"caff", Container.CAF), (b"fLaC", Container.FLAC), (b"\x1aE\xdf\xa3", Container.WEBM)):
        if start.startswith(magic):
            return container
    found = _sniff_ogg(file) if _is_ogg(file) else None
    return found or _sniff_frames(file)


def _sniff_ogg(file: BinaryIO) -> Container | None:
    """By the first page of each stream; damage is found later, by the checksums. None where there is no whole page."""
    file.seek(0)
    pages = [found for found in islice(find_pages(file), 2 * _MAX_PAGES) if isinstance(found, Page)]
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


def _sniff_frames(file: BinaryIO) -> Container:
    """MP3 or ADTS: two frames in a row, or one that is the whole file."""
    offset = after_id3(file)
    end = file.seek(0, 2)
    for container, measure in ((Container.ADTS_AAC, _adts_size), (Container.MP3, _mp3_size)):
        file.seek(offset)
        size = measure(file.read(7))
        if not size or offset + size > end:
            continue
        file.seek(offset + size)
        following = file.read(7)
        if not following or measure(following) or following.startswith(b"TAG"):
            return container
    raise GiveUp("the chunk is not audio", reason="not_audio")


def _mp3_size(head: bytes) -> int:
    header = read_header(head)
    return header.size if header else 0


def _adts_size(head: bytes) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else 0


@dataclass(frozen=True, slots=True)
class Told:
    """A length at 48 kHz, and how much of it may be due to rounding."""

    samples: int
    unit: int  # samples


def told_length(file: BinaryIO, container: Container) -> Told | None:
    """What the container says of the length of its sound; None where it says nothing that counts."""
    say = {Container.MP3: _mp3_samples, Container.FLAC: _flac_samples, Container.MP4_AAC: mp4_duration}.get(container)
    found = say(file) if say else None
    if not found or not all(found):
        return None
    units, a_second = found
    return Told(-(-units * SAMPLE_RATE // a_second), -(-SAMPLE_RATE // a_second))


def _mp3_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Of an Info frame; decoders leave some of the padding in."""
    info = read_info(file)
    samples = info.samples() if info else None
    return (samples, info.header.sample_rate) if info and samples else None


def _flac_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Of STREAMINFO (RFC 9639, section 8.2), which comes first."""
    file.seek(0)
    start = file.read(26)
    packed = int.from_bytes(start[18:26], "big")
    return (packed & (1 << 36) - 1, packed >> 44) if len(start) == 26 else None


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


def refuse_truncated(file: BinaryIO, container: Container) -> None:
    """Raises GiveUp (`truncated`) where the container says that more bytes should be there; of Ogg its pages tell."""
    length = file.seek(0, 2)
    if container is Container.MP4_AAC:
        cut = mp4_is_cut(file, length)
    elif container is Container.WAV:
        cut = _wav_is_cut(file, length)
    elif container is Container.CAF:
        cut = _caf_is_cut(file, length)
    else:
        return
    if cut:
        raise GiveUp("the chunk's file ends too early", reason="truncated")


def refuse_crafted(file: BinaryIO, container: Container) -> None:
    """Raises GiveUp (`undecodable`) for what no recorder writes and is dear to decode."""
    if container is Container.MP4_AAC and has_many_edits(file):
        raise GiveUp("the chunk has more edits than a recording", reason="undecodable")


def _caf_is_cut(file: BinaryIO, length: int) -> bool:
    """Chunks of type and size (64 bits, -1: to the end of the file)."""
    at = 8
    for _ in range(_MAX_PARTS):
        if at >= length:
            return False
        file.seek(at)
        head = file.read(12)
        size = int.from_bytes(head[4:], "big", signed=True)
        if size < 0:
            return False
        if len(head) < 12 or at + 12 + size > length:
            return True
        at += 12 + size
    return True


def _wav_is_cut(file: BinaryIO, length: int) -> bool:
    """Recorders that stream write a size of 0 or all ones: those say nothing, or that it stands in the chunk of RF64
    for long sizes (EBU Tech 3306)."""
    at, long = 12, 0
    for _ in range(_MAX_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return True
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"ds64":
            long = int.from_bytes(file.read(16)[8:], "little", signed=True)
        if head[:4] == b"data":
            return at + 8 + (size if size < _NO_SIZE else long) > length
        at += 8 + size + size % 2
    return True
