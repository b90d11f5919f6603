"""The containers that are decoded: the demuxer, the repair, the stated length and the exactness of each.

Only these demuxers are ever used: playlists and manifests (HLS, DASH, ffconcat), which make ffmpeg read other files,
are not among them.
"""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from bot.audio import amr
from bot.audio.flac import repair_flac, streaminfo
from bot.audio.frames import repair_adts, repair_mp3
from bot.audio.matroska import repair_matroska
from bot.audio.mp3 import read_info
from bot.audio.mp4 import has_edit_list, has_many_edits, mp4_duration, repair_mp4
from bot.audio.repair import AS_IS, Repair, StatedLength, stated_length
from bot.audio.riff import repair_caf, repair_wav
from bot.errors import GiveUp
from storage.records import Container, Timing

MP4 = frozenset({Container.MP4_AAC, Container.MP4_AMR, Container.MP4_AMR_WB})
AMR = frozenset({Container.AMR, Container.AMR_WB})  # whose frames are counted, all of one length
LEFT_IN = {Container.MP3: 3200, Container.MP4_AAC: 12_288}
"""Samples at 48 kHz that a decoder may leave in of the padding, at most. MP3: 529 samples of the source, whose rate may
be 8 kHz. MP4: older builds of ffmpeg leave in the end of the last frame, which may be one of HE-AAC at 8 kHz."""


def find_repair(file: BinaryIO, container: Container) -> Repair:
    """Return how to decode a file that may be damaged or state wrong lengths. Ogg is repaired page by page by its
    own reader, so it is decoded as it is here.

    Raises GiveUp: `truncated` where the container announces bytes that are missing, `undecodable` where the file is
    damaged in too many places.
    """
    looks: dict[Container, Callable[[BinaryIO], Repair]] = {
        **dict.fromkeys(MP4, repair_mp4),
        Container.WAV: repair_wav,
        Container.CAF: repair_caf,
        Container.MP3: repair_mp3,
        Container.ADTS_AAC: repair_adts,
        Container.WEBM: repair_matroska,
        Container.FLAC: repair_flac,
        Container.AMR: partial(amr.repair_amr, codec=amr.NARROW),
        Container.AMR_WB: partial(amr.repair_amr, codec=amr.WIDE),
    }
    look = looks.get(container)
    return look(file) if look else AS_IS


def read_length(file: BinaryIO, container: Container) -> StatedLength | None:
    """Return the length that the container states for its sound; None where it states no useful one."""
    of_mp4 = dict.fromkeys(MP4, mp4_duration)
    read = {Container.MP3: _mp3_samples, Container.FLAC: streaminfo, **of_mp4}.get(container)
    length = read(file) if read else None
    return stated_length(*length) if length else None


def _mp3_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Return the samples that an Info frame announces, and their rate. Decoders leave some of the padding in."""
    info = read_info(file)
    samples = info.samples() if info else None
    return (samples, info.header.sample_rate) if info and samples else None


def timing(file: BinaryIO, container: Container) -> Timing:
    """Return the exactness of the decoded length: exact where the container states its padding or has no padding."""
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
    """Raise GiveUp (`undecodable`) for files that no recorder writes and that are costly to decode."""
    if container in MP4 and has_many_edits(file):
        raise GiveUp("the chunk has more edits than a recording", reason="undecodable")
