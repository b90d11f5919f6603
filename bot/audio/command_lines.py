"""ffmpeg's command lines.

Files of strangers are opened with one demuxer that we name, of one protocol, with a list of decoders: the addresses and
paths in a playlist or manifest that looks like sound are never opened.
"""

from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from bot.errors import GiveUp
from storage.records import SAMPLE_RATE, Container

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
    Container.AMR: "amr",
    Container.AMR_WB: "amr",
    Container.MP4_AMR: "mov",
    Container.MP4_AMR_WB: "mov",
}
DECODERS = {
    Container.AMR: "libopencore_amrnb",
    Container.AMR_WB: "libopencore_amrwb",
    Container.MP4_AMR: "libopencore_amrnb",
    Container.MP4_AMR_WB: "libopencore_amrwb",
}
"""Decoders that are chosen by name: ffmpeg's own of AMR knows no silence of a recorder that stops sending."""

EFFORT = 7
"""LAME's, from 0 (slow) to 9: the default of 5 costs twice as much (24 s of CPU for an hour) as 7."""
CODECS = (
    "opus,libopus,vorbis,flac,alac,aac,aac_fixed,mp3,mp3float,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw"
)
MAX_PIXELS = 40_000_000
PROBE_BYTES = 1 << 16
"""Bytes of a live source that may be read before its sound begins."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The part of ffmpeg that may open a picture."""

    demuxer: str
    codec: str


def decoder(exe: str, path: Path, container: Container, channels: int, rate: int, *, changing: bool) -> list[str]:
    """Return the command that decodes a chunk to 32-bit float PCM (little-endian) on standard output.

    Without `changing`, sound that gets another rate or other channels on the way is an error. Raises GiveUp
    (`not_audio`) for a container that is not known.
    """
    source = _input(path, container, reinit_filter=int(changing))
    output = source["a:0"].output(
        "pipe:1",
        f="f32le",
        acodec="pcm_f32le",
        ac=channels,
        rematrix_maxval=1,  # the mean of two channels: their sum would be louder than either
        ar=rate,
        filter_threads=1,  # else each set-up of the filters starts a thread for each processor
        map_metadata=-1,
        flush_packets=0,  # in blocks of 32 KiB instead of one packet each: half the cost of the pipe
        loglevel="fatal",
    )
    return _compiled(exe, output)


def opener(exe: str, path: Path, container: Container) -> list[str]:
    """Return the command that opens a chunk, decodes nothing, and describes its streams on standard error. Raises
    GiveUp (`not_audio`) for a container that is not known."""
    source = _input(path, container)
    output = source["a:0"].output("pipe:1", f="null", t=0, map_metadata=-1, filter_threads=1, loglevel="info")
    return _compiled(exe, output)


def squarer(exe: str, path: Path, form: Picture, side: int) -> list[str]:
    """Return the command that writes the middle of a picture's first frame as a JPEG to standard output: a square of
    `side` pixels, or of as many as it has."""
    source = ffmpeg.input(
        f"file:{path.absolute()}",
        f=form.demuxer,
        format_whitelist=form.demuxer,
        protocol_whitelist="file",
        codec_whitelist=form.codec,
        max_pixels=MAX_PIXELS,
        err_detect="explode",
        threads=1,
    )
    fitted = (
        source["v:0"]
        .filter("crop", "min(iw,ih)", "min(iw,ih)")  # first: a long strip would be scaled to gigabytes
        .filter("scale", f"min(iw,{side})", f"min(ih,{side})", flags="lanczos")
        .filter("setsar", 1)
        .filter("sidedata", mode="delete")  # Exif, colour profiles: they may show where a picture was taken
        .filter("format", "rgba")
        .split()
    )
    white = fitted[0].filter("drawbox", color="white", t="fill", replace=1)
    output = ffmpeg.overlay(white, fitted[1], format="rgb").output(
        "pipe:1",
        f="image2pipe",
        vcodec="mjpeg",
        pix_fmt="yuvj420p",
        vframes=1,
        filter_complex_threads=1,
        map_metadata=-1,
        fflags="+bitexact",
        flags="+bitexact",
        loglevel="fatal",
        **{"q:v": 3},
    )
    return _compiled(exe, output.global_args("-xerror"))


