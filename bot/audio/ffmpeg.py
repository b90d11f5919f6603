"""ffmpeg: decodes, describes and encodes sound, and crops a picture to a square.

The command lines are in bot.audio.command_lines, the limits of each run in bot.audio.limits. A file that hits a limit
may be tried once more with larger ones, alone, so that a busy machine refuses no healthy file.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg

from bot import counted
from bot.audio import command_lines
from bot.audio.child import Child, OutOfTime, running, was_ended
from bot.audio.command_lines import Picture
from bot.audio.limits import CHANGING_S, Limits
from bot.audio.opus_arriving import OpusArriving, Stretch
from bot.audio.slots import Slots
from bot.audio.source import Source, read_source
from bot.errors import ConfigError, GiveUp, LimitHit, TryLater
from storage.records import SAMPLE_RATE, Container

SHORT_S = 905.0  # of sound: what others can wait for, with the little that is decoded or encoded beside
MAX_PICTURE_BYTES = 8 * 1024 * 1024
DESCRIBED = 1000  # files whose description is kept: opening one may cost as much as decoding a minute
_SAID = 1 << 16  # bytes of standard error that are kept: the first and the last
Tries = tuple[bool, ...]
"""For each try at a file, made when the one before it hit a limit: whether it is made alone and with larger limits."""
FIRST: Tries = (False,)
AGAIN: Tries = (True,)
BOTH: Tries = (False, True)

_Key = tuple[Container, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """An ffmpeg program that was found to run. At most two children decode and two encode at once. The limits are
    separate because an encoder waits for decoders: with one common limit, two encoders could wait indefinitely.
    """

    exe: str
    version: str = ""
    _decoding: Slots = field(default_factory=Slots, repr=False, compare=False)
    _encoding: Slots = field(default_factory=Slots, repr=False, compare=False)
    _described: dict[_Key, Source] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def find(cls, configured: str | None = None) -> "Ffmpeg":
        """Return the configured program, else that of the imageio-ffmpeg wheel. Blocks for some 50 ms.

        Raises ConfigError naming audio.ffmpeg when it does not exist, doesn't run, or can't write MP3 or Opus.
        """
        exe = _bundled() if configured is None else shutil.which(Path(configured).expanduser())
        if exe is None:
            raise ConfigError(f"audio.ffmpeg: there is no program {configured}")
        exe = str(Path(exe).absolute())
        version = _ask(exe, "-version").split(b"\n", 1)[0].decode("ascii", "replace")
        if not version.startswith("ffmpeg"):
            raise ConfigError(f"audio.ffmpeg: {exe} is not ffmpeg")
        encoders = _ask(exe, "-encoders")
        for form, encoder in (("MP3", b"libmp3lame"), ("Opus", b"libopus")):
            if encoder not in encoders:
                raise ConfigError(f"audio.ffmpeg: {exe} can't write {form} (it is built without {encoder.decode()})")
        return cls(exe, version)

    @property
    def retrying(self) -> bool:
        """Whether a file that hit a limit is being decoded again, so that another one has to wait."""
        return self._decoding.retrying

    @property
    def encodes_nothing(self) -> bool:
        """Whether all encoders are free."""
        return self._encoding.idle

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
        """Yield the sound as 32-bit float PCM (little-endian) at `rate`, no more than `max_seconds` of it.

        The seconds are counted here, since ffmpeg's own limit uses time stamps, between which there may be no sound.
        Where rate or channels change, the file is decoded again from the beginning, with less CPU time. `long`: whether
        the slot for long files is used; by default `max_seconds` decides. A run without errors proves nothing: ffmpeg
        often passes over damage. Close the iterator if you leave it early.

        Raises GiveUp (`undecodable`) at the end when ffmpeg fails, LimitHit when the last of the `tries` hit a limit,
        and TryLater when another file is being tried again.
        """
        if long is None:
            long = max_seconds > SHORT_S
        sent = 0
        for number, again in enumerate(tries, start=1):
            came = 0
            try:
                decoded = self._decode_once(path, container, max_seconds, channels, rate, long=long, again=again)
                async with aclosing(decoded) as blocks:
                    async for block in blocks:
                        came += len(block)
                        if came > sent:
                            yield block[sent - came :]
                            sent = came
                return
            except LimitHit:
                if number == len(tries):
                    raise

    async def _decode_once(
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
        size, sent, code = 4 * channels, 0, 0
        wanted = int(max_seconds * rate) * size
        few = min(wanted, int(CHANGING_S * rate) * size)
        async with self._decoding.retry(long=long) if again else self._decoding.first(long=long):
            for changing, most in ((False, wanted), (True, few)):
                command = command_lines.decoder(self.exe, path, container, channels, rate, changing=changing)
                limits = Limits.changing(max_seconds) if changing else Limits.decoding(max_seconds)
                came = 0
                limits = limits.more() if again else limits
                async with _time_as_limit(), running(command, limits, work="decode") as child:
                    while came < most and (block := (await child.read_block())[: most - came]):
                        came += len(block)
                        child.earn(came / (size * rate))
                        if came > sent:
                            yield block[sent - came :]
                            sent = came
                    code = 0 if came == most else await child.end()
                if code == 0 and (came < most or most == wanted):
                    return
                if was_ended(code):
                    raise LimitHit
                if not 0 < sent < few or code < 0:
                    break
        raise GiveUp(f"ffmpeg can't decode the chunk (exit {code})", reason="undecodable")

    async def describe(self, path: Path, container: Container, *, tries: Tries = FIRST) -> Source:
        """Return the rate and the channels of a file. Descriptions are kept, also for files that are moved.

        Raises GiveUp (`undecodable`) when ffmpeg was killed by a signal, LimitHit when the last of the `tries` hit a
        limit (a file that costs too much to open is never decoded), TryLater when another file is being tried again,
        and OSError when there is no file.
        """
        key = _key(path, container)
        source = self._described.get(key)
        if source is None:
            for again in tries:
                try:
                    source = await self._describe_once(path, container, again=again)
                    break
                except LimitHit:
                    if again is tries[-1]:
                        raise
            assert source is not None
            if source.rate:  # without one, ffmpeg may have failed to run at all
                self._described[key] = source
            while len(self._described) > DESCRIBED:
                del self._described[next(iter(self._described))]
        return source

    async def _describe_once(self, path: Path, container: Container, *, again: bool) -> Source:
        limits = Limits.opening().more() if again else Limits.opening()
        command = command_lines.opener(self.exe, path, container)
        async with (
            self._decoding.retry() if again else self._decoding.first(),
            _time_as_limit(),
            running(command, limits, work="describe", hear_errors=True) as child,
        ):
            lines = b""
            while block := await child.read():
                lines += block
                lines = lines[:_SAID] + lines[_SAID:][-_SAID:]
            code = await child.end()
        if was_ended(code):
            raise LimitHit
        if code < 0:
            raise GiveUp("ffmpeg crashed while it opened the chunk", reason="undecodable")
        return read_source(lines)

    async def square(self, path: Path, form: Picture, side: int) -> bytes:
        """Return the middle of a picture's first frame as a JPEG of `side` pixels, or of as many as it has, upright, on
        white where it is clear, without any metadata. Raises GiveUp when it is damaged or too large, TryLater when
        ffmpeg hangs."""
        picture = b""
        command = command_lines.squarer(self.exe, path, form, side)
        async with self._decoding.first(), running(command, Limits.picture(), work="picture") as child:
            while len(picture) <= MAX_PICTURE_BYTES and (block := await child.read()):
                picture += block
            code = await child.end()
        if code or not picture:
            raise GiveUp(f"ffmpeg can't decode the picture (exit {code})", reason="undecodable")
        return picture

    async def encode_mp3(
        self, blocks: AsyncIterable[bytes], out: Path, *, kbps: int, seconds: float, channels: int = 1
    ) -> None:
        """Write PCM as `decode` yields it as bare MP3 frames: 48 kHz, constant rate, no bit reservoir. `seconds`: the
        length of the sound, for the limits. Raises TryLater when ffmpeg hangs or fails."""
        command = command_lines.encoder(self.exe, out, kbps=kbps, channels=channels)
        await self._encode(command, blocks, kbps=kbps, seconds=seconds)

    async def encode_opus(
        self, blocks: AsyncIterable[bytes], out: Path, *, kbps: int, seconds: float, channels: int = 1
    ) -> None:
        """Write PCM as `decode` yields it as Ogg Opus, as long as the sound to the sample. Limits and errors
        are those of `encode_mp3`."""
        command = command_lines.opus_encoder(self.exe, out, kbps=kbps, channels=channels)
        await self._encode(command, blocks, kbps=2 * kbps, seconds=seconds)  # its rate varies

    async def to_matroska(self, blocks: AsyncIterable[bytes], *, seconds: float) -> AsyncGenerator[bytes, None]:
        """Yield an Ogg file of several Opus streams (`bot.audio.placed.together`) as a Matroska file with a track for
        each; no packet is encoded anew. `seconds`: of all streams together, for the limits. Close the iterator if you
        leave it early. Raises TryLater when ffmpeg hangs or fails."""
        limits = Limits.copying(seconds)
        async with running(command_lines.to_matroska(self.exe), limits, work="copy", feed=True) as child:
            feeding = asyncio.create_task(_feed(child, blocks))
            try:
                while block := await child.read():
                    yield block
                await feeding
                if code := await child.end():
                    raise TryLater(f"ffmpeg could not write the tracks (exit {code})")
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    async def to_opus(
        self, blocks: AsyncIterable[bytes] | Path, container: Container, *, max_seconds: float
    ) -> AsyncGenerator[Stretch, None]:
        """Yield a file, or what comes from a source for as long as it comes, as one continuous encoding to Opus. No
        more is read than is taken, no more than `max_seconds` is put out. Close the iterator if you leave it early.

        What a source raises is raised once its sound so far was yielded. Raises GiveUp (`undecodable`, `not_audio`).
        """
        path, opus, samples = (blocks if isinstance(blocks, Path) else None), OpusArriving(), 0
        command = command_lines.to_opus(self.exe, container, path)
        async with running(command, Limits.streaming(max_seconds), work="stream", feed=path is None) as child:
            feeding = None if isinstance(blocks, Path) else asyncio.create_task(_feed_as_it_comes(child, blocks))
            try:
                while samples < max_seconds * SAMPLE_RATE and (block := await child.read()):
                    for stretch in opus.feed(block):
                        samples += stretch.samples
                        yield stretch
                    child.earn(samples / SAMPLE_RATE)
                if samples >= max_seconds * SAMPLE_RATE:
                    return
                if feeding is not None:
                    await feeding
                if code := await child.end():
                    raise GiveUp(f"ffmpeg can't decode what comes (exit {code})", reason="undecodable")
            except TryLater as error:
                raise GiveUp(f"what comes is not what it says: {error}", reason="undecodable") from None
            finally:
                if feeding is not None:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
                counted.ENCODED.add(by=samples / SAMPLE_RATE)

    async def _encode(self, command: Sequence[str], blocks: AsyncIterable[bytes], *, kbps: int, seconds: float) -> None:
        """Run an encoder. It is started once there is something to encode: the start of the decoder comes first."""
        limits = Limits.encoding(seconds, int(seconds + 10) * kbps * 250)  # twice the room that it takes
        async with self._encoding.first(long=seconds > SHORT_S):
            coming = aiter(blocks)
            first = await anext(coming, b"")
            async with running(command, limits, work="encode", feed=True) as child:
                await child.write(first)
                async for block in coming:
                    await child.write(block)
                if code := await child.end():
                    raise TryLater(f"ffmpeg could not write the sound (exit {code})")
        counted.ENCODED.add(by=seconds)


async def _feed(child: Child, blocks: AsyncIterable[bytes]) -> None:
    async for block in blocks:
        await child.write(block)
    child.close_input()


async def _feed_as_it_comes(child: Child, blocks: AsyncIterable[bytes]) -> None:
    """Write what comes to a child's input, and close that also where the source breaks off: what came so far is put
    out then. Raises what the source raises, and TryLater where the child stopped reading."""
    try:
        async for block in blocks:
            await child.write(block)
    finally:
        child.close_input()


@asynccontextmanager
async def _time_as_limit() -> AsyncIterator[None]:
    """Raise LimitHit for a child that hangs: waiting time is limited as CPU time is."""
    try:
        yield
    except OutOfTime:
        raise LimitHit from None


def _key(path: Path, container: Container) -> _Key:
    """Return a key that stays when the file is moved, and changes when it is written to."""
    status = path.stat()
    return container, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


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
