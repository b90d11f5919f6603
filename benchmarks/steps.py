"""CPU of each step of the audio, for chunks of 120 s and of 5 s, and loudness and peaks of the result."""

import asyncio
import math
import tempfile
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from benchmarks import pipeline, usage
from benchmarks.figures import Figure, at_most
from bot.audio import leveller, waveform
from bot.audio.decode import decode_pieces
from bot.audio.ffmpeg import Ffmpeg
from bot.audio.grid import Form
from bot.audio.inspect import inspect_chunk
from bot.audio.layout import layout
from bot.audio.limiter import limited
from bot.audio.peaks import Pcm
from bot.audio.plan import Piece, Sound, length
from bot.audio.render import AT_ONCE, Rendering, Warm
from bot.audio.track import settled_frames
from storage.records import SAMPLE_RATE, Container, Samples
from tests.audio.levels import loudness, true_peak
from tests.audio.sounds import as_key, local
from tests.audio.voices import music

HOUR = 3600
SECONDS = 600
TARGET = -16.0
FORM = Form(1, 64, TARGET)
CPU_S = 25.0


class Steps:
    """CPU seconds per audio hour, step by step."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._before = usage.cpu_seconds()
        self.taken: list[tuple[str, float]] = []

    def done(self, step: str) -> None:
        now = usage.cpu_seconds()
        self.taken.append((step, (now - self._before) * HOUR / self._seconds))
        self._before = usage.cpu_seconds()

    def __str__(self) -> str:
        return ", ".join(f"{step} {cost:.1f}" for step, cost in self.taken)


async def stored(folder: Path, ffmpeg: Ffmpeg, chunk_seconds: int) -> list[Piece]:
    """Store a broadcast in slices, as Element Web cuts them."""
    pieces: list[Piece] = []
    for number, piece in enumerate(pipeline.slices(SECONDS, chunk_seconds)):
        path = folder / f"{number}.ogg"
        await asyncio.to_thread(path.write_bytes, piece.data)
        facts = await inspect_chunk(path, ffmpeg, max_seconds=HOUR)
        assert facts.ogg is not None
        pieces.append(
            Sound(as_key(path), facts.container, number > 0, facts.ogg.packet_samples if number else facts.samples)
        )
    return pieces


async def apart(pieces: list[Piece], ffmpeg: Ffmpeg, folder: Path, chunk_seconds: int) -> Steps:
    """Run each step alone, over the whole broadcast."""
    steps = Steps(SECONDS)
    sound = np.concatenate([block async for block in decode_pieces(pieces, local, ffmpeg, folder)])
    steps.done("decode")
    parts = [sound[at : at + chunk_seconds * SAMPLE_RATE] for at in range(0, len(sound), chunk_seconds * SAMPLE_RATE)]
    state, gained = leveller.begin(None), []
    steps.done("cut")
    for part in parts:
        gains, state = leveller.curve(part, state, TARGET)
        gained.append(leveller.apply(part, gains, 0))
    steps.done("level")
    for part in gained:
        waveform.peaks(part)
    steps.done("peaks")
    level = np.concatenate(gained)
    blocks = [limited(level[at : at + AT_ONCE], leveller.CEILING_DBTP) for at in range(0, len(level), AT_ONCE)]
    steps.done("limit")
    await ffmpeg.encode_mp3(_fed(blocks), folder / "apart.mp3", kbps=FORM.bitrate, seconds=SECONDS)
    steps.done("MP3")
    return steps


async def _fed(blocks: list[Pcm]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block.tobytes()


async def grown(pieces: list[Piece], ffmpeg: Ffmpeg, folder: Path) -> float:
    """Encode chunk by chunk, as while it is live; return CPU seconds per audio hour."""
    before = usage.cpu_seconds()
    cuts = layout(pieces, FORM)
    warm: Warm | None = None
    first = 0
    for count in range(1, len(pieces) + 1):
        until = settled_frames(length(pieces[:count]))
        rendering = Rendering(
            pieces[:count], cuts[:count], FORM, start_db=None, local=local, ffmpeg=ffmpeg, workdir=folder
        )
        await rendering.make(first, until - first, folder / "part", warm)
        first, warm = until, rendering.warm
        for index, one in rendering.decided.items():
            cuts[index] = one.cut
    return (usage.cpu_seconds() - before) * HOUR / SECONDS


def costs(chunk_seconds: int) -> list[Figure]:
    """Measure chunks of this length."""

    async def measure() -> tuple[Steps, float]:
        ffmpeg = Ffmpeg.find()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pieces = await stored(folder, ffmpeg, chunk_seconds)
            return await apart(pieces, ffmpeg, folder, chunk_seconds), await grown(pieces, ffmpeg, folder)

    steps, whole = asyncio.run(measure())
    what = f"CPU per audio hour of the audio alone, chunks of {chunk_seconds} s"
    more = f" ({steps})"
    if chunk_seconds < 60:
        return [Figure(what, "", f"{whole:.0f} s{more}")]
    return [at_most(what, whole, CPU_S, "s", more)]


def levels() -> list[Figure]:
    """Measure loudness and peaks of ten minutes from recordings at different levels."""
    voice = speech()
    sources: dict[str, Pcm] = {
        "speech as recorded": voice,
        "speech 20 dB softer": voice * np.float32(0.1),
        "speech 20 dB louder, clipped": np.clip(voice * np.float32(10), -1, 1),
        "speech, two speakers, 15 dB apart, in turns of 20 s": _two(voice),
        "music": music(SECONDS),
    }
    figures, highest = [], -math.inf
    for name, sound in sources.items():
        reached, peak = asyncio.run(_heard(sound))
        assert reached is not None
        within = abs(reached - TARGET) <= (3 if "two" in name else 1)
        figures.append(Figure(f"loudness reached, {name}", f"{TARGET:g} LUFS", f"{reached:.1f} LUFS", within))
        highest = max(highest, peak)
    silence, _ = asyncio.run(_heard(np.zeros((60 * SAMPLE_RATE, 1), np.float32)))
    told = "silence" if silence is None else f"{silence:.1f} LUFS"
    figures.append(Figure("loudness reached, silence", "silence", told, silence is None))
    return [*figures, at_most("highest true peak of these MP3s", highest, -1.0, "dBTP")]


def speech() -> Pcm:
    """Repeat the shipped speech."""

    async def decoded() -> Pcm:
        ffmpeg = Ffmpeg.find()
        with tempfile.TemporaryDirectory() as name:
            pieces = await stored(Path(name), ffmpeg, 120)
            return np.concatenate([block async for block in decode_pieces(pieces, local, ffmpeg, Path(name))])

    return asyncio.run(decoded())


def _two(sound: Pcm) -> Pcm:
    turns = np.arange(len(sound)) // (20 * SAMPLE_RATE) % 2
    factors: Pcm = np.where(turns == 0, 1.0, 10 ** (-15 / 20)).astype(np.float32)[:, None]
    return sound * factors


async def _heard(sound: Pcm) -> tuple[float | None, float]:
    """Measure an MP3: its loudness on two channels, and its true peak."""
    ffmpeg = Ffmpeg.find()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, out = folder / "source.wav", folder / "out.mp3"
        await asyncio.to_thread(_write_wav, source, sound)
        pieces: list[Piece] = [Sound(as_key(source), Container.WAV, False, Samples(len(sound)))]
        rendering = Rendering(
            pieces, layout(pieces, FORM), FORM, start_db=None, local=local, ffmpeg=ffmpeg, workdir=folder
        )
        await rendering.make(0, None, out)
        heard: list[Piece] = [Sound(as_key(out), Container.MP3, False, Samples(len(sound)))]
        whole = np.concatenate([block async for block in decode_pieces(heard, local, ffmpeg, folder)])
        return loudness(whole), true_peak(whole)


def _write_wav(path: Path, sound: Pcm) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((sound[:, 0].clip(-1, 1) * 32767).astype("<i2").tobytes())
