"""The one door to ffmpeg: what it is, what it is told, and what it may not do.

What strangers send is opened from a file with one demuxer named by us: a playlist or manifest in sound's clothes
is never looked into, and the file protocol is the only one. What a running one may use stands in bot.audio.child.
"""

import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ffmpeg
import imageio_ffmpeg

from bot.audio.child import CHANGING_S, Limits, OutOfTime, Slots, running, was_ended
from bot.audio.containers import DEMUXERS
from bot.errors import ConfigError, GiveUp, LimitHit, TryLater
from storage.records import SAMPLE_RATE, Container

SHORT_S = 905.0  # of sound: what others can wait for, with the little that is decoded or encoded beside
EFFORT = 7
"""LAME's, from 0 (slow) to 9: the default of 5 costs twice as much (24 s of CPU for an hour) as 7."""
CODECS = (
    "opus,libopus,vorbis,flac,alac,aac,aac_fixed,mp3,mp3float,"
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw"
)
# Bounded in each part: what the file says of itself stands among it, and must not cost the square of its length.
_STREAM = re.compile(
    rb"^[ \t]{0,9}Stream #0:\d{1,9}[^\n]{0,200}: Audio: ([^\n]{0,200}?), (\d{1,10}) Hz, ([^,\n]{1,80})", re.MULTILINE
)
_LAYOUTS = {
    b"mono": 1,
    b"stereo": 2,
    b"binaural": 2,
    b"downmix": 2,
    b"quad": 4,
    b"hexagonal": 6,
    b"octagonal": 8,
    b"cube": 8,
}
PICTURE_SIDE = 1400  # pixels; podcast directories ask for 1400 to 3000
MAX_PIXELS = 40_000_000
MAX_PICTURE_BYTES = 8 * 1024 * 1024
DESCRIBED = 1000  # files that are remembered: opening one may cost what decoding a minute does
_SAID = 1 << 16  # bytes of what ffmpeg says: the first and the last
Tries = tuple[bool, ...]
"""For each try at a file, when the one before it hit a limit, whether it is made alone and with more time."""
FIRST: Tries = (False,)
AGAIN: Tries = (True,)
BOTH: Tries = (False, True)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's sound before it is decoded; zeros where ffmpeg can't tell."""

    rate: int  # Hz
    channels: int
    maybe_mono: bool = False  # HE-AAC doesn't always say whether one channel is spread to two: ffmpeg makes two of it


@dataclass(frozen=True, slots=True)
class Picture:
    """What may open a picture."""

    demuxer: str
    codec: str


_Key = tuple[Container, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """A program that was seen to run. At most two children decode and two encode at once: an encoder waits for
    decoders and never the other way round, so that one common limit could stop both for ever."""

    exe: str
    version: str = ""
    _decoding: Slots = field(default_factory=Slots, repr=False, compare=False)
    _encoding: Slots = field(default_factory=Slots, repr=False, compare=False)
    _described: dict[_Key, Source] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def find(cls, configured: str | None = None) -> "Ffmpeg":
        """The configured program, else that of the imageio-ffmpeg wheel. Blocks for some 50 ms.

        Raises ConfigError naming audio.ffmpeg when it is not there, doesn't run, or can't write MP3.
        """
        exe = _bundled() if configured is None else shutil.which(Path(configured).expanduser())
        if exe is None:
            raise ConfigError(f"audio.ffmpeg: there is no program {configured}")
        exe = str(Path(exe).absolute())
        version = _ask(exe, "-version").split(b"\n", 1)[0].decode("ascii", "replace")
        if not version.startswith("ffmpeg"):
            raise ConfigError(f"audio.ffmpeg: {exe} is not ffmpeg")
        if b"libmp3lame" not in _ask(exe, "-encoders"):
            raise ConfigError(f"audio.ffmpeg: {exe} can't write MP3 (it is built without libmp3lame)")
        return cls(exe, version)

    async def decode(
        self,
        path: Path,
        container: Container,
        *,
        max_seconds: float,
        channels: int = 1,
        rate: int = SAMPLE_RATE,
        long: bool | None = None,
        tries: Tries = FIRST,
    ) -> AsyncGenerator[bytes, None]:
        """The sound as 32-bit float PCM (little-endian) at `rate`, streamed; no more than `max_seconds`. They are
        counted here: ffmpeg's own limit goes by time stamps, and what lies between two of them may be nothing. Where
        rate or channels change, it is decoded anew from the beginning, with less time.

        `long`: whether it waits for its place among those who take long, if that is not to be told by `max_seconds`.
        Raises GiveUp (`undecodable`) at the end when ffmpeg says so, LimitHit when the last of the `tries` did, and
        TryLater when there is no place for another try now. Its silence proves nothing: damage often passes. Close the
        iterator if it is left early.
        """
        if long is None:
            long = max_seconds > SHORT_S
        given = 0
        for number, again in enumerate(tries, start=1):
            came = 0
            try:
                decoded = self._decoded(path, container, max_seconds, channels, rate, long=long, again=again)
                async with aclosing(decoded) as blocks:
                    async for block in blocks:
                        came += len(block)
                        if came > given:
                            yield block[given - came :]
                            given = came
                return
            except LimitHit:
                if number == len(tries):
                    raise

    async def _decoded(
        self,
        path: Path,
        container: Container,
        max_seconds: float,
        channels: int,
        rate: int,
        *,
        long: bool,
        again: bool,
    ) -> AsyncGenerator[bytes, None]:
        """One try of `decode`."""
        size, given, code = 4 * channels, 0, 0
        wanted = int(max_seconds * rate) * size
        few = min(wanted, int(CHANGING_S * rate) * size)
        async with self._decoding.retry(long=long) if again else self._decoding.first(long=long):
            for changing, most in ((False, wanted), (True, few)):
                command = self._decoder(path, container, channels, rate, changing=changing)
                limits = Limits.changing(max_seconds) if changing else Limits.decoding(max_seconds)
                came = 0
                async with _within_time(), running(command, limits.more() if again else limits) as child:
                    while came < most and (block := (await child.read())[: most - came]):
                        came += len(block)
                        child.earn(came / (size * rate))
                        if came > given:
                            yield block[given - came :]
                            given = came
                    code = 0 if came == most else await child.end()
                if code == 0 and (came < most or most == wanted):
                    return
                if was_ended(code):
                    raise LimitHit
                if not 0 < given < few or code < 0:
                    break
        raise GiveUp(f"ffmpeg can't decode the chunk (exit {code})", reason="undecodable")

    def _decoder(self, path: Path, container: Container, channels: int, rate: int, *, changing: bool) -> list[str]:
        """The command of `decode`. Not `changing`: sound that gets another rate or other channels is an error."""
        source = self._input(path, container, reinit_filter=int(changing))
        output = source["a:0"].output(
            "pipe:1",
            f="f32le",
            acodec="pcm_f32le",
            ac=channels,
            rematrix_maxval=1,  # the mean of two channels: their sum would be louder than either
            ar=rate,
            filter_threads=1,  # else each beginning of the filters is that of a thread for each processor
            map_metadata=-1,
            flush_packets=0,  # in blocks of 32 KiB instead of one packet each: half the cost of the pipe
            loglevel="fatal",
        )
        return self._command(output)

    @property
    def retrying(self) -> bool:
        """Whether a file that hit a limit is being decoded again: another one has to wait."""
        return self._decoding.retrying

    async def describe(self, path: Path, container: Container, *, tries: Tries = FIRST) -> Source:
        """What ffmpeg says of the source before it decodes it. Of a file that it was asked of before, and that was only
        moved since: what it said then.

        Raises GiveUp (`undecodable`) when a limit ended it: what is too dear to open is never decoded. TryLater when
        it hangs, OSError when there is no file.
        """
        key = _key(path, container)
        found = self._described.get(key)
        if found is None:
            for again in tries:
                try:
                    found = await self._describe(path, container, again=again)
                    break
                except LimitHit:
                    if again is tries[-1]:
                        raise
            assert found is not None
            if found.rate:  # else it may be that ffmpeg could not run
                self._described[key] = found
            while len(self._described) > DESCRIBED:
                del self._described[next(iter(self._described))]
        return found

    async def _describe(self, path: Path, container: Container, *, again: bool) -> Source:
        source = self._input(path, container)
        output = source["a:0"].output("pipe:1", f="null", t=0, map_metadata=-1, filter_threads=1, loglevel="info")
        limits = Limits.opening().more() if again else Limits.opening()
        async with (
            self._decoding.retry() if again else self._decoding.first(),
            _within_time(),
            running(self._command(output), limits, hear_errors=True) as child,
        ):
            said = b""
            while block := await child.read():
                said += block
                said = said[:_SAID] + said[_SAID:][-_SAID:]
            code = await child.end()
        if was_ended(code):
            raise LimitHit
        if code < 0:
            raise GiveUp("the chunk ends the program that opens it", reason="undecodable")
        found = _STREAM.findall(said)
        if not found:
            return Source(0, 0)
        # Words of the source may pretend to be ffmpeg's. What it says last is of what comes out, and has none of them.
        codec, (_, rate, layout) = found[0][0], found[-1]
        channels = _channels(layout.strip())
        return Source(int(rate), channels, maybe_mono=b"HE-AAC" in codec and channels == 2)

    async def square(self, path: Path, form: Picture) -> bytes:
        """The middle of a picture's first frame as a JPEG of PICTURE_SIDE, upright, on white where it is clear, with
        nothing else that the file holds. Raises GiveUp when it is damaged or too large, TryLater when it hangs."""
        picture = b""
        async with self._decoding.first(), running(self._square(path, form), Limits.picture()) as child:
            while len(picture) <= MAX_PICTURE_BYTES and (block := await child.read()):
                picture += block
            code = await child.end()
        if code or not picture:
            raise GiveUp(f"ffmpeg can't decode the picture (exit {code})", reason="undecodable")
        return picture

    def _square(self, path: Path, form: Picture) -> list[str]:
        """The command of `square`."""
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
            .filter("scale", PICTURE_SIDE, PICTURE_SIDE, flags="lanczos")
            .filter("setsar", 1)
            .filter("sidedata", mode="delete")  # Exif, colour profiles: where a picture was taken is nobody's concern
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
        return self._command(output.global_args("-xerror"))

    async def encode_mp3(
        self, blocks: AsyncIterable[bytes], out: Path, *, kbps: int, seconds: float, channels: int = 1
    ) -> None:
        """Writes PCM as `decode` gives it as bare MP3 frames: 48 kHz, constant rate, no bit reservoir (each frame
        stands for itself). Raises TryLater when ffmpeg hangs or fails."""
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
        limits = Limits.encoding(seconds, int(seconds + 10) * kbps * 250)  # twice the room that it takes
        async with (
            self._encoding.first(long=seconds > SHORT_S),
            running(self._command(output), limits, feed=True) as child,
        ):
            async for block in blocks:
                await child.write(block)
            if code := await child.end():
                raise TryLater(f"ffmpeg could not write the episode (exit {code})")

    def _input(self, path: Path, container: Container, **options: object) -> "ffmpeg.nodes.FilterableStream":
        demuxer = DEMUXERS.get(container)
        if demuxer is None:
            raise GiveUp("the chunk's container is not known", reason="not_audio")
        return ffmpeg.input(
            f"file:{path.absolute()}",
            f=demuxer,
            format_whitelist=demuxer,
            protocol_whitelist="file",
            codec_whitelist=CODECS,
            threads=1,
            **options,
        )

    def _command(self, output: "ffmpeg.nodes.OutputStream") -> list[str]:
        command = output.global_args("-nostdin", "-hide_banner", "-nostats").overwrite_output().compile(cmd=self.exe)
        return [str(part) for part in command]


@asynccontextmanager
async def _within_time() -> AsyncIterator[None]:
    """Time of the clock is a limit as CPU time is."""
    try:
        yield
    except OutOfTime:
        raise LimitHit from None


def _key(path: Path, container: Container) -> _Key:
    """The same for a file that was moved, another for one that was written to."""
    status = path.stat()
    return container, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _channels(layout: bytes) -> int:
    """How many a layout has by its name: "stereo", "5.1(side)", "3 channels (FL+FR+LFE)"; 0 if that is not known."""
    name = re.split(rb"[ (]", layout)[0]
    if re.fullmatch(rb"\d{1,3}(\.\d{1,3}){1,2}", name):
        return sum(map(int, name.split(b".")))
    return int(name) if re.match(rb"\d{1,5} channels", layout) else _LAYOUTS.get(name, 0)


def _bundled() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        raise ConfigError("audio.ffmpeg: the wheel's program is not there; name one that is installed") from None


def _ask(exe: str, question: str) -> bytes:
    try:
        asked = subprocess.run(
            [exe, "-hide_banner", question],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise ConfigError(f"audio.ffmpeg: {exe} doesn't run") from None
    return asked.stdout