def encoder(exe: str, out: Path, *, kbps: int, channels: int) -> list[str]:
    """Return the command that writes PCM from standard input as bare MP3 frames: 48 kHz, constant rate, no bit
    reservoir (each frame can be decoded alone)."""
    source = ffmpeg.input("pipe:0", f="f32le", ac=channels, ar=SAMPLE_RATE, protocol_whitelist="pipe")
    output = source.output(
        f"file:{out}",
        f="mp3",
        acodec="libmp3lame",
        audio_bitrate=f"{kbps}k",
        compression_level=EFFORT,
        reservoir=0,
        id3v2_version=0,
        write_xing=0,
        map_metadata=-1,
        loglevel="fatal",
    )
    return _compiled(exe, output)


def opus_encoder(exe: str, out: Path, *, kbps: int, channels: int) -> list[str]:
    """Return the command that writes PCM from standard input as Ogg Opus. The same sound gives the same file.

    The encoder uses CELT alone: its modes for speech move the wave by a sample or two. More effort than the least
    brings the wave no closer, and costs twice as much.
    """
    source = ffmpeg.input("pipe:0", f="f32le", ac=channels, ar=SAMPLE_RATE, protocol_whitelist="pipe")
    output = source.output(
        f"file:{out}",
        f="ogg",
        acodec="libopus",
        audio_bitrate=f"{kbps}k",
        application="lowdelay",
        compression_level=0,
        map_metadata=-1,
        fflags="+bitexact",
        flags="+bitexact",
        loglevel="fatal",
    )
    return _compiled(exe, output)


def to_opus(exe: str, container: Container, path: Path | None = None) -> list[str]:
    """Return the command that writes sound as Ogg Opus to standard output, as it comes on standard input or lies in the
    file at `path`: of one channel or two, in pages of a tenth of a second. Raises GiveUp (`not_audio`) for a container
    that is not known.

    Time stamps are counted anew, from the samples: sound has no holes, whatever its container says. The encoder uses
    CELT alone, as `opus_encoder`.
    """
    source = _input(path, container, probesize=PROBE_BYTES, analyzeduration=1_000_000)
    sound = source["a:0"].filter("aformat", channel_layouts="mono|stereo").filter("asetpts", "N/SR/TB")
    output = sound.output(
        "pipe:1",
        f="ogg",
        acodec="libopus",
        ar=SAMPLE_RATE,
        application="lowdelay",
        compression_level=5,
        page_duration=100_000,  # microseconds
        flush_packets=1,
        filter_complex_threads=1,
        map_metadata=-1,
        fflags="+bitexact",
        flags="+bitexact",
        loglevel="fatal",
    )
    return _compiled(exe, output)


def to_matroska(exe: str) -> list[str]:
    """Return the command that puts the streams of an Ogg file from standard input into a Matroska file on standard
    output, packet by packet, with their titles."""
    source = ffmpeg.input("pipe:0", f="ogg", format_whitelist="ogg", protocol_whitelist="pipe", threads=1)
    output = source.output("pipe:1", f="matroska", map="0", codec="copy", fflags="+bitexact", loglevel="fatal")
    return _compiled(exe, output)


def _input(path: Path | None, container: Container, **options: object) -> "ffmpeg.nodes.FilterableStream":
    """Open a file, or standard input where there is none, with the one demuxer of its container."""
    demuxer = DEMUXERS.get(container)
    if demuxer is None:
        raise GiveUp("the chunk's container is not known", reason="not_audio")
    decoder = DECODERS.get(container)
    if decoder is not None:
        options = {**options, "acodec": decoder}
    return ffmpeg.input(
        "pipe:0" if path is None else f"file:{path.absolute()}",
        f=demuxer,
        format_whitelist=demuxer,
        protocol_whitelist="pipe" if path is None else "file",
        codec_whitelist=decoder or CODECS,
        threads=1,
        **options,
    )


def _compiled(exe: str, output: "ffmpeg.nodes.OutputStream") -> list[str]:
    command = output.global_args("-nostdin", "-hide_banner", "-nostats").overwrite_output().compile(cmd=exe)
    return [str(part) for part in command]
