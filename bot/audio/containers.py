"""What a file is, by its own bytes, and whether it tells where its sound begins and ends.

A mimetype or a name is the sender's word. What is found here picks the one demuxer that ffmpeg may use: playlists
and manifests (HLS, DASH, ffconcat), which make it read other files, are not among them.
"""

from collections.abc import Iterator
from typing import BinaryIO

from bot.audio.mp3 import after_id3, read_header, read_info
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
_MAX_BOXES = 10_000
_MAX_PAGES = 16
_MAX_TRACKS = 16
Box = tuple[bytes, int, int]  # type, where its content begins and ends


def sniff(file: BinaryIO) -> Container:
    """The container by its bytes; for Ogg that begins without a head, Opus: its pages must prove it. Raises GiveUp:
    `empty`, `not_audio`."""
    file.seek(0)
    start = file.read(64)
    if not start:
        raise GiveUp("the chunk has no bytes", reason="empty")
    if start.startswith(b"OggS"):
        return _sniff_ogg(file)
    if start[4:8] == b"ftyp":
        return Container.MP4_AAC
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return Container.WAV
    for magic, container in ((b"caff", Container.CAF), (b"fLaC", Container.FLAC), (b"\x1aE\xdf\xa3", Container.WEBM)):
        if start.startswith(magic):
            return container
    return _sniff_frames(file)


def _sniff_ogg(file: BinaryIO) -> Container:
    """By the first page of each stream; damage is found later, by the checksums."""
    file.seek(0)
    for number in range(_MAX_PAGES):
        head = file.read(27)
        begins = len(head) == 27 and head.startswith(b"OggS") and bool(head[5] & 2)
        if not begins and number == 0:
            return Container.OGG_OPUS
        if not begins:
            break
        body = file.read(sum(file.read(head[26])))
        for magic, container in _OGG_CODECS:
            if body.startswith(magic):
                return container
    raise GiveUp("the chunk holds no codec of sound that is known", reason="not_audio")


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


def mp3_samples(file: BinaryIO) -> int | None:
    """What an MP3's Info frame says of its length, at 48 kHz; decoders leave some of the padding in."""
    info = read_info(file)
    samples = info.samples() if info else None
    if info is None or samples is None:
        return None
    return -(-samples * SAMPLE_RATE // info.header.sample_rate)


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
        Container.MP4_AAC: _has_edit_list,
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
    return mp3_samples(file) is not None


def _has_edit_list(file: BinaryIO) -> bool:
    """An edit list that cuts the priming, in a file that is not fragmented (there ffmpeg knows no end)."""
    file.seek(0)
    boxes = list(_boxes(file, 0, file.seek(0, 2)))
    if any(kind == b"moof" for kind, _, _ in boxes):
        return False
    inside = [box for box in boxes if box[0] == b"moov"]
    for name in (b"trak", b"edts", b"elst"):
        # A few of each: a hostile file may nest thousands.
        parents, inside = inside[:_MAX_TRACKS], []
        for _, start, end in parents:
            inside += [(kind, at, min(to, end)) for kind, at, to in _boxes(file, start, end) if kind == name]
    return any(_media_time(file, start) > 0 for _, start, _ in inside)


def _media_time(file: BinaryIO, start: int) -> int:
    """Where the first edit begins in the media (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(start)
    box = file.read(24)
    wide = box[:1] == b"\x01"
    return int.from_bytes(box[16:24] if wide else box[12:16], "big", signed=True) if len(box) == 24 or not wide else 0


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places, by their sizes; one that goes past `end` is given as it claims to be."""
    at = start
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if at + 8 > end or len(head) < 8:
            return
        size, content = int.from_bytes(head[:4], "big"), at + 8
        if size == 1 and len(head) == 16:
            size, content = int.from_bytes(head[8:], "big"), at + 16
        elif size == 0:
            size = end - at
        if size < content - at:
            return
        yield head[4:8], content, at + size
        at += size


def refuse_truncated(file: BinaryIO, container: Container) -> None:
    """Raises GiveUp (`truncated`) where the container says that more bytes should be there. Ogg: see its pages."""
    length = file.seek(0, 2)
    if container is Container.MP4_AAC:
        boxes = list(_boxes(file, 0, length))
        names = {kind for kind, _, _ in boxes}
        cut = b"moov" not in names or any(end > length for _, _, end in boxes)
    elif container is Container.WAV:
        cut = _wav_is_cut(file, length)
    else:
        return
    if cut:
        raise GiveUp("the chunk's file ends too early", reason="truncated")


def _wav_is_cut(file: BinaryIO, length: int) -> bool:
    """Recorders that stream write a size of 0 or all ones: those say nothing."""
    at = 12
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return True
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return size < 0xFFFFFF00 and at + 8 + size > length
        at += 8 + size + size % 2
    return True
